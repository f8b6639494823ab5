//! UniPC of order 2 ("bh2", predicting the sample): each step corrects where the last one led, then predicts the next.

use super::{
    schedule::{combine, lambda},
    solver::{Solver, Steps},
};
use crate::Result;
use candle_core::Tensor;

const ORDER: usize = 2;

pub(super) struct UniPc {
    steps: Steps,
    /// Estimates of the sample, the latest last; at most two.
    samples: Vec<Tensor>,
    /// The last corrected latent.
    corrected: Option<Tensor>,
    /// Order of the last prediction.
    order: usize,
}

impl UniPc {
    pub(super) fn new(steps: Steps) -> Self {
        Self {
            steps,
            samples: Vec::new(),
            corrected: None,
            order: 0,
        }
    }

    fn lambda(&self, index: usize) -> f64 {
        lambda(self.steps.sigmas[index])
    }

    /// The latent at step `index`, corrected by the estimate `sample` made there.
    fn correct(&self, index: usize, x: &Tensor, sample: &Tensor) -> Result<Tensor> {
        let (Some(base), Some(last)) = (&self.corrected, self.samples.last()) else {
            return Ok(x.clone());
        };
        let (sigma, before) = (self.steps.sigmas[index], self.steps.sigmas[index - 1]);
        let h = self.lambda(index) - self.lambda(index - 1);
        let g = (-h).exp_m1();
        let pull = -(1.0 - sigma) * g;
        let older = self
            .samples
            .len()
            .checked_sub(2)
            .map(|place| &self.samples[place]);
        let (Some(older), true) = (older, self.order == ORDER) else {
            return combine(&[(sigma / before, base), (pull * 0.5, last), (pull * 0.5, sample)]);
        };
        let r = (self.lambda(index - 2) - self.lambda(index - 1)) / h;
        let p = g / (-h) - 1.0;
        let (b1, b2) = (p / g, 2.0 * (p / (-h) - 0.5) / g);
        // rho1 + rho2 = b1, r rho1 + rho2 = b2
        let rho1 = (b1 - b2) / (1.0 - r);
        let rho2 = b1 - rho1;
        combine(&[
            (sigma / before, base),
            (pull * (1.0 - rho1 / r - rho2), last),
            (pull * rho1 / r, older),
            (pull * rho2, sample),
        ])
    }

    /// The latent at the next level, from the corrected one.
    fn predict(&self, index: usize, x: &Tensor, sample: &Tensor) -> Result<Tensor> {
        let (sigma, next) = (self.steps.sigmas[index], self.steps.sigmas[index + 1]);
        if next == 0.0 {
            return Ok(sample.clone());
        }
        let h = self.lambda(index + 1) - self.lambda(index);
        let pull = -(1.0 - next) * (-h).exp_m1();
        let Some(last) = self.samples.last().filter(|_| self.order == ORDER) else {
            return combine(&[(next / sigma, x), (pull, sample)]);
        };
        let r = (self.lambda(index - 1) - self.lambda(index)) / h;
        let half = 0.5 / r;
        combine(&[
            (next / sigma, x),
            (pull * (1.0 - half), sample),
            (pull * half, last),
        ])
    }
}

impl Solver for UniPc {
    fn step(&mut self, velocity: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (index, sigma, _) = self.steps.next()?;
        let sample = combine(&[(1.0, x), (-sigma, velocity)])?;
        let x = self.correct(index, x, &sample)?;
        self.order = ORDER.min(self.steps.count() - index).min(index + 1);
        let next = self.predict(index, &x, &sample)?;
        self.corrected = Some(x);
        self.samples.push(sample);
        if self.samples.len() > ORDER {
            self.samples.remove(0);
        }
        Ok(next)
    }
}
