use super::super::{
    tar::tests::tar,
    tests::{Seen, corpus},
};
use super::*;
use crate::masks::{Mask, join as join_masks};
use serde_json::{Value, json};

const JSON: &str = "Jsons/mask_and_bbox_High-Quality/total_part1.json";

fn list_with(root: &Path, settings: Value) -> (Seen, Counts) {
    let source = OpenS2V::new(root, super::super::read_settings("opens2v", &settings).unwrap()).unwrap();
    let mut seen = Seen::default();
    let counts = source.scan(&mut seen).unwrap();
    let states: u64 = counts.states.values().sum();
    assert_eq!(states, counts.rows + counts.others, "{counts:?}");
    assert_eq!((seen.kept.len() + seen.dropped.len()) as u64, states);
    (seen, counts)
}

fn dropped<'a>(seen: &'a Seen, reason: &str) -> Vec<&'a str> {
    let of = seen.dropped.iter().filter(|(_, why)| why == reason);
    of.map(|(key, _)| key.as_str()).collect()
}

/// A record of the published form, made by hand.
fn record(path: &str) -> Value {
    json!({
        "metadata": {"path": path, "cut": [30, 90], "face_cut": [32, 88], "crop": [2, 16, 1, 12], "fps": 25.0, "num_frames": 60,
                     "resolution": {"height": 11, "width": 14}, "aesthetic": 5.2, "tech": 1.9, "motion": 0.02,
                     "cap": ["A person waves."], "face_cap_qwen": "A person waves.\nThe wall is \"grey\"."},
        "word_tags": {"subject": ["person"], "object": [], "background": ["grey wall"], "pre_define": ["person"]},
        "annotation": {
            "ann_frame_data": {"ann_frame_idx": 40, "box_format": "xyxy", "img_width": 14, "img_height": 11,
                "foreground_ase_score": 4.9, "background_ase_score": 4.1,
                "annotations": [{"class_name": "person", "bbox": [3.0, 2.0, 10.0, 8.0], "gme_score": 0.41, "aes_score": 4.8}]},
            "mask_map": {"1": {"class_name": "person"}},
            "mask_annotation": {"40": {"1": {"size": [12, 16], "counts": "V16600000000000V2", "score": [0.98]}}}
        }
    })
}

fn pieces(dir: &Path, bytes: &[u8], size: usize) {
    let folder = dir.join("Videos/total_part1");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, piece) in bytes.chunks(size).enumerate() {
        std::fs::write(folder.join(format!("total_part1.tar.split.{number:03}")), piece).unwrap();
    }
}

#[test]
fn records_videos_and_pairs_meet() {
    let key = |n: u32| format!("vid7_part{n}_step1-0-60");
    let mut bad = record("bad.mp4");
    bad["metadata"]["crop"] = json!([16, 0, 0, 12]);
    let text = format!(
        "{{{:?}: {}, {:?}: {}, {:?}: {},\n{:?}: {}, {:?}: {}, \"x/../y\": {{}}}}",
        key(2),
        record("a.mp4"),
        key(5),
        record("sub/b.mp4"),
        key(2),
        record("a.mp4"),
        "gone",
        record("c.mp4"),
        "bad",
        bad
    );
    let pairs = json!([
        {"cur_id": key(2), "aft_id": key(5), "cur_class_name": "person", "aft_class_name": "woman",
         "text_similarity": 0.71, "image_similarity": 1.00098, "cur_frame_idx": 30, "aft_frame_idx": 0},
        {"cur_id": key(2), "aft_id": "far", "cur_class_name": "a", "aft_class_name": "b",
         "text_similarity": 0.59, "image_similarity": 0.9, "cur_frame_idx": 30, "aft_frame_idx": 0}
    ]);
    let dir = corpus(&[
        (JSON, &text),
        ("Jsons/cross_video_pairs/vid7.json", &pairs.to_string()),
    ]);
    let whole = tar(&[
        ("total_part1/a.mp4", b"video a"),
        ("total_part1/sub/b.mp4", &[3; 2000]),
        ("total_part1/o.mp4", b"o"),
        ("list.txt", b""),
    ]);
    pieces(dir.path(), &whole, 700);
    let (seen, counts) = list_with(dir.path(), Value::Null);
    assert_eq!((counts.rows, counts.others), (6, 1));
    let [a, b] = seen.kept.as_slice() else {
        panic!("{:?}", seen.dropped)
    };
    assert_eq!(a.clip, key(2));
    assert_eq!(
        omni_media::read_window(&dir.path().join(&a.path), 100).unwrap(),
        b"video a"
    );
    assert_eq!(
        omni_media::read_window(&dir.path().join(&b.path), 9000).unwrap(),
        [3; 2000]
    );
    // Half open: picture 32 stands at 1.28 s, 87 at 3.48 s, 88 at 3.52 s.
    let (start, end) = (a.start.unwrap(), a.end.unwrap());
    assert!(
        31.0 / 25.0 < start && start < 32.0 / 25.0 && 87.0 / 25.0 < end && end < 88.0 / 25.0,
        "{start} {end}"
    );
    assert_eq!((a.crop, a.first_frame), (Some([2.0, 1.0, 16.0, 12.0]), Some(32)));
    assert_eq!(a.source_video.as_deref(), Some("vid7"));
    assert_eq!(
        a.caption.as_deref(),
        Some("A person waves.\nThe wall is \"grey\".")
    );
    assert_eq!(a.licence.as_deref(), Some("CC-BY-4.0"));
    assert_eq!(
        a.partners,
        [Partner {
            clip: key(5),
            text_similarity: 0.71,
            image_similarity: 1.0
        }]
    );
    assert_eq!(b.partners[0].clip, key(2));
    let given: Value = serde_json::from_slice(
        &omni_media::read_window(&dir.path().join(a.annotation.as_deref().unwrap()), 1 << 20).unwrap(),
    )
    .unwrap();
    assert_eq!(given, record("a.mp4"));
    assert_eq!(dropped(&seen, "missing_media"), ["gone"]);
    assert_eq!(dropped(&seen, "duplicate_id").len(), 1);
    assert_eq!(dropped(&seen, "bad_row").len(), 2);
    assert_eq!(dropped(&seen, "orphan_media").len(), 1);
    let whole_cut = list_with(
        dir.path(),
        json!({ "face_cut": false, "filters": { "seconds": { "max": 2.4 } } }),
    );
    assert_eq!(whole_cut.0.kept[0].first_frame, Some(30));
    let short = list_with(dir.path(), json!({ "filters": { "short_side": { "min": 480 } } }));
    assert_eq!(dropped(&short.0, "filtered:short_side.min").len(), 3);
}

