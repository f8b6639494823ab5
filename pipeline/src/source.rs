//! The root of a plan: it lists the clips of a corpus and never opens media.

use omni_schemas::Listing;
use serde_json::Value;

/// Lists the clips of a corpus.
pub trait Source: Send + Sync {
    /// The name, as `--source` spells it.
    fn name(&self) -> &'static str;

    /// All that decides which rows are listed and what is in them (filters, mappings), but not the paths and not the
    /// content of the corpus: rows are identified by their own content, so a grown corpus disturbs only the shards
    /// the new rows fall into.
    fn settings(&self) -> Value;

    /// A cheap token that changes whenever the corpus might list other rows (sizes and times of index files, a hash
    /// over file names); `None` when there is none. With the same token as last time the listing is not read again.
    fn stamp(&self) -> Option<String> {
        None
    }

    /// Streams every row of the corpus in a fixed order, once: kept or dropped, never both, never twice.
    ///
    /// # Errors
    /// When the corpus cannot be read, and whatever the sink returns.
    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError>;
}

/// Where a source puts its rows. What is kept and what is dropped add up to what is listed.
pub trait ListingSink {
    /// Keeps a row.
    ///
    /// # Errors
    /// When the listing cannot be written or the run was cancelled; the source passes it on.
    fn keep(&mut self, row: Listing) -> Result<(), SourceError>;

    /// Drops a row, for a reason of one fixed word such as `no_file`.
    ///
    /// # Errors
    /// As `keep`.
    fn drop(&mut self, key: &str, reason: &str) -> Result<(), SourceError>;
}

/// Why a corpus could not be listed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(pub Box<dyn std::error::Error + Send + Sync>);

impl SourceError {
    /// Wraps an error or a message.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}
