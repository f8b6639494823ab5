//! One run: its header, its cases, and its readings by name and case.

use crate::{
    aggregate::{NOT_SCORED, over_seeds},
    run::{
        Header,
        header::{FILE, HeaderError, ReadingSpec},
        stages::MISSING,
    },
};
use omni_pipeline::readers::Run;
use omni_schemas::{Case, Generation, Score};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no run of `omni bench run`.
    #[error("{}: no `{}` in it; `omni bench run --out {}` makes one", .0.display(), FILE, .0.display())]
    NoRun(PathBuf),
    /// The header cannot be read, or is another layout's.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The scores are not those of the header's clips, or damaged.
    #[error("{}: {what}; run `omni bench run` again", out.display())]
    Scores {
        /// The output folder.
        out: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A part of the run cannot be read.
    #[error(transparent)]
    Run(#[from] omni_pipeline::Error),
}

/// A reading of one case: the mean over its seeds, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseValue {
    /// The case's subset.
    pub subset: i64,
    /// The number; finite.
    pub value: Result<f64, String>,
}

/// One reading of every case.
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    /// What it is.
    pub of: ReadingSpec,
    /// The metric it belongs to.
    pub metric: String,
    /// By case.
    pub cases: BTreeMap<String, CaseValue>,
}

/// One generated clip of a case.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Its key.
    pub generation: String,
    /// Its seed, where a case was generated several times.
    pub seed: Option<i64>,
    /// Its file.
    pub media: PathBuf,
    /// Its readings by full name.
    pub readings: BTreeMap<String, Result<f64, String>>,
    /// What a metric's readings were made from.
    pub details: BTreeMap<String, Value>,
}

/// A case and its clips.
#[derive(Clone, Debug)]
pub struct CaseOf {
    /// The case; its paths can be opened as they are.
    pub case: Case,
    /// Its clips, by seed.
    pub clips: Vec<Clip>,
}

/// A run of one method.
#[derive(Clone, Debug)]
pub struct MethodRun {
    /// Its folder.
    pub out: PathBuf,
    /// How it was made.
    pub header: Header,
    /// The cases by name, with their clips.
    pub cases: BTreeMap<String, CaseOf>,
    /// The readings by full name.
    pub readings: BTreeMap<String, Readings>,
}

impl MethodRun {
    /// Reads what `omni bench run --out OUT` left.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(out: &Path) -> Result<MethodRun, ReadError> {
        let header = Header::read(out).map_err(|error| match error {
            HeaderError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ReadError::NoRun(out.to_owned())
            }
            other => other.into(),
        })?;
        let damaged = |what: String| ReadError::Scores {
            out: out.to_owned(),
            what,
        };
        let run = Run::open(out).map_err(|error| damaged(without_remedy(&error)))?;
        let mut cases = BTreeMap::new();
        let mut places = BTreeMap::new();
        for generation in run.table::<Generation>()? {
            let generation = generation?;
            let name = generation.case.clone();
            let own = cases.entry(name.clone()).or_insert_with(|| CaseOf {
                case: generation.given,
                clips: Vec::new(),
            });
            places.insert(generation.generation.clone(), (name, own.clips.len()));
            own.clips.push(Clip {
                generation: generation.generation,
                seed: generation.seed,
                media: header.outputs.folder.join(generation.media),
                readings: BTreeMap::new(),
                details: BTreeMap::new(),
            });
        }
        for score in run.table::<Score>()? {
            let score = score?;
            let clip = places
                .get(&score.scored)
                .and_then(|(case, n)| cases.get_mut(case)?.clips.get_mut(*n));
            let Some(clip) = clip else {
                return Err(damaged(format!(
                    "`{}` was scored and is no clip of the run",
                    score.scored
                )));
            };
            if let Some(detail) = score.detail.as_deref() {
                let detail = serde_json::from_str(detail)
                    .map_err(|error| damaged(format!("detail of `{}`: {error}", score.scored)))?;
                clip.details.insert(score.metric, detail);
            }
            let absent = score.absent.unwrap_or_else(|| "nan".to_owned());
            let value = score.value.filter(|value| value.is_finite()).ok_or(absent);
            clip.readings.insert(score.reading, value);
        }
        Ok(MethodRun {
            out: out.to_owned(),
            readings: readings(&header, &cases),
            header,
            cases,
        })
    }

    /// The name of the method.
    pub fn method(&self) -> &str {
        &self.header.method
    }

    /// What is wrong when scores that were made are not there any more, with the remedy; `None` for a whole run. A clip
    /// that was dropped never had any.
    pub fn lost(&self) -> Option<String> {
        let outputs = &self.header.outputs;
        let dropped = |clip: &Clip| {
            outputs
                .dropped
                .iter()
                .any(|one| one.generation == clip.generation)
        };
        let all = self.header.metrics.iter().flat_map(|metric| &metric.readings);
        let names: Vec<&str> = all.map(|reading| reading.name.as_str()).collect();
        let scored =
            |clip: &&Clip| dropped(clip) || names.iter().all(|name| clip.readings.contains_key(*name));
        let clips = self.cases.values().flat_map(|case| &case.clips);
        let lost = outputs.clips.saturating_sub(clips.filter(scored).count());
        (lost > 0).then(|| {
            format!(
                "{}: a part of the run is gone: of {lost} of {} clips the scores are not in {} any more (not_scored); \
                 run `omni bench run` into it again",
                self.method(),
                outputs.clips,
                self.out.display()
            )
        })
    }

    /// The reading, where the paradigm has it.
    pub fn reading(&self, name: &str) -> Option<&Readings> {
        self.readings.get(name)
    }
}

/// The words of an error about the runner's own files, without the remedy of another command.
fn without_remedy(error: &omni_pipeline::Error) -> String {
    let words = error.to_string();
    words
        .strip_suffix("; run `omni curate` again")
        .unwrap_or(&words)
        .to_owned()
}

/// Every reading of the header that applies, with a value or a word for every case of the run.
fn readings(header: &Header, cases: &BTreeMap<String, CaseOf>) -> BTreeMap<String, Readings> {
    let mut out = BTreeMap::new();
    let failed: BTreeMap<&str, &str> = header.failed().into_iter().collect();
    for metric in &header.metrics {
        for of in metric.readings.iter().filter(|of| of.applies) {
            let own = cases.iter().map(|(name, case)| {
                let value = CaseValue {
                    subset: case.case.subset,
                    value: over_seeds(case.clips.iter().map(|clip| read(clip, &of.name, &failed))),
                };
                (name.clone(), value)
            });
            out.insert(
                of.name.clone(),
                Readings {
                    of: of.clone(),
                    metric: metric.metric.clone(),
                    cases: own.collect(),
                },
            );
        }
    }
    out
}

/// A clip's reading, or why there is none.
fn read<'a>(clip: &'a Clip, reading: &str, failed: &BTreeMap<&str, &str>) -> Result<f64, &'a str> {
    match clip.readings.get(reading) {
        Some(Ok(value)) => Ok(*value),
        Some(Err(absent)) => Err(absent),
        // A clip that took the decoder down has no rows at all.
        None if failed.contains_key(clip.generation.as_str()) => Err(MISSING),
        None => Err(NOT_SCORED),
    }
}
