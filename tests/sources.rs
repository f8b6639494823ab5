//! The sources beside OpenHumanVid, as a new user meets them: OpenS2V and Emilia laid out from the sample corpus' media,
//! curated with real networks, selected across clips, and audited.

use crate::{common, kit};
use common::{Scratch, code, stderr, stdout};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

/// The layouts, made anew; nothing without a sample corpus or Python.
fn layouts(scratch: &Scratch) -> Option<Value> {
    let sample = kit::sample()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sample_more.py");
    let made = Command::new("python3")
        .arg(script)
        .arg(sample)
        .arg(scratch.join("more"))
        .output();
    let Ok(made) = made else {
        println!("skipped: no python3");
        return None;
    };
    assert!(made.status.success(), "{}", stderr(&made));
    Some(kit::json(&scratch.join("more/expected.json")))
}

fn counts(scratch: &Scratch, out: &str, expected: &Value) {
    let summary = kit::numbers(&scratch.join(out));
    let mut wanted: BTreeMap<String, Value> = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(
        Some(&summary["kept"]),
        wanted.remove("kept").as_ref(),
        "{summary}"
    );
    let dropped: BTreeMap<String, Value> = serde_json::from_value(summary["dropped"].clone()).unwrap();
    assert_eq!(dropped, wanted);
    let sum: u64 = wanted.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(
        summary["listed"].as_u64().unwrap(),
        summary["kept"].as_u64().unwrap() + sum
    );
}

