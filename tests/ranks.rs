//! `omni train` as several processes: the same losses as one, and what happens when one of them ends.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{
    common::{Scratch, code, stderr, stdout},
    train::{RECIPE, done, encode, refused, reports, train_args},
    train_corpus::curated,
    train_samples::{CASES, with_samples},
};
use serde_json::Value;
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// A port that was free a moment ago.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Clips, latents, a checkpoint and a recipe of 20 steps of four samples.
fn ready() -> Option<Scratch> {
    let scratch = curated()?;
    done(&encode(&scratch, "chosen", "latents", &[]));
    let recipe = RECIPE
        .replace("steps = 6", "steps = 20")
        .replace("joint = 2\nspeech = 2", "joint = 4\nspeech = 4");
    scratch.write("recipe.toml", &recipe);
    Some(scratch)
}

fn command(scratch: &Scratch, out: &str, rank: usize, world: usize, port: u16, more: &[&str]) -> Command {
    let mut command = scratch.command(&train_args("base", out, more));
    command
        .env("CANDLE_NUM_THREADS", "1")
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", world.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn begun(scratch: &Scratch, out: &str, world: usize, more: &[&str]) -> Vec<Child> {
    let port = port();
    (0..world)
        .map(|rank| command(scratch, out, rank, world, port, more).spawn().unwrap())
        .collect()
}

fn ended(children: Vec<Child>) -> Vec<Output> {
    children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect()
}

/// The losses of a run's log, and the kind and samples of each step.
fn log(run: &Path) -> Vec<(f64, Value)> {
    let of = |report: Value| (report["loss"].as_f64().unwrap(), report["ids"].clone());
    reports(run).into_iter().map(of).collect()
}

/// Steps in a log that may be under the pen.
pub fn steps(run: &Path) -> usize {
    std::fs::read_to_string(run.join("log.jsonl")).map_or(0, |text| text.matches('\n').count())
}

fn close(run: &[(f64, Value)], alone: &[(f64, Value)]) {
    assert_eq!(run.len(), alone.len());
    for (step, ((loss, ids), (wanted, same))) in run.iter().zip(alone).enumerate() {
        assert_eq!(ids, same, "step {step}");
        assert!(
            (loss - wanted).abs() <= 1e-5 * wanted.abs(),
            "step {step}: {loss} and {wanted}"
        );
    }
}

#[test]
fn one_two_and_four_processes_have_the_same_losses() {
    let Some(scratch) = ready() else { return };
    // the variables of a single rank ask for nothing
    let one = ended(begun(&scratch, "one", 1, &[]));
    done(&one[0]);
    let alone = log(&scratch.join("one"));
    assert_eq!(alone.len(), 20);
    assert!(alone[19].0 < alone[0].0, "it learned nothing: {alone:?}");
    for world in [2, 4] {
        let name = format!("of-{world}");
        for (rank, output) in ended(begun(&scratch, &name, world, &[])).iter().enumerate() {
            done(output);
            let (out, said) = (stdout(output), stderr(output));
            assert_eq!(rank == 0, out.contains("20 steps done"), "{out}");
            assert_eq!(rank == 0, said.contains("step 20/20"), "{said}");
            assert!(
                rank == 0 || (out.is_empty() && said.is_empty()),
                "rank {rank} spoke: {out}{said}"
            );
        }
        close(&log(&scratch.join(&name)), &alone);
        let states: Vec<_> = std::fs::read_dir(scratch.join(&name).join("checkpoints"))
            .unwrap()
            .collect();
        assert_eq!(states.len(), 2, "{states:?}");
    }
    // a run of several goes on as one, and the other way round, from the state it was asked to stop at: by a signal at any rank
    for (first, then, asked) in [(4, 1, 1), (1, 2, 0)] {
        let name = format!("{first}-then-{then}");
        stopped(&scratch, &name, first, asked);
        let half = steps(&scratch.join(&name));
        assert!((8..20).contains(&half), "{half} steps");
        for output in ended(begun(&scratch, &name, then, &["--resume"])) {
            done(&output);
        }
        close(&log(&scratch.join(&name)), &alone);
    }
}

/// Begins a run and asks one of its ranks to stop after some steps. Where this program is not given a core in time the run comes to
/// its end first; it begins anew then.
fn stopped(scratch: &Scratch, name: &str, world: usize, asked: usize) {
    for _ in 0..20 {
        let mut children = begun(scratch, name, world, &[]);
        reach(&scratch.join(name), 8, &mut children);
        signal("-TERM", &children[asked]);
        let outputs = ended(children);
        if outputs.iter().all(|output| code(output) == 0) {
            std::fs::remove_dir_all(scratch.join(name)).unwrap();
            continue;
        }
        for output in outputs {
            assert_eq!(code(&output), 130, "{}", stderr(&output));
        }
        return;
    }
    panic!("no signal came before the last of 20 steps, in 20 runs");
}

