//! TF, temporal flickering: how little successive frames differ.
//!
//! `tf = (255 - m) / 255`, where `m` is the mean over all pairs of successive frames of the mean absolute difference
//! over all pixels and channels. Reference: Vchitect/VBench `temporal_flickering.py`. It decodes with OpenCV, which
//! takes BT.601 whatever the file's tags say, so this metric does, too. 0 to 1, higher is better; the still videos that
//! VBench filters out beforehand are kept.

use omni_media::{Frame, Image};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::TakeInfo,
};

/// Differences that are kept for whoever asks why.
const KEPT: usize = 2000;

/// Temporal flickering.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tf;

impl Metric for Tf {
    fn name(&self) -> &'static str {
        "tf"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        vec![Reading::plain("tf", None, Better::Higher)]
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn sees(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        if take.video.is_none() {
            return Err(Fault::drop("no_video"));
        }
        Ok(Box::new(Flicker::default()))
    }
}

impl Scoring for Flicker {
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let difference = self.push(frame.bt601.unwrap_or(frame.image));
        self.kept.extend(difference.filter(|_| self.kept.len() < KEPT));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let outcomes = vec![Outcome::of(self.score(), "too_few_frames")];
        Ok(Measured::with(outcomes, json!({ "pairs": self.kept })))
    }
}

/// Sums the differences of the frames that pass by; keeps one frame.
#[derive(Clone, Debug, Default)]
pub struct Flicker {
    last: Image,
    pairs: u64,
    sum: f64,
    /// The first differences, for whoever asks why.
    kept: Vec<f64>,
}

impl Flicker {
    /// Takes the next frame. Returns the mean absolute difference from the one before, in levels of 0..255; `None` for
    /// the first frame, and when the size changes (there is no pair then).
    pub fn push(&mut self, image: &Image) -> Option<f64> {
        let same = (self.last.width, self.last.height) == (image.width, image.height);
        if !same || image.data.is_empty() {
            self.last.clone_from(image);
            return None;
        }
        let difference = replaced(&mut self.last.data, &image.data) as f64 / image.data.len() as f64;
        self.sum += difference;
        self.pairs += 1;
        Some(difference)
    }

    /// TF of what has passed; `None` for fewer than two frames.
    pub fn score(&self) -> Option<f64> {
        (self.pairs > 0).then(|| (255.0 - self.sum / self.pairs as f64) / 255.0)
    }
}

/// Sum of absolute differences; `last` becomes `next`. In blocks whose sums fit 32 bits, so that 16 bytes are one instruction
/// (an addition that looks for overflow, as a `dev` build's does, takes them one by one), and which are still in the nearest cache
/// when they are copied.
fn replaced(last: &mut [u8], next: &[u8]) -> u64 {
    const BLOCK: usize = 1 << 14;
    let mut total = 0;
    for (last, next) in last.chunks_mut(BLOCK).zip(next.chunks(BLOCK)) {
        let apart = last.iter().zip(next).map(|(x, y)| u32::from(x.abs_diff(*y)));
        total += u64::from(apart.fold(0_u32, u32::wrapping_add));
        last.copy_from_slice(next);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(level: u8) -> Image {
        Image {
            width: 4,
            height: 2,
            data: vec![level; 24],
        }
    }

    #[test]
    fn the_formula_by_hand() {
        let mut flicker = Flicker::default();
        assert_eq!(flicker.push(&grey(10)), None);
        assert_eq!(flicker.score(), None);
        assert_eq!(flicker.push(&grey(40)), Some(30.0));
        assert_eq!(flicker.push(&grey(40)), Some(0.0));
        assert_eq!(flicker.score(), Some((255.0 - 15.0) / 255.0));
    }

    #[test]
    fn long_rows_do_not_overflow() {
        let size = 3 << 20;
        let (mut last, next) = (vec![0; size], vec![255; size]);
        assert_eq!(replaced(&mut last, &next), 255 * size as u64);
        assert_eq!(last, next);
    }

    #[test]
    fn frames_of_another_size_make_no_pair() {
        let mut flicker = Flicker::default();
        flicker.push(&grey(0));
        let other = Image {
            width: 1,
            height: 1,
            data: vec![255; 3],
        };
        assert_eq!(flicker.push(&other), None);
        assert_eq!(flicker.push(&Image::default()), None);
        assert_eq!(flicker.push(&Image::default()), None);
        assert_eq!(flicker.score(), None);
    }
}
