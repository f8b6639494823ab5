//! How high a voice is: the median fundamental over voiced frames.
//!
//! YIN (de Cheveigne and Kawahara 2002): cumulative mean normalised difference, first dip below a
//! threshold, parabolic refinement. A frame without such a dip, or a quiet one, is unvoiced.

use super::RATE;

/// Lowest and highest fundamental looked for, in Hz.
const RANGE: (f32, f32) = (60.0, 500.0);
/// Window over which a shifted copy is compared, in samples (two periods of the lowest fundamental).
const WINDOW: usize = 534;
const HOP: usize = 160;
const DIP: f32 = 0.15;
/// Frames quieter than this share of the loudest frame's amplitude are unvoiced.
const QUIET: f32 = 0.1;
/// Fewer voiced frames than this say nothing.
const FEWEST: usize = 5;

/// Median fundamental of a 16 kHz wave in Hz; `None` when nothing in it is voiced.
pub fn median_pitch(wave: &[f32]) -> Option<f32> {
    let longest = (RATE as f32 / RANGE.0) as usize + 1;
    let frames: Vec<&[f32]> = wave.windows(WINDOW + longest).step_by(HOP).collect();
    let loudness: Vec<f32> = frames.iter().map(|frame| amplitude(frame)).collect();
    let loudest = loudness.iter().copied().fold(0.0, f32::max);
    let loud = frames
        .iter()
        .zip(&loudness)
        .filter(|(_, level)| **level > 1e-4 && **level >= QUIET * loudest);
    let mut heard: Vec<f32> = loud
        .filter_map(|(frame, _)| frame_pitch(frame, longest))
        .collect();
    if heard.len() < FEWEST {
        return None;
    }
    let middle = heard.len() / 2;
    Some(*heard.select_nth_unstable_by(middle, f32::total_cmp).1)
}

fn amplitude(frame: &[f32]) -> f32 {
    (frame.iter().map(|s| s * s).sum::<f32>() / frame.len() as f32).sqrt()
}

fn frame_pitch(frame: &[f32], longest: usize) -> Option<f32> {
    let shortest = (RATE as f32 / RANGE.1) as usize;
    let curve = normalised_difference(frame, longest);
    let mut lag = (shortest..longest).find(|&lag| curve[lag] < DIP)?;
    while lag + 1 < longest && curve[lag + 1] < curve[lag] {
        lag += 1;
    }
    let hz = RATE as f32 / refine(&curve, lag);
    (hz >= RANGE.0 && hz <= RANGE.1).then_some(hz)
}

/// d'(lag) for every lag up to `longest`.
fn normalised_difference(frame: &[f32], longest: usize) -> Vec<f32> {
    let mut out = vec![1.0; longest + 1];
    let mut sum = 0.0;
    for (lag, slot) in out.iter_mut().enumerate().skip(1) {
        let shifted = &frame[lag.min(frame.len() - WINDOW)..][..WINDOW];
        let difference: f32 = frame[..WINDOW]
            .iter()
            .zip(shifted)
            .map(|(a, b)| (a - b) * (a - b))
            .sum();
        sum += difference;
        *slot = if sum > 0.0 {
            difference * lag as f32 / sum
        } else {
            1.0
        };
    }
    out
}

/// The lag of the lowest point of the parabola through a dip and its neighbours.
fn refine(curve: &[f32], lag: usize) -> f32 {
    let (Some(before), Some(after)) = (curve.get(lag.wrapping_sub(1)), curve.get(lag + 1)) else {
        return lag as f32;
    };
    let bend = before - 2.0 * curve[lag] + after;
    let shift = if bend.abs() > 1e-9 {
        0.5 * (before - after) / bend
    } else {
        0.0
    };
    lag as f32 + shift.clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Harmonics with two resonances, like a vowel; the fundamental itself is weak.
    fn vowel(hz: f32) -> Vec<f32> {
        let harmonic = |t: f32, h: f32| {
            let at = hz * h;
            let weight = (-((at - 700.0) / 300.0).powi(2)).exp()
                + 0.5 * (-((at - 1200.0) / 300.0).powi(2)).exp()
                + 0.05;
            weight * (std::f32::consts::TAU * at * t).sin()
        };
        (0..16_000)
            .map(|n| {
                (1..12)
                    .map(|h| 0.1 * harmonic(n as f32 / 16_000.0, h as f32))
                    .sum()
            })
            .collect()
    }

    #[test]
    fn vowels_have_their_pitch() {
        for hz in [80.0, 110.0, 165.0, 220.0, 310.0, 440.0] {
            let got = median_pitch(&vowel(hz)).unwrap();
            assert!((got / hz - 1.0).abs() < 0.02, "{hz}: {got}");
        }
    }

    #[test]
    fn noise_and_silence_have_none() {
        let mut state = 1_u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .take(16_000)
        .collect();
        assert_eq!(median_pitch(&noise), None);
        assert_eq!(median_pitch(&[0.0; 16_000]), None);
        assert_eq!(median_pitch(&[]), None);
    }
}
