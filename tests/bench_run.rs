//! `omni bench run`: a folder of clips on the cases of a benchmark.

use crate::{common, kit};
use common::{Scratch, code, ffmpeg, stderr, stdout};
use serde_json::{Value, json};
use std::{collections::BTreeMap, process::Output, time::Duration};

/// A case of one subject that says a few words.
pub fn case(name: &str, subset: u32) -> Value {
    json!({
        "case": name,
        "subset": subset,
        "prompt": "<sub1> says, <S>lay red with p nine again<E>",
        "subjects": [{ "anchor": "<sub1>" }],
        "utterances": [{ "anchor": "<sub1>", "text": "lay red with p nine again", "language": "en" }],
    })
}

/// The cases as lines, each with a Windows line end.
pub fn write_cases(scratch: &Scratch, cases: &[Value]) {
    let lines: String = cases.iter().map(|case| format!("{case}\r\n")).collect();
    scratch.write("cases.jsonl", &lines);
}

pub fn picture(scratch: &Scratch, name: &str, what: &str) -> bool {
    std::fs::create_dir_all(scratch.join("clips")).unwrap();
    ffmpeg(&["-f", "lavfi", "-i", what, scratch.join(name).to_str().unwrap()])
}

pub fn run(scratch: &Scratch, more: &[&str]) -> Output {
    let args = [
        "bench",
        "run",
        "--cases",
        "cases.jsonl",
        "--outputs",
        "clips",
        "--method",
        "ours",
    ];
    scratch.omni(&[&args[..], more].concat())
}

pub fn header(scratch: &Scratch, out: &str) -> Value {
    kit::json(&scratch.join(out).join("bench.json"))
}

/// Value or reason of each reading of each clip, by `<case>[.<seed>] <reading without networks>`.
pub fn readings(scratch: &Scratch, out: &str) -> BTreeMap<String, Result<f64, String>> {
    let rows = kit::rows(scratch, out, "score");
    let of = |row: &Value| {
        let clip = row["scored"]
            .as_str()
            .unwrap()
            .split_once('/')
            .unwrap()
            .1
            .to_owned();
        let reading = row["reading"]
            .as_str()
            .unwrap()
            .split('@')
            .next()
            .unwrap()
            .to_owned();
        let value = row["value"]
            .as_f64()
            .ok_or_else(|| row["absent"].as_str().unwrap().to_owned());
        (format!("{clip} {reading}"), value)
    };
    rows.iter().map(of).collect()
}