#[test]
fn a_gap_in_the_pieces_is_told_and_what_is_before_it_is_read() {
    let text = json!({ "a": record("a.mp4"), "b": record("b.mp4") }).to_string();
    let dir = corpus(&[(JSON, &text)]);
    pieces(
        dir.path(),
        &tar(&[("a.mp4", &[1; 600]), ("b.mp4", &[2; 600])]),
        1600,
    );
    let gone = dir.path().join("Videos/total_part1/total_part1.tar.split.001");
    std::fs::rename(&gone, gone.with_extension("002")).unwrap();
    let (seen, _) = list_with(dir.path(), Value::Null);
    assert_eq!((seen.kept.len(), dropped(&seen, "missing_piece").len()), (1, 1));
    std::fs::remove_file(gone.with_extension("002")).unwrap();
    let (seen, _) = list_with(dir.path(), Value::Null);
    assert_eq!((seen.kept.len(), dropped(&seen, "truncated_shard").len()), (1, 1));
}

/// Rows of an index as text, and how it ended.
fn rows(json: &Path, folder: &Path, piece: u64) -> Result<(Vec<Indexed>, Ended), String> {
    let index = PartIndex::open(json, folder).unwrap().pieces_of(piece);
    let mut rows = Vec::new();
    let ended = index.for_each(&mut |row| {
        rows.push(row);
        Ok(())
    });
    ended
        .map(|ended| (rows, ended))
        .map_err(|error| error.to_string())
}

#[test]
fn an_index_goes_on_where_it_was_interrupted() {
    let members: serde_json::Map<String, Value> = (0..40)
        .map(|n| (format!("clip{n}"), record(&format!("{n}.mp4"))))
        .collect();
    let dir = corpus(&[("p.json", &Value::from(members).to_string())]);
    let (json, folder) = (dir.path().join("p.json"), dir.path().join("index"));
    let (wanted, ended) = rows(&json, &folder, 3000).unwrap();
    assert_eq!((wanted.len(), ended), (40, Ended::Whole));
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names
    };
    let made = names();
    assert!(made.len() > 5);
    // As after a kill: the last pieces are not there, and one is damaged.
    for gone in &made[3..] {
        std::fs::remove_file(gone).unwrap();
    }
    let kept: Vec<_> = made[..2]
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().modified().unwrap())
        .collect();
    std::fs::write(&made[2], b"torn").unwrap();
    assert_eq!(
        rows(&json, &folder, 3000).unwrap(),
        (wanted.clone(), Ended::Whole)
    );
    assert_eq!(names(), made);
    let after: Vec<_> = made[..2]
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().modified().unwrap())
        .collect();
    assert_eq!(kept, after, "pieces that were whole are not made again");
    // Another file under the same name is read anew.
    std::fs::write(&json, json!({ "other": record("o.mp4") }).to_string()).unwrap();
    assert_eq!(rows(&json, &folder, 3000).unwrap().0[0].clip, "other");
}

