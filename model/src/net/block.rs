//! One transformer block.

use super::{
    attention::{Attention, FusionKeys},
    config::StreamConfig,
    layers::{LayerNorm, Linear},
};
use crate::{
    Error, Result,
    ops::{self, Activation, Rope, Rows},
    param::Param,
    weights::Weights,
};
use candle_core::Tensor;

/// Shift, scale and gate of self-attention, then of the feed-forward layers: `[rows, d]` each, and which row a token takes.
pub struct Modulation {
    parts: [Tensor; 6],
    rows: Rows,
}

/// The other stream's tokens as the fusion attention sees them.
pub struct Other<'a> {
    /// Tokens `[m, d]` of the other stream.
    pub tokens: &'a Tensor,
    /// Where they are.
    pub rope: &'a Rope,
    /// How many of them are seen.
    pub keys: usize,
    /// Where the own tokens are.
    pub own: &'a Rope,
}

/// Self-attention, cross-attention with or without the other stream, feed-forward.
#[derive(Debug, Clone)]
pub struct Block {
    modulation: Param,
    self_attn: Attention,
    norm3: Option<LayerNorm>,
    cross_attn: Attention,
    fusion: Option<FusionKeys>,
    ffn: (Linear, Linear),
    eps: f64,
}

impl Block {
    /// Reads a block; with `fusion` also what the other stream needs.
    pub fn new(config: &StreamConfig, fusion: bool, weights: &Weights) -> Result<Self> {
        let (dim, cross, ffn) = (config.dim, weights.pp("cross_attn"), weights.pp("ffn"));
        let norm3 = config
            .cross_attn_norm
            .then(|| LayerNorm::new(&weights.pp("norm3"), dim, config.eps));
        Ok(Self {
            modulation: weights.pp("modulation").get("modulation", &[1, 6, dim])?,
            self_attn: Attention::new(config, &weights.pp("self_attn"))?,
            norm3: norm3.transpose()?,
            cross_attn: Attention::new(config, &cross)?,
            fusion: fusion.then(|| FusionKeys::new(config, &cross)).transpose()?,
            ffn: (
                Linear::new(&ffn.pp(0), dim, config.ffn_dim)?,
                Linear::new(&ffn.pp(2), config.ffn_dim, dim)?,
            ),
            eps: config.eps,
        })
    }

    /// The block's own modulation added to that of the times, `e0` `[times, 6, d]`.
    pub fn modulation(&self, e0: &Tensor, rows: &Rows) -> Result<Modulation> {
        let sum = e0.broadcast_add(&self.modulation.t())?; // (times, 6, d)
        let part = |index| sum.narrow(1, index, 1)?.squeeze(1)?.contiguous();
        Ok(Modulation {
            parts: [part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, part(5)?],
            rows: rows.clone(),
        })
    }

    /// Step 1: self-attention; the first `keys` tokens are seen.
    pub fn attend_self(&self, x: &Tensor, m: &Modulation, rope: &Rope, keys: usize) -> Result<Tensor> {
        let [shift, scale, gate, ..] = &m.parts;
        let h = ops::modulate(x, shift, scale, &m.rows, self.eps)?;
        let y = self.self_attn.itself(&h, rope, keys)?;
        Ok(ops::add_gated(x, &y, gate, &m.rows)?)
    }

    /// Steps 2 and 3: cross-attention to the text and, if given, to the other stream; then feed-forward.
    pub fn attend_rest(
        &self,
        x: &Tensor,
        m: &Modulation,
        context: &Tensor,
        other: Option<&Other<'_>>,
    ) -> Result<Tensor> {
        let x = (x + self.cross(x, context, other)?)?;
        let [.., shift, scale, gate] = &m.parts;
        let h = ops::modulate(&x, shift, scale, &m.rows, self.eps)?;
        let y = self
            .ffn
            .1
            .forward(&self.ffn.0.activated(&h, Activation::GeluTanh)?)?;
        Ok(ops::add_gated(&x, &y, gate, &m.rows)?)
    }

    fn cross(&self, x: &Tensor, context: &Tensor, other: Option<&Other<'_>>) -> Result<Tensor> {
        let h = match &self.norm3 {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        let q = self.cross_attn.queries(&h, None)?;
        let (k, v) = self.cross_attn.keys_values(context, None)?;
        let mut sum = self.cross_attn.attend(&q, (&k, &v), context.dim(0)?)?;
        if let Some(other) = other {
            let Some(fusion) = &self.fusion else {
                return Err(Error::Input(
                    "a block without fusion weights was given another stream".to_owned(),
                ));
            };
            let (k, v) = fusion.keys_values(other.tokens, other.rope)?;
            // the same queries as for the text, now rotated
            let q = ops::norm_rope(&q, None, self.eps, Some(other.own))?;
            sum = (sum + self.cross_attn.attend(&q, (&k, &v), other.keys)?)?;
        }
        self.cross_attn.output(&sum)
    }

    /// Its trained weights; those of the fusion only with `fusion`.
    pub(super) fn trained(&self, fusion: bool) -> Vec<Tensor> {
        let mut all = Vec::new();
        self.modulation.trained(&mut all);
        self.self_attn.trained(&mut all);
        self.norm3.iter().for_each(|norm| norm.trained(&mut all));
        self.cross_attn.trained(&mut all);
        if let (true, Some(keys)) = (fusion, &self.fusion) {
            keys.trained(&mut all);
        }
        self.ffn.0.trained(&mut all);
        self.ffn.1.trained(&mut all);
        all
    }

    /// The self-attention layer.
    pub fn self_attention(&self) -> &Attention {
        &self.self_attn
    }

    /// The text attention layer.
    pub fn cross_attention(&self) -> &Attention {
        &self.cross_attn
    }
}

impl Modulation {
    /// The six vectors, as the tokens take them: `[rows, 6, d]`.
    pub fn stacked(&self) -> Result<Tensor> {
        Ok(Tensor::stack(&self.parts, 1)?)
    }
}
