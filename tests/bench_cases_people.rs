//! `omni bench cases build`: who comes into a suite how often, and first frames.

use crate::{
    bench_cases::{Cast, Person, build, corpus, curated, files, off_screen, suite, talks},
    common::{self, Scratch, code, stderr, stdout},
};
use serde_json::Value;
use std::fs;

#[test]
fn nobody_comes_into_two_cases_unless_there_are_too_few_people_which_is_said() {
    let scratch = Scratch::new();
    let mut casts = corpus();
    // The first person is in many more clips; nobody notices, since there are others.
    casts.extend((0..30).map(|i| (format!("star{i}"), vec![talks(0, "en")])));
    curated(&scratch.join("out"), &casts);
    let output = scratch.omni(&build(&["--out", "suite"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!stderr(&output).contains("too few people"), "{}", stderr(&output));
    let about = suite(&scratch.join("suite"));
    let cases = about["cases"].as_array().unwrap();
    let first = |case: &&Value| {
        let clip = case["clip"].as_str().unwrap();
        clip.starts_with("star") || clip == "single_en0"
    };
    assert_eq!(
        (cases.len(), cases.iter().filter(first).count().min(2) < 2),
        (9, true)
    );
    // Three clips of a kind, all of the same two people.
    let two = |name: &str, people: [Person; 2]| -> Vec<Cast> {
        (0..3).map(|i| (format!("{name}{i}"), people.to_vec())).collect()
    };
    let mut few: Vec<Cast> = (0..3)
        .map(|i| (format!("one{i}"), vec![talks(0, "en")]))
        .collect();
    few.extend(two("two", [talks(0, "en"), talks(1, "en")]));
    few.extend(two("off", [talks(0, "en"), off_screen(1)]));
    let other = Scratch::new();
    curated(&other.join("out"), &few);
    let output = other.omni(&build(&["--out", "suite"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = "2 in subset 1, 3 in subset 2, 3 in subset 3";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    assert_eq!(
        suite(&other.join("suite"))["found"]["reused"],
        serde_json::json!({ "1": 2, "2": 3, "3": 3 })
    );
}

#[test]
fn first_frames_are_written_where_they_are_wanted_and_a_clip_that_is_gone_is_named() {
    let scratch = Scratch::new();
    let casts = corpus();
    curated(&scratch.join("out"), &casts);
    let output = scratch.omni(&build(&["--out", "gone", "--first-frames"]));
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the first frame of clip `"),
        "{}",
        stderr(&output)
    );
    assert!(!scratch.join("gone/cases.jsonl").exists());
    let clip = scratch.join("clip.mp4");
    let source = "testsrc=size=64x48:rate=25:duration=1";
    if !common::ffmpeg(&["-f", "lavfi", "-i", source, clip.to_str().unwrap()]) {
        return;
    }
    for (name, _) in &casts {
        fs::hard_link(&clip, scratch.join(&format!("{name}.mp4"))).unwrap();
    }
    let output = scratch.omni(&build(&["--out", "suite", "--first-frames"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = fs::read_to_string(scratch.join("suite/cases.jsonl")).unwrap();
    let cases: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        assert_eq!(case["first_frame"], format!("frames/{name}.png"));
        let bytes = fs::read(scratch.join(&format!("suite/frames/{name}.png"))).unwrap();
        assert_eq!(
            (&bytes[1..4], &bytes[16..24]),
            (&b"PNG"[..], &[0, 0, 0, 64, 0, 0, 0, 48][..])
        );
    }
    let check = scratch.omni(&["bench", "cases", "check", "suite/cases.jsonl"]);
    assert_eq!(code(&check), 0, "{}{}", stdout(&check), stderr(&check));
    let export = [
        "bench",
        "cases",
        "export",
        "suite/cases.jsonl",
        "--format",
        "first-frames",
        "--out",
        "given",
    ];
    let output = scratch.omni(&export);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(files(&scratch.join("given")).len(), 2 * cases.len());
    // Without the flag a suite is as it was, and needs no clip.
    let output = scratch.omni(&build(&["--out", "plain"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!scratch.join("plain/frames").exists());
}
