//! Euler's method: along the velocity to the next level.

use super::{
    schedule::combine,
    solver::{Solver, Steps},
};
use crate::Result;
use candle_core::Tensor;

pub(super) struct Euler {
    pub(super) steps: Steps,
}

impl Solver for Euler {
    fn step(&mut self, velocity: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (_, sigma, next) = self.steps.next()?;
        combine(&[(1.0, x), (next - sigma, velocity)])
    }
}
