//! A person across clips.

use crate::{
    Record,
    column::{Column, Kind, integer, list, text},
};
use serde::{Deserialize, Serialize};

/// One appearance of the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityMember {
    /// The clip.
    pub clip: String,
    /// The person's number in that clip, from 1.
    pub subject: i64,
    /// The person's voice in that clip; null when silent.
    pub speaker: Option<String>,
}

/// A person with all pictures and voices found of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the identity: hash of its first member, stable under reordering.
    pub identity: String,
    /// The appearances, by clip and subject.
    pub members: Vec<IdentityMember>,
    /// Mean face vector, unit length.
    pub face: Vec<f64>,
    /// Mean voice vector, unit length; empty when the person is never heard.
    pub voice: Vec<f64>,
}

impl Record for Identity {
    const NAME: &'static str = "identity";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.identity
    }

    fn columns() -> Vec<Column> {
        let member = vec![
            text("clip", "the clip"),
            integer("subject", "number of the person in that clip, from 1"),
            text("speaker", "the person's voice in that clip; null when silent"),
        ];
        vec![
            text("identity", "name of the identity"),
            list(
                "members",
                Kind::Struct(member),
                "the appearances, by clip and subject",
            ),
            list("face", Kind::F64, "mean face vector, unit length"),
            list(
                "voice",
                Kind::F64,
                "mean voice vector, unit length; empty when never heard",
            ),
        ]
    }
}
