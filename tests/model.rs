//! `omni model`: checkpoints made, looked into and converted.
#![cfg(feature = "model")]

use crate::common;
use common::{Scratch, code, stderr, stdout};
use std::fs;

fn ok(scratch: &Scratch, args: &[&str]) -> String {
    let output = scratch.omni(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn fails(scratch: &Scratch, args: &[&str], expected: i32, words: &str) {
    let output = scratch.omni(args);
    assert_eq!(code(&output), expected, "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
}

#[test]
fn the_examples_of_the_help_run() {
    let scratch = Scratch::new();
    ok(
        &scratch,
        &[
            "model", "init", "--preset", "tiny", "--seed", "7", "--out", "tiny",
        ],
    );
    let told = ok(&scratch, &["model", "inspect", "tiny/model.safetensors"]);
    assert!(
        told.contains("ovi_fusion") && told.contains("ocf") && told.contains("mtp_ca"),
        "{told}"
    );
    ok(
        &scratch,
        &[
            "model",
            "convert",
            "tiny/model.safetensors",
            "--dtype",
            "bf16",
            "--out",
            "tiny-bf16",
        ],
    );
    let told = ok(&scratch, &["model", "inspect", "tiny-bf16", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told["dtypes"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["bf16"]
    );
    for command in ["init", "inspect", "convert"] {
        assert!(
            ok(&scratch, &["model", command, "--help"]).contains("Example:"),
            "{command}"
        );
    }
}

#[test]
fn folders_that_are_there_files_that_are_not_and_damage_are_told_apart() {
    let scratch = Scratch::new();
    ok(&scratch, &["model", "init", "--preset", "tiny", "--out", "tiny"]);
    fails(
        &scratch,
        &["model", "init", "--preset", "tiny", "--out", "tiny"],
        2,
        "tiny",
    );
    fails(
        &scratch,
        &["model", "init", "--preset", "huge", "--out", "x"],
        2,
        "720p",
    );
    fails(
        &scratch,
        &["model", "inspect", "gone.safetensors"],
        3,
        "gone.safetensors",
    );
    scratch.write("text.safetensors", "these are no tensors at all");
    fails(
        &scratch,
        &["model", "inspect", "text.safetensors"],
        1,
        "safetensors",
    );
    fails(
        &scratch,
        &["model", "convert", "text.safetensors", "--out", "y"],
        1,
        "safetensors",
    );
    assert!(!scratch.join("y").exists());
    let whole = fs::read(scratch.join("tiny/model.safetensors")).unwrap();
    fs::write(scratch.join("cut.safetensors"), &whole[..whole.len() - 100]).unwrap();
    fails(
        &scratch,
        &["model", "inspect", "cut.safetensors"],
        1,
        "cut.safetensors",
    );
}

#[test]
fn pytorchs_files_are_converted_and_one_with_code_in_it_is_refused() {
    let scratch = Scratch::new();
    let fixture = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tests/fixtures");
        folder.join(name).to_string_lossy().into_owned()
    };
    ok(
        &scratch,
        &["model", "convert", &fixture("plain.pth"), "--out", "plain"],
    );
    let told = ok(&scratch, &["model", "inspect", "plain", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["tensors"], &told["unknown_count"]), (&5.into(), &5.into()));
    assert!(ok(&scratch, &["model", "inspect", "plain"]).contains("no network that this build knows"));
    fails(
        &scratch,
        &["model", "inspect", &fixture("hostile.pth")],
        1,
        "posix.system",
    );
    fails(
        &scratch,
        &["model", "convert", &fixture("hostile.pth"), "--out", "z"],
        1,
        "nothing of it was run",
    );
    assert!(!scratch.join("z").exists());
}
