//! What a clip waits for when nothing is wrong with it: an answer that cannot be had in this run.
//!
//! A step with such a clip leaves no part, because a part is whole or not there; the steps behind it in the shard wait
//! too. All other steps and shards go on. The next run makes the step again.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a clip stays pending. Clips that wait for the same are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Whom it waits for, for example a service's name.
    pub on: String,
    /// A fixed word (`closed`, `budget`).
    pub why: String,
    /// What happened and what to do, for a person.
    pub what: String,
}

/// Clips of one stage that wait for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The stage.
    pub stage: String,
    /// Why; `what` is that of one of the clips.
    pub wait: Wait,
    /// How many.
    pub clips: u64,
}

/// Counts clips by stage and cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waits(BTreeMap<(String, String, String), Waiting>);

impl Waits {
    pub(crate) fn add(&mut self, stage: &str, wait: Wait) {
        self.put(Waiting {
            stage: stage.to_owned(),
            wait,
            clips: 1,
        });
    }

    fn put(&mut self, waiting: Waiting) {
        let Waiting { stage, wait, clips } = &waiting;
        let key = (stage.clone(), wait.on.clone(), wait.why.clone());
        let clips = *clips;
        self.0
            .entry(key)
            .and_modify(|known| known.clips += clips)
            .or_insert(waiting);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By stage, whom and why.
    pub(crate) fn list(self) -> Vec<Waiting> {
        self.0.into_values().collect()
    }

    pub(crate) fn extend(&mut self, more: Vec<Waiting>) {
        more.into_iter().for_each(|waiting| self.put(waiting));
    }
}
