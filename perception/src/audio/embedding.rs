//! A voice as a unit vector (WeSpeaker ResNet34).

use std::path::Path;

use super::fbank::{Fbank, Window};
use crate::runtime::{Expect, Kind, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Cosine above which two vectors are one voice: equal error rate on 27 speakers.
const THRESHOLD: f32 = 0.399;
/// Shortest wave with enough frames for the network's strides, in samples (0.2 s).
const SHORTEST: usize = 3200;
/// Longer waves are cut: more sound does not change the voice, in samples (60 s).
const LONGEST: usize = 960_000;

/// Speaker embedder.
pub struct SpeakerEmbedder {
    session: Session,
    fbank: Fbank,
}

impl SpeakerEmbedder {
    /// Loads a WeSpeaker network (80 Kaldi filter banks in, one vector out).
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
        Ok(SpeakerEmbedder {
            session,
            fbank: Fbank::new(80, Window::Hamming, 32768.0),
        })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// Cosine above which two vectors are one voice.
    pub fn threshold(&self) -> f32 {
        THRESHOLD
    }

    /// The voice in a 16 kHz wave of at least 0.2 s, of unit length; at most its first 60 s are heard.
    ///
    /// # Errors
    /// [`Error::Input`] for shorter waves, [`Error::Network`] when the network fails.
    pub fn embed(&self, wave: &[f32]) -> Result<Vec<f32>, Error> {
        if wave.len() < SHORTEST {
            return Err(Error::Input(format!(
                "a voice needs at least 0.2 s of sound, {} samples were given",
                wave.len()
            )));
        }
        let features = self.fbank.centred(&wave[..wave.len().min(LONGEST)]);
        let shape = [1, features.len() / self.fbank.bins(), self.fbank.bins()];
        let name = self
            .session
            .inputs()
            .first()
            .map_or("", |port| port.name.as_str());
        let outputs = self.session.run(&[(name, Tensor::f32(&shape, &features))])?;
        let vector = outputs
            .into_iter()
            .next()
            .and_then(crate::runtime::Output::into_f32s);
        unit(vector.unwrap_or_default()).ok_or_else(|| self.session.error("it gave no finite vector"))
    }
}

/// The vector scaled to length 1; `None` for zero, empty or not finite vectors.
pub fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length < 1e-9 {
        return None;
    }
    vector
        .iter_mut()
        .for_each(|x| *x = (f64::from(*x) / length) as f32);
    Some(vector)
}

/// Cosine of two unit vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_vectors_have_length_one() {
        let v = unit(vec![3.0, 4.0]).unwrap();
        assert!((cosine(&v, &v) - 1.0).abs() < 1e-6);
        assert_eq!(unit(vec![0.0; 3]), None);
        assert_eq!(unit(vec![f32::NAN]), None);
    }
}
