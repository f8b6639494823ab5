//! Norms over the last dimension.

use super::{
    on_cpu,
    rows::Rows,
    rows_and_width,
    vector::{each_row, sum},
    widen, with_values,
};
use crate::vjp::with_plain;
use candle_core::{D, Result, Tensor};

pub(super) fn mean_of(total: f32, width: usize) -> f32 {
    total / width as f32
}

/// Mean and 1/deviation of a row.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let mean = mean_of(sum(row, |value| value), row.len());
    let variance = mean_of(sum(row, |value| (value - mean) * (value - mean)), row.len());
    (mean, 1.0 / (variance + eps).sqrt())
}

/// LayerNorm without weights, in candle's ops; f32 inside and out where x is of half precision.
fn plain_layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = widen(x)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

/// LayerNorm with weight and bias `[d]`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let plain = move |inputs: &[Tensor]| {
        plain_layer_norm(&inputs[0], eps)?
            .broadcast_mul(&widen(&inputs[1])?)?
            .broadcast_add(&widen(&inputs[2])?)?
            .to_dtype(inputs[0].dtype())
    };
    let inputs = [x.clone(), weight.clone(), bias.clone()];
    if !on_cpu(&[x, weight, bias]) {
        return plain(&inputs);
    }
    let (_, width) = rows_and_width(x)?;
    let out = with_values([x, weight, bias], |[x, weight, bias]| {
        normed(x, width, eps, |_| (weight, bias), 0.0)
    })?;
    with_plain(&inputs, Tensor::from_vec(out, x.shape(), x.device())?, plain)
}

/// `LN(x) * (1 + scale) + shift`, scale and shift by row: x `[tokens, d]`, scale and shift `[rows, d]`.
pub fn modulate(x: &Tensor, shift: &Tensor, scale: &Tensor, rows: &Rows, eps: f64) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    rows.check(tokens, shift.dim(0)?)?;
    rows.check(tokens, scale.dim(0)?)?;
    let plain = {
        let rows = rows.clone();
        move |inputs: &[Tensor]| {
            let (shift, scale) = (
                rows.select(&widen(&inputs[1])?)?,
                rows.select(&widen(&inputs[2])?)?,
            );
            let normed = plain_layer_norm(&inputs[0], eps)?;
            normed
                .broadcast_mul(&(scale + 1.0)?)?
                .broadcast_add(&shift)?
                .to_dtype(inputs[0].dtype())
        }
    };
    let inputs = [x.clone(), shift.clone(), scale.clone()];
    if !on_cpu(&[x, shift, scale]) {
        return plain(&inputs);
    }
    let out = with_values([x, shift, scale], |[x, shift, scale]| {
        let pick = |token: usize| {
            let start = rows.of(token) * width;
            (&scale[start..start + width], &shift[start..start + width])
        };
        normed(x, width, eps, pick, 1.0)
    })?;
    with_plain(
        &inputs,
        Tensor::from_vec(out, (tokens, width), x.device())?,
        plain,
    )
}

/// `LN(row) * (base + weight) + bias` for each row, weight and bias as `pick` says.
fn normed<'a>(
    x: &[f32],
    width: usize,
    eps: f64,
    pick: impl Fn(usize) -> (&'a [f32], &'a [f32]) + Sync,
    base: f32,
) -> Vec<f32> {
    let eps = eps as f32;
    let mut out = vec![0.0; x.len()];
    each_row(&mut out, width, |token, out| {
        let row = &x[token * width..][..width];
        let (mean, inverse) = moments(row, eps);
        let (weight, bias) = pick(token);
        for (((out, value), weight), bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
            *out = (value - mean) * inverse * (base + weight) + bias;
        }
    });
    out
}

/// Root-mean-square norm with weight `[d]`, in candle's ops; f32 inside.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = widen(x)?;
    let scale = (wide.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    wide.broadcast_div(&scale)?
        .broadcast_mul(&widen(weight)?)?
        .to_dtype(x.dtype())
}
