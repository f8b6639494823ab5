//! Whisper's log-mel picture of a sound (openai/whisper `audio.py`).

use std::f64::consts::PI;

use super::RATE;
use super::spectrum::{Bank, Spectrum};

/// Samples per Fourier frame.
const SIZE: usize = 400;
/// Samples between frames.
pub const HOP: usize = 160;
/// Samples of a 30 s window.
pub const WINDOW: usize = 30 * RATE as usize;
/// Frames of a 30 s window.
pub const WINDOW_FRAMES: usize = WINDOW / HOP;

/// The front end: 400-sample periodic Hann frames every 10 ms, slaney mel filters.
#[derive(Clone)]
pub struct LogMel {
    spectrum: Spectrum,
    bank: Bank,
    hann: Vec<f32>,
}

impl LogMel {
    /// For `bins` mel bins: 80, or 128 for large-v3.
    pub fn new(bins: usize) -> Self {
        let hann = (0..SIZE)
            .map(|n| (0.5 - 0.5 * (2.0 * PI * n as f64 / SIZE as f64).cos()) as f32)
            .collect();
        let spectrum = Spectrum::new(SIZE);
        LogMel {
            bank: slaney(bins, spectrum.bins()),
            spectrum,
            hann,
        }
    }

    /// Mel bins.
    pub fn bins(&self) -> usize {
        self.bank.len()
    }

    /// The filters as a matrix `[bins, 201]`, row-major.
    pub fn filters(&self) -> Vec<f32> {
        self.bank.dense(self.spectrum.bins())
    }

    /// The picture of a 16 kHz wave padded with silence, or cut, to 30 s: `[bins, 3000]`, row-major.
    pub fn window(&self, wave: &[f32]) -> Vec<f32> {
        self.picture(&wave[..wave.len().min(WINDOW)], WINDOW)
    }

    /// The picture of a wave as long as it is: `[bins, samples / 160]`, row-major.
    pub fn whole(&self, wave: &[f32]) -> Vec<f32> {
        self.picture(wave, wave.len())
    }

    fn picture(&self, wave: &[f32], length: usize) -> Vec<f32> {
        let frames = length / HOP;
        let mut out = vec![-10.0_f32; self.bins() * frames];
        // Frames that lie wholly in the padding are silent: nothing to transform.
        let heard = frames.min((wave.len() + SIZE / 2).div_ceil(HOP) + 1);
        let sample = |i: usize, k: usize| {
            let at = reflect(i * HOP + k, SIZE / 2, length);
            wave.get(at).map_or(0.0, |s| s * self.hann[k])
        };
        self.spectrum.powers(heard, sample, |i, power| {
            for m in 0..self.bins() {
                out[m * frames + i] = self.bank.energy(m, power).max(1e-10).log10();
            }
        });
        let floor = out.iter().copied().fold(f32::NEG_INFINITY, f32::max) - 8.0;
        out.iter_mut().for_each(|x| *x = (x.max(floor) + 4.0) / 4.0);
        out
    }
}

/// Index into a signal of `length` samples of position `at` in its copy with `pad` mirrored samples in front.
fn reflect(at: usize, pad: usize, length: usize) -> usize {
    let position = at.abs_diff(pad);
    if position < length || length < 2 {
        return position;
    }
    let folded = position % (2 * (length - 1));
    folded.min(2 * (length - 1) - folded)
}

/// Slaney's mel scale with area-normalised triangles (librosa's default).
fn slaney(filters: usize, bins: usize) -> Bank {
    let top = f64::from(RATE) / 2.0;
    let edge = |i: usize| mel_to_hz(hz_to_mel(top) * i as f64 / (filters + 1) as f64);
    Bank::new(filters, bins, |m, k| {
        let hz = top * k as f64 / (bins - 1) as f64;
        let (left, middle, right) = (edge(m), edge(m + 1), edge(m + 2));
        let rise = (hz - left) / (middle - left);
        let fall = (right - hz) / (right - middle);
        rise.min(fall).max(0.0) * 2.0 / (right - left)
    })
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz < 1000.0 {
        hz * 3.0 / 200.0
    } else {
        15.0 + (hz / 1000.0).ln() * 27.0 / 6.4_f64.ln()
    }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 {
        mel * 200.0 / 3.0
    } else {
        1000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{f32s, jfk, tensors};
    use super::*;

    fn furthest(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn filters_and_pictures_are_the_reference_ones() {
        let (Some(file), Some(wave)) = (tensors("whisper/logmel.safetensors"), jfk()) else {
            return;
        };
        let golden = |name| f32s(&file, name);
        let (small, large) = (LogMel::new(80), LogMel::new(128));
        assert!(furthest(&small.filters(), &golden("mel_filters_80")) < 1e-7);
        assert!(furthest(&large.filters(), &golden("mel_filters_128")) < 1e-7);
        assert!(furthest(&small.whole(&wave), &golden("logmel80_nopad")) < 1e-4);
        assert!(furthest(&small.whole(&[0.0; 16_000]), &golden("logmel80_silence_1s")) < 1e-4);
        let padded = large.window(&wave);
        let first: Vec<f32> = padded.chunks(3000).flat_map(|row| row[..1200].to_vec()).collect();
        assert!(furthest(&first, &golden("logmel128_pad30s_first1200")) < 1e-4);
        let tail = golden("logmel128_pad30s_tail_value")[0];
        assert!(
            padded
                .chunks(3000)
                .all(|row| row[1200..].iter().all(|x| (x - tail).abs() < 1e-4))
        );
    }

    #[test]
    fn short_and_empty_waves_have_a_picture() {
        let mel = LogMel::new(80);
        assert!(mel.whole(&[]).is_empty());
        for n in [1, 2, 159, 161, 400] {
            assert_eq!(mel.whole(&vec![0.1; n]).len(), n / HOP * 80);
            assert!(mel.window(&vec![0.1; n]).iter().all(|x| x.is_finite()));
        }
        assert!(mel.window(&[]).iter().all(|x| (x + 1.5).abs() < 1e-6));
    }

    #[test]
    fn reflection_repeats_no_edge() {
        let got: Vec<usize> = (0..9).map(|i| reflect(i, 3, 4)).collect();
        assert_eq!(got, [3, 2, 1, 0, 1, 2, 3, 2, 1]);
    }
}
