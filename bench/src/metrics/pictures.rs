//! IQ and AQ: how well the pictures are taken, and how pleasing they are. The mean over all frames.
//!
//! IQ is MUSIQ (SPAQ) / 100 as VBench computes it; AQ is Aesthetic Predictor V2.5 / 10. Both want the file's own colours.

use std::sync::Arc;

use omni_media::{Frame, Image};
use omni_perception::{
    Error, Network,
    vision::{aesthetic::Aesthetic, musiq::Musiq},
};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::TakeInfo,
};

/// Rates a picture.
pub trait Rater: Send + Sync {
    /// The reading's name.
    const NAME: &'static str;
    /// The id of the paper's network.
    const PAPER: &'static str;
    /// What the network's number is divided by.
    const TOP: f64;
    /// The network.
    fn network(&self) -> &Network;
    /// Its number for a picture.
    ///
    /// # Errors
    /// As the network's own method.
    fn rate(&self, image: &Image) -> Result<f32, Error>;
}

impl Rater for Musiq {
    const NAME: &'static str = "iq";
    const PAPER: &'static str = "musiq_spaq";
    const TOP: f64 = 100.0;

    fn network(&self) -> &Network {
        self.network()
    }

    fn rate(&self, image: &Image) -> Result<f32, Error> {
        self.score(image)
    }
}

impl Rater for Aesthetic {
    const NAME: &'static str = "aq";
    const PAPER: &'static str = "siglip_aesthetic_2_5";
    const TOP: f64 = 10.0;

    fn network(&self) -> &Network {
        self.network()
    }

    fn rate(&self, image: &Image) -> Result<f32, Error> {
        self.score(image)
    }
}

/// The mean rating of all frames.
pub struct Pictures<R> {
    rater: Arc<R>,
}

impl<R: Rater + 'static> Pictures<R> {
    /// With a network.
    pub fn new(rater: Arc<R>) -> Pictures<R> {
        Pictures { rater }
    }
}

impl<R: Rater + 'static> Metric for Pictures<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.rater.network().id.as_str();
        vec![Reading::plain(
            R::NAME,
            (id != R::PAPER).then_some(id),
            Better::Higher,
        )]
    }

    fn settings(&self) -> Value {
        json!({ "network": self.rater.network().tag() })
    }

    fn sees(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, _take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        Ok(Box::new(Rating {
            rater: self.rater.as_ref(),
            sum: 0.0,
            frames: 0,
        }))
    }
}

struct Rating<'a, R> {
    rater: &'a R,
    sum: f64,
    frames: u64,
}

impl<R: Rater> Scoring for Rating<'_, R> {
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        self.sum += f64::from(self.rater.rate(frame.image).map_err(Fault::stop)?);
        self.frames += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let mean = (self.frames > 0).then(|| self.sum / self.frames as f64 / R::TOP);
        Ok(vec![Outcome::of(mean, "no_video")].into())
    }
}
