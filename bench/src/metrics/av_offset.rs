//! `av_offset_ms`: how much later the sound comes than the lips. The formula is in docs/metrics.md.
//!
//! Made of mouth motion and loudness, so it is fit for differences between two clips of one scene; only SyncNet gives the
//! absolute value.

use std::sync::Arc;

use omni_media::Frame;
use omni_perception::{audio::envelope::rms, vision::FaceDetector};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use super::mouths::Mouths;
use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// Largest shift that is tried, seconds.
const REACH: f64 = 0.5;
/// Frames that must be known on both sides.
const LEAST: usize = 25;
/// A smaller correlation is chance.
const MATCH: f64 = 0.3;

/// The offset of sound against lips.
pub struct AvOffset {
    detector: Arc<dyn FaceDetector>,
}

impl AvOffset {
    /// With a face detector.
    pub fn new(detector: Arc<dyn FaceDetector>) -> AvOffset {
        AvOffset { detector }
    }
}

impl Metric for AvOffset {
    fn name(&self) -> &'static str {
        "av_offset"
    }

    fn version(&self) -> u32 {
        2
    }

    fn readings(&self) -> Vec<Reading> {
        vec![Reading {
            unit: "ms",
            ..Reading::plain(
                "av_offset_ms",
                Some(&self.detector.network().id),
                Better::NearZero,
            )
        }]
    }

    fn settings(&self) -> Value {
        json!({ "detector": self.detector.network().tag(), "reach": REACH, "least": LEAST, "match": MATCH })
    }

    fn sees(&self) -> bool {
        true
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref().ok_or_else(|| Fault::drop("no_video"))?;
        if take.audio.is_none() {
            return Err(Fault::drop("no_audio"));
        }
        Ok(Box::new(Watching {
            detector: self.detector.as_ref(),
            mouths: Mouths::new(video),
            sound: Vec::new(),
        }))
    }
}

struct Watching<'a> {
    detector: &'a dyn FaceDetector,
    mouths: Mouths,
    sound: Vec<f32>,
}

impl Scoring for Watching<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        self.sound = sound.speech().to_vec();
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        if let Some(slot) = self.mouths.slot(frame) {
            let faces = self.detector.detect(frame.image).map_err(Fault::stop)?;
            self.mouths.look(frame, &faces, slot);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let fps = self.mouths.fps();
        let loudness = softened(&rms(&self.sound, fps, self.mouths.slots()));
        let reach = (REACH * fps).round() as usize;
        let motions = self.mouths.motions();
        let best = motions
            .iter()
            .filter_map(|motion| {
                let curve = curve(&steadied(motion), &loudness, reach);
                Some((peak(&curve, reach)?, curve))
            })
            .max_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let matched = best.as_ref().filter(|((_, likeness), _)| *likeness >= MATCH);
        let milliseconds = matched.map(|((frames, _), _)| frames * 1000.0 / fps);
        let why = if motions.is_empty() { "no_face" } else { "no_match" };
        let point = |(i, likeness): (usize, &Option<f64>)| {
            let shift = (i as f64 - reach as f64) * 1000.0 / fps;
            json!({ "shift_ms": shift, "correlation": likeness })
        };
        let curve = best.map(|(_, curve)| curve.iter().enumerate().map(point).collect::<Vec<_>>());
        let detail = json!({ "mouths": motions.len(), "curve": curve.unwrap_or_default() });
        Ok(Measured::with(vec![Outcome::of(milliseconds, why)], detail))
    }
}

/// The mean of each known value with its known neighbours.
fn steadied(motion: &[Option<f64>]) -> Vec<Option<f64>> {
    let near = |t: usize| &motion[t.saturating_sub(1)..(t + 2).min(motion.len())];
    let mean = |t: usize| {
        let known: Vec<f64> = near(t).iter().copied().flatten().collect();
        motion[t].map(|_| known.iter().sum::<f64>() / known.len() as f64)
    };
    (0..motion.len()).map(mean).collect()
}

/// Half of each value and a quarter of each neighbour; silence beyond both ends.
fn softened(loudness: &[f32]) -> Vec<f64> {
    let at = |t: Option<usize>| t.and_then(|t| loudness.get(t)).map_or(0.0, |x| f64::from(*x));
    let soft = |t: usize| (at(t.checked_sub(1)) + 2.0 * at(Some(t)) + at(Some(t + 1))) / 4.0;
    (0..loudness.len()).map(soft).collect()
}

