//! ImageBind: one vector space for pictures, sound and text.
//!
//! Reference: facebookresearch/ImageBind. The three towers are three graphs; here is what they are fed and how their
//! vectors are compared.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod audio;
pub mod text;
pub mod video;

use std::path::Path;

use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Least product of lengths in a cosine.
const EPSILON: f64 = 1e-6;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// Pictures: `[b, 3, 2, 224, 224]`.
    Vision,
    /// Sound: `[b, 1, 128, 204]`.
    Audio,
    /// Text: tokens `[b, 77]`.
    Text,
}

/// One tower.
pub struct ImageBind {
    session: Session,
    tower: Tower,
}

impl ImageBind {
    /// Loads a graph `input` -> `embedding`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or is not this tower.
    pub fn open(runtime: &Runtime, file: &Path, network: Network, tower: Tower) -> Result<ImageBind, Error> {
        let session = Session::open(runtime, file, network)?;
        let (kind, rank) = match tower {
            Tower::Vision => (Kind::F32, 5),
            Tower::Audio => (Kind::F32, 4),
            Tower::Text => (Kind::I64, 2),
        };
        session.expect_inputs(&[Expect {
            name: Some("input"),
            kind,
            rank,
        }])?;
        Ok(ImageBind { session, tower })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// One vector per input of pictures or sound, in order.
    ///
    /// # Errors
    /// [`Error::Input`] for inputs of another size, or for the tower of text; [`Error::Network`] when it fails.
    pub fn embed(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        let shape = match self.tower {
            Tower::Vision => vec![inputs.len(), 3, 2, video::SIDE, video::SIDE],
            Tower::Audio => vec![inputs.len(), 1, audio::BANDS, audio::COLUMNS],
            Tower::Text => return Err(Error::Input("the tower of text takes tokens".to_owned())),
        };
        let data = inputs.concat();
        self.vectors(Tensor::f32(&shape, &data), inputs.len())
    }

    /// One vector per text.
    ///
    /// # Errors
    /// [`Error::Network`] when the network fails or is another tower.
    pub fn embed_tokens(&self, texts: &[Vec<i64>]) -> Result<Vec<Vec<f32>>, Error> {
        let data = texts.concat();
        self.vectors(Tensor::i64(&[texts.len(), text::LENGTH], &data), texts.len())
    }

    fn vectors(&self, tensor: Tensor<'_>, count: usize) -> Result<Vec<Vec<f32>>, Error> {
        let outputs = self.session.run(&[("input", tensor)])?;
        let data = outputs
            .into_iter()
            .next()
            .and_then(Output::into_f32s)
            .unwrap_or_default();
        let width = data.len() / count.max(1);
        if width == 0 || data.len() != width * count {
            let message = format!("it gave {} numbers for {count} inputs", data.len());
            return Err(self.session.error(message));
        }
        Ok(data.chunks_exact(width).map(<[f32]>::to_vec).collect())
    }
}

/// The mean of vectors of one length; empty without any. It is not scaled to length one: a cosine does that.
pub fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let Some(first) = vectors.first() else {
        return Vec::new();
    };
    let sum = |i: usize| {
        vectors
            .iter()
            .map(|v| f64::from(v.get(i).copied().unwrap_or(0.0)))
            .sum::<f64>()
    };
    (0..first.len())
        .map(|i| (sum(i) / vectors.len() as f64) as f32)
        .collect()
}

/// Cosine with the lengths' product kept away from zero, as the published scores take it. `None` when the lengths of
/// the lists differ or they are empty.
pub fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let dot = |x: &[f32], y: &[f32]| {
        x.iter()
            .zip(y)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum::<f64>()
    };
    Some(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(EPSILON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_cosines_by_hand() {
        assert_eq!(mean(&[vec![1.0, 0.0], vec![3.0, 2.0]]), [2.0, 1.0]);
        assert!(mean(&[]).is_empty());
        assert_eq!(cosine(&[2.0, 0.0], &[3.0, 0.0]), Some(1.0));
        assert_eq!(cosine(&[0.0], &[0.0]), Some(0.0));
        assert_eq!(cosine(&[1.0], &[1.0, 2.0]), None);
    }
}
