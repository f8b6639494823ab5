//! The video VAE (Wan2.2): pixels to latents at a sixteenth of the size and a quarter of the rate, and back, a few frames at a
//! time. Every causal convolution carries the last frames it saw, so a long clip takes the memory of one chunk.
//!
//! Inside, frames are the batch and channels come last: `[frames, height, width, channels]`.

mod conv;
mod decoder;
mod encoder;
mod resample;

pub use conv::{CausalConv, ChannelNorm, FrameAttention};
pub use resample::{average_down, duplicate_up, pixels_from_patches, pixels_to_patches};

use crate::{Error, Result, weights::Weights};
use candle_core::{DType, Device, Tensor};
use conv::Caches;
use decoder::Decoder;
use encoder::Encoder;
use serde::{Deserialize, Serialize};

/// Sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoVaeConfig {
    /// Width of the encoder's first level.
    pub dim: usize,
    /// Width of the decoder's last level.
    pub dec_dim: usize,
    /// Latent channels.
    pub z_dim: usize,
    /// Width of each level over the first.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub num_res_blocks: usize,
    /// Whether the levels but the last halve the rate.
    pub temperal_downsample: Vec<bool>,
}

impl VideoVaeConfig {
    /// The released VAE: 705 million parameters.
    pub fn wan22() -> Self {
        Self {
            dim: 160,
            dec_dim: 256,
            z_dim: 48,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            temperal_downsample: vec![false, true, true],
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            dim: 8,
            dec_dim: 8,
            z_dim: 4,
            ..Self::wan22()
        }
    }

    /// Frames that one latent frame stands for, after the first.
    pub fn frames_per_latent(&self) -> usize {
        1 << self.temperal_downsample.iter().filter(|halved| **halved).count()
    }
}

/// A point of the network that a watcher is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first convolution.
    First,
    /// Encoder level.
    Down(usize),
    /// The middle.
    Middle,
    /// Decoder level.
    Up(usize),
}

/// Shown each stage's output as `[frames, height, width, channels]`.
pub type Watch<'a> = &'a mut dyn FnMut(Stage, &Tensor);

/// Mean and deviation of the latent channels; they are not in the checkpoint.
#[derive(Debug, Clone)]
pub struct LatentScale {
    /// `[channels, 1, 1, 1]`.
    pub mean: Tensor,
    /// `[channels, 1, 1, 1]`.
    pub std: Tensor,
}

impl LatentScale {
    /// From values per channel.
    pub fn new(mean: &[f64], std: &[f64], device: &Device) -> Result<Self> {
        let column = |values: &[f64]| {
            let column = Tensor::from_slice(values, (values.len(), 1, 1, 1), &Device::Cpu)?;
            column.to_dtype(DType::F32)?.to_device(device)
        };
        Ok(Self {
            mean: column(mean)?,
            std: column(std)?,
        })
    }
}

/// The VAE.
pub struct VideoVae {
    encoder: Encoder,
    decoder: Decoder,
    to_latent: CausalConv,
    from_latent: CausalConv,
    device: Device,
    config: VideoVaeConfig,
}

impl VideoVae {
    /// Reads all weights.
    pub fn new(config: &VideoVaeConfig, weights: &Weights) -> Result<Self> {
        let levels = config.dim_mult.len();
        if levels == 0 || config.temperal_downsample.len() + 1 != levels {
            return Err(Error::Config(format!(
                "a VAE of {levels} levels with {:?}",
                config.temperal_downsample
            )));
        }
        let (z, both) = (config.z_dim, 2 * config.z_dim);
        Ok(Self {
            encoder: Encoder::new(config, &weights.pp("encoder"))?,
            to_latent: CausalConv::new(&weights.pp("conv1"), both, both, [1, 1, 1])?,
            from_latent: CausalConv::new(&weights.pp("conv2"), z, z, [1, 1, 1])?,
            decoder: Decoder::new(config, &weights.pp("decoder"))?,
            device: weights.device(),
            config: config.clone(),
        })
    }

    /// A scale for this VAE's device.
    pub fn scale(&self, mean: &[f64], std: &[f64]) -> Result<LatentScale> {
        LatentScale::new(mean, std, &self.device)
    }

    /// A clip `[3, frames, height, width]` in -1..=1 as latents `[z, .., height / 16, width / 16]`, by the mean, normalised.
    /// Frames beyond 4k + 1 are dropped, as the reference does. Fails if the size is no multiple of 16.
    pub fn encode(&self, video: &Tensor, scale: &LatentScale, watch: Watch<'_>) -> Result<Tensor> {
        let (_, frames, height, width) = video.dims4()?;
        let side = 2 << self.config.temperal_downsample.len();
        if frames == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
            return Err(Error::Input(format!(
                "a clip of {frames} frames {height}x{width}: sides are multiples of {side}"
            )));
        }
        let each = self.config.frames_per_latent();
        let mut caches = Caches::default();
        let mut latents = Vec::new();
        let mut start = 0;
        while start < frames {
            let count = if start == 0 { 1 } else { each };
            if start + count > frames {
                break;
            }
            let chunk = video
                .narrow(1, start, count)?
                .permute((1, 2, 3, 0))?
                .contiguous()?; // (frames, h, w, 3)
            caches.rewind();
            let hidden = self
                .encoder
                .forward(&pixels_to_patches(&chunk)?, &mut caches, watch)?;
            let both = self.to_latent.whole(&hidden)?;
            latents.push(both.narrow(3, 0, self.config.z_dim)?);
            start += count;
        }
        let mean = Tensor::cat(&latents, 0)?.permute((3, 0, 1, 2))?.contiguous()?; // (z, frames, h, w)
        Ok(mean.broadcast_sub(&scale.mean)?.broadcast_div(&scale.std)?)
    }

    /// Latents before the decoder, unnormalised: `[frames, h, w, z]`.
    pub fn unnormalised(&self, latent: &Tensor, scale: &LatentScale) -> Result<Tensor> {
        let z = latent.broadcast_mul(&scale.std)?.broadcast_add(&scale.mean)?;
        self.from_latent.whole(&z.permute((1, 2, 3, 0))?.contiguous()?)
    }

    /// Latents `[z, frames, h, w]` as a clip; each latent frame's pictures `[3, .., height, width]` are handed to `take` as soon
    /// as they are there: one for the first, four for each further one. Not clamped.
    pub fn decode(
        &self,
        latent: &Tensor,
        scale: &LatentScale,
        watch: Watch<'_>,
        mut take: impl FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let z = self.unnormalised(latent, scale)?;
        let mut caches = Caches::default();
        for frame in 0..z.dim(0)? {
            caches.rewind();
            let out = self
                .decoder
                .forward(&z.narrow(0, frame, 1)?, &mut caches, watch)?;
            take(pixels_from_patches(&out)?.permute((3, 0, 1, 2))?.contiguous()?)?;
        }
        Ok(())
    }
}
