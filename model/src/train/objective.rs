//! The loss of one sample: flow matching on both streams, or on the audio stream alone.

use super::{
    customizer::{Customizer, Dropped},
    draw::Draw,
    flow_loss, noised,
    order::Kind,
    samples::Sample,
};
use crate::{Result, net::Latents};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// How a sample is noised and its losses are added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossSettings {
    /// Weight of the video's loss.
    pub video: f64,
    /// Weight of the audio's loss.
    pub audio: f64,
    /// Sigma is `shift u / (1 + (shift - 1) u)` of a uniform u; 1 leaves it uniform, more means more noise.
    pub shift: f64,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self {
            video: 1.0,
            audio: 1.0,
            shift: 5.0,
        }
    }
}

/// How often parts of the condition are left out, shares of all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropSettings {
    /// References alone.
    pub references: f64,
    /// Text alone.
    pub text: f64,
    /// Both.
    pub both: f64,
}

impl Default for DropSettings {
    fn default() -> Self {
        Self {
            references: 0.10,
            text: 0.10,
            both: 0.05,
        }
    }
}

impl DropSettings {
    /// What this draw leaves out.
    pub fn dropped(&self, draw: Draw) -> Dropped {
        let u = draw.uniform("dropout");
        let (references, text) = (self.references, self.references + self.text);
        Dropped {
            references: u < references || (u >= text && u < text + self.both),
            text: u >= references && u < text + self.both,
        }
    }
}

/// The noise level of this draw, 0..1.
pub fn sigma(draw: Draw, shift: f64) -> f64 {
    let u = draw.uniform("sigma");
    shift * u / (1.0 + (shift - 1.0) * u)
}

/// The losses of a sample.
pub struct Loss {
    /// The weighted sum, a scalar with history.
    pub total: Tensor,
    /// Of the video; `None` in a step on speech.
    pub video: Option<f64>,
    /// Of the audio.
    pub audio: f64,
    /// Tokens of both streams, references not counted.
    pub tokens: usize,
}

fn number(scalar: &Tensor) -> Result<f64> {
    Ok(scalar.to_dtype(candle_core::DType::F64)?.to_scalar()?)
}

/// The objective of a sample in a step of `kind`. Both streams share one noise level.
pub fn objective(
    model: &Customizer,
    sample: &Sample,
    kind: Kind,
    draw: Draw,
    (loss, drop): (&LossSettings, &DropSettings),
) -> Result<Loss> {
    let level = sigma(draw, loss.shift);
    let noisy = |name: &str, latent: &Tensor| -> Result<(Tensor, Tensor)> {
        let noise = draw.noise(name, latent.dims())?;
        let noise = noise.to_dtype(latent.dtype())?.to_device(latent.device())?;
        Ok((noised(latent, &noise, level)?, noise))
    };
    let video = sample.video.as_ref().filter(|_| kind == Kind::Joint);
    let (audio_x, audio_noise) = noisy("audio", &sample.audio)?;
    let video_x = video.map(|latent| noisy("video", latent)).transpose()?;
    let x = Latents {
        video: video_x.as_ref().map(|(x, _)| x.clone()),
        audio: Some(audio_x),
    };
    let out = model.velocity(sample, &x, 1000.0 * level, drop.dropped(draw))?;
    let missing = || crate::Error::Input("the network gave no velocity".to_owned());
    let audio = flow_loss(&out.audio.ok_or_else(missing)?, &sample.audio, &audio_noise)?;
    let mut total = audio.affine(loss.audio, 0.0)?;
    let mut tokens = sample.audio.dim(0)?;
    let mut seen = None;
    if let (Some(latent), Some((_, noise))) = (video, &video_x) {
        let video = flow_loss(&out.video.ok_or_else(missing)?, latent, noise)?;
        total = (video.affine(loss.video, 0.0)? + total)?;
        seen = Some(number(&video)?);
        let (_, frames, rows, columns) = latent.dims4()?;
        tokens += frames * (rows / 2) * (columns / 2);
    }
    Ok(Loss {
        total,
        video: seen,
        audio: number(&audio)?,
        tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_left_out_as_often_as_set() {
        let settings = DropSettings::default();
        let mut counts = [0; 4];
        for place in 0..20_000 {
            let dropped = settings.dropped(Draw::new(3, 1, place));
            counts[usize::from(dropped.references) + 2 * usize::from(dropped.text)] += 1;
        }
        for (count, share) in counts.into_iter().zip([0.75, 0.10, 0.10, 0.05]) {
            let seen = f64::from(count) / 20_000.0;
            assert!((seen - share).abs() < 0.01, "{counts:?}");
        }
    }

    #[test]
    fn noise_levels_lean_towards_noise_as_the_shift_says() {
        let mean = |shift| {
            (0..4000)
                .map(|place| sigma(Draw::new(1, 0, place), shift))
                .sum::<f64>()
                / 4000.0
        };
        // of a uniform u: 1/2, and for s = 5 the integral 5/4 - 5 ln(5) / 16
        assert!((mean(1.0) - 0.5).abs() < 0.02);
        assert!((mean(5.0) - (1.25 - 5.0 * 5f64.ln() / 16.0)).abs() < 0.02);
    }
}
