//! A clip that a training recipe takes.

use crate::{
    Record,
    column::{Column, Kind, integer, list, text},
};
use serde::{Deserialize, Serialize};

/// Where the references of one person lie: rows of `face_ref` and `voice_ref`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The person in this clip, from 1.
    pub subject: i64,
    /// The person's voice in this clip; null when silent.
    pub speaker: Option<String>,
    /// The clip the picture is taken from.
    pub face_clip: String,
    /// The person's number there.
    pub face_subject: i64,
    /// The clip the voice is taken from; null when silent.
    pub voice_clip: Option<String>,
    /// The voice's name there.
    pub voice_speaker: Option<String>,
}

/// One row of `omni select`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The clip.
    pub clip: String,
    /// The media file, relative to the corpus root.
    pub path: String,
    /// Number of people in the picture.
    pub subjects: i64,
    /// Number of voices.
    pub speakers: i64,
    /// Languages spoken, sorted.
    pub languages: Vec<String>,
    /// `in_pair` or `cross_pair`.
    pub origin: String,
    /// The prompt.
    pub prompt: String,
    /// Licence of the clip, where the corpus tells.
    pub licence: Option<String>,
    /// Where each person's references lie, by subject; for `cross_pair` never in this clip.
    pub references: Vec<Reference>,
}

impl Record for Selection {
    const NAME: &'static str = "selection";
    const VERSION: u32 = 2;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            text("path", "media file below the corpus root"),
            integer("subjects", "number of people in the picture"),
            integer("speakers", "number of voices"),
            list("languages", Kind::Text, "languages spoken, sorted"),
            text("origin", "in_pair or cross_pair"),
            text("prompt", "the prompt"),
            text("licence", "licence of the clip, where the corpus tells"),
            list(
                "references",
                Kind::Struct(Reference::columns()),
                "where each person's references lie; for cross_pair never in this clip",
            ),
        ]
    }
}

impl Reference {
    /// The fields of a reference.
    pub fn columns() -> Vec<Column> {
        vec![
            integer("subject", "number of the person in this clip, from 1"),
            text("speaker", "the person's voice in this clip; null when silent"),
            text("face_clip", "the clip whose face_ref is taken"),
            integer("face_subject", "the person's number there"),
            text(
                "voice_clip",
                "the clip whose voice_ref is taken; null when silent",
            ),
            text("voice_speaker", "the voice's name there"),
        ]
    }
}
