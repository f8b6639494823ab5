//! The scheduler's time as a vector, once per distinct time.

use super::{config::StreamConfig, layers::Linear};
use crate::{Result, ops::Activation, ops::activate, weights::Weights};
use candle_core::{DType, Device, Tensor};

/// Cosines, then sines, of `t * 10000^(-k / half)`; `t` is in 0..=1000. `dim` values.
pub fn sinusoid(t: f64, dim: usize) -> Vec<f64> {
    let angles: Vec<f64> = super::axis_frequencies(dim / 2)
        .iter()
        .map(|frequency| t * frequency)
        .collect();
    let cosines = angles.iter().map(|angle| angle.cos());
    cosines.chain(angles.iter().map(|angle| angle.sin())).collect()
}

/// `time_embedding` and `time_projection`.
#[derive(Debug, Clone)]
pub struct TimeEmbedding {
    first: Linear,
    second: Linear,
    projection: Linear,
    freq_dim: usize,
    dim: usize,
    device: Device,
}

impl TimeEmbedding {
    /// Reads `time_embedding.{0,2}` and `time_projection.1`.
    pub fn new(config: &StreamConfig, weights: &Weights) -> Result<Self> {
        Self::sized(config.dim, config.freq_dim, weights)
    }

    /// The same by its two sizes.
    pub fn sized(dim: usize, freq_dim: usize, weights: &Weights) -> Result<Self> {
        let embedding = weights.pp("time_embedding");
        Ok(Self {
            first: Linear::new(&embedding.pp(0), freq_dim, dim)?,
            second: Linear::new(&embedding.pp(2), dim, dim)?,
            projection: Linear::new(&weights.pp("time_projection").pp(1), dim, 6 * dim)?,
            freq_dim,
            dim,
            device: weights.device(),
        })
    }

    /// For each time: the vector of the head [times, d] and the six of the blocks [times, 6, d].
    pub fn forward(&self, times: &[f64], dtype: DType) -> Result<(Tensor, Tensor)> {
        let values: Vec<f64> = times.iter().flat_map(|t| sinusoid(*t, self.freq_dim)).collect();
        let x = Tensor::from_vec(values, (times.len(), self.freq_dim), &Device::Cpu)?;
        let x = x.to_dtype(DType::F32)?.to_device(&self.device)?.to_dtype(dtype)?; // (times, freq_dim)
        let e = self
            .second
            .forward(&self.first.activated(&x, Activation::Silu)?)?; // (times, d)
        let e0 = self.projection.forward(&activate(&e, Activation::Silu)?)?;
        let e0 = e0.reshape((times.len(), 6, self.dim))?;
        Ok((e, e0))
    }
}
