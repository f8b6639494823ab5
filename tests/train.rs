//! `omni encode` and `omni train` on a curated run that is made here: two clips of drawn pictures and tones, two utterances.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{common, train_corpus};
use common::{Scratch, code, stderr, stdout};
use omni_manifests::{Receipt, write_part};
use omni_model::{
    checkpoint::{Config, Preset, init},
    generate::Precision,
};
use omni_schemas::{Reference, Selection};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
};
use train_corpus::{CLIPS, curated, seen};

/// A selection whose references come from the clip that `from` names.
pub fn select(scratch: &Scratch, name: &str, from: impl Fn(&str) -> String) {
    let rows: Vec<Selection> = CLIPS
        .into_iter()
        .map(|clip| selected(clip, &from(clip)))
        .collect();
    write_selection(scratch, name, &rows);
}

/// The row of a clip whose references come from another, or from itself.
pub fn selected(clip: &str, from: &str) -> Selection {
    Selection {
        clip: clip.to_owned(),
        path: clip.to_owned(),
        subjects: i64::from(seen(clip)),
        speakers: 1,
        languages: vec!["en".to_owned()],
        origin: "in_pair".to_owned(),
        prompt: String::new(),
        licence: None,
        references: vec![Reference {
            subject: 1,
            speaker: Some("A".to_owned()),
            face_clip: from.to_owned(),
            face_subject: 1,
            voice_clip: Some(from.to_owned()),
            voice_speaker: Some("A".to_owned()),
        }],
    }
}

pub fn write_selection(scratch: &Scratch, name: &str, rows: &[Selection]) {
    let receipt = Receipt {
        stage: "select".to_owned(),
        stage_version: 1,
        settings: json!({ "name": name }),
        ..Receipt::default()
    };
    std::fs::create_dir_all(scratch.join(name)).unwrap();
    write_part(&scratch.join(name).join("selection.parquet"), rows, &receipt).unwrap();
}

pub fn encode(scratch: &Scratch, selection: &str, out: &str, more: &[&str]) -> Output {
    let args = [
        "encode",
        "--from",
        "out",
        "--selection",
        selection,
        "--checkpoint",
        "base",
        "--out",
        out,
        "--size",
        "64x64",
        "--seconds",
        "0.5",
    ];
    scratch.omni(&[&args[..], more].concat())
}

pub const RECIPE: &str = "name = 'test'\nseed = 5\nsteps = 6\npattern = ['joint', 'speech']\nema = 0.9\n\
    [batch]\njoint = 2\nspeech = 2\n[keep]\nevery = 2\nlast = 2\nmilestone = 0\n\
    [[weights]]\nkeys = ['ocf.*', 'mtp_ca.*']\nmode = 'train'\nlr = 1e-3\nlr_end = 1e-4\n\
    [[weights]]\nkeys = ['*']\nmode = 'train'\nlr = 1e-3\n";

/// `omni train` of the recipe on the latents, beginning from a checkpoint.
pub fn train_args<'a>(from: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "train",
        "--recipe",
        "recipe.toml",
        "--data",
        "latents",
        "--from",
        from,
        "--out",
        out,
    ];
    [&args[..], more].concat()
}

pub fn train(scratch: &Scratch, out: &str, more: &[&str]) -> Output {
    scratch.omni(&train_args("base", out, more))
}

pub fn done(output: &Output) {
    assert_eq!(code(output), 0, "{}{}", stdout(output), stderr(output));
}

