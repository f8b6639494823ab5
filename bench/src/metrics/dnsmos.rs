//! DNSMOS P.835: how listeners would rate the speech, its background, and both together, 1 to 5.
//!
//! Beyond the paper. Reference: the package `speechmos`; its network is the only one there is, so the names stand without it.

use std::sync::Arc;

use omni_perception::audio::{
    dnsmos::{Dnsmos, Opinion},
    wavlm::SHORTEST,
};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// The network that the names without a suffix belong to.
const OWN: &str = "dnsmos_p835";

/// What listeners would say.
pub struct Listeners {
    network: Arc<Dnsmos>,
}

impl Listeners {
    /// With a network.
    pub fn new(network: Arc<Dnsmos>) -> Listeners {
        Listeners { network }
    }
}

impl Metric for Listeners {
    fn name(&self) -> &'static str {
        "dnsmos"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.network.network().id.as_str();
        let other = (id != OWN).then_some(id);
        ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
            .map(|name| Reading::plain(name, other, Better::Higher))
            .to_vec()
    }

    fn settings(&self) -> Value {
        json!({ "network": self.network.network().tag() })
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, _take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        Ok(Box::new(Listening {
            metric: self,
            outcome: Err("no_audio"),
        }))
    }
}

struct Listening<'a> {
    metric: &'a Listeners,
    outcome: Result<Opinion, &'static str>,
}

impl Scoring for Listening<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let wave = sound.sinc();
        self.outcome = match wave.len() < SHORTEST {
            true => Err("too_short"),
            false => Ok(self.metric.network.rate(wave).map_err(Fault::stop)?),
        };
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let outcomes = match self.outcome {
            Ok(said) => {
                [said.overall, said.speech, said.background].map(|value| Outcome::of(Some(value), "no_audio"))
            }
            Err(why) => [(); 3].map(|()| Outcome::Absent(why)),
        };
        Ok(outcomes.to_vec().into())
    }
}
