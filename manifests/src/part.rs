//! Parts: the rows of one shard and their receipt, in one Parquet file that exists only when it is done.

use crate::{
    Error, Receipt, TarSeal,
    error::guarded,
    footer::{self, CHECK, Footer, NO_CHECK, RECEIPT},
    from_rows::push_row,
    listing::SHARD,
    node::Node,
    table::{TableReader, TableWriter},
    temporary::Temporary,
    to_rows::row,
};
use omni_schemas::{Column, Record};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    fs::File,
    ops::{ControlFlow, Range},
    path::Path,
};

/// Rows of one row group at most: few, so that reading starts at once and memory stays flat.
pub(crate) const GROUP: usize = 8192;
/// Bytes after which a row group ends, whatever its rows: a track of a long clip has megabytes.
pub(crate) const GROUP_BYTES: u64 = 16 << 20;

/// Writes rows and receipt under a temporary name in the same folder, flushes, renames, flushes the folder.
///
/// The receipt's `record`, `record_version`, `rows` and `check` are filled in here. Equal rows and receipts make
/// equal bytes. A float that is not finite, an integer beyond 63 bits, or a field that is not a column is
/// [`Error::Row`]; nothing is left behind then, nor when the disk is full.
pub fn write_part<R: Record>(path: &Path, rows: &[R], receipt: &Receipt) -> Result<(), Error> {
    write_into(Temporary::create(path)?, rows, receipt)
}

fn write_into<R: Record>(temp: Temporary, rows: &[R], receipt: &Receipt) -> Result<(), Error> {
    let receipt = Receipt {
        record: R::NAME.to_owned(),
        record_version: R::VERSION,
        ..receipt.clone()
    };
    fill(temp, &R::columns(), rows, &receipt)
}

/// As [`write_part`], for rows whose record is known by its columns only; `record` of the receipt stays as it is.
pub(crate) fn write_rows<T: Serialize>(
    path: &Path,
    columns: &[Column],
    rows: &[T],
    receipt: &Receipt,
) -> Result<(), Error> {
    fill(Temporary::create(path)?, columns, rows, receipt)
}

fn fill<T: Serialize>(
    temp: Temporary,
    columns: &[Column],
    rows: &[T],
    receipt: &Receipt,
) -> Result<(), Error> {
    let path = temp.target().to_path_buf();
    let receipt = Receipt {
        rows: rows.len() as u64,
        check: String::new(),
        ..receipt.clone()
    };
    let text = serde_json::to_string(&receipt).map_err(|e| Error::Encode {
        path: path.clone(),
        what: e.to_string(),
    })?;
    let footer = vec![
        (RECEIPT.to_owned(), text),
        (CHECK.to_owned(), NO_CHECK.to_owned()),
    ];
    let mut writer = TableWriter::new(temp, columns, footer)?;
    let mut group = Node::of_columns(columns);
    for (i, row) in rows.iter().enumerate() {
        push(&mut group, &receipt.record, row, i as u64)?;
        if group.len() >= GROUP || group.size().1 >= GROUP_BYTES {
            writer.push(std::mem::replace(&mut group, Node::of_columns(columns)))?;
        }
    }
    writer.push(group)?;
    let mut temp = writer.finish()?;
    footer::seal(&mut temp, &path)?;
    temp.publish()
}

fn push<T: Serialize>(table: &mut Node, record: &str, row: &T, number: u64) -> Result<(), Error> {
    push_row(table, row).map_err(|e| Error::Row {
        record: record.to_owned(),
        row: number,
        what: e.to_string(),
    })
}

/// Some rows of a table node as records.
pub(crate) fn rows_of<R: Record>(path: &Path, table: &Node, places: Range<usize>) -> Result<Vec<R>, Error> {
    let rows = places.map(|i| row(table, i));
    rows.collect::<Result<_, _>>()
        .map_err(|e| Error::damaged(path, format!("a row is not a {}: {e}", R::NAME)))
}

