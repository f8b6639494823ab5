//! Parts: what goes in comes out, equal rows make equal bytes, and no alteration goes unnoticed.

use omni_manifests::{
    Error, ListingReader, ListingWriter, PackWriter, Receipt, fingerprint, for_each_row, read_blob,
    read_part, read_receipt, verify_part, write_part,
};
use omni_schemas::{Blob, Listing, NamedScore, Selection, Track, TrackFrame};
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

fn receipt() -> Receipt {
    Receipt {
        stage: "track".into(),
        stage_version: 3,
        fingerprint: fingerprint(&serde_json::json!({"k": 1})),
        shard: "0007".into(),
        drops: BTreeMap::from([("клип/omni.check".into(), "no_face".into())]),
        settings: serde_json::json!({"every": 1, "note": "omni.receipt \u{18}\u{c}omni.check"}),
        ..Receipt::default()
    }
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |v| v.is_finite()),
        Just(0.1 + 0.2),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE / 8.0),
        Just(-0.0)
    ]
}

fn frame() -> impl Strategy<Value = TrackFrame> {
    (
        any::<i64>(),
        [finite(), finite(), finite(), finite()],
        finite(),
        prop::option::of(finite()),
    )
        .prop_map(|(frame, bbox, score, motion)| TrackFrame {
            frame,
            bbox,
            score,
            points: [score; 10],
            mouth_motion: motion,
            upper_motion: motion.map(|_| score),
        })
}

fn track() -> impl Strategy<Value = Track> {
    (
        ".*",
        any::<i64>(),
        prop::collection::vec(frame(), 0..4),
        prop::collection::vec(finite(), 0..4),
    )
        .prop_map(|(clip, track, frames, vector)| Track {
            clip,
            track,
            subject: 1,
            shot: 0,
            frames,
            vector,
            embedder: "ｓｆａｃｅ#1".into(),
        })
}

fn listing(i: usize) -> Listing {
    Listing {
        clip: format!("clip{i:05}"),
        path: format!("a/{i}.mp4"),
        start: i.is_multiple_of(2).then_some(i as f64),
        end: None,
        source_video: None,
        caption: Some("zwei Männer".into()),
        transcript: None,
        scores: (0..i % 3)
            .map(|j| NamedScore {
                name: format!("s{j}"),
                value: 0.1 * j as f64,
            })
            .collect(),
        licence: None,
        ..Listing::default()
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_come_back_exactly(rows in prop::collection::vec(track(), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
        write_part(&a, &rows, &receipt()).unwrap();
        write_part(&b, &rows, &receipt()).unwrap();
        prop_assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let (back, found) = read_part::<Track>(&a).unwrap();
        // the bits, not only the values: -0.0 and the last place count
        prop_assert_eq!(format!("{back:?}"), format!("{rows:?}"));
        prop_assert_eq!(found.rows, rows.len() as u64);
        prop_assert_eq!(found.settings, receipt().settings);
        prop_assert_eq!(found.drops, receipt().drops);
    }

    #[test]
    fn a_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write_part(&path, &[listing(1), listing(2)], &receipt()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        fs::write(&path, &bytes).unwrap();
        prop_assert!(verify_part(&path).unwrap_err().is_damage());
        prop_assert!(read_part::<Listing>(&path).unwrap_err().is_damage());
    }

    #[test]
    fn a_truncated_part_is_found(at in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write_part(&path, &[listing(1), listing(2)], &receipt()).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(verify_part(&path).unwrap_err().is_damage());
        prop_assert!(read_receipt(&path).is_err());
    }

    #[test]
    fn hostile_tables_are_errors(at in any::<prop::sample::Index>(), noise in any::<[u8; 3]>()) {
        // `for_each_row` does not verify the check: it must stand any bytes
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write_part(&path, &[listing(1), listing(2)], &receipt()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len() - 3);
        bytes[at..at + 3].copy_from_slice(&noise);
        fs::write(&path, &bytes).unwrap();
        let _ = for_each_row(&path, &mut |_| ControlFlow::Continue(()));
        let _ = read_receipt(&path);
    }
}

#[test]
fn not_a_number_is_never_written() {
    let dir = tempfile::tempdir().unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut rows = vec![listing(2), listing(2)];
        rows[1].scores[0].value = bad;
        let error = write_part(&dir.path().join("a.parquet"), &rows, &receipt()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("row 1") && text.contains("scores[]") && text.contains("value"),
            "{text}"
        );
    }
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn a_listing_of_another_version_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.parquet");
    let mut list = ListingWriter::<Listing>::create(&path, &serde_json::json!({})).unwrap();
    list.push_group(&[listing(1)]).unwrap();
    list.finish().unwrap();
    let error = ListingReader::open(&path)
        .unwrap()
        .group::<Selection>(0)
        .unwrap_err();
    assert!(matches!(error, Error::WrongRecord { .. }), "{error}");
    assert!(error.to_string().contains("lists the corpus anew"), "{error}");
}

#[test]
fn parts_of_another_record_and_other_files_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write_part(&path, &[listing(1)], &receipt()).unwrap();
    assert!(matches!(
        read_part::<Selection>(&path),
        Err(Error::WrongRecord { .. })
    ));
    assert!(matches!(
        read_part::<Listing>(&dir.path().join("b.parquet")),
        Err(Error::Missing { .. })
    ));
    for bytes in [
        &b""[..],
        b"PAR1",
        b"PAR1\xff\xff\xff\xffPAR1",
        b"clip,path\na,b\n",
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(read_part::<Listing>(&path), Err(Error::Damaged { .. })));
        assert!(for_each_row(&path, &mut |_| ControlFlow::Continue(())).is_err());
    }
}

