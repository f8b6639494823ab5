//! A table of several runs: rows are methods, columns are readings made in one way.

use super::{
    alike::same_way,
    columns::{self, BEYOND, Base},
    published::{self, Published},
    run::MethodRun,
};
use crate::{
    aggregate::CaseReading,
    stats::{Mean, SEED, mean},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// Two runs have one name.
    #[error("two runs are called `{0}`; a method stands in the table once (`omni bench run --method NAME`)")]
    Twice(String),
    /// One column would hold readings made in two ways.
    #[error("column `{reading}`: {what}; score both in one way, or report them apart")]
    Mixed {
        /// The reading.
        reading: String,
        /// What differs between which runs.
        what: String,
    },
    /// The recipe names what is not there.
    #[error("ablation recipe: {0}")]
    Ablation(String),
    /// There is nothing to show.
    #[error("no run has a case of subset {0}")]
    NoCases(String),
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// The reading's full name.
    pub reading: String,
    /// As the paper writes it, or its plain name.
    pub label: String,
    /// The networks it is made with where they are not the paper's.
    pub networks: Option<String>,
    /// The block of the table.
    pub block: &'static str,
    /// `higher`, `lower` or `near_zero`.
    pub better: String,
    /// Its unit; empty for plain numbers.
    pub unit: String,
    /// What is known of the reading.
    #[serde(skip)]
    pub base: Option<&'static Base>,
}

/// Whether a number is among the best of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The best of our rows.
    Best,
    /// The second best of our rows.
    Second,
}

/// A cell of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SheetCell {
    /// The mean with its interval and counts; a published number has neither.
    pub mean: Option<Mean>,
    /// The published number.
    pub published: Option<f64>,
    /// Whether it is among the best.
    pub mark: Option<Mark>,
    /// How many cases have no value, by reason.
    pub absent: BTreeMap<String, usize>,
    /// Whether the row's paradigm and profile have the reading at all; without it the cell is `-`.
    pub applies: bool,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// Its paradigm.
    pub paradigm: String,
    /// Its profile; none for a published row.
    pub profile: Option<String>,
    /// What is switched on, in an ablation table.
    pub ticks: Vec<bool>,
    /// One for each column.
    pub cells: Vec<SheetCell>,
}

impl Row {
    /// Whether the numbers are the paper's own.
    pub fn published(&self) -> bool {
        self.profile.is_none()
    }
}

/// Rows under one heading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The paradigm; none in an ablation table.
    pub title: Option<&'static str>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A table of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sheet {
    /// The subset; none over all cases.
    pub subset: Option<i64>,
    /// The heading.
    pub title: String,
    /// What can be switched on, in an ablation table.
    pub ticks: Vec<String>,
    /// The readings.
    pub columns: Vec<Column>,
    /// The rows by paradigm.
    pub groups: Vec<Group>,
}

/// The paradigms in the order of the paper's table.
const PARADIGMS: &[(&str, &str)] = &[
    ("video", "Video customization"),
    ("audio_driven", "Audio-driven video customization"),
    ("first_frame", "First frame, then joint audio and video"),
    ("joint", "Joint audio-video customization"),
];

impl Sheet {
    /// The paper's Table 1 with these runs: one subset, or all cases.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn new(runs: &[MethodRun], subset: Option<i64>) -> Result<Sheet, SheetError> {
        same_way(runs)?;
        let columns = columns_of(runs);
        let ours: Vec<Row> = runs.iter().map(|run| row(run, &columns, subset)).collect();
        if ours.iter().all(|row| row.cells.iter().all(empty)) {
            let subset = subset.map_or("1, 2 or 3".to_owned(), |subset| subset.to_string());
            return Err(SheetError::NoCases(subset));
        }
        let beside = match all_of_paper(runs) && subset.is_none() {
            true => published::table_1(),
            false => Vec::new(),
        };
        let mut groups: Vec<Group> = Vec::new();
        for (paradigm, title) in PARADIGMS {
            let theirs = beside
                .iter()
                .filter(|row| row.paradigm == *paradigm)
                .map(|row| theirs(row, &columns, &[]));
            let own = ours.iter().filter(|row| row.paradigm == *paradigm).cloned();
            let rows: Vec<Row> = theirs.chain(own).collect();
            if !rows.is_empty() {
                groups.push(Group {
                    title: Some(title),
                    rows,
                });
            }
        }
        let known = |row: &&Row| !PARADIGMS.iter().any(|(name, _)| *name == row.paradigm);
        let rest: Vec<Row> = ours.iter().filter(known).cloned().collect();
        if !rest.is_empty() {
            groups.push(Group {
                title: Some("Other paradigms"),
                rows: rest,
            });
        }
        let title = subset.map_or("All subsets".to_owned(), |subset| format!("Subset {subset}"));
        Ok(Sheet {
            subset,
            title,
            ticks: Vec::new(),
            columns,
            groups,
        }
        .marked())
    }

    /// Every row, in order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }

    /// Marks the best and second best of our own rows, by what is shown: equal numbers share a mark. One row alone is
    /// no best. A signed reading has none: a mean near zero may hide cases far on both sides (`compare` tells).
    fn marked(mut self) -> Sheet {
        for (number, column) in self.columns.iter().enumerate() {
            let mut shown: Vec<f64> = self
                .groups
                .iter()
                .flat_map(|group| &group.rows)
                .filter_map(|row| row.cells[number].mean)
                .map(|mean| goodness(column, mean.value))
                .collect();
            if shown.len() < 2 || column.better == "near_zero" {
                continue;
            }
            shown.sort_by(|a, b| b.total_cmp(a));
            shown.dedup();
            for row in self.groups.iter_mut().flat_map(|group| &mut group.rows) {
                let cell = &mut row.cells[number];
                let place = cell.mean.map(|mean| goodness(column, mean.value));
                cell.mark = match place {
                    Some(place) if Some(&place) == shown.first() => Some(Mark::Best),
                    Some(place) if Some(&place) == shown.get(1) => Some(Mark::Second),
                    _ => None,
                };
            }
        }
        self
    }
}