pub fn refused(output: &Output, number: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), number, "{}{said}", stdout(output));
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// The lines of a run's log; none where no step was logged.
pub fn logged(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("log.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What was reported of each step of a run.
pub fn reports(run: &Path) -> Vec<Value> {
    logged(run)
        .into_iter()
        .map(|mut line| line["report"].take())
        .collect()
}

/// Every file below a folder, by its path.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                all.insert(entry.path().strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    all
}

#[test]
fn clips_become_latents_and_latents_a_checkpoint() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &["--dry-run"]));
    assert!(!scratch.join("latents").exists());
    done(&encode(&scratch, "chosen", "latents", &[]));
    let shown = scratch.omni(&["show", "latents", "latents", "--json"]);
    let rows: Vec<Value> = stdout(&shown)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4, "{}", stdout(&shown));
    let of = |clip: &str| rows.iter().find(|row| row["clip"] == clip).unwrap();
    // 0.5 s at 24 a second: 13 pictures, 4 latent frames, 8666 samples
    let clip = of("a.mp4");
    assert_eq!(
        (&clip["width"], &clip["height"], &clip["frames"], &clip["audio"]),
        (&json!(64), &json!(64), &json!(4), &json!(16))
    );
    assert_eq!(
        (&clip["subjects"], &clip["utterances"], &clip["own_reference"]),
        (&json!(1), &json!(1), &json!(true))
    );
    assert_eq!(
        (&of("c.wav")["video"], &of("c.wav")["audio"]),
        (&json!(false), &json!(15))
    );
    done(&encode(&scratch, "chosen", "latents", &["--check", "3"]));
    let clip = scratch.join("latents/check/a.mp4.mp4");
    let info = omni_media::probe(
        &clip,
        &omni_media::Span::default(),
        &omni_media::Limits::default(),
    )
    .unwrap();
    let video = info.video.unwrap();
    assert_eq!((video.width, video.height, video.frames), (64, 64, 13));
    assert!(
        scratch.join("latents/check/c.wav.wav").is_file()
            && !scratch.join("latents/check/d.wav.wav").exists()
    );
    let before = files(&scratch.join("latents"));
    done(&encode(&scratch, "chosen", "latents", &[]));
    let parts = |all: &BTreeMap<PathBuf, Vec<u8>>| {
        all.clone()
            .into_iter()
            .filter(|(path, _)| {
                path.extension()
                    .is_some_and(|ending| ending == "tar" || ending == "parquet")
            })
            .collect::<Vec<_>>()
    };
    assert!(
        parts(&before) == parts(&files(&scratch.join("latents"))),
        "a second run changed something"
    );

    scratch.write("recipe.toml", RECIPE);
    let planned = train(&scratch, "run", &["--dry-run"]);
    done(&planned);
    for words in [
        "ocf.*, mtp_ca.*",
        "trained",
        "moments",
        "f32 masters",
        "each of 4",
        "as f32 on cpu",
        "TFLOP",
        "days",
    ] {
        assert!(stdout(&planned).contains(words), "{}", stdout(&planned));
    }
    let half = stdout(&train(&scratch, "run", &["--dry-run", "--dtype", "bf16"]));
    assert!(half.contains("as bf16 on cpu"), "{half}");
    let row = |text: &str, what: &str| -> Vec<f64> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(what))
            .unwrap();
        line.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let (masters, moments) = (row(&half, "f32 masters"), row(&half, "moments"));
    assert!(
        masters[0] > 0.0 && row(&stdout(&planned), "f32 masters")[1] == 0.0,
        "{half}"
    );
    assert!((moments[0] / moments[2] - 4.0).abs() < 0.2, "{half}");
    assert!(!scratch.join("run").exists());
    let ran = train(&scratch, "run", &[]);
    done(&ran);
    assert!(stderr(&ran).contains("step 6/6 speech"), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("no share of peak"), "{}", stderr(&ran));
    let lines = logged(&scratch.join("run"));
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[1]["report"]["kind"], "speech");
    assert!(lines[0]["flops"].as_f64().unwrap() > lines[1]["flops"].as_f64().unwrap());
    assert!(lines[0].get("share_of_peak").is_none());
    let ids = lines[0]["report"]["ids"].as_array().unwrap();
    assert!(
        ids.len() == 2 && ids.iter().all(|id| id.as_str().unwrap().ends_with(".mp4")),
        "{ids:?}"
    );
    assert!(scratch.join("run/events.out.tfevents.train").is_file());

    // a run that is there is not begun again, and one that is finished has nothing left to do
    refused(&train(&scratch, "run", &[]), 2, &["--resume"]);
    let again = scratch.omni(&["train", "--out", "run", "--resume"]);
    done(&again);
    let step = |step: &str| scratch.omni(&["train", "replay", "run", "--step", step]);
    let replayed = step("5");
    done(&replayed);
    assert!(
        stdout(&replayed).contains("(the same)") && stdout(&replayed).contains("c.wav"),
        "{}",
        stdout(&replayed)
    );
    refused(&step("6"), 2, &["the run has 6 steps"]);

    // the state is a checkpoint: the next stage begins from it
    let state = "run/checkpoints/step-00000006";
    let next = train_args(state, "next", &["--set", "steps=1", "--set", "pattern=['joint']"]);
    done(&scratch.omni(&next));
    done(&scratch.omni(&["train", "export", "run", "--out", "model", "--ema"]));
    let exported = train_args("model", "last", &["--dry-run"]);
    done(&scratch.omni(&exported));
    refused(
        &scratch.omni(&["train", "export", "run", "--out", "model"]),
        2,
        &["there already"],
    );
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", &RECIPE.replace("steps = 6", "steps = 12"));
    done(&train(&scratch, "whole", &[]));
    for (round, lines) in [1, 4, 5, 9].into_iter().enumerate() {
        let again: &[&str] = if round > 0 { &["--resume"] } else { &[] };
        let args = train_args("base", "killed", again);
        let mut child = scratch
            .command(&args)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let log = scratch.join("killed/log.jsonl");
        loop {
            let written = std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
            if written > lines || child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    done(&train(&scratch, "killed", &["--resume"]));
    let state = |run: &str| files(&scratch.join(run).join("checkpoints"));
    let (whole, killed) = (state("whole"), state("killed"));
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        killed.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &whole {
        assert!(*bytes == killed[name], "{} differs", name.display());
    }
    let [whole, killed] = ["whole", "killed"].map(|run| reports(&scratch.join(run)));
    assert!(!whole.is_empty() && whole == killed, "{whole:?} and {killed:?}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", RECIPE);
    // recipes
    let with = |old: &str, new: &str| {
        assert!(RECIPE.contains(old));
        scratch.write("recipe.toml", &RECIPE.replace(old, new));
        train(&scratch, "run", &[])
    };
    refused(
        &with("lr = 1e-3\nlr_end", "lr = 1e3\nlr_end"),
        2,
        &["`lr` is 1000"],
    );
    refused(
        &with("steps = 6", "stepps = 6"),
        2,
        &["line 3", "did you mean `steps`?"],
    );
    refused(
        &with("keys = ['ocf.*', 'mtp_ca.*']", "keys = ['ocff.*']"),
        2,
        &["no key of this network"],
    );
    let frozen = "name='a'\nseed=1\nsteps=1\npattern=['joint']\n[[weights]]\nkeys=['*']\nmode='freeze'\n";
    scratch.write("recipe.toml", frozen);
    refused(&train(&scratch, "run", &[]), 2, &["trains nothing"]);
    refused(
        &with("seed = 5", "seed = 5\ntake = { references = 'cross_pair' }"),
        2,
        &["no sample for joint steps", "references from their own clip"],
    );
    scratch.write("recipe.toml", RECIPE);
    refused(
        &scratch.omni(&[
            "train", "--recipe", "stage9", "--data", "latents", "--from", "base", "--out", "run",
        ]),
        2,
        &["stage9", "did you mean"],
    );
    // memory: told before a weight is loaded, with what would fit
    refused(
        &train(&scratch, "run", &["--memory", "0.001"]),
        3,
        &[
            "this run takes about",
            "no setting of the recipe would make it fit",
        ],
    );
    let planned = stdout(&train(&scratch, "run", &["--dry-run"]));
    let all = planned.lines().find(|line| line.trim_start().starts_with("all"));
    let all: f64 = all.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let little_less = format!("{}", (all - 0.2) / 1024.0);
    refused(
        &train(&scratch, "run", &["--memory", &little_less]),
        3,
        &["it would fit with", "dtype = \"bf16\"", "2 ranks"],
    );
    // places and types
    refused(
        &train(&scratch, "run", &["--device", "gpu"]),
        2,
        &["cpu and cuda:N"],
    );
    refused(
        &train(&scratch, "run", &["--dtype", "f16"]),
        2,
        &["training has f32 and bf16"],
    );
    refused(
        &train(&scratch, "run", &["--peak-tflops", "0"]),
        2,
        &["--peak-tflops 0"],
    );
    #[cfg(not(feature = "cuda"))]
    refused(
        &train(&scratch, "run", &["--device", "cuda:0"]),
        3,
        &["without CUDA", "--device cpu"],
    );
    // data of other networks
    let mut other = Config::preset(Preset::Tiny, 8).unwrap();
    other.seed = Some(8);
    init(&other, Precision::F32, &scratch.join("other")).unwrap();
    let args = train_args("other", "run", &[]);
    refused(
        &scratch.omni(&args),
        2,
        &["encoded with other networks", "is another file"],
    );
    assert!(!scratch.join("run").exists());
    // a run of another recipe
    done(&train(
        &scratch,
        "run",
        &["--set", "steps=1", "--set", "pattern=['joint']"],
    ));
    refused(
        &train(&scratch, "run", &["--resume"]),
        2,
        &["another recipe", "`steps` was 1, it is 6"],
    );
    // a full disk: files end at 64 KiB, the state before stays
    let full = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} train --recipe recipe.toml --data latents --from base --out full",
        env!("CARGO_BIN_EXE_omni")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &full])
        .current_dir(scratch.path())
        .output()
        .unwrap();
    refused(&output, 1, &["model.safetensors"]);
    assert!(files(&scratch.join("full/checkpoints")).is_empty());
    done(&train(&scratch, "full", &["--resume"]));
    // artifacts that are gone or damaged
    let tar = files(&scratch.join("latents"))
        .into_keys()
        .find(|path| path.extension().is_some_and(|ending| ending == "tar"))
        .unwrap();
    let tar = scratch.join("latents").join(tar);
    let mut bytes = std::fs::read(&tar).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&tar, bytes).unwrap();
    refused(
        &train(&scratch, "damaged", &[]),
        1,
        &["its latents cannot be read", "encode it again"],
    );
    std::fs::remove_file(&tar).unwrap();
    refused(
        &train(&scratch, "gone", &[]),
        3,
        &["are gone", "give the same `omni encode` again"],
    );
    assert!(!scratch.join("gone").exists());
}

