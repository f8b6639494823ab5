//! From the readings of cases to a table: per subset and over all, with how many cases each number rests on.

use std::collections::BTreeMap;

use omni_schemas::Score;
use serde::Serialize;

use crate::stats::{Mean, mean};

/// Stands in place of a reading whose row is lost.
pub const NOT_SCORED: &str = "not_scored";

/// One reading of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReading {
    /// The case.
    pub case: String,
    /// Its subset.
    pub subset: i64,
    /// The reading's full name.
    pub reading: String,
    /// The number, or why there is none.
    pub value: Result<f64, String>,
}

/// The readings of each case from the rows of its clips: several seeds are averaged within their case, over those that
/// have a value. A case without any value has the reason that most of its clips have (of equals the first by name).
/// In order of reading and case.
pub fn case_readings(scores: &[Score]) -> Vec<CaseReading> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Score>> = BTreeMap::new();
    for score in scores {
        // A curated clip has no case, and stands for itself.
        let case = score.case.as_deref().unwrap_or(&score.scored);
        groups.entry((&score.reading, case)).or_default().push(score);
    }
    let reading = |((reading, case), mut clips): ((&str, &str), Vec<&Score>)| {
        clips.sort_by_key(|score| score.seed);
        CaseReading {
            case: case.to_owned(),
            subset: clips.iter().find_map(|score| score.subset).unwrap_or_default(),
            reading: reading.to_owned(),
            value: over_seeds(clips.iter().map(|score| {
                let absent = score.absent.as_deref().unwrap_or("not_given");
                score.value.ok_or(absent)
            })),
        }
    };
    groups.into_iter().map(reading).collect()
}

/// The mean over the seeds of a case that have a value; without one the reason that most of them have, of equals the first
/// by name.
pub(crate) fn over_seeds<'a>(clips: impl IntoIterator<Item = Result<f64, &'a str>>) -> Result<f64, String> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut sum, mut count) = (0.0, 0usize);
    for clip in clips {
        match clip {
            Ok(value) => {
                sum += value;
                count += 1;
            }
            Err(absent) => *reasons.entry(absent).or_default() += 1,
        }
    }
    if count > 0 {
        return Ok(sum / count as f64);
    }
    // Of a clip whose row is lost nobody knows what it had: that is the reason, and not what the others lack.
    if reasons.contains_key(NOT_SCORED) {
        return Err(NOT_SCORED.to_owned());
    }
    let most = reasons.values().copied().max().unwrap_or_default();
    let why = reasons.into_iter().find(|(_, count)| *count == most);
    Err(why.map_or(NOT_SCORED, |(why, _)| why).to_owned())
}

/// One cell of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The reading's full name.
    pub reading: String,
    /// The subset; `None` over all cases (not over the subsets' means).
    pub subset: Option<i64>,
    /// The mean, its interval, and its counts; `None` when no case has a value.
    pub mean: Option<Mean>,
    /// How many cases have none, by reason.
    pub absent: BTreeMap<String, usize>,
}

/// The cells of every reading: each subset that occurs, then all. Values are taken in the order of the case names, so the
/// order of the rows changes nothing. Readings come by name.
pub fn table(rows: &[CaseReading], seed: u64) -> Vec<Cell> {
    let mut readings: BTreeMap<&str, Vec<&CaseReading>> = BTreeMap::new();
    for row in rows {
        readings.entry(&row.reading).or_default().push(row);
    }
    let mut out = Vec::new();
    for (reading, mut rows) in readings {
        rows.sort_by(|a, b| a.case.cmp(&b.case));
        let mut subsets: Vec<i64> = rows.iter().map(|row| row.subset).collect();
        subsets.sort_unstable();
        subsets.dedup();
        for subset in subsets.into_iter().map(Some).chain([None]) {
            out.push(cell(reading, subset, &rows, seed));
        }
    }
    out
}

