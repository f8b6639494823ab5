//! One reading of one clip.

use crate::{
    Record,
    column::{Column, integer, real, text},
};
use serde::{Deserialize, Serialize};

/// A number that a metric gave for a clip, or why there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What was scored: the key of a `generation`, or of a curated clip.
    pub scored: String,
    /// Who made it; `None` for a curated clip.
    pub method: Option<String>,
    /// The case's name; `None` for a curated clip.
    pub case: Option<String>,
    /// The case's subset, 1 to 3; `None` for a curated clip.
    pub subset: Option<i64>,
    /// The seed; `None` where a case was generated once.
    pub seed: Option<i64>,
    /// The metric, for example `face`.
    pub metric: String,
    /// The reading's full name, for example `face_sim@yunet_2023mar+sface_2021dec`; without `@` it is made with the paper's networks.
    pub reading: String,
    /// The number; `None` when it is absent.
    pub value: Option<f64>,
    /// Why it is absent, in one fixed word; `None` when it is not.
    pub absent: Option<String>,
    /// Its unit; empty for plain numbers.
    pub unit: String,
    /// Which way is better: `higher`, `lower` or `near_zero`.
    pub better: String,
    /// What the metric's readings were made from, as JSON (docs/metrics.md); on its first reading only.
    pub detail: Option<String>,
}

impl Record for Score {
    const NAME: &'static str = "score";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.scored
    }

    fn columns() -> Vec<Column> {
        vec![
            text(
                "scored",
                "what was scored: the key of a generation, or of a curated clip",
            ),
            text("method", "who made it; null for a curated clip"),
            text("case", "the case's name; null for a curated clip"),
            integer("subset", "the case's subset, 1 to 3; null for a curated clip"),
            integer("seed", "the seed; null where a case was generated once"),
            text("metric", "the metric, for example face"),
            text(
                "reading",
                "the reading's full name; behind @ stand the networks where they are not the paper's",
            ),
            real("value", "the number; null when it is absent"),
            text(
                "absent",
                "why it is absent, in one fixed word; null when it is not",
            ),
            text("unit", "its unit; empty for plain numbers"),
            text("better", "which way is better: higher, lower or near_zero"),
            text(
                "detail",
                "what the metric's readings were made from, as JSON; on its first reading only",
            ),
        ]
    }
}
