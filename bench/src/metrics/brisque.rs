//! BRISQUE: how far the pictures are from the statistics of natural scenes; lower is better.
//!
//! Beyond the paper. Reference: the package `brisque`; the mean of its scores over 16 frames.

use std::{collections::BTreeSet, sync::Arc};

use omni_media::{Frame, linspace_frames};
use omni_perception::vision::brisque::Brisque;
use omni_pipeline::Fault;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::TakeInfo,
};

/// The regression that the name without a suffix belongs to.
const OWN: &str = "brisque_live";

/// Frames that are rated.
const FRAMES: usize = 16;

/// Closeness to natural scenes.
pub struct Natural {
    rater: Arc<Brisque>,
}

impl Natural {
    /// With a regression.
    pub fn new(rater: Arc<Brisque>) -> Natural {
        Natural { rater }
    }
}

impl Metric for Natural {
    fn name(&self) -> &'static str {
        "brisque"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.rater.network().id.as_str();
        vec![Reading::plain(
            "brisque",
            (id != OWN).then_some(id),
            Better::Lower,
        )]
    }

    fn settings(&self) -> Value {
        json!({ "network": self.rater.network().tag(), "frames": FRAMES })
    }

    fn sees(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref().ok_or_else(|| Fault::drop("no_video"))?;
        let total = usize::try_from(video.frames).map_err(Fault::stop)?;
        let wanted = linspace_frames(total, FRAMES).into_iter().map(|i| i as u64);
        Ok(Box::new(Rating {
            rater: self.rater.as_ref(),
            wanted: wanted.collect(),
            sum: 0.0,
            rated: 0,
            looked: false,
        }))
    }
}

struct Rating<'a> {
    rater: &'a Brisque,
    wanted: BTreeSet<u64>,
    sum: f64,
    rated: u64,
    looked: bool,
}

impl Scoring for Rating<'_> {
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        if !self.wanted.contains(&frame.index) {
            return Ok(());
        }
        self.looked = true;
        if let Some(score) = self.rater.score(frame.image) {
            self.sum += score;
            self.rated += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let mean = (self.rated > 0).then(|| self.sum / self.rated as f64);
        // A picture of one colour has no statistics.
        let why = if self.looked { "no_contrast" } else { "no_video" };
        Ok(vec![Outcome::of(mean, why)].into())
    }
}
