//! What all solvers have in common.

use super::{dpm::DpmPlusPlus, euler::Euler, schedule::Schedule, unipc::UniPc};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Which solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SolverKind {
    /// The reference's default.
    #[serde(rename = "unipc")]
    UniPc,
    /// DPM-Solver++ of second order, midpoint.
    #[serde(rename = "dpm++")]
    DpmPlusPlus,
    /// First order.
    #[serde(rename = "euler")]
    Euler,
}

/// One latent on its way from noise to sample. Video and audio have one each.
pub trait Solver {
    /// The next latent, from the velocity at the present one. Fails beyond the last step.
    fn step(&mut self, velocity: &Tensor, x: &Tensor) -> Result<Tensor>;
}

impl SolverKind {
    /// A solver at the beginning of `schedule`.
    pub fn start(self, schedule: &Schedule) -> Box<dyn Solver> {
        let steps = Steps {
            sigmas: schedule.sigmas.clone(),
            done: 0,
        };
        match self {
            Self::UniPc => Box::new(UniPc::new(steps)),
            Self::DpmPlusPlus => Box::new(DpmPlusPlus::new(steps)),
            Self::Euler => Box::new(Euler { steps }),
        }
    }
}

/// A plain counter over the levels. (The reference looks its place up by timestep, which goes wrong where one occurs twice.)
pub(super) struct Steps {
    pub(super) sigmas: Vec<f64>,
    pub(super) done: usize,
}

impl Steps {
    /// Index, level, next level.
    pub(super) fn next(&mut self) -> Result<(usize, f64, f64)> {
        let index = self.done;
        match self.sigmas[index..] {
            [sigma, next, ..] => {
                self.done += 1;
                Ok((index, sigma, next))
            }
            _ => Err(Error::Input(format!(
                "step {} of {}",
                index + 1,
                self.sigmas.len() - 1
            ))),
        }
    }

    /// Number of steps in all.
    pub(super) fn count(&self) -> usize {
        self.sigmas.len() - 1
    }
}
