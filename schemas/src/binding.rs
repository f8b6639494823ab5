//! Which face is which voice.

use crate::{
    Blob, Record,
    column::{Column, Kind, integer, list, real, record, text},
};
use serde::{Deserialize, Serialize};

/// `Binding::source` of the binder that needs no service.
pub const SOURCE_LOCAL: &str = "local";

/// A person in the picture and the voice that is theirs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BoundSubject {
    /// The person, from 1.
    pub subject: i64,
    /// The speaker; null for a silent face.
    pub speaker: Option<String>,
    /// How far the local binder's choice lies above the next best (another face, or nobody), grey levels; null for a
    /// silent face, and when a service chose.
    pub margin: Option<f64>,
    /// How sure the service says it is, 0..=1; null when none was asked, or not about this person.
    pub confidence: Option<f64>,
}

/// The words of a service for one anchor of the prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimedDescriptor {
    /// The anchor, for example `<sub1>`.
    pub anchor: String,
    /// A natural label, for example `the woman in red`.
    pub label: String,
    /// What is seen; empty for an off-screen voice.
    pub visual: String,
    /// What is heard; empty for a silent face.
    pub acoustic: String,
}

/// What a service answered, and how it came to be asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The route that the counts of faces and speakers led to: `gemini` or `qwen`.
    pub routed: String,
    /// The route whose answer was taken; another one when the first had none that could be used.
    pub route: String,
    /// The model, as it was asked for.
    pub model: String,
    /// The model, as the answer names it; null when it does not.
    pub model_version: Option<String>,
    /// The service's own name of the answer; null when it gives none.
    pub response_id: Option<String>,
    /// Name and version of the prompt.
    pub prompt: String,
    /// Key of the answer in the reply log.
    pub answer: String,
    /// Questions that were asked for this clip, this answer's own included.
    pub asked: i64,
    /// One per anchor: the people by number, then off-screen voices.
    pub descriptors: Vec<ClaimedDescriptor>,
    /// The surroundings, with anchors.
    pub scene: String,
    /// What happens, with anchors.
    pub actions: String,
    /// The words between anchor and `<S>`, one for each segment of the transcript.
    pub leads: Vec<String>,
}

/// The binding of a clip: every subject once, every speaker at most once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The clip.
    pub clip: String,
    /// The people, by number.
    pub subjects: Vec<BoundSubject>,
    /// Speakers whose face is not in the picture.
    pub offscreen: Vec<String>,
    /// Which binder: [`SOURCE_LOCAL`], or `service:model#prompt`.
    pub source: String,
    /// How many people could be bound: those with a face.
    pub faces: i64,
    /// How many speakers the transcript has.
    pub speakers: i64,
    /// What the service said; null for [`SOURCE_LOCAL`].
    pub claim: Option<Claim>,
    /// The answer as it came (JSON); null for [`SOURCE_LOCAL`].
    pub raw: Option<Blob>,
}

impl Record for Binding {
    const NAME: &'static str = "binding";
    const VERSION: u32 = 2;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let subject = vec![
            integer("subject", "number of the person, from 1"),
            text("speaker", "the speaker; null for a silent face"),
            real(
                "margin",
                "distance of the local choice to the next best (another face, or nobody), grey levels; null for a silent face or a service",
            ),
            real(
                "confidence",
                "how sure the service says it is, 0..1; null when it was not asked",
            ),
        ];
        vec![
            text("clip", "key of the clip"),
            list("subjects", Kind::Struct(subject), "the people, by number"),
            list(
                "offscreen",
                Kind::Text,
                "speakers whose face is not in the picture",
            ),
            text("source", "which binder: local, or service:model#prompt"),
            integer("faces", "people with a face"),
            integer("speakers", "speakers of the transcript"),
            record(
                "claim",
                claim_columns(),
                "what a service said; null for the local binder",
            ),
            record(
                "raw",
                Blob::columns(),
                "the answer as it came, JSON; null for the local binder",
            ),
        ]
    }

    fn blobs_mut(&mut self) -> Vec<&mut Blob> {
        self.raw.iter_mut().collect()
    }
}

fn claim_columns() -> Vec<Column> {
    let descriptor = vec![
        text("anchor", "the anchor, for example <sub1>"),
        text("label", "a natural label"),
        text("visual", "what is seen"),
        text("acoustic", "what is heard"),
    ];
    vec![
        text("routed", "where faces and speakers led: gemini or qwen"),
        text("route", "whose answer was taken"),
        text("model", "the model, as it was asked for"),
        text("model_version", "the model, as the answer names it"),
        text("response_id", "the service's own name of the answer"),
        text("prompt", "name and version of the prompt"),
        text("answer", "key of the answer in the reply log"),
        integer("asked", "questions asked for this clip"),
        list("descriptors", Kind::Struct(descriptor), "one per anchor"),
        text("scene", "the surroundings, with anchors"),
        text("actions", "what happens, with anchors"),
        list(
            "leads",
            Kind::Text,
            "words between anchor and speech, one for each segment",
        ),
    ]
}
