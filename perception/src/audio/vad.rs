//! Where somebody speaks (Silero VAD, `silero_vad/utils_vad.py` `get_speech_timestamps`).

use std::path::Path;

use super::{RATE, Stretch, seconds};
use crate::runtime::{Expect, Kind, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Samples per block.
const BLOCK: usize = 512;
/// Samples of the block before that the network sees again.
const CONTEXT: usize = 64;
const STATE: [usize; 3] = [2, 1, 128];

/// When a probability counts as speech and how stretches are cleaned. The defaults are Silero's.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct VadSettings {
    /// Speech begins at this probability.
    pub on: f32,
    /// Speech ends below this probability.
    pub off: f32,
    /// Shorter speech is dropped, in seconds.
    pub min_speech: f64,
    /// Shorter pauses do not end a stretch, in seconds.
    pub min_silence: f64,
    /// Added on both sides, in seconds.
    pub pad: f64,
}

impl Default for VadSettings {
    fn default() -> Self {
        VadSettings {
            on: 0.5,
            off: 0.35,
            min_speech: 0.25,
            min_silence: 0.1,
            pad: 0.03,
        }
    }
}

/// Voice activity detector.
pub struct Vad {
    session: Session,
    settings: VadSettings,
}

impl Vad {
    /// Loads Silero VAD (version 5 or 6).
    ///
    /// # Errors
    /// [`Error::Network`] when the file is no such network.
    pub fn open(
        runtime: &Runtime,
        file: &Path,
        network: Network,
        settings: VadSettings,
    ) -> Result<Self, Error> {
        let session = Session::open(runtime, file, network)?;
        let expect = |name, kind, rank| Expect {
            name: Some(name),
            kind,
            rank,
        };
        session.expect_inputs(&[
            expect("input", Kind::F32, 2),
            expect("state", Kind::F32, 3),
            expect("sr", Kind::I64, 0),
        ])?;
        Ok(Vad { session, settings })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// Probability of speech in each block of 32 ms of a 16 kHz wave; the last block is padded with silence.
    ///
    /// # Errors
    /// [`Error::Network`] when the network fails.
    pub fn probabilities(&self, wave: &[f32]) -> Result<Vec<f32>, Error> {
        let mut state = vec![0.0; STATE.iter().product()];
        let mut input = vec![0.0; CONTEXT + BLOCK];
        let mut out = Vec::with_capacity(wave.len().div_ceil(BLOCK));
        for block in wave.chunks(BLOCK) {
            input.copy_within(BLOCK.., 0);
            input[CONTEXT..].fill(0.0);
            input[CONTEXT..][..block.len()].copy_from_slice(block);
            out.push(self.step(&input, &mut state)?);
        }
        Ok(out)
    }

    fn step(&self, input: &[f32], state: &mut Vec<f32>) -> Result<f32, Error> {
        let rate = [i64::from(RATE)];
        let outputs = self.session.run(&[
            ("input", Tensor::f32(&[1, input.len()], input)),
            ("state", Tensor::f32(&STATE, state)),
            ("sr", Tensor::i64(&[], &rate)),
        ])?;
        let mut outputs = outputs.into_iter().filter_map(crate::runtime::Output::into_f32s);
        let probability = outputs.next().and_then(|p| p.first().copied());
        let next = outputs.next().filter(|next| next.len() == state.len());
        let (Some(probability), Some(next)) = (probability, next) else {
            return Err(self.session.error("it should give a probability and a state"));
        };
        *state = next;
        Ok(probability)
    }

    /// Stretches of speech in a 16 kHz wave, in order, apart from each other.
    ///
    /// # Errors
    /// [`Error::Network`] when the network fails.
    pub fn speech(&self, wave: &[f32]) -> Result<Vec<Stretch>, Error> {
        Ok(stretches(
            &self.probabilities(wave)?,
            seconds(wave),
            &self.settings,
        ))
    }
}

/// Stretches from block probabilities: hysteresis, minimum lengths, padding (pads never overlap).
pub fn stretches(probabilities: &[f32], length: f64, settings: &VadSettings) -> Vec<Stretch> {
    let block = BLOCK as f64 / f64::from(RATE);
    let mut raw: Vec<Stretch> = Vec::new();
    let mut speaking = false;
    for (i, &p) in probabilities.iter().enumerate() {
        speaking = p >= if speaking { settings.off } else { settings.on };
        if !speaking {
            continue;
        }
        let (start, end) = (i as f64 * block, ((i + 1) as f64 * block).min(length));
        match raw.last_mut() {
            Some(last) if start - last.end < settings.min_silence => last.end = end,
            _ => raw.push(Stretch { start, end }),
        }
    }
    raw.retain(|s| s.seconds() >= settings.min_speech);
    pad(&raw, length, settings.pad)
}

fn pad(raw: &[Stretch], length: f64, pad: f64) -> Vec<Stretch> {
    let room = |i: usize| {
        raw.get(i + 1)
            .map_or(length - raw[i].end, |next| (next.start - raw[i].end) / 2.0)
    };
    (0..raw.len())
        .map(|i| {
            let before = i.checked_sub(1).map_or(raw[i].start, room);
            Stretch {
                start: raw[i].start - pad.min(before),
                end: raw[i].end + pad.min(room(i).max(0.0)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pad: f64) -> VadSettings {
        VadSettings {
            pad,
            ..VadSettings::default()
        }
    }

    #[test]
    fn hysteresis_bridges_weak_blocks_and_short_pauses() {
        let mut p = vec![0.0; 10];
        p.extend([0.9; 5]);
        p.extend([0.4; 3]); // above `off`
        p.extend([0.1; 2]); // 64 ms of silence
        p.extend([0.9; 5]);
        p.extend([0.0; 10]);
        let got = stretches(&p, p.len() as f64 * 0.032, &settings(0.0));
        assert_eq!(got.len(), 1);
        assert!((got[0].start - 0.32).abs() < 1e-9 && (got[0].end - 0.8).abs() < 1e-9);
    }

    #[test]
    fn short_speech_is_dropped_and_pads_meet_in_the_middle() {
        let mut p = vec![0.9; 10];
        p.extend([0.0; 4]);
        p.extend([0.9; 10]);
        p.extend([0.0; 20]);
        p.extend([0.9; 3]);
        let got = stretches(&p, p.len() as f64 * 0.032, &settings(1.0));
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].start, 0.0);
        assert!((got[0].end - got[1].start).abs() < 1e-9);
        assert!(stretches(&[], 0.0, &settings(0.1)).is_empty());
    }
}
