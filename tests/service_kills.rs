//! Whole runs of `omni curate` with two service stages, killed again and again while services are asked. The servers'
//! own logs prove the bound: calls that were made twice are at most those in flight at each kill.
//!
//! `OMNI_SEED` repeats the moments; 5 kills, 20 with `OMNI_SOAK`.

use crate::{bench, common, kit};
use bench::Bench;
use common::{code, stderr};
use kit::{Group, Random, Signals};
use omni_loopback::{Options, Personality, Server};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

const RECIPE: &str = r#"
name = "killed"
source = "openhumanvid"
stages = ["probe", "transcribe_service", "voice_resynth", "caption_ingest"]

[settings.transcribe_service]
probe_sound = false

[run]
shard_clips = 4
"#;
/// Of each service.
const IN_FLIGHT: usize = 3;

fn slow() -> Options {
    Options {
        work: Duration::from_millis(120),
        ..Options::default()
    }
}

struct Chain {
    bench: Bench,
    voices: Server,
    signals: Signals,
    random: Random,
}

impl Chain {
    fn args(&self, services: &str, out: &str) -> Vec<String> {
        let mut args = vec!["--services".into(), services.into(), "--out".into(), out.into()];
        if !kit::soak() {
            args.extend(["--limit", "12", "--seed", "1"].map(String::from));
        }
        let voices = format!("voice_resynth.endpoint.url={}", self.voices.url());
        let bounds = ["transcribe_service", "voice_resynth"];
        let bounds = bounds.map(|stage| format!("{stage}.endpoint.in_flight={IN_FLIGHT}"));
        for key in bounds.into_iter().chain([voices]) {
            args.extend(["--set".into(), format!("settings.{key}")]);
        }
        args
    }

    fn command(&self, services: &str, out: &str) -> std::process::Command {
        let args = self.args(services, out);
        self.bench
            .command(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn asked(&self) -> usize {
        self.bench.server.log().len() + self.voices.log().len()
    }

    /// Kills a run a little after it has asked `more` questions; whether it was still there.
    fn kill(&mut self) -> bool {
        let before = self.asked();
        let more = 1 + self.random.below(4) as usize;
        let pause = Duration::from_millis(self.random.below(150));
        let stderr = self.bench.scratch.join("stderr.txt");
        let mut group = Group::spawn(self.command("live", "killed"), &stderr);
        let mut since: Option<Instant> = None;
        let over = group.until(|| {
            if self.asked() >= before + more {
                since.get_or_insert_with(Instant::now);
            }
            since.is_some_and(|since| since.elapsed() >= pause)
        });
        if let Some(status) = over {
            assert!(status.success(), "{}", group.said());
            return false;
        }
        self.signals.send("KILL", &group);
        !group.child.wait().unwrap().success()
    }
}

fn repeats(server: &Server) -> (usize, usize) {
    let log = server.log();
    let bodies: BTreeSet<&str> = log.iter().map(|seen| seen.body_sha256.as_str()).collect();
    (log.len() - bodies.len(), bodies.len())
}

#[test]
fn chained_kills_while_services_are_asked_lose_nothing_and_stay_within_the_bound() {
    let Some(bench) = Bench::of(RECIPE, Personality::Vllm, vec![], slow()) else {
        return;
    };
    let mut chain = Chain {
        bench,
        voices: Server::with_options(Personality::Cosyvoice, vec![], slow()).unwrap(),
        signals: Signals::new(),
        random: Random::new(),
    };
    let wanted = if kit::soak() { 20 } else { 5 };
    let mut kills = 0;
    while kills < wanted {
        assert!(chain.kill(), "the run was over after {kills} kills");
        kills += 1;
    }
    let last = chain.command("live", "killed").output().unwrap();
    assert_eq!(code(&last), 0, "{}", stderr(&last));
    for (name, server) in [
        ("transcribe_service", &chain.bench.server),
        ("voice_resynth", &chain.voices),
    ] {
        let (repeats, calls) = repeats(server);
        println!(
            "{kills} kills; {name}: {calls} calls, {repeats} made twice, at most {}",
            kills * IN_FLIGHT
        );
        assert!(
            calls > 0 && repeats <= kills * IN_FLIGHT,
            "{name}: {repeats} repeats after {kills} kills"
        );
    }
    // Every answer is in the log, and what came of them is what a run in one go makes.
    let whole = chain.command("replay:killed/replies", "whole").output().unwrap();
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    let (killed, whole) = (
        chain.bench.scratch.join("killed"),
        chain.bench.scratch.join("whole"),
    );
    let files = kit::assert_same(&killed, &whole);
    assert_eq!(kit::numbers(&killed), kit::numbers(&whole));
    assert_eq!(kit::leftovers(&killed), Vec::<PathBuf>::new());
    println!("{files} files equal");
}
