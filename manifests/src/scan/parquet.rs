//! Parquet tables of others, piece by piece.

use super::{Comparison, Limit, TableRow, TableScan, row::Cells};
use crate::{
    Error,
    node::{Node, Values},
    table::TableReader,
};

/// A row group that is larger than this, unpacked, is read in pieces of about this size, bytes.
const PIECE: usize = 64 << 20;

/// The names of the columns.
pub(super) fn columns(path: &std::path::Path) -> Result<Vec<String>, Error> {
    TableReader::open_foreign(path)?.names()
}

/// Hands every row that passes to `on`, in file order.
pub(super) fn for_each<E: From<Error>>(
    scan: &TableScan,
    on: &mut dyn FnMut(&TableRow<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = TableReader::open_foreign(&scan.path)?;
    let there = |name: &&String| scan.columns.contains(name);
    let wanted: Vec<String> = scan.names().iter().filter(there).cloned().collect();
    for rows in reader.pieces(PIECE) {
        let passing = passing(scan, &mut reader, rows.clone())?;
        if passing.as_ref().is_some_and(|rows| !rows.contains(&true)) {
            continue;
        }
        let table = match wanted.is_empty() {
            true => Node::of_columns(&[]),
            false => reader.rows_of(rows.clone(), Some(wanted.clone()))?,
        };
        let columns: Vec<Option<&Node>> = scan.names().iter().map(|name| table.field(name)).collect();
        for (i, row) in rows.enumerate() {
            if passing.as_ref().is_none_or(|rows| rows[i]) {
                on(&TableRow {
                    line: row as u64 + 1,
                    place: None,
                    fault: None,
                    names: scan.names(),
                    cells: Cells::Parquet(&columns, i),
                })?;
            }
        }
    }
    Ok(())
}

/// Which rows of a piece pass; `None` when there are no limits.
fn passing(
    scan: &TableScan,
    reader: &mut TableReader,
    rows: std::ops::Range<usize>,
) -> Result<Option<Vec<bool>>, Error> {
    if scan.limits.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<String> = scan.limits.iter().map(|limit| limit.column.clone()).collect();
    names.sort();
    names.dedup();
    let table = reader.rows_of(rows.clone(), Some(names))?;
    let admits = |i| {
        let column = |limit: &Limit| {
            table
                .field(&limit.column)
                .is_some_and(|column| limit.admits_at(column, i))
        };
        scan.limits.iter().all(column)
    };
    Ok(Some((0..rows.len()).map(admits).collect()))
}

impl Limit {
    fn admits_at(&self, column: &Node, i: usize) -> bool {
        let holds = |number: f64| Comparison::holds(self.comparison, number, self.value);
        column.valid[i]
            && match &column.values {
                Values::F64(values) => values[i].is_finite() && holds(values[i]),
                Values::I64(values) => holds(values[i] as f64),
                Values::Text { ends, text } => self.admits(&text[Node::span(ends, i)]),
                Values::Bool(_) | Values::List { .. } | Values::Struct { .. } => false,
            }
    }
}
