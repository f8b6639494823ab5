//! Mel-frequency cepstra as `python_speech_features` 0.6 makes them with its defaults, in f64.

use std::f64::consts::PI;
use std::sync::{Arc, LazyLock};

use rustfft::{Fft, FftPlanner, num_complex::Complex64};

/// Coefficients per frame.
pub const COEFFICIENTS: usize = 13;
const FRAME: usize = 400;
const HOP: usize = 160;
const SIZE: usize = 512;
const BINS: usize = SIZE / 2 + 1;
const FILTERS: usize = 26;
const PREEMPHASIS: f64 = 0.97;
const LIFTER: f64 = 22.0;
/// numpy's `finfo(float).eps`, which stands in for zero before a logarithm.
const EPSILON: f64 = f64::EPSILON;

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

struct Tables {
    fft: Arc<dyn Fft<f64>>,
    /// First bin and weights of each triangle.
    filters: Vec<(usize, Vec<f64>)>,
    /// Orthonormal DCT-II with the lifter: `[13][26]`.
    cosines: Vec<[f64; FILTERS]>,
}

/// `[frames][13]` of 16 kHz sound given as integer samples (not scaled to 1): 100 frames a second.
pub fn mfcc(samples: &[i16]) -> Vec<[f64; COEFFICIENTS]> {
    let frames = frames(samples.len());
    let tables = &*TABLES;
    let mut buffer = vec![Complex64::default(); SIZE];
    let mut scratch = vec![Complex64::default(); tables.fft.get_inplace_scratch_len()];
    let sample = |i: usize| {
        let at = |i: usize| samples.get(i).map_or(0.0, |s| f64::from(*s));
        match i {
            // Behind the end, the padding is of the emphasised signal.
            _ if i >= samples.len() => 0.0,
            0 => at(0),
            _ => at(i) - PREEMPHASIS * at(i - 1),
        }
    };
    (0..frames)
        .map(|frame| {
            for (k, slot) in buffer.iter_mut().enumerate() {
                let value = if k < FRAME { sample(frame * HOP + k) } else { 0.0 };
                *slot = Complex64::new(value, 0.0);
            }
            tables.fft.process_with_scratch(&mut buffer, &mut scratch);
            let mut power = [0.0; BINS];
            power
                .iter_mut()
                .zip(&buffer)
                .for_each(|(p, z)| *p = z.norm_sqr() / SIZE as f64);
            tables.cepstrum(&power)
        })
        .collect()
}

/// Frames of so many samples: the last one is padded, and there is always one.
fn frames(samples: usize) -> usize {
    1 + samples.saturating_sub(FRAME).div_ceil(HOP)
}

impl Tables {
    fn new() -> Tables {
        let hz_to_mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
        let mel_to_hz = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
        let step = hz_to_mel(8000.0) / (FILTERS + 1) as f64;
        let edge = |i: usize| ((SIZE + 1) as f64 * mel_to_hz(i as f64 * step) / 16000.0).floor();
        let filter = |j: usize| {
            let (left, middle, right) = (edge(j), edge(j + 1), edge(j + 2));
            let weight = |i: usize| {
                let i = i as f64;
                if i < middle {
                    (i - left) / (middle - left)
                } else {
                    (right - i) / (right - middle)
                }
            };
            (
                left as usize,
                (left as usize..right as usize).map(weight).collect(),
            )
        };
        let row = |n: usize| {
            let norm = if n == 0 {
                1.0 / FILTERS as f64
            } else {
                2.0 / FILTERS as f64
            }
            .sqrt();
            let lift = 1.0 + LIFTER / 2.0 * (PI * n as f64 / LIFTER).sin();
            let cosine = |k: usize| (PI * n as f64 * (2 * k + 1) as f64 / (2 * FILTERS) as f64).cos();
            std::array::from_fn(|k| norm * lift * cosine(k))
        };
        Tables {
            fft: FftPlanner::new().plan_fft_forward(SIZE),
            filters: (0..FILTERS).map(filter).collect(),
            cosines: (0..COEFFICIENTS).map(row).collect(),
        }
    }

    fn cepstrum(&self, power: &[f64; BINS]) -> [f64; COEFFICIENTS] {
        let logarithm = |x: f64| if x == 0.0 { EPSILON } else { x }.ln();
        let energies: [f64; FILTERS] = std::array::from_fn(|j| {
            let (first, weights) = &self.filters[j];
            logarithm(weights.iter().zip(&power[*first..]).map(|(w, p)| w * p).sum())
        });
        let mut out =
            std::array::from_fn(|n| self.cosines[n].iter().zip(&energies).map(|(c, e)| c * e).sum());
        out[0] = logarithm(power.iter().sum());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_its_frames() {
        for (samples, count) in [
            (0, 1),
            (1, 1),
            (400, 1),
            (401, 2),
            (560, 2),
            (561, 3),
            (16000, 99),
        ] {
            assert_eq!(mfcc(&vec![5; samples]).len(), count, "{samples}");
        }
    }

    #[test]
    fn silence_is_the_logarithm_of_epsilon() {
        let out = mfcc(&[0; 800]);
        for frame in out {
            assert!((frame[0] - f64::EPSILON.ln()).abs() < 1e-12);
            assert!(frame[1..].iter().all(|x| x.abs() < 1e-9), "{frame:?}");
        }
    }
}
