//! The tables of others: named columns and filters over CSV, JSON lines and Parquet, read forwards in bounded memory.
//!
//! Rows come in file order. A CSV holds one row in memory, JSON lines one line, Parquet one piece of a row group.
//! Limits on numbers are asked before a row is handed out; in Parquet the limited columns of a piece are read first,
//! and the others only when a row of it passes.
//!
//! Polars reads the Parquet only. Its CSV reader stops at the first damaged row or takes the rest of a table for one
//! cell, and its lazy engine gives a whole table at once; neither keeps the order and the bound that are promised here.

mod csv;
mod lines;
mod object;
mod parquet;
mod row;

pub use object::{ObjectFault, ObjectMember, ObjectStream};
pub use row::TableRow;

use crate::Error;
use csv::Csv;
use lines::Lines;
use row::Cells;
use std::{
    fs::File,
    io::{BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What a number must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// At least the value.
    AtLeast,
    /// At most the value.
    AtMost,
    /// More than the value.
    Above,
    /// Less than the value.
    Below,
    /// The value itself.
    Equal,
}

impl Comparison {
    fn holds(self, number: f64, value: f64) -> bool {
        match self {
            Comparison::AtLeast => number >= value,
            Comparison::AtMost => number <= value,
            Comparison::Above => number > value,
            Comparison::Below => number < value,
            Comparison::Equal => number == value,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Csv(u8),
    Lines,
    Parquet,
}

/// A limit on one column.
#[derive(Debug, Clone)]
struct Limit {
    column: String,
    comparison: Comparison,
    value: f64,
}

/// A table to be read.
#[derive(Debug, Clone)]
pub struct TableScan {
    path: PathBuf,
    format: Format,
    columns: Vec<String>,
    /// empty: all
    selected: Vec<String>,
    limits: Vec<Limit>,
}

const UNSOUND: &str = "its quotes do not close, it is too long, or it is no UTF-8";

impl TableScan {
    /// Opens a `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` (also lines) or `.parquet`, in any case, and reads the
    /// names of its columns.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Table`] for another extension or a CSV without a header;
    /// [`Error::Damaged`] for a Parquet file that is none.
    pub fn open(path: &Path) -> Result<TableScan, Error> {
        let format = format(path)?;
        let columns = match format {
            Format::Csv(separator) => header(path, separator)?,
            Format::Lines => first_keys(path)?,
            Format::Parquet => parquet::columns(path)?,
        };
        Ok(TableScan {
            path: path.to_owned(),
            format,
            columns,
            selected: Vec::new(),
            limits: Vec::new(),
        })
    }

    /// The columns as the file spells them, in its order; for JSON lines the keys of the first line.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether rows can have that column: JSON lines may have any.
    pub fn has(&self, column: &str) -> bool {
        self.format == Format::Lines || self.columns.iter().any(|name| name == column)
    }

    /// Reads these columns only, in this order. One that the table does not have is empty in every row.
    #[must_use]
    pub fn select<S: AsRef<str>>(mut self, columns: &[S]) -> TableScan {
        self.selected = columns.iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    /// Hands out only those rows whose cell is a number for which the comparison holds. Damaged rows are always
    /// handed out, so that they can be counted. The column need not be selected.
    ///
    /// # Errors
    /// [`Error::Table`] when the table has no such column.
    pub fn filter(mut self, column: &str, comparison: Comparison, value: f64) -> Result<TableScan, Error> {
        if !self.has(column) {
            let there = self.columns.join(", ");
            return Err(Error::table(
                &self.path,
                format!("it has no column `{column}`; it has: {there}"),
            ));
        }
        self.limits.push(Limit {
            column: column.to_owned(),
            comparison,
            value,
        });
        Ok(self)
    }

    /// Hands every row to `on` in file order, until it fails.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`], [`Error::Table`] when the file cannot be read on; what `on` returns.
    pub fn for_each<E: From<Error>>(
        &self,
        mut on: impl FnMut(&TableRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.format {
            Format::Csv(separator) => self.each_csv(separator, &mut on),
            Format::Lines => self.each_line(&mut on),
            Format::Parquet => parquet::for_each(self, &mut on),
        }
    }

    /// Reads single rows again, in any order; `None` for Parquet, whose rows cannot be reached one by one.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`].
    pub fn reader(&self) -> Result<Option<RowReader>, Error> {
        if self.format == Format::Parquet {
            return Ok(None);
        }
        let file = open(&self.path)?;
        Ok(Some(RowReader {
            scan: self.clone(),
            file,
        }))
    }

    /// Names of what is handed out.
    fn names(&self) -> &[String] {
        match self.selected.is_empty() {
            true => &self.columns,
            false => &self.selected,
        }
    }

    /// Where the selected columns lie; empty when all are wanted.
    fn picked(&self) -> Vec<Option<usize>> {
        let place = |name| self.columns.iter().position(|column| column == name);
        self.selected.iter().map(place).collect()
    }

    fn each_csv<E: From<Error>>(
        &self,
        separator: u8,
        on: &mut dyn FnMut(&TableRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |error| Error::io("read", &self.path, error);
        let mut csv = Csv::new(open(&self.path)?, separator);
        csv.next_row().map_err(io)?;
        let picked = self.picked();
        let place = |limit: &Limit| self.columns.iter().position(|name| *name == limit.column);
        let limits: Vec<_> = self.limits.iter().map(|limit| (place(limit), limit)).collect();
        while let Some(row) = csv.next_row().map_err(io)? {
            let passes = |(column, limit): &(Option<usize>, &Limit)| {
                column.is_some_and(|column| limit.admits(&csv.cell(column)))
            };
            if !row.sound || limits.iter().all(passes) {
                on(&self.csv_row(&csv, row, &picked))?;
            }
        }
        Ok(())
    }

    fn csv_row<'a>(&'a self, csv: &'a Csv<File>, row: csv::Row, picked: &'a [Option<usize>]) -> TableRow<'a> {
        TableRow {
            line: row.line,
            place: Some(row.offset),
            fault: (!row.sound).then_some(UNSOUND),
            names: self.names(),
            cells: match row.sound {
                true => Cells::Csv(csv, picked),
                false => Cells::None,
            },
        }
    }

    fn each_line<E: From<Error>>(&self, on: &mut dyn FnMut(&TableRow<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut lines = Lines::new(BufReader::new(open(&self.path)?));
        while let Some(line) = lines
            .next_line()
            .map_err(|error| Error::io("read", &self.path, error))?
        {
            if self.limits.iter().all(|limit| limit.admits_in(&line)) {
                on(&self.json_row(&line))?;
            }
        }
        Ok(())
    }

    fn json_row<'a>(&'a self, line: &'a lines::Line) -> TableRow<'a> {
        TableRow {
            line: line.line,
            place: Some(line.offset),
            fault: line.object.as_ref().err().map(String::as_str),
            names: self.names(),
            cells: line.object.as_ref().map_or(Cells::None, Cells::Json),
        }
    }
}

impl Limit {
    fn admits(&self, cell: &str) -> bool {
        let number = cell.trim().parse().ok().filter(|number: &f64| number.is_finite());
        number.is_some_and(|number| self.comparison.holds(number, self.value))
    }

    /// Whether a line passes, or is damaged.
    fn admits_in(&self, line: &lines::Line) -> bool {
        let Ok(object) = &line.object else {
            return true;
        };
        match object.get(&self.column) {
            Some(serde_json::Value::String(text)) => self.admits(text),
            Some(serde_json::Value::Number(number)) => self.admits(&number.to_string()),
            _ => false,
        }
    }
}

/// Reads single rows of a CSV or of JSON lines by their place.
#[derive(Debug)]
pub struct RowReader {
    scan: TableScan,
    file: File,
}

impl RowReader {
    /// Hands the row at a place (of [`TableRow::place`], from the same file) to `take`. Limits are not asked.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] when the file ends before that place.
    pub fn read<T>(&mut self, place: u64, take: impl FnOnce(&TableRow<'_>) -> T) -> Result<T, Error> {
        let RowReader { scan, file } = self;
        let io = |error| Error::io("read", &scan.path, error);
        let gone = || Error::damaged(&scan.path, format!("it has no row at byte {place}"));
        file.seek(SeekFrom::Start(place)).map_err(io)?;
        let file = file.try_clone().map_err(io)?;
        if let Format::Csv(separator) = scan.format {
            let mut csv = Csv::at_row(file, separator);
            let row = csv.next_row().map_err(io)?.ok_or_else(gone)?;
            return Ok(take(&scan.csv_row(&csv, row, &scan.picked())));
        }
        let line = Lines::new(BufReader::new(file)).next_line().map_err(io)?;
        Ok(take(&scan.json_row(&line.ok_or_else(gone)?)))
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::io("open", path, error))
}

fn format(path: &Path) -> Result<Format, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default().to_lowercase().as_str() {
        "csv" => Ok(Format::Csv(b',')),
        "tsv" => Ok(Format::Csv(b'\t')),
        "jsonl" | "ndjson" | "json" => Ok(Format::Lines),
        "parquet" => Ok(Format::Parquet),
        _ => Err(Error::table(
            path,
            "it is no .csv, .tsv, .jsonl, .ndjson or .parquet",
        )),
    }
}

fn header(path: &Path, separator: u8) -> Result<Vec<String>, Error> {
    let mut csv = Csv::new(open(path)?, separator);
    let row = csv.next_row().map_err(|error| Error::io("read", path, error))?;
    if !row.is_some_and(|row| row.sound) {
        return Err(Error::table(path, "it has no readable header line"));
    }
    Ok((0..csv.len())
        .map(|column| csv.cell(column).trim().to_owned())
        .collect())
}

fn first_keys(path: &Path) -> Result<Vec<String>, Error> {
    let mut lines = Lines::new(BufReader::new(open(path)?));
    let first = lines
        .next_line()
        .map_err(|error| Error::io("read", path, error))?;
    let object = first.and_then(|line| line.object.ok()).unwrap_or_default();
    Ok(object.keys().cloned().collect())
}

#[cfg(test)]
mod tests;
