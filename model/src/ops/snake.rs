//! The vocoder's activation without aliases: twice the rate, snake, half the rate, in one kernel.

use super::{on_cpu, with_values};
use crate::vjp::with_plain;
use candle_core::{Result, Tensor};
use rayon::prelude::*;

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

/// Twice the rate: `[n, c]` to `[2n, c]`, `filter` of twelve taps. In candle's ops: what the pass of [`Snake`] is held against.
pub fn double_rate(x: &Tensor, filter: &[f32; TAPS]) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
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

/// Half the rate: `[n, c]` to `[n / 2, c]`, rounded up.
pub fn halve_rate(x: &Tensor, filter: &[f32; TAPS]) -> Result<Tensor> {
    let (rows, _) = x.dims2()?;
    let half = rows.div_ceil(2);
    let taps = filter.iter().enumerate();
    gathered(
        x,
        half,
        2,
        taps.map(|(k, weight)| (isize::try_from(k).unwrap_or(0) - 5, *weight)),
    )
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

/// `x + sin(x * rate)^2 * share` by channel: x `[n, c]`, rate and share `[c]`. In candle's ops.
pub fn snake(x: &Tensor, rate: &Tensor, share: &Tensor) -> Result<Tensor> {
    x + x.broadcast_mul(rate)?.sin()?.sqr()?.broadcast_mul(share)?
}

/// Up to this the reduction in f32 is exact to a rounding, up to the second that in f64.
const NEAR: f32 = 2.0e4;
const FAR: f32 = 1.0e8;

/// sin(r)^2 for |r| up to half of pi, absolute error below 2e-7.
#[inline(always)]
fn reduced(r: f32) -> f32 {
    let z = r * r;
    let mut p = -1.0 / 39_916_800.0;
    p = p * z + 1.0 / 362_880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    let sine = r + r * z * p;
    sine * sine
}

/// sin(x)^2 for |x| up to [`NEAR`].
#[inline(always)]
fn near(x: f32) -> f32 {
    // adding 1.5 * 2^23 rounds to the nearest integer
    const ROUND: f32 = 12_582_912.0;
    // pi in three parts; the products of the first two with a count up to 2^13 are exact
    const PI: [f32; 3] = [3.140_625, 9.675_026e-4, 1.509_958e-7];
    let turns = (x * std::f32::consts::FRAC_1_PI + ROUND) - ROUND;
    reduced(((x - turns * PI[0]) - turns * PI[1]) - turns * PI[2])
}

/// sin(x)^2 for |x| up to [`FAR`].
#[inline(always)]
fn far(x: f32) -> f32 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let turns = (x * std::f64::consts::FRAC_1_PI + ROUND) - ROUND;
    let r = x - turns * std::f64::consts::PI;
    reduced(r as f32)
}

/// Whether one of the arguments is beyond `limit`.
#[inline(always)]
fn beyond(row: &[f32], rate: &[f32], limit: f32) -> bool {
    let mut found = 0u32;
    for (value, rate) in row.iter().zip(rate) {
        found |= u32::from((*value * rate).abs() > limit);
    }
    found > 0
}

/// `x + sin(x * rate)^2 * share` in place.
#[inline(always)]
fn bend(row: &mut [f32], rate: &[f32], share: &[f32]) {
    if !beyond(row, rate, NEAR) {
        for ((value, rate), share) in row.iter_mut().zip(rate).zip(share) {
            *value += near(*value * rate) * share;
        }
    } else if !beyond(row, rate, FAR) {
        for ((value, rate), share) in row.iter_mut().zip(rate).zip(share) {
            *value += far(*value * rate) * share;
        }
    } else {
        for ((value, rate), share) in row.iter_mut().zip(rate).zip(share) {
            *value += (*value * rate).sin().powi(2) * share;
        }
    }
}

/// The whole activation: twice the rate, snake, half the rate.
#[derive(Debug, Clone, Copy)]
pub struct Snake<'a> {
    /// `[c]`.
    pub rate: &'a Tensor,
    /// `[c]`.
    pub share: &'a Tensor,
    /// Of the doubling.
    pub up: &'a [f32; TAPS],
    /// Of the halving.
    pub down: &'a [f32; TAPS],
}

impl Snake<'_> {
    /// `[n, c]` to as many rows with rows of zeros before and after them, `margins` of each.
    ///
    /// On the CPU in one pass that holds a few rows of the doubled signal.
    pub fn apply(&self, x: &Tensor, margins: [usize; 2]) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let inputs = [x.clone(), self.rate.clone(), self.share.clone()];
        let (up, down) = (*self.up, *self.down);
        let plain = move |inputs: &[Tensor]| {
            let y = snake(&double_rate(&inputs[0], &up)?, &inputs[1], &inputs[2])?;
            halve_rate(&y, &down)?.pad_with_zeros(0, margins[0], margins[1])
        };
        if !on_cpu(&[x, self.rate, self.share]) {
            return plain(&inputs);
        }
        let all = margins[0] + rows + margins[1];
        let out = with_values([x, self.rate, self.share], |[x, rate, share]| {
            let mut out = vec![0.0; all * width];
            let inner = &mut out[margins[0] * width..][..rows * width];
            let pass = Pass {
                x,
                rows,
                width,
                rate,
                share,
                up: self.up.map(|tap| 2.0 * tap),
                down: *self.down,
            };
            inner
                .par_chunks_mut((BLOCK * width).max(1))
                .enumerate()
                .for_each_init(Vec::new, |doubled, (block, out)| {
                    let first = block * BLOCK;
                    pulp::Arch::new().dispatch(Block {
                        pass: &pass,
                        first,
                        out,
                        doubled,
                    });
                });
            out
        })?;
        with_plain(&inputs, Tensor::from_vec(out, (all, width), x.device())?, plain)
    }
}

