//! `--services` and `--budget`: where answers come from, what they may cost, and what they did cost.

use super::out_dir;
use crate::{
    cli::CurateArgs,
    config::Config,
    exit::{Code, missing, usage},
    output, signals, table,
};
use omni_curate::services::{Hub, HubSettings, Mode};
use omni_loopback::{Personality, Server};
use omni_net::service::{Money, Secret, Share};
use omni_pipeline::{Plan, RunOptions};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The services of a run; the loopback servers live as long as this.
pub struct Services {
    /// What stages call; `None` for `--services local`.
    pub hub: Option<Arc<Hub>>,
    servers: Vec<Server>,
    loopback: bool,
}

/// Where answers of the test servers lie, below the output folder.
const CANNED: &str = "replies-loopback";

/// Reads `--services` and `--budget`; opens no log and calls nobody.
pub fn open(args: &CurateArgs, config: &Config) -> anyhow::Result<Services> {
    let budget = args.budget.as_deref().map(str::parse::<Money>).transpose();
    let budget = budget.map_err(|what| usage(format!("--budget: {what}")))?;
    let (mode, loopback) = match args.services.split_once(':').unwrap_or((&args.services, "")) {
        ("local", "") if budget.is_some() => {
            return Err(usage(
                "--budget bounds what services cost: give --services live too",
            ));
        }
        ("local", "") => {
            return Ok(Services {
                hub: None,
                servers: Vec::new(),
                loopback: false,
            });
        }
        ("live", "") => (Mode::Live, false),
        ("loopback", "") => (Mode::Live, true),
        ("replay", folder) if !folder.is_empty() => (replay(folder.into())?, false),
        _ => {
            return Err(usage(format!(
                "--services {}: must be local, live, loopback or replay:DIR",
                args.services
            )));
        }
    };
    let servers = match loopback && !args.dry_run {
        true => start()?,
        false => Vec::new(),
    };
    let addresses = servers.iter().map(|(service, server)| (*service, server.url()));
    let replies = if loopback { CANNED } else { "replies" };
    // Canned answers stay canned when they are replayed: nothing may take them for a model's.
    let canned = match &mode {
        Mode::Replay(folder) => folder.canonicalize().is_ok_and(|folder| folder.ends_with(CANNED)),
        Mode::Live => loopback,
    };
    let settings = HubSettings {
        mode,
        replies: out_dir(args.out.as_deref(), config, "--out DIR")?.join(replies),
        worker: worker(),
        share: Share {
            rank: args.rank,
            world: args.world,
        },
        budget,
        key_of: Box::new(|name| std::env::var(name).ok().map(|key| Secret::new(&key))),
        addresses: addresses.collect::<BTreeMap<_, _>>(),
        canned,
        interrupted: Some(signals::was_interrupted),
    };
    Ok(Services {
        hub: Some(Arc::new(Hub::new(settings))),
        servers: servers.into_iter().map(|(_, server)| server).collect(),
        loopback,
    })
}

fn replay(folder: PathBuf) -> anyhow::Result<Mode> {
    match folder.is_dir() {
        true => Ok(Mode::Replay(folder)),
        false => Err(missing(format!(
            "--services replay: no folder {}",
            folder.display()
        ))),
    }
}

/// One server for each service, on this machine, with canned answers.
fn start() -> anyhow::Result<Vec<(&'static str, Server)>> {
    let servers = [
        ("qwen", Personality::Vllm),
        ("whisper", Personality::Whisper),
        ("gemini", Personality::Gemini),
        ("cosyvoice", Personality::Cosyvoice),
    ];
    let start = |(service, personality)| Ok((service, Server::start(personality, Vec::new())?));
    servers.into_iter().map(start).collect()
}

/// A name that no other process has: host, process and time.
pub fn worker() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(32)
        .collect();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{host}-{}-{}", std::process::id(), since.as_micros())
}

impl Services {
    /// After a dry run: calls, tokens and the bill that they may come to.
    pub fn estimate(&self, plan: &Plan, options: &RunOptions) -> anyhow::Result<Code> {
        let lines = self.hub.as_ref().map(|hub| hub.estimate()).unwrap_or_default();
        if lines.is_empty() {
            return Ok(Code::Done);
        }
        let clips = clips_to_do(plan, options)?;
        let row = |line: &omni_curate::services::Line| {
            let of = |each: f64, unit: &str| match clips.get(line.stage) {
                Some(clips) => format!("{:.0}{unit}", each * *clips as f64 * line.calls),
                None => format!("{each:.0}{unit} a clip"),
            };
            let price = line.price.0 as f64 * line.calls;
            vec![
                line.stage.to_owned(),
                line.service.to_owned(),
                of(1.0, ""),
                of(line.most.input as f64, ""),
                of(line.most.output as f64, ""),
                of(line.most.seconds, " s"),
                match clips.get(line.stage) {
                    Some(clips) => Money((price * *clips as f64) as u64).to_string(),
                    None => format!("{} a clip", Money(price as u64)),
                },
            ]
        };
        let head = [
            "stage",
            "service",
            "calls",
            "tokens in",
            "tokens out",
            "sound",
            "at most",
        ];
        let rows: Vec<_> = lines.iter().map(row).collect();
        output::line(&format!("\n{}", table::layout(&head, &rows)))?;
        output::line(
            "(for clips of 10 seconds, every answer of full length, none asked twice, none on disk yet)",
        )?;
        Ok(Code::Done)
    }

    /// After a run: what was asked and what it cost.
    pub fn report(&self) -> anyhow::Result<()> {
        let Some((counts, paid)) = self.hub.as_ref().and_then(|hub| hub.counts()) else {
            return Ok(());
        };
        let rows = [
            ("calls sent", counts.sent.to_string()),
            ("answers written", counts.answered.to_string()),
            ("answers already on disk", counts.from_disk.to_string()),
            ("possibly paid twice", counts.possibly_paid_twice.to_string()),
            ("damaged records passed over", counts.damaged.to_string()),
            ("paid, earlier runs included", paid.to_string()),
        ];
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(what, count)| vec![what.to_owned(), count])
            .collect();
        output::line(&format!("\n{}", table::layout(&["services", ""], &rows)))?;
        if self.loopback {
            output::line(&format!(
                "the answers are canned: {} test servers on this machine gave them, and nothing in them was heard or seen",
                self.servers.len()
            ))?;
        }
        Ok(())
    }
}

/// Clips that each stage has before it, as far as the corpus was listed.
fn clips_to_do(plan: &Plan, options: &RunOptions) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let steps = omni_pipeline::status(plan, options)?;
    let known = steps
        .into_iter()
        .filter_map(|step| Some((step.stage, step.clips_to_do?)));
    Ok(known.collect())
}
