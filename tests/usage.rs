//! Wrong usage: every mistake is named with its remedy and the documented exit code; nothing is written.

use crate::common;
use common::{Scratch, code, stderr, stdout};

/// Wrong usage: exit code 2 and every one of the words.
fn refused(output: &std::process::Output, args: &[&str], words: &[&str]) {
    let text = stderr(output);
    assert_eq!(code(output), 2, "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should say {word}: {text}");
    }
}

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
        refused(&output, more, words);
    }
    assert!(!scratch.join("out").exists());
}

#[test]
fn numbers_and_folders_that_make_no_run_name_flag_and_remedy() {
    let scratch = Scratch::new();
    scratch.write("clips/a.mp4", "no video");
    scratch.write("file", "x");
    scratch.write(
        "mine.toml",
        "name = 'mine'\nsource = 'folder'\nstages = ['probe']\n",
    );
    let cases: [(&[&str], &[&str]); 14] = [
        (&["--limit", "0"], &["--limit", "at least 1"]),
        (&["--threads", "0"], &["--threads", "at least 1"]),
        (&["--world", "0"], &["--world", "at least 1"]),
        (
            &["--rank", "5", "--world", "3"],
            &["--rank 5", "--world 3", "the last is 2"],
        ),
        (
            &["--set", "run.shard_clips=0"],
            &["run.shard_clips", "at least 1"],
        ),
        (
            &["--set", "run.stuck_after=-1"],
            &["run.stuck_after", "0 (never)"],
        ),
        (&["--set", "run.max_drop_rate=2"], &["run.max_drop_rate", "0..=1"]),
        (
            &["--set", "run.stuck_aftr=1"],
            &["--set", "did you mean `stuck_after`"],
        ),
        (
            &["--set", "stages=['probe','trak']"],
            &["--set", "did you mean `track`"],
        ),
        (
            &["--set", "source=openhumanvid"],
            &["--source folder", "openhumanvid"],
        ),
        (&["--recipe", "nowhere.toml"], &["nowhere.toml", "omni recipe"]),
        (&["--recipe", "clips"], &["clips", "omni recipe"]),
        (&["--out", "file"], &["file is a file", "--out", "omni.toml"]),
        (&["--out", "file/below"], &["file is a file", "--out"]),
    ];
    for (more, words) in cases {
        let out: &[&str] = if more[0] == "--out" {
            &[]
        } else {
            &["--out", "out"]
        };
        let base = [
            "curate", "--source", "folder", "--root", "clips", "--only", "probe",
        ];
        let output = scratch.omni(&[&base, out, more].concat());
        refused(&output, more, words);
    }
    assert!(!scratch.join("out").exists());
}

#[test]
fn a_source_that_contradicts_the_recipe_is_refused_and_an_equal_one_is_not() {
    let scratch = Scratch::new();
    scratch.write("clips/a.mp4", "no video");
    scratch.write(
        "mine.toml",
        "name = 'mine'\nsource = 'folder'\nstages = ['probe']\n",
    );
    let run = |source: &str| {
        let args = [
            "curate",
            "--recipe",
            "mine.toml",
            "--root",
            "clips",
            "--out",
            "out",
            "--dry-run",
        ];
        scratch.omni(&[&args[..], &["--source", source]].concat())
    };
    let output = run("openhumanvid");
    let text = stderr(&output);
    assert_eq!(code(&output), 2, "{text}");
    for word in ["--source openhumanvid", "source = \"folder\"", "mine.toml"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = run("folder");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn pool_and_select_take_settings_and_name_the_nearest_key() {
    let scratch = Scratch::new();
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (
            &["pool", "--from", "nowhere", "--set", "treshold=0.5"],
            2,
            &["--set", "did you mean `threshold`"],
        ),
        (
            &["pool", "--from", "nowhere", "--set", "threshold=high"],
            2,
            &["--set", "threshold"],
        ),
        (
            &["pool", "--from", "nowhere", "--set", "threshold"],
            2,
            &["--set", "key=value"],
        ),
        (
            &["pool", "--from", "nowhere", "--set", "threshold=0.5"],
            1,
            &["nowhere holds no run"],
        ),
        (
            &["select", "stage1", "--from", "nowhere", "--set", "subject.max=1"],
            2,
            &["did you mean `subjects`"],
        ),
        (
            &["select", "stage1", "--from", "nowhere", "--set", "stage=9"],
            2,
            &["`stage` is 9"],
        ),
        (
            &["select", "stge1", "--from", "nowhere"],
            2,
            &["did you mean `stage1`", "stage1, stage2"],
        ),
    ];
    for (args, expected, words) in cases {
        let output = scratch.omni(args);
        let text = stderr(&output);
        assert_eq!(code(&output), expected, "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?} should say {word}: {text}");
        }
    }
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

/// The commands that a help text lists.
fn commands_of(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   ")) // the rest of a long description
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help" && *name != "completions")
        .collect()
}

/// The words of a command line as a shell gives them, as far as double quotes go.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('"').enumerate();
    let mut words = vec![String::new()];
    for (number, piece) in pieces {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(piece);
            continue;
        }
        for (part, text) in piece.split(' ').enumerate() {
            if part > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(text);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Every example below a command, each parsed: with --help appended it prints help and touches nothing.
fn examples(scratch: &Scratch, command: &[&str]) -> usize {
    let help = stdout(&scratch.omni(&[command, &["--help"]].concat()));
    let below = commands_of(&help);
    // a long example goes on in the next line, as in a shell
    let joined = help.replace("\\\n", " ");
    let block = joined.lines().skip_while(|line| !line.starts_with("Example"));
    let lines: Vec<&str> = block
        .skip(1)
        .map(str::trim)
        .filter(|line| line.starts_with("omni "))
        .collect();
    assert!(
        !lines.is_empty() || !below.is_empty(),
        "{command:?} has no example: {help}"
    );
    for line in &lines {
        let own = format!("omni {}", command.join(" "));
        assert!(line.starts_with(&own), "{line} is no example of {own}");
        let line = [" && ", " | ", " > "]
            .iter()
            .fold(*line, |line, end| line.split(end).next().unwrap_or(line));
        let mut words = words(line);
        words.push("--help".into());
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        assert_eq!(code(&scratch.omni(&words)), 0, "{line}");
    }
    let each = below
        .iter()
        .map(|name| examples(scratch, &[command, &[name]].concat()));
    lines.len() + each.sum::<usize>()
}

#[test]
fn every_command_has_examples_in_its_help() {
    let scratch = Scratch::new();
    let top = stdout(&scratch.omni(&["--help"]));
    let commands = commands_of(&top);
    assert!(commands.len() >= 9, "{top}");
    let number: usize = commands.iter().map(|name| examples(&scratch, &[name])).sum();
    assert!(number >= commands.len(), "{number} examples of {commands:?}");
}

#[test]
fn a_full_stdout_is_named() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        println!("skipped: no /dev/full");
        return;
    };
    let scratch = Scratch::new();
    let output = scratch
        .command(&["recipe", "folder"])
        .stdout(full)
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(
        text.contains("stdout") && text.contains("No space left"),
        "{text}"
    );
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
