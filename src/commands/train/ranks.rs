//! A run of several processes: who this one is, that all begin alike, and that all end together.

use super::RunFile;
use crate::exit::Code;
use anyhow::Context;
use omni_model::train::{self, Collective, Launch, Meeting, Patience, Place, Processes, Trainer};
use std::path::Path;

/// Runs `act` as what the environment makes of this process: one rank of several, or none. What goes wrong is told with the rank.
pub fn each(act: impl FnOnce(Option<&Launch>) -> anyhow::Result<Code>) -> anyhow::Result<Code> {
    let launch = Launch::from_variables(&|name| std::env::var(name).ok())?;
    let done = act(launch.as_ref());
    match &launch {
        Some(launch) => done.with_context(|| format!("rank {} of {}", launch.rank, launch.world)),
        None => done,
    }
}

/// Meets the other ranks and runs `act` among them. Where it fails, the others are told why and stop.
pub fn together(
    launch: &Launch,
    wanted: &RunFile,
    out: &Path,
    act: impl FnOnce(&dyn Collective) -> anyhow::Result<Code>,
) -> anyhow::Result<Code> {
    let out = std::path::absolute(out).with_context(|| out.display().to_string())?;
    let meeting = Meeting {
        run: format!("{} {}", launch.token, out.display()),
        settings: omni_manifests::fingerprint(&serde_json::to_value(wanted)?),
    };
    let ranks = Processes::meet(launch, &meeting, &Patience::default())?;
    match act(&ranks) {
        Ok(code) => {
            ranks.finish();
            Ok(code)
        }
        Err(error) => {
            ranks.fail(&format!("{error:#}"));
            Err(error)
        }
    }
}

/// Puts every rank into the run's newest state; says which, or `None` if there is none. Rank 0 first: it takes away what a killed
/// process left half written.
pub fn resume(
    trainer: &mut Trainer,
    place: &Place<'_>,
    ranks: &dyn Collective,
) -> anyhow::Result<Option<u64>> {
    let own = if ranks.rank() == 0 {
        place.resume(trainer)?
    } else {
        None
    };
    train::alike(ranks, "data (what --data holds)", place.data)?;
    let step = if ranks.rank() == 0 {
        own
    } else {
        place.resume(trainer)?
    };
    train::alike(
        ranks,
        "newest state in the run's folder, which all ranks have to see",
        &format!("{step:?}"),
    )?;
    Ok(step)
}
