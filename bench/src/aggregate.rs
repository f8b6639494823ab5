//! From the readings of cases to a table: per subset and over all, with how many cases each number rests on.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::{Mean, mean};

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
