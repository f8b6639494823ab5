//! `OUT/bench.json`: what a table of scores must say of itself (docs/bench.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use omni_manifests::read_receipt;
use omni_pipeline::readers::Run;
use omni_schemas::Score;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Found, Method, Paradigm, base,
    mark::hex,
    stages::{MISSING, Scorer},
};
use crate::{metric::Metric, networks::Networks};
use omni_pipeline::Stage;

/// Name of the file below the output folder.
pub const FILE: &str = "bench.json";
/// Version of its layout; a reader refuses another one.
pub const FORMAT: &str = "omni-bench/1";

/// Everything that a table of scores must say of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Version of this program.
    pub omni_version: String,
    /// Who made the clips.
    pub method: String,
    /// How they are made.
    pub paradigm: Paradigm,
    /// Which networks.
    pub profile: String,
    /// What they ran on, for example `cpu`.
    pub device: String,
    /// `1`, `2`, `3` or `all`.
    pub subset: String,
    /// The cases.
    pub cases: Cases,
    /// The clips.
    pub outputs: Outputs,
    /// The metrics that ran, in order.
    pub metrics: Vec<Measure>,
    /// Metrics that could not run.
    pub left_out: Vec<LeftOut>,
    /// Metrics of which the paradigm has no reading.
    pub not_applicable: Vec<String>,
    /// The networks that were loaded, by role.
    pub networks: Vec<NetworkUsed>,
    /// Roles of the profile whose published weights this project has never run.
    pub unseen_roles: Vec<UnseenRole>,
    /// The decoder, for example `avcodec 59.37.100, avformat 59.27.100`.
    pub decoder: String,
    /// How many clips have each reading, and why the others have not; by clip, not by case.
    pub readings_counts: Vec<ReadingCount>,
    /// The folder of the scores, below the output folder.
    pub score_dir: String,
}

/// The case file, and what was chosen of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cases {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its cases.
    pub total: usize,
    /// Those of the subset.
    pub chosen: usize,
    /// Those of the subset, by subset.
    pub by_subset: BTreeMap<String, usize>,
}

/// The folder of clips, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outputs {
    /// The folder.
    pub folder: PathBuf,
    /// Clips that are there or should be.
    pub clips: usize,
    /// The seeds that occur, rising.
    pub seeds: Vec<i64>,
    /// Keys of clips that are not there.
    pub missing: Vec<String>,
    /// Clips that cannot be decoded.
    pub broken: Vec<Trouble>,
    /// Clips that took the process down, or hung, twice: they have no rows.
    pub dropped: Vec<Trouble>,
    /// Files that belong to no case.
    pub unclaimed: Vec<String>,
}

/// A clip that could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its key.
    pub generation: String,
    /// Why, in one fixed word.
    pub reason: String,
    /// What the decoder said, where it was the decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Outputs {
    /// Takes in the row of a clip that has no readings at all: one that went away while the run was at work is missing, too.
    fn take(&mut self, score: &Score) {
        if score.absent.as_deref() != Some(MISSING) {
            return;
        }
        // The first row of a metric tells.
        let detail = score
            .detail
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok());
        let detail: Value = detail.unwrap_or_default();
        let Some(reason) = detail["output"].as_str() else {
            return;
        };
        let name = &score.scored;
        if reason == "missing" {
            if !self.missing.contains(name) {
                self.missing.push(name.clone());
            }
        } else if !self.broken.iter().any(|known| known.generation == *name) {
            self.broken.push(Trouble {
                generation: name.clone(),
                reason: reason.to_owned(),
                why: detail["why"].as_str().map(str::to_owned),
            });
        }
    }
}

/// A metric that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name.
    pub metric: String,
    /// Version of the metric and of what it does to pictures and sound before a network.
    pub version: u32,
    /// All that changes its result, hashes of networks included.
    pub settings: Value,
    /// What it gives.
    pub readings: Vec<ReadingSpec>,
}

/// A reading of a metric that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingSpec {
    /// Full name, networks included where they are not the paper's.
    pub name: String,
    /// Name without networks.
    pub base: String,
    /// Unit, empty for plain numbers.
    pub unit: String,
    /// `higher`, `lower` or `near_zero`.
    pub better: String,
    /// Whether the paradigm has it.
    pub applies: bool,
}

/// A metric that could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub metric: String,
    /// The fixed word: `no_network` or `no_weights`.
    pub absent: String,
    /// In words, with the remedy.
    pub why: String,
}