#[test]
fn a_run_in_bf16_goes_on_tells_its_share_of_peak_and_notices_damage() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    let frozen = RECIPE.replace(
        "keys = ['*']\nmode = 'train'\nlr = 1e-3\n",
        "keys = ['*']\nmode = 'freeze'\n",
    );
    scratch.write("recipe.toml", &frozen);
    let half = ["--dtype", "bf16", "--peak-tflops", "0.5"];
    let ran = train(&scratch, "run", &[&half[..], &["--set", "steps=4"]].concat());
    done(&ran);
    assert!(stderr(&ran).contains("% of peak)"), "{}", stderr(&ran));
    let lines = logged(&scratch.join("run"));
    assert_eq!(lines.len(), 4);
    for line in lines {
        let number = |key: &str| line[key].as_f64().unwrap();
        let share = number("flops") / number("seconds") / 0.5e12;
        assert!(
            share > 0.0 && (number("share_of_peak") / share - 1.0).abs() < 1e-9,
            "{line}"
        );
    }
    // a byte of the weights that stay turns: said before a step is done, and the state after it is not made
    let path = scratch.join("run/checkpoints/step-00000004/frozen.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let again = || scratch.omni(&["train", "--out", "run", "--resume"]);
    refused(&again(), 1, &["frozen.safetensors", "BLAKE3 differs"]);
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    done(&again());
    done(&scratch.omni(&["train", "export", "run", "--out", "model"]));
    let exported = train_args("model", "last", &["--dry-run"]);
    done(&scratch.omni(&exported));
}

