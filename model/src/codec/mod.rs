//! How clips become latents and back: the released VAEs and vocoder, or a fixed transform of the same shapes that needs no
//! weights.
//!
//! Latents are what the backbone sees, normalised: `[48, frames, height / 16, width / 16]` of video, one frame for the first
//! picture and one for each four further ones, and `[latents, 20]` of sound, 512 samples at 16 kHz each.

mod linear;
mod pixels;
mod released;
mod voice;

pub use linear::Linear;
pub use pixels::{clip_bytes, clip_tensor};
pub use released::Released;

use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Channels of a video latent.
pub const VIDEO_CHANNELS: usize = 48;
/// Channels of an audio latent.
pub const AUDIO_CHANNELS: usize = 20;
/// Pictures a second.
pub const FPS: usize = 24;
/// Pictures of a latent frame after the first.
pub const TIME_STRIDE: usize = 4;
/// Pixels of a latent along each side.
pub const SPACE_STRIDE: usize = 16;
/// Sound samples a second.
pub const SAMPLE_RATE: usize = 16_000;
/// Sound samples of an audio latent: 31.25 latents a second.
pub const SAMPLES_PER_LATENT: usize = 512;

/// Which codec; the word stands in every checkpoint and manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecKind {
    /// The stand-in: a fixed orthonormal transform, no weights.
    Linear,
    /// Wan2.2's video VAE, MMAudio's audio VAE and its vocoder.
    Released,
}

impl CodecKind {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Released => "released",
        }
    }
}

/// Clips to latents and back.
pub trait Codec: Send + Sync {
    /// Which one.
    fn kind(&self) -> CodecKind;

    /// A clip `[3, frames, height, width]` in -1..=1 as latents `[48, (frames - 1) / 4 + 1, height / 16, width / 16]`;
    /// frames beyond 4k + 1 are dropped. Fails without a frame, or if a side is no multiple of 16.
    fn encode_video(&self, clip: &Tensor) -> Result<Tensor>;

    /// Latents `[48, frames, height, width]` as pictures `[3, n, 16 height, 16 width]`, handed to `take` as they come: one
    /// for the first latent frame, four for each further one. About -1..=1, not limited to it.
    fn decode_video(&self, latent: &Tensor, take: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()>;

    /// Mono sound at 16 kHz as latents `[samples / 512, 20]`. Fails on less than one latent.
    fn encode_audio(&self, samples: &[f32]) -> Result<Tensor>;

    /// Latents `[n, 20]` as 512 n samples at 16 kHz.
    fn decode_audio(&self, latent: &Tensor) -> Result<Vec<f32>>;
}

/// Longest clip, seconds: far beyond what any checkpoint makes, and no number overflows.
pub const LONGEST: f64 = 3600.0;

/// Whether a clip can be so many seconds long.
pub(crate) fn is_length(seconds: f64) -> bool {
    seconds > 0.0 && seconds <= LONGEST
}

/// Audio latents a second of a clip as the released models count them: 157 for 5 s, a little more than 31.25 a second.
const LATENTS_PER_SECOND: f64 = 157.0 / 5.0;

/// Pictures that `frames` latent frames stand for.
pub fn pictures(frames: usize) -> usize {
    if frames == 0 {
        0
    } else {
        TIME_STRIDE * (frames - 1) + 1
    }
}

/// Latent frames and audio latents of a clip of about `seconds`: whole latent frames, and as many audio latents as the
/// released models have (31 and 157 for 5 s, 61 and 314 for 10 s). Fails on what is not a length above 0, [`LONGEST`] at most.
pub fn lengths(seconds: f64) -> Result<(usize, usize)> {
    let number = |x: f64| if x.is_finite() && x >= 0.0 { x as usize } else { 0 };
    if !is_length(seconds) {
        return Err(Error::Input(format!(
            "a clip of {seconds} seconds: it lies above 0 and is at most {LONGEST}"
        )));
    }
    let frames = 1 + number((seconds * FPS as f64 / TIME_STRIDE as f64).round());
    Ok((frames, number((seconds * LATENTS_PER_SECOND).round()).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_released_models() {
        assert_eq!(lengths(5.0).unwrap(), (31, 157));
        assert_eq!(lengths(10.0).unwrap(), (61, 314));
        assert_eq!(pictures(31), 121);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30, 3600.1] {
            assert!(lengths(bad).is_err());
        }
    }
}
