//! Where the bytes of an artifact lie: in the tar beside the part that holds the row.

use crate::column::{Column, integer, text};
use serde::{Deserialize, Serialize};

/// A pointer to bytes in the tar of the same part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Blob {
    /// Member name in the tar, for example `clip/sub1.png`.
    pub name: String,
    /// Offset of the first content byte in the tar file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// BLAKE3 of the content, 64 hex digits.
    pub blake3: String,
    /// Media type, for example `image/png`.
    pub media_type: String,
}

impl Blob {
    /// The fields of a blob column.
    pub fn columns() -> Vec<Column> {
        vec![
            text("name", "member name in the tar beside the part"),
            integer("offset", "offset of the content in the tar, bytes"),
            integer("length", "length of the content, bytes"),
            text("blake3", "BLAKE3 of the content, hex"),
            text("media_type", "media type of the content"),
        ]
    }
}
