//! Weights from a formula: the same numbers in any language, without a file.
//!
//! `u(name, seed, i)` hashes the name (FNV-1a), adds seed and index, and mixes (splitmix64's finaliser). For reproducible
//! stand-ins and for comparisons with networks too large to ship.

use super::{Found, Source};
use crate::Result;
use candle_core::{Device, Tensor};

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn fnv1a64(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Element `index` (row-major) of the tensor `name`, uniform in 0..1 with 24 bits.
fn uniform(base: u64, index: u64) -> f32 {
    let mut z = base.wrapping_add(index).wrapping_add(GOLDEN_GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let bits = (z >> 40) as f32;
    bits * (1.0 / 16_777_216.0)
}

/// `count` values of the tensor `name`: `(2u - 1) * scale + offset`.
pub fn value_of(name: &str, seed: u64, count: usize, scale: f32, offset: f32) -> Vec<f32> {
    let base = fnv1a64(name).wrapping_add(seed.wrapping_mul(GOLDEN_GAMMA));
    (0..count as u64)
        .map(|index| (2.0 * uniform(base, index) - 1.0) * scale + offset)
        .collect()
}

/// Every weight of a DiT from the formula: norms near one, biases near zero, matrices of variance one over fan-in.
pub struct Formula {
    /// Which set of numbers.
    pub seed: u64,
}

impl Formula {
    fn scale_and_offset(name: &str, shape: &[usize]) -> (f32, f32) {
        // rounded once, to f32
        let root = |fan: usize| (3.0 / fan as f64).sqrt() as f32;
        match shape {
            _ if name.contains("modulation") => (root(shape.last().copied().unwrap_or(1)), 0.0),
            [] | [_] if name.ends_with("weight") => (0.1, 1.0),
            [] | [_] => (0.05, 0.0),
            [_, rest @ ..] => (root(rest.iter().product()), 0.0),
        }
    }
}

impl Source for Formula {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        let (scale, offset) = Self::scale_and_offset(name, shape);
        let values = value_of(name, self.seed, shape.iter().product(), scale, offset);
        Ok(Found::Tensor(Tensor::from_vec(values, shape, device)?))
    }

    fn label(&self) -> String {
        format!("the weight formula with seed {}", self.seed)
    }
}