/// A network that was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUsed {
    /// What it is for.
    pub role: String,
    /// Its id.
    pub id: String,
    /// Its files.
    pub files: Vec<FileUsed>,
    /// Whether it is the one the paper names for the role.
    pub of_paper: bool,
}

/// A file of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUsed {
    /// Its name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// A role whose published weights this project has never run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnseenRole {
    /// The role.
    pub role: String,
    /// The network.
    pub id: String,
}

/// How many clips have a reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingCount {
    /// The reading's full name.
    pub reading: String,
    /// Clips with a value.
    pub values: usize,
    /// Clips without, by reason.
    pub absent: BTreeMap<String, usize>,
}

/// A header that cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder holds no header of this layout.
    #[error("{path}: {what}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] omni_pipeline::Error),
    /// A part cannot be read.
    #[error(transparent)]
    Manifest(#[from] omni_manifests::Error),
}

/// What a header is made of, before anything is scored.
pub struct Before<'a> {
    /// Who made the clips, and how.
    pub method: &'a Method,
    /// Networks and profile.
    pub networks: &'a Networks,
    /// The metrics that are going to run.
    pub metrics: &'a [std::sync::Arc<dyn Metric>],
    /// Those that cannot.
    pub left_out: Vec<LeftOut>,
    /// `1`, `2`, `3` or `all`.
    pub subset: &'a str,
    /// The cases.
    pub cases: Cases,
    /// The folder of the clips.
    pub folder: &'a Path,
    /// What lies there.
    pub found: &'a Found,
}

impl Before<'_> {
    /// The header as far as it is known.
    pub fn header(self) -> Header {
        let paradigm = self.method.paradigm;
        let measure = |metric: &std::sync::Arc<dyn Metric>| measure(metric.as_ref(), paradigm);
        Header {
            format: FORMAT.to_owned(),
            omni_version: env!("CARGO_PKG_VERSION").to_owned(),
            method: self.method.name.clone(),
            paradigm,
            profile: self.networks.profile().to_owned(),
            device: self.networks.device(),
            subset: self.subset.to_owned(),
            cases: self.cases,
            outputs: Outputs {
                folder: self.folder.to_owned(),
                clips: self.found.generations.len(),
                seeds: self.found.seeds.clone(),
                missing: self.found.missing.clone(),
                unclaimed: self.found.unclaimed.clone(),
                ..Outputs::default()
            },
            metrics: self.metrics.iter().map(measure).collect(),
            left_out: self.left_out,
            not_applicable: paradigm.lacks().into_iter().map(str::to_owned).collect(),
            networks: self.networks.opened(),
            unseen_roles: self.networks.unseen(),
            decoder: omni_media::ffmpeg_version(),
            readings_counts: Vec::new(),
            score_dir: String::new(),
        }
    }
}

fn measure(metric: &dyn Metric, paradigm: Paradigm) -> Measure {
    let spec = |reading: crate::metric::Reading| ReadingSpec {
        base: base(&reading.name).to_owned(),
        unit: reading.unit.to_owned(),
        better: reading.better.word().to_owned(),
        applies: paradigm.has(&reading.name),
        name: reading.name,
    };
    Measure {
        metric: metric.name().to_owned(),
        version: metric.version(),
        settings: metric.settings(),
        readings: metric.readings().into_iter().map(spec).collect(),
    }
}

impl Header {
    /// Adds what the finished run in `out` says: counts, broken and dropped clips, the scores' folder.
    ///
    /// # Errors
    /// When the run cannot be read.
    pub fn counted(mut self, out: &Path) -> Result<Header, HeaderError> {
        let run = Run::open(out)?;
        let mut counts: BTreeMap<String, ReadingCount> = BTreeMap::new();
        for score in run.table::<Score>()? {
            let score = score?;
            self.outputs.take(&score);
            count(&mut counts, &score);
        }
        self.outputs
            .broken
            .sort_by(|a, b| a.generation.cmp(&b.generation));
        self.outputs.dropped = troubles(drops(&run)?);
        self.readings_counts = self
            .metrics
            .iter()
            .flat_map(|metric| &metric.readings)
            .filter_map(|reading| counts.remove(&reading.name))
            .collect();
        let stages = &run.file().stages;
        let score = stages.iter().find(|stage| stage.stage == Scorer::NAME);
        self.score_dir = score.map(|stage| stage.dir.clone()).unwrap_or_default();
        Ok(self)
    }

