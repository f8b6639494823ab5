//! Aesthetic Predictor V2.5: SigLIP's picture tower with a linear head that rates how pleasing a picture is.
//!
//! Reference: discus0434/aesthetic-predictor-v2-5 with Hugging Face's `SiglipImageProcessor`: the whole picture to
//! 384 x 384 without keeping its aspect (Pillow, bicubic), then -1..1. Run in f32.

use std::path::Path;

use omni_media::Image;

use super::pillow;
use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Side of the network's input in pixels.
pub const SIDE: usize = 384;

/// `[3, 384, 384]`, red first, -1..1.
pub fn pixel_values(image: &Image) -> Vec<f32> {
    let resized = pillow::bicubic(image, SIDE, SIDE);
    // `rescale_factor` is the f64 nearest to 1/255; the product is stored as f32 before it is normalised.
    let value = |byte: u8| ((f64::from(byte) * (1.0 / 255.0)) as f32 - 0.5) / 0.5;
    super::interpolate::Planes::of(&resized, value).data
}

/// The network.
pub struct Aesthetic {
    session: Session,
}

impl Aesthetic {
    /// Loads a graph `pixel_values` -> `score`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or has other inputs.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<Aesthetic, Error> {
        let session = Session::open(runtime, file, network)?;
        session.expect_inputs(&[Expect {
            name: Some("pixel_values"),
            kind: Kind::F32,
            rank: 4,
        }])?;
        Ok(Aesthetic { session })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// How pleasing a picture is, about 1 to 10.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty picture, [`Error::Network`] when the network fails.
    pub fn score(&self, image: &Image) -> Result<f32, Error> {
        let outputs = self.run(image)?;
        let score = outputs
            .first()
            .and_then(Output::f32s)
            .and_then(|values| values.first());
        score
            .copied()
            .ok_or_else(|| self.session.error("it gave no score"))
    }

    /// All outputs of the graph: the score first; reduced test graphs give the picture's vector beside it.
    ///
    /// # Errors
    /// As [`Aesthetic::score`].
    pub fn run(&self, image: &Image) -> Result<Vec<Output>, Error> {
        if image.data.is_empty() {
            return Err(Error::Input("a picture without pixels cannot please".to_owned()));
        }
        let pixels = pixel_values(image);
        self.session
            .run(&[("pixel_values", Tensor::f32(&[1, 3, SIDE, SIDE], &pixels))])
    }
}
