//! How much each mouth moves while each voice is on: the evidence that `bind` reads and later stages check against.

use super::Entry;
use crate::{
    clip_media,
    evidence::{Envelope, measure},
    kit::settings_json,
};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{AvEvidence, Clip, Track, Transcript};
use serde::{Deserialize, Serialize};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds per value of the loudness that mouth motion is correlated with.
    pub step: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { step: 0.04 }
    }
}

/// Listed as `av_evidence`.
pub const ENTRY: Entry = Entry {
    name: Evidence::NAME,
    about: "mouth motion while each voice is on, while others are, and in silence",
    build: |table, _kit| {
        Ok(Box::new(Evidence {
            settings: table.read()?,
        }))
    },
};

struct Evidence {
    settings: Settings,
}

impl Stage for Evidence {
    type In = (One<Clip>, Many<Track>, One<Transcript>);
    type Out = AvEvidence;
    const NAME: &'static str = "av_evidence";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(
        &self,
        (One(clip), Many(tracks), One(transcript)): Self::In,
        cx: &Cx<'_>,
    ) -> Result<Vec<AvEvidence>, Fault> {
        let wave = clip_media::speech(&clip, cx)?;
        let sound = Envelope::of(&wave.samples, wave.rate, self.settings.step);
        Ok(measure(
            &clip.clip,
            clip.fps,
            &tracks,
            &transcript.segments,
            &sound,
        ))
    }
}
