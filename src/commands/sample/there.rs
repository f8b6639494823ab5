//! Whether a clip is there as it was made: the JSON beside it has the mark of every file that belongs to it.

use super::made::FRAMES;
use anyhow::Context;
use omni_manifests::fingerprint;
use omni_model::checkpoint::FileMark;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Endings of what belongs to a clip. The JSON goes first and comes last: without it nothing counts.
const ENDINGS: [&str; 6] = ["json", "mp4", FRAMES, "wav", "safetensors", "png"];

/// How a clip stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All of it is there, as asked for and as it was made.
    Whole,
    /// Nothing is known of it.
    Absent,
    /// It is there and does not count, for this reason.
    Stale(String),
}

/// How the clip `stem` of a folder stands against these settings, with frames or as an mp4.
pub fn state(folder: &Path, stem: &str, settings: &Value, frames: bool) -> State {
    let json = format!("{stem}.json");
    let bytes = match fs::read(folder.join(&json)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::Absent,
        Err(error) => return State::Stale(format!("{json} cannot be read: {error}")),
    };
    let Ok(told) = serde_json::from_slice::<Value>(&bytes) else {
        return State::Stale(format!("{json} is damaged"));
    };
    if told["request_hash"] != fingerprint(settings) {
        return State::Stale("it was made with other settings".to_owned());
    }
    let media = format!("{stem}.{}", if frames { FRAMES } else { "mp4" });
    if told["media"] != media.as_str() {
        return State::Stale(format!("{media} is asked for, {} is there", told["media"]));
    }
    let files: Option<BTreeMap<String, FileMark>> = serde_json::from_value(told["files"].clone()).ok();
    let Some(files) = files.filter(|files| !files.is_empty()) else {
        return State::Stale(format!("{json} has no marks of its files"));
    };
    let fault = files.iter().find_map(|(name, mark)| {
        let why = differs(&folder.join(name), mark)?;
        Some(format!("{name} {why}"))
    });
    fault.map_or(State::Whole, State::Stale)
}

/// Why a file is not the one that was marked.
fn differs(path: &Path, mark: &FileMark) -> Option<String> {
    let Ok(data) = fs::metadata(path) else {
        return Some("is gone".to_owned());
    };
    if data.len() != mark.bytes {
        return Some(format!("has {} bytes, not {}", data.len(), mark.bytes));
    }
    match FileMark::of(path) {
        Ok(now) if now == *mark => None,
        Ok(_) => Some("has other bytes than it was written with".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

/// The marks of a clip's files as they lie there now, by their path in the folder.
pub fn marks(folder: &Path, paths: &[PathBuf]) -> anyhow::Result<BTreeMap<String, FileMark>> {
    let mut all = BTreeMap::new();
    for path in paths {
        for file in below(path)? {
            let name = file.strip_prefix(folder).unwrap_or(&file);
            all.insert(name.to_string_lossy().into_owned(), FileMark::of(&file)?);
        }
    }
    Ok(all)
}

/// A file itself, or the files of a folder.
fn below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths
        .collect::<io::Result<_>>()
        .with_context(|| path.display().to_string())
}

/// Removes all that there is of a clip, its JSON first.
pub fn remove(folder: &Path, stem: &str) -> anyhow::Result<()> {
    for ending in ENDINGS {
        let path = folder.join(format!("{stem}.{ending}"));
        let removed = match fs::symlink_metadata(&path) {
            Err(_) => continue,
            Ok(data) if data.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
        };
        removed.with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    Ok(())
}
