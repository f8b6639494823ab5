//! What `omni audit` found wrong with a corpus.

use crate::{
    Record,
    column::{Column, text},
};
use serde::{Deserialize, Serialize};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The clip; for what has no key, the place in the corpus.
    pub clip: String,
    /// The media file below the corpus root; null when no row names one.
    pub path: Option<String>,
    /// What is wrong, in one fixed word: `missing`, `orphan`, `undecodable`, `silent`, `duplicate`, `licence`, `index`.
    pub finding: String,
    /// The reason in the words of the source or the decoder, or the clip that this one repeats.
    pub detail: String,
    /// Licence of the clip, where the corpus tells.
    pub licence: Option<String>,
}

impl Record for AuditRow {
    const NAME: &'static str = "audit_row";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip, or the place in the corpus"),
            text(
                "path",
                "media file below the corpus root; null when no row names one",
            ),
            text(
                "finding",
                "missing, orphan, undecodable, silent, duplicate, licence or index",
            ),
            text(
                "detail",
                "the source's or decoder's reason, or the clip that this one repeats",
            ),
            text("licence", "licence of the clip, where the corpus tells"),
        ]
    }
}
