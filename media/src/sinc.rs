//! torchaudio's windowed-sinc resampler, number for number.
//!
//! Reference: torchaudio/functional/functional.py, `_get_sinc_resample_kernel` and
//! `_apply_sinc_resample_kernel` with their defaults (Hann window, width 6, rolloff 0.99). Other resamplers
//! differ from it audibly, because its pass band droops; metrics that were trained behind it need this one.

use std::f64::consts::PI;

const HALF_WIDTH: f64 = 6.0;
const ROLLOFF: f64 = 0.99;

/// One output phase: the taps that are not zero, and where the first of them lies.
struct Phase {
    first: usize,
    taps: Vec<f32>,
}

/// Resamples with torchaudio's default kernel; `ceil(len * to / from)` samples.
///
/// Equal rates give the input back; a rate of zero gives nothing.
pub fn resample_sinc(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples.to_vec();
    }
    if from == 0 || to == 0 || samples.is_empty() {
        return Vec::new();
    }
    let divisor = gcd(from, to);
    let (stride, phases) = ((from / divisor) as usize, (to / divisor) as usize);
    let (width, kernel) = kernel(stride, phases);
    let length = (samples.len() * phases).div_ceil(stride);
    let mut padded = vec![0.0; samples.len() + 2 * width + 2 * stride];
    padded[width..width + samples.len()].copy_from_slice(samples);
    let mut out = Vec::with_capacity(length + phases);
    'frames: for start in (0..).step_by(stride) {
        for phase in &kernel {
            if out.len() == length {
                break 'frames;
            }
            let at = start + phase.first;
            out.push(dot(&phase.taps, &padded[at..at + phase.taps.len()]));
        }
    }
    out
}

/// The kernel of every phase and the padding before the signal, in samples.
fn kernel(stride: usize, phases: usize) -> (usize, Vec<Phase>) {
    let (o, n) = (stride as f64, phases as f64);
    let base = o.min(n) * ROLLOFF;
    let width = (HALF_WIDTH * o / base).ceil() as usize;
    let phase = |j: usize| {
        let shift = f64::from(j as f32 / phases as f32);
        let time = |i: usize| ((i as f64 - width as f64) / o - shift) * base;
        let inside = |i: &usize| time(*i).abs() < HALF_WIDTH;
        let all = 0..2 * width + stride;
        let first = all.clone().find(inside).unwrap_or(0);
        let taps = all
            .skip(first)
            .take_while(|i| inside(i))
            .map(|i| value(time(i), base / o))
            .collect();
        Phase { first, taps }
    };
    (width, (0..phases).map(phase).collect())
}

/// Hann-windowed sinc at `t` zero crossings from the centre.
fn value(t: f64, scale: f64) -> f32 {
    let window = (t * PI / HALF_WIDTH / 2.0).cos().powi(2);
    let sinc = if t == 0.0 { 1.0 } else { (t * PI).sin() / (t * PI) };
    (window * sinc * scale) as f32
}

/// Eight running sums, so that the compiler can keep them in one vector register.
fn dot(taps: &[f32], samples: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, b) = (taps.chunks_exact(8), samples.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_up_and_odd_rates_do_not_panic() {
        for (len, from, to, expected) in [
            (441, 44100, 16000, 160),
            (442, 44100, 16000, 161),
            (1, 8000, 16000, 2),
            (7, 16000, 16000, 7),
            (10, 44101, 16000, 4),
            (0, 44100, 16000, 0),
            (5, 0, 16000, 0),
        ] {
            assert_eq!(
                resample_sinc(&vec![0.25; len], from, to).len(),
                expected,
                "{len} samples {from} -> {to}"
            );
        }
    }

    #[test]
    fn a_constant_stays_constant_away_from_the_ends() {
        let out = resample_sinc(&vec![0.5; 4410], 44100, 16000);
        assert!(
            out[100..1500].iter().all(|v| (v - 0.5).abs() < 2e-3),
            "{:?}",
            &out[100..110]
        );
    }
}
