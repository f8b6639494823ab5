//! The object-safe face of a stage, so that stages of different types stand in one list.

use crate::{Inputs, Need, Stage};
use omni_schemas::Record;
use serde_json::Value;

/// Any stage. There is one implementation, for every [`Stage`]; nobody writes another.
pub trait AnyStage: Send + Sync {
    /// What the plan has to know.
    fn describe(&self) -> Description;
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
}
