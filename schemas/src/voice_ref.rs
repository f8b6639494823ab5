//! The reference voice of a speaker in a clip.

use crate::{
    Blob, Record,
    column::{Column, Kind, integer, list, real, record, text},
};
use serde::{Deserialize, Serialize};

/// A sound file that stands for a speaker's voice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceRef {
    /// The clip.
    pub clip: String,
    /// The speaker's name in the transcript.
    pub speaker: String,
    /// Start of the longest continuous stretch, seconds in the clip.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// What is said in the reference.
    pub text: String,
    /// Its language.
    pub language: String,
    /// `source_segment`: cut from the clip. `resynthesised`: spoken anew in that voice.
    pub origin: String,
    /// Samples a second of the wave file.
    pub rate: i64,
    /// Mean voice vector over all the speaker's speech, unit length; empty when too short to embed.
    pub vector: Vec<f64>,
    /// The network that made the vector, with the first 12 digits of its hash.
    pub embedder: String,
    /// Median pitch, Hz; null when no voiced frame was found.
    pub pitch_hz: Option<f64>,
    /// Words (or characters, for languages written without spaces) a second.
    pub rate_per_second: Option<f64>,
    /// Cosine of the reference's own voice vector to `vector`; null for `source_segment`.
    pub similarity: Option<f64>,
    /// Errors of the local recogniser on the reference against `text`, a word (or character); null for `source_segment`.
    pub word_errors: Option<f64>,
    /// The wave file (16-bit mono).
    pub audio: Blob,
}

impl Record for VoiceRef {
    const NAME: &'static str = "voice_ref";
    const VERSION: u32 = 2;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            text("speaker", "name of the speaker in the transcript"),
            real("start", "start of the stretch, seconds in the clip"),
            real("end", "its end, seconds"),
            text("text", "what is said in the reference"),
            text("language", "its language"),
            text("origin", "source_segment or resynthesised"),
            integer("rate", "samples a second of the wave file"),
            list(
                "vector",
                Kind::F64,
                "mean voice vector, unit length; empty when too short",
            ),
            text("embedder", "the network that made the vector"),
            real("pitch_hz", "median pitch, Hz; null when nothing is voiced"),
            real("rate_per_second", "words or characters a second"),
            real(
                "similarity",
                "cosine of the reference's own voice vector to `vector`; null for source_segment",
            ),
            real(
                "word_errors",
                "errors of the local recogniser on the reference, a word; null for source_segment",
            ),
            record("audio", Blob::columns(), "the wave file, 16-bit mono"),
        ]
    }

    fn blobs_mut(&mut self) -> Vec<&mut Blob> {
        vec![&mut self.audio]
    }
}