/// Rows of a task, and channels that pass together: what lies between fits the nearest cache.
const BLOCK: usize = 32;
const CHANNELS: usize = 64;

/// Half of the filter: the taps that meet a row of the signal.
const PHASE: usize = TAPS / 2;

struct Pass<'a> {
    x: &'a [f32],
    rows: usize,
    width: usize,
    rate: &'a [f32],
    share: &'a [f32],
    up: [f32; TAPS],
    down: [f32; TAPS],
}

/// Rows from `first` on. Not a closure: one this long is not compiled for the vector unit at hand.
struct Block<'a> {
    pass: &'a Pass<'a>,
    first: usize,
    out: &'a mut [f32],
    doubled: &'a mut Vec<f32>,
}

impl pulp::NullaryFnOnce for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.pass.block(self.first, self.out, self.doubled);
    }
}

impl Pass<'_> {
    #[inline(always)]
    fn block(&self, first: usize, out: &mut [f32], doubled: &mut Vec<f32>) {
        let count = out.len() / self.width;
        let start = (2 * first).saturating_sub(5);
        let end = (2 * (first + count) + 5).min(2 * self.rows);
        for from in (0..self.width).step_by(CHANNELS) {
            let channels = CHANNELS.min(self.width - from);
            doubled.clear();
            doubled.resize((end - start) * channels, 0.0);
            for (row, into) in doubled.chunks_exact_mut(channels).enumerate() {
                self.double(start + row, from, into);
            }
            for (row, out) in out.chunks_exact_mut(self.width).enumerate() {
                let mut taken: [&[f32]; TAPS] = [&[]; TAPS];
                for (k, taken) in taken.iter_mut().enumerate() {
                    let source = (2 * (first + row) + k).saturating_sub(5).min(2 * self.rows - 1);
                    *taken = &doubled[(source - start) * channels..][..channels];
                }
                mix(&mut out[from..from + channels], taken, self.down);
            }
        }
    }

    /// Row `n` of the doubled signal, bent.
    #[inline(always)]
    fn double(&self, n: usize, from: usize, into: &mut [f32]) {
        let (first, parity) = doubling(n);
        let mut taken: [&[f32]; PHASE] = [&[]; PHASE];
        let mut taps = [0.0; PHASE];
        for (back, (taken, tap)) in taken.iter_mut().zip(&mut taps).enumerate() {
            let source = held(first - isize::try_from(back).unwrap_or(0), self.rows);
            *taken = &self.x[source * self.width + from..][..into.len()];
            *tap = self.up[parity + 2 * back];
        }
        mix(into, taken, taps);
        let channels = from..from + into.len();
        bend(into, &self.rate[channels.clone()], &self.share[channels]);
    }
}

/// The sum of rows with a weight each.
#[inline(always)]
fn mix<const N: usize>(out: &mut [f32], rows: [&[f32]; N], taps: [f32; N]) {
    let mut whole: [&[f32]; N] = [&[]; N];
    for (whole, row) in whole.iter_mut().zip(rows) {
        *whole = &row[..out.len()];
    }
    for (index, out) in out.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (row, tap) in whole.iter().zip(taps) {
            sum += row[index] * tap;
        }
        *out = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_sines_hold_up_to_their_limits() {
        for (limit, squared) in [(NEAR, near as fn(f32) -> f32), (FAR, far)] {
            for step in 0..200_000 {
                let x = limit * (step as f32 / 100_000.0 - 1.0);
                let off = f64::from(squared(x)) - f64::from(x).sin().powi(2);
                // the reduced argument is off by a rounding at pi / 2, twice that is the square's share; the rest is the polynomial's
                assert!(off.abs() < 4e-7, "{x}: {off}");
            }
        }
    }

    #[test]
    fn values_beyond_every_limit_stay_values() {
        let mut row = [3.0e8, -5.0, f32::NAN, 1.0e30];
        let rate = [1.0; 4];
        bend(&mut row, &rate, &[1.0; 4]);
        assert_eq!(row[0], 3.0e8 + 3.0e8f32.sin().powi(2));
        assert!((row[1] + 5.0 - 5f32.sin().powi(2)).abs() < 1e-6 && row[2].is_nan() && row[3] == 1.0e30);
    }
}
