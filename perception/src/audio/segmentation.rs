//! Who of up to three local voices is active, in windows of 10 s (pyannote segmentation 3.0).
//!
//! Voices are numbered anew in each window: joining them across windows is [`super::diarize`]'s task.

use std::path::Path;

use super::RATE;
use crate::runtime::{Expect, Kind, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Samples of a window.
const WINDOW: usize = 10 * RATE as usize;
/// Samples between the starts of windows.
const STEP: usize = WINDOW / 2;
/// Seconds between frames (270 samples).
pub const FRAME_STEP: f64 = 270.0 / RATE as f64;
/// Seconds from a window's start to the middle of its first frame (half of 991 samples).
pub const FRAME_CENTRE: f64 = 495.5 / RATE as f64;
/// Which voices each class of the network's output means.
const POWERSET: [[bool; 3]; 7] = [
    [false, false, false],
    [true, false, false],
    [false, true, false],
    [false, false, true],
    [true, true, false],
    [true, false, true],
    [false, true, true],
];

/// Activity in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// Start of the window in seconds.
    pub start: f64,
    /// Active voices per frame; frame `i` is centred on `start + FRAME_CENTRE + i * FRAME_STEP`.
    pub frames: Vec<[bool; 3]>,
}

impl Activity {
    /// The middle of frame `i`, in seconds from the recording's start.
    pub fn time(&self, i: usize) -> f64 {
        self.start + FRAME_CENTRE + i as f64 * FRAME_STEP
    }
}

/// The segmentation network.
pub struct SpeakerSegmentation {
    session: Session,
}

impl SpeakerSegmentation {
    /// Loads pyannote segmentation 3.0 with its powerset output.
    ///
    /// # Errors
    /// [`Error::Network`] when the file is no such network.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<Self, Error> {
        let session = Session::open(runtime, file, network)?;
        session.expect_inputs(&[Expect {
            name: None,
            kind: Kind::F32,
            rank: 3,
        }])?;
        session.expect_outputs(1)?;
        Ok(SpeakerSegmentation { session })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// Activity of a 16 kHz wave in windows that start every 5 s; frames past the wave's end are left out.
    ///
    /// # Errors
    /// [`Error::Network`] when the network fails.
    pub fn activity(&self, wave: &[f32]) -> Result<Vec<Activity>, Error> {
        window_starts(wave.len())
            .into_iter()
            .map(|start| self.window(wave, start))
            .collect()
    }

    fn window(&self, wave: &[f32], start: usize) -> Result<Activity, Error> {
        let heard = &wave[start..wave.len().min(start + WINDOW)];
        let mut input = heard.to_vec();
        input.resize(WINDOW, 0.0);
        let name = self
            .session
            .inputs()
            .first()
            .map_or("", |port| port.name.as_str());
        let outputs = self
            .session
            .run(&[(name, Tensor::f32(&[1, 1, WINDOW], &input))])?;
        let logits = outputs.first().and_then(|out| out.f32s());
        let logits = logits.filter(|l| l.len() % POWERSET.len() == 0);
        let logits = logits.ok_or_else(|| self.session.error("it should give 7 classes per frame"))?;
        let start = start as f64 / f64::from(RATE);
        let inside = (super::seconds(heard) / FRAME_STEP).ceil() as usize;
        Ok(Activity {
            start,
            frames: powerset(logits).take(inside).collect(),
        })
    }
}

/// First samples of the windows that cover `length` samples; the last window ends at or after the end.
fn window_starts(length: usize) -> Vec<usize> {
    let more = length.saturating_sub(WINDOW).div_ceil(STEP);
    if length == 0 {
        Vec::new()
    } else {
        (0..=more).map(|i| i * STEP).collect()
    }
}

/// The voices of the most probable class of each frame.
fn powerset(logits: &[f32]) -> impl Iterator<Item = [bool; 3]> {
    logits.chunks_exact(POWERSET.len()).map(|frame| {
        let best = frame
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or(0, |(class, _)| class);
        POWERSET[best]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_wave() {
        assert_eq!(window_starts(0), [0; 0]);
        assert_eq!(window_starts(1), [0]);
        assert_eq!(window_starts(WINDOW), [0]);
        assert_eq!(window_starts(WINDOW + 1), [0, STEP]);
        assert_eq!(
            window_starts(29 * RATE as usize),
            [0, STEP, 2 * STEP, 3 * STEP, 4 * STEP]
        );
    }

    #[test]
    fn classes_are_sets_of_voices() {
        let mut logits = vec![0.0; 14];
        logits[3] = 1.0;
        logits[7 + 5] = 1.0;
        let got: Vec<_> = powerset(&logits).collect();
        assert_eq!(got, [[false, false, true], [true, false, true]]);
    }
}
