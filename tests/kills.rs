//! A run that is killed again and again ends as if nothing had happened.
//!
//! The real process group is killed with SIGKILL, resumed, killed again. Kills come at random moments and at aimed
//! ones: in every stage, and between the writing of a file and its renaming. `OMNI_SEED` repeats a chain of delays.

use crate::{common, kit};
use common::{Scratch, code};
use kit::{Group, Random, Signals};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Aimed kills may miss: a short stage is over before the signal arrives.
const TRIES: usize = 12;

struct Chain {
    scratch: Scratch,
    args: Vec<String>,
    signals: Signals,
    random: Random,
    /// Kills, and how many of them came while a stage had work to do.
    kills: usize,
    by_stage: BTreeMap<String, usize>,
    /// Runs that were over before the signal.
    finished: usize,
    /// Kills that left a file under its temporary name: between write and rename.
    unrenamed: usize,
}

impl Chain {
    fn new(sample: &Path) -> Chain {
        let mut args: Vec<String> = ["curate", "--source", "openhumanvid", "--root"]
            .map(String::from)
            .into();
        args.extend([
            sample.to_str().unwrap().into(),
            "--set".into(),
            "run.shard_clips=3".into(),
        ]);
        if !kit::soak() {
            args.extend(["--limit", "9", "--seed", "1"].map(String::from));
        }
        Chain {
            scratch: Scratch::new(),
            args,
            signals: Signals::new(),
            random: Random::new(),
            kills: 0,
            by_stage: BTreeMap::new(),
            finished: 0,
            unrenamed: 0,
        }
    }

    fn command(&self, out: &str) -> std::process::Command {
        let args: Vec<&str> = self
            .args
            .iter()
            .map(String::as_str)
            .chain(["--out", out])
            .collect();
        self.scratch.command(&args)
    }

    fn complete(&self, out: &str) {
        let output = self.command(out).output().unwrap();
        assert_eq!(code(&output), 0, "{}", common::stderr(&output));
    }

    fn killed(&self) -> PathBuf {
        self.scratch.join("killed")
    }

    fn undisturbed(&self) -> PathBuf {
        self.scratch.join("undisturbed")
    }

