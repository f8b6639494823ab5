//! What a part says about itself.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The receipt in a part's footer: all that decides whether the part is still wanted, and nothing that differs
/// between two equal runs (no times, hosts, ranks).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Name of the record. `write_part` fills it in.
    #[serde(default)]
    pub record: String,
    /// Version of the record. `write_part` fills it in.
    #[serde(default)]
    pub record_version: u32,
    /// Name of the stage that made the rows.
    pub stage: String,
    /// Its version.
    pub stage_version: u32,
    /// Fingerprint of the step, 64 hex digits.
    pub fingerprint: String,
    /// Name of the shard.
    pub shard: String,
    /// Number of rows. `write_part` fills it in.
    #[serde(default)]
    pub rows: u64,
    /// Keys without rows and why (key to reason).
    pub drops: BTreeMap<String, String>,
    /// What was read: each stage with the check of its part; for a manifest made from a whole run, its fingerprint.
    pub inputs: BTreeMap<String, String>,
    /// The stage's settings.
    pub settings: serde_json::Value,
    /// Size and hash of the tar beside the part; none when there is no tar.
    pub tar: Option<TarSeal>,
    /// BLAKE3 of the whole part with these 64 digits taken as zeros. It lies beside the receipt in the
    /// footer: `write_part` ignores what is given, the readers fill it in.
    #[serde(default)]
    pub check: String,
}

/// Size and hash of a finished tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TarSeal {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the whole file, 64 hex digits.
    pub blake3: String,
}
