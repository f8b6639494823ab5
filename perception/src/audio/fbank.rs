//! Kaldi's log filter-bank energies, the input of speaker networks
//! (kaldi `feature-fbank.cc`, as torchaudio `compliance.kaldi.fbank` with `dither = 0`).

use std::f64::consts::PI;

use super::RATE;
use super::spectrum::{Bank, Spectrum};

/// Samples per frame (25 ms).
const FRAME: usize = 400;
/// Samples between frames (10 ms).
const HOP: usize = 160;
/// Transform size.
const SIZE: usize = 512;
const PREEMPHASIS: f32 = 0.97;

/// Shape of the frame window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 0.54 - 0.46 cos.
    Hamming,
    /// Kaldi's default: a Hann window to the power of 0.85.
    Povey,
    /// 0.5 - 0.5 cos.
    Hann,
}

/// 80-bin style front end for 16 kHz sound.
#[derive(Clone)]
pub struct Fbank {
    spectrum: Spectrum,
    bank: Bank,
    window: Vec<f32>,
    scale: f32,
}

impl Fbank {
    /// `bins` filters from 20 Hz to 8 kHz; samples are multiplied by `scale` first (32768 for networks
    /// trained on integer samples, 1 for others).
    pub fn new(bins: usize, window: Window, scale: f32) -> Self {
        let cosine = |n: usize| (2.0 * PI * n as f64 / (FRAME - 1) as f64).cos();
        let shape = |n: usize| match window {
            Window::Hamming => 0.54 - 0.46 * cosine(n),
            Window::Povey => (0.5 - 0.5 * cosine(n)).powf(0.85),
            Window::Hann => 0.5 - 0.5 * cosine(n),
        };
        let bank = Bank::new(bins, SIZE / 2, |m, k| triangle(bins, m, k));
        let window = (0..FRAME).map(|n| shape(n) as f32).collect();
        Fbank {
            spectrum: Spectrum::new(SIZE),
            bank,
            window,
            scale,
        }
    }

    /// Bins per frame.
    pub fn bins(&self) -> usize {
        self.bank.len()
    }

    /// Log energies `[frames, bins]`, row-major; only frames that lie wholly in the wave.
    pub fn features(&self, wave: &[f32]) -> Vec<f32> {
        let frames = if wave.len() < FRAME {
            0
        } else {
            (wave.len() - FRAME) / HOP + 1
        };
        let prepared: Vec<f32> = (0..frames)
            .flat_map(|i| self.frame(&wave[i * HOP..][..FRAME]))
            .collect();
        let mut out = Vec::with_capacity(frames * self.bins());
        let sample = |i: usize, k: usize| if k < FRAME { prepared[i * FRAME + k] } else { 0.0 };
        self.spectrum.powers(frames, sample, |_, power| {
            out.extend((0..self.bins()).map(|m| self.bank.energy(m, power).max(f32::EPSILON).ln()));
        });
        out
    }

    /// [`Fbank::features`] with each bin's mean over time taken away.
    pub fn centred(&self, wave: &[f32]) -> Vec<f32> {
        let mut out = self.features(wave);
        let (bins, frames) = (self.bins(), out.len() / self.bins());
        for bin in 0..bins {
            let mean =
                (0..frames).map(|i| f64::from(out[i * bins + bin])).sum::<f64>() / frames.max(1) as f64;
            (0..frames).for_each(|i| out[i * bins + bin] -= mean as f32);
        }
        out
    }

    /// One frame without its mean, pre-emphasised and windowed.
    fn frame(&self, samples: &[f32]) -> Vec<f32> {
        let mean = samples.iter().map(|s| f64::from(s * self.scale)).sum::<f64>() / FRAME as f64;
        let level: Vec<f32> = samples.iter().map(|s| s * self.scale - mean as f32).collect();
        let emphasised = |n: usize| level[n] - PREEMPHASIS * level[n.saturating_sub(1)];
        (0..FRAME).map(|n| emphasised(n) * self.window[n]).collect()
    }
}

/// Weight of filter `m` at bin `k`: triangles on the mel scale of HTK.
fn triangle(bins: usize, m: usize, k: usize) -> f64 {
    let mel = |hz: f64| 1127.0 * (hz / 700.0).ln_1p();
    let (low, high) = (mel(20.0), mel(f64::from(RATE) / 2.0));
    let step = (high - low) / (bins + 1) as f64;
    let left = low + m as f64 * step;
    let at = mel(k as f64 * f64::from(RATE) / SIZE as f64);
    ((at - left) / step).min((left + 2.0 * step - at) / step).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wave of `tests/fixtures/fbank/make.py`.
    fn chirp() -> Vec<f32> {
        let at = |n: i32| {
            let t = f64::from(n) / 16000.0;
            (0.4 * (2.0 * PI * (80.0 * t + 9000.0 * t * t)).sin()
                + 0.05 * f64::from(n * 7919 % 101 - 50) / 50.0) as f32
        };
        (0..3200).map(at).collect()
    }

    #[test]
    fn energies_are_those_of_kaldi() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fbank/chirp.json");
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for (name, window, scale) in [
            ("hamming_32768", Window::Hamming, 32768.0),
            ("povey_1", Window::Povey, 1.0),
        ] {
            let expected: Vec<f32> = serde_json::from_value(golden[name].clone()).unwrap();
            let got = Fbank::new(80, window, scale).features(&chirp());
            assert_eq!(got.len(), expected.len());
            let worst = got
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 2e-3, "{name}: {worst}");
        }
    }

    #[test]
    fn too_short_a_wave_has_no_frame_and_means_vanish() {
        let fbank = Fbank::new(80, Window::Hamming, 32768.0);
        assert!(fbank.centred(&[0.1; 399]).is_empty());
        let centred = fbank.centred(&chirp());
        let mean: f32 = centred.chunks(80).map(|row| row[3]).sum::<f32>();
        assert!(mean.abs() < 1e-2);
    }
}
