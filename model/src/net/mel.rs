//! The mel spectrogram that the audio VAE reads: 16 kHz, 80 bands on Slaney's scale, log10.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use rustfft::{FftPlanner, num_complex::Complex};
use serde::{Deserialize, Serialize};

/// Sizes and range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MelConfig {
    /// Samples a second.
    pub sr: usize,
    /// Samples of a transform, and of its window.
    pub n_fft: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    /// Bands.
    pub n_mels: usize,
    /// Lowest frequency of a band, Hz.
    pub fmin: f64,
    /// Highest frequency of a band, Hz.
    pub fmax: f64,
    /// Least value before the logarithm.
    pub clip: f64,
}

impl MelConfig {
    /// MMAudio at 16 kHz.
    pub fn mmaudio_16k() -> Self {
        Self {
            sr: 16_000,
            n_fft: 1024,
            hop: 256,
            n_mels: 80,
            fmin: 0.0,
            fmax: 8000.0,
            clip: 1e-5,
        }
    }
}

/// Slaney's scale: linear up to 1 kHz, logarithmic above.
const LINEAR_STEP: f64 = 200.0 / 3.0;
const BREAK_HZ: f64 = 1000.0;
const BREAK_MEL: f64 = BREAK_HZ / LINEAR_STEP;

fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn to_mel(hz: f64) -> f64 {
    if hz >= BREAK_HZ {
        BREAK_MEL + (hz / BREAK_HZ).ln() / log_step()
    } else {
        hz / LINEAR_STEP
    }
}

fn to_hz(mel: f64) -> f64 {
    if mel >= BREAK_MEL {
        BREAK_HZ * (log_step() * (mel - BREAK_MEL)).exp()
    } else {
        mel * LINEAR_STEP
    }
}

/// The front end.
pub struct Mel {
    config: MelConfig,
    window: Vec<f64>,
    basis: Vec<f64>,
}

fn at(index: usize) -> f64 {
    index as f64
}

impl Mel {
    /// Computes window and bands. Fails on sizes that leave no frame or no band.
    pub fn new(config: &MelConfig) -> Result<Self> {
        if config.n_fft < 2 || config.hop == 0 || config.hop > config.n_fft || config.n_mels == 0 {
            return Err(Error::Config(format!(
                "mel frames of {} every {}",
                config.n_fft, config.hop
            )));
        }
        let turn = std::f64::consts::TAU / at(config.n_fft);
        Ok(Self {
            window: (0..config.n_fft)
                .map(|i| 0.5 - 0.5 * (turn * at(i)).cos())
                .collect(),
            basis: basis(config),
            config: config.clone(),
        })
    }

    /// The periodic Hann window.
    pub fn window(&self) -> &[f64] {
        &self.window
    }

    /// Weights of the frequencies in each band, `n_mels` by `n_fft / 2 + 1`.
    pub fn basis(&self) -> &[f64] {
        &self.basis
    }

    /// log10 mel [bands, samples / hop] of mono samples; what exceeds -1..=1 is clamped. Fails on fewer samples than the
    /// reflection at the ends needs.
    pub fn forward(&self, samples: &[f32], device: &Device) -> Result<Tensor> {
        let MelConfig {
            n_fft,
            hop,
            n_mels,
            clip,
            ..
        } = self.config;
        let pad = (n_fft - hop) / 2;
        if samples.len() <= pad {
            return Err(Error::Input(format!(
                "{} samples, a spectrogram needs {}",
                samples.len(),
                pad + 1
            )));
        }
        let padded = reflect(samples, pad);
        let frames = (padded.len() - n_fft) / hop + 1;
        let transform = FftPlanner::new().plan_fft_forward(n_fft);
        let bins = n_fft / 2 + 1;
        let mut out = vec![0f32; n_mels * frames];
        let mut buffer = vec![Complex::new(0.0, 0.0); n_fft];
        for frame in 0..frames {
            let part = &padded[frame * hop..][..n_fft];
            for ((slot, sample), window) in buffer.iter_mut().zip(part).zip(&self.window) {
                *slot = Complex::new(sample * window, 0.0);
            }
            transform.process(&mut buffer);
            let magnitudes: Vec<f64> = buffer[..bins]
                .iter()
                .map(|bin| (bin.norm_sqr() + 1e-9).sqrt())
                .collect();
            for (band, weights) in self.basis.chunks_exact(bins).enumerate() {
                let energy: f64 = weights
                    .iter()
                    .zip(&magnitudes)
                    .map(|(weight, bin)| weight * bin)
                    .sum();
                let value = energy.max(clip).log10() as f32;
                out[band * frames + frame] = value;
            }
        }
        Ok(Tensor::from_vec(out, (n_mels, frames), device)?)
    }
}

/// Samples clamped to -1..=1 and mirrored at both ends, the ends themselves not repeated.
fn reflect(samples: &[f32], pad: usize) -> Vec<f64> {
    let last = samples.len() - 1;
    let sample = |index: usize| f64::from(samples[index].clamp(-1.0, 1.0));
    let before = (1..=pad).rev().map(sample);
    let after = (1..=pad).map(|back| sample(last - back));
    before
        .chain((0..samples.len()).map(sample))
        .chain(after)
        .collect()
}

/// Triangles of equal area.
fn basis(config: &MelConfig) -> Vec<f64> {
    let bins = config.n_fft / 2 + 1;
    let (low, high) = (to_mel(config.fmin), to_mel(config.fmax));
    let edge = |index: usize| to_hz(low + (high - low) * at(index) / at(config.n_mels + 1));
    let edges: Vec<f64> = (0..config.n_mels + 2).map(edge).collect();
    let mut basis = Vec::with_capacity(config.n_mels * bins);
    for band in edges.windows(3) {
        let height = 2.0 / (band[2] - band[0]);
        basis.extend((0..bins).map(|bin| {
            let hz = at(bin) * at(config.sr) / at(config.n_fft);
            let rising = (hz - band[0]) / (band[1] - band[0]);
            let falling = (band[2] - hz) / (band[2] - band[1]);
            rising.min(falling).max(0.0) * height
        }));
    }
    basis
}
