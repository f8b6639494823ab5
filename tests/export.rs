//! `omni export`: every format, read back by hand and, where a package has a reader, by it.
//!
//! `OMNI_PYTHON` names a Python with `webdataset` and `mlcroissant`; without one those two checks are passed over.

use crate::{common, made};
use common::{Scratch, code, stderr, stdout};
use made::{Fate, MadeClip};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Four kept clips (one without its media file) and a dropped one.
fn make(scratch: &Scratch) {
    let clip = |key: &str, fps: f64, fate: Fate| {
        let mut clip = MadeClip::new(key);
        (clip.fps, clip.fate) = (fps, fate);
        clip
    };
    let mut clips = [
        clip("a.1/x", 25.0, Fate::Kept),
        clip("b", 25.0, Fate::Kept),
        clip("c", 30000.0 / 1001.0, Fate::Kept),
        clip("gone", 25.0, Fate::Kept),
        clip("d", 25.0, Fate::NoFace),
    ];
    clips[0].people = 2;
    clips[0].caption = "Zwei Leute, 👩‍🚀 \"quoted\"\nand a line".into();
    clips[1].licence = None;
    for clip in clips.iter().filter(|clip| clip.key != "gone") {
        scratch.write(&format!("clips/{}", clip.path), &format!("film of {}", clip.key));
    }
    made::run(
        &scratch.join("out"),
        &scratch.join("clips"),
        &[clips[..2].to_vec(), clips[2..].to_vec()],
        9,
    );
}

