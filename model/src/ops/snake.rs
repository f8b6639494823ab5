//! The vocoder's activation without aliases: twice the rate, snake, half the rate, in one kernel.

use super::{on_cpu, vector::each_row, with_values};
use candle_core::{Result, Tensor};

/// Taps of the filter, fixed by its definition.
pub const TAPS: usize = 12;

/// Where a row of the doubled signal takes its taps from: the first row read, and the parity of the taps.
///
/// The reference pads five rows on each side with the edge, spreads them over twice as many, convolves, and crops fifteen.
/// Row n of the result reads rows (n + 15 - k) / 2 - 5 of the input for the taps k that make this whole.
fn doubling(n: usize) -> (isize, usize) {
    let parity = (n + 15) % 2;
    let first = isize::try_from((n + 15 - parity) / 2).unwrap_or(isize::MAX) - 5;
    (first, parity)
}

fn held(row: isize, rows: usize) -> usize {
    usize::try_from(row).unwrap_or(0).min(rows.saturating_sub(1))
}

/// Twice the rate: [n, c] to [2n, c], `filter` of twelve taps.
pub fn double_rate(x: &Tensor, filter: &[f32; TAPS]) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if on_cpu(&[x]) {
        let out = with_values([x], |[x]| {
            let mut out = vec![0.0; 2 * rows * width];
            each_row(&mut out, width, |n, out| {
                let (first, parity) = doubling(n);
                for (back, k) in (parity..TAPS).step_by(2).enumerate() {
                    let source = held(first - isize::try_from(back).unwrap_or(0), rows);
                    add(out, &x[source * width..][..width], 2.0 * filter[k]);
                }
            });
            out
        })?;
        return Tensor::from_vec(out, (2 * rows, width), x.device());
    }
    let phase = |n: usize| -> Result<Tensor> {
        let (first, parity) = doubling(n);
        let taps = (parity..TAPS).step_by(2).enumerate();
        gathered(
            x,
            rows,
            1,
            taps.map(|(back, k)| (first - isize::try_from(back).unwrap_or(0), 2.0 * filter[k])),
        )
    };
    Tensor::stack(&[phase(0)?, phase(1)?], 1)?.reshape((2 * rows, width))
}

/// Half the rate: [n, c] to [n / 2, c], rounded up.
pub fn halve_rate(x: &Tensor, filter: &[f32; TAPS]) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let half = rows.div_ceil(2);
    if on_cpu(&[x]) {
        let out = with_values([x], |[x]| {
            let mut out = vec![0.0; half * width];
            each_row(&mut out, width, |n, out| {
                for (k, weight) in filter.iter().enumerate() {
                    let source = held(isize::try_from(2 * n + k).unwrap_or(0) - 5, rows);
                    add(out, &x[source * width..][..width], *weight);
                }
            });
            out
        })?;
        return Tensor::from_vec(out, (half, width), x.device());
    }
    let taps = filter.iter().enumerate();
    gathered(
        x,
        half,
        2,
        taps.map(|(k, weight)| (isize::try_from(k).unwrap_or(0) - 5, *weight)),
    )
}

#[inline(always)]
fn add(out: &mut [f32], row: &[f32], weight: f32) {
    for (out, value) in out.iter_mut().zip(row) {
        *out += weight * value;
    }
}

/// Sum over taps of rows `first`, `first + stride`, ... with a weight each, in candle's ops.
fn gathered(
    x: &Tensor,
    count: usize,
    stride: usize,
    taps: impl Iterator<Item = (isize, f32)>,
) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let mut sum: Option<Tensor> = None;
    for (first, weight) in taps {
        let source = |n: usize| held(first + isize::try_from(n * stride).unwrap_or(0), rows);
        let index: Vec<u32> = (0..count).filter_map(|n| u32::try_from(source(n)).ok()).collect();
        let index = Tensor::from_vec(index, count, x.device())?;
        let term = (x.index_select(&index, 0)? * f64::from(weight))?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => x.narrow(0, 0, 0),
    }
}

/// `x + sin(x * rate)^2 * share` by channel: x [n, c], rate and share [c].
pub fn snake(x: &Tensor, rate: &Tensor, share: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if !on_cpu(&[x, rate, share]) {
        return x + x.broadcast_mul(rate)?.sin()?.sqr()?.broadcast_mul(share)?;
    }
    let out = with_values([x, rate, share], |[x, rate, share]| {
        let mut out = x.to_vec();
        each_row(&mut out, width, |_, row| {
            for ((value, rate), share) in row.iter_mut().zip(rate).zip(share) {
                let wave = (*value * rate).sin();
                *value += wave * wave * share;
            }
        });
        out
    })?;
    Tensor::from_vec(out, (rows, width), x.device())
}
