//! Both streams, each looking at the other in every block.

use super::{
    block::{Block, Other},
    config::FusionConfig,
    denoiser::{Condition, Denoiser, Latents},
    stream::{Prepared, Stream, StreamInput},
};
use crate::{
    Error, Result,
    error::into_tensor,
    ops::{Rope, Rows},
    vjp::checkpoint,
    weights::Weights,
};
use candle_core::Tensor;

/// The dual-stream backbone.
#[derive(Debug, Clone)]
pub struct FusionModel {
    /// The video stream.
    pub video: Stream,
    /// The audio stream.
    pub audio: Stream,
    recompute: bool,
}

impl FusionModel {
    /// Reads `video_model.*` and `audio_model.*`. Fails on streams that cannot be fused; what the weights lack is told by
    /// [`Weights::finish`].
    pub fn new(config: &FusionConfig, weights: &Weights) -> Result<Self> {
        config.check()?;
        Ok(Self {
            video: Stream::new(&config.video, true, &weights.pp("video_model"))?,
            audio: Stream::new(&config.audio, true, &weights.pp("audio_model"))?,
            recompute: false,
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

    /// Runs the blocks without keeping what lies between them where a gradient is wanted: the backward pass computes each
    /// block again. Same gradients, to the last bit; about a quarter more time.
    #[must_use]
    pub fn recomputed(mut self, recompute: bool) -> Self {
        self.recompute = recompute;
        self.video.recompute = recompute;
        self.audio.recompute = recompute;
        self
    }

    /// Both streams through audio block `index` and its video blocks.
    fn block(
        &self,
        index: usize,
        (v, pv): (&Tensor, &Prepared),
        (a, pa): (&Tensor, &Prepared),
    ) -> Result<(Tensor, Tensor)> {
        let ratio = self.video.blocks.len() / self.audio.blocks.len();
        let pair = Pair {
            audio: self.audio.blocks[index].clone(),
            video: self.video.blocks[index * ratio..][..ratio].to_vec(),
            ropes: [pv.rope.clone(), pa.rope.clone()],
            rows: [pv.rows.clone(), pa.rows.clone()],
        };
        let inputs = [v, a, &pv.e0, &pa.e0, &pv.context, &pa.context].map(Tensor::clone);
        let outputs = if self.recompute {
            let trained = pair.trained();
            checkpoint(&inputs, &trained, move |inputs| {
                pair.forward(inputs).map_err(into_tensor)
            })?
        } else {
            pair.forward(&own_sums(&inputs)?)?
        };
        match <[Tensor; 2]>::try_from(outputs) {
            Ok([v, a]) => Ok((v, a)),
            Err(_) => Err(Error::Input("a fused block lost a stream".to_owned())),
        }
    }
}

/// The tensors as a block's own operands: their gradients are summed within the block before they are added to other blocks',
/// in the order in which recomputation does it. Without a gradient they are as they were.
pub(super) fn own_sums(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let own = |input: &Tensor| {
        Ok(match input.track_op() {
            true => input.affine(1.0, 0.0)?,
            false => input.clone(),
        })
    };
    inputs.iter().map(own).collect()
}

/// One audio block with its video blocks (one, in the released model), and where the tokens are; owned, so that the
/// backward pass can run it again.
struct Pair {
    audio: Block,
    video: Vec<Block>,
    /// Of the video, of the audio.
    ropes: [Rope; 2],
    rows: [Rows; 2],
}

impl Pair {
    fn trained(&self) -> Vec<Tensor> {
        let blocks = self.video.iter().map(|block| block.trained(true));
        blocks.chain([self.audio.trained(true)]).flatten().collect()
    }

    /// Video and audio tokens, their times, their texts; gives video and audio tokens. The audio looks at the video after
    /// the video's self-attention; the video looks at the audio as it was before the audio's cross-attention.
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let [v, a, video_e0, audio_e0, video_text, audio_text] = inputs else {
            return Err(Error::Input("a fused block takes six tensors".to_owned()));
        };
        let ([video_rope, audio_rope], [video_rows, audio_rows]) = (&self.ropes, &self.rows);
        let (video_keys, audio_keys) = (v.dim(0)?, a.dim(0)?);
        let ma = self.audio.modulation(audio_e0, audio_rows)?;
        let heard = self.audio.attend_self(a, &ma, audio_rope, audio_keys)?;
        let (mut v, mut a) = (v.clone(), heard.clone());
        for (place, block) in self.video.iter().enumerate() {
            let mv = block.modulation(video_e0, video_rows)?;
            let seen = block.attend_self(&v, &mv, video_rope, video_keys)?;
            if place + 1 == self.video.len() {
                let other = Other {
                    tokens: &seen,
                    rope: video_rope,
                    keys: video_keys,
                    own: audio_rope,
                };
                a = self.audio.attend_rest(&heard, &ma, audio_text, Some(&other))?;
            }
            let other = Other {
                tokens: &heard,
                rope: audio_rope,
                keys: audio_keys,
                own: video_rope,
            };
            v = block.attend_rest(&seen, &mv, video_text, Some(&other))?;
        }
        Ok(vec![v, a])
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