#[test]
fn cut_and_broken_parts() {
    let whole = json!({ "a": record("a.mp4"), "b": record("b.mp4") }).to_string();
    let dir = corpus(&[
        (JSON, &whole[..whole.len() - 30]),
        ("Videos/total_part1/a.mp4", ""),
    ]);
    let (seen, counts) = list_with(dir.path(), Value::Null);
    assert_eq!(
        (
            counts.rows,
            dropped(&seen, "truncated_index").len(),
            seen.kept.len()
        ),
        (1, 1, 1)
    );
    let again = list_with(dir.path(), Value::Null);
    assert_eq!(
        dropped(&again.0, "truncated_index"),
        dropped(&seen, "truncated_index")
    );
    std::fs::write(dir.path().join(JSON), "{\"a\": 1 ; }").unwrap();
    let source = OpenS2V::new(dir.path(), Settings::default()).unwrap();
    let said = source.scan(&mut Seen::default()).unwrap_err().to_string();
    assert!(
        said.contains("byte 8") && said.contains("total_part1.json"),
        "{said}"
    );
    let deep = format!(
        "{{\"a\": {}{}, \"b\": {}}}",
        "[".repeat(9000),
        "]".repeat(9000),
        record("a.mp4")
    );
    std::fs::write(dir.path().join(JSON), deep).unwrap();
    let (seen, _) = list_with(dir.path(), Value::Null);
    assert_eq!((dropped(&seen, "bad_row").len(), seen.kept.len()), (1, 1));
}

#[test]
fn any_mutation_of_a_part_ends_in_counted_states_or_a_named_byte() {
    let whole = json!({ "a": record("a.mp4"), "b": record("b.mp4"), "c": record("a.mp4") })
        .to_string()
        .into_bytes();
    let dir = corpus(&[
        (JSON, ""),
        ("Videos/total_part1/a.mp4", ""),
        ("Videos/total_part1/b.mp4", ""),
    ]);
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let (mut listed, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        match next(4) {
            0 => bytes.truncate(next(whole.len())),
            1 => bytes[next(whole.len())] = next(256) as u8,
            2 => drop(bytes.drain(next(whole.len() / 2)..whole.len() / 2 + next(whole.len() / 2))),
            _ => bytes.insert(next(whole.len()), b"{}[]\",:\\"[next(8)]),
        }
        std::fs::write(dir.path().join(JSON), &bytes).unwrap();
        let _ = std::fs::remove_dir_all(dir.path().join(".omni"));
        let source = OpenS2V::new(dir.path(), Settings::default()).unwrap();
        let mut seen = Seen::default();
        match source.scan(&mut seen) {
            Ok(counts) => {
                let states: u64 = counts.states.values().sum();
                assert_eq!(states, counts.rows + counts.others);
                assert_eq!((seen.kept.len() + seen.dropped.len()) as u64, states);
                listed += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(": byte "), "{error}");
                refused += 1;
            }
        }
    }
    assert!(listed > 100 && refused > 20, "{listed} {refused}");
}

/// The publishers' own demo record, where somebody has it: 14 masks of three people, a park and clothes.
#[test]
fn the_real_record_reads_right() {
    let base = std::env::var_os("OMNI_SHARED").map(PathBuf::from);
    let base = base.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let table = base.join("media/tables/opens2v_step5.json");
    if !table.is_file() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (found, ended) = rows(&table, dir.path(), 1 << 20).unwrap();
    assert_eq!((found.len(), ended), (1, Ended::Whole));
    let row = &found[0];
    assert_eq!((row.masks, row.boxes.len(), row.fault.as_deref()), (14, 14, None));
    assert_eq!(
        (row.crop.as_slice(), row.cut.as_slice()),
        (&[0.0, 0.0, 1280.0, 720.0][..], &[0, 95][..])
    );
    assert_eq!(source_video(&row.clip), "gm1252760410-365677148");
    let window = omni_media::window_path(table.to_str().unwrap(), row.offset as u64, row.length as u64, "x");
    let given: Value =
        serde_json::from_slice(&omni_media::read_window(Path::new(&window), 1 << 20).unwrap()).unwrap();
    let masks: Vec<Mask> = (1..=14)
        .map(|n| {
            let mask = &given["annotation"]["mask_annotation"]["0"][n.to_string()];
            Mask::read(&mask["size"], &mask["counts"]).unwrap()
        })
        .collect();
    let joined = join_masks(&masks, 0.8);
    let several: Vec<_> = joined.iter().filter(|group| group.len() > 1).cloned().collect();
    assert_eq!(
        several,
        [vec![1, 11, 13], vec![3, 10], vec![7, 8, 9]],
        "the three people"
    );
    assert_eq!(joined.len(), 9);
    // The other work files: two clips of one cluster; stages without an annotation.
    let cluster = rows(
        &base.join("media/tables/opens2v_step5_cluster.json"),
        &dir.path().join("c"),
        1 << 20,
    )
    .unwrap();
    assert_eq!(
        cluster.0.iter().map(|row| row.masks).collect::<Vec<_>>(),
        [14, 14]
    );
    for early in ["opens2v_step0.json", "opens2v_step4.json"] {
        let (rows, _) = rows(
            &base.join("media/tables").join(early),
            &dir.path().join(early),
            1 << 20,
        )
        .unwrap();
        assert_eq!((rows[0].fault.as_deref(), rows[0].frame), (None, None));
    }
}
