//! `omni sample` into a folder that has clips: what counts as there, and names of their own.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{
    common::{code, stderr, stdout},
    generated::{PROMPT, read, sample, sample_as, tiny},
    train::{selected, write_selection},
    train_corpus::curated,
};
use omni_media::{Limits, Span, probe};
use serde_json::Value;
use std::{fs, path::Path};

#[test]
fn nothing_of_an_old_clip_is_taken_for_the_new_one() {
    let scratch = tiny();
    let clips = scratch.join("clips");
    let run = |seconds: &str, more: &[&str]| {
        let base = ["--prompt", PROMPT, "--size", "32x32", "--steps", "1"];
        let output = sample_as(&scratch, &[&base[..], &["--seconds", seconds], more].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let frames = || {
        let info = probe(&clips.join("prompt.mp4"), &Span::default(), &Limits::default());
        info.unwrap().video.unwrap().frames
    };
    run("0.5", &[]);
    assert_eq!(frames(), 13);
    run("1", &["--frames"]);
    assert!(
        !clips.join("prompt.mp4").exists(),
        "the clip of 0.5 s is still there"
    );
    assert_eq!(fs::read_dir(clips.join("prompt.frames")).unwrap().count(), 25);
    let (told, said) = run("1", &[]);
    assert!(told.contains("1 clips made, 0 were there"), "{told}");
    assert!(said.contains("prompt.mp4 is asked for"), "{said}");
    assert_eq!(frames(), 25);
    assert!(!clips.join("prompt.frames").exists());
    assert!(run("1", &[]).0.contains("0 clips made, 1 were there"));
}

#[test]
fn a_file_of_a_clip_that_is_gone_or_differs_is_made_again() {
    let scratch = tiny();
    let clips = scratch.join("clips");
    let run = |more: &[&str]| {
        let output = sample(
            &scratch,
            &[&["--prompt", PROMPT, "--size", "32x32"], more].concat(),
        );
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let again = |more: &[&str], words: &str| {
        let (told, said) = run(more);
        assert!(told.contains("1 clips made, 0 were there"), "{words}: {told}");
        assert!(
            said.contains(&format!("prompt: made again: {words}")),
            "{words}: {said}"
        );
    };
    run(&[]);
    assert!(run(&[]).0.contains("0 clips made, 1 were there"));
    let marks = read(&clips.join("prompt.json"))["files"].clone();
    let names: Vec<&String> = marks.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["prompt.mp4", "prompt.png", "prompt.safetensors", "prompt.wav"]
    );
    for name in &names {
        let path = clips.join(name);
        let sound = fs::read(&path).unwrap();
        assert_eq!(marks[name.as_str()]["bytes"], sound.len());
        fs::remove_file(&path).unwrap();
        again(&[], &format!("{name} is gone"));
        assert!(fs::read(&path).unwrap() == sound, "{name} came back as another");
        fs::write(&path, &sound[..sound.len() / 2]).unwrap();
        again(
            &[],
            &format!("{name} has {} bytes, not {}", sound.len() / 2, sound.len()),
        );
        let mut flipped = sound.clone();
        flipped[sound.len() / 2] ^= 1;
        fs::write(&path, flipped).unwrap();
        again(&[], &format!("{name} has other bytes"));
    }
    fs::write(clips.join("prompt.json"), "{}").unwrap();
    again(&[], "it was made with other settings");
    fs::write(clips.join("prompt.json"), "{").unwrap();
    again(&[], "prompt.json is damaged");
    run(&["--frames"]);
    assert!(run(&["--frames"]).0.contains("1 were there"));
    fs::remove_file(clips.join("prompt.frames/000007.png")).unwrap();
    again(&["--frames"], "prompt.frames/000007.png is gone");
    // sound that was cut is no sound for an mp4
    let wav = clips.join("prompt.wav");
    let sound = fs::read(&wav).unwrap();
    fs::write(&wav, &sound[..sound.len() / 2]).unwrap();
    let muxed = scratch.omni(&["mux", "clips"]);
    assert_eq!(code(&muxed), 1, "{}{}", stdout(&muxed), stderr(&muxed));
    assert!(stderr(&muxed).contains("it was cut off"), "{}", stderr(&muxed));
    assert!(!clips.join("prompt.mp4").exists());
}

#[test]
fn clips_whose_names_would_be_one_have_files_of_their_own() {
    let Some(scratch) = curated() else {
        return;
    };
    let row = |clip: &str, from: &str| {
        let mut row = selected(clip, from);
        row.subjects = 1;
        row.prompt = format!("A man <sub1> of {clip} says, <S>Hello.<E>");
        let reference = &mut row.references[0];
        (reference.speaker, reference.voice_clip, reference.voice_speaker) = (None, None, None);
        row
    };
    write_selection(
        &scratch,
        "two",
        &[row("a/b.mp4", "a.mp4"), row("a_b.mp4", "b.mp4")],
    );
    let output = scratch
        .command(&[
            "sample",
            "--checkpoint",
            "base",
            "--data",
            "two",
            "--from",
            "out",
            "--size",
            "32x32",
            "--seconds",
            "0.2",
            "--steps",
            "1",
            "--out",
            "clips",
        ])
        // no face detector: the faces are drawn
        .env("OMNI_CACHE", scratch.join("none"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = fs::read_to_string(scratch.join("clips/cases.jsonl")).unwrap();
    let cases: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert!(
        names[0].starts_with("a_b.mp4-") && names[1] == "a_b.mp4",
        "{names:?}"
    );
    assert_ne!(cases[0]["subjects"][0]["face"], cases[1]["subjects"][0]["face"]);
    for (case, clip) in cases.iter().zip(["a/b.mp4", "a_b.mp4"]) {
        assert!(case["prompt"].as_str().unwrap().contains(clip));
        let name = case["case"].as_str().unwrap();
        assert!(scratch.join(&format!("clips/{name}.mp4")).is_file());
        assert!(Path::new(case["subjects"][0]["face"].as_str().unwrap()).is_file());
    }
}
