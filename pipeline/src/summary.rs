//! What a run amounts to.

use crate::Waiting;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every clip is kept or dropped.
    Complete,
    /// This worker's share is done; what is pending belongs to other ranks.
    ShareComplete,
    /// Something of this worker's share is pending, because `only` left out stages.
    #[default]
    Pending,
    /// Clips wait for what could not be had in this run, and with them all of their shards; see `Summary::waiting`.
    Waiting,
    /// The run was cancelled.
    Stopped,
    /// The run ended with an error.
    Failed,
}

/// Shards of one stage in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShardCounts {
    /// Parts made.
    pub computed: u64,
    /// Parts that were there.
    pub skipped: u64,
}

/// The numbers of a run, also in `OUT/summary.json`. `listed = kept + the sum of dropped + pending`, always.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Everything the source named: rows and what it dropped. With `limit`, only the rows taken and what it dropped.
    pub listed: u64,
    /// Clips that no step dropped, with every step done.
    pub kept: u64,
    /// Clips dropped, by reason; a clip counts once, under the first stage that dropped it.
    pub dropped: BTreeMap<String, u64>,
    /// Clips neither dropped nor through every step.
    pub pending: u64,
    /// Those of `pending` that belong to other ranks.
    pub elsewhere: u64,
    /// Clips that wait for what could not be had, by stage and cause. They and those of their shards are in `pending`.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// Rows that `limit` left out; not part of `listed`.
    pub beyond_limit: u64,
    /// Seconds of work by stage in this run, as its clips took them: two clips side by side for a second are two
    /// seconds. `listing` is the source's, wall time.
    pub seconds: BTreeMap<String, f64>,
    /// Parts made and found, by stage.
    pub shards: BTreeMap<String, ShardCounts>,
    /// How the run ended.
    pub outcome: Outcome,
}
