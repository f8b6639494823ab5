//! RMS norm over the whole width, then rotation of adjacent pairs within each head, in one pass.

use super::{
    norm::{mean_of, rms_norm},
    on_cpu,
    vector::{each_row, sum},
    widen, with_values,
};
use crate::vjp::with_plain;
use candle_core::{Device, Result, Tensor};

/// Cosines and sines for the pairs of one head, a row per token; shared by all heads.
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// From angles in radians: `pairs` per token, token after token. Fails if they are not whole rows.
    pub fn from_angles(angles: &[f64], pairs: usize, device: &Device) -> Result<Self> {
        let table = |f: fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f32> = angles.iter().map(|angle| f(*angle) as f32).collect();
            Tensor::from_vec(values, (angles.len() / pairs.max(1), pairs), device)
        };
        Ok(Self {
            cos: table(f64::cos)?,
            sin: table(f64::sin)?,
        })
    }

    /// Number of tokens.
    pub fn len(&self) -> Result<usize> {
        self.cos.dim(0)
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// These tokens, then those of `other`.
    pub fn then(&self, other: &Self) -> Result<Self> {
        Ok(Self {
            cos: Tensor::cat(&[&self.cos, &other.cos], 0)?,
            sin: Tensor::cat(&[&self.sin, &other.sin], 0)?,
        })
    }

    /// `count` tokens from `start` on.
    pub fn narrow(&self, start: usize, count: usize) -> Result<Self> {
        Ok(Self {
            cos: self.cos.narrow(0, start, count)?,
            sin: self.sin.narrow(0, start, count)?,
        })
    }

    /// Tokens that are not rotated, appended until there are `tokens`.
    pub fn padded(&self, tokens: usize) -> Result<Self> {
        let (len, pairs) = self.cos.dims2()?;
        let still = Self::from_angles(
            &vec![0.0; tokens.saturating_sub(len) * pairs],
            pairs,
            self.cos.device(),
        )?;
        self.then(&still)
    }

    /// The cosines and sines, `[tokens, pairs]` each.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// Rotation in candle's ops: x `[tokens, heads * 2 * pairs]`.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let pairs = self.cos.dim(1)?;
        let split = widen(x)?.reshape((tokens, width / (2 * pairs), pairs, 2))?;
        let (even, odd) = (split.narrow(3, 0, 1)?, split.narrow(3, 1, 1)?);
        let column = |table: &Tensor| table.to_dtype(split.dtype())?.reshape((tokens, 1, pairs, 1));
        let (cos, sin) = (column(&self.cos)?, column(&self.sin)?);
        let first = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
        let second = (even.broadcast_mul(&sin)? + odd.broadcast_mul(&cos)?)?;
        Tensor::cat(&[first, second], 3)?
            .reshape((tokens, width))?
            .to_dtype(x.dtype())
    }

    /// Fails unless the tables have a row per token and the width holds whole heads.
    fn check(&self, tokens: usize, width: usize) -> Result<()> {
        let (rows, pairs) = self.cos.dims2()?;
        if rows == tokens && pairs > 0 && width.is_multiple_of(2 * pairs) {
            Ok(())
        } else {
            candle_core::bail!(
                "positions of {rows} tokens and {pairs} pairs do not fit {tokens} tokens of {width}"
            )
        }
    }
}

/// `rope(RMS(x) * weight)`, each part only where given: x `[tokens, heads * head size]`, weight over the whole width.
pub fn norm_rope(x: &Tensor, weight: Option<&Tensor>, eps: f64, rope: Option<&Rope>) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    if let Some(rope) = rope {
        rope.check(tokens, width)?;
    }
    let plain = {
        let (weighted, rope) = (weight.is_some(), rope.cloned());
        move |inputs: &[Tensor]| {
            let x = if weighted {
                rms_norm(&inputs[0], &inputs[1], eps)?
            } else {
                inputs[0].clone()
            };
            match &rope {
                Some(rope) => rope.rotate(&x),
                None => Ok(x),
            }
        }
    };
    let inputs: Vec<Tensor> = [x].into_iter().chain(weight).cloned().collect();
    if !on_cpu(&inputs.iter().collect::<Vec<_>>()) {
        return plain(&inputs);
    }
    let out = forward(x, weight, eps, rope)?;
    with_plain(
        &inputs,
        Tensor::from_vec(out, (tokens, width), x.device())?,
        plain,
    )
}

fn forward(x: &Tensor, weight: Option<&Tensor>, eps: f64, rope: Option<&Rope>) -> Result<Vec<f32>> {
    let (_, width) = x.dims2()?;
    let eps = eps as f32;
    let mut out = with_values([x], |[x]| x.to_vec())?;
    if let Some(weight) = weight {
        with_values([weight], |[weight]| {
            each_row(&mut out, width, |_, row| {
                let inverse = 1.0 / (mean_of(sum(row, |value| value * value), width) + eps).sqrt();
                for (value, weight) in row.iter_mut().zip(weight) {
                    *value = *value * inverse * weight;
                }
            });
        })?;
    }
    let Some(rope) = rope else { return Ok(out) };
    let pairs = rope.cos.dim(1)?;
    with_values([&rope.cos, &rope.sin], |[cos, sin]| {
        each_row(&mut out, width, |token, row| {
            let (cos, sin) = (&cos[token * pairs..][..pairs], &sin[token * pairs..][..pairs]);
            for head in row.chunks_exact_mut(2 * pairs) {
                turn(head, cos, sin);
            }
        });
    })?;
    Ok(out)
}

#[inline(always)]
fn turn(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ((pair, cos), sin) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cos - b * sin;
        pair[1] = a * sin + b * cos;
    }
}