fn export(scratch: &Scratch, more: &[&str]) -> (i32, String, String) {
    let output = scratch.omni(&[&["export", "out"], more].concat());
    (code(&output), stdout(&output), stderr(&output))
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry
                    .path()
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_lines_hold_everything_and_a_second_export_writes_nothing() {
    let scratch = Scratch::new();
    make(&scratch);
    let args = ["--format", "jsonl", "--out", "rows"];
    let (code, said, left) = export(&scratch, &args);
    assert_eq!(
        (code, said.trim()),
        (1, "3 clips as jsonl, written: rows"),
        "{left}"
    );
    assert!(left.contains("left out: 1 clips, no_media"), "{left}");
    let rows = lines(&scratch.join("rows/data.jsonl"));
    let first = &rows[0];
    assert_eq!(
        (
            &first["clip"],
            &first["licence"],
            &first["source"],
            &rows[1]["licence"]
        ),
        (
            &"a.1/x".into(),
            &"CC-BY-4.0".into(),
            &"folder".into(),
            &Value::Null
        )
    );
    let video = scratch.join("rows").join(first["video"].as_str().unwrap());
    assert_eq!(fs::read_to_string(&video).unwrap(), "film of a.1/x");
    assert_eq!(
        fs::metadata(&video).unwrap().ino(),
        fs::metadata(scratch.join("clips/a.1/x.mp4")).unwrap().ino(),
        "a hard link"
    );
    let subjects = first["subjects"].as_array().unwrap();
    let read = |name: &Value| fs::read(scratch.join("rows").join(name.as_str().unwrap())).unwrap();
    assert_eq!(read(&subjects[0]["face"]), made::png("a.1/x", 1));
    assert_eq!(read(&subjects[1]["face"]), made::png("a.1/x", 2));
    assert_eq!(read(&subjects[0]["voice"]), made::wav("a.1/x"));
    assert!(subjects[1].get("voice").is_none());
    let (prompt, said) = (first["prompt"].as_str().unwrap(), &first["utterances"][0]);
    let span = |name: &str| said[name].as_u64().unwrap() as usize;
    let words: String = prompt
        .chars()
        .skip(span("start"))
        .take(span("end") - span("start"))
        .collect();
    assert_eq!(words, said["text"].as_str().unwrap());
    let inode = fs::metadata(scratch.join("rows")).unwrap().ino();
    let (code, said, _) = export(&scratch, &args);
    assert_eq!(
        (code, said.trim()),
        (1, "3 clips as jsonl, was there already: rows")
    );
    assert_eq!(fs::metadata(scratch.join("rows")).unwrap().ino(), inode);
    fs::remove_file(video).unwrap();
    assert!(
        export(&scratch, &args).1.contains("written"),
        "a file that is missing is put back"
    );
    assert_eq!(
        fs::read_dir(scratch.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
            .count(),
        0,
        "nothing is left beside it"
    );
}

#[test]
fn two_exports_are_equal_and_copies_are_copies() {
    let scratch = Scratch::new();
    make(&scratch);
    for format in ["jsonl", "webdataset", "ltx", "croissant"] {
        let mut both = ["one", "two"].map(|parent| {
            let to = format!("{parent}/{format}");
            assert_eq!(
                export(&scratch, &["--format", format, "--out", &to, "--media", "copy"]).0,
                1
            );
            let mut files = files(&scratch.join(&to));
            files.remove("export.json").expect("says what it is");
            files
        });
        assert_eq!(
            both[0].keys().collect::<Vec<_>>(),
            both[1].keys().collect::<Vec<_>>()
        );
        assert!(both[0] == both[1], "{format}");
        both[0].clear();
    }
    let row = &lines(&scratch.join("one/jsonl/data.jsonl"))[1];
    let copy = scratch.join("one/jsonl").join(row["video"].as_str().unwrap());
    assert_ne!(
        fs::metadata(copy).unwrap().ino(),
        fs::metadata(scratch.join("clips/b.mp4")).unwrap().ino()
    );
}

#[test]
fn ltx_and_musubi_get_what_their_readers_want() {
    let scratch = Scratch::new();
    make(&scratch);
    assert_eq!(export(&scratch, &["--format", "ltx", "--out", "ltx"]).0, 1);
    let rows: Vec<Value> =
        serde_json::from_slice(&fs::read(scratch.join("ltx/dataset.json")).unwrap()).unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(
            row["caption"].as_str().unwrap().contains("<S>")
                && scratch.join("ltx").join(row["video"].as_str().unwrap()).is_file(),
            "{row}"
        );
        for taken in [
            "audio",
            "media_path",
            "reference_video",
            "ref_media_path",
            "reference_audio",
            "video_mask",
            "audio_mask",
        ] {
            assert!(row.get(taken).is_none());
        }
    }
    assert_eq!(export(&scratch, &["--format", "musubi", "--out", "musubi"]).0, 1);
    let config: toml::Table =
        toml::from_str(&fs::read_to_string(scratch.join("musubi/dataset.toml")).unwrap()).unwrap();
    let datasets = config["datasets"].as_array().unwrap();
    let rates: Vec<f64> = datasets
        .iter()
        .map(|one| one["source_fps"].as_float().expect("a decimal number"))
        .collect();
    assert_eq!(rates, [25.0, 29.97]);
    let caches: Vec<&str> = datasets
        .iter()
        .map(|one| one["cache_directory"].as_str().unwrap())
        .collect();
    assert_ne!(caches[0], caches[1], "each dataset has its own cache");
    let all: Vec<Value> = datasets
        .iter()
        .flat_map(|one| lines(Path::new(one["video_jsonl_file"].as_str().unwrap())))
        .collect();
    assert_eq!(all.len(), 3);
    for row in all {
        assert!(
            Path::new(row["video_path"].as_str().unwrap()).is_file()
                && row["caption"].is_string()
                && row["clip"].is_string(),
            "{row}"
        );
        assert!(
            row.get("references").is_none()
                && row.get("teacher_caption").is_none()
                && row.get("control_path").is_none()
        );
    }
}

#[test]
fn a_selection_chooses_and_media_can_stay_where_they_are() {
    let scratch = Scratch::new();
    make(&scratch);
    made::select_and_pool(&scratch.join("out"), &["b", "d"], ("someone", &["b"]));
    let args = [
        "--format",
        "jsonl",
        "--out",
        "few",
        "--selection",
        "out/select-stage1",
        "--media",
        "none",
    ];
    let (code, said, left) = export(&scratch, &args);
    assert_eq!(
        (code, said.trim()),
        (0, "1 clips as jsonl, written: few"),
        "{left}"
    );
    let row = &lines(&scratch.join("few/data.jsonl"))[0];
    assert_eq!(
        fs::read_to_string(row["video"].as_str().unwrap()).unwrap(),
        "film of b"
    );
    assert!(!scratch.join("few/videos").exists());
    let (code, _, said) = export(
        &scratch,
        &["--format", "jsonl", "--out", "few", "--selection", "out"],
    );
    assert!(code == 2 && said.contains("omni select"), "{said}");
}

#[test]
fn a_folder_of_somebody_else_is_left_alone_and_a_killed_export_is_swept() {
    let scratch = Scratch::new();
    make(&scratch);
    scratch.write("mine/notes.txt", "keep");
    let (code, _, said) = export(&scratch, &["--format", "ltx", "--out", "mine"]);
    assert!(
        code == 1 && said.contains("no export") && said.contains("--out"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(scratch.join("mine/notes.txt")).unwrap(),
        "keep"
    );
    // What kills leave: half a folder, and an old export between the two renames.
    scratch.write(".half.4194999.exporting/dataset.json", "[");
    scratch.write(".half.4194999.replaced/export.json", "{\"fingerprint\":\"old\"}");
    scratch.write(&format!(".half.{}.exporting/x", std::process::id()), "alive");
    assert_eq!(export(&scratch, &["--format", "ltx", "--out", "half"]).0, 1);
    assert!(
        !scratch.join(".half.4194999.exporting").exists() && !scratch.join(".half.4194999.replaced").exists()
    );
    assert!(
        scratch
            .join(&format!(".half.{}.exporting", std::process::id()))
            .exists(),
        "another process is at work"
    );
    assert!(scratch.join("half/dataset.json").is_file());
}

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("OMNI_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| "python3".into());
    let ready = Command::new(&python)
        .args(["-c", "import webdataset, mlcroissant"])
        .output();
    let ready = ready.is_ok_and(|output| output.status.success());
    if !ready {
        println!(
            "skipped: {} has no webdataset and mlcroissant; OMNI_PYTHON names one that has",
            python.display()
        );
    }
    ready.then_some(python)
}

fn ask(python: &Path, folder: &Path, script: &str) -> Value {
    let output = Command::new(python)
        .args(["-c", script])
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap()
}

#[test]
fn the_webdataset_package_reads_its_tars() {
    let scratch = Scratch::new();
    make(&scratch);
    assert_eq!(
        export(&scratch, &["--format", "webdataset", "--out", "shards"]).0,
        1
    );
    let names = Command::new("tar")
        .args(["tf", "shards/clips-000000.tar"])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert!(
        stdout(&names).lines().any(|name| name == "b.json")
            && stdout(&names).lines().any(|name| name == "b.sub1.wav")
    );
    let Some(python) = python() else { return };
    let script = "import webdataset as wds, json\n\
        rows = list(wds.WebDataset('shards/clips-000000.tar', shardshuffle=False))\n\
        print(json.dumps([[r['__key__'], sorted(k for k in r if k[0] != '_'), r['mp4'].decode(), json.loads(r['json'])['clip'], r['txt'].decode() == json.loads(r['json'])['prompt']] for r in rows]))";
    let rows = ask(&python, scratch.path(), script);
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    assert_eq!(
        rows[1],
        serde_json::json!([
            "b",
            ["json", "mp4", "sub1.png", "sub1.wav", "txt"],
            "film of b",
            "b",
            true
        ])
    );
    assert_eq!(
        (&rows[0][3], &rows[0][2]),
        (&"a.1/x".into(), &"film of a.1/x".into()),
        "a key with a dot"
    );
}

#[test]
fn the_croissant_package_reads_its_records() {
    let scratch = Scratch::new();
    make(&scratch);
    assert_eq!(
        export(&scratch, &["--format", "croissant", "--out", "described"]).0,
        1
    );
    let about: Value =
        serde_json::from_slice(&fs::read(scratch.join("described/croissant.json")).unwrap()).unwrap();
    assert_eq!(
        (&about["conformsTo"], &about["license"]),
        (
            &"http://mlcommons.org/croissant/1.0".into(),
            &serde_json::json!(["CC-BY-4.0"])
        )
    );
    let Some(python) = python() else { return };
    let script = "import mlcroissant as mlc, json\n\
        text = lambda v: v.decode() if isinstance(v, bytes) else v\n\
        data = mlc.Dataset(jsonld='described/croissant.json')\n\
        rows = list(data.records(record_set='clips'))\n\
        print(json.dumps([[text(r['clips/clip']), float(r['clips/fps']), int(r['clips/width']), text(r['clips/video'])] for r in rows]))";
    let rows = ask(&python, scratch.path(), script);
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    assert_eq!(rows[1], serde_json::json!(["b", 25.0, 320, "videos/b.mp4"]));
}