    /// Writes it into an output folder: under a temporary name, then renamed.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, out: &Path) -> Result<(), HeaderError> {
        let path = out.join(FILE);
        let layout = |error: serde_json::Error| HeaderError::Layout {
            path: path.clone(),
            what: error.to_string(),
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(layout)?;
        text.push(b'\n');
        Ok(omni_manifests::write_file(&path, &text)?)
    }

    /// Reads that of an output folder.
    ///
    /// # Errors
    /// [`HeaderError::Io`] when there is none, [`HeaderError::Layout`] when it is another layout's.
    pub fn read(out: &Path) -> Result<Header, HeaderError> {
        let path = out.join(FILE);
        let text = std::fs::read(&path).map_err(|source| HeaderError::Io {
            path: path.clone(),
            source,
        })?;
        let layout = |what: String| HeaderError::Layout {
            path: path.clone(),
            what,
        };
        let value: Value = serde_json::from_slice(&text).map_err(|error| layout(error.to_string()))?;
        match value["format"].as_str() {
            Some(FORMAT) => serde_json::from_value(value).map_err(|error| layout(error.to_string())),
            Some(other) => Err(layout(format!(
                "it is laid out as `{other}`, this program reads `{FORMAT}`"
            ))),
            None => Err(layout("it is no header of a benchmark's run".to_owned())),
        }
    }

    /// The metric that gives a reading, by the reading's full name.
    pub fn metric_of(&self, reading: &str) -> Option<&Measure> {
        let mut own = self.metrics.iter();
        own.find(|metric| metric.readings.iter().any(|one| one.name == reading))
    }

    /// Clips without any reading, each with its reason: missing, broken, dropped.
    pub fn failed(&self) -> Vec<(&str, &str)> {
        let outputs = &self.outputs;
        let missing = outputs.missing.iter().map(|name| (name.as_str(), "missing"));
        let others = outputs.broken.iter().chain(&outputs.dropped);
        missing
            .chain(others.map(|one| (one.generation.as_str(), one.reason.as_str())))
            .collect()
    }

    /// Clips of which some network gave no number.
    pub fn nan(&self) -> usize {
        let of = |count: &ReadingCount| count.absent.get("nan").copied().unwrap_or_default();
        self.readings_counts.iter().map(of).sum()
    }
}

fn count(counts: &mut BTreeMap<String, ReadingCount>, score: &Score) {
    let entry = counts
        .entry(score.reading.clone())
        .or_insert_with(|| ReadingCount {
            reading: score.reading.clone(),
            values: 0,
            absent: BTreeMap::new(),
        });
    match (&score.value, &score.absent) {
        (Some(_), _) => entry.values += 1,
        (None, why) => *entry.absent.entry(why.clone().unwrap_or_default()).or_default() += 1,
    }
}

/// Clips that the runner dropped, with the reason.
fn drops(run: &Run) -> Result<BTreeSet<(String, String)>, HeaderError> {
    let mut out = BTreeSet::new();
    for stage in &run.file().stages {
        for path in run.record_parts(&stage.record)? {
            out.extend(read_receipt(&path)?.drops);
        }
    }
    Ok(out)
}

fn troubles(found: BTreeSet<(String, String)>) -> Vec<Trouble> {
    let trouble = |(generation, reason)| Trouble {
        generation,
        reason,
        why: None,
    };
    found.into_iter().map(trouble).collect()
}

/// SHA-256 of a file, 64 hex digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    Ok(hex(&Sha256::digest(std::fs::read(path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_clip_that_went_away_at_work_is_missing_and_a_broken_one_says_why() {
        let row = |clip: &str, detail: Option<Value>| Score {
            scored: clip.into(),
            absent: Some(MISSING.into()),
            detail: detail.map(|detail| detail.to_string()),
            ..Score::default()
        };
        let mut outputs = Outputs {
            missing: vec!["ours/a".into()],
            ..Outputs::default()
        };
        for clip in ["ours/a", "ours/b", "ours/b"] {
            outputs.take(&row(clip, Some(json!({ "output": "missing" }))));
        }
        outputs.take(&row("ours/b", None));
        outputs.take(&row(
            "ours/c",
            Some(json!({ "output": "unreadable", "why": "is empty" })),
        ));
        assert_eq!(outputs.missing, ["ours/a", "ours/b"]);
        assert_eq!(outputs.broken.len(), 1);
        assert_eq!(outputs.broken[0].why.as_deref(), Some("is empty"));
    }
}
