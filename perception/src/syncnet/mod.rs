//! SyncNet v2: do these lips say that sound, and how far apart in time are the two?
//!
//! Reference: joonson/syncnet_python. Pictures at 25 per second, sound at 16 kHz; a window is five pictures and the
//! 0.2 s of sound with them. [`crop`] cuts the faces, [`mfcc`] pictures the sound, [`offset`] compares.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod crop;
pub mod mfcc;
pub mod offset;

use std::path::Path;

use omni_media::Image;

use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};
use crop::SIDE;
use mfcc::COEFFICIENTS;

/// Pictures per second.
pub const FPS: i64 = 25;
/// Pictures of a window.
pub const PICTURES: usize = 5;
/// Columns of cepstra of a window.
const COLUMNS: usize = 20;
/// Columns of cepstra per picture.
const PER_PICTURE: usize = 4;
/// Samples of sound per picture.
const SAMPLES: usize = 640;
/// Largest shift that is looked at, in pictures.
pub const SHIFT: usize = 15;
/// Windows per call of a network: bounds its memory.
const BATCH: usize = 20;

/// Windows in so many pictures and samples; zero when there are too few of either.
pub fn windows(pictures: usize, samples: usize) -> usize {
    pictures.min(samples / SAMPLES).saturating_sub(PICTURES)
}

/// The sound of window `i`: `[13, 20]`, f32. Cepstra that are missing at the end are zero.
pub fn sound_window(cepstra: &[[f64; COEFFICIENTS]], i: usize) -> Vec<f32> {
    let value = |c: usize, k: usize| {
        cepstra
            .get(i * PER_PICTURE + k)
            .map_or(0.0, |column| column[c] as f32)
    };
    (0..COEFFICIENTS)
        .flat_map(|c| (0..COLUMNS).map(move |k| value(c, k)))
        .collect()
}

/// The planes of one crop, blue first, 0..255.
pub fn picture_planes(face: &Image) -> Vec<f32> {
    crate::vision::planes(face, 0.0, 1.0, true)
}

/// The two towers.
pub struct SyncNet {
    lips: Session,
    sound: Session,
}

impl SyncNet {
    /// Loads the two graphs `frames` -> `embedding` and `mfcc` -> `embedding`; `network` names them together.
    ///
    /// # Errors
    /// [`Error::Network`] when a file does not load or has other inputs.
    pub fn open(runtime: &Runtime, lips: &Path, sound: &Path, network: Network) -> Result<SyncNet, Error> {
        let lips = Session::open(runtime, lips, network.clone())?;
        let sound = Session::open(runtime, sound, network)?;
        for (session, name, rank) in [(&lips, "frames", 5), (&sound, "mfcc", 4)] {
            session.expect_inputs(&[Expect {
                name: Some(name),
                kind: Kind::F32,
                rank,
            }])?;
        }
        Ok(SyncNet { lips, sound })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.lips.network()
    }

    /// One vector per window of consecutive 224 x 224 faces: `count` rows.
    ///
    /// # Errors
    /// [`Error::Input`] when there are too few faces for `count` windows or one has another size;
    /// [`Error::Network`] when the network fails.
    pub fn lips(&self, faces: &[Image], count: usize) -> Result<Vec<f32>, Error> {
        let sized = faces.iter().all(|face| (face.width, face.height) == (SIDE, SIDE));
        if !sized || (count > 0 && faces.len() + 1 < count + PICTURES) {
            return Err(Error::Input(format!(
                "{count} windows need {} faces of {SIDE} x {SIDE} pixels",
                count + PICTURES - 1
            )));
        }
        let planes: Vec<Vec<f32>> = faces.iter().map(picture_planes).collect();
        let size = SIDE * SIDE;
        batches(count, |windows| {
            let mut input = Vec::with_capacity(windows.len() * 3 * PICTURES * size);
            let shape = [windows.len(), 3, PICTURES, SIDE, SIDE];
            for window in windows {
                for channel in 0..3 {
                    for picture in &planes[window..window + PICTURES] {
                        input.extend_from_slice(&picture[channel * size..][..size]);
                    }
                }
            }
            run(&self.lips, "frames", &shape, &input)
        })
    }

    /// One vector per window of sound: `count` rows.
    ///
    /// # Errors
    /// [`Error::Network`] when the network fails.
    pub fn sound(&self, cepstra: &[[f64; COEFFICIENTS]], count: usize) -> Result<Vec<f32>, Error> {
        batches(count, |windows| {
            let shape = [windows.len(), 1, COEFFICIENTS, COLUMNS];
            let input: Vec<f32> = windows.flat_map(|i| sound_window(cepstra, i)).collect();
            run(&self.sound, "mfcc", &shape, &input)
        })
    }

    /// Compares the faces of a track with the sound under them (16 kHz, integers); `None` when there are too few.
    ///
    /// # Errors
    /// As [`SyncNet::lips`].
    pub fn compare(&self, faces: &[Image], sound: &[i16]) -> Result<Option<offset::Offsets>, Error> {
        let count = windows(faces.len(), sound.len());
        if count == 0 {
            return Ok(None);
        }
        let lips = self.lips(faces, count)?;
        let heard = self.sound(&mfcc::mfcc(sound), count)?;
        let width = lips.len() / count;
        if heard.len() != lips.len() {
            return Err(self
                .sound
                .error("its vectors are not as long as those of the lips"));
        }
        Ok(offset::compare(&lips, &heard, width, SHIFT))
    }
}

/// Calls `each` for windows 0 to `count`, a batch at a time, and joins what it gives.
fn batches(
    count: usize,
    mut each: impl FnMut(std::ops::Range<usize>) -> Result<Vec<f32>, Error>,
) -> Result<Vec<f32>, Error> {
    let mut out = Vec::new();
    for start in (0..count).step_by(BATCH) {
        out.extend(each(start..count.min(start + BATCH))?);
    }
    Ok(out)
}

fn run(session: &Session, name: &str, shape: &[usize], input: &[f32]) -> Result<Vec<f32>, Error> {
    let outputs = session.run(&[(name, Tensor::f32(shape, input))])?;
    let vectors = outputs
        .into_iter()
        .next()
        .and_then(Output::into_f32s)
        .unwrap_or_default();
    if vectors.is_empty() || !vectors.len().is_multiple_of(shape[0]) {
        let message = format!("it gave {} numbers for {} windows", vectors.len(), shape[0]);
        return Err(session.error(message));
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_five_pictures_early() {
        assert_eq!(windows(40, 40 * 640 + 37), 35);
        assert_eq!(windows(40, 20 * 640), 15);
        assert_eq!(windows(5, 64000), 0);
        assert_eq!(windows(0, 0), 0);
    }

    #[test]
    fn a_sound_window_is_coefficient_by_coefficient() {
        let cepstra: Vec<[f64; 13]> = (0..40)
            .map(|i| std::array::from_fn(|c| (c * 100 + i) as f64))
            .collect();
        let window = sound_window(&cepstra, 3);
        assert_eq!(
            (window.len(), window[0], window[19], window[20]),
            (260, 12.0, 31.0, 112.0)
        );
        assert_eq!(sound_window(&cepstra, 9)[4], 0.0, "beyond the end");
    }
}
