//! The same loops without named instructions: for other processors, and what the tests hold the fast ones against.

use super::{Column, Lanes, Pixels, two_pixels};

pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    for (to, column) in out.iter_mut().zip(columns) {
        let pixels = two_pixels(row, column.at).to_le_bytes().map(i32::from);
        let [wa, wb] = column.weights.map(i32::from);
        *to = std::array::from_fn(|k| ((pixels[k] * wa + pixels[k + 3] * wb) >> 4) as i16);
    }
}

pub(super) fn vertical(rows: [&[Lanes]; 2], weights: [i16; 2], pixels: Pixels, planes: [&mut [f32]; 3]) {
    let high = |weight: i16, value: i16| (i32::from(weight) * i32::from(value)) >> 16;
    for (colour, plane) in planes.into_iter().enumerate() {
        for ((to, a), b) in plane.iter_mut().zip(rows[0]).zip(rows[1]) {
            let level = (high(weights[0], a[colour]) + high(weights[1], b[colour]) + 2) >> 2;
            *to = (level as f32 - pixels.mean) * pixels.scale;
        }
    }
}

/// Nothing is done ahead: [`super::halve`] itself is the plain loop.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn halve(_: [&[u8]; 2], _: Pixels, _: &mut [&mut [f32]; 3]) -> usize {
    0
}

pub(super) fn bilinear(above: u64, below: u64, weights: [i16; 4]) -> [u8; 4] {
    let [above, below] = [above, below].map(|pixels| pixels.to_le_bytes().map(u32::from));
    let [w0, w1, w2, w3] = weights.map(|weight| u32::from(weight.cast_unsigned()));
    std::array::from_fn(|k| {
        let sum = above[k] * w0 + above[k + 3] * w1 + below[k] * w2 + below[k + 3] * w3;
        ((sum + 512) >> 10) as u8
    })
}
