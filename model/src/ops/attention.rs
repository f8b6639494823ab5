//! Softmax attention that never forms a matrix of all queries against all keys.

use super::{attention_cpu, on_cpu, widen};
use crate::vjp::custom_vjp;
use candle_core::{D, Result, Tensor};

/// Queries at a time where candle's ops do the work.
const CHUNK: usize = 128;

/// `softmax(scale q k^T + bias) v` by head: q `[n, heads * h]`, k and v `[m, heads * h]`, out `[n, heads * h]`.
///
/// `bias` `[heads, n + m - 1]` depends on the distance only: key j and query i take column `j + n - 1 - i`. It gets no gradient.
/// Keys to be left out are not passed.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    scale: f64,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let ((n, width), (m, key_width)) = (q.dims2()?, k.dims2()?);
    let shapes = key_width == width && v.dims() == k.dims() && heads > 0 && width.is_multiple_of(heads);
    let biased = bias.is_none_or(|bias| bias.dims() == [heads, n + m.saturating_sub(1)]);
    if !shapes || !biased || m == 0 {
        candle_core::bail!(
            "attention of {:?} over {:?} in {heads} heads",
            q.shape(),
            k.shape()
        );
    }
    let plain = Chunked {
        heads,
        scale,
        bias: bias.map(Tensor::detach),
    };
    let parts = [q.detach(), k.detach(), v.detach()];
    let out = if on_cpu(&[q, k, v]) && bias.is_none_or(|bias| on_cpu(&[bias])) {
        attention_cpu::forward(&parts, heads, scale, plain.bias.as_ref())?
    } else {
        plain.forward(&parts)?
    };
    let inputs = [q.clone(), k.clone(), v.clone()];
    let mut outputs = custom_vjp(&inputs, vec![out], move |up| match &up[0] {
        Some(up) => plain.backward(&parts, &up.detach()),
        None => Ok(vec![None; 3]),
    })?;
    match outputs.pop() {
        Some(out) => Ok(out),
        None => candle_core::bail!("attention lost its output"),
    }
}

/// The same in candle's ops, a few queries at a time against all keys; and the gradient, which computes the weights again.
pub(super) struct Chunked {
    pub(super) heads: usize,
    pub(super) scale: f64,
    pub(super) bias: Option<Tensor>,
}

impl Chunked {
    /// `[tokens, heads * h]` to `[heads, tokens, h]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        x.reshape((tokens, self.heads, width / self.heads))?
            .transpose(0, 1)?
            .contiguous()
    }

    fn join(&self, x: &Tensor) -> Result<Tensor> {
        let (_, tokens, size) = x.dims3()?;
        x.transpose(0, 1)?
            .contiguous()?
            .reshape((tokens, self.heads * size))
    }

    /// Attention weights of the queries `start..start + count`: `[heads, count, keys]`, f32 or wider.
    fn weights(&self, q: &Tensor, keys: &Tensor, start: usize, count: usize) -> Result<Tensor> {
        let scores = widen(&q.narrow(1, start, count)?.matmul(keys)?)?;
        let mut scores = (scores * self.scale)?;
        if let Some(bias) = &self.bias {
            scores = (scores + self.bias_of(bias, q.dim(1)?, start, count)?)?;
        }
        let peak = scores.max_keepdim(D::Minus1)?;
        let powers = scores.broadcast_sub(&peak)?.exp()?;
        powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
    }

    fn bias_of(&self, bias: &Tensor, n: usize, start: usize, count: usize) -> Result<Tensor> {
        let keys = bias.dim(1)? + 1 - n;
        let rows: Vec<Tensor> = (start..start + count)
            .map(|query| bias.narrow(1, n - 1 - query, keys))
            .collect::<Result<_>>()?;
        Tensor::stack(&rows, 1)
    }

    pub(super) fn forward(&self, [q, k, v]: &[Tensor; 3]) -> Result<Tensor> {
        let (q, k, v) = (self.split(q)?, self.split(k)?, self.split(v)?);
        let keys = k.transpose(1, 2)?.contiguous()?;
        let n = q.dim(1)?;
        let mut parts = Vec::with_capacity(n.div_ceil(CHUNK));
        for start in (0..n).step_by(CHUNK) {
            let weights = self.weights(&q, &keys, start, CHUNK.min(n - start))?;
            parts.push(weights.to_dtype(v.dtype())?.matmul(&v)?);
        }
        self.join(&Tensor::cat(&parts, 1)?)
    }

    pub(super) fn backward(&self, [q, k, v]: &[Tensor; 3], up: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (q, k, v, up) = (self.split(q)?, self.split(k)?, self.split(v)?, self.split(up)?);
        let keys = k.transpose(1, 2)?.contiguous()?;
        let values = widen(&v)?.transpose(1, 2)?.contiguous()?;
        let n = q.dim(1)?;
        let (mut dq, mut dk, mut dv) = (Vec::new(), widen(&k)?.zeros_like()?, widen(&v)?.zeros_like()?);
        for start in (0..n).step_by(CHUNK) {
            let count = CHUNK.min(n - start);
            let weights = self.weights(&q, &keys, start, count)?;
            let up = widen(&up.narrow(1, start, count)?)?.contiguous()?;
            dv = (dv + weights.transpose(1, 2)?.contiguous()?.matmul(&up)?)?;
            let slope = up.matmul(&values)?;
            let mean = (&weights * &slope)?.sum_keepdim(D::Minus1)?;
            let scores = ((weights * slope.broadcast_sub(&mean)?)? * self.scale)?;
            dq.push(scores.matmul(&widen(&k)?)?);
            let queries = widen(&q.narrow(1, start, count)?)?.contiguous()?;
            dk = (dk + scores.transpose(1, 2)?.contiguous()?.matmul(&queries)?)?;
        }
        let finish = |grad: &Tensor, like: &Tensor| self.join(grad)?.to_dtype(like.dtype()).map(Some);
        Ok(vec![
            finish(&Tensor::cat(&dq, 1)?, &q)?,
            finish(&dk, &k)?,
            finish(&dv, &v)?,
        ])
    }
}
