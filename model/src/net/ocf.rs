//! Omni-Context Fusion (paper, section 4): text, pictures, voices and phonemes in one joint attention; after each block its
//! text tokens are added to the plain text through projections that start at zero. So an untrained module is the identity.

use super::{
    attention::{Attention, Sizes},
    layers::{LayerNorm, Linear},
    positions::point_rope,
    sa_mrope::Points,
};
use crate::{
    Error, Result,
    error::into_tensor,
    ops::{Activation, Rope, add_row},
    param::Param,
    vjp::checkpoint,
    weights::Weights,
};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

const EPS: f64 = 1e-6;

/// Sizes of the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OcfConfig {
    /// Width of a token.
    pub dim: usize,
    /// Heads.
    pub heads: usize,
    /// Inner width of the feed-forward layers.
    pub ffn: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of a text row.
    pub text_dim: usize,
    /// Values of a picture's 2x2 patch of latents.
    pub video_dim: usize,
    /// Channels of a voice's latent.
    pub audio_dim: usize,
    /// Width of a phoneme.
    pub tts_dim: usize,
}

impl OcfConfig {
    /// For Ovi: 362 million parameters.
    pub fn paper() -> Self {
        Self {
            dim: 2048,
            heads: 16,
            ffn: 8192,
            layers: 6,
            text_dim: 4096,
            video_dim: 192,
            audio_dim: 20,
            tts_dim: 512,
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            dim: 64,
            heads: 4,
            ffn: 160,
            layers: 3,
            text_dim: 96,
            tts_dim: 32,
            ..Self::paper()
        }
    }
}

/// Tokens of one sample; what is absent is `None`.
#[derive(Debug, Clone)]
pub struct OcfInput {
    /// Text rows `[n, text_dim]`, pads cut off.
    pub text: Tensor,
    /// Patches of pictures `[.., video_dim]`.
    pub video: Option<Tensor>,
    /// Latents of voices `[.., audio_dim]`.
    pub audio: Option<Tensor>,
    /// Phonemes `[.., tts_dim]`.
    pub tts: Option<Tensor>,
}

#[derive(Clone)]
struct Block {
    norm1: LayerNorm,
    norm2: LayerNorm,
    out_norm: LayerNorm,
    attention: Attention,
    ffn: (Linear, Linear),
    out: Linear,
}

impl Block {
    fn new(config: &OcfConfig, weights: &Weights) -> Result<Self> {
        let norm = |name: &str| LayerNorm::new(&weights.pp(name), config.dim, EPS);
        let sizes = Sizes {
            query: config.dim,
            key: config.dim,
            inner: config.dim,
            heads: config.heads,
            norm: true,
            eps: EPS,
        };
        let ffn = weights.pp("ffn");
        Ok(Self {
            norm1: norm("norm1")?,
            norm2: norm("norm2")?,
            out_norm: norm("out_norm")?,
            attention: Attention::sized(sizes, &weights.pp("attn"))?,
            ffn: (
                Linear::new(&ffn.pp(0), config.dim, config.ffn)?,
                Linear::new(&ffn.pp(2), config.ffn, config.dim)?,
            ),
            out: Linear::new(&weights.pp("out_proj"), config.dim, config.text_dim)?,
        })
    }

    /// Its trained weights, without those that lead to the text.
    fn trained(&self) -> Vec<Tensor> {
        let mut all = Vec::new();
        self.norm1.trained(&mut all);
        self.norm2.trained(&mut all);
        self.attention.trained(&mut all);
        self.ffn.0.trained(&mut all);
        self.ffn.1.trained(&mut all);
        all
    }

    /// The same as [`Block::forward`] without keeping what lies between, where a gradient is wanted.
    fn recomputed(&self, x: &Tensor, rope: &Rope) -> Result<Tensor> {
        let (block, rope) = (self.clone(), rope.clone());
        let forward = move |inputs: &[Tensor]| match inputs {
            [x] => Ok(vec![block.forward(x, &rope).map_err(into_tensor)?]),
            _ => candle_core::bail!("a context block takes one tensor"),
        };
        let mut outputs = checkpoint(std::slice::from_ref(x), &self.trained(), forward)?;
        outputs
            .pop()
            .ok_or_else(|| Error::Input("a context block lost its output".to_owned()))
    }

