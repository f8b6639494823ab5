//! The captions a clip has before any model writes one.

use crate::{
    Record,
    column::{Column, text},
};
use serde::{Deserialize, Serialize};

/// Given captions of a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caption {
    /// The clip.
    pub clip: String,
    /// What is seen: scene and actions in free text; null when nobody wrote one.
    pub caption: Option<String>,
    /// What is heard: prosody and surroundings; null when nobody wrote one.
    pub audio_caption: Option<String>,
    /// Where they come from: `row` (the corpus' own row) or `ingest` (a manifest of the user's).
    pub origin: String,
}

impl Record for Caption {
    const NAME: &'static str = "caption";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            text(
                "caption",
                "what is seen, in free text; null when nobody wrote one",
            ),
            text(
                "audio_caption",
                "what is heard, in free text; null when nobody wrote one",
            ),
            text("origin", "row or ingest"),
        ]
    }
}
