//! What the samples of a step add up to, over all ranks.

use super::{adamw::AdamW, collective::Collective, objective::Loss};
use crate::{Result, weights::Trained};
use candle_core::{DType, Device, Tensor, backprop::GradStore};

/// Losses and gradients of a step.
pub(super) struct Sums {
    /// Of each trained weight, as f32 `[count]`, and once reduced of this rank's slice `[len]`; `None` took no part.
    pub(super) grads: Vec<Option<Tensor>>,
    /// Which samples of the step have a loss that is no number, by their place; once reduced those of all ranks.
    pub(super) bad: Vec<bool>,
    /// Total, video, videos, audio, samples, tokens, operations.
    counts: [f64; 7],
}

impl Sums {
    pub(super) fn new(weights: usize, samples: usize) -> Self {
        Self {
            grads: vec![None; weights],
            bad: vec![false; samples],
            counts: [0.0; 7],
        }
    }

    /// Adds the sample at `place` of the step; `grads` are already divided by the number of samples of the step.
    pub(super) fn add(
        &mut self,
        place: usize,
        loss: &Loss,
        trained: &[Trained],
        grads: &GradStore,
        flops: u64,
    ) -> Result<()> {
        let total = f64::from(loss.total.to_scalar::<f32>()?);
        if let Some(bad) = self.bad.get_mut(place) {
            *bad = !total.is_finite();
        }
        let (video, videos) = loss.video.map_or((0.0, 0.0), |video| (video, 1.0));
        let own = [
            total,
            video,
            videos,
            loss.audio,
            1.0,
            loss.tokens as f64,
            flops as f64,
        ];
        self.counts.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        for (sum, weight) in self.grads.iter_mut().zip(trained) {
            let Some(grad) = grads.get(&weight.var) else {
                continue;
            };
            // in f32, whatever the network computes in: many small terms are added up
            let grad = grad.detach().flatten_all()?.to_dtype(DType::F32)?;
            *sum = Some(match sum.take() {
                Some(sum) => (sum + grad)?,
                None => grad,
            });
        }
        Ok(())
    }

    /// Adds up over all ranks; of the gradients each keeps its slice. A weight takes part if it does on any rank.
    pub(super) fn reduce(
        &mut self,
        trained: &[Trained],
        optimizer: &AdamW,
        ranks: &dyn Collective,
    ) -> Result<()> {
        let Some(first) = trained.first().filter(|_| ranks.world() > 1) else {
            return Ok(());
        };
        let device = first.var.device();
        let mark = |yes: bool| f64::from(u8::from(yes));
        let part = self.grads.iter().map(|grad| mark(grad.is_some()));
        let bad = self.bad.iter().map(|bad| mark(*bad));
        let told: Vec<f64> = self.counts.iter().copied().chain(bad).chain(part).collect();
        let told = all(&told, device, ranks)?;
        let (counts, told) = told.split_at(self.counts.len());
        let (bad, part) = told.split_at(self.bad.len());
        self.counts.copy_from_slice(counts);
        self.bad = bad.iter().map(|marks| *marks > 0.0).collect();
        for (index, (grad, part)) in self.grads.iter_mut().zip(part).enumerate() {
            let Some(shard) = optimizer.shard(index).filter(|_| *part > 0.0) else {
                continue;
            };
            let own = match grad.take() {
                Some(grad) => grad,
                None => Tensor::zeros(shard.count, DType::F32, device)?,
            };
            *grad = Some(shard.reduce(&own, ranks)?);
        }
        Ok(())
    }

    /// Length of all gradients together, over all ranks, summed in f64. `device` is the network's: ranks talk where it lies, also
    /// one whose slices are all empty.
    pub(super) fn norm(&self, device: &Device, ranks: &dyn Collective) -> Result<f64> {
        let grads = self.grads.iter().flatten().filter(|grad| grad.elem_count() > 0);
        let own = grads.map(squares).sum::<Result<f64>>()?;
        Ok(all(&[own], device, ranks)?[0].sqrt())
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

    /// Operations of the step, all ranks together.
    pub(super) fn flops(&self) -> f64 {
        self.counts[6]
    }
}

/// The sum of squares of a gradient; a card adds up within itself, in f32.
fn squares(grad: &Tensor) -> Result<f64> {
    if !grad.device().is_cpu() {
        return squares_in_ops(grad);
    }
    let values = grad.flatten_all()?.to_vec1::<f32>()?;
    let square = |value: f32| f64::from(value) * f64::from(value);
    Ok(values.into_iter().map(square).sum())
}

fn squares_in_ops(grad: &Tensor) -> Result<f64> {
    Ok(f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?))
}

/// The sums of some values over all ranks, filled up to whole slices on the way.
pub(super) fn all(values: &[f64], device: &Device, ranks: &dyn Collective) -> Result<Vec<f64>> {
    if ranks.world() == 1 {
        return Ok(values.to_vec());
    }
    let mut filled = values.to_vec();
    filled.resize(values.len().next_multiple_of(ranks.world()), 0.0);
    let filled = Tensor::from_vec(filled, values.len().next_multiple_of(ranks.world()), device)?;
    let mut sums = ranks.all_reduce(&filled)?.to_vec1::<f64>()?;
    sums.truncate(values.len());
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_and_the_cpu_tell_the_same_length() {
        let row = crate::weights::value_of("gradient", 1, 10_000, 0.3, 0.0);
        let row = Tensor::from_vec(row, 10_000, &Device::Cpu).unwrap();
        let (cpu, card) = (squares(&row).unwrap(), squares_in_ops(&row).unwrap());
        assert!(cpu > 1.0 && (card / cpu - 1.0).abs() < 1e-5, "{cpu} {card}");
    }
}
