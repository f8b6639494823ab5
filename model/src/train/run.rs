//! A run from its first step, or from its last state, to its end.

use super::{
    collective::{Collective, agreed},
    log::{Line, Log},
    samples::Samples,
    state::States,
    trainer::Trainer,
};
use crate::{Error, Result};
use std::{
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Where a run lies and what it is about.
pub struct Place<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// Name of the data, for the check when it goes on.
    pub data: &'a str,
    /// Adds to a state what a checkpoint needs beside the weights.
    pub dress: &'a dyn Fn(&Path) -> Result<()>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Steps done in all.
    pub steps: u64,
    /// Whether that is the recipe's number.
    pub whole: bool,
    /// The last state.
    pub state: PathBuf,
}

impl Place<'_> {
    /// The folder of states, without what a killed process left half written: for the one process that writes the run.
    pub fn states(&self) -> Result<States> {
        States::open(&self.folder.join("checkpoints"))
    }

    /// The folder of states as it is: another process may be writing one.
    fn written(&self) -> States {
        States::beside(&self.folder.join("checkpoints"))
    }

    /// Puts the trainer into the run's newest state; says which, or `None` if there is none.
    pub fn resume(&self, trainer: &mut Trainer) -> Result<Option<u64>> {
        match self.written().list()?.pop() {
            Some((step, folder)) => {
                trainer.resume(&folder, self.data)?;
                Ok(Some(step))
            }
            None => Ok(None),
        }
    }

    /// Puts the trainer into the state from which `step` is reached soonest: the newest one that is not after it, or the start.
    pub fn before(&self, trainer: &mut Trainer, step: u64) -> Result<()> {
        let states = self.written().list()?;
        match states.into_iter().rfind(|(done, _)| *done <= step) {
            Some((_, folder)) => trainer.resume(&folder, self.data),
            None => Ok(()),
        }
    }

    /// Trains to the recipe's end, or until `on` says no, on every rank at the same step; `on` is shown every step. Rank 0 writes
    /// the log and the states, one at the end in any case, and every rank gives what it holds to them. A loss that is no number
    /// ends it with [`Error::NotFinite`], and a sample that cannot be read ends a run of one rank, after the state before it was
    /// written.
    pub fn train(
        &self,
        trainer: &mut Trainer,
        samples: &dyn Samples,
        ranks: &dyn Collective,
        on: &mut dyn FnMut(&Line) -> bool,
    ) -> Result<Ended> {
        let first = ranks.rank() == 0;
        // the others write nothing, and must not take what rank 0 writes for what a killed process left
        let states = if first { self.states()? } else { self.written() };
        let mut log = first
            .then(|| Log::open(self.folder, trainer.next()))
            .transpose()?;
        let total = trainer.recipe().steps;
        let mut on_disk = None;
        let mut go_on = true;
        while go_on && trainer.next() < total {
            let start = Instant::now();
            let report = match trainer.step(samples, ranks) {
                Ok(report) => report,
                // every rank sees the same sums, so that all of them come here
                Err(error @ Error::NotFinite { .. }) => {
                    states.save_of(trainer, self.data, self.dress, ranks)?;
                    return Err(error);
                }
                // a sample that cannot be read: nothing has moved since the last step, and what was learned is not lost
                Err(error @ (Error::Sample { .. } | Error::Io { .. } | Error::Format { .. }))
                    if ranks.world() == 1 =>
                {
                    states.save_of(trainer, self.data, self.dress, ranks)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let seconds = start.elapsed().as_secs_f64();
            let line = Line {
                report,
                seconds,
                flops: trainer.flops(),
                share_of_peak: share_of_peak(trainer, seconds, ranks.world()),
                time: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0.0, |since| since.as_secs_f64()),
            };
            if let Some(log) = &mut log {
                log.push(&line)?;
            }
            if trainer.next().is_multiple_of(trainer.recipe().keep.every) {
                on_disk = Some(states.save_of(trainer, self.data, self.dress, ranks)?);
            }
            // ranks that stop at different steps would wait for each other
            go_on = agreed(ranks, on(&line))?;
        }
        let (steps, mut state) = (trainer.next(), states.path(trainer.next()));
        if on_disk.as_ref() != Some(&state) {
            state = states.save_of(trainer, self.data, self.dress, ranks)?;
        }
        Ok(Ended {
            steps,
            whole: steps == total,
            state,
        })
    }
}

/// Operations a second as a share of what all ranks could do at most.
fn share_of_peak(trainer: &Trainer, seconds: f64, ranks: usize) -> Option<f64> {
    let peak = trainer.recipe().peak_tflops? * 1e12 * ranks as f64;
    Some(trainer.flops() / seconds.max(1e-9) / peak)
}
