//! Training (paper, sections 4.3 and 5.1): from samples of latents to moved weights, states and curves. Never loads a codec or a
//! text encoder, and knows neither records nor the command line.

mod adamw;
mod base;
mod collective;
pub mod cost;
mod customizer;
mod draw;
mod encoder;
mod events;
mod export;
mod kernel;
mod log;
mod moments;
mod narrow;
mod objective;
mod order;
mod plan;
mod recipe;
#[cfg(test)]
mod routes;
mod rules;
mod run;
mod samples;
mod shard;
mod state;
mod state_file;
mod sums;
mod trainer;

pub use adamw::{AdamW, AdamWSettings, MomentForm};
pub use base::{Base, dress};
#[cfg(feature = "nccl")]
pub use collective::Nccl;
pub use collective::{Collective, Launch, Meeting, Patience, Processes, Solo, Threads, agreed, alike};
pub use customizer::{Customizer, CustomizerConfig, Dropped};
pub use draw::Draw;
pub use encoder::{Encoder, Material, MaterialSubject, Pictures, encoder_identity};
pub use events::Events;
pub use log::{LOG, Line, Log, read_log};
pub use objective::{DropSettings, Loss, LossSettings, objective, sigma};
pub use order::{Kind, Order};
pub use plan::{Plan, Share};
pub use recipe::{
    BUILT_IN, Batch, Keep, NumberForm, OptimizerSettings, Recipe, ReferenceRule, SampleSettings, Take,
};
pub use rules::{Mode, WeightRule, decays};
pub use run::{Ended, Place};
pub use samples::{Entry, InMemory, Sample, SampleSubject, SampleUtterance, Samples};
pub use state::States;
pub use trainer::{StepReport, Trainer};

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
