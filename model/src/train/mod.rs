//! The parts of a training step: the target, the gradients' norm, the optimizer.

mod adamw;

pub use adamw::{AdamW, AdamWSettings};

use crate::{Result, weights::Trained};
use candle_core::{Tensor, backprop::GradStore};

/// A noisy latent: `(1 - sigma) sample + sigma noise`.
pub fn noised(sample: &Tensor, noise: &Tensor, sigma: f64) -> Result<Tensor> {
    Ok((sample.affine(1.0 - sigma, 0.0)? + noise.affine(sigma, 0.0)?)?)
}

/// Mean square of the velocity against noise minus sample; a scalar with history.
pub fn flow_loss(velocity: &Tensor, sample: &Tensor, noise: &Tensor) -> Result<Tensor> {
    Ok((velocity - (noise - sample)?)?.sqr()?.mean_all()?)
}

/// Length of all gradients together, summed in f64. Weights without a gradient count nothing.
pub fn gradient_norm(trained: &[Trained], grads: &GradStore) -> Result<f64> {
    let mut total = 0.0;
    for weight in trained {
        if let Some(grad) = grads.get(&weight.var) {
            let values = grad
                .flatten_all()?
                .to_dtype(candle_core::DType::F32)?
                .to_vec1::<f32>()?;
            total += values
                .iter()
                .map(|value| f64::from(*value) * f64::from(*value))
                .sum::<f64>();
        }
    }
    Ok(total.sqrt())
}
