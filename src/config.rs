//! `omni.toml` of the working folder: what a user would otherwise type every time.

use crate::exit::usage;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Name of the file.
pub const FILE: &str = "omni.toml";

/// The settings of a working folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The output folder.
    pub out: Option<PathBuf>,
    /// Which networks: `open`, `research` or `paper`.
    pub profile: Option<String>,
    /// What they run on: `cpu` or `cuda:0`.
    pub device: Option<String>,
    /// Where networks and libraries lie.
    pub store: Option<PathBuf>,
    /// ONNX Runtime's library, if not the store's own.
    pub onnxruntime: Option<PathBuf>,
    /// The corpus root of each source.
    pub roots: BTreeMap<String, PathBuf>,
    /// Metrics with which `omni curate` scores the clips.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<String>,
    /// What `omni bench run` scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench: Option<BenchConfig>,
}

/// `[bench]`: what `omni bench run` scores when no flag says otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BenchConfig {
    /// The case file.
    pub cases: Option<PathBuf>,
    /// The folder of the clips.
    pub outputs: Option<PathBuf>,
    /// Who made them.
    pub method: Option<String>,
    /// How they are made: video, audio_driven, first_frame or joint.
    pub paradigm: Option<String>,
    /// The output folder.
    pub out: Option<PathBuf>,
    /// Which networks, where these are to be others than `curate`'s.
    pub profile: Option<String>,
    /// Only these metrics.
    pub metrics: Vec<String>,
    /// Which faces the sync readings are of: speaking or all-tracks.
    pub sync_mode: Option<String>,
    /// By which rules words are compared: whisper or seedtts.
    pub wer_protocol: Option<String>,
}

impl Config {
    /// Reads `omni.toml` of the working folder; everything is absent when there is none.
    pub fn load() -> anyhow::Result<Self> {
        Self::read(Path::new(FILE))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                text[..span.start.min(text.len())].matches('\n').count() + 1
            });
            let mut names = error.message().split('`').skip(1).step_by(2).map(str::to_owned);
            let wrong = names.next().unwrap_or_default();
            let known: Vec<String> = names.collect();
            let hint = omni_pipeline::nearest(&wrong, known.iter().map(String::as_str));
            let hint = hint
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            usage(format!(
                "{}, line {line}: {}{hint}",
                path.display(),
                error.message().trim()
            ))
        })
    }

    /// The folder of networks and libraries: the setting, `OMNI_CACHE`, or the user's cache folder.
    pub fn store_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable("OMNI_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("omni")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".cache/omni")))
            .ok_or_else(|| usage("no cache folder: set `store` in omni.toml, or OMNI_CACHE, or HOME"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_named_with_its_line_and_the_nearest_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "out = 'x'\nprofil = 'open'\n").unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("did you mean `profile`"),
            "{error}"
        );
    }
}
