//! The fused kernel: scores of a few queries against a few keys at a time, softmax as it goes.
//!
//! Layout as the linear layers write it: head h of a token is a stretch of its row, so nothing is transposed or copied.

use super::{
    gemm::{Parallelism, View, gemm},
    vector::{exp, max, sum, vectorized},
    with_values,
};
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Most queries at a time.
const QUERIES: usize = 128;
/// Keys at a time.
const KEYS: usize = 512;

struct Shape {
    n: usize,
    m: usize,
    width: usize,
    size: usize,
    heads: usize,
    scale: f32,
}

/// See [`super::attention`].
pub(super) fn forward(
    [q, k, v]: &[Tensor; 3],
    heads: usize,
    scale: f64,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let ((n, width), m) = (q.dims2()?, k.dim(0)?);
    let shape = Shape {
        n,
        m,
        width,
        size: width / heads,
        heads,
        scale: scale as f32,
    };
    let bias = match bias {
        Some(bias) => Some(with_values([bias], |[bias]| bias.to_vec())?),
        None => None,
    };
    let mut out = vec![0.0; n * width];
    // small enough that every thread has a block, large enough for the products
    let block = n
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(16)
        .clamp(32, QUERIES);
    with_values([q, k, v], |[q, k, v]| {
        out.par_chunks_mut(block * width).enumerate().for_each_init(
            || vec![0.0; QUERIES * KEYS],
            |scores, (index, out)| {
                for head in 0..heads {
                    let task = Block {
                        shape: &shape,
                        head,
                        start: index * block,
                        count: out.len() / width,
                    };
                    task.run(out, [q, k, v], bias.as_deref(), scores);
                }
            },
        );
    })?;
    Tensor::from_vec(out, (n, width), q.device())
}

/// One head of a few queries.
struct Block<'a> {
    shape: &'a Shape,
    head: usize,
    start: usize,
    count: usize,
}

impl Block<'_> {
    fn run(&self, out: &mut [f32], [q, k, v]: [&[f32]; 3], bias: Option<&[f32]>, scores: &mut [f32]) {
        let Shape {
            m,
            width,
            size,
            scale,
            ..
        } = *self.shape;
        let offset = self.head * size;
        let queries = View::new(&q[self.start * width + offset..], self.count, size, width);
        let mut peaks = [f32::NEG_INFINITY; QUERIES];
        let mut totals = [0.0f32; QUERIES];
        for first in (0..m).step_by(KEYS) {
            let keys = KEYS.min(m - first);
            let at = first * width + offset;
            let scores = &mut scores[..self.count * keys];
            let key = View::new(&k[at..], keys, size, width);
            gemm(scores, keys, false, scale, queries, key.t(), Parallelism::None);
            vectorized(|| {
                for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                    if let Some(bias) = bias {
                        self.add_bias(scores, bias, row, first);
                    }
                    let shrink = soften(scores, &mut peaks[row], &mut totals[row]);
                    if first > 0 {
                        let out = &mut out[row * width + offset..][..size];
                        out.iter_mut().for_each(|value| *value *= shrink);
                    }
                }
            });
            let (weights, value) = (
                View::new(scores, self.count, keys, keys),
                View::new(&v[at..], keys, size, width),
            );
            gemm(
                &mut out[offset..],
                width,
                first > 0,
                1.0,
                weights,
                value,
                Parallelism::None,
            );
        }
        for (row, total) in totals[..self.count].iter().enumerate() {
            let inverse = 1.0 / total;
            out[row * width + offset..][..size]
                .iter_mut()
                .for_each(|value| *value *= inverse);
        }
    }

    #[inline(always)]
    fn add_bias(&self, scores: &mut [f32], bias: &[f32], row: usize, first: usize) {
        let Shape { n, m, .. } = *self.shape;
        debug_assert!(self.head < self.shape.heads);
        let start = self.head * (n + m - 1) + n - 1 - (self.start + row) + first;
        for (score, bias) in scores.iter_mut().zip(&bias[start..]) {
            *score += bias;
        }
    }
}

/// Turns scores into unnormalised weights against the peak so far; gives the factor for what was summed before.
#[inline(always)]
fn soften(scores: &mut [f32], peak: &mut f32, total: &mut f32) -> f32 {
    let highest = max(scores).max(*peak);
    let shrink = exp(*peak - highest);
    for score in scores.iter_mut() {
        *score = exp(*score - highest);
    }
    *total = *total * shrink + sum(scores, |weight| weight);
    *peak = highest;
    shrink
}
