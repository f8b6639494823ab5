//! `omni forget` and `omni gc`: what goes, what stays, what a later run makes of it, and kills on the way.

use crate::{common, made};
use common::{Scratch, code, ffmpeg, stderr, stdout};
use made::{Fate, MadeClip};
use omni_manifests::{read_blob, read_part, verify_part};
use omni_schemas::{FaceRef, Identity, Selection, VoiceRef};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walk(folder)
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(folder).unwrap().to_owned(),
                fs::read(path).unwrap(),
            )
        })
        .collect()
}

fn holds(path: &Path, words: &[u8]) -> bool {
    fs::read(path)
        .unwrap()
        .windows(words.len())
        .any(|window| window == words)
}

/// Three shards of three clips; the person appears in `b0` and `b1`.
fn make(scratch: &Scratch) {
    let clip = |name: &str, fate: Fate| {
        let mut clip = MadeClip::new(name);
        clip.fate = fate;
        clip.words = format!("secret words of {name}");
        clip
    };
    let shard = |n: usize| {
        vec![
            clip(&format!("a{n}"), Fate::Kept),
            clip(&format!("b{n}"), Fate::Kept),
            clip(&format!("c{n}"), Fate::NoFace),
        ]
    };
    fs::create_dir_all(scratch.join("clips")).unwrap();
    made::run(
        &scratch.join("out"),
        &scratch.join("clips"),
        &[shard(0), shard(1), shard(2)],
        9,
    );
    made::select_and_pool(
        &scratch.join("out"),
        &["a0", "b0", "b1", "a2"],
        ("someone", &["b0", "b1"]),
    );
    scratch.write(
        "out/log/clips-00000000-1-1.jsonl",
        "{\"stage\":\"probe\",\"clip\":\"b0\"}\n{\"stage\":\"probe\",\"clip\":\"a0\"}\n",
    );
}

fn part(scratch: &Scratch, stage: &str, shard: usize) -> PathBuf {
    scratch
        .join("out")
        .join(made::dir(stage))
        .join(format!("part-{}.parquet", made::shard_id(shard)))
}

fn forget(scratch: &Scratch, more: &[&str]) -> String {
    let output = scratch.omni(&[&["forget", "out"], more].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output)
}

