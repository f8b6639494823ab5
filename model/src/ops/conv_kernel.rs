//! The inner loop of every convolution: sums of rows times a panel of the weight, kept in registers until all taps are in.

#![allow(
    clippy::manual_memcpy,
    clippy::needless_range_loop,
    reason = "loops over constants are unrolled and keep arrays in registers"
)]

use pulp::{Simd, WithSimd};

/// Output channels of a panel.
pub(super) const PANEL: usize = 32;

/// One input channel's weights for a panel, or one output row of it.
pub(super) type Line = [f32; PANEL];

/// A stretch of the sum: `len` values from a row's start plus `a` on, against the lines from `b` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) len: usize,
}

/// `out[r] += sum over steps of a[rows[r] + step.a ..] * b[step.b ..]`.
///
/// A row's sum is added up in one order whatever rows it stands among, so any division into blocks gives the same bits. It
/// begins at zero and is then added to what is there: many short sums round less than a long one.
pub(super) struct Sum<'a> {
    pub(super) a: &'a [f32],
    pub(super) rows: &'a [usize],
    pub(super) steps: &'a [Step],
    pub(super) b: &'a [Line],
    pub(super) out: &'a mut [Line],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut start = 0;
        while start < self.rows.len() {
            let left = self.rows.len() - start;
            // accumulators of a block: 24 of the 32 registers of AVX-512, 12 of the 16 of AVX2
            start += match (S::F32_LANES, left) {
                (16, 12..) => self.block::<S, 12, 2>(simd, start),
                (16, 8..) => self.block::<S, 8, 2>(simd, start),
                (16, 4..) => self.block::<S, 4, 2>(simd, start),
                (16, _) => self.block::<S, 1, 2>(simd, start),
                (8, 6..) => self.block::<S, 6, 2>(simd, start),
                (_, 4..) => self.block::<S, 4, 2>(simd, start),
                _ => self.block::<S, 1, 2>(simd, start),
            };
        }
    }
}

impl Sum<'_> {
    /// `ROWS` rows from `start` on, `VECTORS` vectors of the panel at a time; how many rows that were.
    ///
    /// Plain loops over arrays by value: a closure, or a copy through a slice, and the sums lie in memory instead of registers.
    #[inline(always)]
    fn block<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, start: usize) -> usize {
        for column in (0..PANEL).step_by(VECTORS * S::F32_LANES) {
            let out = &mut self.out[start..start + ROWS];
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            for step in self.steps {
                let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
                for r in 0..ROWS {
                    rows[r] = &self.a[self.rows[start + r] + step.a..][..step.len];
                }
                sums = add_products(simd, rows, &self.b[step.b..][..step.len], column, sums);
            }
            for r in 0..ROWS {
                let (held, _) = S::as_mut_simd_f32s(&mut out[r][column..]);
                for v in 0..VECTORS {
                    held[v] = simd.add_f32s(held[v], sums[r][v]);
                }
            }
        }
        ROWS
    }
}

/// The sums with the products of each row's values and the lines added.
#[inline(always)]
fn add_products<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    mut rows: [&[f32]; ROWS],
    lines: &[Line],
    column: usize,
    mut sums: [[S::f32s; VECTORS]; ROWS],
) -> [[S::f32s; VECTORS]; ROWS] {
    // of one length, so that nothing in the loop is checked
    for r in 0..ROWS {
        rows[r] = &rows[r][..lines.len()];
    }
    for (k, line) in lines.iter().enumerate() {
        let (line, _) = S::as_simd_f32s(&line[column..]);
        let mut weights = [simd.splat_f32s(0.0); VECTORS];
        for v in 0..VECTORS {
            weights[v] = line[v];
        }
        for r in 0..ROWS {
            let x = simd.splat_f32s(rows[r][k]);
            for v in 0..VECTORS {
                sums[r][v] = simd.mul_add_e_f32s(x, weights[v], sums[r][v]);
            }
        }
    }
    sums
}
