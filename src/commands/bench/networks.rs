//! The networks that metrics are made of, and the ways they are made, by flags and omni.toml.

use crate::{
    cli::{NetworkArgs, WayArgs},
    commands::networks::{Chosen, chosen},
    config::{BenchConfig, Config},
    exit::{missing, usage},
};
use omni_bench::{
    metrics::{sync::Mode, wer::Protocol},
    networks::{METRICS, Networks, Unavailable, Ways},
};

/// The metrics that were named, each once in the order of the first naming; all of them where none was.
pub(super) fn names(given: &[String]) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for name in given {
        if !out.contains(&name.as_str()) {
            out.push(name);
        }
    }
    match out.is_empty() {
        true => METRICS.to_vec(),
        false => out,
    }
}

/// The networks of the profile; opens none of them.
pub(in crate::commands) fn open(
    args: &NetworkArgs,
    ways: &WayArgs,
    config: &Config,
) -> anyhow::Result<Networks> {
    let Chosen {
        registry,
        store,
        profile,
        device,
        library,
    } = chosen(args, config)?;
    let ways = self::ways(ways, config.bench.as_ref())?;
    Ok(Networks::new(registry, store, &profile, device, library).with_ways(ways))
}

/// How readings are made: flags before omni.toml.
fn ways(args: &WayArgs, config: Option<&BenchConfig>) -> anyhow::Result<Ways> {
    let mut ways = Ways::default();
    let own = |key: fn(&BenchConfig) -> &Option<String>| config.and_then(|config| key(config).as_ref());
    let sync = given(
        "sync",
        "mode",
        args.sync_mode.as_ref(),
        own(|config| &config.sync_mode),
    );
    if let Some((place, word)) = sync {
        let known = || Mode::ALL.map(Mode::name).join(", ");
        ways.sync = Mode::of(word).ok_or_else(|| usage(format!("{place} {word}: there are: {}", known())))?;
    }
    let protocol = args.wer_protocol.as_ref();
    let wer = given("wer", "protocol", protocol, own(|config| &config.wer_protocol));
    if let Some((place, word)) = wer {
        let known = || Protocol::ALL.map(Protocol::name).join(", ");
        ways.wer =
            Protocol::of(word).ok_or_else(|| usage(format!("{place} {word}: there are: {}", known())))?;
    }
    Ok(ways)
}

/// A word and where it was given: the flag's before omni.toml's.
fn given<'a>(
    of: &str,
    what: &str,
    flag: Option<&'a String>,
    own: Option<&'a String>,
) -> Option<(String, &'a String)> {
    let flag = flag.map(|word| (format!("--{of}-{what}"), word));
    flag.or_else(|| own.map(|word| (format!("omni.toml, [bench] {of}_{what} ="), word)))
}

/// The error of a metric that was asked for by name, so that the exit code tells what kind it is.
pub(in crate::commands) fn lacking(error: Unavailable) -> anyhow::Error {
    match error {
        Unavailable::Unknown(_) => usage(error.to_string()),
        Unavailable::NoRole { .. } => missing(error.to_string()),
        Unavailable::Network(error) => error.into(),
    }
}
