//! A case of the benchmark: what a clip is to show, and who is to be seen and heard in it.

use crate::{
    Record,
    column::{Column, Kind, boolean, integer, list, text},
};
use serde::{Deserialize, Serialize};

/// Somebody in a case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseSubject {
    /// The anchor in the prompt, for example `<sub1>`.
    pub anchor: String,
    /// The reference picture; relative to the case file.
    #[serde(default)]
    pub face: Option<String>,
    /// The reference voice; relative to the case file.
    #[serde(default)]
    pub voice: Option<String>,
    /// Whether the subject is to be seen; false for an off-screen speaker.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Whether the subject is to speak; false for a silent identity.
    #[serde(default = "yes")]
    pub speaks: bool,
}

/// One thing that is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseUtterance {
    /// Who says it, for example `<sub1>`.
    pub anchor: String,
    /// The words.
    pub text: String,
    /// Whisper's language code.
    pub language: String,
}

/// What one generated clip is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The case's name, unique in its file; `<case>.mp4` is its clip.
    pub case: String,
    /// 1: one subject, 2: dialogue of two, 3: complex.
    pub subset: i64,
    /// The structured prompt with anchors and `<S>...<E>`.
    pub prompt: String,
    /// What is to be heard, in words.
    #[serde(default)]
    pub audio_caption: Option<String>,
    /// The first frame that a method may start from; relative to the case file.
    #[serde(default)]
    pub first_frame: Option<String>,
    /// Everybody in the case.
    pub subjects: Vec<CaseSubject>,
    /// Everything that is to be said, in order.
    pub utterances: Vec<CaseUtterance>,
}

fn yes() -> bool {
    true
}

impl Record for Case {
    const NAME: &'static str = "case";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.case
    }

    fn columns() -> Vec<Column> {
        let subject = vec![
            text("anchor", "the anchor in the prompt, for example <sub1>"),
            text(
                "face",
                "the reference picture, relative to the case file; null without one",
            ),
            text(
                "voice",
                "the reference voice, relative to the case file; null without one",
            ),
            boolean(
                "visible",
                "whether the subject is to be seen; false for an off-screen speaker",
            ),
            boolean(
                "speaks",
                "whether the subject is to speak; false for a silent identity",
            ),
        ];
        let utterance = vec![
            text("anchor", "who says it, for example <sub1>"),
            text("text", "the words"),
            text("language", "Whisper's language code"),
        ];
        vec![
            text("case", "the case's name, unique in its file"),
            integer("subset", "1: one subject, 2: dialogue of two, 3: complex"),
            text("prompt", "the structured prompt with anchors and <S> ... <E>"),
            text(
                "audio_caption",
                "what is to be heard, in words; null when nothing is said of it",
            ),
            text(
                "first_frame",
                "the first frame that a method may start from, relative to the case file; null without one",
            ),
            list("subjects", Kind::Struct(subject), "everybody in the case"),
            list(
                "utterances",
                Kind::Struct(utterance),
                "everything that is to be said, in order",
            ),
        ]
    }
}
