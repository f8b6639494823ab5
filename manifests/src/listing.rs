//! Listings: one Parquet file for a whole corpus, written as a stream, read shard by shard.
//!
//! A row group holds whole shards, as many as make a few thousand rows: what Parquet keeps in memory of a row group is
//! about a hundred kilobytes, so one for every shard of a large corpus would take gigabytes. A last column,
//! [`SHARD`], tells which shard a row is of.

use crate::{
    Error,
    error::guarded,
    footer::{self, CHECK, Footer, LISTING, NO_CHECK},
    from_rows::push_row,
    node::{Node, Values},
    part::{GROUP, GROUP_BYTES, rows_of},
    table::{TableReader, TableWriter},
    temporary::Temporary,
};
use omni_schemas::{Column, Kind, Record};
use serde_json::Value;
use std::{
    fs::File,
    marker::PhantomData,
    ops::Range,
    path::{Path, PathBuf},
};

/// The column of the shard's number; no field of a record, so whoever reads rows does not see it.
pub(crate) const SHARD: &str = "omni.shard";

/// Writes a listing; dropped before [`ListingWriter::finish`], it leaves nothing behind.
pub struct ListingWriter<R> {
    writer: TableWriter,
    path: PathBuf,
    rows: u64,
    shards: i64,
    /// The row group to come, and the shard of each of its rows.
    pending: Node,
    of_shard: Vec<i64>,
    record: PhantomData<R>,
}

impl<R: Record> ListingWriter<R> {
    /// Starts a listing under a temporary name; `meta` goes to the footer as it is.
    pub fn create(path: &Path, meta: &Value) -> Result<ListingWriter<R>, Error> {
        let footer = vec![
            (LISTING.to_owned(), meta.to_string()),
            (CHECK.to_owned(), NO_CHECK.to_owned()),
        ];
        let mut columns: Vec<Column> = R::columns();
        let pending = Node::of_columns(&columns);
        columns.push(Column {
            name: SHARD,
            kind: Kind::I64,
            about: "number of the row's shard",
        });
        Ok(ListingWriter {
            writer: TableWriter::new(Temporary::create(path)?, &columns, footer)?,
            path: path.to_path_buf(),
            rows: 0,
            shards: 0,
            pending,
            of_shard: Vec::new(),
            record: PhantomData,
        })
    }

    /// Appends the rows of one shard. No rows make no shard.
    ///
    /// # Errors
    /// As [`write_part`](crate::write_part); the listing is lost then.
    pub fn push_group(&mut self, rows: &[R]) -> Result<(), Error> {
        for row in rows {
            push_row(&mut self.pending, row).map_err(|e| Error::Row {
                record: R::NAME.to_owned(),
                row: self.rows,
                what: e.to_string(),
            })?;
            self.of_shard.push(self.shards);
            self.rows += 1;
        }
        self.shards += i64::from(!rows.is_empty());
        if self.pending.len() >= GROUP || self.pending.size().1 >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut table = std::mem::replace(&mut self.pending, Node::of_columns(&R::columns()));
        let of_shard = std::mem::take(&mut self.of_shard);
        if let Values::Struct { names, fields } = &mut table.values {
            names.push(SHARD.to_owned());
            fields.push(Node {
                valid: vec![true; of_shard.len()],
                values: Values::I64(of_shard),
            });
        }
        self.writer.push(table)
    }

    /// Seals the file as a part is sealed, flushes and renames it.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        let mut temp = self.writer.finish()?;
        footer::seal(&mut temp, &self.path)?;
        temp.publish()
    }
}

/// Where the rows of a shard lie: in which row group, and which of its rows.
struct Place {
    group: usize,
    rows: Range<usize>,
}

/// Reads a listing, shard by shard.
pub struct ListingReader {
    reader: TableReader,
    path: PathBuf,
    meta: Value,
    shards: Vec<Place>,
    /// The row group read last: shards are mostly asked for in order.
    last: Option<(usize, Node)>,
}

impl ListingReader {
    /// Opens a listing after checking the whole file once.
    pub fn open(path: &Path) -> Result<ListingReader, Error> {
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let footer = Footer::read(path, &mut file)?;
        footer::verify(path, &mut file, &footer)?;
        let (_, text) = footer
            .find(LISTING)
            .ok_or_else(|| Error::damaged(path, "it is not a listing"))?;
        let meta = serde_json::from_str(text).map_err(|e| Error::damaged(path, e))?;
        let mut reader = TableReader::open(path)?;
        Ok(ListingReader {
            shards: places(&mut reader)?,
            reader,
            path: path.to_path_buf(),
            meta,
            last: None,
        })
    }

    /// Number of shards.
    pub fn groups(&self) -> usize {
        self.shards.len()
    }

    /// Number of rows of all shards.
    pub fn rows(&self) -> usize {
        self.reader.rows()
    }

    /// What the writer said about the listing.
    pub fn meta(&self) -> Value {
        self.meta.clone()
    }

    /// The rows of shard `i` (below [`ListingReader::groups`]); [`Error::WrongRecord`] when they have other columns than
    /// the record.
    pub fn group<R: Record>(&mut self, i: usize) -> Result<Vec<R>, Error> {
        let Some(place) = self.shards.get(i) else {
            return Err(Error::table(
                &self.path,
                format!("it has {} shards, no number {i}", self.groups()),
            ));
        };
        let table = match self.last.take() {
            Some((group, table)) if group == place.group => table,
            _ => self.reader.group(place.group, None)?,
        };
        let rows = guarded(&self.path, || rows_of(&self.path, &table, place.rows.clone()));
        self.last = Some((place.group, table));
        // The seal held when the file was opened, so rows that do not fit are no damage but another version's.
        rows.map_err(|error| match error {
            Error::Damaged { path, what } => Error::WrongRecord {
                path,
                expected: format!("{} version {}", R::NAME, R::VERSION),
                found: format!("rows of another version ({what}); `omni curate` lists the corpus anew"),
            },
            other => other,
        })
    }
}

/// The shards by their column; a listing of version 0.1 has none, and a row group for every shard.
fn places(reader: &mut TableReader) -> Result<Vec<Place>, Error> {
    let named = reader.names()?.iter().any(|name| name == SHARD);
    let mut places: Vec<Place> = Vec::new();
    for group in 0..reader.groups() {
        let table = match named {
            true => reader.group(group, Some(vec![SHARD.to_owned()]))?,
            false => {
                let rows = 0..reader.group_rows(group);
                places.push(Place { group, rows });
                continue;
            }
        };
        let shards = match table.field(SHARD).map(|field| &field.values) {
            Some(Values::I64(shards)) => shards.as_slice(),
            _ => &[],
        };
        for (row, &shard) in shards.iter().enumerate() {
            match (shard - places.len() as i64, places.last_mut()) {
                (-1, Some(place)) if place.group == group && place.rows.end == row => place.rows.end += 1,
                (0, _) => places.push(Place {
                    group,
                    rows: row..row + 1,
                }),
                _ => return Err(Error::damaged(reader.path(), "its shards are not in order")),
            }
        }
    }
    Ok(places)
}