#[test]
fn rows_as_json_come_group_by_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let rows: Vec<_> = (0..20_000).map(listing).collect();
    write_part(&path, &rows, &receipt()).unwrap();
    let mut seen = 0;
    for_each_row(&path, &mut |row| {
        assert_eq!(
            serde_json::Value::Object(row),
            serde_json::to_value(&rows[seen]).unwrap()
        );
        seen += 1;
        if seen == 9000 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(seen, 9000);
    assert_eq!(read_receipt(&path).unwrap(), verify_part(&path).unwrap());
}

#[test]
fn tars_are_plain_sealed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("a.tar");
    let long = format!("{}/{}.png", "d".repeat(180), "ü".repeat(150));
    let mut pack = PackWriter::create(&tar).unwrap();
    let mut blobs = Vec::new();
    for (name, length) in [
        ("clip/sub1.png", 5),
        ("../../etc/passwd", 512),
        (long.as_str(), 700),
        ("/", 0),
    ] {
        let mut blob = Blob {
            name: name.into(),
            ..Blob::default()
        };
        pack.append(&mut blob, &vec![b'x'; length]).unwrap();
        blobs.push(blob);
    }
    let seal = pack.finish().unwrap();
    let names: Vec<_> = blobs.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["clip/sub1.png", "etc/passwd", &long, "blob"]);
    let listed: Vec<_> = tar::Archive::new(fs::File::open(&tar).unwrap())
        .entries()
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            (
                e.path().unwrap().to_str().unwrap().to_owned(),
                e.raw_file_position(),
                e.size(),
            )
        })
        .collect();
    let told: Vec<_> = blobs
        .iter()
        .map(|b| (b.name.clone(), b.offset, b.length))
        .collect();
    assert_eq!(listed, told);
    for blob in &blobs {
        assert_eq!(read_blob(&tar, blob).unwrap(), vec![b'x'; blob.length as usize]);
    }

    let part = dir.path().join("a.parquet");
    let sealed = Receipt {
        tar: Some(seal),
        ..receipt()
    };
    write_part::<Listing>(&part, &[], &sealed).unwrap();
    verify_part(&part).unwrap();
    let beyond = Blob {
        offset: u64::MAX,
        ..blobs[0].clone()
    };
    assert!(read_blob(&tar, &beyond).unwrap_err().is_damage());
    let mut bytes = fs::read(&tar).unwrap();
    bytes[blobs[1].offset as usize] ^= 1;
    fs::write(&tar, &bytes).unwrap();
    assert!(verify_part(&part).unwrap_err().is_damage());
    assert!(read_blob(&tar, &blobs[1]).unwrap_err().is_damage());
    fs::remove_file(&tar).unwrap();
    assert!(matches!(verify_part(&part), Err(Error::Missing { .. })));
}

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut pack = PackWriter::create(&dir.path().join("a.tar")).unwrap();
    pack.append(&mut Blob::default(), b"x").unwrap();
    let mut list =
        ListingWriter::<Listing>::create(&dir.path().join("l.parquet"), &serde_json::json!({})).unwrap();
    list.push_group(&[listing(1)]).unwrap();
    assert_eq!(names_in(dir.path()).len(), 2);
    drop((pack, list));
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn shards_of_a_large_listing_share_row_groups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listing.parquet");
    let rows: Vec<_> = (0..20_000).map(listing).collect();
    let mut writer = ListingWriter::create(&path, &serde_json::json!({})).unwrap();
    // Shards of many lengths; an empty one is none.
    let (mut shards, mut start) = (Vec::new(), 0);
    while start < rows.len() {
        let end = rows.len().min(start + 1 + start * 7 % 601);
        shards.push(start..end);
        start = end;
    }
    for shard in &shards {
        writer.push_group(&rows[shard.clone()]).unwrap();
        writer.push_group(&[]).unwrap();
    }
    writer.finish().unwrap();
    let mut reader = ListingReader::open(&path).unwrap();
    assert_eq!((reader.groups(), reader.rows()), (shards.len(), rows.len()));
    for (number, shard) in shards.iter().enumerate().rev() {
        assert_eq!(reader.group::<Listing>(number).unwrap(), rows[shard.clone()]);
    }
    let mut seen = 0;
    for_each_row(&path, &mut |row| {
        assert_eq!(row["clip"], rows[seen].clip.as_str());
        assert!(!row.contains_key("omni.shard"));
        seen += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, rows.len());
    // About one group for 8,192 rows, whatever the shards.
    let bytes = fs::read(&path).unwrap();
    let names = memchr::memmem::find_iter(&bytes, b"omni.shard").count();
    assert!((2..=8).contains(&names), "{names} mentions of the column");
}

#[test]
fn listings_are_read_shard_by_shard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listing.parquet");
    let rows: Vec<_> = (0..25).map(listing).collect();
    let meta = serde_json::json!({"source": "folder", "listed": 25});
    let mut writer = ListingWriter::create(&path, &meta).unwrap();
    rows.chunks(10)
        .for_each(|shard| writer.push_group(shard).unwrap());
    writer.finish().unwrap();
    let mut reader = ListingReader::open(&path).unwrap();
    assert_eq!((reader.groups(), reader.rows(), reader.meta()), (3, 25, meta));
    assert_eq!(reader.group::<Listing>(2).unwrap(), rows[20..]);
    assert_eq!(reader.group::<Listing>(0).unwrap(), rows[..10]);
    assert!(reader.group::<Listing>(3).is_err());
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 4;
    fs::write(&path, bytes).unwrap();
    assert!(ListingReader::open(&path).is_err());
}
