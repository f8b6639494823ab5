//! Sound: who speaks when, and what is said. 16 kHz mono waves in, stretches, turns and text out.
//!
//! Signal arithmetic ([`mel`], [`fbank`], [`pitch`], [`envelope`]) needs no network. [`vad`],
//! [`segmentation`], [`embedding`], [`wavlm`], [`audiobox`], [`dnsmos`] and [`whisper`] run one network each; [`diarize`] and [`pieces`] join them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod audiobox;
pub mod diarize;
pub mod dnsmos;
pub mod embedding;
pub mod envelope;
pub mod fbank;
pub mod mel;
pub mod pieces;
pub mod pitch;
#[cfg(test)]
mod real_tests;
pub mod segmentation;
mod spectrum;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokenizer;
pub mod vad;
pub mod wavlm;
pub mod whisper;

/// Sample rate of every network here, in Hz.
pub const RATE: u32 = 16_000;

/// A part of a recording, in seconds from its start; `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Stretch {
    /// First moment.
    pub start: f64,
    /// Last moment.
    pub end: f64,
}

impl Stretch {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start).max(0.0)
    }

    /// Seconds that two stretches share.
    pub fn overlap(&self, other: &Stretch) -> f64 {
        (self.end.min(other.end) - self.start.max(other.start)).max(0.0)
    }

    /// The samples of a 16 kHz wave that lie in this stretch.
    pub fn of<'a>(&self, wave: &'a [f32]) -> &'a [f32] {
        let at = |t: f64| ((t.max(0.0) * f64::from(RATE)).round() as usize).min(wave.len());
        let (start, end) = (at(self.start), at(self.end));
        wave.get(start..end.max(start)).unwrap_or(&[])
    }
}

/// Length of a 16 kHz wave in seconds.
pub(crate) fn seconds(wave: &[f32]) -> f64 {
    wave.len() as f64 / f64::from(RATE)
}
