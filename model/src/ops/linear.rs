//! x W + b with W as `[in, out]`.

use super::{
    act::{Activation, activate},
    gemm::{Parallelism, View, gemm},
    on_cpu, rows_and_width, widen, with_values,
};
use crate::vjp::custom_vjp;
use candle_core::{Result, Tensor};

/// `activation(x w + bias)`: x `[.., in]`, w `[in, out]`, bias `[out]`.
///
/// The gradient computes nothing for frozen weights, where candle's own would.
pub fn linear(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let tracked = x.track_op() || w.track_op() || bias.is_some_and(Tensor::track_op);
    let folded = if tracked { None } else { activation };
    let (y, done) = forward(x, w, bias, folded)?;
    if !tracked {
        return match activation {
            Some(activation) if !done => activate(&y, activation),
            _ => Ok(y),
        };
    }
    match activation {
        // one op: the gradient of what lies between is handed on instead of summed up in candle's store, which takes three more
        // tensors of the inner width
        Some(activation) if activation.has_kernel() && on_cpu(&[&y]) => {
            let active = activate(&y.detach(), activation)?;
            with_gradient(x, w, bias, active, Some((activation, y.detach())))
        }
        Some(activation) => activate(&with_gradient(x, w, bias, y, None)?, activation),
        None => with_gradient(x, w, bias, y, None),
    }
}

/// The product, and whether the activation has been applied.
fn forward(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<(Tensor, bool)> {
    let (rows, input) = rows_and_width(x)?;
    let (inner, output) = w.dims2()?;
    if input != inner {
        candle_core::bail!("a linear layer of {inner} inputs was given {input}");
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = output;
    }
    if !on_cpu(&[x, w]) {
        let y = x.detach().reshape((rows, input))?.matmul(&w.detach())?;
        let y = match bias {
            Some(bias) => y.broadcast_add(&bias.detach())?,
            None => y,
        };
        return Ok((y.reshape(dims)?, false));
    }
    let mut y = match bias {
        Some(bias) => with_values([bias], |[bias]| bias.repeat(rows))?,
        None => vec![0.0; rows * output],
    };
    with_values([x, w], |[x, w]| {
        let (a, b) = (
            View::new(x, rows, input, input),
            View::new(w, input, output, output),
        );
        gemm(&mut y, output, bias.is_some(), 1.0, a, b, Parallelism::Rayon(0));
    })?;
    let done = activation.is_some_and(|activation| activation.apply_all(&mut y));
    Ok((Tensor::from_vec(y, dims, x.device())?, done))
}

/// The outcome `y` with its gradient; `before`: the activation that made it, and of what.
fn with_gradient(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: Tensor,
    before: Option<(Activation, Tensor)>,
) -> Result<Tensor> {
    let inputs: Vec<Tensor> = [x, w].into_iter().chain(bias).cloned().collect();
    let wanted: Vec<bool> = inputs.iter().map(Tensor::track_op).collect();
    let (x, w) = (x.detach(), w.detach());
    let mut outputs = custom_vjp(&inputs, vec![y], move |up| {
        let mut down = vec![None; wanted.len()];
        let Some(g) = &up[0] else { return Ok(down) };
        let (rows, output) = rows_and_width(g)?;
        let g = g.detach().contiguous()?;
        let g = match before {
            Some((activation, inner)) => activation.backward(&inner, &g)?,
            None => g,
        };
        let g = g.reshape((rows, output))?;
        if wanted[0] {
            down[0] = Some(g.matmul(&w.t()?)?.reshape(x.shape())?);
        }
        if wanted[1] {
            let x = x.contiguous()?.reshape((rows, w.dim(0)?))?;
            down[1] = Some(x.t()?.matmul(&g)?);
        }
        if wanted.get(2) == Some(&true) {
            down[2] = Some(widen(&g)?.sum(0)?.to_dtype(g.dtype())?);
        }
        Ok(down)
    })?;
    match outputs.pop() {
        Some(y) => Ok(y),
        None => candle_core::bail!("a linear layer lost its output"),
    }
}

/// The rows as each tap of a convolution along them sees them, zeros beyond the ends, `dilation` rows from tap to tap.
pub fn unfold_each(x: &Tensor, taps: usize, dilation: usize) -> Result<Vec<Tensor>> {
    let rows = x.dim(0)?;
    let reach = (taps - 1) * dilation;
    let padded = x.pad_with_zeros(0, reach / 2, reach - reach / 2)?;
    (0..taps)
        .map(|tap| padded.narrow(0, tap * dilation, rows))
        .collect()
}

/// Windows around each row: `[rows, width]` to `[rows, taps * width]`. A convolution along the rows is a linear layer of these.
pub fn unfold(x: &Tensor, taps: usize, dilation: usize) -> Result<Tensor> {
    if taps == 1 {
        return Ok(x.clone());
    }
    Tensor::cat(&unfold_each(x, taps, dilation)?, 1)
}