/// No file of the folder holds the clip's face, voice or words, whatever its receipts say.
fn assert_gone(scratch: &Scratch, clip: &str) {
    let (face, voice) = (made::png(clip, 1), made::wav(clip));
    for path in walk(&scratch.join("out")) {
        assert!(
            !holds(&path, &face) && !holds(&path, &voice),
            "{}",
            path.display()
        );
        assert!(
            path.extension().is_none_or(|kind| kind != "tar") || !holds(&path, format!("{clip}/").as_bytes()),
            "{}",
            path.display()
        );
    }
    for record in [
        "clip",
        "track",
        "face_ref",
        "transcript",
        "caption",
        "voice_ref",
        "av_evidence",
        "binding",
        "omni_caption",
    ] {
        let output = scratch.omni(&[
            "show",
            "out",
            record,
            "--where",
            &format!("clip={clip}"),
            "--json",
        ]);
        assert_eq!((code(&output), stdout(&output).as_str()), (0, ""), "{record}");
    }
    let output = scratch.omni(&[
        "show",
        "out",
        "listing",
        "--where",
        &format!("clip={clip}"),
        "--json",
    ]);
    assert!(
        stdout(&output).contains("\"path\":\"\"") && stdout(&output).contains("\"caption\":null"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_clip_leaves_everything_and_the_rest_stays_sound() {
    let scratch = Scratch::new();
    make(&scratch);
    assert_eq!(code(&scratch.omni(&["report", "out"])), 0);
    let before = bytes(&scratch.join("out"));
    let said = forget(&scratch, &["--clip", "b0", "--dry-run"]);
    assert!(
        said.contains("would forget b0") && said.contains("rows of face_ref"),
        "{said}"
    );
    assert!(bytes(&scratch.join("out")) == before, "a dry run writes nothing");
    let said = forget(&scratch, &["--clip", "b0"]);
    let line = |what: &str| {
        said.lines()
            .find(|line| line.starts_with(what))
            .unwrap_or_else(|| panic!("{what}: {said}"))
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (
            line("rows of face_ref"),
            line("rows of listing"),
            line("pictures, sounds"),
            line("lines of the log")
        ),
        ("1".into(), "1".into(), "2".into(), "1".into())
    );
    assert_gone(&scratch, "b0");
    let mut checks = BTreeMap::new();
    for (stage, _) in made::STAGES {
        let receipt = verify_part(&part(&scratch, stage, 0)).unwrap();
        assert!(!receipt.drops.contains_key("b0") || stage == "probe");
        receipt
            .inputs
            .iter()
            .for_each(|(input, check)| assert_eq!(&checks[input], check, "{stage} reads {input}"));
        checks.insert(stage.to_owned(), receipt.check);
    }
    let receipt = verify_part(&part(&scratch, "probe", 0)).unwrap();
    assert_eq!(receipt.drops["b0"], "forgotten");
    for (path, old) in &before {
        let other = [1, 2]
            .iter()
            .any(|shard| path.to_string_lossy().contains(&made::shard_id(*shard)));
        assert!(
            !other || fs::read(scratch.join("out").join(path)).unwrap() == *old,
            "{} is of another shard",
            path.display()
        );
    }
    let path = part(&scratch, "face_ref", 0);
    let (faces, _) = read_part::<FaceRef>(&path).unwrap();
    assert_eq!(faces.len(), 1);
    assert_eq!(
        read_blob(&path.with_extension("tar"), &faces[0].image).unwrap(),
        made::png("a0", 1)
    );
    let path = part(&scratch, "voice_ref", 0);
    let (voices, _) = read_part::<VoiceRef>(&path).unwrap();
    for voice in &voices {
        assert_eq!(
            read_blob(&path.with_extension("tar"), &voice.audio).unwrap(),
            made::wav(&voice.clip)
        );
    }
    let (rows, _) = read_part::<Selection>(&scratch.join("out/select-stage1/selection.parquet")).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.clip.as_str()).collect::<Vec<_>>(),
        ["a0", "b1", "a2"]
    );
    let (rows, _) = read_part::<Identity>(&scratch.join("out/pool/identity.parquet")).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.identity.as_str()).collect::<Vec<_>>(),
        ["of a0", "of a2"],
        "mean vectors cannot be taken apart"
    );
    assert!(
        !walk(&scratch.join("out/report/data"))
            .iter()
            .any(|path| path.to_string_lossy().contains(&made::shard_id(0)))
    );
    assert_eq!(code(&scratch.omni(&["report", "out"])), 0);
    let after = bytes(&scratch.join("out"));
    forget(&scratch, &["--clip", "b0"]);
    assert_eq!(code(&scratch.omni(&["report", "out"])), 0);
    assert!(
        bytes(&scratch.join("out")) == after,
        "forgetting twice changes nothing"
    );
}

