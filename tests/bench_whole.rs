//! `omni bench`: what a run, a report and a case file do when something is doubled, lost, late, or would be written over.

use crate::{
    bench_run::{case, header, picture, readings, run, write_cases},
    common::{Scratch, code, ffmpeg, stderr, stdout},
    kit,
};
use serde_json::Value;
use std::{fs, fs::OpenOptions, io::Write};

const CLIP: &str = "testsrc=size=64x48:rate=10:duration=1";

fn says(output: &std::process::Output, wanted: i32, words: &[&str]) {
    let text = format!("{}{}", stdout(output), stderr(output));
    assert_eq!(code(output), wanted, "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_metric_named_twice_has_its_rows_once() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1)]);
    if !picture(&scratch, "clips/a.mp4", CLIP) {
        return;
    }
    says(&run(&scratch, &["--metrics", "tf,tf", "--out", "flags"]), 0, &[]);
    scratch.write("omni.toml", "[bench]\nmetrics = ['tf', 'tf']\n");
    says(&run(&scratch, &["--out", "file"]), 0, &[]);
    for out in ["flags", "file"] {
        assert_eq!(kit::rows(&scratch, out, "score").len(), 1, "{out}");
        assert_eq!(
            header(&scratch, out)["metrics"].as_array().unwrap().len(),
            1,
            "{out}"
        );
    }
    let clip = scratch.omni(&["bench", "score", "clips/a.mp4", "--metrics", "tf,tf", "--json"]);
    says(&clip, 0, &[]);
    let report: Value = serde_json::from_str(&stdout(&clip)).unwrap();
    assert_eq!(report["readings"].as_array().unwrap().len(), 1);
}

#[test]
fn clips_whose_time_starts_late_are_scored() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1), case("b", 1)]);
    if !picture(&scratch, "clips/a.mp4", CLIP) {
        return;
    }
    let (from, to) = (scratch.join("clips/a.mp4"), scratch.join("clips/b.mp4"));
    let late = [
        "-itsoffset",
        "2",
        "-i",
        from.to_str().unwrap(),
        "-c",
        "copy",
        "-copyts",
    ];
    assert!(ffmpeg(&[&late[..], &[to.to_str().unwrap()]].concat()));
    says(
        &run(&scratch, &["--metrics", "tf", "--out", "out", "--strict"]),
        0,
        &[],
    );
    let got = readings(&scratch, "out");
    assert_eq!(got["a tf"], got["b tf"]);
}

#[test]
fn one_run_at_a_time_in_a_folder() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1)]);
    if !picture(&scratch, "clips/a.mp4", CLIP) {
        return;
    }
    let args = ["--metrics", "tf", "--out", "out"];
    says(&run(&scratch, &args), 0, &[]);
    let before = header(&scratch, "out");
    let mut other = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(scratch.join("out/.lock"))
        .unwrap();
    other.try_lock().unwrap();
    write!(other, "4242").unwrap();
    says(&run(&scratch, &args), 2, &["process 4242", "give another --out"]);
    assert_eq!(header(&scratch, "out"), before);
    drop(other);
    says(&run(&scratch, &args), 0, &[]);
}

#[test]
fn a_run_of_which_a_part_is_lost_is_not_taken_for_a_whole_one() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1), case("b", 2)]);
    if !picture(&scratch, "clips/a.1.mp4", CLIP) {
        return;
    }
    for name in ["a.2", "b.1"] {
        fs::copy(
            scratch.join("clips/a.1.mp4"),
            scratch.join(&format!("clips/{name}.mp4")),
        )
        .unwrap();
    }
    let score = || says(&run(&scratch, &["--metrics", "tf", "--out", "out"]), 0, &[]);
    let report = |strict: bool| {
        let args = ["bench", "report", "out", "--format", "csv"];
        scratch.omni(&[&args[..], if strict { &["--strict"] } else { &[] }].concat())
    };
    score();
    // The clip of a seed is missing: that is another matter, and no loss.
    let whole = report(false);
    says(&whole, 0, &["1 of 4 outputs are missing"]);
    assert!(!stderr(&whole).contains("not_scored"), "{}", stderr(&whole));
    for stage in ["score", "generation"] {
        let folders = fs::read_dir(scratch.join("out")).unwrap().map(Result::unwrap);
        let own = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(stage));
        for part in own.flat_map(|folder| fs::read_dir(folder.path()).unwrap().map(Result::unwrap)) {
            fs::remove_file(part.path()).unwrap();
        }
        let words = [
            "of 4 of 4 clips",
            "not_scored",
            "run `omni bench run` into it again",
        ];
        // Without its clips there is nothing left to report of.
        says(&report(false), i32::from(stage == "generation"), &words);
        says(&report(true), 1, &words);
        if stage == "score" {
            assert!(
                stdout(&report(false)).contains("not_scored:2"),
                "{}",
                stdout(&report(false))
            );
            let why = scratch.omni(&["bench", "why", "out", "out", "--case", "a"]);
            says(&why, 0, &words);
        }
    }
    score();
    assert!(!stderr(&report(false)).contains("not_scored"));
    let listing = fs::read_dir(scratch.join("out")).unwrap().map(Result::unwrap);
    let listing = listing
        .into_iter()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("listing-"));
    fs::remove_file(listing.unwrap().path().join("listing.json")).unwrap();
    let gone = report(false);
    says(&gone, 1, &["listing.json", "run `omni bench run` again"]);
    assert!(!stderr(&gone).contains("omni curate"), "{}", stderr(&gone));
}

