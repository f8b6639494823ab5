//! Wrong usage: every mistake is named with its remedy and the documented exit code; nothing is written.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop"
)]

mod common;
use common::{Scratch, code, stderr, stdout};

#[test]
fn without_a_root_the_error_names_key_and_flag() {
    let scratch = Scratch::new();
    let output = scratch.omni(&["curate", "--source", "openhumanvid"]);
    assert_eq!(code(&output), 2);
    let text = stderr(&output);
    assert!(
        text.contains("--root") && text.contains("roots.openhumanvid") && text.contains("omni.toml"),
        "{text}"
    );
}

#[test]
fn a_missing_corpus_and_a_file_as_corpus_are_named() {
    let scratch = Scratch::new();
    scratch.write("file.csv", "x");
    for (root, words) in [("nowhere", "does not exist"), ("file.csv", "is not a folder")] {
        let output = scratch.omni(&["curate", "--source", "folder", "--root", root, "--out", "out"]);
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        assert!(
            stderr(&output).contains(root) && stderr(&output).contains(words),
            "{}",
            stderr(&output)
        );
    }
    assert!(!scratch.join("out").exists());
}

#[test]
fn typos_in_source_recipe_set_profile_stage_and_record_suggest_the_right_word() {
    let scratch = Scratch::new();
    scratch.write("clips/a.mp4", "no video");
    scratch.write(
        "my.toml",
        "name = 'my'\nsource = 'folder'\nstages = ['probe']\n\n[settings.probe]\nmin_secnds = 2\n",
    );
    let base = ["curate", "--root", "clips", "--out", "out", "--dry-run"];
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--source", "openhumanvd"], &["did you mean `openhumanvid`"]),
        (
            &["--recipe", "my.toml"],
            &["my.toml", "line 6", "min_secnds", "did you mean `min_seconds`"],
        ),
        (
            &["--source", "folder", "--set", "settings.probe.max_second=3"],
            &["--set", "did you mean `max_seconds`"],
        ),
        (
            &["--source", "folder", "--set", "settings.prob.max_seconds=3"],
            &["did you mean `probe`"],
        ),
        (&["--source", "folder", "--profile", "opn"], &["opn", "open"]),
        (
            &["--source", "folder", "--only", "trak"],
            &["did you mean `track`"],
        ),
        (&["--source", "folder", "--device", "gpu"], &["gpu", "cpu"]),
    ];
    for (more, words) in cases {
        let output = scratch.omni(&[&base, more].concat());
        let text = stderr(&output);
        assert_eq!(code(&output), 2, "{more:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{more:?} should say {word}: {text}");
        }
    }
    assert!(!scratch.join("out").exists());
}

#[test]
fn show_and_explain_name_what_is_no_run() {
    let scratch = Scratch::new();
    let output = scratch.omni(&["show", "nowhere", "clip"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("no output folder of a run"),
        "{}",
        stderr(&output)
    );
    let output = scratch.omni(&["show", "nowhere", "clips"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("did you mean `clip`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn init_writes_once_and_curate_reads_it() {
    let scratch = Scratch::new();
    scratch.write("clips/a.mp4", "no video");
    let output = scratch.omni(&["init", "--source", "folder", "--root", "clips", "--out", "out"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = scratch.omni(&["init", "--source", "folder", "--root", "clips", "--out", "out"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--force"));
    let output = scratch.omni(&["curate", "--source", "folder", "--dry-run"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let plan = stdout(&output);
    for stage in [
        "probe",
        "track",
        "face_ref",
        "transcribe",
        "voice_ref",
        "av_evidence",
        "bind",
        "compose",
    ] {
        assert!(plan.contains(&format!("{stage}-")), "{plan}");
    }
    let graph = stdout(&scratch.omni(&["curate", "--source", "folder", "--dry-run", "--graph", "mermaid"]));
    assert!(
        graph.starts_with("flowchart") && graph.contains("track -- track --> face_ref"),
        "{graph}"
    );
}

#[test]
fn missing_weights_are_said_before_anything_runs() {
    let scratch = Scratch::new();
    scratch.write("clips/a.mp4", "no video");
    let output = scratch
        .command(&["curate", "--source", "folder", "--root", "clips", "--out", "out"])
        .env("OMNI_CACHE", scratch.join("empty"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("omni models pull"),
        "{}",
        stderr(&output)
    );
    assert!(!scratch.join("out").exists());
}

#[test]
fn every_command_has_an_example_in_its_help() {
    let scratch = Scratch::new();
    let top = stdout(&scratch.omni(&["--help"]));
    let commands: Vec<&str> = top
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help" && *name != "completions")
        .collect();
    assert!(commands.len() >= 9, "{top}");
    for command in commands {
        let help = stdout(&scratch.omni(&[command, "--help"]));
        let example = help
            .lines()
            .skip_while(|line| !line.starts_with("Example"))
            .nth(1);
        let example = example
            .unwrap_or_else(|| panic!("{command} has no example: {help}"))
            .trim();
        assert!(example.starts_with(&format!("omni {command}")), "{example}");
        // The example must at least parse: with --help appended it prints help and touches nothing.
        let words: Vec<&str> = example.split_whitespace().skip(1).chain(["--help"]).collect();
        assert_eq!(code(&scratch.omni(&words)), 0, "{example}");
    }
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let scratch = Scratch::new();
    let mut child = scratch
        .command(&["recipe", "folder"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
