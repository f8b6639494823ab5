//! Resampling for listening: reference voices and the tracks of written clips (rubato's FFT resampler).

use crate::{Error, Waveform};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Shortest filter on either side, samples.
const FILTER: usize = 512;
/// Rates beyond this are damage, and would ask for filters of gigabytes.
const MAX_RATE: u32 = 768_000;
/// Most samples that are made: 1 GiB of them.
const MAX_SAMPLES: f64 = (1u32 << 28) as f64;

/// Resamples to `to` Hz: `round(len * to / from)` samples, in time with the input (the filter's delay is taken out,
/// its tail is not lost). Fails when a rate is zero or over 768 kHz, and when over 2^28 samples would come out.
pub fn resample(wave: &Waveform, to: u32) -> Result<Waveform, Error> {
    let sane = 1..=MAX_RATE;
    let length = (wave.samples.len() as f64 * f64::from(to) / f64::from(wave.rate.max(1))).round();
    if !sane.contains(&wave.rate) || !sane.contains(&to) || length > MAX_SAMPLES {
        let (count, from) = (wave.samples.len(), wave.rate);
        let message =
            format!("{count} samples {from} -> {to} Hz is outside 1..{MAX_RATE} Hz and 2^28 samples");
        return Err(Error::invalid("resample", message));
    }
    if wave.rate == to || wave.samples.is_empty() {
        return Ok(Waveform {
            rate: to,
            samples: wave.samples.clone(),
        });
    }
    let fail = |error: &dyn std::fmt::Display| Error::invalid("resample", error);
    let mut engine = engine(wave.rate as usize, to as usize).map_err(|e| fail(&e))?;
    let input = InterleavedSlice::new(&wave.samples, 1, wave.samples.len()).map_err(|e| fail(&e))?;
    let mut samples = engine
        .process_all(&input, wave.samples.len(), None)
        .map_err(|e| fail(&e))?
        .take_data();
    samples.resize(length as usize, 0.0);
    Ok(Waveform { rate: to, samples })
}

/// The resampler with blocks of an even number of samples on both sides: it takes half a block of output out as its
/// delay, but centres its filter on a whole input sample, so odd blocks would come out a fraction of a sample late.
fn engine(from: usize, to: usize) -> Result<Fft<f32>, rubato::ResamplerConstructionError> {
    let divisor = gcd(from, to);
    let (step_in, step_out) = (2 * from / divisor, 2 * to / divisor);
    let block = step_in * FILTER.div_ceil(step_in.min(step_out));
    let window = WindowFunction::BlackmanHarris2;
    Fft::new_custom(from, to, block, 1, 1, window, FixedSync::Input)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
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
            (44100, 24000),
            (44101, 16000),
            (16000, 44100),
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
    }

    #[test]
    fn rates_that_no_sound_has_are_refused() {
        for (rate, to, len) in [
            (0, 16000, 1),
            (16000, 0, 1),
            (u32::MAX, 16000, 9),
            (1, 700_000, 1000),
        ] {
            let samples = vec![0.0; len];
            let error = resample(&Waveform { rate, samples }, to).unwrap_err();
            assert_eq!(error.reason(), "invalid", "{rate} -> {to}");
        }
    }
}
