//! Rotary positions: angles computed from real positions in f64, never from a table, because references lie beyond its end.

use crate::{Result, ops::Rope};
use candle_core::Device;

const THETA: f64 = 10_000.0;

/// Pairs of a head given to the three axes (time, row, column).
pub fn axis_pairs(head_size: usize) -> [usize; 3] {
    let (pairs, third) = (head_size / 2, head_size / 6);
    [pairs - 2 * third, third, third]
}

/// Frequencies of an axis of `pairs` pairs.
pub fn axis_frequencies(pairs: usize) -> Vec<f64> {
    let power = |k: usize| k as f64 / pairs as f64;
    (0..pairs).map(|k| THETA.powf(-power(k))).collect()
}

/// Tokens at points (time, row, column).
pub fn point_rope(points: &[[f64; 3]], head_size: usize, device: &Device) -> Result<Rope> {
    let frequencies = axis_pairs(head_size).map(axis_frequencies);
    let angles: Vec<f64> = points
        .iter()
        .flat_map(|point| point.iter().zip(&frequencies))
        .flat_map(|(position, axis)| axis.iter().map(move |frequency| position * frequency))
        .collect();
    Ok(Rope::from_angles(&angles, head_size / 2, device)?)
}

/// Video tokens, frame after frame, `rows` by `columns` each, frames at the given positions.
pub fn video_rope(
    frames: &[f64],
    rows: usize,
    columns: usize,
    head_size: usize,
    device: &Device,
) -> Result<Rope> {
    let at = |place: usize| place as f64;
    let mut points = Vec::with_capacity(frames.len() * rows * columns);
    for frame in frames {
        for row in 0..rows {
            points.extend((0..columns).map(|column| [*frame, at(row), at(column)]));
        }
    }
    point_rope(&points, head_size, device)
}

/// Audio tokens: only the pairs of the time axis turn, `scaling` times as slowly as video frames.
pub fn audio_rope(positions: &[f64], scaling: f64, head_size: usize, device: &Device) -> Result<Rope> {
    let frequencies = axis_frequencies(axis_pairs(head_size)[0]);
    let still = head_size / 2 - frequencies.len();
    let angles: Vec<f64> = positions
        .iter()
        .flat_map(|position| {
            let turning = frequencies
                .iter()
                .map(move |frequency| position * (scaling * frequency));
            turning.chain(std::iter::repeat_n(0.0, still))
        })
        .collect();
    Ok(Rope::from_angles(&angles, head_size / 2, device)?)
}
