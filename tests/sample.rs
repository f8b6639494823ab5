//! One run of the main job on the sample corpus, as a new user types it, and everything that must hold of its result.
//!
//! One test makes one run, because runs are dear and the test runner gives every test a process of its own.

use crate::{common, kit};
use common::{Scratch, code, ffmpeg, stderr, stdout};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
};

const CURATE: [&str; 2] = ["--source", "openhumanvid"];

#[test]
fn the_main_job_on_the_sample_corpus() {
    let Some(sample) = kit::sample() else { return };
    let scratch = Scratch::new();
    let root = sample.to_str().unwrap();
    let init = scratch.omni(&["init", "--source", "openhumanvid", "--root", root, "--out", "out"]);
    assert_eq!(code(&init), 0, "{}", stderr(&init));
    let (table, _) = kit::curate(&scratch, &CURATE);
    let expected = kit::json(&sample.join("expected.json"));
    counts(&scratch, &expected, &table);
    two_people_and_two_voices(&scratch);
    explained(&scratch, &expected);
    shown(&scratch);
    artifacts(&scratch);
    a_second_run_writes_nothing(&scratch);
    one_setting_redoes_what_depends_on_it(&scratch);
}

/// The summary says what the corpus was made to give, and it adds up.
fn counts(scratch: &Scratch, expected: &Value, table: &str) {
    let summary = kit::numbers(&scratch.join("out"));
    let mut wanted = expected["counts"].as_object().unwrap().clone();
    let kept = wanted.remove("kept").unwrap();
    assert_eq!(summary["kept"], kept, "{summary}");
    assert_eq!(summary["dropped"], Value::Object(sorted(&wanted)), "{summary}");
    assert!(kept.as_u64().unwrap() >= 12, "{summary}");
    let dropped: u64 = wanted.values().map(|count| count.as_u64().unwrap()).sum();
    let listed = summary["listed"].as_u64().unwrap();
    assert_eq!(listed, kept.as_u64().unwrap() + dropped);
    assert_eq!(
        (&summary["pending"], &summary["outcome"]),
        (&0.into(), &"complete".into())
    );
    for (reason, count) in &wanted {
        let line = table
            .lines()
            .find(|line| line.contains(&format!("dropped: {reason}")));
        assert!(
            line.is_some_and(|line| line.ends_with(&count.to_string())),
            "{reason}: {table}"
        );
    }
}

fn sorted(map: &serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    let mut pairs: Vec<_> = map.clone().into_iter().collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.into_iter().collect()
}

/// Different values of a field in the rows of one clip.
fn distinct(rows: &[Value], clip: &Value, field: &str) -> usize {
    let of = rows.iter().filter(|row| row["clip"] == *clip);
    of.map(|row| row[field].to_string())
        .collect::<BTreeSet<_>>()
        .len()
}

fn two_people_and_two_voices(scratch: &Scratch) {
    let [captions, faces, voices] =
        ["omni_caption", "face_ref", "voice_ref"].map(|record| kit::rows(scratch, "out", record));
    let both = |row: &&Value| {
        distinct(&faces, &row["clip"], "subject") == 2 && distinct(&voices, &row["clip"], "speaker") == 2
    };
    let found = captions.iter().filter(both).count();
    assert!(found >= 4, "{found} kept clips with two people and two voices");
}

/// Ids of the corpus' items with a fate.
fn with_fate<'a>(expected: &'a Value, fate: &'a str) -> Vec<&'a str> {
    let clips = expected["clips"].as_array().unwrap().iter();
    clips
        .filter(|clip| clip["fate"].as_str().unwrap().starts_with(fate))
        .map(|clip| clip["clip"].as_str().unwrap())
        .collect()
}

