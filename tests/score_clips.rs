//! `omni curate --score`, and `omni select` by what it measured.

use crate::{
    common::{Scratch, code, stderr, stdout},
    kit::{curate, rows, sample, stages, stamps},
    made::{self, MadeClip},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Clips that are probed and nothing more.
const PROBED: &str = "name = 'probed'\nsource = 'openhumanvid'\nstages = ['probe']\n";

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap()
}

/// The rows of one clip's reading, whose name begins so.
fn reading<'a>(rows: &'a [Value], clip: &str, name: &str) -> &'a Value {
    let own = |row: &&Value| row["scored"] == clip && text(row, "reading").starts_with(name);
    rows.iter()
        .find(own)
        .unwrap_or_else(|| panic!("no {name} of {clip}"))
}

#[test]
fn clips_are_scored_as_bench_scores_them_none_is_dropped_and_a_second_run_makes_nothing() {
    let Some(root) = sample() else { return };
    let scratch = Scratch::new();
    scratch.write("probed.toml", PROBED);
    let root = root.to_str().unwrap();
    let run = |score: &str| {
        let base = [
            "--recipe",
            "probed.toml",
            "--root",
            root,
            "--out",
            "out",
            "--limit",
            "3",
        ];
        curate(&scratch, &[&base[..], &["--score", score]].concat());
    };
    run("tf,t_sim,face");
    let (clips, scores) = (rows(&scratch, "out", "clip"), rows(&scratch, "out", "score"));
    assert!(!clips.is_empty());
    let scored: BTreeSet<&str> = scores.iter().map(|row| text(row, "scored")).collect();
    let probed: BTreeSet<&str> = clips.iter().map(|row| text(row, "clip")).collect();
    assert_eq!(scored, probed);
    for clip in &clips {
        let key = text(clip, "clip");
        // Nobody told who is in it: whatever needs a reference is absent, and the clip stays.
        assert_eq!(reading(&scores, key, "face_sim@")["absent"], "no_reference");
        assert_eq!(reading(&scores, key, "t_sim@")["absent"], "no_reference");
        let path = std::path::Path::new(root).join(text(clip, "path"));
        let args = [
            "bench",
            "score",
            path.to_str().unwrap(),
            "--metrics",
            "tf",
            "--json",
        ];
        let output = scratch.omni(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let alone: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let value = reading(&scores, key, "tf")["value"].as_f64().unwrap();
        assert_eq!(alone["readings"][0]["value"].as_f64(), Some(value));
        assert!((0.5..1.0).contains(&value), "{value}");
    }
    let out = scratch.join("out");
    let before = stamps(&out);
    run("tf,t_sim,face");
    let parts = |stamps: std::collections::BTreeMap<String, _>| -> Vec<_> {
        stamps
            .into_iter()
            .filter(|(name, _)| name.contains("part-"))
            .collect()
    };
    let before = parts(before);
    assert!(!before.is_empty());
    assert_eq!(parts(stamps(&out)), before, "the second run made nothing");
    // Other metrics are another step; what was probed is not probed again.
    let folders = |out: &std::path::Path| {
        stages(out)
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let first = folders(&out);
    run("tf");
    let second = folders(&out);
    assert_eq!(first["probe"], second["probe"]);
    assert_ne!(first["score"], second["score"]);
    assert_eq!(rows(&scratch, "out", "score").len(), clips.len());
}

#[test]
fn people_and_words_come_from_the_clips_own_records_and_select_takes_by_the_readings() {
    let Some(root) = sample() else { return };
    let scratch = Scratch::new();
    scratch.write("omni.toml", "score = ['face', 'wer', 'tf']\n");
    let root = root.to_str().unwrap();
    let base = [
        "--source",
        "openhumanvid",
        "--root",
        root,
        "--out",
        "out",
        "--limit",
        "4",
        "--seed",
        "1",
    ];
    curate(&scratch, &base);
    let scores = rows(&scratch, "out", "score");
    let captions = rows(&scratch, "out", "omni_caption");
    assert!(!captions.is_empty(), "the sample gives some clip a prompt");
    for caption in &captions {
        let key = text(caption, "clip");
        // The picture is of the clip itself, and the words are those that the same network heard.
        let likeness = reading(&scores, key, "face_sim@")["value"].as_f64().unwrap();
        assert!(likeness > 0.6, "{key}: {likeness}");
        let errors = reading(&scores, key, "wer@")["value"].as_f64().unwrap();
        assert!(errors < 0.5, "{key}: {errors}");
        assert!(reading(&scores, key, "wer@")["detail"].is_null());
    }
    let name = scores
        .iter()
        .map(|row| text(row, "reading"))
        .find(|name| name.starts_with("face_sim@"))
        .unwrap();
    let taken = |limit: &str| {
        let set = format!("minimum.{name}={limit}");
        let args = [
            "select", "stage1", "--from", "out", "--to", "chosen", "--set", &set,
        ];
        let output = scratch.omni(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        rows(&scratch, "chosen", "selection").len()
    };
    assert!(taken("0.1") >= taken("0.9999"));
    assert_eq!(taken("1.1"), 0);
}

#[test]
fn a_metric_that_cannot_be_made_ends_with_its_code_before_anything_runs() {
    let scratch = Scratch::new();
    scratch.write("omni.toml", "store = 'nothing'\n");
    std::fs::create_dir(scratch.join("clips")).unwrap();
    for (metrics, ends, says) in [
        ("tf,fid", 2, "no metric `fid`"),
        ("iq", 3, "image_quality"),
        ("wer", 3, "whisper_base_q8"),
    ] {
        let args = [
            "curate", "--source", "folder", "--root", "clips", "--out", "out", "--score", metrics,
        ];
        let output = scratch.omni(&args);
        assert_eq!(code(&output), ends, "{metrics}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(!scratch.join("out").exists());
    }
}

#[test]
fn a_minimum_on_a_reading_takes_by_its_full_name_and_a_name_nobody_has_is_refused() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let clips = ["a", "b", "c"].map(MadeClip::new).to_vec();
    made::run(&out, scratch.path(), &[clips], made::STAGES.len());
    let select = |set: &str| {
        let args = [
            "select", "stage1", "--from", "out", "--to", "chosen", "--set", set,
        ];
        scratch.omni(&args)
    };
    let output = select("minimum.tf=0.5");
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("omni curate --score"),
        "{}",
        stderr(&output)
    );
    assert!(!scratch.join("chosen").exists(), "nothing is written");

    let reading = "wer@whisper_base_q8";
    made::score(
        &out,
        &[
            ("a", "tf", Some(0.98)),
            ("a", reading, Some(0.1)),
            ("b", "tf", Some(0.90)),
            ("b", reading, None),
            ("c", "tf", Some(0.99)),
            ("c", reading, Some(0.7)),
        ],
    );
    let taken = |set: &str| -> Vec<String> {
        let output = select(set);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let rows = rows(&scratch, "chosen", "selection");
        rows.iter().map(|row| text(row, "clip").to_owned()).collect()
    };
    assert_eq!(taken("minimum.tf=0.95"), ["a", "c"]);
    assert_eq!(taken("maximum.tf=0.95"), ["b"]);
    assert_eq!(taken(&format!("maximum.{reading}=0.5")), ["a"]);
    assert_eq!(taken("minimum.tf=0.1").len(), 3);
    let output = select("maximum.wer@whisper_base=0.5");
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains("did you mean `wer@whisper_base_q8`"), "{said}");
    // What the clip is known by shows its readings, and the gallery's list has them among its scores.
    let output = scratch.omni(&["explain", "out", "c", "--json"]);
    assert!(stdout(&output).contains("0.99"), "{}", stdout(&output));
    // Who is forgotten leaves no readings behind.
    let output = scratch.omni(&["forget", "out", "--clip", "c"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        rows(&scratch, "out", "score")
            .iter()
            .all(|row| row["scored"] != "c")
    );
}

#[test]
fn curated_clips_are_read_the_way_that_omni_toml_has_for_generated_ones() {
    let Some(root) = sample() else { return };
    let scratch = Scratch::new();
    scratch.write("probed.toml", PROBED);
    let args = [
        "--recipe",
        "probed.toml",
        "--root",
        root.to_str().unwrap(),
        "--out",
        "out",
        "--limit",
        "3",
        "--score",
        "wer",
    ];
    scratch.write("omni.toml", "[bench]\nwer_protocol = 'seedtts'\n");
    curate(&scratch, &args);
    let scores = rows(&scratch, "out", "score");
    assert!(!scores.is_empty());
    assert!(
        scores
            .iter()
            .any(|row| text(row, "reading").starts_with("wer_seedtts"))
    );
    scratch.write("omni.toml", "[bench]\nwer_protocol = 'jiwer'\n");
    let output = scratch.omni(&[&["curate"][..], &args].concat());
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("seedtts"), "{}", stderr(&output));
}
