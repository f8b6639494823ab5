//! Loudness over time, at the rate of a picture sequence.

use super::RATE;

/// Root mean square of a 16 kHz wave in each of `frames` frames of `1 / fps` seconds; 0 past its end.
///
/// For comparing the voice with motion in a picture of the same rate.
pub fn rms(wave: &[f32], fps: f64, frames: usize) -> Vec<f32> {
    let at = |i: usize| ((i as f64 / fps * f64::from(RATE)).round() as usize).min(wave.len());
    (0..frames)
        .map(|i| {
            let part = wave.get(at(i)..at(i + 1)).unwrap_or(&[]);
            let energy: f64 = part.iter().map(|s| f64::from(*s).powi(2)).sum();
            (energy / part.len().max(1) as f64).sqrt() as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_frames_stand_out_and_the_end_is_silent() {
        let wave: Vec<f32> = (0..16_000).map(|n| if n < 8000 { 0.0 } else { 0.5 }).collect();
        assert_eq!(rms(&wave, 4.0, 5), [0.0, 0.0, 0.5, 0.5, 0.0]);
    }
}
