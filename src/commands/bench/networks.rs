//! The networks that metrics are made of, and the ways they are made, by flags and omni.toml.

use crate::{
    cli::{NetworkArgs, WayArgs},
    commands::networks::{Chosen, chosen},
    config::{BenchConfig, Config},
    exit::{missing, usage},
};
use omni_bench::{
    metrics::{sync::Mode, wer::Protocol},
    networks::{Networks, Unavailable, Ways},
};

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
    let wrong = |flag: &str, word: &str, known: String| usage(format!("--{flag} {word}: there are: {known}"));
    let mut ways = Ways::default();
    let given = |key: fn(&BenchConfig) -> &Option<String>| config.and_then(|config| key(config).as_ref());
    if let Some(word) = args.sync_mode.as_ref().or(given(|config| &config.sync_mode)) {
        ways.sync =
            Mode::of(word).ok_or_else(|| wrong("sync-mode", word, Mode::ALL.map(Mode::name).join(", ")))?;
    }
    if let Some(word) = args
        .wer_protocol
        .as_ref()
        .or(given(|config| &config.wer_protocol))
    {
        let known = || Protocol::ALL.map(Protocol::name).join(", ");
        ways.wer = Protocol::of(word).ok_or_else(|| wrong("wer-protocol", word, known()))?;
    }
    Ok(ways)
}

/// The error of a metric that was asked for by name, so that the exit code tells what kind it is.
pub(in crate::commands) fn lacking(error: Unavailable) -> anyhow::Error {
    match error {
        Unavailable::Unknown(_) => usage(error.to_string()),
        Unavailable::NoRole { .. } => missing(error.to_string()),
        Unavailable::Network(error) => error.into(),
    }
}
