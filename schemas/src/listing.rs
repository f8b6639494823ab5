//! What a source says of a clip before anything opens it: the root of a plan.

use crate::{
    Record,
    column::{Column, Kind, integer, list, real, text},
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

/// Another clip in which the corpus says one of the same people is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partner {
    /// The other clip.
    pub clip: String,
    /// How alike the words for the two are, 0..=1, as given.
    pub text_similarity: f64,
    /// How alike the two pictures are, 0..=1, as given.
    pub image_similarity: f64,
}

/// One clip as its corpus lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// The part of the picture that is the clip, `[x0, y0, x1, y1]` pixels; null: all of it.
    pub crop: Option<[f64; 4]>,
    /// Number in its file of the clip's first picture, where the corpus counts pictures.
    pub first_frame: Option<i64>,
    /// Where the corpus' own annotation of the clip lies: a path below the root, with the range of bytes.
    pub annotation: Option<String>,
    /// Clips in which the corpus says one of the same people is seen, the most alike first.
    pub partners: Vec<Partner>,
}

impl Record for Listing {
    const NAME: &'static str = "listing";
    const VERSION: u32 = 2;

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
            list(
                "crop",
                Kind::F64,
                "the part of the picture that is the clip: x0, y0, x1, y1 in pixels; null: all",
            ),
            integer(
                "first_frame",
                "number in its file of the clip's first picture, where the corpus counts",
            ),
            text(
                "annotation",
                "where the corpus' annotation lies: path!/first byte+length/key",
            ),
            list(
                "partners",
                Kind::Struct(Partner::columns()),
                "clips in which the corpus says one of the same people is seen",
            ),
        ]
    }
}

impl Partner {
    /// The fields of a partner.
    pub fn columns() -> Vec<Column> {
        vec![
            text("clip", "the other clip"),
            real("text_similarity", "how alike the words for the two are, 0..1"),
            real("image_similarity", "how alike the two pictures are, 0..1"),
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
