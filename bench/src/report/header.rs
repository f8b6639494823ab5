//! `OUT/bench.json`: how a run was made. Only what a report needs is read; further keys are left alone.

use super::ReadError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fs, path::Path};

/// The first part of the header's format; what follows it is its version.
const FORMAT: &str = "omni-bench/1";
/// The header's file.
pub(super) const FILE: &str = "bench.json";

/// How a run was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// `omni-bench/1`.
    pub format: String,
    /// The program that made it.
    pub omni_version: String,
    /// Who made the clips.
    pub method: String,
    /// `joint`, `video`, `audio_driven` or `first_frame`.
    pub paradigm: String,
    /// The profile of networks: `paper`, `research` or `open`.
    pub profile: String,
    /// What the networks ran on.
    pub device: String,
    /// The cases.
    pub cases: CasesOf,
    /// The clips.
    pub outputs: Outputs,
    /// The metrics that ran.
    pub metrics: Vec<MetricOf>,
    /// The metrics that could not run.
    pub left_out: Vec<LeftOut>,
    /// Metrics the paradigm does not have.
    pub not_applicable: Vec<String>,
    /// The networks that ran.
    pub networks: Vec<NetworkOf>,
    /// Roles whose real weights never ran, neither in the project nor in this run.
    pub unseen_roles: Vec<Unseen>,
    /// The decoder and its version.
    pub decoder: String,
}

/// The case file of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CasesOf {
    /// The file.
    pub file: String,
    /// Its hash.
    pub sha256: String,
    /// Cases of the chosen subsets.
    pub chosen: usize,
}

/// The clips of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outputs {
    /// Their folder.
    pub folder: String,
    /// How many there should be.
    pub clips: usize,
    /// Those that are not there.
    pub missing: Vec<String>,
    /// Those that cannot be read.
    pub broken: Vec<Broken>,
    /// Those that took the decoder down.
    pub dropped: Vec<Broken>,
}

/// A clip that has no readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Broken {
    /// The generation.
    pub generation: String,
    /// Why.
    pub reason: String,
}

/// A metric that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricOf {
    /// The metric.
    pub metric: String,
    /// Its version, and that of its preprocessing.
    pub version: u32,
    /// All that changes its readings, hashes of networks included.
    pub settings: Value,
    /// What it gives.
    pub readings: Vec<ReadingOf>,
}

/// A reading of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadingOf {
    /// The full name: with `@networks` where they are not the paper's.
    pub name: String,
    /// Its unit; empty for plain numbers.
    pub unit: String,
    /// `higher`, `lower` or `near_zero`.
    pub better: String,
    /// Whether the paradigm has it.
    pub applies: bool,
}

/// A metric that could not run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// The metric.
    pub metric: String,
    /// Why, in one fixed word.
    pub absent: String,
    /// Why, in a sentence.
    pub why: String,
}

/// A network that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkOf {
    /// What it is for.
    pub role: String,
    /// Its name.
    pub id: String,
    /// Its files.
    pub files: Vec<FileOf>,
    /// Whether it is the paper's.
    pub of_paper: bool,
}

/// A file of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileOf {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub sha256: String,
}

/// A role whose real weights never ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Unseen {
    /// The role.
    pub role: String,
    /// The network.
    pub id: String,
}

impl Header {
    /// Reads the header of an output folder.
    ///
    /// # Errors
    /// [`ReadError::NoRun`] without one, [`ReadError::Header`] when it is of another format.
    pub fn read(out: &Path) -> Result<Header, ReadError> {
        let path = out.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ReadError::NoRun(out.to_owned()));
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let refuse = |what: String| ReadError::Header {
            path: path.clone(),
            what,
        };
        let header: Header = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        match header.format == FORMAT {
            true => Ok(header),
            false => Err(refuse(format!(
                "its format is `{}`, this program reads `{FORMAT}`; run `omni bench run` again",
                header.format
            ))),
        }
    }

    /// The metric that gives a reading.
    pub fn metric_of(&self, reading: &str) -> Option<&MetricOf> {
        let mut own = self.metrics.iter();
        own.find(|metric| metric.readings.iter().any(|one| one.name == reading))
    }

    /// Clips without any reading: missing, broken, dropped, each with its reason.
    pub fn failed(&self) -> Vec<(&str, &str)> {
        let outputs = &self.outputs;
        let missing = outputs.missing.iter().map(|name| (name.as_str(), "missing"));
        let others = outputs.broken.iter().chain(&outputs.dropped);
        missing
            .chain(others.map(|one| (one.generation.as_str(), one.reason.as_str())))
            .collect()
    }
}
