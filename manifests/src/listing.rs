//! Listings: one Parquet file for a whole corpus, one row group per shard, written as a stream.

use crate::{
    Error,
    footer::{self, CHECK, Footer, LISTING, NO_CHECK},
    part::{columns_of, rows_of},
    table::{TableReader, TableWriter},
    temporary::Temporary,
};
use omni_schemas::Record;
use serde_json::Value;
use std::{
    fs::File,
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// Writes a listing; dropped before [`ListingWriter::finish`], it leaves nothing behind.
pub struct ListingWriter<R> {
    writer: TableWriter,
    path: PathBuf,
    rows: u64,
    record: PhantomData<R>,
}

impl<R: Record> ListingWriter<R> {
    /// Starts a listing under a temporary name; `meta` goes to the footer as it is.
    pub fn create(path: &Path, meta: &Value) -> Result<ListingWriter<R>, Error> {
        let footer = vec![
            (LISTING.to_owned(), meta.to_string()),
            (CHECK.to_owned(), NO_CHECK.to_owned()),
        ];
        Ok(ListingWriter {
            writer: TableWriter::new(Temporary::create(path)?, &R::columns(), footer)?,
            path: path.to_path_buf(),
            rows: 0,
            record: PhantomData,
        })
    }

    /// Appends the rows of one shard as one row group. No rows make no group.
    pub fn push_group(&mut self, rows: &[R]) -> Result<(), Error> {
        let table = columns_of(rows, self.rows)?;
        self.rows += rows.len() as u64;
        self.writer.push(table)
    }

    /// Seals the file as a part is sealed, flushes and renames it.
    pub fn finish(self) -> Result<(), Error> {
        let mut temp = self.writer.finish()?;
        footer::seal(&mut temp, &self.path)?;
        temp.publish()
    }
}

/// Reads a listing, shard by shard.
pub struct ListingReader {
    reader: TableReader,
    path: PathBuf,
    meta: Value,
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
        Ok(ListingReader {
            reader: TableReader::open(path)?,
            path: path.to_path_buf(),
            meta: serde_json::from_str(text).map_err(|e| Error::damaged(path, e))?,
        })
    }

    /// Number of shards.
    pub fn groups(&self) -> usize {
        self.reader.groups()
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
        if i >= self.groups() {
            return Err(Error::table(
                &self.path,
                format!("it has {} shards, no number {i}", self.groups()),
            ));
        }
        let rows = rows_of(&self.path, &self.reader.group(i, None)?);
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
