//! Sound of the stand-in codec: log mel to 20 coefficients at 31.25 Hz, and back by Griffin and Lim's iteration.

use super::{AUDIO_CHANNELS, SAMPLES_PER_LATENT, linear::cosine};
use crate::{
    Error, Result,
    net::{
        mel::{Mel, MelConfig},
        stats::MMAUDIO_MEL,
    },
};
use candle_core::{DType, Device, Tensor};
use rustfft::{FftPlanner, num_complex::Complex};

/// Bands of the mel.
const BANDS: usize = 80;
/// Mel frames of a latent.
const FRAMES: usize = 2;
/// Coefficients along the bands of the two frames' sum, and of their difference.
const ORDERS: [usize; FRAMES] = [16, 4];
/// What coefficients are divided by, so that a latent is about as large as noise.
const SCALE: f64 = 4.0;
/// Rounds of estimating the phase.
const ROUNDS: usize = 32;
/// Rounds of estimating magnitudes below the bands.
const MAGNITUDE_ROUNDS: usize = 60;

pub(super) struct Voice {
    config: MelConfig,
    mel: Mel,
    /// `[20, 160]`; columns are frame, band.
    basis: Tensor,
}

fn basis() -> Vec<f32> {
    let mut rows = Vec::with_capacity(AUDIO_CHANNELS * BANDS * FRAMES);
    for (time, orders) in ORDERS.into_iter().enumerate() {
        for order in 0..orders {
            for frame in 0..FRAMES {
                let outer = cosine(time, frame, FRAMES);
                rows.extend((0..BANDS).map(|band| (outer * cosine(order, band, BANDS)) as f32));
            }
        }
    }
    rows
}

/// Mean or deviation of each band, as a row.
fn row(values: &[f64; BANDS]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, (1, BANDS), &Device::Cpu)?.to_dtype(DType::F32)?)
}

impl Voice {
    pub(super) fn new() -> Result<Self> {
        let config = MelConfig::mmaudio_16k();
        Ok(Self {
            mel: Mel::new(&config)?,
            basis: Tensor::from_vec(basis(), (AUDIO_CHANNELS, BANDS * FRAMES), &Device::Cpu)?,
            config,
        })
    }

    /// Samples as latents `[samples / 512, 20]`.
    pub(super) fn encode(&self, samples: &[f32]) -> Result<Tensor> {
        let count = samples.len() / SAMPLES_PER_LATENT;
        if count == 0 {
            return Err(Error::Input(format!(
                "{} samples of sound, a latent has {SAMPLES_PER_LATENT}",
                samples.len()
            )));
        }
        let mel = self
            .mel
            .forward(&samples[..count * SAMPLES_PER_LATENT], &Device::Cpu)?;
        let rows = mel
            .t()?
            .broadcast_sub(&row(&MMAUDIO_MEL.mean)?)?
            .broadcast_div(&row(&MMAUDIO_MEL.std)?)?;
        let pairs = rows.contiguous()?.reshape((count, FRAMES * BANDS))?;
        Ok((pairs.matmul(&self.basis.t()?)? / SCALE)?)
    }

    /// Log10 mel `[80, 2 n]` of latents `[n, 20]`.
    fn decode_mel(&self, latent: &Tensor) -> Result<Tensor> {
        let count = latent.dim(0)?;
        let latent = latent
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .contiguous()?;
        let pairs = (latent * SCALE)?.matmul(&self.basis)?;
        let rows = pairs.reshape((count * FRAMES, BANDS))?;
        let rows = rows
            .broadcast_mul(&row(&MMAUDIO_MEL.std)?)?
            .broadcast_add(&row(&MMAUDIO_MEL.mean)?)?;
        Ok(rows.t()?.contiguous()?)
    }

    pub(super) fn decode(&self, latent: &Tensor) -> Result<Vec<f32>> {
        let mel = self.decode_mel(latent)?.t()?.contiguous()?.to_vec2::<f32>()?;
        let magnitudes: Vec<Vec<f64>> = mel.iter().map(|frame| self.magnitudes(frame)).collect();
        Ok(self.sound(&magnitudes))
    }

    /// Magnitudes of all frequencies whose bands come nearest to a frame's: multiplicative updates, which keep them from
    /// falling below zero.
    fn magnitudes(&self, frame: &[f32]) -> Vec<f64> {
        let bins = self.config.n_fft / 2 + 1;
        // beyond full scale in every band there is nothing to be heard but clipping
        let wanted: Vec<f64> = frame
            .iter()
            .map(|value| 10f64.powf(f64::from(value.clamp(-5.0, 3.0))))
            .collect();
        let bands = || self.mel.basis().chunks_exact(bins);
        let mut spread = vec![0f64; bins];
        for (weights, value) in bands().zip(&wanted) {
            for (slot, weight) in spread.iter_mut().zip(weights) {
                *slot += weight * value;
            }
        }
        let mut found = vec![wanted.iter().sum::<f64>() / wanted.len() as f64; bins];
        for _ in 0..MAGNITUDE_ROUNDS {
            let mut reached = vec![0f64; bins];
            for weights in bands() {
                let own: f64 = weights.iter().zip(&found).map(|(w, x)| w * x).sum();
                for (slot, weight) in reached.iter_mut().zip(weights) {
                    *slot += weight * own;
                }
            }
            for ((x, up), down) in found.iter_mut().zip(&spread).zip(&reached) {
                *x *= up / (down + 1e-12);
            }
        }
        found
    }

