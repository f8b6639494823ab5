//! The two stages of a run: `generation` gives each listed clip its case, `score` its readings.

use std::{collections::HashMap, path::Path, sync::Arc};

use omni_media::Span;
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Generation, Listing, Score};
use serde_json::{Value, json};

use super::{outputs::Found, paradigm::Paradigm};
use crate::{
    metric::{Metric, Reading},
    take::{Scored, Taken, Unscored, measure},
};

/// Stands in place of the readings of a clip that is not there or cannot be decoded.
pub const MISSING: &str = "missing_output";
/// Stands in place of a reading that a paradigm does not have.
pub const NOT_APPLICABLE: &str = "not_applicable";

/// Gives each listed clip its record.
pub struct Answer {
    rows: HashMap<String, Generation>,
}

impl Answer {
    /// Of what was found.
    pub fn new(found: &Found) -> Answer {
        let rows = found.generations.iter();
        Answer {
            rows: rows.map(|row| (row.generation.clone(), row.clone())).collect(),
        }
    }
}

impl Stage for Answer {
    type In = One<Listing>;
    type Out = Generation;
    const NAME: &'static str = "generation";
    const VERSION: u32 = 1;

    /// Nothing: the listing's row carries a mark over all that goes into the record.
    fn settings(&self) -> Value {
        json!({})
    }

    fn run(&self, One(listing): Self::In, _cx: &Cx<'_>) -> Result<Vec<Generation>, Fault> {
        let row = self.rows.get(&listing.clip);
        let row =
            row.ok_or_else(|| Fault::stop(format!("bug: `{}` was listed and is no clip", listing.clip)))?;
        Ok(vec![row.clone()])
    }
}

/// Scores a clip with all metrics, decoding it once.
pub struct Scorer {
    metrics: Vec<Arc<dyn Metric>>,
    paradigm: Paradigm,
}

impl Scorer {
    /// With these metrics; readings that the paradigm does not have stay absent.
    pub fn new(metrics: Vec<Arc<dyn Metric>>, paradigm: Paradigm) -> Scorer {
        Scorer { metrics, paradigm }
    }
}

impl Stage for Scorer {
    type In = One<Generation>;
    type Out = Score;
    const NAME: &'static str = "score";
    const VERSION: u32 = 2;

    fn settings(&self) -> Value {
        let of = |metric: &Arc<dyn Metric>| json!({ "metric": metric.name(), "version": metric.version(), "settings": metric.settings() });
        json!({ "metrics": self.metrics.iter().map(of).collect::<Vec<_>>(), "paradigm": self.paradigm.name() })
    }

    /// Decoders are written in C, and what they are given was made by somebody else's program.
    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(clip): Self::In, cx: &Cx<'_>) -> Result<Vec<Score>, Fault> {
        let path = cx.root.join(&clip.media);
        if !path.is_file() {
            return Ok(self.missing(&clip, "missing", None));
        }
        let going = || !cx.cancel.is_cancelled();
        match self.measure(&path, &clip, &going) {
            Ok(taken) => Ok(self.rows(&clip, taken)),
            Err(Unscored {
                fault: Fault::Drop(reason),
                why,
            }) => Ok(self.missing(&clip, &reason, why.as_deref())),
            Err(Unscored { fault, .. }) => Err(fault),
        }
    }
}

impl Scorer {
    fn measure(
        &self,
        path: &Path,
        clip: &Generation,
        going: &dyn Fn() -> bool,
    ) -> Result<Vec<Taken>, Unscored> {
        let metrics: Vec<&dyn Metric> = self.metrics.iter().map(AsRef::as_ref).collect();
        measure(path, &Span::default(), clip.given.clone(), &metrics, going)
    }

    /// Every reading of every metric, absent; `why` is what the decoder said.
    fn missing(&self, clip: &Generation, output: &str, why: Option<&str>) -> Vec<Score> {
        let detail = match why {
            Some(why) => json!({ "output": output, "why": why }),
            None => json!({ "output": output }),
        };
        let taken = self.metrics.iter().map(|metric| Taken {
            metric: metric.name(),
            readings: metric
                .readings()
                .into_iter()
                .map(|reading| absent(reading, MISSING))
                .collect(),
            detail: Some(detail.clone()),
        });
        self.rows(clip, taken.collect())
    }

    fn rows(&self, clip: &Generation, taken: Vec<Taken>) -> Vec<Score> {
        taken
            .into_iter()
            .flat_map(|taken| self.of_metric(clip, taken))
            .collect()
    }