/// Reads rows and receipt, after checking the whole file, the record's name and version, and the number of rows.
pub fn read_part<R: Record>(path: &Path) -> Result<(Vec<R>, Receipt), Error> {
    let receipt = check_part(path)?;
    let name = |record: &str, version: u32| format!("`{record}` version {version}");
    if (receipt.record.as_str(), receipt.record_version) != (R::NAME, R::VERSION) {
        return Err(Error::WrongRecord {
            path: path.to_path_buf(),
            expected: name(R::NAME, R::VERSION),
            found: name(&receipt.record, receipt.record_version),
        });
    }
    let mut reader = TableReader::open(path)?;
    if reader.rows() as u64 != receipt.rows {
        return Err(Error::damaged(path, "its receipt tells another number of rows"));
    }
    let mut rows = Vec::new();
    for i in 0..reader.groups() {
        let table = reader.group(i, None)?;
        rows.append(&mut guarded(path, || rows_of(path, &table, 0..table.len()))?);
    }
    Ok((rows, receipt))
}

/// Reads the receipt alone: the footer, not the rows. The check is reported, not verified.
pub fn read_receipt(path: &Path) -> Result<Receipt, Error> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    receipt_in(path, &Footer::read(path, &mut file)?)
}

fn receipt_in(path: &Path, footer: &Footer) -> Result<Receipt, Error> {
    let (_, text) = footer
        .find(RECEIPT)
        .ok_or_else(|| Error::damaged(path, "it has no receipt; it is not a part"))?;
    let mut receipt: Receipt = serde_json::from_str(text)
        .map_err(|e| Error::damaged(path, format!("its receipt cannot be read: {e}")))?;
    receipt.check = footer
        .find(CHECK)
        .map(|(_, digits)| digits.to_owned())
        .unwrap_or_default();
    Ok(receipt)
}

/// Checks the whole part, and size and hash of its tar (same name, `.tar`) when the receipt seals one.
pub fn verify_part(path: &Path) -> Result<Receipt, Error> {
    let receipt = check_part(path)?;
    if let Some(seal) = &receipt.tar {
        check_tar(&path.with_extension("tar"), seal)?;
    }
    Ok(receipt)
}

fn check_part(path: &Path) -> Result<Receipt, Error> {
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let footer = Footer::read(path, &mut file)?;
    footer::verify(path, &mut file, &footer)?;
    receipt_in(path, &footer)
}

fn check_tar(path: &Path, seal: &TarSeal) -> Result<(), Error> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let size = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
    if size != seal.bytes {
        return Err(Error::damaged(
            path,
            format!("it has {size} bytes, not {}", seal.bytes),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(file)
        .map_err(|e| Error::io("read", path, e))?;
    if hasher.finalize().to_hex().as_str() != seal.blake3 {
        return Err(Error::damaged(path, "its hash is not the one in the receipt"));
    }
    Ok(())
}

/// Hands every row of any part or listing to `on` as JSON, row group by row group, until it breaks. It starts at
/// once however long the file is, and does not verify the check.
pub fn for_each_row(
    path: &Path,
    on: &mut dyn FnMut(Map<String, Value>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut reader = TableReader::open(path)?;
    for group in 0..reader.groups() {
        let table = reader.group(group, None)?;
        if rows_as_json(path, &table, 0..table.len(), on)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// As [`for_each_row`], but only rows whose value of `field` is `wanted`. The other columns of a row group without
/// such a row are not read. A file without that column has no such row.
pub fn for_each_row_where(
    path: &Path,
    field: &str,
    wanted: &dyn Fn(&Value) -> bool,
    on: &mut dyn FnMut(Map<String, Value>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut reader = TableReader::open(path)?;
    if !reader.names()?.iter().any(|name| name == field) {
        return Ok(());
    }
    for group in 0..reader.groups() {
        let column = reader.group(group, Some(vec![field.to_owned()]))?;
        let mut places = Vec::new();
        for i in 0..column.len() {
            let cell: Map<String, Value> = row(&column, i).map_err(|e| Error::damaged(path, e))?;
            places.extend(cell.get(field).is_some_and(wanted).then_some(i));
        }
        if places.is_empty() {
            continue;
        }
        let table = reader.group(group, None)?;
        if rows_as_json(path, &table, places, on)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn rows_as_json(
    path: &Path,
    table: &Node,
    places: impl IntoIterator<Item = usize>,
    on: &mut dyn FnMut(Map<String, Value>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    for i in places {
        let mut row: Map<String, Value> =
            guarded(path, || row(table, i).map_err(|e| Error::damaged(path, e)))?;
        row.remove(SHARD);
        if on(row).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
