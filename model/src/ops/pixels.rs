//! What stands between convolutions of pixels, channels last.

use super::{
    act::Activation,
    on_cpu, rows_and_width,
    vector::{each_row, sum},
    with_values,
};
use crate::vjp::with_plain;
use candle_core::{D, Result, Tensor};

/// The least length that a pixel is divided by.
const FLOOR: f64 = 1e-12;

/// Each pixel's channels to unit length, times `gamma` by channel, and where asked SiLU on top: x `[.., c]`, gamma `[c]`.
pub fn unit_norm(x: &Tensor, gamma: &Tensor, silu: bool) -> Result<Tensor> {
    let plain = move |inputs: &[Tensor]| {
        let length = inputs[0].sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(FLOOR)?;
        let y = inputs[0].broadcast_div(&length)?.broadcast_mul(&inputs[1])?;
        if silu { y.silu() } else { Ok(y) }
    };
    let inputs = [x.clone(), gamma.clone()];
    if !on_cpu(&[x, gamma]) {
        return plain(&inputs);
    }
    let (rows, width) = rows_and_width(x)?;
    if gamma.dims() != [width] {
        candle_core::bail!("{width} channels were given factors {:?}", gamma.dims());
    }
    let out = with_values([x, gamma], |[x, gamma]| {
        let mut out = vec![0.0; rows * width];
        each_row(&mut out, width, |row, out| {
            let x = &x[row * width..][..width];
            let length = sum(x, |x| x * x).sqrt();
            // `max` would drop what is no number
            let factor = 1.0
                / if length < FLOOR as f32 {
                    FLOOR as f32
                } else {
                    length
                };
            for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
                *out = x * factor * gamma;
            }
            if silu {
                Activation::Silu.apply(out);
            }
        });
        out
    })?;
    with_plain(&inputs, Tensor::from_vec(out, x.shape(), x.device())?, plain)
}

/// Every pixel twice in both directions: `[frames, h, w, c]` to `[frames, 2h, 2w, c]`.
pub fn twice_the_size(x: &Tensor) -> Result<Tensor> {
    let (frames, height, width, channels) = x.dims4()?;
    let shape = (frames, 2 * height, 2 * width, channels);
    let plain = move |inputs: &[Tensor]| {
        inputs[0]
            .reshape((frames, height, 1, width, 1, channels))?
            .broadcast_as((frames, height, 2, width, 2, channels))?
            .contiguous()?
            .reshape(shape)
    };
    let inputs = [x.clone()];
    if !on_cpu(&[x]) {
        return plain(&inputs);
    }
    let out = with_values([x], |[x]| {
        let mut out = vec![0.0; 4 * x.len()];
        each_row(&mut out, channels, |pixel, out| {
            let (line, column) = (pixel / (2 * width), pixel % (2 * width) / 2);
            out.copy_from_slice(&x[(line / 2 * width + column) * channels..][..channels]);
        });
        out
    })?;
    with_plain(&inputs, Tensor::from_vec(out, shape, x.device())?, plain)
}

