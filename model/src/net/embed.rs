//! From latents to tokens and back.

use super::{
    config::{Modality, StreamConfig},
    layers::Linear,
};
use crate::{
    Error, Result,
    ops::{Activation, unfold},
    weights::Weights,
};
use candle_core::Tensor;

/// Taps of every convolution of the audio embedding.
const TAPS: usize = 7;

/// The patch embedding of a stream.
#[derive(Debug, Clone)]
pub enum Embed {
    /// A convolution whose stride is its kernel.
    Video {
        /// Over flattened patches.
        patches: Linear,
        /// Frames, rows, columns of a patch.
        size: [usize; 3],
    },
    /// Three convolutions along the latents, the last two gated.
    Audio {
        /// Before the gate.
        first: Linear,
        /// w1, w2, w3.
        gated: [Linear; 3],
    },
}

impl Embed {
    /// Reads `patch_embedding`.
    pub fn new(config: &StreamConfig, weights: &Weights) -> Result<Self> {
        let (dim, hidden) = (config.dim, config.audio_hidden());
        let gate = weights.pp(2);
        match (config.modality()?, config.patch_size.as_slice()) {
            (Modality::Video, &[t, h, w]) => Ok(Self::Video {
                patches: Linear::patches(weights, &[dim, config.in_dim, t, h, w])?,
                size: [t, h, w],
            }),
            (Modality::Audio, _) => Ok(Self::Audio {
                first: Linear::taps(&weights.pp(0), config.in_dim, dim, TAPS, true)?,
                gated: [
                    Linear::taps(&gate.pp("w1"), dim, hidden, TAPS, false)?,
                    Linear::taps(&gate.pp("w2"), hidden, dim, TAPS, false)?,
                    Linear::taps(&gate.pp("w3"), dim, hidden, TAPS, false)?,
                ],
            }),
            _ => Err(Error::Config(format!("patch_size {:?}", config.patch_size))),
        }
    }

    /// Tokens [n, d] of a latent: [channels, frames, height, width] for video, [latents, channels] for audio.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        match self {
            Self::Video { patches, size } => patches.forward(&patchify(latent, *size)?),
            Self::Audio { first, gated } => {
                let x = first.activated(&unfold(latent, TAPS, 1)?, Activation::Silu)?; // (n, d)
                let windows = unfold(&x, TAPS, 1)?;
                let gate = gated[0].activated(&windows, Activation::Silu)?;
                let h = (gate * gated[2].forward(&windows)?)?; // (n, hidden)
                gated[1].forward(&unfold(&h, TAPS, 1)?)
            }
        }
    }
}

/// [c, f, h, w] to [tokens, c * t * ph * pw], channels slowest. Fails unless the patches fill it.
fn patchify(latent: &Tensor, [t, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let (c, f, h, w) = latent.dims4()?;
    if !f.is_multiple_of(t) || !h.is_multiple_of(ph) || !w.is_multiple_of(pw) {
        return Err(Error::Input(format!(
            "a latent of {f}x{h}x{w} is not made of {t}x{ph}x{pw} patches"
        )));
    }
    let split = latent.reshape(&[c, f / t, t, h / ph, ph, w / pw, pw][..])?;
    let tokens = (f / t) * (h / ph) * (w / pw);
    Ok(split
        .permute(&[1usize, 3, 5, 0, 2, 4, 6][..])?
        .contiguous()?
        .reshape((tokens, c * t * ph * pw))?)
}

/// [tokens, t * ph * pw * c], channels fastest, to [c, frames * t, rows * ph, columns * pw].
pub(super) fn unpatchify(x: &Tensor, grid: [usize; 3], [t, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let [f, h, w] = grid;
    let c = x.dim(1)? / (t * ph * pw);
    let split = x.reshape(&[f, h, w, t, ph, pw, c][..])?;
    let order = split.permute(&[6usize, 0, 3, 1, 4, 2, 5][..])?.contiguous()?;
    Ok(order.reshape((c, f * t, h * ph, w * pw))?)
}
