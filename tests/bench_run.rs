//! `omni bench run`: a folder of clips on the cases of a benchmark.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop"
)]

mod common;
mod kit;

use common::{Scratch, code, ffmpeg, shared, stderr, stdout, store};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, process::Output, time::Duration};

/// A case of one subject that says a few words.
fn case(name: &str, subset: u32) -> Value {
    json!({
        "case": name,
        "subset": subset,
        "prompt": "<sub1> says, <S>lay red with p nine again<E>",
        "subjects": [{ "anchor": "<sub1>" }],
        "utterances": [{ "anchor": "<sub1>", "text": "lay red with p nine again", "language": "en" }],
    })
}

/// The cases as lines, each with a Windows line end.
fn write_cases(scratch: &Scratch, cases: &[Value]) {
    let lines: String = cases.iter().map(|case| format!("{case}\r\n")).collect();
    scratch.write("cases.jsonl", &lines);
}

fn picture(scratch: &Scratch, name: &str, what: &str) -> bool {
    std::fs::create_dir_all(scratch.join("clips")).unwrap();
    ffmpeg(&["-f", "lavfi", "-i", what, scratch.join(name).to_str().unwrap()])
}

fn run(scratch: &Scratch, more: &[&str]) -> Output {
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

fn header(scratch: &Scratch, out: &str) -> Value {
    kit::json(&scratch.join(out).join("bench.json"))
}

/// Value or reason of each reading of each clip, by `<case>[.<seed>] <reading without networks>`.
fn readings(scratch: &Scratch, out: &str) -> BTreeMap<String, Result<f64, String>> {
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
    assert_eq!(
        header["outputs"]["broken"],
        json!([{ "generation": "ours/d", "reason": "unreadable" }])
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
    let lacks = json!(["t_sim", "sync", "ib", "wer", "pq", "av_offset", "binding"]);
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

/// A clip out of a real one: what comes before the input, and what is done with it.
fn made(scratch: &Scratch, name: &str, before: &[&str], after: &[&str]) {
    let to = scratch
        .join("clips")
        .join(format!("{name}.mp4"))
        .to_str()
        .unwrap()
        .to_owned();
    let plain = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", &to];
    assert!(ffmpeg(&[before, after, &plain[..]].concat()), "{name}");
}

/// A case with a face and a voice of its own.
fn person(name: &str, face: &str, voice: &str, text: &str, language: &str) -> Value {
    json!({
        "case": name,
        "subset": 1,
        "prompt": format!("<sub1> says, <S>{text}<E>"),
        "subjects": [{ "anchor": "<sub1>", "face": face, "voice": voice }],
        "utterances": [{ "anchor": "<sub1>", "text": text, "language": language }],
    })
}

/// Clips and cases with something wrong or odd about each; `plain` is the clip they were made from.
fn odd_clips(scratch: &Scratch, videos: &Path) {
    let clip = |name: &str| videos.join(name).to_str().unwrap().to_owned();
    let (one, other, flower) = (
        clip("grid_lrwp9a.mpg"),
        clip("grid_pwij3p.mpg"),
        clip("flower_no_person.mp4"),
    );
    std::fs::create_dir_all(scratch.join("clips")).unwrap();
    let file = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    ffmpeg(&["-i", &one, "-frames:v", "1", &file("face.png")]);
    ffmpeg(&["-i", &one, "-vn", &file("voice.wav")]);
    ffmpeg(&["-i", &flower, "-frames:v", "1", &file("flower.png")]);
    let of_one = ["-i", one.as_str()];
    made(scratch, "plain", &of_one, &["-c:a", "aac"]);
    made(
        scratch,
        "no_face",
        &["-i", &flower, "-i", &one],
        &["-map", "0:v", "-map", "1:a", "-t", "3", "-s", "480x270"],
    );
    let beside = "[1:v][0:v]hstack[v]";
    made(
        scratch,
        "two_faces",
        &["-i", &one, "-i", &other],
        &["-filter_complex", beside, "-map", "[v]", "-map", "0:a"],
    );
    let silence = [
        "-i",
        one.as_str(),
        "-f",
        "lavfi",
        "-i",
        "anullsrc=r=44100:cl=mono",
    ];
    made(
        scratch,
        "silent",
        &silence,
        &["-map", "0:v", "-map", "1:a", "-shortest"],
    );
    made(scratch, "no_sound", &of_one, &["-an"]);
    made(
        scratch,
        "short_sound",
        &of_one,
        &["-af", "atrim=0.5:0.8,asetpts=PTS-STARTPTS"],
    );
    let joined = "[0:v]trim=0:1.5,setpts=PTS-STARTPTS[a];[1:v]trim=0:1.5,setpts=PTS-STARTPTS[b];[a][b]concat=n=2:v=1[v]";
    made(
        scratch,
        "cut",
        &["-i", &one, "-i", &other],
        &["-filter_complex", joined, "-map", "[v]", "-map", "0:a"],
    );
    made(scratch, "fast", &of_one, &["-vf", "fps=60"]);
    made(
        scratch,
        "uneven",
        &of_one,
        &["-vf", "select='not(eq(mod(n,5),3))'", "-fps_mode", "vfr"],
    );
    made(
        scratch,
        "one_channel",
        &of_one,
        &["-af", "pan=stereo|c0=c0|c1=0*c0"],
    );
    made(scratch, "telephone", &of_one, &["-ar", "8000", "-ac", "1"]);
    for name in ["other_script", "no_reference_face"] {
        std::fs::copy(
            scratch.join("clips/plain.mp4"),
            scratch.join(&format!("clips/{name}.mp4")),
        )
        .unwrap();
    }
    let words = "lay red with p nine again";
    let plain = |name: &str| person(name, "face.png", "voice.wav", words, "en");
    let mut cases: Vec<Value> = [
        "plain",
        "no_face",
        "two_faces",
        "silent",
        "no_sound",
        "short_sound",
        "cut",
        "fast",
        "uneven",
        "one_channel",
        "telephone",
    ]
    .map(plain)
    .to_vec();
    cases.push(person(
        "other_script",
        "face.png",
        "voice.wav",
        "放下红色九号",
        "zh",
    ));
    cases.push(person(
        "no_reference_face",
        "flower.png",
        "voice.wav",
        words,
        "en",
    ));
    write_cases(scratch, &cases);
}

#[test]
fn odd_clips_give_the_documented_reading_or_a_named_absence() {
    let (Some(videos), Some(_)) = (shared("media/videos"), store()) else {
        return;
    };
    if !ffmpeg(&["-version"]) {
        return;
    }
    let scratch = Scratch::new();
    odd_clips(&scratch, &videos);
    let output = run(
        &scratch,
        &[
            "--metrics",
            "face,t_sim,wer,tf,av_offset",
            "--out",
            "out",
            "--strict",
        ],
    );
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let got = readings(&scratch, "out");
    println!("{got:#?}");
    let value = |key: &str| {
        got[key]
            .clone()
            .unwrap_or_else(|why| panic!("{key} is absent: {why}"))
    };
    let why = |key: &str| got[key].clone().expect_err(key);
    assert!(value("plain face_sim") > 0.8 && value("plain wer") < 0.35 && value("plain t_sim") > 0.8);
    // Nobody to be seen: no likeness at all, nothing to compare from frame to frame.
    assert_eq!(
        (value("no_face face_sim"), value("no_face face_coverage")),
        (0.0, 0.0)
    );
    assert_eq!(
        (why("no_face face_cons"), why("no_face av_offset_ms")),
        ("no_face".into(), "no_face".into())
    );
    assert!(value("no_face wer") < 0.35);
    // Whoever is beside the subject is not taken for it.
    assert!((value("two_faces face_sim") - value("plain face_sim")).abs() < 0.1);
    // A silent clip says nothing, which is an error of every word; a clip without sound has nothing to be measured.
    assert_eq!((value("silent wer"), value("silent t_sim")), (1.0, 0.0));
    assert_eq!(why("silent av_offset_ms"), "no_match");
    for reading in ["wer", "t_sim", "av_offset_ms"] {
        assert_eq!(why(&format!("no_sound {reading}")), "no_audio");
    }
    assert!(value("no_sound face_sim") > 0.8 && value("no_sound tf") > 0.9);
    assert_eq!(value("short_sound t_sim"), 0.0);
    assert!(value("short_sound wer") > 0.5);
    // A cut to somebody else: half as like the reference, and less like itself.
    assert!(value("cut face_sim") < value("plain face_sim") - 0.2);
    assert!(value("cut face_cons") < value("plain face_cons"));
    for name in ["fast", "uneven"] {
        assert!(
            (value(&format!("{name} face_sim")) - value("plain face_sim")).abs() < 0.05,
            "{name}"
        );
        let shift = value(&format!("{name} av_offset_ms")) - value("plain av_offset_ms");
        assert!(shift.abs() <= 80.0, "{name}: {shift}");
    }
    assert!(value("one_channel wer") < 0.35 && value("telephone wer") < 0.7);
    assert!(value("other_script wer") >= 0.5, "no word of it is said");
    assert_eq!(why("no_reference_face face_sim"), "no_reference_face");
    assert!(value("no_reference_face wer") < 0.35);
    details(&scratch);
}

/// What a reading was made from is there for whoever asks why.
fn details(scratch: &Scratch) {
    let rows = kit::rows(scratch, "out", "score");
    let detail = |clip: &str, metric: &str| -> Value {
        let mine = |row: &&Value| row["scored"] == format!("ours/{clip}") && row["metric"] == metric;
        let row = rows.iter().find(mine).unwrap();
        serde_json::from_str(row["detail"].as_str().unwrap()).unwrap()
    };
    let wer = detail("plain", "wer");
    assert!(wer["reference"].as_str().unwrap().starts_with("lay red"), "{wer}");
    assert!(!wer["pieces"].as_array().unwrap().is_empty());
    let face = detail("two_faces", "face");
    assert_eq!(face["frames"].as_array().unwrap().len(), 32);
    let both = |frame: &&Value| frame["faces"].as_array().unwrap().len() == 2;
    let frame = face["frames"].as_array().unwrap().iter().find(both).unwrap();
    let assigned = frame["faces"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|face| face["subject"] == 0)
        .count();
    assert_eq!(assigned, 1, "{frame}");
    assert!(detail("plain", "av_offset")["curve"].as_array().unwrap().len() > 20);
    assert_eq!(detail("silent", "t_sim")["speakers"][0]["flag"], "no_speech");
    let networks = &header(scratch, "out")["networks"];
    let asr = networks
        .as_array()
        .unwrap()
        .iter()
        .find(|network| network["role"] == "asr")
        .unwrap();
    assert_eq!(asr["files"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(asr["of_paper"], false);
}

#[test]
fn the_mouth_that_moves_is_the_speakers_or_it_is_not() {
    let (Some(videos), Some(_)) = (shared("media/videos"), store()) else {
        return;
    };
    let scratch = Scratch::new();
    let clip = |name: &str| videos.join(name).to_str().unwrap().to_owned();
    for (name, from) in [("man", "grid_bbaf2n.mpg"), ("woman", "grid_lwbsza.mpg")] {
        let to = scratch.join(&format!("{name}.png")).to_str().unwrap().to_owned();
        if !ffmpeg(&["-i", &clip(from), "-frames:v", "1", &to]) {
            return;
        }
    }
    let dialogue = |name: &str, left: &str, right: &str| {
        json!({
            "case": name,
            "subset": 2,
            "prompt": "<sub1> says, <S>bin blue at f two now<E> <sub2> says, <S>lay white by s zero again<E>",
            "subjects": [{ "anchor": "<sub1>", "face": left }, { "anchor": "<sub2>", "face": right }],
            "utterances": [
                { "anchor": "<sub1>", "text": "bin blue at f two now", "language": "en" },
                { "anchor": "<sub2>", "text": "lay white by s zero again", "language": "en" },
            ],
        })
    };
    write_cases(
        &scratch,
        &[
            dialogue("right", "man.png", "woman.png"),
            dialogue("crossed", "woman.png", "man.png"),
            case("alone", 1),
        ],
    );
    std::fs::create_dir_all(scratch.join("clips")).unwrap();
    for name in ["right", "crossed", "alone"] {
        let to = scratch.join(&format!("clips/{name}.mp4"));
        std::fs::copy(videos.join("dialogue_bbaf2n_lwbsza.mp4"), to).unwrap();
    }
    let output = run(&scratch, &["--metrics", "binding", "--out", "out"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let got = readings(&scratch, "out");
    println!("{got:?} {:?}", kit::rows(&scratch, "out", "score"));
    assert_eq!(
        (&got["right binding_acc"], &got["crossed binding_acc"]),
        (&Ok(1.0), &Ok(0.0))
    );
    assert_eq!(got["alone binding_acc"], Err("one_subject".into()));
}
