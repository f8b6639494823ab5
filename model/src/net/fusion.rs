//! Both streams, each looking at the other in every block.

use super::{
    block::Other,
    config::FusionConfig,
    denoiser::{Condition, Denoiser, Latents},
    stream::{Prepared, Stream, StreamInput},
};
use crate::{Error, Result, weights::Weights};
use candle_core::Tensor;

/// The dual-stream backbone.
#[derive(Debug, Clone)]
pub struct FusionModel {
    /// The video stream.
    pub video: Stream,
    /// The audio stream.
    pub audio: Stream,
}

impl FusionModel {
    /// Reads `video_model.*` and `audio_model.*`. Fails on streams that cannot be fused; what the weights lack is told by
    /// [`Weights::finish`].
    pub fn new(config: &FusionConfig, weights: &Weights) -> Result<Self> {
        config.check()?;
        Ok(Self {
            video: Stream::new(&config.video, true, &weights.pp("video_model"))?,
            audio: Stream::new(&config.audio, true, &weights.pp("audio_model"))?,
        })
    }

    /// Velocities of both latents. `skip` > 0 leaves out the block of that index in both streams (skip-layer guidance); 0
    /// leaves out none.
    pub fn forward(&self, video: &StreamInput, audio: &StreamInput, skip: usize) -> Result<(Tensor, Tensor)> {
        self.watched(video, audio, skip, |_, _, _| {})
    }

    /// The same, showing `watch` the tokens of both streams after each block.
    pub fn watched(
        &self,
        video: &StreamInput,
        audio: &StreamInput,
        skip: usize,
        mut watch: impl FnMut(usize, &Tensor, &Tensor),
    ) -> Result<(Tensor, Tensor)> {
        let (pv, pa) = (self.video.prepare(video)?, self.audio.prepare(audio)?);
        let (mut v, mut a) = (pv.x.clone(), pa.x.clone());
        for index in 0..self.audio.blocks.len() {
            if skip == 0 || index != skip {
                (v, a) = self.block(index, (&v, &pv), (&a, &pa))?;
            }
            watch(index, &v, &a);
        }
        Ok((self.video.finish(&v, &pv)?, self.audio.finish(&a, &pa)?))
    }

    /// One audio block with its video blocks (one, in the released model). The audio looks at the video after the video's
    /// self-attention; the video looks at the audio as it was before the audio's cross-attention.
    fn block(
        &self,
        index: usize,
        (v, pv): (&Tensor, &Prepared),
        (a, pa): (&Tensor, &Prepared),
    ) -> Result<(Tensor, Tensor)> {
        let block = &self.audio.blocks[index];
        let (video_keys, audio_keys) = (v.dim(0)?, a.dim(0)?);
        let ma = block.modulation(&pa.e0, &pa.rows)?;
        let heard = block.attend_self(a, &ma, &pa.rope, audio_keys)?;
        let (mut v, mut a) = (v.clone(), heard.clone());
        let ratio = self.video.blocks.len() / self.audio.blocks.len();
        let group = &self.video.blocks[index * ratio..][..ratio];
        for (place, video_block) in group.iter().enumerate() {
            let mv = video_block.modulation(&pv.e0, &pv.rows)?;
            let seen = video_block.attend_self(&v, &mv, &pv.rope, video_keys)?;
            if place + 1 == ratio {
                let other = Other {
                    tokens: &seen,
                    rope: &pv.rope,
                    keys: video_keys,
                    own: &pa.rope,
                };
                a = block.attend_rest(&heard, &ma, &pa.context, Some(&other))?;
            }
            let other = Other {
                tokens: &heard,
                rope: &pa.rope,
                keys: audio_keys,
                own: &pv.rope,
            };
            v = video_block.attend_rest(&seen, &mv, &pv.context, Some(&other))?;
        }
        Ok((v, a))
    }
}

impl Denoiser for FusionModel {
    fn velocity(&self, x: &Latents, t: f64, condition: &Condition) -> Result<Latents> {
        let missing = |what: &str| Error::Input(format!("latents of {what} without its text"));
        let video = match (&x.video, &condition.video_text) {
            (Some(latent), Some(text)) => Some(condition.video_input(latent, text, t)?),
            (Some(_), None) => return Err(missing("video")),
            (None, _) => None,
        };
        let audio = match (&x.audio, &condition.audio_text) {
            (Some(latent), Some(text)) => Some(condition.audio_input(latent, text, t)?),
            (Some(_), None) => return Err(missing("audio")),
            (None, _) => None,
        };
        let (video, audio) = match (video, audio) {
            (Some(video), Some(audio)) => {
                let (video, audio) = self.forward(&video, &audio, condition.skip_layer)?;
                (Some(video), Some(audio))
            }
            (Some(video), None) => (Some(self.video.forward(&video)?), None),
            (None, Some(audio)) => (None, Some(self.audio.forward(&audio)?)),
            (None, None) => return Err(Error::Input("neither video nor audio to denoise".to_owned())),
        };
        condition.without_references(x, Latents { video, audio })
    }
}
