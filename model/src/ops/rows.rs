//! Values that many tokens share: one row of a table per token.

use super::{on_cpu, vector::each_row, widen, with_values};
use crate::vjp::with_plain;
use candle_core::{Device, Result, Tensor};
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
