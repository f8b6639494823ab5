//! Real clips with something wrong or odd about each, and mouths that move for another's voice.

use crate::{
    bench_run::{case, header, readings, run, write_cases},
    common::{Scratch, code, ffmpeg, shared, stderr, stdout, store},
    kit,
};
use serde_json::{Value, json};
use std::path::Path;

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
