//! Clips that were forgotten: `OUT/forgotten.json`, written by `omni forget` and read by every run.
//!
//! A clip named there stays in the listing as a bare key, so that shards keep their ids, and is dropped as `forgotten`
//! by every stage that reads the listing alone; all other stages then never see it.

use crate::{Error, files};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Name of the file.
const FILE: &str = "forgotten.json";
/// The reason such a clip is dropped for.
pub(crate) const REASON: &str = "forgotten";

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// Each clip with the shards whose parts held it.
    pub clips: BTreeMap<String, Vec<String>>,
}

impl Forgotten {
    /// The list of an output folder; empty when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read: then nothing may run.
    pub fn read(out: &Path) -> Result<Forgotten, Error> {
        Ok(files::read_json(&out.join(FILE))?.unwrap_or_default())
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, out: &Path) -> Result<(), Error> {
        files::write_json(&out.join(FILE), self)
    }

    /// Whether a clip was forgotten.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.clips.contains_key(key)
    }

    /// Whether `drops` of a stage that reads the listing alone name every forgotten clip of a shard.
    pub(crate) fn kept_out(&self, shard: &str, drops: &BTreeMap<String, String>) -> bool {
        let here = self
            .clips
            .iter()
            .filter(|(_, shards)| shards.iter().any(|id| id == shard));
        here.into_iter().all(|(key, _)| drops.contains_key(key))
    }
}
