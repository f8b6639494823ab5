//! Cutting a stretch out of a waveform without clicks.

use crate::Waveform;

/// Fade at both ends, seconds.
const FADE: f64 = 0.005;
/// How far a cut may move to find a quiet place, seconds.
const SEARCH: f64 = 0.020;
/// Stretch over which the energy around a cut is measured, seconds.
const WINDOW: f64 = 0.002;

/// The stretch from `start` to `end` seconds: each cut moves to the quietest place within 20 ms (the nearest of
/// equals), and 5 ms at both ends fade with a raised cosine. Times are limited to the waveform; a stretch
/// turned inside out is empty.
pub fn cut(wave: &Waveform, start: f64, end: f64) -> Waveform {
    let total = wave.samples.len();
    let at = |seconds: f64| ((seconds.max(0.0) * f64::from(wave.rate)).round() as usize).min(total);
    let (first, last) = (at(start), at(end));
    if first >= last {
        return Waveform {
            rate: wave.rate,
            samples: Vec::new(),
        };
    }
    let (mut from, mut to) = (quiet(wave, first), quiet(wave, last));
    if from >= to {
        (from, to) = (first, last);
    }
    let mut samples = wave.samples[from..to].to_vec();
    fade(&mut samples, (FADE * f64::from(wave.rate)).round() as usize);
    Waveform {
        rate: wave.rate,
        samples,
    }
}

/// The quietest place near `at`; the ends of the waveform stay where they are.
fn quiet(wave: &Waveform, at: usize) -> usize {
    let total = wave.samples.len();
    if at == 0 || at == total {
        return at;
    }
    let steps = |seconds: f64| (seconds * f64::from(wave.rate)).round() as usize;
    let (reach, half) = (steps(SEARCH), steps(WINDOW / 2.0).max(1));
    let energy = |i: usize| -> f64 {
        let window = &wave.samples[i.saturating_sub(half)..(i + half).min(total)];
        window.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / window.len() as f64
    };
    let score = |i: usize| (energy(i), i.abs_diff(at));
    let best = (at.saturating_sub(reach)..=(at + reach).min(total)).map(|i| (score(i), i));
    best.min_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.0.1.cmp(&b.0.1)))
        .map_or(at, |(_, i)| i)
}

/// Raised cosine over `length` samples at both ends (over half the stretch when it is shorter).
fn fade(samples: &mut [f32], length: usize) {
    let length = length.min(samples.len() / 2);
    let total = samples.len();
    for i in 0..length {
        let gain = (0.5 - 0.5 * (std::f64::consts::PI * (i as f64 + 0.5) / length as f64).cos()) as f32;
        samples[i] *= gain;
        samples[total - 1 - i] *= gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_move_into_the_gap_and_start_at_nothing() {
        let mut samples = vec![0.8f32; 16000];
        samples[4100..4200].fill(0.0);
        let wave = Waveform { rate: 16000, samples };
        let got = cut(&wave, 0.25, 0.75);
        let moved = 16000 / 4 + 100 + 16;
        assert!(
            got.samples.len() >= 12000 - moved - 200 && got.samples.len() <= 12000 - 4100 + 320,
            "{}",
            got.samples.len()
        );
        assert!(got.samples[0].abs() < 0.01 && got.samples[got.samples.len() - 1].abs() < 0.01);
        assert_eq!(got.samples[2000], 0.8);
    }

    proptest! {
        #[test]
        fn any_times_are_safe(len in 0usize..3000, start in -1.0f64..2.0, end in -1.0f64..2.0, rate in prop_oneof![Just(0u32), Just(100), Just(16000)]) {
            let wave = Waveform { rate, samples: (0..len).map(|i| (i as f32 * 0.1).sin()).collect() };
            let got = cut(&wave, start, end);
            prop_assert!(got.samples.len() <= len);
            prop_assert!(got.samples.iter().all(|v| v.abs() <= 1.0));
        }
    }
}
