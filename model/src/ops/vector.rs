//! Loops that the compiler turns into vector code, run on the widest unit at hand.

use rayon::prelude::*;

/// Lanes of the accumulators: one AVX-512 register, two of AVX2.
const LANES: usize = 16;

/// Runs `f` compiled for the vector unit of this processor. What `f` calls must be `#[inline(always)]`.
#[inline]
pub(super) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Applies `f(index, row)` to the rows of `out`, in parallel where that pays.
pub(super) fn each_row(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    /// Values per task: large enough that handing it out costs nothing beside it.
    const TASK: usize = 1 << 15;
    let rows = (TASK / width.max(1)).max(1);
    out.par_chunks_mut(rows * width.max(1))
        .enumerate()
        .for_each(|(chunk, block)| {
            vectorized(|| {
                for (row, values) in block.chunks_exact_mut(width).enumerate() {
                    f(chunk * rows + row, values);
                }
            });
        });
}

/// e^x, relative error below 2e-7; x is held within what an f32 can say. NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * LN2_HIGH - whole * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Sum of `f` over the values.
#[inline(always)]
pub(super) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|value| f(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// The largest value.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks
        .remainder()
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().copied().fold(rest, f32::max)
}