fn ok(scratch: &Scratch, args: &[&str]) -> String {
    let output = scratch.omni(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn opens2v_from_a_split_tar_to_a_cross_pair_selection() {
    let scratch = Scratch::new();
    let Some(expected) = layouts(&scratch) else { return };
    let smaller = "settings.opens2v.filters.short_side.min=300";
    let curate = [
        "curate",
        "--source",
        "opens2v",
        "--root",
        "more/opens2v",
        "--out",
        "out",
        "--set",
        smaller,
    ];
    ok(&scratch, &curate);
    counts(&scratch, "out", &expected["opens2v"]);
    let faces = kit::rows(&scratch, "out", "face_ref");
    assert_eq!(faces.len(), 6);
    for face in &faces {
        assert_eq!(face["origin"], "cross_pair", "{face}");
        let iou = face["iou"].as_f64().unwrap();
        assert!(iou > 0.1 && iou < 1.0, "{face}");
    }
    shown_and_exported(&scratch);
    let early = scratch.omni(&["select", "stage3", "--from", "out"]);
    assert_eq!(code(&early), 3);
    assert!(stderr(&early).contains("omni pool --from"), "{}", stderr(&early));
    ok(&scratch, &["pool", "--from", "out"]);
    let table = ok(&scratch, &["select", "stage3", "--from", "out", "--to", "stage3"]);
    assert!(
        table.contains("pool_face"),
        "the woman is in one clip only: {table}"
    );
    let rows = kit::rows(&scratch, "stage3", "selection");
    assert_eq!(rows.len(), 4, "{table}");
    for row in &rows {
        assert_eq!(row["licence"], "CC-BY-4.0");
        for reference in row["references"].as_array().unwrap() {
            assert_ne!(reference["face_clip"], row["clip"]);
            assert_ne!(reference["voice_clip"], row["clip"]);
            let there = |face: &&Value| {
                face["clip"] == reference["face_clip"] && face["subject"] == reference["face_subject"]
            };
            assert!(faces.iter().any(|face| there(&face)), "{reference}");
            let person = |clip: &Value| clip.as_str().unwrap().split('_').next().unwrap().to_owned();
            let donor = person(&reference["face_clip"]);
            assert!([person(&row["clip"]), "talk".into()].contains(&donor), "{row}");
        }
    }
    assert!(
        ok(
            &scratch,
            &[
                "select",
                "stage3",
                "--from",
                "out",
                "--to",
                "none",
                "--licence",
                "MIT"
            ]
        )
        .contains("left: licence")
    );
    audited(&scratch, "opens2v", &["duplicate", "index", "missing", "orphan"]);
}

/// Clips that lie inside a split tar are there for the gallery and for exports too.
fn shown_and_exported(scratch: &Scratch) {
    ok(scratch, &["report", "out"]);
    let cards: String = kit::walk(&scratch.join("out/report/data"))
        .iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("cards-"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert!(cards.matches("\"archived\":true").count() >= 5, "{cards:.300}");
    assert_eq!(cards.matches("\"present\":false,\"archived\":true").count(), 0);
    assert!(cards.matches("\"outline\":\"").count() >= 5, "sound was read");
    for format in ["webdataset", "jsonl"] {
        ok(scratch, &["export", "out", "--format", format, "--out", format]);
    }
    let films: Vec<_> = kit::walk(&scratch.join("jsonl/videos"));
    assert_eq!(films.len(), 5);
    let played = |path: &std::path::PathBuf| std::fs::read(path).unwrap()[4..8] == *b"ftyp";
    assert!(films.iter().all(played), "{films:?}");
}

#[test]
fn emilia_in_both_forms_gives_voices_without_faces() {
    let scratch = Scratch::new();
    let Some(expected) = layouts(&scratch) else { return };
    ok(
        &scratch,
        &[
            "curate",
            "--source",
            "emilia",
            "--root",
            "more/emilia",
            "--out",
            "out",
        ],
    );
    counts(&scratch, "out", &expected["emilia"]);
    let voices = kit::rows(&scratch, "out", "voice_ref");
    assert_eq!(voices.len(), 7);
    assert!(
        voices
            .iter()
            .all(|voice| voice["language"] == "en" && !voice["text"].as_str().unwrap().starts_with(' '))
    );
    ok(&scratch, &["select", "tts", "--from", "out", "--to", "tts"]);
    ok(
        &scratch,
        &[
            "select",
            "tts",
            "--from",
            "out",
            "--to",
            "free",
            "--licence",
            "CC-BY-4.0",
        ],
    );
    let taken = |to: &str| kit::rows(&scratch, to, "selection").len();
    assert_eq!((taken("tts"), taken("free")), (7, 1));
    audited(&scratch, "emilia", &["index", "missing", "orphan", "undecodable"]);
}

/// The audit finds what the layout was made to hold, writes it, and ends with 1.
fn audited(scratch: &Scratch, source: &str, findings: &[&str]) {
    let root = format!("more/{source}");
    let audit = scratch.omni(&["audit", "--source", source, "--root", &root, "--out", "audit"]);
    assert_eq!(code(&audit), 1, "{}", stderr(&audit));
    let rows = kit::rows(scratch, "audit", "audit_row");
    let found: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["finding"].as_str().unwrap()).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), findings, "{rows:?}");
}

#[test]
fn an_audit_without_findings_ends_with_0_and_a_wrong_source_with_2() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.join("clips")).unwrap();
    let tone = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:rate=25:duration=2",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=300:duration=2",
    ];
    let clip = scratch.join("clips/a.mp4");
    if !common::ffmpeg(&[&tone[..], &["-shortest", clip.to_str().unwrap()]].concat()) {
        return;
    }
    let licence = "licence=CC0";
    let clean = ["audit", "--source", "folder", "--root", "clips", "--set", licence];
    assert!(ok(&scratch, &clean).contains("clips looked at"));
    assert!(ok(&scratch, &[&clean[..], &["--full"]].concat()).contains("clips looked at"));
    let bare = scratch.omni(&["audit", "--source", "folder", "--root", "clips"]);
    assert_eq!((code(&bare), stdout(&bare).contains("none given")), (1, true));
    assert_eq!(
        code(&scratch.omni(&["audit", "--source", "fodler", "--root", "clips"])),
        2
    );
    assert_eq!(
        code(&scratch.omni(&["audit", "--source", "folder", "--root", "nowhere"])),
        3
    );
    assert_eq!(
        code(&scratch.omni(&[
            "audit", "--source", "folder", "--root", "clips", "--set", "licenc=x"
        ])),
        2
    );
}
