//! Two runs side by side: paired differences over the cases that both have, and what differs in one case ([`why`]).

mod faces;
pub mod why;

use crate::{
    report::MethodRun,
    stats::{Mean, SEED, mean, paired},
};
use omni_schemas::Case;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// No reading is made in one way in both.
    #[error("`{a}` and `{b}` share no reading made in one way\n{}", refused.iter().map(|one| format!("{}: {}", one.reading, one.why)).collect::<Vec<_>>().join("\n"))]
    NothingShared {
        /// One method.
        a: String,
        /// The other.
        b: String,
        /// What stands in the way, by reading.
        refused: Vec<Refused>,
    },
    /// No case is in both.
    #[error("`{a}` and `{b}` share no case: were they made for one case file?")]
    NoCase {
        /// One method.
        a: String,
        /// The other.
        b: String,
    },
}

/// A reading that is not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The reading.
    pub reading: String,
    /// Why not.
    pub why: String,
}

/// Which run is better in a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval of the difference holds only values that are better for A.
    ABetter,
    /// The interval holds only values that are better for B.
    BBetter,
    /// The interval holds zero.
    Undecided,
    /// Both have a value in fewer than [`ENOUGH`] cases: an interval over so few says little.
    TooFew,
}

/// Cases from which on a difference is judged.
pub const ENOUGH: usize = 5;

/// A case and how far it moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The case.
    pub case: String,
    /// A's value.
    pub a: f64,
    /// B's value.
    pub b: f64,
    /// `b - a`; for a reading that is best near zero `|b| - |a|`.
    pub difference: f64,
}

/// One reading of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its full name.
    pub reading: String,
    /// `higher`, `lower` or `near_zero`.
    pub better: String,
    /// A's mean over the cases that both have.
    pub a: f64,
    /// B's.
    pub b: f64,
    /// The mean difference with its paired interval; `of` counts the cases in either.
    pub difference: Mean,
    /// Which is better.
    pub verdict: Verdict,
    /// Cases in which only one has a value: case, and the word of the one that has none.
    pub one_sided: Vec<(String, String)>,
    /// The cases that moved most, farthest first.
    pub moved: Vec<Moved>,
}

/// Two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// One method.
    pub a: String,
    /// The other.
    pub b: String,
    /// The readings that both have, in the order of the table.
    pub readings: Vec<Compared>,
    /// The readings that are not compared.
    pub refused: Vec<Refused>,
    /// Cases of one name that ask for different clips; they are left out.
    pub other_cases: Vec<String>,
}

/// Compares two runs. `most` cases that moved are named for each reading.
///
/// # Errors
/// [`CompareError`] when nothing can be compared.
pub fn compare(a: &MethodRun, b: &MethodRun, most: usize) -> Result<Comparison, CompareError> {
    let (names, other_cases) = shared_cases(a, b);
    if names.is_empty() {
        return Err(CompareError::NoCase {
            a: a.method().to_owned(),
            b: b.method().to_owned(),
        });
    }
    let refused = refused(a, b);
    let no = |reading: &str| refused.iter().any(|one| one.reading == reading);
    let mut shared: Vec<&str> = a
        .readings
        .keys()
        .map(String::as_str)
        .filter(|reading| b.reading(reading).is_some() && !no(reading))
        .collect();
    if shared.is_empty() {
        return Err(CompareError::NothingShared {
            a: a.method().to_owned(),
            b: b.method().to_owned(),
            refused,
        });
    }
    shared.sort_by_key(|reading| crate::report::rank(reading));
    let readings = shared
        .into_iter()
        .filter_map(|reading| one(a, b, reading, &names, most))
        .collect();
    Ok(Comparison {
        a: a.method().to_owned(),
        b: b.method().to_owned(),
        readings,
        refused,
        other_cases,
    })
}

/// Cases of both that ask for the same, by name; and those of one name that do not.
fn shared_cases(a: &MethodRun, b: &MethodRun) -> (Vec<String>, Vec<String>) {
    let both = a
        .cases
        .iter()
        .filter_map(|(name, own)| Some((name, own, b.cases.get(name)?)));
    let (same, other): (Vec<_>, Vec<_>) =
        both.partition(|(_, one, other)| asks(&one.case) == asks(&other.case));
    let names = |list: Vec<(&String, _, _)>| list.into_iter().map(|(name, ..)| name.clone()).collect();
    (names(same), names(other))
}

/// What a case asks for, without the places of its files.
pub(crate) fn asks(case: &Case) -> Value {
    let people: Vec<Value> = case
        .subjects
        .iter()
        .map(|one| {
            let given = |path: &Option<String>| path.is_some();
            json!([
                one.anchor,
                one.visible,
                one.speaks,
                given(&one.face),
                given(&one.voice)
            ])
        })
        .collect();
    json!({ "subset": case.subset, "prompt": case.prompt, "people": people, "said": case.utterances })
}

