//! WavLM speaker networks: a voice as a vector, from the wave itself.
//!
//! Two graphs are known. `wav` takes the raw wave and levels it inside (UniSpeech's WavLM-large with ECAPA, the one of
//! the paper's T-Sim); `input_values` takes the levelled wave (Hugging Face `WavLMForXVector`).

use std::path::Path;

use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Samples of the first convolutions: shorter waves have no frame.
pub const SHORTEST: usize = 400;
/// Added to the variance by Hugging Face's feature extractor.
const EPSILON: f64 = 1e-7;

/// The wave with mean 0 and variance 1 over its whole length (`Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`).
pub fn levelled(wave: &[f32]) -> Vec<f32> {
    let count = wave.len().max(1) as f64;
    let mean = wave.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = wave.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + EPSILON).sqrt();
    wave.iter()
        .map(|x| ((f64::from(*x) - mean) / scale) as f32)
        .collect()
}

/// A speaker network.
pub struct WavLm {
    session: Session,
    levels: bool,
}

impl WavLm {
    /// Loads a graph `wav` or `input_values` -> `embedding`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or has another input.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<WavLm, Error> {
        let session = Session::open(runtime, file, network)?;
        let levels = session
            .inputs()
            .first()
            .is_some_and(|port| port.name == "input_values");
        session.expect_inputs(&[Expect {
            name: Some(if levels { "input_values" } else { "wav" }),
            kind: Kind::F32,
            rank: 2,
        }])?;
        Ok(WavLm { session, levels })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// The voice in a 16 kHz wave; compare by cosine.
    ///
    /// # Errors
    /// [`Error::Input`] below [`SHORTEST`] samples, [`Error::Network`] when the network fails.
    pub fn embed(&self, wave: &[f32]) -> Result<Vec<f32>, Error> {
        if wave.len() < SHORTEST {
            let message = format!(
                "a voice needs {SHORTEST} samples at 16 kHz, there are {}",
                wave.len()
            );
            return Err(Error::Input(message));
        }
        let shape = [1, wave.len()];
        let outputs = if self.levels {
            self.session
                .run(&[("input_values", Tensor::f32(&shape, &levelled(wave)))])?
        } else {
            self.session.run(&[("wav", Tensor::f32(&shape, wave))])?
        };
        let vector = outputs.into_iter().next().and_then(Output::into_f32s);
        vector
            .filter(|vector| !vector.is_empty())
            .ok_or_else(|| self.session.error("it gave no vector"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_taken_over_the_whole_wave() {
        let out = levelled(&[1.0, 3.0, 5.0, 7.0]);
        let sum: f32 = out.iter().sum();
        let square: f32 = out.iter().map(|x| x * x).sum();
        assert!(sum.abs() < 1e-6 && (square - 4.0).abs() < 1e-5, "{out:?}");
        assert_eq!(levelled(&[0.0; 3]), [0.0; 3]);
        assert!(levelled(&[]).is_empty());
    }
}