/// The correlation of motion and sound at each shift of the sound from `-reach` to `reach` frames; `None` where too few
/// frames overlap or nothing varies.
pub fn curve(motion: &[Option<f64>], sound: &[f64], reach: usize) -> Vec<Option<f64>> {
    let reach = reach as i64;
    (-reach..=reach)
        .map(|shift| correlation(motion, sound, shift))
        .collect()
}

/// The shift at which a curve from `-reach` to `reach` is highest, in frames, and its height there; positive: the sound is
/// late. `None` for a curve of nothing.
pub fn peak(likeness: &[Option<f64>], reach: usize) -> Option<(f64, f64)> {
    let best = (0..likeness.len())
        .filter(|&i| likeness[i].is_some())
        .max_by(|&a, &b| {
            likeness[a]
                .partial_cmp(&likeness[b])
                .unwrap_or(std::cmp::Ordering::Equal)
        })?;
    let middle = likeness[best]?;
    let neighbour = |i: Option<usize>| i.and_then(|i| likeness.get(i).copied().flatten());
    let part = match (neighbour(best.checked_sub(1)), neighbour(Some(best + 1))) {
        (Some(before), Some(after)) if before + after < 2.0 * middle => {
            0.5 * (before - after) / (before - 2.0 * middle + after)
        }
        _ => 0.0,
    };
    Some((best as f64 - reach as f64 + part, middle))
}

/// Pearson's, over the frames where both are known.
fn correlation(motion: &[Option<f64>], sound: &[f64], shift: i64) -> Option<f64> {
    let other = |t: usize| {
        usize::try_from(t as i64 + shift)
            .ok()
            .and_then(|t| sound.get(t).copied())
    };
    let pairs: Vec<(f64, f64)> = motion
        .iter()
        .enumerate()
        .filter_map(|(t, m)| Some(((*m)?, other(t)?)))
        .collect();
    if pairs.len() < LEAST {
        return None;
    }
    let count = pairs.len() as f64;
    let mean = pairs.iter().fold((0.0, 0.0), |sum, pair| {
        (sum.0 + pair.0 / count, sum.1 + pair.1 / count)
    });
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean.0, b - mean.1);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    // What is left of a constant after rounding is no variation.
    let varies = |spread: f64, mean: f64| spread > 1e-12 * count * (1e-6 + mean * mean);
    (varies(aa, mean.0) && varies(bb, mean.1)).then(|| ab / (aa * bb).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn highest(motion: &[Option<f64>], sound: &[f64]) -> Option<(f64, f64)> {
        peak(&curve(motion, sound, 12), 12)
    }

    /// Bursts at uneven places, `late` frames later.
    fn bursts(late: i64) -> Vec<f64> {
        let at = |t: i64| {
            [7, 19, 24, 41, 58, 66]
                .iter()
                .map(|b| (-((t - b - late) as f64).powi(2) / 2.0).exp())
                .sum()
        };
        (0..80).map(at).collect()
    }

    #[test]
    fn a_shift_is_found_to_a_tenth_of_a_frame() {
        let motion: Vec<Option<f64>> = bursts(0).into_iter().map(Some).collect();
        for late in [-5, 0, 3] {
            let (frames, likeness) = highest(&motion, &bursts(late)).unwrap();
            assert!(
                (frames - late as f64).abs() < 0.1 && likeness > 0.95,
                "{late}: {frames} {likeness}"
            );
        }
    }

    #[test]
    fn gaps_are_left_out_and_stillness_has_no_offset() {
        let mut motion: Vec<Option<f64>> = bursts(0).into_iter().map(Some).collect();
        motion[20..30].fill(None);
        assert!((highest(&motion, &bursts(2)).unwrap().0 - 2.0).abs() < 0.2);
        assert!(highest(&motion[..20], &bursts(0)).is_none(), "too few");
        assert!(
            highest(&vec![Some(1.0); 80], &bursts(0)).is_none(),
            "nothing moves"
        );
    }

    #[test]
    fn neighbours_are_taken_in() {
        assert_eq!(softened(&[0.0, 4.0, 0.0]), [1.0, 2.0, 1.0]);
        assert_eq!(
            steadied(&[Some(3.0), None, Some(1.0), Some(2.0)]),
            [Some(3.0), None, Some(1.5), Some(1.5)]
        );
        assert!(softened(&[]).is_empty() && steadied(&[]).is_empty());
    }
}
