//! What a source says of a clip before anything opens it: the root of a plan.

use crate::{
    Record,
    column::{Column, Kind, list, real, text},
};
use serde::{Deserialize, Serialize};

/// A score that came with the corpus, under the corpus' own name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// The corpus' column name, for example `aesthetic`.
    pub name: String,
    /// The value as given.
    pub value: f64,
}

/// One clip as its corpus lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The key of the clip, unique in the corpus.
    pub clip: String,
    /// The media file, relative to the corpus root, with `/`.
    pub path: String,
    /// Start of the clip inside the file; null: from the beginning.
    pub start: Option<f64>,
    /// End of the clip inside the file; null: to the end.
    pub end: Option<f64>,
    /// The upstream video this clip was cut from, where the corpus tells; clips of one video may share people.
    pub source_video: Option<String>,
    /// The caption that came with the clip.
    pub caption: Option<String>,
    /// The transcript that came with the clip (a side file), as plain text.
    pub transcript: Option<String>,
    /// Scores that came with the clip, sorted by name.
    pub scores: Vec<NamedScore>,
    /// Licence of the clip, where the corpus tells.
    pub licence: Option<String>,
}

impl Record for Listing {
    const NAME: &'static str = "listing";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip, unique in the corpus"),
            text("path", "media file below the corpus root"),
            real("start", "start inside the file, seconds; null: its beginning"),
            real("end", "end inside the file, seconds; null: its end"),
            text(
                "source_video",
                "the video the clip was cut from, where the corpus tells",
            ),
            text("caption", "caption that came with the clip"),
            text("transcript", "transcript that came with the clip"),
            list(
                "scores",
                Kind::Struct(NamedScore::columns()),
                "scores that came with the clip",
            ),
            text("licence", "licence of the clip, where the corpus tells"),
        ]
    }
}

impl NamedScore {
    /// The fields of a named score.
    pub fn columns() -> Vec<Column> {
        vec![
            text("name", "the corpus' column name"),
            real("value", "the value as given"),
        ]
    }
}
