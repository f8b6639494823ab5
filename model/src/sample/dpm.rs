//! DPM-Solver++(2M), midpoint, on flow levels.

use super::{
    schedule::{combine, lambda},
    solver::{Solver, Steps},
};
use crate::Result;
use candle_core::Tensor;

pub(super) struct DpmPlusPlus {
    steps: Steps,
    /// The last estimate of the sample.
    last: Option<Tensor>,
}

impl DpmPlusPlus {
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, last: None }
    }
}

impl Solver for DpmPlusPlus {
    fn step(&mut self, velocity: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (index, sigma, next) = self.steps.next()?;
        let sample = combine(&[(1.0, x), (-sigma, velocity)])?;
        let last = self.last.replace(sample.clone());
        if next == 0.0 {
            return Ok(sample);
        }
        // alpha_next * (e^-h - 1), where e^-h = (alpha sigma_next) / (sigma alpha_next); finite also at sigma = 1
        let shrink = (1.0 - sigma) * next / (sigma * (1.0 - next));
        let toward = -(1.0 - next) * (shrink - 1.0);
        // h / h0 is 0 after a first level of 1, whose lambda is infinite
        let slope = match last {
            Some(_) if index > 0 => {
                let before = self.steps.sigmas[index - 1];
                let h0 = lambda(sigma) - lambda(before);
                let h = lambda(next) - lambda(sigma);
                if h0.is_finite() { 0.5 * h / h0 } else { 0.0 }
            }
            _ => 0.0,
        };
        let old = last.unwrap_or_else(|| sample.clone());
        combine(&[
            (next / sigma, x),
            (toward * (1.0 + slope), &sample),
            (-toward * slope, &old),
        ])
    }
}
