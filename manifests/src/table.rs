//! Parquet files, row group by row group: the only place that talks to polars' readers and writers.

use crate::{
    Error,
    bounds::{self, MOST_BYTES, MOST_VALUES},
    error::guarded,
    footer::Footer,
    node::{Node, schema},
    temporary::Temporary,
};
use omni_schemas::Column;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    KeyValueMetadata, ParallelStrategy, ParquetCompression, ParquetReader, ParquetWriter, PolarsError,
    SerReader, StatisticsOptions,
};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A Parquet file being written.
pub(crate) struct TableWriter {
    writer: BatchedWriter<Handle>,
    temp: Handle,
    target: PathBuf,
}

impl TableWriter {
    /// Starts a table with these columns and footer entries.
    pub(crate) fn new(
        temp: Temporary,
        columns: &[Column],
        footer: Vec<(String, String)>,
    ) -> Result<TableWriter, Error> {
        let target = temp.target().to_path_buf();
        let temp = Handle(Arc::new(Mutex::new(Some(temp))));
        let writer = schema(columns).and_then(|schema| {
            ParquetWriter::new(temp.clone())
                .with_compression(ParquetCompression::Zstd(None))
                .with_statistics(StatisticsOptions::empty())
                .with_key_value_metadata(Some(KeyValueMetadata::from_static(footer)))
                .set_parallel(false)
                .batched(&schema)
        });
        match writer {
            Ok(writer) => Ok(TableWriter { writer, temp, target }),
            Err(e) => Err(temp.explain(&target, &e)),
        }
    }

    /// Appends one row group. A table without rows is left out.
    pub(crate) fn push(&mut self, table: Node) -> Result<(), Error> {
        if table.len() == 0 {
            return Ok(());
        }
        let (values, bytes) = table.size();
        if values > MOST_VALUES / 2 || bytes > MOST_BYTES / 2 {
            let what = format!(
                "{} rows of {bytes} bytes are too much for one row group",
                table.len()
            );
            let path = self.target.clone();
            return Err(Error::Encode { path, what });
        }
        let written = table
            .into_frame()
            .and_then(|frame| self.writer.write_batch(&frame));
        written.map_err(|e| self.temp.explain(&self.target, &e))
    }

    /// Writes the footer and gives the file back, still under its temporary name.
    pub(crate) fn finish(self) -> Result<Temporary, Error> {
        if let Err(e) = self.writer.finish() {
            return Err(self.temp.explain(&self.target, &e));
        }
        self.temp.take().ok_or_else(|| Error::Encode {
            path: self.target,
            what: "the file was finished twice".to_owned(),
        })
    }
}

/// The file, shared by polars' writer and by us.
#[derive(Clone)]
struct Handle(Arc<Mutex<Option<Temporary>>>);

impl Handle {
    fn take(&self) -> Option<Temporary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The system's own error where there was one. The temporary file is removed.
    fn explain(&self, target: &Path, error: &PolarsError) -> Error {
        let failure = self.take().and_then(|mut temp| temp.take_failure());
        failure.unwrap_or_else(|| Error::Encode {
            path: target.to_path_buf(),
            what: error.to_string(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Temporary) -> io::Result<T>) -> io::Result<T> {
        let mut temp = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(temp.as_mut().ok_or(io::ErrorKind::BrokenPipe)?)
    }
}

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|temp| temp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Temporary::flush)
    }
}

/// A Parquet file being read.
pub(crate) struct TableReader {
    path: PathBuf,
    reader: ParquetReader<File>,
    /// whether the file is to be one of ours, so that its claims are bounded
    ours: bool,
    /// row at which each row group starts, and the end
    starts: Vec<usize>,
}

impl TableReader {
    /// Reads the footer of a part or listing.
    pub(crate) fn open(path: &Path) -> Result<TableReader, Error> {
        TableReader::open_as(path, true)
    }

