//! Resampling for listening: reference voices and the tracks of written clips (rubato's FFT resampler).

use crate::{Error, Waveform};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

/// Frames per step; the filter is cut into pieces of about 256.
const CHUNK: usize = 1024;

/// Resamples to `to` Hz: `round(len * to / from)` samples, in time with the input (the filter's delay is taken out,
/// its tail is not lost). Fails when a rate is zero.
pub fn resample(wave: &Waveform, to: u32) -> Result<Waveform, Error> {
    if wave.rate == 0 || to == 0 {
        return Err(Error::invalid(
            "resample",
            format!("rates {} -> {to} must be positive", wave.rate),
        ));
    }
    if wave.rate == to || wave.samples.is_empty() {
        return Ok(Waveform {
            rate: to,
            samples: wave.samples.clone(),
        });
    }
    let fail = |error: &dyn std::fmt::Display| Error::invalid("resample", error);
    let length = (wave.samples.len() as f64 * f64::from(to) / f64::from(wave.rate)).round() as usize;
    let mut engine =
        Fft::<f32>::new(wave.rate as usize, to as usize, CHUNK, 1, FixedSync::Input).map_err(|e| fail(&e))?;
    let input = InterleavedSlice::new(&wave.samples, 1, wave.samples.len()).map_err(|e| fail(&e))?;
    let mut samples = engine
        .process_all(&input, wave.samples.len(), None)
        .map_err(|e| fail(&e))?
        .take_data();
    samples.resize(length, 0.0);
    Ok(Waveform { rate: to, samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, len: usize) -> Waveform {
        let samples = (0..len)
            .map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / rate as f32).sin() * 0.5)
            .collect();
        Waveform { rate, samples }
    }

    #[test]
    fn a_tone_keeps_its_phase_at_every_rate() {
        for (from, to) in [
            (44100, 16000),
            (48000, 24000),
            (16000, 24000),
            (22050, 16000),
            (24000, 16000),
        ] {
            let got = resample(&tone(from, from as usize), to).unwrap();
            let want = tone(to, to as usize);
            assert_eq!(got.samples.len(), want.samples.len(), "{from} -> {to}");
            let edge = to as usize / 20;
            let worst = got
                .samples
                .iter()
                .zip(&want.samples)
                .skip(edge)
                .take(to as usize - 2 * edge)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 2e-3, "{from} -> {to}: off by {worst}");
        }
    }

    #[test]
    fn lengths_are_exact_for_short_and_odd_input() {
        for (len, from, to) in [
            (1, 44100, 16000),
            (100, 44100, 16000),
            (1023, 48000, 16000),
            (5000, 44100, 24000),
            (0, 8000, 16000),
        ] {
            let got = resample(&tone(from, len), to).unwrap();
            assert_eq!(
                got.samples.len(),
                (len as f64 * f64::from(to) / f64::from(from)).round() as usize
            );
        }
        assert!(
            resample(
                &Waveform {
                    rate: 0,
                    samples: vec![0.0]
                },
                16000
            )
            .is_err()
        );
    }
}
