//! How much a mouth moves, and how much the rest of the face does: grey change between aligned patches.
//!
//! The five points put eyes and mouth corners at fixed places of a small canvas, so that head motion and zoom drop
//! out. The points themselves jitter from picture to picture, and jitter looks like motion wherever the face has
//! edges (glasses, a beard): so each patch is first moved onto the last one by the shift that makes the upper face,
//! which is rigid, agree best. What is left in the upper face can be subtracted.

use omni_media::Image;

use super::Face;
use super::warp::{Affine, similarity, template, warp_window};

/// Side of the aligned canvas in pixels.
const SIDE: usize = 96;
/// Rows and columns of the mouth: both corners (at about row 79, columns 36 and 61) with room for an open jaw.
const MOUTH: [usize; 4] = [66, 92, 27, 69];
/// Rows and columns of the upper face: eyes and brows (eyes at row 44, columns 33 and 63), above the nose's tip.
const UPPER: [usize; 4] = [26, 56, 18, 78];

/// The largest shift tried, in pixels of the canvas: 4 % of its side, more than points of a still face jitter.
const REACH: i32 = 4;

/// Measures one face over time; keep one per track.
#[derive(Clone, Debug, Default)]
pub struct MotionMeter {
    last: Option<Vec<u8>>,
}

impl MotionMeter {
    /// A meter that has seen nothing.
    pub fn new() -> MotionMeter {
        MotionMeter::default()
    }

    /// Mean absolute grey change (levels of 0..255 per pixel) of mouth and upper face since the last picture given.
    /// `None` at the first picture and for points that cannot be aligned (which also start afresh).
    pub fn push(&mut self, image: &Image, face: &Face) -> (Option<f32>, Option<f32>) {
        let matrix = similarity(&face.points, &template(SIDE));
        let patch = matrix.map(|matrix| aligned(image, &matrix));
        let change = match (&self.last, &patch) {
            (Some(last), Some(now)) => {
                let (upper, shift) = registered(last, now);
                let mouth = difference(last, now, MOUTH, shift, u32::MAX);
                (Some(mean(mouth, MOUTH)), Some(mean(upper, UPPER)))
            }
            _ => (None, None),
        };
        self.last = patch;
        change
    }

    /// Forgets the last picture: call it after a gap.
    pub fn restart(&mut self) {
        self.last = None;
    }
}

/// Every shift of either region stays on the canvas, and the regions lie one above the other.
const _: () = {
    let reach = REACH as usize;
    let mut k = 0;
    while k < 2 {
        let [top, bottom, left, right] = [MOUTH, UPPER][k];
        assert!(top >= reach && left >= reach && bottom + reach <= SIDE && right + reach <= SIDE);
        k += 1;
    }
};

/// The face in BT.601 grey on the canvas, where a shifted region may look; the rest is zero.
fn aligned(image: &Image, matrix: &Affine) -> Vec<u8> {
    let mut patch = vec![0; SIDE * SIDE];
    let reach = REACH as usize;
    for [top, bottom, left, right] in [MOUTH, UPPER] {
        let window = [top - reach, bottom + reach, left - reach, right + reach];
        warp_window(image, matrix, window, |x, y, pixel| {
            let [r, g, b] = pixel.map(u32::from);
            patch[y * SIDE + x] = ((r * 77 + g * 150 + b * 29 + 128) >> 8) as u8;
        });
    }
    patch
}

/// The least change of the upper face over all shifts, and the shift that gives it. Of equals the smaller shift, so that
/// a picture without edges stays where it is.
fn registered(last: &[u8], now: &[u8]) -> (u32, (i32, i32)) {
    let length = |(dx, dy): (i32, i32)| dx * dx + dy * dy;
    let mut best = (difference(last, now, UPPER, (0, 0), u32::MAX), (0, 0));
    for dy in -REACH..=REACH {
        for dx in -REACH..=REACH {
            let shift = (dx, dy);
            let change = difference(last, now, UPPER, shift, best.0);
            if change < best.0 || change == best.0 && length(shift) < length(best.1) {
                best = (change, shift);
            }
        }
    }
    best
}

/// Sum of absolute differences over a region of `last` and the region of `now` that lies `(dx, dy)` beside it. A sum
/// that passes `limit` is given up: it comes back as what it was by then.
fn difference(last: &[u8], now: &[u8], region: [usize; 4], (dx, dy): (i32, i32), limit: u32) -> u32 {
    let [top, bottom, left, right] = region;
    let width = right - left;
    let by = dy as isize * SIDE as isize + dx as isize;
    let mut sum = 0;
    for y in top..bottom {
        let at = y * SIDE + left;
        let beside = at.wrapping_add_signed(by);
        let (a, b) = (&last[at..at + width], &now[beside..beside + width]);
        sum += a
            .iter()
            .zip(b)
            .map(|(x, y)| u32::from(x.abs_diff(*y)))
            .sum::<u32>();
        if sum > limit {
            break;
        }
    }
    sum
}

/// A sum over a region as levels per pixel.
fn mean(sum: u32, [top, bottom, left, right]: [usize; 4]) -> f32 {
    sum as f32 / ((bottom - top) * (right - left)) as f32
}

#[cfg(test)]
mod tests {
    use super::super::warp::TEMPLATE_112;
    use super::*;

    fn face(shift: f32) -> Face {
        let points = TEMPLATE_112.map(|[x, y]| [x + shift, y + shift]);
        Face {
            bbox: [0.0, 0.0, 112.0, 112.0],
            score: 1.0,
            points,
        }
    }

    fn picture(shift: usize, mouth: u8) -> Image {
        let mut data = vec![90; 160 * 160 * 3];
        for y in 85..100 {
            let row = ((y + shift) * 160 + 45 + shift) * 3;
            data[row..row + 20 * 3].fill(mouth);
        }
        Image {
            width: 160,
            height: 160,
            data,
        }
    }

    #[test]
    fn only_a_moving_mouth_counts() {
        let mut meter = MotionMeter::new();
        assert_eq!(meter.push(&picture(0, 90), &face(0.0)), (None, None));
        let (mouth, upper) = meter.push(&picture(0, 200), &face(0.0));
        assert!(mouth.unwrap() > 10.0 && upper == Some(0.0), "{mouth:?} {upper:?}");
        // The same face somewhere else in the picture has not moved its mouth.
        let (mouth, upper) = meter.push(&picture(30, 200), &face(30.0));
        assert!(
            mouth.unwrap() < 0.5 && upper.unwrap() < 0.5,
            "{mouth:?} {upper:?}"
        );
        meter.restart();
        assert_eq!(meter.push(&picture(30, 90), &face(30.0)), (None, None));
        let broken = Face {
            points: [[1.0, 1.0]; 5],
            ..face(0.0)
        };
        assert_eq!(meter.push(&picture(30, 90), &broken), (None, None));
    }
}
