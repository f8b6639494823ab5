//! What a metric is: fed frame by frame, so that a clip is decoded once for all of them and never held whole.

use omni_media::Frame;
use omni_pipeline::Fault;
use serde::Serialize;
use serde_json::Value;

use crate::take::{Sound, TakeInfo};

/// Which way a reading is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The more the better.
    Higher,
    /// The less the better.
    Lower,
    /// Near zero is best.
    NearZero,
}

impl Better {
    /// As records spell it: `higher`, `lower`, `near_zero`.
    pub fn word(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
            Better::NearZero => "near_zero",
        }
    }
}

/// One number that a metric gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Its full name: with `@network` where it is not made with the paper's networks.
    pub name: String,
    /// Its unit; empty for plain numbers.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
}

impl Reading {
    /// A plain number; `networks` are those it is made with when they are not the paper's.
    pub fn plain(name: &str, networks: Option<&str>, better: Better) -> Reading {
        let suffix = networks
            .map(|networks| format!("@{networks}"))
            .unwrap_or_default();
        Reading {
            name: format!("{name}{suffix}"),
            unit: "",
            better,
        }
    }
}

/// A reading of one clip.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The number; finite.
    Value(f64),
    /// Why there is none, in one fixed word.
    Absent(&'static str),
}

impl Outcome {
    /// The value, or the word for its absence; a number that is not finite is absent as `nan`.
    pub fn of(value: Option<f64>, otherwise: &'static str) -> Outcome {
        match value {
            Some(value) if value.is_finite() => Outcome::Value(value),
            Some(_) => Outcome::Absent("nan"),
            None => Outcome::Absent(otherwise),
        }
    }
}

/// What a metric makes of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The readings, in the order of [`Metric::readings`].
    pub outcomes: Vec<Outcome>,
    /// What they were made from, for whoever asks why (docs/metrics.md); decides nothing.
    pub detail: Option<Value>,
}

impl From<Vec<Outcome>> for Measured {
    fn from(outcomes: Vec<Outcome>) -> Measured {
        Measured {
            outcomes,
            detail: None,
        }
    }
}

impl Measured {
    /// Readings and what they were made from.
    pub fn with(outcomes: Vec<Outcome>, detail: Value) -> Measured {
        Measured {
            outcomes,
            detail: Some(detail),
        }
    }
}

/// A kind of measurement.
pub trait Metric: Send + Sync {
    /// Its name, as `--metrics` takes it.
    fn name(&self) -> &'static str;
    /// Raised when the same clip should now give other numbers.
    fn version(&self) -> u32;
    /// What it gives, in order.
    fn readings(&self) -> Vec<Reading>;
    /// All that changes the result, hashes of networks included.
    fn settings(&self) -> Value;
    /// Whether it looks at frames.
    fn sees(&self) -> bool {
        false
    }
    /// Whether it listens to the sound.
    fn hears(&self) -> bool {
        false
    }
    /// Begins with a clip.
    ///
    /// # Errors
    /// [`Fault::Drop`] when the readings of this clip are absent for a reason; [`Fault::Stop`] when nothing can go on.
    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault>;
}

/// A metric at work on one clip. The sound comes whole and first, then every frame in order.
pub trait Scoring {
    /// The sound; not called for a clip without.
    ///
    /// # Errors
    /// As [`Metric::start`].
    fn audio(&mut self, _sound: &Sound) -> Result<(), Fault> {
        Ok(())
    }
    /// The next frame; not called for a clip without pictures.
    ///
    /// # Errors
    /// As [`Metric::start`].
    fn frame(&mut self, _frame: &Frame<'_>) -> Result<(), Fault> {
        Ok(())
    }
    /// Asked after the last frame: whether every frame is to be shown once more, from the first. It is asked once, and
    /// a second decode is paid for by those who want it only.
    ///
    /// # Errors
    /// As [`Metric::start`].
    fn again(&mut self) -> Result<bool, Fault> {
        Ok(false)
    }
    /// The readings, in the order of [`Metric::readings`], and what they were made from.
    ///
    /// # Errors
    /// As [`Metric::start`].
    fn finish(self: Box<Self>) -> Result<Measured, Fault>;
}