#[test]
fn what_is_missing_or_broken_is_named_counted_and_never_a_number() {
    let scratch = Scratch::new();
    write_cases(
        &scratch,
        &[case("a", 1), case("b", 2), case("c", 2), case("d", 3)],
    );
    let still = "color=gray:size=64x48:rate=10:duration=1";
    if !picture(&scratch, "clips/a.mp4", still) {
        return;
    }
    picture(&scratch, "clips/b.mp4", "testsrc=size=64x48:rate=10:duration=1");
    scratch.write("clips/d.mp4", "no clip");
    scratch.write("clips/stranger.mp4", "of no case");
    let output = run(&scratch, &["--metrics", "tf", "--out", "out"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for word in [
        "missing: ours/c",
        "broken: ours/d (unreadable)",
        "stranger.mp4 belongs to no case",
        "2 of 4 clips",
    ] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    assert!(stdout(&output).contains("2/4"), "{}", stdout(&output));
    let got = readings(&scratch, "out");
    assert_eq!(got["a tf"], Ok(1.0));
    assert!(got["b tf"].as_ref().is_ok_and(|tf| *tf < 1.0));
    assert_eq!(
        (&got["c tf"], &got["d tf"]),
        (&Err("missing_output".into()), &Err("missing_output".into()))
    );
    let header = header(&scratch, "out");
    assert_eq!(header["outputs"]["missing"], json!(["ours/c"]));
    let why = header["outputs"]["broken"][0]["why"].as_str().unwrap();
    assert!(
        why.contains("cannot be read") && stderr(&output).contains(why),
        "{why}"
    );
    assert_eq!(
        header["outputs"]["broken"],
        json!([{ "generation": "ours/d", "reason": "unreadable", "why": header["outputs"]["broken"][0]["why"] }])
    );
    assert_eq!(header["outputs"]["unclaimed"], json!(["stranger.mp4"]));
    assert_eq!(header["cases"]["by_subset"], json!({ "1": 1, "2": 2, "3": 1 }));
    assert_eq!(
        header["readings_counts"],
        json!([{ "reading": "tf", "values": 2, "absent": { "missing_output": 2 } }])
    );
    assert_eq!(
        (&header["format"], &header["paradigm"]),
        (&json!("omni-bench/1"), &json!("joint"))
    );
    let strict = run(&scratch, &["--metrics", "tf", "--out", "out", "--strict"]);
    assert_eq!(code(&strict), 1, "{}", stderr(&strict));
}

#[test]
fn a_second_run_writes_nothing_and_a_new_clip_redoes_only_its_shard() {
    let scratch = Scratch::new();
    let cases: Vec<Value> = (0..40).map(|i| case(&format!("case_{i}"), 1)).collect();
    write_cases(&scratch, &cases);
    if !picture(
        &scratch,
        "clips/case_0.mp4",
        "testsrc=size=32x32:rate=5:duration=1",
    ) {
        return;
    }
    for i in 1..40 {
        std::fs::copy(
            scratch.join("clips/case_0.mp4"),
            scratch.join(&format!("clips/case_{i}.mp4")),
        )
        .unwrap();
    }
    let score = || {
        let output = run(&scratch, &["--metrics", "tf", "--out", "out", "--strict"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        kit::stamps(&scratch.join("out"))
    };
    let first = score();
    assert_eq!(first, score(), "a second run wrote something");
    picture(
        &scratch,
        "clips/case_7.mp4",
        "color=gray:size=32x32:rate=5:duration=1",
    );
    let third = score();
    let fresh = third.keys().filter(|name| !first.contains_key(*name)).count();
    assert_eq!(fresh, 2, "one shard of each of the two stages: {third:?}");
    assert!(first.iter().all(|(name, stamp)| third.get(name) == Some(stamp)));
    let got = readings(&scratch, "out");
    assert_eq!(got.len(), 40);
    assert_eq!(got["case_7 tf"], Ok(1.0));
}

#[test]
fn settings_come_from_omni_toml_and_method_toml_and_seeds_are_averaged() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1), case("b", 2)]);
    if !picture(
        &scratch,
        "clips/b.1.mp4",
        "color=gray:size=64x48:rate=10:duration=1",
    ) {
        return;
    }
    picture(&scratch, "clips/b.2.mp4", "testsrc=size=64x48:rate=10:duration=1");
    scratch.write("clips/method.toml", "method = 'theirs'\nparadigm = 'video'\n");
    scratch.write(
        "omni.toml",
        "[bench]\ncases = 'cases.jsonl'\noutputs = 'clips'\nout = 'out'\nmetrics = ['tf', 'wer']\nmethod = 'unused'\n",
    );
    let output = scratch.omni(&["bench", "run", "--subset", "2"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("wer does not apply to video"),
        "{}",
        stderr(&output)
    );
    let header = header(&scratch, "out");
    assert_eq!(
        (&header["method"], &header["paradigm"]),
        (&json!("theirs"), &json!("video"))
    );
    assert_eq!(
        (&header["outputs"]["seeds"], &header["cases"]["chosen"]),
        (&json!([1, 2]), &json!(1))
    );
    let lacks = json!([
        "t_sim",
        "sync",
        "ib",
        "wer",
        "pq",
        "av_offset",
        "binding",
        "dnsmos"
    ]);
    assert_eq!(header["not_applicable"], lacks);
    let got = readings(&scratch, "out");
    let (one, two) = (got["b.1 tf"].clone().unwrap(), got["b.2 tf"].clone().unwrap());
    let mean = format!("{:.3}", (one + two) / 2.0);
    assert!(one == 1.0 && two < 1.0);
    assert!(
        stdout(&output).contains(&mean) && stdout(&output).contains("1/1"),
        "{mean}: {}",
        stdout(&output)
    );
    let other = scratch.omni(&[
        "bench",
        "run",
        "--method",
        "mine",
        "--paradigm",
        "joint",
        "--metrics",
        "tf",
        "--out",
        "x",
    ]);
    assert_eq!(code(&other), 0, "{}", stderr(&other));
    assert_eq!(self::header(&scratch, "x")["method"], "mine");
    assert_eq!(
        self::header(&scratch, "x")["outputs"]["missing"],
        json!(["mine/a.1", "mine/a.2"])
    );
}

#[test]
fn every_mistake_has_its_code_and_says_what_to_do() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1)]);
    std::fs::create_dir(scratch.join("clips")).unwrap();
    let base = ["bench", "run", "--cases", "cases.jsonl", "--outputs", "clips"];
    let with = |more: &[&str]| scratch.omni(&[&base[..], more].concat());
    let says = |output: Output, wanted: i32, word: &str| {
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(code(&output), wanted, "{text}");
        assert!(text.contains(word), "{word}: {text}");
    };
    let ours = ["--method", "ours", "--out", "out", "--metrics", "tf"];
    says(scratch.omni(&["bench", "run"]), 2, "--cases");
    says(with(&["--out", "out"]), 2, "method.toml");
    says(with(&["--method", "ours"]), 2, "--out");
    says(
        with(&[&ours[..], &["--paradigm", "jont"]].concat()),
        2,
        "audio_driven",
    );
    says(
        with(&["--method", "a/b", "--out", "out"]),
        2,
        "cannot be the name",
    );
    says(
        with(&[&ours[..4], &["--metrics", "fid"]].concat()),
        2,
        "av_offset",
    );
    says(
        with(&[&ours[..4], &["--metrics", "iq"]].concat()),
        3,
        "image_quality",
    );
    says(
        with(&[&ours[..], &["--subset", "3"]].concat()),
        2,
        "no case of it",
    );
    says(with(&[&ours[..], &["--subset", "4"]].concat()), 2, "--subset");
    says(
        with(&[&ours[..], &["--sync-mode", "all"]].concat()),
        2,
        "all-tracks",
    );
    says(
        with(&[&ours[..], &["--wer-protocol", "jiwer"]].concat()),
        2,
        "seedtts",
    );
    says(with(&[&ours[..], &["--threads", "0"]].concat()), 2, "--threads");
    says(
        with(&[&ours[..], &["--outputs", "nowhere"]].concat()),
        2,
        "--outputs",
    );
    let gone = ["bench", "run", "--cases", "cases.jsonl", "--outputs", "nowhere"];
    says(
        scratch.omni(&[&gone[..], &ours[..]].concat()),
        3,
        "no folder of clips",
    );
    let gone = ["bench", "run", "--cases", "gone.jsonl", "--outputs", "clips"];
    says(
        scratch.omni(&[&gone[..], &ours[..]].concat()),
        3,
        "does not exist",
    );
    scratch.write("clips/method.toml", "methd = 'ours'\n");
    says(with(&ours), 2, "methd");
    std::fs::remove_file(scratch.join("clips/method.toml")).unwrap();
    let line = case("a", 1).to_string();
    scratch.write(
        "cases.jsonl",
        &format!("{line}\r\n{}\r\n", line.replace("<E>", "")),
    );
    says(with(&ours), 1, "line 2 (a): an <S> without its <E>");
    assert!(
        !scratch.join("out").exists(),
        "nothing may run before the cases are sound"
    );
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_if_undisturbed() {
    let scratch = Scratch::new();
    let cases: Vec<Value> = (0..30).map(|i| case(&format!("case_{i}"), 1 + i % 3)).collect();
    write_cases(&scratch, &cases);
    if !picture(
        &scratch,
        "clips/case_0.mp4",
        "testsrc2=size=640x360:rate=25:duration=2",
    ) {
        return;
    }
    for i in 1..30 {
        std::fs::copy(
            scratch.join("clips/case_0.mp4"),
            scratch.join(&format!("clips/case_{i}.mp4")),
        )
        .unwrap();
    }
    let args = |out: &'static str| {
        [
            "bench",
            "run",
            "--cases",
            "cases.jsonl",
            "--outputs",
            "clips",
            "--method",
            "ours",
        ]
        .into_iter()
        .chain(["--metrics", "tf", "--threads", "2", "--strict", "--out", out])
        .collect::<Vec<_>>()
    };
    let whole = scratch.omni(&args("whole"));
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    let (mut signals, mut random) = (kit::Signals::new(), kit::Random::new());
    let (mut kills, mut runs) = (0, 0);
    while kills < 6 && runs < 40 {
        runs += 1;
        let mut group = kit::Group::spawn(scratch.command(&args("out")), &scratch.join("said"));
        std::thread::sleep(Duration::from_millis(40 + random.below(400)));
        if group.child.try_wait().unwrap().is_some() {
            std::fs::remove_dir_all(scratch.join("out")).unwrap();
            continue;
        }
        signals.send("KILL", &group);
        group.child.wait().unwrap();
        kills += 1;
        if scratch.join("out").is_dir() {
            kit::assert_sound(&scratch.join("out"), &scratch.join("whole"));
        }
    }
    assert!(kills > 0, "every run was over before its kill");
    let last = scratch.omni(&args("out"));
    assert_eq!(code(&last), 0, "{}", stderr(&last));
    kit::assert_same(&scratch.join("out"), &scratch.join("whole"));
    assert_eq!(
        kit::leftovers(&scratch.join("out")),
        Vec::<std::path::PathBuf>::new()
    );
    let (ours, theirs) = (header(&scratch, "out"), header(&scratch, "whole"));
    assert_eq!(ours, theirs);
}
