//! What the samples of a step add up to, over all ranks.

use super::{collective::Collective, objective::Loss};
use crate::{Result, weights::Trained};
use candle_core::{DType, Device, Tensor, backprop::GradStore};

/// Losses and gradients of a step.
pub(super) struct Sums {
    /// Of each trained weight; `None` took no part.
    pub(super) grads: Vec<Option<Tensor>>,
    /// Samples of this rank whose loss is no number.
    pub(super) bad: Vec<String>,
    /// Total, video, videos, audio, samples, tokens.
    counts: [f64; 6],
}

impl Sums {
    pub(super) fn new(weights: usize) -> Self {
        Self {
            grads: vec![None; weights],
            bad: Vec::new(),
            counts: [0.0; 6],
        }
    }

    /// Adds a sample; `grads` are already divided by the number of samples of the step.
    pub(super) fn add(
        &mut self,
        id: &str,
        loss: &Loss,
        trained: &[Trained],
        grads: &GradStore,
    ) -> Result<()> {
        let total = f64::from(loss.total.to_scalar::<f32>()?);
        if !total.is_finite() {
            self.bad.push(id.to_owned());
        }
        let (video, videos) = loss.video.map_or((0.0, 0.0), |video| (video, 1.0));
        let own = [total, video, videos, loss.audio, 1.0, loss.tokens as f64];
        self.counts.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        for (sum, weight) in self.grads.iter_mut().zip(trained) {
            let Some(grad) = grads.get(&weight.var) else {
                continue;
            };
            let grad = grad.detach();
            *sum = Some(match sum.take() {
                Some(sum) => (sum + grad)?,
                None => grad,
            });
        }
        Ok(())
    }

    /// Adds up over all ranks. A weight takes part if it does on any rank.
    pub(super) fn reduce(&mut self, trained: &[Trained], ranks: &dyn Collective) -> Result<()> {
        if ranks.world() == 1 {
            return Ok(());
        }
        let counts = Tensor::new(&self.counts[..], &Device::Cpu)?;
        let counts = all(&counts, ranks)?.to_vec1::<f64>()?;
        self.counts
            .iter_mut()
            .zip(counts)
            .for_each(|(sum, all)| *sum = all);
        let part: Vec<f64> = self
            .grads
            .iter()
            .map(|grad| f64::from(u8::from(grad.is_some())))
            .collect();
        let part = all(&Tensor::new(part, &Device::Cpu)?, ranks)?.to_vec1::<f64>()?;
        for ((grad, weight), part) in self.grads.iter_mut().zip(trained).zip(part) {
            if part == 0.0 {
                continue;
            }
            let own = match grad.take() {
                Some(grad) => grad,
                None => Tensor::zeros(weight.var.shape(), DType::F32, &Device::Cpu)?,
            };
            *grad = Some(all(&own.flatten_all()?, ranks)?.reshape(weight.var.shape())?);
        }
        Ok(())
    }

    /// Length of all gradients together, summed in f64.
    pub(super) fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for grad in self.grads.iter().flatten() {
            let values = grad.flatten_all()?.to_vec1::<f32>()?;
            total += values
                .iter()
                .map(|value| f64::from(*value) * f64::from(*value))
                .sum::<f64>();
        }
        Ok(total.sqrt())
    }

    pub(super) fn loss(&self) -> f64 {
        self.counts[0] / self.counts[4]
    }

    pub(super) fn video(&self) -> Option<f64> {
        (self.counts[2] > 0.0).then(|| self.counts[1] / self.counts[2])
    }

    pub(super) fn audio(&self) -> f64 {
        self.counts[3] / self.counts[4]
    }

    pub(super) fn tokens(&self) -> u64 {
        self.counts[5] as u64
    }
}

/// The sum of a row of values over all ranks, filled up to whole slices on the way.
fn all(values: &Tensor, ranks: &dyn Collective) -> Result<Tensor> {
    let count = values.dims1()?;
    let padded = values.pad_with_zeros(0, 0, count.next_multiple_of(ranks.world()) - count)?;
    Ok(ranks.all_reduce(&padded)?.narrow(0, 0, count)?)
}
