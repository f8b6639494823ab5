//! Attention layers of a block: self, text, and the other stream's keys and values.

use super::{config::StreamConfig, layers::LayerNorm, layers::Linear};
use crate::{
    Result,
    ops::{self, Rope},
    param::Param,
    weights::Weights,
};
use candle_core::Tensor;

/// `1e-6`, whatever the stream's own epsilon: the reference adds the fusion norms with their defaults.
const FUSION_EPS: f64 = 1e-6;

/// q, k, v, o, and the norms of q and k over the whole width.
#[derive(Debug, Clone)]
pub struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    norm_q: Option<Param>,
    norm_k: Option<Param>,
    heads: usize,
    eps: f64,
}

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) query: usize,
    pub(super) key: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) norm: bool,
    pub(super) eps: f64,
}

impl Attention {
    /// Reads `q`, `k`, `v`, `o`, `norm_q`, `norm_k`.
    pub fn new(config: &StreamConfig, weights: &Weights) -> Result<Self> {
        let sizes = Sizes {
            query: config.dim,
            key: config.dim,
            inner: config.dim,
            heads: config.num_heads,
            norm: config.qk_norm,
            eps: config.eps,
        };
        Self::sized(sizes, weights)
    }

    pub(super) fn sized(sizes: Sizes, weights: &Weights) -> Result<Self> {
        let Sizes {
            query,
            key,
            inner,
            heads,
            norm,
            eps,
        } = sizes;
        let norm = |name: &str| norm.then(|| weights.pp(name).get("weight", &[inner])).transpose();
        Ok(Self {
            q: Linear::new(&weights.pp("q"), query, inner)?,
            k: Linear::new(&weights.pp("k"), key, inner)?,
            v: Linear::new(&weights.pp("v"), key, inner)?,
            o: Linear::new(&weights.pp("o"), inner, query)?,
            norm_q: norm("norm_q")?,
            norm_k: norm("norm_k")?,
            heads,
            eps,
        })
    }

    /// Queries of x before any rotation, or rotated: `[n, inner]`.
    pub(super) fn queries(&self, x: &Tensor, rope: Option<&Rope>) -> Result<Tensor> {
        let weight = self.norm_q.as_ref().map(Param::t);
        Ok(ops::norm_rope(
            &self.q.forward(x)?,
            weight.as_ref(),
            self.eps,
            rope,
        )?)
    }

    /// Keys `[m, inner]` and values `[m, inner]` of `x`.
    pub(super) fn keys_values(&self, x: &Tensor, rope: Option<&Rope>) -> Result<(Tensor, Tensor)> {
        let weight = self.norm_k.as_ref().map(Param::t);
        let k = ops::norm_rope(&self.k.forward(x)?, weight.as_ref(), self.eps, rope)?;
        Ok((k, self.v.forward(x)?))
    }

    /// Weighted values of the first `keys` keys, before the output projection: `[n, inner]`.
    pub(super) fn attend(&self, q: &Tensor, (k, v): (&Tensor, &Tensor), keys: usize) -> Result<Tensor> {
        let (k, v) = (k.narrow(0, 0, keys)?, v.narrow(0, 0, keys)?);
        let size = (q.dim(1)? / self.heads) as f64;
        Ok(ops::attention(q, &k, &v, self.heads, 1.0 / size.sqrt(), None)?)
    }

    /// Adds its trained weights to `into`.
    pub(super) fn trained(&self, into: &mut Vec<Tensor>) {
        for layer in [&self.q, &self.k, &self.v, &self.o] {
            layer.trained(into);
        }
        for norm in self.norm_q.iter().chain(&self.norm_k) {
            norm.trained(into);
        }
    }

    /// The output projection.
    pub(super) fn output(&self, x: &Tensor) -> Result<Tensor> {
        self.o.forward(x)
    }

    /// x over itself; only the first `keys` tokens are seen.
    pub fn itself(&self, x: &Tensor, rope: &Rope, keys: usize) -> Result<Tensor> {
        let q = self.queries(x, Some(rope))?;
        let (k, v) = self.keys_values(x, Some(rope))?;
        self.output(&self.attend(&q, (&k, &v), keys)?)
    }

    /// x over the whole of `context`, positions unused.
    pub fn over(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let q = self.queries(x, None)?;
        let (k, v) = self.keys_values(context, None)?;
        self.output(&self.attend(&q, (&k, &v), context.dim(0)?)?)
    }

    /// The norm of queries alone.
    pub fn normed_query(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.norm_q.as_ref().map(Param::t);
        Ok(ops::norm_rope(x, weight.as_ref(), self.eps, None)?)
    }
}

/// Keys and values of the other stream. Queries and output projection are the text attention's.
#[derive(Debug, Clone)]
pub struct FusionKeys {
    k: Linear,
    v: Linear,
    norm: LayerNorm,
    norm_k: Option<Param>,
}

impl FusionKeys {
    /// Reads `k_fusion`, `v_fusion`, `pre_attn_norm_fusion`, `norm_k_fusion`.
    pub fn new(config: &StreamConfig, weights: &Weights) -> Result<Self> {
        let dim = config.dim;
        let norm_k = config
            .qk_norm
            .then(|| weights.pp("norm_k_fusion").get("weight", &[dim]));
        Ok(Self {
            k: Linear::new(&weights.pp("k_fusion"), dim, dim)?,
            v: Linear::new(&weights.pp("v_fusion"), dim, dim)?,
            norm: LayerNorm::new(&weights.pp("pre_attn_norm_fusion"), dim, FUSION_EPS)?,
            norm_k: norm_k.transpose()?,
        })
    }

    /// Adds its trained weights to `into`.
    pub(super) fn trained(&self, into: &mut Vec<Tensor>) {
        self.k.trained(into);
        self.v.trained(into);
        self.norm.trained(into);
        self.norm_k.iter().for_each(|norm| norm.trained(into));
    }

    /// Rotated keys and values of the other stream's tokens.
    pub(super) fn keys_values(&self, other: &Tensor, rope: &Rope) -> Result<(Tensor, Tensor)> {
        let normed = self.norm.forward(other)?;
        let weight = self.norm_k.as_ref().map(Param::t);
        let k = ops::norm_rope(&self.k.forward(&normed)?, weight.as_ref(), FUSION_EPS, Some(rope))?;
        Ok((k, self.v.forward(&normed)?))
    }
}
