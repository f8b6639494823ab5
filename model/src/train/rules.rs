//! The table of a recipe that says what becomes of which weight.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Larger step sizes are taken for a slip of the keyboard.
const HIGHEST_LR: f64 = 0.1;

/// What becomes of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is trained.
    Train,
    /// It stays, and a low-rank addition to it is trained; what is no matrix of a Linear stays.
    Lora,
    /// It stays.
    Freeze,
}

/// One line of the table of weights; the first line that fits a key counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRule {
    /// Patterns of keys; `*` stands for anything.
    pub keys: Vec<String>,
    /// What becomes of them.
    pub mode: Mode,
    /// Step size; with `lr_end` the first one.
    #[serde(default)]
    pub lr: Option<f64>,
    /// Step size at the end of the run, reached along a cosine.
    #[serde(default)]
    pub lr_end: Option<f64>,
    /// Steps over which the step size rises from zero.
    #[serde(default)]
    pub warmup: u64,
    /// Inner width of a low-rank addition.
    #[serde(default)]
    pub rank: Option<usize>,
    /// A low-rank addition is multiplied with `alpha / rank` [default: rank].
    #[serde(default)]
    pub alpha: Option<f64>,
}

impl WeightRule {
    /// Whether a key falls under it, if no line before it takes it.
    pub(super) fn takes(&self, key: &str) -> bool {
        self.keys.iter().any(|pattern| fits(pattern, key))
    }

    /// Fails on a line that cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        let keys = self.keys.join(", ");
        let refuse = |why: String| Err(Error::Recipe(format!("weights `{keys}`: {why}")));
        if self.keys.is_empty() {
            return refuse("`keys` is empty".to_owned());
        }
        if self.mode == Mode::Freeze {
            return if self.lr.is_some() {
                refuse("frozen, and yet `lr` is set".to_owned())
            } else {
                Ok(())
            };
        }
        let Some(lr) = self.lr else {
            return refuse("`lr` is missing".to_owned());
        };
        for lr in [Some(lr), self.lr_end].into_iter().flatten() {
            if !(lr > 0.0 && lr <= HIGHEST_LR) {
                return refuse(format!(
                    "`lr` is {lr}, it lies above 0 and is at most {HIGHEST_LR} (1e-4 is usual)"
                ));
            }
        }
        match (self.mode, self.rank) {
            (Mode::Lora, None | Some(0)) => refuse("`rank` of the low-rank additions is missing".to_owned()),
            (Mode::Train, Some(_)) => refuse("`rank` is set, and mode is not \"lora\"".to_owned()),
            _ => Ok(()),
        }
    }

    /// The step size of step `step` of `steps`.
    pub fn lr_at(&self, step: u64, steps: u64) -> f64 {
        let first = self.lr.unwrap_or(0.0);
        let rise = if step < self.warmup {
            (step + 1) as f64 / (self.warmup + 1) as f64
        } else {
            1.0
        };
        let Some(end) = self.lr_end else {
            return first * rise;
        };
        let span = steps.saturating_sub(self.warmup + 1).max(1);
        let done = step.saturating_sub(self.warmup).min(span) as f64 / span as f64;
        (end + (first - end) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())) * rise
    }
}

/// Whether `pattern`, where `*` stands for anything, fits the whole of `text`.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether a weight of this name and shape decays: matrices do; norms, biases, modulations and embeddings do not.
pub fn decays(name: &str, shape: &[usize]) -> bool {
    shape.len() >= 2 && name.ends_with(".weight") && !name.contains("modulation")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{BUILT_IN, Recipe};

    #[test]
    fn patterns_fit_whole_keys() {
        for (pattern, key, wanted) in [
            ("ocf.*", "ocf.in_text.weight", true),
            ("ocf.*", "mtp_ca.ocf.x", false),
            (
                "*_fusion*",
                "video_model.blocks.0.cross_attn.k_fusion.weight",
                true,
            ),
            ("*", "anything", true),
            ("video_model.*.bias", "video_model.a.b.bias", true),
            ("video_model.*.bias", "video_model.a.b.weight", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(fits(pattern, key), wanted, "{pattern} {key}");
        }
    }

    #[test]
    fn step_sizes_rise_then_follow_the_cosine_to_its_end() {
        let recipe = Recipe::parse(BUILT_IN[0].1).unwrap();
        let rule = &recipe.weights[0];
        assert_eq!(rule.warmup, 500);
        assert!(rule.lr_at(0, 20_000) < 1e-6);
        assert!((rule.lr_at(500, 20_000) - 1e-4).abs() < 1e-12);
        assert!((rule.lr_at(19_999, 20_000) - 1e-5).abs() < 1e-12);
        let middle = rule.lr_at(500 + (20_000 - 501) / 2, 20_000);
        assert!((middle - 5.5e-5).abs() < 1e-7, "{middle}");
    }
}
