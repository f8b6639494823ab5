//! Clips made on the way of a run, and states of a run that trains a part of the network.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{
    common::{code, stderr, stdout},
    train::{RECIPE, done, encode, refused, reports, train},
    train_corpus::curated,
};
use std::{fs, os::unix::fs::MetadataExt};

pub const CASES: &str = r#"{"case":"first","subset":1,"prompt":"A man <sub1> says, <S>Hello.<E>","subjects":[{"anchor":"<sub1>","visible":true,"speaks":true}],"utterances":[{"anchor":"<sub1>","text":"Hello.","language":"en"}]}
{"case":"second","subset":1,"prompt":"A man <sub1> says, <S>Hello.<E>","subjects":[{"anchor":"<sub1>","visible":true,"speaks":true}],"utterances":[{"anchor":"<sub1>","text":"Hello.","language":"en"}]}
"#;
const SAMPLES: &str =
    "[samples]\nevery = 3\ncases = 'cases.jsonl'\ncount = 1\nseconds = 0.5\nsteps = 1\n[[weights]]";

pub fn with_samples() -> String {
    RECIPE.replacen("[[weights]]", SAMPLES, 1)
}

#[test]
fn clips_are_made_on_the_way_and_change_nothing_else() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", &with_samples());
    refused(&train(&scratch, "sampled", &[]), 3, &["cases.jsonl"]);
    scratch.write("cases.jsonl", CASES);
    let ran = train(&scratch, "sampled", &[]);
    done(&ran);
    let said = stderr(&ran);
    for step in ["step-00000003", "step-00000006"] {
        let folder = scratch.join("sampled/samples").join(step);
        for file in ["first.mp4", "first.json", "cases.jsonl", "method.toml"] {
            assert!(folder.join(file).is_file(), "{step}/{file}: {said}");
        }
        assert!(!folder.join("second.mp4").exists());
        let told = format!("omni bench run --cases sampled/samples/{step}/cases.jsonl");
        assert!(said.contains(&told), "{said}");
    }
    let names = fs::read_dir(scratch.join("sampled/samples")).unwrap().count();
    assert_eq!(names, 2, "a checkpoint for sampling was left");
    // not one clip of both: the weights moved in between
    let clip = |step: &str| {
        fs::read(
            scratch
                .join("sampled/samples")
                .join(step)
                .join("first.safetensors"),
        )
        .unwrap()
    };
    assert!(clip("step-00000003") != clip("step-00000006"));

    scratch.write("recipe.toml", RECIPE);
    done(&train(&scratch, "plain", &[]));
    assert_eq!(reports(&scratch.join("sampled")), reports(&scratch.join("plain")));

    // what cannot be made is said, and the run goes on
    scratch.write("recipe.toml", &with_samples());
    scratch.write("cases.jsonl", &CASES.replacen("<E>", "", 1));
    let broken = train(&scratch, "broken", &[]);
    done(&broken);
    assert!(
        stderr(&broken).contains("training goes on") && reports(&scratch.join("broken")).len() == 6,
        "{}",
        stderr(&broken)
    );
    scratch.write("recipe.toml", &with_samples().replace("count = 1", "count = 0"));
    refused(&train(&scratch, "none", &[]), 2, &["`samples.count` is 0"]);
}

#[test]
fn a_state_of_a_run_that_trains_a_part_is_a_checkpoint_that_shares_the_rest() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    let parts = RECIPE.replace(
        "keys = ['*']\nmode = 'train'\nlr = 1e-3\n",
        "keys = ['*']\nmode = 'freeze'\n",
    );
    assert!(parts != RECIPE);
    scratch.write("recipe.toml", &parts);
    done(&train(&scratch, "run", &[]));
    let state = |step: &str| scratch.join("run/checkpoints").join(step);
    let frozen = |step: &str| fs::metadata(state(step).join("frozen.safetensors")).unwrap();
    assert_eq!(frozen("step-00000004").ino(), frozen("step-00000006").ino());
    let size = |name: &str| fs::metadata(state("step-00000006").join(name)).unwrap().len();
    assert!(size("model.safetensors") * 3 < size("frozen.safetensors"));
    // marks that were taken over are true: the state opens, and its clip is that of the exported checkpoint
    done(&scratch.omni(&["train", "export", "run", "--out", "model"]));
    let sample = |checkpoint: &str, out: &str| {
        let prompt = "A man <sub1> says, <S>Hello.<E>";
        let args = ["sample", "--checkpoint", checkpoint, "--prompt", prompt];
        let more = ["--seconds", "0.5", "--steps", "1", "--method", "m", "--out", out];
        done(&scratch.omni(&[&args[..], &more].concat()));
        let folder = fs::read_dir(scratch.join(out))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut made = folder.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
        fs::read(made.next().unwrap()).unwrap()
    };
    assert!(sample("run/checkpoints/step-00000006", "a") == sample("model", "b"));
    // a byte of the shared file that changes is noticed
    let path = state("step-00000006").join("frozen.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let args = [
        "sample",
        "--checkpoint",
        "run/checkpoints/step-00000006",
        "--prompt",
        "A man.",
        "--out",
        "c",
    ];
    let output = scratch.omni(&args);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(
        stderr(&output).contains("frozen.safetensors"),
        "{}",
        stderr(&output)
    );
}

/// The row of docs/experiments.md without SA-MRoPE: what was trained with references apart from the words is sampled so.
#[test]
fn a_checkpoint_trained_without_anchors_is_sampled_without_them() {
    let Some(scratch) = curated() else { return };
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", RECIPE);
    done(&train(&scratch, "apart", &["--set", "anchored=false"]));
    done(&train(&scratch, "plain", &[]));
    let config = |folder: &str| fs::read_to_string(scratch.join(folder).join("config.toml")).unwrap();
    let state = "apart/checkpoints/step-00000006";
    assert!(config(state).contains("anchored = false"));
    assert!(!config("plain/checkpoints/step-00000006").contains("anchored"));
    done(&scratch.omni(&["train", "export", "apart", "--out", "model"]));
    assert!(config("model").contains("anchored = false"));
    // the same weights with the references at the words
    done(&scratch.omni(&["train", "export", "apart", "--out", "at-words"]));
    let other = config("at-words").replace("anchored = false\n", "");
    scratch.write("at-words/config.toml", &other);
    let latents = |checkpoint: &str| {
        let out = format!("{}-clips", checkpoint.replace('/', "-"));
        let prompt = "A tall man <sub1> sits and says, <S>Good morning<E>";
        done(&scratch.omni(&[
            "sample",
            "--checkpoint",
            checkpoint,
            "--prompt",
            prompt,
            "--voice",
            "media/c.wav",
            "--seconds",
            "0.5",
            "--steps",
            "1",
            "--method",
            "m",
            "--out",
            &out,
        ]));
        let all = fs::read_dir(scratch.join(&out))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let found = all.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
        found.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let apart = latents("model");
    assert_eq!(apart.len(), 1);
    assert!(
        apart == latents(state),
        "an export samples something else than its state"
    );
    assert!(apart != latents("at-words"), "`anchored` changes nothing");
}
