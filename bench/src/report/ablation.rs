//! Ablation tables, the paper's Table 2: several methods, and what is switched on in each.

use super::{
    published::{self, Published},
    run::MethodRun,
    sheet::{Group, Row, Sheet, SheetError, all_of_paper, theirs},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rows of an ablation table, and what is switched on in each (the paper's Table 2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// The heading.
    #[serde(default)]
    pub title: Option<String>,
    /// The parts, in the order of the columns.
    pub ticks: Vec<String>,
    /// Whether the paper's rows are shown beside ours; only where all runs have profile `paper`.
    #[serde(default)]
    pub published: bool,
    /// The rows, in order.
    pub row: Vec<AblationRow>,
}

/// A row of an ablation table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationRow {
    /// The method, as its run is called.
    pub method: String,
    /// What is switched on.
    #[serde(default)]
    pub ticks: Vec<String>,
}

impl Sheet {
    /// The paper's Table 2: the recipe's rows with their ticks.
    ///
    /// # Errors
    /// [`SheetError`]; [`SheetError::Ablation`] when the recipe names a method without a run, or an unknown tick.
    pub fn ablation(runs: &[MethodRun], recipe: &Ablation, subset: Option<i64>) -> Result<Sheet, SheetError> {
        let mut own = Vec::new();
        for row in &recipe.row {
            let run = runs.iter().find(|run| run.method() == row.method);
            let known: Vec<&str> = runs.iter().map(MethodRun::method).collect();
            let run = run.ok_or_else(|| {
                SheetError::Ablation(format!(
                    "no run is called `{}`; there are: {}",
                    row.method,
                    known.join(", ")
                ))
            })?;
            if let Some(tick) = row.ticks.iter().find(|tick| !recipe.ticks.contains(tick)) {
                return Err(SheetError::Ablation(format!(
                    "row `{}` has `{tick}`, which is none of the ticks: {}",
                    row.method,
                    recipe.ticks.join(", ")
                )));
            }
            own.push(run.clone());
        }
        let mut sheet = Sheet::new(&own, subset)?;
        let mut ours: BTreeMap<String, Row> = sheet
            .groups
            .drain(..)
            .flat_map(|group| group.rows)
            .filter(|row| !row.published())
            .map(|row| (row.method.clone(), row))
            .collect();
        let mut rows = Vec::new();
        if recipe.published && all_of_paper(&own) && subset.is_none() {
            let theirs = |row: &Published| theirs(row, &sheet.columns, &recipe.ticks);
            rows.extend(published::table_2().iter().map(theirs));
        }
        for row in &recipe.row {
            if let Some(mut own) = ours.remove(&row.method) {
                own.ticks = recipe.ticks.iter().map(|tick| row.ticks.contains(tick)).collect();
                rows.push(own);
            }
        }
        sheet.groups = vec![Group { title: None, rows }];
        sheet.ticks.clone_from(&recipe.ticks);
        sheet.title = recipe.title.clone().unwrap_or_else(|| "Ablation".to_owned());
        Ok(sheet)
    }
}
