//! A clip that a training recipe takes.

use crate::{
    Record,
    column::{Column, Kind, integer, list, text},
};
use serde::{Deserialize, Serialize};

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
}

impl Record for Selection {
    const NAME: &'static str = "selection";
    const VERSION: u32 = 1;

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
        ]
    }
}
