//! PQ: how well the sound is made (AudioBox Aesthetics, production quality, about 1 to 10).
//!
//! Reference: facebookresearch/audiobox-aesthetics. The network's means and deviations come from its sidecar; a sound
//! shorter than 400 samples has no rating.

use std::sync::Arc;

use omni_perception::audio::{
    audiobox::{AXES, AudioBox, Scale, overall, pieces, weight},
    wavlm::SHORTEST,
};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

const PAPER: &str = "audiobox_aesthetics";

/// Production quality.
pub struct Production {
    network: Arc<AudioBox>,
    scales: [Scale; 4],
}

impl Production {
    /// With a network and the scales of its axes, in their order.
    pub fn new(network: Arc<AudioBox>, scales: [Scale; 4]) -> Production {
        Production { network, scales }
    }
}

/// The scales in a sidecar: `target_transform` with a mean and a deviation per axis.
pub fn scales(sidecar: &Value) -> Option<[Scale; 4]> {
    let transform = sidecar.get("target_transform")?;
    let mut out = [Scale { mean: 0.0, std: 1.0 }; 4];
    for (scale, axis) in out.iter_mut().zip(AXES) {
        *scale = serde_json::from_value(transform.get(axis)?.clone()).ok()?;
    }
    Some(out)
}

impl Metric for Production {
    fn name(&self) -> &'static str {
        "pq"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.network.network().id.as_str();
        vec![Reading::plain("pq", (id != PAPER).then_some(id), Better::Higher)]
    }

    fn settings(&self) -> Value {
        json!({ "network": self.network.network().tag() })
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, _take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        Ok(Box::new(Rating {
            metric: self,
            outcome: Outcome::Absent("no_audio"),
        }))
    }
}

struct Rating<'a> {
    metric: &'a Production,
    outcome: Outcome,
}

impl Scoring for Rating<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let wave = sound.sinc();
        if wave.len() < SHORTEST {
            self.outcome = Outcome::Absent("too_short");
            return Ok(());
        }
        let raw = self.metric.network.rate(wave).map_err(Fault::stop)?;
        let weights: Vec<f64> = pieces(wave.len()).into_iter().map(weight).collect();
        let whole = overall(&raw, &weights, &self.metric.scales);
        self.outcome = Outcome::of(whole.map(|axes| axes[3]), "no_audio");
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        Ok(vec![self.outcome].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_names_all_four_axes() {
        let axis = |mean: f64| json!({"mean": mean, "std": 1.5});
        let mut sidecar =
            json!({"target_transform": {"CE": axis(1.0), "CU": axis(2.0), "PC": axis(3.0), "PQ": axis(4.0)}});
        assert_eq!(scales(&sidecar).unwrap()[3], Scale { mean: 4.0, std: 1.5 });
        sidecar["target_transform"]["PC"] = Value::Null;
        assert!(scales(&sidecar).is_none() && scales(&json!({})).is_none());
    }
}
