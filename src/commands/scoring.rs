//! `omni curate --score`: the metrics of the benchmark as a stage of curation. The crates know nothing of each other; here
//! they are put together.

use crate::{cli::CurateArgs, config::Config};
use omni_pipeline::AnyStage;

#[cfg(feature = "bench")]
pub use with::{metrics, stage};
#[cfg(not(feature = "bench"))]
pub use without::{metrics, stage};

/// The names that were asked for, each once: flags before omni.toml.
fn names(args: &CurateArgs, config: &Config) -> Vec<String> {
    let wanted = match args.score.is_empty() {
        true => &config.score,
        false => &args.score,
    };
    let mut names: Vec<String> = Vec::new();
    for name in wanted {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(feature = "bench")]
mod with {
    use super::*;
    use crate::{
        cli::WayArgs,
        commands::bench::networks::{lacking, open},
    };
    use omni_bench::{metric::Metric, run::curated};
    use std::sync::Arc;

    /// The metrics of a run, with their networks loaded.
    pub type Metrics = Vec<Arc<dyn Metric>>;

    /// Those that were asked for. Each must be possible.
    pub fn metrics(args: &CurateArgs, config: &Config) -> anyhow::Result<Metrics> {
        let names = super::names(args, config);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // The ways are those of `[bench]` in omni.toml, so that curated and generated clips are read alike.
        let networks = open(&args.networks, &WayArgs::default(), config)?;
        let metric = |name: &String| networks.metric(name).map(Arc::from).map_err(lacking);
        names.iter().map(metric).collect()
    }

    /// The stage that runs them, beside stages that make these records; none without metrics.
    pub fn stage(metrics: &Metrics, made: &[&str]) -> Vec<Box<dyn AnyStage>> {
        match metrics.is_empty() {
            true => Vec::new(),
            false => vec![curated::stage(metrics.clone(), made)],
        }
    }
}

#[cfg(not(feature = "bench"))]
mod without {
    use super::*;
    use crate::exit::missing;

    /// No metric is in this build.
    pub struct Metrics;

    /// Nothing may be asked for.
    pub fn metrics(args: &CurateArgs, config: &Config) -> anyhow::Result<Metrics> {
        match super::names(args, config).is_empty() {
            true => Ok(Metrics),
            false => Err(missing(
                "--score: this `omni` was built without `bench`: build it with `cargo build --release --features bench`",
            )),
        }
    }

    /// No stage.
    pub fn stage(_: &Metrics, _made: &[&str]) -> Vec<Box<dyn AnyStage>> {
        Vec::new()
    }
}
