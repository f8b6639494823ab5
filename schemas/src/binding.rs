//! Which face is which voice.

use crate::{
    Record,
    column::{Column, Kind, integer, list, real, text},
};
use serde::{Deserialize, Serialize};

/// `Binding::source` of the binder that needs no service.
pub const SOURCE_LOCAL: &str = "local";

/// A person in the picture and the voice that is theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundSubject {
    /// The person, from 1.
    pub subject: i64,
    /// The speaker; null for a silent face.
    pub speaker: Option<String>,
    /// How far the choice lies above the next best (another face, or nobody), grey levels; null for a silent face.
    pub margin: Option<f64>,
}

/// The binding of a clip: every subject once, every speaker at most once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The clip.
    pub clip: String,
    /// The people, by number.
    pub subjects: Vec<BoundSubject>,
    /// Speakers whose face is not in the picture.
    pub offscreen: Vec<String>,
    /// Which binder: [`SOURCE_LOCAL`] or the name of a service's model.
    pub source: String,
}

impl Record for Binding {
    const NAME: &'static str = "binding";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let subject = vec![
            integer("subject", "number of the person, from 1"),
            text("speaker", "the speaker; null for a silent face"),
            real(
                "margin",
                "distance to the next best choice (another face, or nobody), grey levels; null for a silent face",
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
            text("source", "which binder"),
        ]
    }
}
