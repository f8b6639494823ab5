//! The structured omni-caption of the paper's equation 2, with the place of every descriptor and utterance.

use crate::{
    Record,
    column::{Column, Kind, integer, list, text},
};
use serde::{Deserialize, Serialize};

/// The stretch of the prompt that describes one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The anchor, for example `<sub1>`.
    pub anchor: String,
    /// First character (Unicode scalar) of the descriptor in the prompt.
    pub start: i64,
    /// One past its last character.
    pub end: i64,
    /// Where the words come from: `measured`, `given`, or a model's name.
    pub descriptor_source: String,
}

/// One `<S>...<E>` of the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    /// The anchor of who speaks, for example `<sub2>`.
    pub anchor: String,
    /// The words between the markers.
    pub text: String,
    /// First character of the words in the prompt (just behind `<S>`).
    pub start: i64,
    /// One past their last character (where `<E>` begins).
    pub end: i64,
    /// ISO 639-1 code.
    pub language: String,
}

/// The prompt of a clip. It is a fixed point of the backbone's own text cleaning, so that spans stay true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OmniCaption {
    /// The clip.
    pub clip: String,
    /// The whole prompt.
    pub prompt: String,
    /// One per subject and off-screen speaker.
    pub descriptors: Vec<Descriptor>,
    /// Every utterance, by time.
    pub utterances: Vec<Utterance>,
}

impl Record for OmniCaption {
    const NAME: &'static str = "omni_caption";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let descriptor = vec![
            text("anchor", "the anchor, for example <sub1>"),
            integer("start", "first character in the prompt"),
            integer("end", "one past the last character"),
            text(
                "descriptor_source",
                "where the words come from: measured, given, or a model's name",
            ),
        ];
        let utterance = vec![
            text("anchor", "who speaks"),
            text("text", "the words between <S> and <E>"),
            integer("start", "first character of the words in the prompt"),
            integer("end", "one past the last character of the words"),
            text("language", "ISO 639-1 code"),
        ];
        vec![
            text("clip", "key of the clip"),
            text("prompt", "the whole prompt"),
            list(
                "descriptors",
                Kind::Struct(descriptor),
                "one per subject and off-screen speaker",
            ),
            list("utterances", Kind::Struct(utterance), "every utterance, by time"),
        ]
    }
}