    fn forward(&self, x: &Tensor, rope: &Rope) -> Result<Tensor> {
        let x = (x + self.attention.itself(&self.norm1.forward(x)?, rope, x.dim(0)?)?)?;
        let h = self
            .ffn
            .0
            .activated(&self.norm2.forward(&x)?, Activation::GeluTanh)?;
        Ok((x + self.ffn.1.forward(&h)?)?)
    }
}

/// The module.
pub struct Ocf {
    inputs: [Linear; 4],
    modality: Param,
    blocks: Vec<Block>,
    head_size: usize,
    recompute: bool,
}

/// What comes out.
pub struct OcfOutput {
    /// The text enriched after each block; the last is what the backbone reads. `[n, text_dim]`.
    pub enriched: Vec<Tensor>,
    /// All tokens after the last block: text, pictures, voices, phonemes. `[tokens, dim]`.
    pub tokens: Tensor,
}

impl Ocf {
    /// Reads `in_*`, `modality_embed` and `blocks.*` of the place `weights` (`ocf`).
    pub fn new(config: &OcfConfig, weights: &Weights) -> Result<Self> {
        if config.heads == 0 || !config.dim.is_multiple_of(2 * config.heads) || config.layers == 0 {
            return Err(Error::Config(format!(
                "OCF of width {} in {} heads",
                config.dim, config.heads
            )));
        }
        let input = |name: &str, width: usize| Linear::new(&weights.pp(name), width, config.dim);
        let block = |index| Block::new(config, &weights.pp("blocks").pp(index));
        Ok(Self {
            inputs: [
                input("in_text", config.text_dim)?,
                input("in_video", config.video_dim)?,
                input("in_audio", config.audio_dim)?,
                input("in_tts", config.tts_dim)?,
            ],
            modality: weights.get("modality_embed", &[4, config.dim])?,
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            head_size: config.dim / config.heads,
            recompute: false,
        })
    }

    /// As [`FusionModel::recomputed`](super::FusionModel::recomputed).
    #[must_use]
    pub fn recomputed(mut self, recompute: bool) -> Self {
        self.recompute = recompute;
        self
    }

    /// Enriches the text. Fails if tokens and points do not fit.
    pub fn forward(&self, input: &OcfInput, points: &Points) -> Result<OcfOutput> {
        let mut x = self.embed(input)?;
        let points = points.joint();
        if points.len() != x.dim(0)? {
            let tokens = x.dim(0)?;
            return Err(Error::Input(format!(
                "{tokens} context tokens at {} points",
                points.len()
            )));
        }
        let rope = point_rope(&points, self.head_size, x.device())?;
        let (rows, mut text) = (input.text.dim(0)?, input.text.clone());
        let mut enriched = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            x = if self.recompute {
                block.recomputed(&x, &rope)?
            } else {
                block.forward(&x, &rope)?
            };
            let own = block.out_norm.forward(&x.narrow(0, 0, rows)?)?;
            text = (text + block.out.forward(&own)?)?;
            enriched.push(text.clone());
        }
        Ok(OcfOutput { enriched, tokens: x })
    }

    fn embed(&self, input: &OcfInput) -> Result<Tensor> {
        let parts = [
            Some(&input.text),
            input.video.as_ref(),
            input.audio.as_ref(),
            input.tts.as_ref(),
        ];
        let marks = self.modality.t();
        let mut tokens = Vec::new();
        for (index, (part, layer)) in parts.into_iter().zip(&self.inputs).enumerate() {
            if let Some(part) = part {
                tokens.push(add_row(&layer.forward(part)?, &marks.narrow(0, index, 1)?)?);
            }
        }
        Ok(Tensor::cat(&tokens, 0)?)
    }
}
