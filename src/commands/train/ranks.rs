//! A run of several processes: who this one is, that all begin alike, and that all end together.

use super::RunFile;
use crate::exit::Code;
#[cfg(not(feature = "nccl"))]
use crate::output;
use anyhow::Context;
#[cfg(feature = "nccl")]
use omni_model::generate;
use omni_model::train::{self, Collective, Launch, Meeting, Patience, Place, Processes, Trainer};
use std::path::Path;

/// Among whom a run's rank is.
pub struct Among {
    /// How many ranks there are.
    pub world: usize,
    /// How many of them share this machine's memory.
    pub here: usize,
    /// Whether this is the one that speaks.
    pub first: bool,
}

impl Among {
    /// As what started this process says.
    pub fn of(launch: Option<&Launch>) -> Self {
        Self {
            world: launch.map_or(1, |launch| launch.world),
            here: launch.map_or(1, |launch| launch.here),
            first: launch.is_none_or(|launch| launch.rank == 0),
        }
    }
}

/// Runs `act` as what the environment makes of this process: one rank of several, or none. What goes wrong is told with the rank.
pub fn each(act: impl FnOnce(Option<&Launch>) -> anyhow::Result<Code>) -> anyhow::Result<Code> {
    let launch = Launch::from_variables(&|name| std::env::var(name).ok())?;
    let done = act(launch.as_ref());
    match &launch {
        Some(launch) => done.with_context(|| format!("rank {} of {}", launch.rank, launch.world)),
        None => done,
    }
}

/// Runs `act`, which is one process's work, in the first of however many were started.
pub fn once(act: impl FnOnce() -> anyhow::Result<Code>) -> anyhow::Result<Code> {
    each(|launch| match launch {
        Some(launch) if launch.rank > 0 => Ok(Code::Done),
        _ => act(),
    })
}

/// Meets the other ranks and runs `act` among them, with what is wanted of this one. Where it fails, the others are told why and stop.
pub fn together(
    launch: &Launch,
    wanted: &RunFile,
    out: &Path,
    act: impl FnOnce(&dyn Collective, &RunFile) -> anyhow::Result<Code>,
) -> anyhow::Result<Code> {
    let out = std::path::absolute(out).with_context(|| out.display().to_string())?;
    let meeting = Meeting {
        run: format!("{} {}", launch.token, out.display()),
        settings: omni_manifests::fingerprint(&serde_json::to_value(wanted)?),
    };
    let own = RunFile {
        device: card_of(&wanted.device, launch.local),
        ..wanted.clone()
    };
    let ranks = joined(Processes::meet(launch, &meeting, &Patience::default())?, &own)?;
    match act(&ranks, &own) {
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

/// The card of rank `local` of a machine: ranks take cards in a row, from the one that was asked for on.
fn card_of(device: &str, local: usize) -> String {
    match device.strip_prefix("cuda:").map(str::parse::<usize>) {
        Some(Ok(first)) => match first.checked_add(local) {
            Some(card) => format!("cuda:{card}"),
            None => device.to_owned(), // refused where the card is looked for
        },
        _ => device.to_owned(),
    }
}

/// How ranks that have met go on: over NCCL where they have cards.
#[cfg(feature = "nccl")]
fn joined(met: Processes, own: &RunFile) -> anyhow::Result<train::Nccl> {
    let place = match generate::Place::parse(&own.device, Some(own.recipe.dtype.name())) {
        Ok(place) => place,
        Err(error) => {
            met.fail(&error.to_string());
            return Err(error.into());
        }
    };
    Ok(train::Nccl::join(met, &place)?)
}

/// How ranks that have met go on.
#[cfg(not(feature = "nccl"))]
fn joined(met: Processes, own: &RunFile) -> anyhow::Result<Processes> {
    if own.device.starts_with("cuda:") && met.rank() == 0 {
        output::note(
            "this build has no NCCL (feature `nccl`): what the cards add up goes through the processors and the network",
        );
    }
    Ok(met)
}

/// Puts every rank into the run's newest state; says which, or `None` if there is none. Rank 0 first: it looks
/// whether the state's files are sound.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_a_machine_take_cards_in_a_row() {
        assert_eq!(card_of("cuda:0", 3), "cuda:3");
        assert_eq!(card_of("cuda:4", 1), "cuda:5");
        assert_eq!(card_of("cpu", 3), "cpu");
    }
}
