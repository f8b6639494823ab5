//! One run: its header, its cases, and its readings by name and case.

use super::{Header, ReadingOf, header};
use omni_pipeline::readers::Run;
use omni_schemas::{Case, Generation, Record, Score};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no run of `omni bench run`.
    #[error("{}: no `{}` in it; `omni bench run --out {}` makes one", .0.display(), header::FILE, .0.display())]
    NoRun(PathBuf),
    /// The header is damaged or of another version.
    #[error("{}: {what}", path.display())]
    Header {
        /// The header.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
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
    pub of: ReadingOf,
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
        let header = Header::read(out)?;
        let run = Run::open(out)?;
        let mut cases = BTreeMap::new();
        let mut places = BTreeMap::new();
        for generation in generations(&run)? {
            let name = generation.case.clone();
            let own = cases.entry(name.clone()).or_insert_with(|| CaseOf {
                case: generation.given,
                clips: Vec::new(),
            });
            places.insert(generation.generation.clone(), (name, own.clips.len()));
            own.clips.push(Clip {
                generation: generation.generation,
                seed: generation.seed,
                media: Path::new(&header.outputs.folder).join(generation.media),
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
                return Err(ReadError::Header {
                    path: out.join(header::FILE),
                    what: format!("`{}` was scored and is no clip of the run", score.scored),
                });
            };
            if let Some(detail) = score.detail.as_deref() {
                let detail = serde_json::from_str(detail).unwrap_or(Value::Null);
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

    /// The reading, where the paradigm has it.
    pub fn reading(&self, name: &str) -> Option<&Readings> {
        self.readings.get(name)
    }
}

/// The clips in the order of the case file: the rows of the listing's stage, else of the listing itself.
fn generations(run: &Run) -> Result<Vec<Generation>, ReadError> {
    let made = run
        .file()
        .stages
        .iter()
        .any(|stage| stage.record == Generation::NAME);
    let mut out = Vec::new();
    if made {
        for row in run.table::<Generation>()? {
            out.push(row?);
        }
    }
    Ok(out)
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
                    value: over_seeds(case, &of.name, &failed),
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

/// The mean over the seeds that have a value; without one the reason that most of its clips have, of equals the first by
/// name.
fn over_seeds(case: &CaseOf, reading: &str, failed: &BTreeMap<&str, &str>) -> Result<f64, String> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut sum, mut count) = (0.0, 0usize);
    for clip in &case.clips {
        match clip.readings.get(reading) {
            Some(Ok(value)) => {
                sum += value;
                count += 1;
            }
            Some(Err(absent)) => *reasons.entry(absent).or_default() += 1,
            // A clip that took the decoder down has no rows at all.
            None if failed.contains_key(clip.generation.as_str()) => {
                *reasons.entry("missing_output").or_default() += 1;
            }
            None => *reasons.entry("not_scored").or_default() += 1,
        }
    }
    if count > 0 {
        return Ok(sum / count as f64);
    }
    let most = reasons.values().copied().max().unwrap_or_default();
    let why = reasons.into_iter().find(|(_, count)| *count == most);
    Err(why.map_or("not_scored", |(why, _)| why).to_owned())
}
