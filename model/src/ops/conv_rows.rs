//! Convolutions along rows, `[n, channels]`: the kernel of `conv` for f32 on the CPU, windows and a matrix product
//! elsewhere.

use super::{
    conv::{ConvKernel, ConvPath, ConvShape, conv, margins},
    linear::{linear, unfold},
    on_cpu,
};
use crate::{param::Param, weights::Stored};
use candle_core::{Result, Tensor};

impl ConvShape {
    /// A kernel of `taps` along rows.
    pub fn rows(input: usize, output: usize, taps: usize) -> Self {
        Self {
            input,
            output,
            taps: [1, 1, taps],
        }
    }

    /// A weight of the checkpoint's form `[out, in, taps]` as [`conv_rows`] takes it: in panels as [`Self::hold`] has them, or
    /// `[taps * in, out]`.
    pub fn hold_rows(&self, weight: &Tensor) -> Result<Tensor> {
        if on_cpu(&[weight]) {
            self.hold(weight)
        } else {
            Stored::Taps.load(weight)
        }
    }

    /// A weight `[in, out, taps]` of a transposed convolution that makes `rate` rows of one, `taps` a multiple of it: as the
    /// plain one of `taps / rate` taps to `rate * out` channels that gives the same, `[rate * out, in, taps / rate]`. In the
    /// checkpoint's form still, for [`Self::hold`].
    pub fn plain_of_upwards(weight: &Tensor, rate: usize) -> Result<Tensor> {
        let (input, output, taps) = weight.dims3()?;
        weight
            .reshape((input, output, taps / rate, rate))?
            .flip(&[2])?
            .permute((3, 1, 0, 2))?
            .contiguous()?
            .reshape((rate * output, input, taps / rate))
    }
}

/// The convolution along the rows of `x` with zeros beyond the ends, plus `add`. With `has_margins` the zeros are there
/// already: [`margins`] says how many.
pub fn conv_rows(
    x: &Tensor,
    kernel: &ConvKernel,
    dilation: usize,
    has_margins: bool,
    add: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, channels) = x.dims2()?;
    let ConvShape { output, taps, .. } = kernel.shape;
    let [before, after] = margins(taps[2], dilation);
    let weight = kernel.weight.t();
    if weight.rank() == 3 {
        let around = if has_margins { [0, 0] } else { [before, after] };
        let path = ConvPath {
            dilation,
            pad: [[0, 0], around],
            ..ConvPath::same([1, 1, 1])
        };
        let plane = |tensor: &Tensor| tensor.reshape((1, 1, tensor.dim(0)?, tensor.dim(1)?));
        let add = add.map(plane).transpose()?;
        let y = conv(
            None,
            &x.reshape((1, 1, rows, channels))?,
            kernel,
            path,
            add.as_ref(),
        )?;
        return y.reshape((y.dim(2)?, output));
    }
    let x = if has_margins {
        let Some(inner) = rows.checked_sub(before + after) else {
            candle_core::bail!("{rows} rows are fewer than the margins of {} taps", taps[2]);
        };
        x.narrow(0, before, inner)?
    } else {
        x.clone()
    };
    let bias = kernel.bias.as_ref().map(Param::t);
    let y = linear(&unfold(&x, taps[2], dilation)?, &weight, bias.as_ref(), None)?;
    match add {
        Some(add) => y + add,
        None => Ok(y),
    }
}

/// A transposed convolution of `taps` to `rate` rows of each, `[n, in]` to `[n * rate, out]`, the kernel as
/// [`ConvShape::plain_of_upwards`] and then [`ConvShape::hold`] make it, for f32 on the CPU: as many of the rows are cut at either
/// end as keep the number whole.
pub fn conv_upwards(x: &Tensor, kernel: &ConvKernel, rate: usize) -> Result<Tensor> {
    let (rows, channels) = x.dims2()?;
    let reach = kernel.shape.taps[2].saturating_sub(1);
    let path = ConvPath {
        pad: [[0, 0], [reach; 2]],
        ..ConvPath::same([1, 1, 1])
    };
    let y = conv(None, &x.reshape((1, 1, rows, channels))?, kernel, path, None)?;
    let y = y.reshape(((rows + reach) * rate, kernel.shape.output / rate))?;
    y.narrow(0, reach * rate / 2, rows * rate)
}
