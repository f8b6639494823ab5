//! What the sampler and the trainer know of a network: latents, a time and a condition in, velocities out.

use super::stream::StreamInput;
use crate::Result;
use candle_core::Tensor;

/// Latents of one sample. A step on speech alone has no video.
#[derive(Debug, Clone, Default)]
pub struct Latents {
    /// [48, frames, height, width].
    pub video: Option<Tensor>,
    /// [latents, 20].
    pub audio: Option<Tensor>,
}

/// Where reference tokens lie behind the sample's own, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct RefLayout {
    /// Time position of the first reference frame; the second lies at twice that.
    pub base: f64,
    /// First audio position of reference 0, a step for each further one.
    pub audio_step: f64,
    /// Factor on audio positions in place of the configured one.
    pub audio_scaling: Option<f64>,
    /// Whether references have time 0, as clean frames have, or the sample's own.
    pub clean: bool,
}

impl RefLayout {
    /// For Ovi's weights: the positions of DreamID-Omni, Ovi's audio scaling, time 0.
    pub fn ovi() -> Self {
        Self {
            base: 150.0,
            audio_step: (150.0_f64 / 0.19676).round(),
            audio_scaling: None,
            clean: true,
        }
    }

    /// For DreamID-Omni's weights: audio scaling 31/157 rounded to bf16, steps cut off, the sample's time.
    pub fn dreamid() -> Self {
        let scaling: f64 = 0.197_265_625;
        Self {
            base: 150.0,
            audio_step: (150.0 / scaling).trunc(),
            audio_scaling: Some(scaling),
            clean: false,
        }
    }
}

/// Pictures and voices of the subjects, as latents, in the subjects' order.
#[derive(Debug, Clone)]
pub struct References {
    /// Pictures, a frame each: [48, pictures, height, width].
    pub video: Option<Tensor>,
    /// Voices: [latents, 20] each.
    pub audio: Vec<Tensor>,
    /// Where they lie.
    pub layout: RefLayout,
}

/// What a velocity is conditioned on.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// Text rows of the video stream.
    pub video_text: Option<Tensor>,
    /// Text rows of the audio stream.
    pub audio_text: Option<Tensor>,
    /// Whether latent frame 0 is a given picture.
    pub clean_first_frame: bool,
    /// Block left out for skip-layer guidance; 0 for none.
    pub skip_layer: usize,
    /// References appended to the sequence.
    pub references: Option<References>,
}

/// A network that tells the velocity (noise minus sample) of noisy latents.
pub trait Denoiser {
    /// Velocities in the shape of `x`; `t` is the scheduler's time, 0..=1000. Fails on shapes that do not fit.
    fn velocity(&self, x: &Latents, t: f64, condition: &Condition) -> Result<Latents>;
}

fn counted(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(|unit| unit as f64)
}

impl Condition {
    pub(super) fn video_input(&self, latent: &Tensor, text: &Tensor, t: f64) -> Result<StreamInput> {
        let frames = latent.dim(1)?;
        let mut input = StreamInput::new(latent.clone(), text.clone(), t);
        let mut clean = vec![false; frames];
        if let Some(first) = clean.first_mut() {
            *first = self.clean_first_frame;
        }
        if let Some(References {
            video: Some(pictures),
            layout,
            ..
        }) = &self.references
        {
            let count = pictures.dim(1)?;
            input.latent = Tensor::cat(&[latent, pictures], 1)?;
            input.positions = counted(frames)
                .chain(counted(count).map(|j| layout.base * (j + 1.0)))
                .collect();
            clean.extend(std::iter::repeat_n(layout.clean, count));
        }
        input.clean = clean;
        Ok(input)
    }

    pub(super) fn audio_input(&self, latent: &Tensor, text: &Tensor, t: f64) -> Result<StreamInput> {
        let mut input = StreamInput::new(latent.clone(), text.clone(), t);
        let Some(References { audio, layout, .. }) = &self.references else {
            return Ok(input);
        };
        let own = latent.dim(0)?;
        let mut positions: Vec<f64> = counted(own).collect();
        for (voice, j) in audio.iter().zip(counted(audio.len())) {
            let start = layout.audio_step * (j + 1.0);
            positions.extend(counted(voice.dim(0)?).map(|k| start + k));
        }
        let parts: Vec<&Tensor> = [latent].into_iter().chain(audio).collect();
        input.latent = Tensor::cat(&parts, 0)?;
        input.clean = (0..positions.len())
            .map(|unit| layout.clean && unit >= own)
            .collect();
        input.positions = positions;
        input.scaling = layout.audio_scaling;
        Ok(input)
    }

    /// Drops the predictions at references: as many units as `x` has stay.
    pub(super) fn without_references(&self, x: &Latents, out: Latents) -> Result<Latents> {
        if self.references.is_none() {
            return Ok(out);
        }
        let cut = |out: Option<Tensor>, own: &Option<Tensor>, dim: usize| match (out, own) {
            (Some(out), Some(own)) => out.narrow(dim, 0, own.dim(dim)?).map(Some),
            (out, _) => Ok(out),
        };
        Ok(Latents {
            video: cut(out.video, &x.video, 1)?,
            audio: cut(out.audio, &x.audio, 0)?,
        })
    }
}
