//! Values that many tokens share: one row of a table per token.

use super::{
    on_cpu,
    vector::{each_row, vectorized},
    widen, with_values,
};
use crate::vjp::with_plain;
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Which row of a table each token takes. A sample has one or two distinct times, not one per token.
#[derive(Debug, Clone)]
pub struct Rows {
    index: Option<Arc<[u32]>>,
}

impl Rows {
    /// Every token takes row 0 of a table of one row.
    pub fn shared() -> Self {
        Self { index: None }
    }

    /// Token i takes row `index[i]`.
    pub fn indexed(index: Vec<u32>) -> Self {
        Self {
            index: Some(index.into()),
        }
    }

    /// The row of token `token`.
    #[inline(always)]
    pub(super) fn of(&self, token: usize) -> usize {
        self.index.as_ref().map_or(0, |index| index[token] as usize)
    }

    /// The table's rows as the tokens take them, or the one row that all share.
    pub(super) fn select(&self, table: &Tensor) -> Result<Tensor> {
        match &self.index {
            None => Ok(table.clone()),
            Some(index) => {
                let index =
                    Tensor::from_slice(index, index.len(), &Device::Cpu)?.to_device(table.device())?;
                table.index_select(&index, 0)
            }
        }
    }

    /// Fails unless each of `tokens` tokens has a row in a table of `rows`.
    pub(super) fn check(&self, tokens: usize, rows: usize) -> Result<()> {
        let fits = match &self.index {
            None => rows == 1,
            Some(index) => index.len() == tokens && index.iter().all(|row| (*row as usize) < rows),
        };
        if fits {
            Ok(())
        } else {
            candle_core::bail!("rows of a table of {rows} do not fit {tokens} tokens")
        }
    }
}

/// `x + y * gate`, gate by row: x, y `[tokens, d]`, gate `[rows, d]`.
pub fn add_gated(x: &Tensor, y: &Tensor, gate: &Tensor, rows: &Rows) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    rows.check(tokens, gate.dim(0)?)?;
    let plain = {
        let rows = rows.clone();
        move |inputs: &[Tensor]| {
            let gate = rows.select(&widen(&inputs[2])?)?;
            let sum = (widen(&inputs[0])? + widen(&inputs[1])?.broadcast_mul(&gate)?)?;
            sum.to_dtype(inputs[0].dtype())
        }
    };
    let inputs = [x.clone(), y.clone(), gate.clone()];
    if !on_cpu(&[x, y, gate]) {
        return plain(&inputs);
    }
    let out = with_values([x, y, gate], |[x, y, gate]| {
        let mut out = x.to_vec();
        each_row(&mut out, width, |token, out| {
            let gate = &gate[rows.of(token) * width..][..width];
            for ((out, y), gate) in out.iter_mut().zip(&y[token * width..][..width]).zip(gate) {
                *out += y * gate;
            }
        });
        out
    })?;
    with_plain(
        &inputs,
        Tensor::from_vec(out, (tokens, width), x.device())?,
        plain,
    )
}

/// The mean of tensors of one shape, in one pass.
pub fn mean_of(all: &[Tensor]) -> Result<Tensor> {
    let Some((first, others)) = all.split_first() else {
        candle_core::bail!("a mean of nothing");
    };
    let share = 1.0 / all.len() as f64;
    let plain = move |all: &[Tensor]| {
        let mut sum = all[0].clone();
        for other in &all[1..] {
            sum = (sum + other)?;
        }
        sum * share
    };
    let refs: Vec<&Tensor> = all.iter().collect();
    if !on_cpu(&refs) || others.iter().any(|other| other.shape() != first.shape()) {
        return plain(all);
    }
    let mut sum = with_values([first], |[first]| first.to_vec())?;
    let (last, width) = (others.len().saturating_sub(1), 1 << 12);
    for (index, other) in others.iter().enumerate() {
        let factor = if index == last { share as f32 } else { 1.0 };
        with_values([other], |[other]| {
            sum.par_chunks_mut(width)
                .zip(other.par_chunks(width))
                .for_each(|(sum, other)| vectorized(|| add_scaled(sum, other, factor)));
        })?;
    }
    with_plain(all, Tensor::from_vec(sum, first.shape(), first.device())?, plain)
}

/// `(sum + other) * factor` in place.
#[inline(always)]
fn add_scaled(sum: &mut [f32], other: &[f32], factor: f32) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum = (*sum + other) * factor;
    }
}
