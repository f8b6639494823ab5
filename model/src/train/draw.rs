//! Random numbers that depend on nothing but the seed, the step and the place in the batch: any number of workers draws the
//! same ones, and a run that goes on needs no state of a generator.

use crate::{
    Result,
    weights::{normal, value_of},
};
use candle_core::{Device, Tensor};

/// One bijection of 64 bits (splitmix64's finaliser).
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The numbers of one sample of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// Of a step and a place in its batch, both from 0.
    pub fn new(seed: u64, step: u64, place: u64) -> Self {
        Self(mix(mix(mix(seed) ^ step) ^ place))
    }

    /// Uniform in 0..1, one number for each name.
    pub fn uniform(self, name: &str) -> f64 {
        let values = value_of(name, self.0, 1, 0.5, 0.5);
        values.first().copied().map_or(0.0, f64::from)
    }

    /// Normal numbers in f32 on the CPU, one tensor for each name.
    pub fn noise(self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = normal(name, self.0, shape.iter().product(), 1.0);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_place_and_of_no_other() {
        let draw = Draw::new(1, 2, 3);
        assert_eq!(draw.uniform("sigma"), Draw::new(1, 2, 3).uniform("sigma"));
        for other in [Draw::new(0, 2, 3), Draw::new(1, 3, 2), Draw::new(1, 2, 4)] {
            assert_ne!(draw.uniform("sigma"), other.uniform("sigma"));
        }
        let noise = draw.noise("video", &[20_000]).unwrap().to_vec1::<f32>().unwrap();
        let mean = noise.iter().sum::<f32>() / 20_000.0;
        let square = noise.iter().map(|value| value * value).sum::<f32>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (square - 1.0).abs() < 0.04,
            "{mean} {square}"
        );
    }
}
