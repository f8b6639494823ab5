//! Which face is which voice, decided from `av_evidence` alone (the paper asks routed MLLMs, section 3). Off-screen
//! voices and silent faces are results, not errors.

use super::Entry;
use crate::{
    evidence::{self, Weights},
    kit::settings_json,
};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{AvEvidence, Binding, Transcript};
use serde::{Deserialize, Serialize};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Evidence below which a face is not the speaker, grey levels of mouth motion.
    pub min_motion: f64,
    /// Grey levels that a perfect correlation of mouth and loudness adds.
    pub correlation: f64,
    /// Share of the motion outside the voice that is taken off.
    pub baseline: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_motion: 0.25,
            correlation: 0.5,
            baseline: 0.5,
        }
    }
}

/// Listed as `bind`.
pub const ENTRY: Entry = Entry {
    name: BindLocal::NAME,
    about: "the one-to-one binding of faces and voices with the most evidence",
    build: |table, _kit| {
        Ok(Box::new(BindLocal {
            settings: table.read()?,
        }))
    },
};

struct BindLocal {
    settings: Settings,
}

impl Stage for BindLocal {
    type In = (Many<AvEvidence>, One<Transcript>);
    type Out = Binding;
    const NAME: &'static str = "bind";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn run(&self, (Many(evidence), One(transcript)): Self::In, _cx: &Cx<'_>) -> Result<Vec<Binding>, Fault> {
        let Settings {
            min_motion,
            correlation,
            baseline,
        } = self.settings;
        let weights = Weights {
            min_motion,
            correlation,
            baseline,
        };
        Ok(vec![evidence::bind(
            &transcript.clip,
            &evidence,
            &transcript.segments,
            &weights,
        )])
    }
}