/// Channels, each repeated as often as it takes, spread over `ft` frames and `fs` x `fs` pixels: `[f, h, w, c]` to
/// `[f * ft - drop, h * fs, w * fs, output]` without the first `drop` frames.
pub fn spread_channels(x: &Tensor, output: usize, [ft, fs]: [usize; 2], drop: usize) -> Result<Tensor> {
    let (f, h, w, c) = x.dims4()?;
    let parts = ft * fs * fs;
    if c == 0 || !(output * parts).is_multiple_of(c) || drop >= f * ft {
        candle_core::bail!("{c} channels of {f} frames cannot be spread to {output} by {ft} and {fs}");
    }
    let repeats = output * parts / c;
    let plain = move |inputs: &[Tensor]| {
        let wide = inputs[0]
            .unsqueeze(4)?
            .broadcast_as((f, h, w, c, repeats))?
            .contiguous()?;
        let split = wide.reshape(&[f, h, w, output, ft, fs, fs][..])?;
        let order = split.permute(&[0usize, 4, 1, 5, 2, 6, 3][..])?.contiguous()?;
        let y = order.reshape((f * ft, h * fs, w * fs, output))?;
        y.narrow(0, drop, f * ft - drop)
    };
    let inputs = [x.clone()];
    if !on_cpu(&[x]) {
        return plain(&inputs);
    }
    let out = with_values([x], |[x]| {
        let mut out = vec![0.0; (f * ft - drop) * h * fs * w * fs * output];
        // for every part of a pixel, the channel that each output channel takes
        let sources: Vec<usize> = (0..parts * output)
            .map(|place| (place % output * parts + place / output) / repeats)
            .collect();
        each_row(&mut out, output, |pixel, out| {
            let (line, column) = (pixel / (w * fs), pixel % (w * fs));
            let (frame, row) = (line / (h * fs) + drop, line % (h * fs));
            let part = (frame % ft * fs + row % fs) * fs + column % fs;
            let from = &x[((frame / ft * h + row / fs) * w + column / fs) * c..][..c];
            for (out, source) in out.iter_mut().zip(&sources[part * output..]) {
                *out = from[*source];
            }
        });
        out
    })?;
    let shape = (f * ft - drop, h * fs, w * fs, output);
    with_plain(&inputs, Tensor::from_vec(out, shape, x.device())?, plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn far(a: &Tensor, b: &Tensor) -> f32 {
        let off = (a - b.to_dtype(DType::F32).unwrap()).unwrap().abs().unwrap();
        off.flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn kernels_equal_their_plain_forms() {
        let x = Tensor::rand(-2f32, 2.0, (3, 4, 5, 8), &Device::Cpu).unwrap();
        let gamma = Tensor::rand(-2f32, 2.0, 8, &Device::Cpu).unwrap();
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        for silu in [false, true] {
            let ours = unit_norm(&x, &gamma, silu).unwrap();
            assert!(far(&ours, &unit_norm(&wide(&x), &wide(&gamma), silu).unwrap()) < 1e-6);
            let mut broken = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            broken[3] = f32::NAN;
            let broken = Tensor::from_vec(broken, x.dims(), &Device::Cpu).unwrap();
            let pixel = unit_norm(&broken, &gamma, silu).unwrap().flatten_all().unwrap();
            let pixel = pixel.narrow(0, 0, 16).unwrap().to_vec1::<f32>().unwrap();
            assert!(
                pixel[..8].iter().all(|value| value.is_nan())
                    && pixel[8..].iter().all(|value| value.is_finite())
            );
            assert!(unit_norm(&x, &gamma.narrow(0, 0, 5).unwrap(), silu).is_err());
            let zero = unit_norm(&x.zeros_like().unwrap(), &gamma, silu).unwrap();
            assert!(far(&zero, &zero.zeros_like().unwrap()) == 0.0);
        }
        let ours = twice_the_size(&x).unwrap();
        assert_eq!(far(&ours, &twice_the_size(&wide(&x)).unwrap()), 0.0);
        for (output, factors, drop) in [(4, [2, 2], 1), (8, [1, 2], 0), (8, [2, 1], 0), (3, [2, 2], 0)] {
            let ours = spread_channels(&x, output, factors, drop).unwrap();
            let plain = spread_channels(&wide(&x), output, factors, drop).unwrap();
            assert_eq!(far(&ours, &plain), 0.0);
        }
        assert!(spread_channels(&x, 3, [1, 1], 0).is_err() && spread_channels(&x, 8, [1, 2], 3).is_err());
    }

    /// The gradient of x for one of y that differs from place to place: a sum alone would not see values at wrong places.
    fn gradient(x: &candle_core::Var, y: &Tensor) -> Tensor {
        let count = y.elem_count();
        let seed: Vec<f64> = (0..count).map(|place| (place as f64 * 0.7).sin()).collect();
        let seed = Tensor::from_vec(seed, y.dims(), &Device::Cpu).unwrap();
        let loss = (y * seed.to_dtype(y.dtype()).unwrap())
            .unwrap()
            .sum_all()
            .unwrap();
        loss.backward().unwrap().get(x).unwrap().clone()
    }

    #[test]
    fn gradients_are_those_of_the_plain_forms() {
        let x = candle_core::Var::rand(-1f32, 1.0, (2, 2, 3, 4), &Device::Cpu).unwrap();
        let wide = candle_core::Var::from_tensor(&x.to_dtype(DType::F64).unwrap()).unwrap();
        let gamma = Tensor::rand(-2f32, 2.0, 4, &Device::Cpu).unwrap();
        let all = |x: &candle_core::Var| {
            let y = unit_norm(x.as_tensor(), &gamma.to_dtype(x.dtype()).unwrap(), true).unwrap();
            let y = spread_channels(&twice_the_size(&y).unwrap(), 4, [2, 2], 1).unwrap();
            gradient(x, &y)
        };
        assert!(far(&all(&x), &all(&wide)) < 1e-4);
    }
}