#[test]
fn a_person_leaves_every_clip() {
    let scratch = Scratch::new();
    make(&scratch);
    let said = forget(&scratch, &["--identity", "someone"]);
    assert!(said.contains("forgot b0") && said.contains("forgot b1"), "{said}");
    assert_gone(&scratch, "b0");
    assert_gone(&scratch, "b1");
    let output = scratch.omni(&["forget", "out", "--identity", "someone"]);
    assert!(
        code(&output) == 2 && stderr(&output).contains("no such identity"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn unknown_clips_nothing_at_all_and_a_run_at_work_are_named() {
    let scratch = Scratch::new();
    make(&scratch);
    let before = bytes(&scratch.join("out"));
    for (args, wanted, words) in [
        (&["--clip", "b0", "--clip", "b9"][..], 2, "`b9`"),
        (&[], 2, "--clip KEY or --identity ID"),
        (&["--identity", "nobody"], 2, "no such identity"),
        (&["--identity", "x", "--pool", "nowhere"], 1, "--pool DIR"),
    ] {
        let output = scratch.omni(&[&["forget", "out"], args].concat());
        assert!(
            code(&output) == wanted && stderr(&output).contains(words),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert!(bytes(&scratch.join("out")) == before);
}

/// A kill between the renames of a tar and its part: the part no longer fits, and goes with what was made from it.
#[test]
fn a_killed_forget_is_given_again() {
    let scratch = Scratch::new();
    make(&scratch);
    let face_tar = part(&scratch, "face_ref", 0).with_extension("tar");
    let old = fs::read(part(&scratch, "face_ref", 0)).unwrap();
    forget(&scratch, &["--clip", "b0"]);
    let done = bytes(&scratch.join("out"));
    fs::write(part(&scratch, "face_ref", 0), old).unwrap();
    assert!(
        verify_part(&part(&scratch, "face_ref", 0)).is_err(),
        "its tar is the new one"
    );
    let said = forget(&scratch, &["--clip", "b0"]);
    let line = said
        .lines()
        .find(|line| line.starts_with("parts of older steps, or unsound"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{said}");
    assert!(!face_tar.exists() && !part(&scratch, "face_ref", 0).exists());
    for (path, bytes) in done
        .iter()
        .filter(|(path, _)| !path.to_string_lossy().contains("face_ref"))
    {
        assert!(
            fs::read(scratch.join("out").join(path)).unwrap() == *bytes,
            "{}",
            path.display()
        );
    }
    assert_gone(&scratch, "b0");
}

/// Kills at any moment: the same command then ends as it should, and everything that is left is sound.
#[test]
fn chained_kills_leave_nothing_of_the_clip_and_nothing_unsound() {
    let scratch = Scratch::new();
    make(&scratch);
    let whole = bytes(&scratch.join("out"));
    for round in 0..12 {
        fs::remove_dir_all(scratch.join("out")).unwrap();
        for (path, bytes) in &whole {
            let path = scratch.join("out").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let mut child = scratch
            .command(&["forget", "out", "--clip", "b0", "--clip", "a2"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        forget(&scratch, &["--clip", "b0", "--clip", "a2"]);
        assert_eq!(code(&scratch.omni(&["gc", "out"])), 0);
        assert_gone(&scratch, "b0");
        assert_gone(&scratch, "a2");
        for path in walk(&scratch.join("out")) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with('.'), "{} is left", path.display());
            if name.starts_with("part-") && name.ends_with(".parquet") {
                verify_part(&path).unwrap();
            }
        }
    }
}

const RECIPE: &str = "name = 'mine'\nsource = 'folder'\nstages = ['probe', 'caption_ingest']\n";

fn films(scratch: &Scratch) -> bool {
    fs::create_dir_all(scratch.join("clips")).unwrap();
    scratch.write("mine.toml", RECIPE);
    ["one", "two", "three"].iter().all(|name| {
        let path = scratch.join("clips").join(format!("{name}.mp4"));
        ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=64x64:r=10:d=2",
            "-f",
            "lavfi",
            "-i",
            "sine=f=300:d=2",
            "-pix_fmt",
            "yuv420p",
            "-shortest",
            path.to_str().unwrap(),
        ])
    })
}

fn curate(scratch: &Scratch, out: &str) -> String {
    let output = scratch.omni(&["curate", "--recipe", "mine.toml", "--root", "clips", "--out", out]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output)
}

/// Parts, tars and listings, without what may differ between two equal runs.
fn results(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = bytes(folder);
    all.retain(|path, _| path.components().count() == 2 && !path.starts_with("log"));
    all
}

/// What forgetting leaves is what a run makes that knew of it from the start; a later run makes nothing, and brings
/// nothing back even when every trace of the first one is lost.
#[test]
fn no_later_run_brings_a_clip_back() {
    let scratch = Scratch::new();
    if !films(&scratch) {
        return;
    }
    let whole = curate(&scratch, "out");
    assert!(
        whole.contains("kept         3") || whole.contains("kept  "),
        "{whole}"
    );
    forget(&scratch, &["--clip", "two.mp4"]);
    let left = results(&scratch.join("out"));
    fs::create_dir_all(scratch.join("fresh")).unwrap();
    fs::copy(
        scratch.join("out/forgotten.json"),
        scratch.join("fresh/forgotten.json"),
    )
    .unwrap();
    let said = curate(&scratch, "fresh");
    assert!(said.contains("dropped: forgotten"), "{said}");
    let fresh = results(&scratch.join("fresh"));
    assert_eq!(left.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
    for (path, bytes) in &left {
        assert!(
            fresh[path] == *bytes,
            "{} differs from a run that knew",
            path.display()
        );
    }
    let times = |folder: &str| {
        walk(&scratch.join(folder))
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("part-"))
            .map(|path| fs::metadata(path).unwrap().modified().unwrap())
            .collect::<Vec<_>>()
    };
    let before = times("out");
    curate(&scratch, "out");
    assert_eq!(times("out"), before, "nothing is made again");
    assert!(results(&scratch.join("out")) == left);
    for path in left.keys() {
        fs::remove_file(scratch.join("out").join(path)).unwrap();
    }
    curate(&scratch, "out");
    assert!(
        results(&scratch.join("out")) == left,
        "made anew, still without it"
    );
}

/// A kill right after the list was written: the next run sees parts that hold the clip, and makes them again without.
#[test]
fn a_run_after_a_killed_forget_keeps_the_clip_out() {
    let scratch = Scratch::new();
    if !films(&scratch) {
        return;
    }
    curate(&scratch, "out");
    let whole = results(&scratch.join("out"));
    forget(&scratch, &["--clip", "two.mp4"]);
    let wanted = results(&scratch.join("out"));
    for (path, bytes) in &whole {
        fs::write(scratch.join("out").join(path), bytes).unwrap();
    }
    let output = scratch.omni(&[
        "curate",
        "--recipe",
        "mine.toml",
        "--root",
        "clips",
        "--out",
        "out",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("it holds a clip that was forgotten"),
        "{}",
        stderr(&output)
    );
    assert!(results(&scratch.join("out")) == wanted);
}

#[test]
fn gc_removes_what_the_last_run_does_not_use_and_nothing_else() {
    let scratch = Scratch::new();
    if !films(&scratch) {
        return;
    }
    let output = scratch.omni(&["gc", "out"]);
    assert!(
        code(&output) == 1 && stderr(&output).contains("holds no run"),
        "{}",
        stderr(&output)
    );
    curate(&scratch, "out");
    let output = scratch.omni(&["gc", "out"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "nothing to remove\n")
    );
    scratch.write(
        "mine.toml",
        &format!("{RECIPE}\n[settings.probe]\nmin_seconds = 1.5\n"),
    );
    curate(&scratch, "out");
    assert_eq!(code(&scratch.omni(&["report", "out"])), 0);
    let kept = bytes(&scratch.join("out"));
    let probe = fs::read_dir(scratch.join("out"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("probe-"))
        .count();
    assert_eq!(probe, 2);
    let mine = scratch.write("out/notes-0123456789ab/mine.txt", "somebody's own");
    scratch.write("out/.gc-probe-0123456789ab/part-x.parquet", "left by a kill");
    scratch.write("out/report/data/cards-0123456789abcdef-0123456789ab-0.js", "old");
    let output = scratch.omni(&["gc", "out", "--dry-run"]);
    let said = stdout(&output);
    for words in [
        "a step of other settings",
        "left by a killed gc",
        "data of an older report",
        "would be removed",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(scratch.join("out/.gc-probe-0123456789ab").exists());
    assert_eq!(code(&scratch.omni(&["gc", "out"])), 0);
    assert!(mine.exists());
    fs::remove_dir_all(mine.parent().unwrap()).unwrap();
    let left = bytes(&scratch.join("out"));
    let run: serde_json::Value = serde_json::from_slice(&left[Path::new("run.json")]).unwrap();
    let used: Vec<String> = run["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["dir"].as_str().unwrap().to_owned())
        .collect();
    for (path, bytes) in &kept {
        let first = path
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        let step = first.starts_with("probe-") || first.starts_with("caption_ingest-");
        assert_eq!(
            left.get(path),
            (!step || used.contains(&first)).then_some(bytes),
            "{}",
            path.display()
        );
    }
    let output = scratch.omni(&["gc", "out"]);
    assert_eq!(stdout(&output), "nothing to remove\n");
    let output = scratch.omni(&[
        "curate",
        "--recipe",
        "mine.toml",
        "--root",
        "clips",
        "--out",
        "out",
    ]);
    assert!(
        code(&output) == 0 && !stderr(&output).contains("probe: 1/"),
        "nothing a run needs is gone: {}",
        stderr(&output)
    );
}