fn cell(reading: &str, subset: Option<i64>, rows: &[&CaseReading], seed: u64) -> Cell {
    let mine = || {
        rows.iter()
            .filter(|row| subset.is_none_or(|subset| row.subset == subset))
    };
    let finite = |value: &Result<f64, String>| value.as_ref().ok().copied().filter(|value| value.is_finite());
    let values: Vec<Option<f64>> = mine().map(|row| finite(&row.value)).collect();
    let mut absent: BTreeMap<String, usize> = BTreeMap::new();
    for row in mine().filter(|row| finite(&row.value).is_none()) {
        let why = row.value.as_ref().err().map_or("nan", String::as_str);
        *absent.entry(why.to_owned()).or_default() += 1;
    }
    Cell {
        reading: reading.to_owned(),
        subset,
        mean: mean(&values, seed),
        absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SEED;

    fn row(case: &str, subset: i64, value: Result<f64, &str>) -> CaseReading {
        CaseReading {
            case: case.into(),
            subset,
            reading: "tf".into(),
            value: value.map_err(str::to_owned),
        }
    }

    #[test]
    fn the_overall_mean_is_over_cases_and_not_over_subsets() {
        let rows = [
            row("c", 2, Ok(4.0)),
            row("a", 1, Ok(1.0)),
            row("b", 1, Ok(1.0)),
            row("d", 1, Err("no_face")),
        ];
        let cells = table(&rows, SEED);
        let found: Vec<_> = cells
            .iter()
            .map(|cell| (cell.subset, cell.mean.unwrap()))
            .collect();
        assert_eq!(
            (found[0].0, found[0].1.value, found[0].1.count, found[0].1.of),
            (Some(1), 1.0, 2, 3)
        );
        assert_eq!((found[1].0, found[1].1.value), (Some(2), 4.0));
        assert_eq!((found[2].0, found[2].1.value, found[2].1.of), (None, 2.0, 4));
        assert_eq!(cells[2].absent["no_face"], 1);
    }

    fn score(case: &str, seed: i64, value: Result<f64, &str>) -> Score {
        Score {
            scored: format!("ours/{case}.{seed}"),
            case: Some(case.into()),
            subset: Some(2),
            seed: Some(seed),
            reading: "tf".into(),
            value: value.ok(),
            absent: value.err().map(str::to_owned),
            ..Score::default()
        }
    }

    #[test]
    fn seeds_are_averaged_within_their_case_and_what_lacks_is_not_a_zero() {
        let rows = [
            score("b", 2, Err("missing_output")),
            score("a", 2, Ok(3.0)),
            score("a", 1, Ok(1.0)),
            score("b", 1, Ok(5.0)),
            score("c", 1, Err("missing_output")),
            score("c", 2, Err("no_face")),
            score("c", 3, Err("no_face")),
        ];
        let got = case_readings(&rows);
        let said: Vec<_> = got
            .iter()
            .map(|row| (row.case.as_str(), row.subset, row.value.clone()))
            .collect();
        assert_eq!(
            said,
            [
                ("a", 2, Ok(2.0)),
                ("b", 2, Ok(5.0)),
                ("c", 2, Err("no_face".to_owned()))
            ]
        );
        let over = table(&got, SEED);
        assert_eq!((over[0].mean.unwrap().value, over[0].mean.unwrap().of), (3.5, 3));
    }

    #[test]
    fn the_order_of_the_rows_changes_nothing() {
        let rows: Vec<CaseReading> = (0..40)
            .map(|i| {
                row(
                    &format!("{i:02}"),
                    i % 3 + 1,
                    Ok(f64::from(i as i32).sqrt() / 3.0),
                )
            })
            .collect();
        let mut turned = rows.clone();
        turned.reverse();
        assert_eq!(table(&rows, SEED), table(&turned, SEED));
    }

    #[test]
    fn a_lost_row_is_the_reason_of_a_case_without_a_value() {
        let clips = [Err("missing_output"), Err("missing_output"), Err(NOT_SCORED)];
        assert_eq!(over_seeds(clips), Err(NOT_SCORED.to_owned()));
        assert_eq!(over_seeds([Ok(0.5), Err(NOT_SCORED)]), Ok(0.5));
    }

    #[test]
    fn no_value_is_no_number() {
        let cells = table(
            &[row("a", 1, Err("missing_output")), row("b", 1, Ok(f64::NAN))],
            SEED,
        );
        assert_eq!(
            (
                cells[0].mean,
                cells[0].absent["missing_output"],
                cells[0].absent["nan"]
            ),
            (None, 1, 1)
        );
    }
}
