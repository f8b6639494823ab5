//! AudioBox Aesthetics: how well a sound was made, on four axes.
//!
//! Reference: facebookresearch/audiobox-aesthetics `infer.py`. A sound is cut into ten-second pieces, each rated alone;
//! the rating of the whole is their mean by length. What the network gives is standardised; the means and deviations
//! lie beside the graph in its sidecar.

use std::path::Path;

use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Samples of a piece: ten seconds of 16 kHz.
pub const PIECE: usize = 160_000;
/// The axes in the order of the network's output: content enjoyment, content usefulness, production complexity,
/// production quality.
pub const AXES: [&str; 4] = ["CE", "CU", "PC", "PQ"];

/// Samples of sound in each piece of a wave; the last one is filled up with silence that is masked out.
pub fn pieces(samples: usize) -> Vec<usize> {
    let full = samples / PIECE;
    let rest = samples % PIECE;
    let mut out = vec![PIECE; full];
    out.extend((rest > 0).then_some(rest));
    out
}

/// What a piece with so many samples counts, 0 to 1.
pub fn weight(valid: usize) -> f64 {
    valid as f64 / PIECE as f64
}

/// Mean and deviation of one axis, as the checkpoint's `target_transform` holds them.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
pub struct Scale {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
}

/// The ratings of a whole from those of its pieces (standardised, one row a piece) and their weights.
/// `None` without pieces or when the lists differ in length.
pub fn overall(raw: &[[f32; 4]], weights: &[f64], scales: &[Scale; 4]) -> Option<[f64; 4]> {
    let total: f64 = weights.iter().sum();
    if raw.len() != weights.len() || total <= 0.0 {
        return None;
    }
    Some(std::array::from_fn(|axis| {
        let rating = |row: &[f32; 4]| f64::from(row[axis]) * scales[axis].std + scales[axis].mean;
        raw.iter()
            .zip(weights)
            .map(|(row, w)| w * rating(row))
            .sum::<f64>()
            / total
    }))
}

/// The network.
pub struct AudioBox {
    session: Session,
    /// Pieces per call, where the graph fixes them.
    batch: Option<usize>,
}

impl AudioBox {
    /// Loads a graph `wav`, `mask` -> `[b, 4]`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or has other inputs.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<AudioBox, Error> {
        let session = Session::open(runtime, file, network)?;
        let expect = |name, kind| Expect {
            name: Some(name),
            kind,
            rank: 2,
        };
        session.expect_inputs(&[expect("wav", Kind::F32), expect("mask", Kind::Bool)])?;
        let batch = session
            .inputs()
            .first()
            .and_then(|port| port.shape.first().copied().flatten());
        Ok(AudioBox { session, batch })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// The standardised ratings of each piece of a 16 kHz wave, in the order of [`AXES`].
    ///
    /// # Errors
    /// [`Error::Input`] for an empty wave, [`Error::Network`] when the network fails.
    pub fn rate(&self, wave: &[f32]) -> Result<Vec<[f32; 4]>, Error> {
        let valid = pieces(wave.len());
        if valid.is_empty() {
            return Err(Error::Input("no sound to rate".to_owned()));
        }
        let batch = self.batch.unwrap_or(valid.len()).max(1);
        let mut out = Vec::new();
        for first in (0..valid.len()).step_by(batch) {
            let rows = batch.min(valid.len() - first);
            out.extend(self.run(&wave[first * PIECE..], batch)?.into_iter().take(rows));
        }
        Ok(out)
    }

    /// `rows` pieces from the start of `wave`; rows beyond its end are full of silence and rated for nothing.
    fn run(&self, wave: &[f32], rows: usize) -> Result<Vec<[f32; 4]>, Error> {
        let mut sound = vec![0.0; rows * PIECE];
        let heard = wave.len().min(sound.len());
        sound[..heard].copy_from_slice(&wave[..heard]);
        let end_of_piece = heard.div_ceil(PIECE) * PIECE;
        let mask: Vec<bool> = (0..sound.len()).map(|i| i < heard || i >= end_of_piece).collect();
        let shape = [rows, PIECE];
        let outputs = self.session.run(&[
            ("wav", Tensor::f32(&shape, &sound)),
            ("mask", Tensor::bool(&shape, &mask)),
        ])?;
        let data = outputs.first().and_then(Output::f32s).unwrap_or_default();
        if data.len() != rows * AXES.len() {
            let message = format!("it gave {} numbers for {rows} pieces", data.len());
            return Err(self.session.error(message));
        }
        Ok(data
            .chunks_exact(4)
            .map(|row| [row[0], row[1], row[2], row[3]])
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_sample_once() {
        for samples in [0, 1, 159_999, 160_000, 160_001, 400_123] {
            assert_eq!(pieces(samples).iter().sum::<usize>(), samples);
        }
        assert_eq!(pieces(400_123), [160_000, 160_000, 80_123]);
    }

    #[test]
    fn a_short_piece_counts_little() {
        let scale = Scale { mean: 5.0, std: 2.0 };
        let raw = [[1.0; 4], [-1.0; 4]];
        let whole = overall(&raw, &[1.0, weight(40_000)], &[scale; 4]).unwrap();
        assert!((whole[3] - (7.0 + 0.25 * 3.0) / 1.25).abs() < 1e-12);
        assert!(overall(&raw, &[1.0], &[scale; 4]).is_none());
        assert!(overall(&[], &[], &[scale; 4]).is_none());
    }
}