/// Waits until a run has done so many steps, or a rank has ended.
pub fn reach(run: &Path, count: usize, children: &mut [Child]) {
    let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
    while steps(run) < count && !children.iter_mut().any(ended) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether there was a process to tell.
pub fn signal(name: &str, child: &Child) -> bool {
    // the shell's own: a bare system has no program of that name
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill {name} {}", child.id())]);
    kill.stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_killed_rank_stops_the_others_by_name_and_the_run_goes_on_to_the_same_losses() {
    let Some(scratch) = ready() else { return };
    for output in ended(begun(&scratch, "whole", 3, &[])) {
        done(&output);
    }
    let whole = log(&scratch.join("whole"));
    for (victim, after) in [(1, 4), (0, 7), (2, 11)] {
        let more: &[&str] = if after == 4 { &[] } else { &["--resume"] };
        let mut children = begun(&scratch, "killed", 3, more);
        while steps(&scratch.join("killed")) <= after {
            assert!(
                children[victim].try_wait().unwrap().is_none(),
                "it ended by itself"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        children[victim].kill().unwrap();
        let killed = Instant::now();
        let outputs = ended(children);
        assert!(
            killed.elapsed() < Duration::from_secs(60),
            "{:?}",
            killed.elapsed()
        );
        for (rank, output) in outputs.iter().enumerate().filter(|(rank, _)| *rank != victim) {
            let stops = format!("rank {rank} stops: rank {victim} has ended");
            refused(output, 1, &[&format!("rank {rank} of 3"), &stops, "--resume"]);
        }
    }
    for output in ended(begun(&scratch, "killed", 3, &["--resume"])) {
        done(&output);
    }
    assert!(
        log(&scratch.join("killed")) == whole,
        "other losses than those of an unbroken run"
    );
}

#[test]
fn ranks_that_cannot_begin_say_why() {
    let Some(scratch) = ready() else { return };
    // variables that are half set, before anything is opened
    let mut half = scratch.command(&["train", "--recipe", "recipe.toml", "--out", "run"]);
    let half = half.env("RANK", "1").env_remove("WORLD_SIZE").output().unwrap();
    refused(&half, 2, &["RANK is 1", "WORLD_SIZE is not set"]);
    // one with another recipe
    let port = port();
    let children = vec![
        command(&scratch, "run", 0, 2, port, &[]).spawn().unwrap(),
        command(&scratch, "run", 1, 2, port, &["--set", "seed=6"])
            .spawn()
            .unwrap(),
    ];
    for output in ended(children) {
        refused(
            &output,
            2,
            &["rank 1 was given another recipe, checkpoint or data than rank 0"],
        );
    }
    // one that has too little memory stops the other with its reason
    let children = vec![
        command(&scratch, "run", 0, 2, port, &[]).spawn().unwrap(),
        command(&scratch, "run", 1, 2, port, &["--memory", "0.001"])
            .spawn()
            .unwrap(),
    ];
    let outputs = ended(children);
    refused(&outputs[1], 3, &["rank 1 of 2", "this run takes about"]);
    refused(
        &outputs[0],
        1,
        &["rank 0 stops: rank 1 failed: ", "this run takes about"],
    );
    assert!(log(&scratch.join("run")).is_empty(), "something was trained");
    // only rank 0 tells a plan
    let told = |rank| {
        command(&scratch, "run", rank, 2, port, &["--dry-run"])
            .output()
            .unwrap()
    };
    assert!(stdout(&told(0)).contains("moments"));
    done(&told(1));
    assert!(stdout(&told(1)).is_empty());
}

#[test]
fn the_first_of_two_makes_clips_and_exports_and_tells_the_other_why_a_state_is_not_written() {
    let Some(scratch) = ready() else { return };
    scratch.write("cases.jsonl", CASES);
    scratch.write("recipe.toml", &with_samples());
    for (rank, output) in ended(begun(&scratch, "sampled", 2, &[])).iter().enumerate() {
        done(output);
        assert_eq!(
            rank == 0,
            stderr(output).contains("step-00000006"),
            "{}",
            stderr(output)
        );
    }
    for step in ["step-00000003", "step-00000006"] {
        let clip = scratch.join("sampled/samples").join(step).join("first.mp4");
        assert!(clip.is_file(), "{}", clip.display());
    }
    let export = |rank: &str| {
        let mut command = scratch.command(&["train", "export", "sampled", "--out", "model"]);
        command.env("RANK", rank).env("WORLD_SIZE", "2");
        let command = command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", "1");
        done(&command.output().unwrap());
        scratch.join("model").exists()
    };
    assert_eq!([export("1"), export("0")], [false, true]);

    let mut children = begun(&scratch, "hindered", 2, &["--set", "steps=100000"]);
    let (states, aside) = (scratch.join("hindered/checkpoints"), scratch.join("aside"));
    reach(&scratch.join("hindered"), 4, &mut children);
    std::fs::rename(&states, &aside).unwrap();
    std::fs::write(&states, b"no folder").unwrap();
    let outputs = ended(children);
    assert!(
        stderr(&outputs[0]).contains("checkpoints"),
        "{}",
        stderr(&outputs[0])
    );
    assert_ne!(code(&outputs[0]), 0);
    refused(&outputs[1], 1, &["rank 1 stops: rank 0 failed: ", "checkpoints"]);
    std::fs::remove_file(&states).unwrap();
    std::fs::rename(&aside, &states).unwrap();
    // what was written before is whole
    done(&scratch.omni(&["train", "export", "hindered", "--out", "saved"]));
}

/// Half a minute of silence, which is what is waited for.
#[test]
fn a_stopped_rank_stops_the_others_within_a_minute() {
    if std::env::var_os("OMNI_SOAK").is_none() {
        return println!("skipped: half a minute of silence; OMNI_SOAK=1 waits for it");
    }
    let Some(scratch) = ready() else { return };
    let mut children = begun(&scratch, "run", 3, &["--set", "steps=100000"]);
    reach(&scratch.join("run"), 3, &mut children);
    assert!(signal("-STOP", &children[1]));
    let stopped = Instant::now();
    let sleeper = children.remove(1);
    let outputs = ended(children);
    assert!(
        stopped.elapsed() < Duration::from_secs(60),
        "{:?}",
        stopped.elapsed()
    );
    for output in outputs {
        refused(&output, 1, &["rank 1 gave no sign of life for 30 s"]);
    }
    assert!(signal("-CONT", &sleeper));
    refused(&ended(vec![sleeper])[0], 1, &["rank 1 stops: rank"]);
}
