//! What a listing found: every row, and everything else worth a line, in exactly one state.

use super::Error;
use omni_pipeline::ListingSink;
use serde::Serialize;
use std::collections::BTreeMap;

/// `states` adds up to `rows + others`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Rows of the corpus' own index, damaged ones included.
    pub rows: u64,
    /// Media without a row, and events of cut or damaged files.
    pub others: u64,
    /// All of them by state; those that were kept are `ok`.
    pub states: BTreeMap<String, u64>,
}

impl Counts {
    /// A row that became a clip.
    pub(super) fn kept(&mut self) {
        self.count("ok");
    }

    /// A row that did not.
    pub(super) fn dropped(
        &mut self,
        sink: &mut dyn ListingSink,
        key: &str,
        state: &str,
    ) -> Result<(), Error> {
        self.count(state);
        Ok(sink.drop(key, state)?)
    }

    /// Something that is no row.
    pub(super) fn other(&mut self, sink: &mut dyn ListingSink, key: &str, state: &str) -> Result<(), Error> {
        self.others += 1;
        self.dropped(sink, key, state)
    }

    fn count(&mut self, state: &str) {
        *self.states.entry(state.to_owned()).or_default() += 1;
    }
}
