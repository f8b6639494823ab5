//! The UMT5 encoder: the text of the prompt as vectors. A table of relative positions per layer, no scale on the scores, no
//! biases; in the names of the reference's own file or of the published encoder.

use super::layers::Linear;
use crate::{
    Error, Result,
    ops::{self, Activation},
    param::Param,
    weights::Weights,
};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Umt5Config {
    /// Rows of the table of tokens.
    #[serde(alias = "vocab_size")]
    pub vocab: usize,
    /// Width.
    #[serde(alias = "d_model")]
    pub dim: usize,
    /// Width of all heads together.
    pub dim_attn: usize,
    /// Inner width of the feed-forward layers.
    #[serde(alias = "d_ff")]
    pub dim_ffn: usize,
    /// Heads.
    pub num_heads: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Buckets of distances.
    #[serde(alias = "relative_attention_num_buckets", default = "buckets")]
    pub num_buckets: usize,
    /// Distance from which on all share a bucket.
    #[serde(alias = "relative_attention_max_distance", default = "distance")]
    pub max_distance: usize,
    /// Of every norm.
    #[serde(alias = "layer_norm_epsilon", default = "eps")]
    pub eps: f64,
}

fn buckets() -> usize {
    32
}

fn distance() -> usize {
    128
}

fn eps() -> f64 {
    1e-6
}

impl Umt5Config {
    /// UMT5-XXL: 5.7 billion parameters.
    pub fn xxl() -> Self {
        Self {
            vocab: 256_384,
            dim: 4096,
            dim_attn: 4096,
            dim_ffn: 10_240,
            num_heads: 64,
            num_layers: 24,
            num_buckets: buckets(),
            max_distance: distance(),
            eps: eps(),
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            vocab: 300,
            dim: 64,
            dim_attn: 64,
            dim_ffn: 160,
            num_heads: 4,
            num_layers: 3,
            ..Self::xxl()
        }
    }
}

/// Whose names the weights have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `models_t5_umt5-xxl-enc-bf16.pth`.
    Wan,
    /// Hugging Face's encoder.
    HuggingFace,
}

impl Naming {
    /// Table of tokens, final norm.
    fn outer(self) -> [&'static str; 2] {
        match self {
            Self::Wan => ["token_embedding", "norm"],
            Self::HuggingFace => ["shared", "encoder.final_layer_norm"],
        }
    }

    fn block(self, index: usize) -> String {
        match self {
            Self::Wan => format!("blocks.{index}"),
            Self::HuggingFace => format!("encoder.block.{index}"),
        }
    }

    /// Norm, attention and distances; norm, gate, first and second of the feed-forward layers.
    fn inner(self) -> [&'static str; 7] {
        match self {
            Self::Wan => [
                "norm1",
                "attn",
                "pos_embedding.embedding",
                "norm2",
                "ffn.gate.0",
                "ffn.fc1",
                "ffn.fc2",
            ],
            Self::HuggingFace => [
                "layer.0.layer_norm",
                "layer.0.SelfAttention",
                "layer.0.SelfAttention.relative_attention_bias",
                "layer.1.layer_norm",
                "layer.1.DenseReluDense.wi_0",
                "layer.1.DenseReluDense.wi_1",
                "layer.1.DenseReluDense.wo",
            ],
        }
    }
}

/// A block.
pub struct Umt5Block {
    norms: [Param; 2],
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    distances: Param,
    gate: Linear,
    first: Linear,
    second: Linear,
    heads: usize,
    max_distance: usize,
    eps: f64,
}

impl Umt5Block {
    fn new(config: &Umt5Config, naming: Naming, weights: &Weights) -> Result<Self> {
        let [norm1, attention, distances, norm2, gate, first, second] = naming.inner();
        let (dim, inner) = (config.dim, config.dim_attn);
        let attention = weights.pp(attention);
        let norm = |name: &str| weights.pp(name).get("weight", &[dim]);
        let linear = Linear::without_bias;
        Ok(Self {
            norms: [norm(norm1)?, norm(norm2)?],
            q: linear(&attention.pp("q"), dim, inner)?,
            k: linear(&attention.pp("k"), dim, inner)?,
            v: linear(&attention.pp("v"), dim, inner)?,
            o: linear(&attention.pp("o"), inner, dim)?,
            distances: weights
                .pp(distances)
                .get("weight", &[config.num_buckets, config.num_heads])?,
            gate: linear(&weights.pp(gate), dim, config.dim_ffn)?,
            first: linear(&weights.pp(first), dim, config.dim_ffn)?,
            second: linear(&weights.pp(second), config.dim_ffn, dim)?,
            heads: config.num_heads,
            max_distance: config.max_distance,
            eps: config.eps,
        })
    }