    /// Reads the footer of a table that is no manifest of ours: its row groups may have any size.
    pub(crate) fn open_foreign(path: &Path) -> Result<TableReader, Error> {
        TableReader::open_as(path, false)
    }

    fn open_as(path: &Path, ours: bool) -> Result<TableReader, Error> {
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let footer = Footer::read(path, &mut file)?;
        bounds::check_schema(footer.bytes()).map_err(|e| Error::damaged(path, e))?;
        guarded(path, || {
            let mut reader = ParquetReader::new(file);
            let metadata = reader.get_metadata().map_err(|e| Error::damaged(path, e))?;
            let mut starts = vec![0_usize];
            for group in &metadata.row_groups {
                let end = starts[starts.len() - 1].checked_add(group.num_rows());
                starts.push(end.ok_or_else(|| Error::damaged(path, "too many rows"))?);
            }
            let path = path.to_path_buf();
            Ok(TableReader {
                path,
                reader,
                ours,
                starts,
            })
        })
    }

    /// Names of the columns, in the file's order.
    pub(crate) fn names(&mut self) -> Result<Vec<String>, Error> {
        let (path, reader) = (&self.path, &mut self.reader);
        guarded(path, || {
            let schema = reader.schema().map_err(|e| Error::damaged(path, e))?;
            Ok(schema.iter_names().map(ToString::to_string).collect())
        })
    }

    /// The rows in pieces of about so many bytes once unpacked: a row group, or an equal share of a larger one.
    pub(crate) fn pieces(&mut self, bytes: usize) -> Vec<std::ops::Range<usize>> {
        let metadata = self.reader.get_metadata().ok();
        let groups = metadata.iter().flat_map(|metadata| &metadata.row_groups);
        let shares: Vec<usize> = groups
            .map(|group| group.total_byte_size().div_ceil(bytes))
            .collect();
        let mut pieces = Vec::new();
        for (bounds, shares) in self.starts.windows(2).zip(shares) {
            let step = (bounds[1] - bounds[0]).div_ceil(shares.max(1)).max(1);
            let starts = (bounds[0]..bounds[1]).step_by(step);
            pieces.extend(starts.map(|start| start..bounds[1].min(start + step)));
        }
        pieces
    }

    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of rows of row group `i`.
    pub(crate) fn group_rows(&self, i: usize) -> usize {
        self.starts[i + 1] - self.starts[i]
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.starts[self.groups()]
    }

    /// Row group `i`, all columns or those named.
    pub(crate) fn group(&mut self, i: usize, columns: Option<Vec<String>>) -> Result<Node, Error> {
        if self.ours {
            let (path, reader) = (&self.path, &mut self.reader);
            guarded(path, || {
                let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
                let metadata = reader.get_metadata().map_err(|e| Error::damaged(path, e))?;
                bounds::check_group(&mut file, metadata, i).map_err(|e| Error::damaged(path, e))
            })?;
        }
        self.rows_of(self.starts[i]..self.starts[i + 1], columns)
    }

    /// A range of rows, without a look at what they claim.
    pub(crate) fn rows_of(
        &mut self,
        rows: std::ops::Range<usize>,
        columns: Option<Vec<String>>,
    ) -> Result<Node, Error> {
        let path = &self.path;
        guarded(path, || {
            let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
            let metadata = self.reader.get_metadata().map_err(|e| Error::damaged(path, e))?;
            let mut reader = ParquetReader::new(file);
            reader.set_metadata(metadata.clone());
            let frame = reader
                .with_slice(Some((rows.start, rows.len())))
                .with_columns(columns)
                .read_parallel(ParallelStrategy::None)
                .finish()
                .map_err(|e| Error::damaged(path, e))?;
            let table = Node::from_frame(&frame).map_err(|e| Error::table(path, e))?;
            if table.len() != rows.len() {
                return Err(Error::damaged(
                    path,
                    "a row group is shorter than the footer says",
                ));
            }
            Ok(table)
        })
    }
}
