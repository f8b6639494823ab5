//! A generated clip of a case: what a method made of it.

use crate::{
    Record,
    case::Case,
    column::{Column, integer, record, text},
};
use serde::{Deserialize, Serialize};

/// A generated clip, present or missing, and the case that it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The key: `<method>/<case>`, with `.<seed>` behind it where a case was generated several times.
    pub generation: String,
    /// Who made it, as the report calls it.
    pub method: String,
    /// How it was made: `joint`, `video`, `audio_driven` or `first_frame`; decides which readings apply.
    pub paradigm: String,
    /// The case's name.
    pub case: String,
    /// The seed in the file's name; `None` where a case was generated once.
    #[serde(default)]
    pub seed: Option<i64>,
    /// The clip, relative to the folder of outputs; there need not be such a file.
    pub media: String,
    /// The case itself; its paths can be opened as they are.
    pub given: Case,
}

impl Record for Generation {
    const NAME: &'static str = "generation";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.generation
    }

    fn columns() -> Vec<Column> {
        vec![
            text(
                "generation",
                "the key: <method>/<case>, with .<seed> where a case was generated several times",
            ),
            text("method", "who made it, as the report calls it"),
            text("paradigm", "joint, video, audio_driven or first_frame"),
            text("case", "the case's name"),
            integer(
                "seed",
                "the seed in the file's name; null where a case was generated once",
            ),
            text(
                "media",
                "the clip, relative to the folder of outputs; there need not be such a file",
            ),
            record(
                "given",
                Case::columns(),
                "the case itself; its paths can be opened as they are",
            ),
        ]
    }
}