    fn of_metric(&self, clip: &Generation, taken: Taken) -> Vec<Score> {
        let (metric, mut detail) = (taken.metric, taken.detail);
        let row = |reading: Scored| {
            let has = self.paradigm.has(&reading.name);
            Score {
                scored: clip.generation.clone(),
                method: Some(clip.method.clone()),
                case: Some(clip.case.clone()),
                subset: Some(clip.given.subset),
                seed: clip.seed,
                metric: metric.to_owned(),
                reading: reading.name,
                value: reading.value.filter(|_| has),
                absent: match has {
                    true => reading.absent,
                    false => Some(NOT_APPLICABLE.to_owned()),
                },
                unit: reading.unit.to_owned(),
                better: reading.better.word().to_owned(),
                detail: detail.take().map(|detail| detail.to_string()),
            }
        };
        taken.readings.into_iter().map(row).collect()
    }
}

/// A reading that could not be made.
pub(super) fn absent(reading: Reading, word: &str) -> Scored {
    Scored {
        name: reading.name,
        value: None,
        absent: Some(word.to_owned()),
        unit: reading.unit,
        better: reading.better,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metric::{Better, Scoring},
        take::TakeInfo,
    };
    use omni_pipeline::{Cancel, Pack};

    /// Has two readings, of which a paradigm may lack the second.
    struct Pair;

    impl Metric for Pair {
        fn name(&self) -> &'static str {
            "ib"
        }

        fn version(&self) -> u32 {
            1
        }

        fn readings(&self) -> Vec<Reading> {
            ["ib_s", "ib_a"]
                .map(|name| Reading::plain(name, Some("toy"), Better::Higher))
                .to_vec()
        }

        fn settings(&self) -> Value {
            json!({})
        }

        fn start<'a>(&'a self, _take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
            Err(Fault::drop("never"))
        }
    }

    fn scorer(paradigm: Paradigm) -> Scorer {
        Scorer::new(vec![Arc::new(Pair)], paradigm)
    }

    fn clip() -> Generation {
        Generation {
            generation: "ours/a.3".into(),
            method: "ours".into(),
            case: "a".into(),
            seed: Some(3),
            media: "a.3.mp4".into(),
            ..Generation::default()
        }
    }

    fn run(scorer: &Scorer, root: &Path) -> Vec<Score> {
        let pack = Pack::new();
        let cx = Cx::new("ours/a.3", root, &pack, &Cancel::default());
        scorer.run(One(clip()), &cx).unwrap()
    }

    #[test]
    fn what_is_missing_or_broken_has_rows_without_numbers_and_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let rows = run(&scorer(Paradigm::Joint), folder.path());
        assert_eq!(rows.len(), 2);
        assert!(
            rows.iter()
                .all(|row| row.value.is_none() && row.absent.as_deref() == Some(MISSING))
        );
        assert_eq!(rows[0].detail.as_deref(), Some(r#"{"output":"missing"}"#));
        assert_eq!((rows[1].detail.as_ref(), rows[1].seed), (None, Some(3)));
        std::fs::write(folder.path().join("a.3.mp4"), "no clip").unwrap();
        let rows = run(&scorer(Paradigm::Joint), folder.path());
        let detail: Value = serde_json::from_str(rows[0].detail.as_deref().unwrap()).unwrap();
        assert_eq!(detail["output"], "unreadable");
        assert!(
            detail["why"]
                .as_str()
                .is_some_and(|why| why.contains("cannot be read")),
            "{detail}"
        );
        assert_eq!(rows[0].absent.as_deref(), Some(MISSING));
    }

    #[test]
    fn a_reading_that_the_paradigm_lacks_is_not_applicable() {
        let taken = Taken {
            metric: "ib",
            readings: Pair
                .readings()
                .into_iter()
                .map(|reading| Scored {
                    value: Some(0.5),
                    absent: None,
                    ..absent(reading, MISSING)
                })
                .collect(),
            detail: None,
        };
        let rows = scorer(Paradigm::AudioDriven).rows(&clip(), vec![taken]);
        assert_eq!((rows[0].value, rows[0].absent.as_deref()), (Some(0.5), None));
        assert_eq!(
            (rows[1].value, rows[1].absent.as_deref()),
            (None, Some(NOT_APPLICABLE))
        );
        assert_eq!(rows[1].reading, "ib_a@toy");
    }
}
