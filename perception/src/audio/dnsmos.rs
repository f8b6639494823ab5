//! DNSMOS P.835: how a listener would rate speech, its background, and both together (1 to 5).
//!
//! Reference: the package `speechmos` 0.0.1.1 (`dnsmos.py`), whose numbers ours equal (`scripts/golden/quality.py`). The network
//! rates windows of 9.01 s, one a second; what it gives goes through the published polynomials, then the mean is taken. A
//! shorter sound is repeated until it fills a window.

use std::path::Path;

use super::RATE;
use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Samples of a window.
pub const WINDOW: usize = 144_160;
/// Seconds of a window.
const SECONDS: f64 = 9.01;
/// Coefficients of the published polynomials, highest power first: speech, background, both.
const POLYNOMIALS: [[f64; 3]; 3] = [
    [-0.083_972_78, 1.220_839_53, 0.005_243_9],
    [-0.131_668_88, 1.609_155_14, -0.396_045_46],
    [-0.067_662_83, 1.115_464_68, 0.046_025_35],
];

/// What listeners would say, each 1 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Opinion {
    /// Of the speech.
    pub speech: f64,
    /// Of the background: 5 is not to be heard.
    pub background: f64,
    /// Of both together.
    pub overall: f64,
}

/// The network.
pub struct Dnsmos {
    session: Session,
}

impl Dnsmos {
    /// Loads a graph `[n, 144160]` -> `[n, 3]`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or has other inputs.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<Dnsmos, Error> {
        let session = Session::open(runtime, file, network)?;
        session.expect_inputs(&[Expect {
            name: Some("input_1"),
            kind: Kind::F32,
            rank: 2,
        }])?;
        Ok(Dnsmos { session })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// What listeners would say of a 16 kHz wave in -1..1; what lies beyond is clipped.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty wave, [`Error::Network`] when the network fails.
    pub fn rate(&self, wave: &[f32]) -> Result<Opinion, Error> {
        if wave.is_empty() {
            return Err(Error::Input("no sound to rate".to_owned()));
        }
        let sound = filled(wave);
        let mut sums = [0.0; 3];
        let starts = starts(sound.len());
        for start in &starts {
            let raw = self.window(&sound[*start..*start + WINDOW])?;
            for ((sum, polynomial), raw) in sums.iter_mut().zip(POLYNOMIALS).zip(raw) {
                *sum += polynomial.iter().fold(0.0, |y, c| y * f64::from(raw) + c);
            }
        }
        let [speech, background, overall] = sums.map(|sum| sum / starts.len() as f64);
        Ok(Opinion {
            speech,
            background,
            overall,
        })
    }

    fn window(&self, sound: &[f32]) -> Result<[f32; 3], Error> {
        let outputs = self
            .session
            .run(&[("input_1", Tensor::f32(&[1, WINDOW], sound))])?;
        match outputs.first().and_then(Output::f32s) {
            Some([speech, background, overall]) => Ok([*speech, *background, *overall]),
            _ => Err(self.session.error("it gave no three ratings")),
        }
    }
}

/// The sound in -1..1, doubled until it fills a window.
fn filled(wave: &[f32]) -> Vec<f32> {
    let mut sound: Vec<f32> = wave.iter().map(|x| x.clamp(-1.0, 1.0)).collect();
    while sound.len() < WINDOW {
        sound.extend_from_within(..);
    }
    sound
}

/// Where the windows of a filled sound begin. The reference cuts them in f64, where the end of some comes out one sample
/// early, and leaves those windows out: of a long clip the eighth to the twenty-fourth. So do we.
fn starts(samples: usize) -> Vec<usize> {
    let rate = RATE as usize;
    let windows = ((samples / rate) as f64 - SECONDS) as usize + 1;
    let end = |i: usize| ((i as f64 + SECONDS) * f64::from(RATE)) as usize;
    (0..windows)
        .filter(|i| end(*i).min(samples) - i * rate >= WINDOW)
        .map(|i| i * rate)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_each_second_and_the_references_gaps_are_kept() {
        assert_eq!(starts(WINDOW), [0]);
        assert_eq!(starts(10 * 16_000 + 15_999), [0]);
        assert_eq!(starts(11 * 16_000), [0, 16_000]);
        let long = starts(35 * 16_000);
        let seconds: Vec<usize> = long.iter().map(|start| start / 16_000).collect();
        assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 6, 24, 25]);
        assert!(long.iter().all(|start| start + WINDOW <= 35 * 16_000));
    }

    #[test]
    fn a_short_sound_is_doubled_until_it_fills_a_window_and_stays_in_range() {
        let sound = filled(&[0.5, -2.0, 3.0]);
        assert!(sound.len() >= WINDOW && sound.len() < 2 * WINDOW);
        assert_eq!(sound[..6], [0.5, -1.0, 1.0, 0.5, -1.0, 1.0]);
        assert_eq!(filled(&vec![0.1; WINDOW]).len(), WINDOW);
    }
}
