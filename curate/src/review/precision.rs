//! How often the claims are right: the share of right among right and wrong, with Wilson's 95 % interval (E. B. Wilson,
//! 1927), which holds for few verdicts and for shares near 0 and 1. Unsure verdicts are counted and stand apart.

use super::{Said, Verdict, Verdicts};
use serde::Serialize;
use std::collections::BTreeMap;

/// The two-sided 95 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Verdicts of one route, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Precision {
    /// Verdicts.
    pub right: u64,
    /// Verdicts.
    pub wrong: u64,
    /// Verdicts.
    pub unsure: u64,
    /// Right of right and wrong, 0..=1; null without either.
    pub precision: Option<f64>,
    /// Its 95 % interval.
    pub low: Option<f64>,
    /// Its 95 % interval.
    pub high: Option<f64>,
}

/// What the verdicts on a binding come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Fingerprint of the step that made the claims.
    pub bind: String,
    /// All verdicts on it.
    pub all: Precision,
    /// By who made the claim.
    pub routes: BTreeMap<String, Precision>,
    /// Verdicts on claims of other steps of this folder; not counted.
    pub elsewhere: u64,
}

/// Wilson's interval for `right` of `of`; nothing for none.
pub fn wilson(right: u64, of: u64) -> Option<(f64, f64)> {
    if of == 0 {
        return None;
    }
    let (n, share) = (of as f64, right as f64 / of as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some((
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    ))
}

/// Counts the verdicts on the claims of a step.
pub fn summary(verdicts: &Verdicts, bind: &str) -> Summary {
    let mut summary = Summary {
        bind: bind.to_owned(),
        elsewhere: verdicts.elsewhere(bind),
        ..Summary::default()
    };
    for said in verdicts.of(bind) {
        summary.all.count(said);
        summary.routes.entry(said.route.clone()).or_default().count(said);
    }
    summary.all.close();
    summary.routes.values_mut().for_each(Precision::close);
    summary
}

impl Precision {
    fn count(&mut self, said: &Said) {
        *match said.verdict {
            Verdict::Right => &mut self.right,
            Verdict::Wrong => &mut self.wrong,
            Verdict::Unsure => &mut self.unsure,
        } += 1;
    }

    fn close(&mut self) {
        let of = self.right + self.wrong;
        if let Some((low, high)) = wilson(self.right, of) {
            self.precision = Some(self.right as f64 / of as f64);
            (self.low, self.high) = (Some(low), Some(high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_formula() {
        // Worked out by hand from the formula; all right of n gives n / (n + z^2), and 0 of 5 mirrors 5 of 5.
        let near = |found: Option<(f64, f64)>, low: f64, high: f64| {
            let (a, b) = found.unwrap();
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{a} {b}");
        };
        near(wilson(8, 10), 0.4902, 0.9433);
        near(wilson(100, 100), 0.9630, 1.0);
        near(wilson(0, 5), 0.0, 0.4345);
        near(wilson(5, 5), 0.5655, 1.0);
        assert_eq!(wilson(0, 0), None);
    }
}
