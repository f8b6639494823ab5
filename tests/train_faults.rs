//! What must not cost a run of training: a second process, a damaged state, a folder that is another command's, nobody who listens.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{
    common::{Scratch, code, stderr},
    ranks::{reach, signal, steps},
    train::{RECIPE, done, encode, refused, train, train_args},
    train_corpus::curated,
};
use std::{
    fs::{self, File},
    process::Stdio,
};

/// Clips, latents, a checkpoint and a recipe of six steps.
fn ready() -> Option<Scratch> {
    let scratch = curated()?;
    done(&encode(&scratch, "chosen", "latents", &[]));
    scratch.write("recipe.toml", RECIPE);
    Some(scratch)
}

#[test]
fn a_second_process_is_refused_and_spoils_nothing() {
    let Some(scratch) = ready() else { return };
    let encoder = || fs::read(scratch.join("base/text/model.safetensors")).unwrap();
    let before = encoder();
    // so many states are kept that none goes while it is read
    let more = [
        "--set",
        "steps=100000",
        "--set",
        "keep.every=1",
        "--set",
        "keep.last=100000",
    ];
    let mut command = scratch.command(&train_args("base", "run", &more));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut children = [command.spawn().unwrap()];
    reach(&scratch.join("run"), 3, &mut children);
    let number = format!("(process {}) is at work", children[0].id());
    let words = ["another `omni train`", &number, "another --out"];
    refused(&scratch.omni(&["train", "--out", "run", "--resume"]), 2, &words);
    refused(&train(&scratch, "run", &[]), 2, &["--resume"]);
    // who only reads is welcome, and takes nothing away that is being written
    for copy in ["one", "two", "three", "four"] {
        done(&scratch.omni(&["train", "export", "run", "--out", copy]));
        done(&scratch.omni(&["train", "replay", "run", "--step", "1"]));
    }
    assert!(children[0].try_wait().unwrap().is_none(), "it ended");
    assert!(signal("-TERM", &children[0]));
    let [mut child] = children;
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(encoder() == before, "the checkpoint it began with changed");
    done(&scratch.omni(&["train", "export", "run", "--out", "model"]));
}

#[test]
fn a_folder_that_is_something_else_is_left_as_it_is() {
    let Some(scratch) = ready() else { return };
    let of_encode = || fs::read(scratch.join("latents/run.json")).unwrap();
    let before = of_encode();
    refused(
        &train(&scratch, "latents", &[]),
        2,
        &["is the output of `omni encode`", "--out"],
    );
    assert!(of_encode() == before);
    refused(&train(&scratch, "base", &[]), 2, &["is a checkpoint", "--out"]);
    assert!(!scratch.join("base/run.json").exists());
    let nothing = scratch.omni(&["train", "--out", "tpyo", "--resume"]);
    refused(&nothing, 3, &["there is no run in tpyo"]);
    assert!(!scratch.join("tpyo").exists());
}

#[test]
fn a_damaged_state_is_named_and_the_one_before_it_goes_on() {
    let Some(scratch) = ready() else { return };
    done(&train(&scratch, "run", &[]));
    let state = scratch.join("run/checkpoints/step-00000006");
    let resume = || scratch.omni(&["train", "--out", "run", "--resume"]);
    for name in [
        "model.safetensors",
        "state/optimizer.safetensors",
        "state/ema.safetensors",
    ] {
        let sound = fs::read(state.join(name)).unwrap();
        let mut bytes = sound.clone();
        *bytes.last_mut().unwrap() ^= 0x40;
        fs::write(state.join(name), bytes).unwrap();
        refused(&resume(), 1, &[name, "BLAKE3 differs", "move"]);
        let export = scratch.omni(&["train", "export", "run", "--out", "model"]);
        refused(&export, 1, &[name, "BLAKE3 differs"]);
        assert!(!scratch.join("model").exists());
        fs::write(state.join(name), sound).unwrap();
    }
    done(&resume());
    // a state under the name of another step
    let other = state.with_file_name("step-00000005");
    fs::rename(&state, &other).unwrap();
    refused(&resume(), 2, &["step-00000005", "the state after 6 steps"]);
    // as the message of a damaged one says
    fs::rename(&other, scratch.join("aside")).unwrap();
    let again = resume();
    done(&again);
    assert!(
        stderr(&again).contains("going on after step 4"),
        "{}",
        stderr(&again)
    );
    // and what the log does not have cannot be the same
    fs::write(scratch.join("run/log.jsonl"), b"").unwrap();
    let replay = scratch.omni(&["train", "replay", "run", "--step", "4"]);
    refused(&replay, 1, &["nothing to compare with"]);
    let resumed = resume();
    done(&resumed);
    assert!(
        stderr(&resumed).contains("lacks 6 of the 6 steps"),
        "{}",
        stderr(&resumed)
    );
}

#[test]
fn nobody_who_listens_is_no_reason_to_stop() {
    let Some(scratch) = ready() else { return };
    let mut command = scratch.command(&train_args("base", "run", &[]));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    drop(child.stdout.take()); // a reader that goes away at once
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(steps(&scratch.join("run")), 6);
    assert!(scratch.join("run/checkpoints/step-00000006").is_dir());
}

#[test]
fn a_sample_that_is_lost_on_the_way_costs_no_step() {
    let Some(scratch) = ready() else { return };
    let more = ["--set", "steps=100000", "--set", "keep.every=50000"];
    let mut command = scratch.command(&train_args("base", "run", &more));
    let mut children = [command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()];
    reach(&scratch.join("run"), 4, &mut children);
    let mut cut = 0;
    for folder in fs::read_dir(scratch.join("latents")).unwrap() {
        let Ok(files) = fs::read_dir(folder.unwrap().path()) else {
            continue;
        };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_some_and(|ending| ending == "tar") {
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(100)
                    .unwrap();
                cut += 1;
            }
        }
    }
    assert!(cut > 0, "no latents");
    let [child] = children;
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let states = fs::read_dir(scratch.join("run/checkpoints")).unwrap();
    let names: Vec<String> = states
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let done: Vec<usize> = names
        .iter()
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
        .collect();
    assert!(matches!(done[..], [done] if done >= 4), "{names:?}");
}