/// The more the better, and equal where tables show the same.
fn goodness(column: &Column, value: f64) -> f64 {
    let shown: f64 = columns::shown(&column.reading, value).parse().unwrap_or(value);
    // + 0.0: minus zero is zero.
    match column.better == "lower" {
        true => -shown + 0.0,
        false => shown + 0.0,
    }
}

fn empty(cell: &SheetCell) -> bool {
    cell.mean.is_none() && cell.absent.is_empty()
}

pub(super) fn all_of_paper(runs: &[MethodRun]) -> bool {
    !runs.is_empty() && runs.iter().all(|run| run.header.profile == "paper")
}

/// Every reading of any run, in the order of the paper.
fn columns_of(runs: &[MethodRun]) -> Vec<Column> {
    let mut names: Vec<&str> = runs
        .iter()
        .flat_map(|run| run.readings.keys())
        .map(String::as_str)
        .collect();
    names.sort_by_key(|name| columns::rank(name));
    names.dedup();
    let column = |reading: &str| {
        let own = runs.iter().find_map(|run| run.reading(reading))?;
        let (base, name, networks) = columns::of(reading);
        Some(Column {
            reading: reading.to_owned(),
            label: base.map_or(name, |base| base.label).to_owned(),
            networks: networks.map(str::to_owned),
            block: base.map_or(BEYOND, |base| base.block),
            better: own.of.better.clone(),
            unit: own.of.unit.clone(),
            base,
        })
    };
    names.into_iter().filter_map(column).collect()
}

fn row(run: &MethodRun, columns: &[Column], subset: Option<i64>) -> Row {
    Row {
        method: run.method().to_owned(),
        paradigm: run.header.paradigm.name().to_owned(),
        profile: Some(run.header.profile.clone()),
        ticks: Vec::new(),
        cells: columns
            .iter()
            .map(|column| cell(run, &column.reading, subset))
            .collect(),
    }
}

/// The mean over the cases that have a value; cases come by name.
fn cell(run: &MethodRun, reading: &str, subset: Option<i64>) -> SheetCell {
    let Some(own) = run.reading(reading) else {
        return SheetCell::default();
    };
    let cases = own
        .cases
        .values()
        .filter(|case| subset.is_none_or(|subset| case.subset == subset));
    let mut values = Vec::new();
    let mut absent: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases {
        if let Err(word) = &case.value {
            *absent.entry(word.clone()).or_default() += 1;
        }
        values.push(case.value.as_ref().ok().copied());
    }
    SheetCell {
        mean: mean(&values, SEED),
        published: None,
        mark: None,
        absent,
        applies: true,
    }
}

/// A published row: its numbers belong to columns made with the paper's networks, and to no others.
pub(super) fn theirs(row: &Published, columns: &[Column], ticks: &[String]) -> Row {
    let cell = |column: &Column| {
        let own = row.values.iter().find(|(name, _)| *name == column.reading);
        SheetCell {
            published: own.map(|(_, value)| *value),
            applies: own.is_some(),
            ..SheetCell::default()
        }
    };
    Row {
        method: row.method.clone(),
        paradigm: row.paradigm.to_owned(),
        profile: None,
        ticks: ticks
            .iter()
            .map(|tick| row.ticks.contains(&tick.as_str()))
            .collect(),
        cells: columns.iter().map(cell).collect(),
    }
}

/// The rows of a run as the aggregation takes them.
pub(super) fn case_readings(run: &MethodRun) -> Vec<CaseReading> {
    let rows = run.readings.iter().flat_map(|(reading, own)| {
        own.cases.iter().map(move |(case, value)| CaseReading {
            case: case.clone(),
            subset: value.subset,
            reading: reading.clone(),
            value: value.value.clone(),
        })
    });
    rows.collect()
}