#[test]
fn a_run_goes_on_with_what_may_change_and_with_nothing_else() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", RECIPE);
    done(&train(&scratch, "run", &[]));
    let resumed = |set: &str| scratch.omni(&["train", "--out", "run", "--resume", "--set", set]);
    done(&resumed("optimizer.offload=true"));
    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.join("run/run.json")).unwrap()).unwrap();
    assert_eq!(kept["recipe"]["optimizer"]["offload"], true);
    refused(&resumed("seed=9"), 2, &["`seed` was 5, it is 9"]);
    refused(&resumed("pattern=[]"), 2, &["pattern"]);
    // a step that was logged is made again
    let replayed = scratch.omni(&["train", "replay", "run", "--step", "3"]);
    done(&replayed);
    assert!(stdout(&replayed).contains("(the same)"), "{}", stdout(&replayed));
}

#[test]
fn references_from_other_clips_are_no_references_from_the_target() {
    let Some(scratch) = curated() else { return };
    select(&scratch, "crossed", |clip| {
        if clip == "a.mp4" {
            "b.mp4".to_owned()
        } else {
            "a.mp4".to_owned()
        }
    });
    done(&encode(&scratch, "crossed", "latents", &[]));
    scratch.write(
        "recipe.toml",
        &RECIPE.replace("seed = 5", "seed = 5\ntake = { references = 'cross_pair' }"),
    );
    done(&train(&scratch, "run", &["--set", "steps=1"]));
    // another selection is another encoding: nothing of the first is taken for it
    done(&encode(&scratch, "chosen", "latents", &[]));
    refused(&train(&scratch, "again", &[]), 2, &["no sample for joint steps"]);
    refused(
        &encode(&scratch, "chosen", "moved", &["--root", "elsewhere"]),
        3,
        &["the corpus elsewhere does not exist"],
    );
    refused(
        &encode(&scratch, "nowhere", "latents", &[]),
        3,
        &["--selection nowhere does not exist"],
    );
    refused(
        &encode(&scratch, "chosen", "latents", &["--size", "64"]),
        2,
        &["WIDTHxHEIGHT"],
    );
}

#[test]
fn the_examples_of_what_can_be_done_with_a_run_parse() {
    let scratch = Scratch::new();
    let recipe = stdout(&scratch.omni(&["recipe", "stage1"]));
    assert!(recipe.contains("pattern = [\"joint\", \"speech\"]"), "{recipe}");
    for command in ["replay", "export"] {
        let help = stdout(&scratch.omni(&["train", command, "--help"]));
        let example = help
            .lines()
            .skip_while(|line| !line.starts_with("Example"))
            .nth(1)
            .unwrap()
            .trim();
        assert!(example.starts_with(&format!("omni train {command}")), "{example}");
        let words: Vec<&str> = example.split_whitespace().skip(1).chain(["--help"]).collect();
        assert_eq!(code(&scratch.omni(&words)), 0, "{example}");
    }
}