#[test]
fn case_files_are_written_whole_and_never_over_what_is_read() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1)]);
    let text = fs::read_to_string(scratch.join("cases.jsonl")).unwrap();
    let export = [
        "bench",
        "cases",
        "export",
        "cases.jsonl",
        "--format",
        "ovi-csv",
        "--out",
    ];
    let over = scratch.omni(&[&export[..], &["./cases.jsonl"]].concat());
    says(&over, 2, &["is the file that is read"]);
    scratch.write("talk.json", r#"{"a": 1}"#);
    let import = [
        "bench",
        "cases",
        "import",
        "talk.json",
        "--format",
        "multitalk",
        "--out",
        "cases.jsonl",
    ];
    says(
        &scratch.omni(&import),
        1,
        &["has no text `prompt`", "cases.jsonl is not written"],
    );
    says(
        &scratch.omni(&[&import[..], &["--language", "english"]].concat()),
        2,
        &["--language english"],
    );
    assert_eq!(fs::read_to_string(scratch.join("cases.jsonl")).unwrap(), text);
    scratch.write("empty.jsonl", "\n");
    let empty = [
        "bench",
        "cases",
        "export",
        "empty.jsonl",
        "--format",
        "ovi-csv",
        "--out",
        "cases.jsonl",
    ];
    says(&scratch.omni(&empty), 1, &["no sound case"]);
    assert_eq!(fs::read_to_string(scratch.join("cases.jsonl")).unwrap(), text);
    says(
        &scratch.omni(&["bench", "cases", "check", "empty.jsonl"]),
        1,
        &["is empty"],
    );
    fs::create_dir(scratch.join("clips")).unwrap();
    let run = [
        "bench",
        "run",
        "--cases",
        "empty.jsonl",
        "--outputs",
        "clips",
        "--method",
        "ours",
        "--out",
        "out",
    ];
    says(&scratch.omni(&run), 1, &["empty.jsonl is empty"]);
    scratch.write("folder/x", "");
    says(
        &scratch.omni(&[&export[..], &["folder"]].concat()),
        1,
        &["folder"],
    );
    says(
        &scratch.omni(&[&export[..], &["prompts.csv"]].concat()),
        0,
        &["1 cases written"],
    );
    let left: Vec<_> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains("tmp")),
        "{left:?}"
    );
}

#[test]
fn a_way_that_omni_toml_names_wrongly_is_said_to_be_there() {
    let scratch = Scratch::new();
    write_cases(&scratch, &[case("a", 1)]);
    fs::create_dir(scratch.join("clips")).unwrap();
    scratch.write("omni.toml", "[bench]\nsync_mode = 'all'\n");
    let told = run(&scratch, &["--metrics", "tf", "--out", "out"]);
    says(&told, 2, &["omni.toml", "sync_mode", "all-tracks"]);
    assert!(!stderr(&told).contains("--sync-mode"), "{}", stderr(&told));
}

#[test]
fn the_library_for_a_graphics_card_has_an_id_of_its_own() {
    let scratch = Scratch::new();
    let clip = scratch.join("a.mp4");
    if !ffmpeg(&["-f", "lavfi", "-i", CLIP, clip.to_str().unwrap()]) {
        return;
    }
    let Some(store) = crate::common::store() else {
        return;
    };
    // The networks are here, the library for cards is not.
    fs::create_dir(scratch.join("store")).unwrap();
    std::os::unix::fs::symlink(store.join("models"), scratch.join("store/models")).unwrap();
    scratch.write("omni.toml", "store = 'store'\n");
    let mut command = scratch.command(&[
        "bench",
        "score",
        "a.mp4",
        "--metrics",
        "face",
        "--device",
        "cuda:0",
    ]);
    let output = command
        .env_remove("OMNI_CACHE")
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    says(&output, 3, &["omni models pull onnxruntime-gpu"]);
}
