//! Which face is which voice, decided from `av_evidence` alone (the paper asks routed MLLMs, section 3). Off-screen
//! voices and silent faces are results, not errors.

use super::Entry;
use crate::{
    evidence::{self, Weights},
    kit::settings_json,
};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{AvEvidence, Binding, Transcript};

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
    settings: Weights,
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
        Ok(vec![evidence::bind(
            &transcript.clip,
            &evidence,
            &transcript.segments,
            &self.settings,
        )])
    }
}
