//! One row of a scanned table, whatever the format.

use crate::{
    node::{Node, Values},
    scan::csv::Csv,
    to_rows::row,
};
use serde_json::{Map, Value};
use std::{borrow::Cow, fs::File};

/// A row while it is being looked at. Cells are numbered as they were selected (all of the table's columns where
/// nothing was), and a cell that a row does not have is empty.
pub struct TableRow<'a> {
    pub(super) line: u64,
    pub(super) place: Option<u64>,
    pub(super) fault: Option<&'a str>,
    /// names of the selected columns
    pub(super) names: &'a [String],
    pub(super) cells: Cells<'a>,
}

/// Where the cells lie; in a column-wise row `None` is a column that the table does not have.
pub(super) enum Cells<'a> {
    None,
    Csv(&'a Csv<File>, &'a [Option<usize>]),
    Json(&'a Map<String, Value>),
    Parquet(&'a [Option<&'a Node>], usize),
}

impl TableRow<'_> {
    /// The line the row begins on, from 1; in Parquet the row's number, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Where a [`super::RowReader`] finds the row again; none in Parquet.
    pub fn place(&self) -> Option<u64> {
        self.place
    }

    /// What is wrong with the row; it has no cells then.
    pub fn fault(&self) -> Option<&str> {
        self.fault
    }

    /// Number of cells. A CSV row may have more or fewer than there are columns, unless some were selected.
    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::None => 0,
            Cells::Csv(csv, []) => csv.len(),
            _ => self.names.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cell as a CSV would hold it; empty for null, for lists, and for true and false.
    pub fn text(&self, number: usize) -> Cow<'_, str> {
        match &self.cells {
            Cells::None => Cow::Borrowed(""),
            Cells::Csv(csv, []) => csv.cell(number),
            Cells::Csv(csv, picked) => match picked.get(number).copied().flatten() {
                Some(column) => csv.cell(column),
                None => Cow::Borrowed(""),
            },
            Cells::Json(object) => match self.names.get(number).and_then(|name| object.get(name)) {
                Some(Value::String(text)) => Cow::Borrowed(text),
                Some(Value::Number(number)) => Cow::Owned(number.to_string()),
                _ => Cow::Borrowed(""),
            },
            Cells::Parquet(columns, row) => columns
                .get(number)
                .copied()
                .flatten()
                .map_or(Cow::Borrowed(""), |column| text(column, *row)),
        }
    }

    /// A cell as a finite number, also from text.
    pub fn number(&self, column: usize) -> Option<f64> {
        self.text(column)
            .trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }

    /// The cells that are there by name, lists and structs included; what CSV holds stays text.
    pub fn object(&self) -> Map<String, Value> {
        let named = self.names.iter().enumerate();
        let cell = |(number, name): (usize, &String)| Some((name.clone(), self.value(number, name)?));
        named.filter_map(cell).collect()
    }

    fn value(&self, number: usize, name: &str) -> Option<Value> {
        match &self.cells {
            Cells::None => None,
            Cells::Csv(csv, picked) => {
                let column = match picked {
                    [] => Some(number),
                    picked => picked[number],
                };
                let column = column.filter(|column| *column < csv.len())?;
                Some(Value::from(csv.cell(column).as_ref()))
            }
            Cells::Json(object) => object.get(name).cloned(),
            Cells::Parquet(columns, i) => row(columns[number]?, *i).ok(),
        }
    }
}

fn text(column: &Node, i: usize) -> Cow<'_, str> {
    if !column.valid[i] {
        return Cow::Borrowed("");
    }
    match &column.values {
        Values::Text { ends, text } => Cow::Borrowed(&text[Node::span(ends, i)]),
        Values::I64(values) => Cow::Owned(values[i].to_string()),
        Values::F64(values) => Cow::Owned(values[i].to_string()),
        Values::Bool(_) | Values::List { .. } | Values::Struct { .. } => Cow::Borrowed(""),
    }
}