fn explain(scratch: &Scratch, clip: &str) -> (String, Vec<Value>) {
    let text = scratch.omni(&["explain", "out", clip]);
    assert_eq!(code(&text), 0, "{}", stderr(&text));
    let json = scratch.omni(&["explain", "out", clip, "--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["clip"], clip);
    (stdout(&text), value["stages"].as_array().unwrap().clone())
}

fn explained(scratch: &Scratch, expected: &Value) {
    let (text, stages) = explain(scratch, with_fate(expected, "kept")[0]);
    assert!(
        stages.len() >= 9 && stages.iter().all(|stage| stage["dropped"].is_null()),
        "{text}"
    );
    assert!(
        stages
            .iter()
            .all(|stage| !stage["rows"].as_array().unwrap().is_empty()),
        "{text}"
    );
    for (fate, stage) in [
        ("no_face", "track"),
        ("silent", "probe"),
        ("unreadable", "probe"),
        ("missing_media", "source"),
        ("filtered:aesthetic", "source"),
    ] {
        for clip in with_fate(expected, fate) {
            let (text, stages) = explain(scratch, clip);
            let dropped: Vec<&Value> = stages.iter().filter(|view| !view["dropped"].is_null()).collect();
            assert_eq!(dropped.len(), 1, "{fate}: {text}");
            assert_eq!(dropped[0]["stage"], stage, "{text}");
            assert!(
                dropped[0]["dropped"].as_str().unwrap().starts_with(fate),
                "{text}"
            );
            assert!(text.contains(&format!("{stage}: dropped, {fate}")), "{text}");
        }
    }
    let nobody = scratch.omni(&["explain", "out", "nobody"]);
    assert_eq!(code(&nobody), 2);
    assert!(
        stderr(&nobody).contains("no clip `nobody`"),
        "{}",
        stderr(&nobody)
    );
}

/// Fields that other tools rely on; those below a list are written `list/field`.
const FIELDS: [(&str, &str); 5] = [
    ("clip", "clip path width height fps seconds"),
    (
        "track",
        "clip track subject frames frames/frame frames/box frames/score",
    ),
    (
        "transcript",
        "clip audio_caption segments segments/speaker segments/text segments/start segments/end segments/language",
    ),
    (
        "binding",
        "clip subjects offscreen subjects/subject subjects/speaker subjects/margin",
    ),
    (
        "omni_caption",
        "clip prompt descriptors descriptors/anchor descriptors/start descriptors/end utterances \
         utterances/anchor utterances/text utterances/start utterances/end",
    ),
];

fn has(row: &Value, field: &str) -> bool {
    match field.split_once('/') {
        None => row.get(field).is_some(),
        Some((list, field)) => row[list]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item.get(field).is_some()),
    }
}

fn shown(scratch: &Scratch) {
    for (record, fields) in FIELDS {
        let rows = kit::rows(scratch, "out", record);
        assert!(!rows.is_empty(), "no {record}");
        for field in fields.split_whitespace() {
            assert!(rows.iter().all(|row| has(row, field)), "{record} without {field}");
        }
    }
    for track in kit::rows(scratch, "out", "track") {
        for frame in track["frames"].as_array().unwrap() {
            let sides: Vec<f64> = frame["box"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect();
            assert!(
                sides.len() == 4 && sides[0] < sides[2] && sides[1] < sides[3],
                "{frame}"
            );
        }
    }
    let run = kit::json(&scratch.join("out/run.json"));
    for stage in run["stages"].as_array().unwrap() {
        let record = stage["record"].as_str().unwrap();
        assert!(
            !kit::rows(scratch, "out", record).is_empty(),
            "no rows of {record}"
        );
        assert!(
            stdout(&scratch.omni(&["show", "out", record])).starts_with("clip\t"),
            "{record}"
        );
    }
    let listing = kit::rows(scratch, "out", "listing");
    let clip = listing[0]["clip"].as_str().unwrap();
    let only = scratch.omni(&[
        "show",
        "out",
        "listing",
        "--where",
        &format!("clip={clip}"),
        "--json",
    ]);
    let lines: Vec<Value> = stdout(&only)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, [listing[0].clone()]);
    receipts(scratch);
}

fn receipts(scratch: &Scratch) {
    for (name, path) in kit::finished(&scratch.join("out")) {
        if name.ends_with(".tar") {
            continue;
        }
        let output = scratch.omni(&["show", path.to_str().unwrap()]);
        let receipt: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (folder, shard) = name.split_once("/part-").unwrap();
        let stage = receipt["stage"].as_str().unwrap();
        let print = receipt["fingerprint"].as_str().unwrap();
        assert_eq!(folder, format!("{stage}-{}", &print[..12]), "{receipt}");
        assert_eq!(
            receipt["shard"].as_str().unwrap(),
            shard.trim_end_matches(".parquet")
        );
    }
}

/// Every picture and voice lies where its row says, is what its row says, and plain tools can read it.
fn artifacts(scratch: &Scratch) {
    for (record, field, kind) in [("face_ref", "image", "png"), ("voice_ref", "audio", "wav")] {
        let stages = kit::stages(&scratch.join("out"));
        let dir = &stages.iter().find(|(stage, _)| stage == record).unwrap().1;
        let tars: Vec<PathBuf> = kit::walk(dir)
            .into_iter()
            .filter(|path| path.extension().unwrap() == "tar")
            .collect();
        let mut decoded = false;
        for row in kit::rows(scratch, "out", record) {
            let blob = &row[field];
            let (tar, bytes) = tars
                .iter()
                .map(|tar| (tar, cut(tar, blob)))
                .find(|(_, bytes)| blake3::hash(bytes).to_hex().as_str() == blob["blake3"].as_str().unwrap())
                .unwrap_or_else(|| panic!("no tar holds {blob}"));
            let name = blob["name"].as_str().unwrap();
            let member = Command::new("tar")
                .args(["-xOf"])
                .arg(tar)
                .arg(name)
                .output()
                .unwrap();
            assert!(member.stdout == bytes, "`tar` reads another {name}");
            let magic: &[u8] = if kind == "png" {
                b"\x89PNG\r\n\x1a\n"
            } else {
                b"RIFF"
            };
            assert!(bytes.starts_with(magic), "{name}");
            let file = scratch.join(&format!("artifact.{kind}"));
            fs::write(&file, &bytes).unwrap();
            decoded |= ffmpeg(&["-xerror", "-i", file.to_str().unwrap(), "-f", "null", "-"]);
        }
        println!("{record}: decoded by another program: {decoded}");
    }
}

/// The bytes at a blob's offset and length; fewer where the tar ends before.
fn cut(tar: &Path, blob: &Value) -> Vec<u8> {
    let mut file = fs::File::open(tar).unwrap();
    file.seek(SeekFrom::Start(blob["offset"].as_u64().unwrap()))
        .unwrap();
    let mut bytes = Vec::new();
    file.take(blob["length"].as_u64().unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn a_second_run_writes_nothing(scratch: &Scratch) {
    let before = kit::stamps(&scratch.join("out"));
    let numbers = kit::numbers(&scratch.join("out"));
    kit::curate(scratch, &CURATE);
    assert_eq!(
        before,
        kit::stamps(&scratch.join("out")),
        "a second run wrote a part"
    );
    assert_eq!(numbers, kit::numbers(&scratch.join("out")));
    let (plan, _) = kit::curate(scratch, &[&CURATE[..], &["--dry-run"]].concat());
    for (stage, _) in kit::stages(&scratch.join("out")) {
        let line = plan
            .lines()
            .find(|line| line.split_whitespace().next() == Some(stage.as_str()));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        assert!(
            words[2] == words[3] && words[3].parse::<u32>().unwrap() > 0,
            "{plan}"
        );
    }
    assert_eq!(kit::leftovers(&scratch.join("out")), Vec::<PathBuf>::new());
}

fn one_setting_redoes_what_depends_on_it(scratch: &Scratch) {
    let before = kit::stamps(&scratch.join("out"));
    kit::curate(
        scratch,
        &[&CURATE[..], &["--set", "settings.bind.min_motion=0.3"]].concat(),
    );
    let after = kit::stamps(&scratch.join("out"));
    assert!(
        before.iter().all(|(name, stamp)| after.get(name) == Some(stamp)),
        "an old part changed"
    );
    let fresh: BTreeSet<&str> = after
        .keys()
        .filter(|name| !before.contains_key(*name))
        .map(|name| name.split('-').next().unwrap())
        .collect();
    assert_eq!(fresh.into_iter().collect::<Vec<_>>(), ["bind", "compose"]);
}

/// A trial run takes the same clips each time, and two workers make what one makes.
#[test]
fn a_trial_is_repeatable_and_two_ranks_are_one_run() {
    let Some(sample) = kit::sample() else { return };
    let scratch = Scratch::new();
    let trial = |out: &str, more: &[&str]| {
        let root = sample.to_str().unwrap();
        let base = [
            "--root",
            root,
            "--out",
            out,
            "--limit",
            "5",
            "--seed",
            "1",
            "--set",
            "run.shard_clips=2",
        ];
        kit::curate(&scratch, &[&CURATE[..], &base, more].concat());
    };
    let [one, again, ranks] = ["one", "again", "ranks"].map(|name| scratch.join(name));
    trial("one", &[]);
    trial("again", &["--threads", "1"]);
    kit::assert_same(&again, &one);
    assert_eq!(kit::numbers(&again), kit::numbers(&one));
    assert!(
        kit::json(&one.join("run.json"))["shards"].as_u64().unwrap() > 1,
        "one shard tells nothing of ranks"
    );
    trial("ranks", &["--rank", "0", "--world", "2"]);
    assert_eq!(kit::numbers(&ranks)["outcome"], "share_complete");
    trial("ranks", &["--rank", "1", "--world", "2"]);
    kit::assert_same(&ranks, &one);
    assert_eq!(kit::numbers(&ranks), kit::numbers(&one));
}