    /// The first norm.
    pub fn norm(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::norm_rope(x, Some(&self.norms[0].t()), self.eps, None)?)
    }

    /// Attention over itself, with or without the bias by distance.
    pub fn attention(&self, x: &Tensor, biased: bool) -> Result<Tensor> {
        let bias = if biased { Some(self.bias(x.dim(0)?)?) } else { None };
        let (q, k, v) = (self.q.forward(x)?, self.k.forward(x)?, self.v.forward(x)?);
        self.o
            .forward(&ops::attention(&q, &k, &v, self.heads, 1.0, bias.as_ref())?)
    }

    /// Bias by head and distance, from -(tokens - 1) to tokens - 1: [heads, 2 tokens - 1].
    pub fn bias(&self, tokens: usize) -> Result<Tensor> {
        let table = self.distances.t();
        let span = i64::try_from(tokens).unwrap_or(i64::MAX) - 1;
        let buckets: Vec<u32> = (-span..=span)
            .map(|far| bucket(far, table.dims()[0], self.max_distance))
            .collect();
        let index = Tensor::from_slice(&buckets, buckets.len(), table.device())?;
        Ok(table.index_select(&index, 0)?.t()?.contiguous()?)
    }

    /// The gated feed-forward layers.
    pub fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate.activated(x, Activation::GeluTanh)?;
        self.second.forward(&(self.first.forward(x)? * gate)?)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attention(&self.norm(x)?, true)?)?;
        let normed = ops::norm_rope(&x, Some(&self.norms[1].t()), self.eps, None)?;
        Ok((&x + self.feed_forward(&normed)?)?)
    }
}

/// The bucket of a distance (key minus query): exact near by, logarithmic beyond, one half for each side.
pub fn bucket(distance: i64, buckets: usize, max_distance: usize) -> u32 {
    let side = buckets / 2;
    let exact = side / 2;
    let far = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
    let near = if far < exact {
        far
    } else {
        let scale = (max_distance as f64 / exact as f64).ln() as f32;
        let place = (far as f32 / exact as f32).ln() / scale * (side - exact) as f32;
        (exact + place as usize).min(side - 1)
    };
    u32::try_from(if distance > 0 { side + near } else { near }).unwrap_or(u32::MAX)
}

/// The encoder.
pub struct Umt5 {
    table: Param,
    /// In order.
    pub blocks: Vec<Umt5Block>,
    norm: Param,
    eps: f64,
}

impl Umt5 {
    /// Reads all weights in the given names.
    pub fn new(config: &Umt5Config, naming: Naming, weights: &Weights) -> Result<Self> {
        if config.num_heads == 0
            || !config.dim_attn.is_multiple_of(config.num_heads)
            || config.num_buckets < 4
        {
            let (inner, heads) = (config.dim_attn, config.num_heads);
            return Err(Error::Config(format!(
                "UMT5 of inner width {inner} in {heads} heads"
            )));
        }
        let [table, norm] = naming.outer();
        let block = |index| Umt5Block::new(config, naming, &weights.pp(naming.block(index)));
        Ok(Self {
            table: weights.pp(table).get("weight", &[config.vocab, config.dim])?,
            blocks: (0..config.num_layers).map(block).collect::<Result<_>>()?,
            norm: weights.pp(norm).get("weight", &[config.dim])?,
            eps: config.eps,
        })
    }

    /// One text without pads, as [n, dim]. Pads would be masked and their rows cut off: leaving them out changes nothing.
    /// Fails on an id beyond the table.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let table = self.table.t();
        let rows = table.dim(0)?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            return Err(Error::Input(format!("token {id} is not among {rows}")));
        }
        let mut x = table.index_select(&Tensor::from_slice(ids, ids.len(), table.device())?, 0)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        Ok(ops::norm_rope(&x, Some(&self.norm.t()), self.eps, None)?)
    }
}