    /// Sound whose frames have these magnitudes, as nearly as it can be. Phases begin fixed, so the same latents always
    /// sound the same.
    fn sound(&self, magnitudes: &[Vec<f64>]) -> Vec<f32> {
        let MelConfig { n_fft, hop, .. } = self.config;
        let (window, bins) = (self.mel.window(), n_fft / 2 + 1);
        let length = (magnitudes.len() - 1) * hop + n_fft;
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n_fft), planner.plan_fft_inverse(n_fft));
        let mut weight = vec![1e-8f64; length];
        for frame in 0..magnitudes.len() {
            for (slot, w) in weight[frame * hop..].iter_mut().zip(window) {
                *slot += w * w;
            }
        }
        let mut sound = vec![0f64; length];
        let mut spectrum = vec![Complex::new(0.0, 0.0); n_fft];
        for round in 0..=ROUNDS {
            let mut next = vec![0f64; length];
            for (frame, wanted) in magnitudes.iter().enumerate() {
                let start = frame * hop;
                for ((slot, sample), w) in spectrum.iter_mut().zip(&sound[start..]).zip(window) {
                    *slot = Complex::new(sample * w, 0.0);
                }
                forward.process(&mut spectrum);
                for (bin, wanted) in wanted.iter().enumerate() {
                    let now = spectrum[bin];
                    let phase = match (round, now.norm()) {
                        // as if every frequency went on steadily from frame to frame
                        (0, _) => Complex::from_polar(1.0, std::f64::consts::PI * (bin * frame) as f64 * 0.5),
                        (_, size) if size > 1e-12 => now / size,
                        _ => Complex::new(1.0, 0.0),
                    };
                    spectrum[bin] = phase * *wanted;
                    if bin > 0 && bin < bins - 1 {
                        spectrum[n_fft - bin] = spectrum[bin].conj();
                    }
                }
                inverse.process(&mut spectrum);
                let scale = 1.0 / n_fft as f64;
                for ((slot, value), w) in next[start..].iter_mut().zip(&spectrum).zip(window) {
                    *slot += value.re * scale * w;
                }
            }
            for (value, weight) in next.iter_mut().zip(&weight) {
                *value /= weight;
            }
            sound = next;
        }
        let pad = (n_fft - hop) / 2;
        let own = &sound[pad..length - pad];
        own.iter().map(|value| value.clamp(-1.0, 1.0) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice-like sound: a falling row of harmonics that comes and goes.
    fn sound(samples: usize) -> Vec<f32> {
        let tone = |index: usize| {
            let t = index as f32 / 16_000.0;
            let loudness = 0.5 + 0.5 * (t * 12.0).sin();
            (1..12u8)
                .map(f32::from)
                .map(|k| (std::f32::consts::TAU * 140.0 * k * t).sin() / k)
                .sum::<f32>()
                * 0.15
                * loudness
        };
        (0..samples).map(tone).collect()
    }

    fn correlation(a: &Tensor, b: &Tensor) -> f64 {
        let centred = |x: &Tensor| {
            let x = x.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            let mean = x.mean_all().unwrap().to_scalar::<f64>().unwrap();
            x.affine(1.0, -mean).unwrap()
        };
        let (a, b) = (centred(a), centred(b));
        let dot = |x: &Tensor, y: &Tensor| (x * y).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    #[test]
    fn rows_are_orthonormal() {
        let basis = Voice::new().unwrap().basis;
        let product = basis.matmul(&basis.t().unwrap()).unwrap();
        let one = Tensor::eye(AUDIO_CHANNELS, DType::F32, &Device::Cpu).unwrap();
        let off = (product - one).unwrap().abs().unwrap().max_all().unwrap();
        assert!(off.to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn a_sound_keeps_its_length_and_its_latents_through_there_and_back() {
        let voice = Voice::new().unwrap();
        let latent = voice.encode(&sound(40 * SAMPLES_PER_LATENT + 100)).unwrap();
        assert_eq!(latent.dims(), [40, AUDIO_CHANNELS]);
        let heard = voice.decode(&latent).unwrap();
        assert_eq!(heard.len(), 40 * SAMPLES_PER_LATENT);
        let again = voice.encode(&heard).unwrap();
        assert!(
            correlation(&latent, &again) > 0.97,
            "{}",
            correlation(&latent, &again)
        );
        assert_eq!(heard, voice.decode(&latent).unwrap());
    }

    #[test]
    fn too_little_sound_is_refused_and_wild_latents_stay_in_range() {
        let voice = Voice::new().unwrap();
        assert!(voice.encode(&[0.0; SAMPLES_PER_LATENT - 1]).is_err());
        let wild = Tensor::full(50f32, (3, AUDIO_CHANNELS), &Device::Cpu).unwrap();
        assert!(voice.decode(&wild).unwrap().iter().all(|x| x.abs() <= 1.0));
    }
}