    /// One run, killed as soon as `seen`; `None` when it was over before. With one thread steps come in order.
    fn kill_when(&mut self, threads: &str, seen: impl FnMut() -> bool) -> Option<String> {
        let before = kit::finished(&self.killed()).len();
        let stderr = self.scratch.join("stderr.txt");
        let mut command = self.command("killed");
        command.args(["--threads", threads]);
        let mut group = Group::spawn(command, &stderr);
        if let Some(status) = group.until(seen) {
            assert!(status.success(), "{}", group.said());
            self.finished += 1;
            return None;
        }
        self.signals.send("KILL", &group);
        let status = group.child.wait().unwrap();
        if status.success() {
            self.finished += 1;
            return None;
        }
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "{}",
            group.said()
        );
        self.kills += 1;
        let at_work = group.said().contains(" shards");
        let stage = if at_work {
            self.stage_in_flight()
        } else {
            "start".into()
        };
        *self.by_stage.entry(stage.clone()).or_default() += 1;
        let left = temporaries(&self.killed());
        self.unrenamed += usize::from(!left.is_empty());
        kit::assert_sound(&self.killed(), &self.undisturbed());
        let after = kit::finished(&self.killed()).len();
        println!(
            "kill {}: {stage}, {before} -> {after} files, left: {left:?}",
            self.kills
        );
        Some(stage)
    }

    /// What was being made: the first part, by shard and stage, that an undisturbed run has and this one lacks. With
    /// two threads a later one may have been in the making too.
    fn stage_in_flight(&self) -> String {
        let listing = kit::json(&self.undisturbed().join("run.json"))["listing"]
            .as_str()
            .unwrap()
            .to_owned();
        let index = kit::json(&self.undisturbed().join(listing).join("listing.json"));
        for shard in index["shards"].as_array().unwrap() {
            let part = format!("part-{}.parquet", shard["id"].as_str().unwrap());
            for (stage, dir) in kit::stages(&self.undisturbed()) {
                let dir = self.killed().join(dir.file_name().unwrap());
                if !dir.join(&part).exists() {
                    return stage;
                }
            }
        }
        "end".into()
    }

    /// Kills while a stage is at work: once the part before it is there, or once it writes.
    fn aim(&mut self, stage: &str) {
        let stages = kit::stages(&self.undisturbed());
        let folder = |name: &Path| self.killed().join(name.file_name().unwrap());
        let (place, (_, dir)) = stages
            .iter()
            .enumerate()
            .find(|(_, (name, _))| name == stage)
            .unwrap();
        let (mine, before) = (folder(dir), folder(&stages[place.max(1) - 1].1));
        for _ in 0..TRIES {
            let done = parts(&before);
            let wait = Duration::from_millis(self.random.below(3));
            let seen = || {
                let next = place > 0 && parts(&before) > done;
                if next {
                    std::thread::sleep(wait);
                }
                next || !temporaries(&mine).is_empty()
            };
            match self.kill_when("1", seen) {
                Some(hit) if hit == stage => return,
                Some(_) => {}
                None => {
                    // Everything is done: take this stage's parts away, so that it has work again.
                    kit::walk(&mine)
                        .iter()
                        .for_each(|part| fs::remove_file(part).unwrap());
                }
            }
        }
        panic!("{TRIES} kills missed `{stage}`: {:?}", self.by_stage);
    }

    /// Kills after a random delay; a run that is over gets one stage's parts taken away.
    fn random_kill(&mut self) {
        let delay = Duration::from_millis(self.random.below(8000));
        let began = Instant::now();
        if self.kill_when("2", || began.elapsed() >= delay).is_none() {
            let stages = kit::stages(&self.undisturbed());
            let pick = &stages[self.random.below(stages.len() as u64) as usize].1;
            let dir = self.killed().join(pick.file_name().unwrap());
            kit::walk(&dir)
                .iter()
                .for_each(|part| fs::remove_file(part).unwrap());
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn parts(folder: &Path) -> usize {
    names(folder)
        .iter()
        .filter(|name| name.starts_with("part-") && name.ends_with(".parquet"))
        .count()
}

/// Parts and tars under a temporary name, in a stage's folder or below.
fn temporaries(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = names(folder)
        .into_iter()
        .filter(|name| name.starts_with(".part-") && name.ends_with(".tmp"))
        .collect();
    for name in names(folder).iter().filter(|name| folder.join(name).is_dir()) {
        found.extend(temporaries(&folder.join(name)));
    }
    found
}

#[test]
fn chained_kills_change_nothing() {
    let Some(sample) = kit::sample() else { return };
    let mut chain = Chain::new(&sample);
    chain.complete("undisturbed");
    let stages: BTreeSet<String> = kit::stages(&chain.undisturbed())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (stage, _) in kit::stages(&chain.undisturbed()) {
        chain.aim(&stage);
    }
    let wanted = if kit::soak() { 100 } else { 20 };
    let mut spare = 3 * wanted;
    while chain.kills < wanted || chain.unrenamed == 0 {
        spare -= 1;
        assert!(
            spare > 0,
            "{} kills only, {} runs were over before",
            chain.kills,
            chain.finished
        );
        chain.random_kill();
    }
    chain.complete("killed");
    let files = kit::assert_same(&chain.killed(), &chain.undisturbed());
    assert_eq!(kit::numbers(&chain.killed()), kit::numbers(&chain.undisturbed()));
    assert_eq!(kit::leftovers(&chain.killed()), Vec::<PathBuf>::new());
    let suspects = chain.killed().join("log/suspects.json");
    assert!(!suspects.exists(), "a kill made a clip suspect of crashing");
    assert!(stages.iter().all(|stage| chain.by_stage.contains_key(stage)));
    println!(
        "{} kills ({:?}), {} between write and rename, {} runs over before; {files} files equal",
        chain.kills, chain.by_stage, chain.unrenamed, chain.finished
    );
}
