//! The object-safe face of a stage, so that stages of different types stand in one list.

use crate::{
    Error, Inputs, Need, Stage,
    lanes::{self, StepEnd, Work},
};
use omni_schemas::Record;
use serde_json::Value;

/// Any stage. There is one implementation, for every [`Stage`]; nobody writes another.
pub trait AnyStage: Send + Sync {
    /// What the plan has to know.
    fn describe(&self) -> Description;

    /// Makes one part.
    ///
    /// # Errors
    /// When the stage stops, drops too much, or the part cannot be written; nothing is left behind then.
    fn process(&self, work: &Work<'_>) -> Result<StepEnd, Error>;
}

/// A stage without its types.
#[derive(Debug, Clone)]
pub struct Description {
    /// `Stage::NAME`.
    pub stage: &'static str,
    /// `Stage::VERSION`.
    pub version: u32,
    /// Name of the record it makes.
    pub record: &'static str,
    /// Version of that record.
    pub record_version: u32,
    /// The records it reads.
    pub needs: Vec<Need>,
    /// `Stage::settings`.
    pub settings: Value,
    /// `Stage::guarded`.
    pub guarded: bool,
}

impl<S: Stage> AnyStage for S {
    fn describe(&self) -> Description {
        Description {
            stage: S::NAME,
            version: S::VERSION,
            record: S::Out::NAME,
            record_version: S::Out::VERSION,
            needs: S::In::needs(),
            settings: self.settings(),
            guarded: self.guarded(),
        }
    }

    fn process(&self, work: &Work<'_>) -> Result<StepEnd, Error> {
        lanes::run_step(self, work)
    }
}
