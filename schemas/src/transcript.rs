//! Who says what, when.

use crate::{
    Record,
    column::{Column, Kind, list, real, text},
};
use serde::{Deserialize, Serialize};

/// One utterance of one speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The speaker's name in this clip, for example `S1`.
    pub speaker: String,
    /// The words.
    pub text: String,
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
    /// ISO 639-1 code, for example `en`; `und` when it could not be told.
    pub language: String,
}

/// The transcript of a clip (paper, section 3: `{speaker, text, start, end, language}` segments and one caption).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The clip.
    pub clip: String,
    /// The utterances, by start.
    pub segments: Vec<Segment>,
    /// One sentence on prosody and surroundings; null when no captioner ran.
    pub audio_caption: Option<String>,
    /// What made it: `local:<network>` or `ingest`.
    pub origin: String,
}

impl Record for Transcript {
    const NAME: &'static str = "transcript";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let segment = vec![
            text("speaker", "name of the speaker in this clip"),
            text("text", "the words"),
            real("start", "seconds"),
            real("end", "seconds"),
            text("language", "ISO 639-1 code, und when unknown"),
        ];
        vec![
            text("clip", "key of the clip"),
            list("segments", Kind::Struct(segment), "the utterances, by start"),
            text(
                "audio_caption",
                "prosody and surroundings in one sentence; null when no captioner ran",
            ),
            text("origin", "what made the transcript"),
        ]
    }
}