/// Readings of one base that are made in two ways, and full names whose settings differ.
fn refused(a: &MethodRun, b: &MethodRun) -> Vec<Refused> {
    let mut out = Vec::new();
    for reading in a.readings.keys().filter(|reading| b.reading(reading).is_some()) {
        if let Some(why) = crate::report::difference(a, b, reading) {
            out.push(Refused {
                reading: reading.clone(),
                why,
            });
        }
    }
    let bare = |reading: &str| reading.split('@').next().unwrap_or_default().to_owned();
    let bases: BTreeSet<String> = a.readings.keys().map(|reading| bare(reading)).collect();
    for base in bases {
        let of = |run: &MethodRun| -> Vec<String> {
            run.readings
                .keys()
                .filter(|one| bare(one) == base)
                .cloned()
                .collect()
        };
        let (one, other) = (of(a), of(b));
        if other.is_empty() || one.iter().any(|name| other.contains(name)) {
            continue;
        }
        out.push(Refused {
            why: format!(
                "`{}` (profile {}) has `{}`, `{}` (profile {}) has `{}`: other networks are another column",
                a.method(),
                a.header.profile,
                one.join("`, `"),
                b.method(),
                b.header.profile,
                other.join("`, `")
            ),
            reading: base,
        });
    }
    out
}

fn one(a: &MethodRun, b: &MethodRun, reading: &str, names: &[String], most: usize) -> Option<Compared> {
    let (one, other) = (a.reading(reading)?, b.reading(reading)?);
    let better = one.of.better.clone();
    let value = |of: &crate::report::Readings, case: &String| -> Result<f64, String> {
        match of.cases.get(case) {
            Some(found) => found.value.clone(),
            None => Err("not_scored".to_owned()),
        }
    };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut one_sided, mut moved) = (Vec::new(), Vec::new());
    for case in names {
        let (x, y) = (value(one, case), value(other, case));
        match (&x, &y) {
            (Ok(x), Ok(y)) => moved.push(Moved {
                case: case.clone(),
                a: *x,
                b: *y,
                difference: far(&better, *y) - far(&better, *x),
            }),
            (Ok(_), Err(word)) | (Err(word), Ok(_)) => one_sided.push((case.clone(), word.clone())),
            (Err(_), Err(_)) => {}
        }
        left.push(x.ok());
        right.push(y.ok());
    }
    let as_compared = |values: &[Option<f64>]| -> Vec<Option<f64>> {
        values
            .iter()
            .map(|value| value.map(|value| far(&better, value)))
            .collect()
    };
    let difference = paired(&as_compared(&left), &as_compared(&right), SEED)?;
    let of_both = |own: &[Option<f64>], others: &[Option<f64>]| {
        let values: Vec<Option<f64>> = own
            .iter()
            .zip(others)
            .map(|(own, other)| other.and(*own))
            .collect();
        mean(&values, SEED).map(|mean| mean.value)
    };
    moved.sort_by(|x, y| {
        let farther = y.difference.abs().total_cmp(&x.difference.abs());
        farther.then_with(|| x.case.cmp(&y.case))
    });
    moved.retain(|one| one.difference != 0.0);
    moved.truncate(most);
    Some(Compared {
        reading: reading.to_owned(),
        a: of_both(&left, &right)?,
        b: of_both(&right, &left)?,
        verdict: verdict(&better, &difference),
        better,
        difference,
        one_sided,
        moved,
    })
}

/// What is compared: the distance from zero, where that is what counts.
fn far(better: &str, value: f64) -> f64 {
    match better {
        "near_zero" => value.abs(),
        _ => value,
    }
}

fn verdict(better: &str, difference: &Mean) -> Verdict {
    if difference.count < ENOUGH {
        return Verdict::TooFew;
    }
    let (low, high) = match better {
        "higher" => (difference.low, difference.high),
        _ => (-difference.high, -difference.low),
    };
    match (low > 0.0, high < 0.0) {
        (true, _) => Verdict::BBetter,
        (_, true) => Verdict::ABetter,
        _ => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Mean {
        Mean {
            value: f64::midpoint(low, high),
            low,
            high,
            count: ENOUGH,
            of: ENOUGH,
        }
    }

    #[test]
    fn the_better_one_is_told_by_the_whole_interval() {
        assert_eq!(verdict("higher", &interval(0.1, 0.2)), Verdict::BBetter);
        assert_eq!(verdict("lower", &interval(0.1, 0.2)), Verdict::ABetter);
        assert_eq!(verdict("higher", &interval(-0.2, -0.1)), Verdict::ABetter);
        assert_eq!(verdict("near_zero", &interval(-0.2, -0.1)), Verdict::BBetter);
        assert_eq!(verdict("lower", &interval(-0.1, 0.1)), Verdict::Undecided);
        assert_eq!(verdict("higher", &interval(0.0, 0.0)), Verdict::Undecided);
        let few = Mean {
            count: ENOUGH - 1,
            ..interval(0.1, 0.2)
        };
        assert_eq!(verdict("higher", &few), Verdict::TooFew);
    }
}
