//! The noise levels of a run.
//!
//! A level sigma is the share of noise: x = (1 - sigma) sample + sigma noise. The reference computes in f64, keeps f32, and
//! gives the network whole timesteps for two of the solvers; all three matter to the last digit.

use super::SolverKind;
use crate::{Error, Result};

/// Levels and times of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// One per step, falling, then 0: values that an f32 holds.
    pub sigmas: Vec<f64>,
    /// What the network is given at each step, 0..=1000.
    pub timesteps: Vec<f64>,
}

/// Levels of training.
const LEVELS: f64 = 1000.0;

/// The largest level that UniPC's reference begins with, as its f32 holds it.
const UNIPC_FIRST: f32 = 0.999;

fn shifted(u: f64, shift: f64) -> f64 {
    shift * u / (1.0 + (shift - 1.0) * u)
}

/// `count` values from `first` in equal steps; the step after the last of `intervals` would reach `last`.
fn line(first: f64, last: f64, intervals: usize, count: usize) -> Vec<f64> {
    let at = |index: usize| index as f64;
    let step = if intervals == 0 {
        0.0
    } else {
        (last - first) / at(intervals)
    };
    (0..count).map(|index| at(index) * step + first).collect()
}

fn round(value: f64) -> f64 {
    f64::from(value as f32)
}

impl Schedule {
    /// The levels of `steps` steps with the given shift. Fails without steps, or with a shift that is not positive.
    pub fn new(kind: SolverKind, steps: usize, shift: f64) -> Result<Self> {
        if steps == 0 || shift.is_nan() || shift <= 0.0 {
            return Err(Error::Config(format!(
                "a schedule of {steps} steps with shift {shift}"
            )));
        }
        let levels: Vec<f64> = match kind {
            SolverKind::UniPc => line(f64::from(UNIPC_FIRST), 0.0, steps, steps),
            SolverKind::DpmPlusPlus => line(1.0, 0.0, steps, steps),
            // its end is shifted already, and all is shifted again below
            SolverKind::Euler => line(1.0, round(shifted(1.0 / LEVELS, shift)), steps - 1, steps),
        };
        let levels: Vec<f64> = levels.into_iter().map(|u| shifted(u, shift)).collect();
        let time = |sigma: &f64| match kind {
            SolverKind::Euler => round(*sigma) * LEVELS,
            SolverKind::UniPc | SolverKind::DpmPlusPlus => (sigma * LEVELS).trunc(),
        };
        Ok(Self {
            timesteps: levels.iter().map(time).collect(),
            sigmas: levels.iter().map(|sigma| round(*sigma)).chain([0.0]).collect(),
        })
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.timesteps.len()
    }
}

/// ln(alpha / sigma) of a level; infinite at 1 (minus) and 0 (plus).
pub(super) fn lambda(sigma: f64) -> f64 {
    (1.0 - sigma).ln() - sigma.ln()
}

/// `sum(factor * tensor)`.
pub(super) fn combine(terms: &[(f64, &candle_core::Tensor)]) -> Result<candle_core::Tensor> {
    let mut sum: Option<candle_core::Tensor> = None;
    for (factor, tensor) in terms.iter().filter(|(factor, _)| *factor != 0.0) {
        let term = tensor.affine(*factor, 0.0)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    match (sum, terms.first()) {
        (Some(sum), _) => Ok(sum),
        (None, Some((_, tensor))) => Ok(tensor.zeros_like()?),
        (None, None) => Err(Error::Input("nothing to combine".to_owned())),
    }
}
