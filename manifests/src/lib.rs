//! manifests
use omni_schemas::Record;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TarSeal { pub bytes: u64, pub blake3: String }
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt { pub record: String, pub record_version: u32, pub stage: String, pub stage_version: u32, pub fingerprint: String, pub shard: String,
    pub rows: u64, pub drops: BTreeMap<String,String>, pub inputs: BTreeMap<String,String>, pub settings: serde_json::Value, pub tar: Option<TarSeal>, pub check: String }
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);
pub fn read_part<R: Record>(path: &Path) -> Result<(Vec<R>, Receipt), Error> { Err(Error(path.display().to_string())) }
pub fn fingerprint(value: &serde_json::Value) -> String { blake3::hash(value.to_string().as_bytes()).to_hex().to_string() }
