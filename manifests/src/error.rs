//! What can go wrong with manifests.

use std::{
    cell::Cell,
    io,
    path::{Path, PathBuf},
};

/// An error of this crate. [`Error::is_damage`] tells whether writing the part anew mends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No room on the file system; nothing was left behind.
    #[error("no space left while writing {}; free some and start again", path.display())]
    NoSpace {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused something else.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what its writer wrote: cut off, altered, or not a manifest at all.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// A whole part of another record or of another version of it.
    #[error("{} holds {found}, not {expected}", path.display())]
    WrongRecord {
        /// The file.
        path: PathBuf,
        /// Record name and version asked for.
        expected: String,
        /// Record name and version found.
        found: String,
    },
    /// A row that no part can hold: not-a-number, an integer beyond 64 bits, a field without a column.
    #[error("row {row} of record `{record}` cannot be stored: {what}")]
    Row {
        /// The record's name.
        record: String,
        /// Number of the row, from 0.
        row: u64,
        /// Column and cause.
        what: String,
    },
    /// The writer of tables failed for a reason of its own.
    #[error("cannot write {}: {what}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// A table that cannot be read, or not with these columns.
    #[error("cannot read the table {}: {what}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
}

impl Error {
    /// Whether the file is missing or altered, so that making it again is the remedy.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Missing { .. } | Error::Damaged { .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound if action == "open" => Error::Missing { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path, source },
            _ => Error::Io { action, path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl ToString) -> Error {
        Error::Damaged {
            path: path.to_path_buf(),
            what: what.to_string(),
        }
    }

    pub(crate) fn table(path: &Path, what: impl ToString) -> Error {
        Error::Table {
            path: path.to_path_buf(),
            what: what.to_string(),
        }
    }
}

thread_local! {
    /// How many readers that may panic are running on this thread.
    static READING: Cell<usize> = const { Cell::new(0) };
}

/// Runs a reader that may panic on a hostile file, and makes the panic an error of that file.
pub(crate) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    READING.set(READING.get() + 1);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    READING.set(READING.get() - 1);
    outcome.unwrap_or_else(|_| Err(Error::damaged(path, "its contents contradict each other")))
}

/// Makes the process's panic hook silent about panics of the table library on a hostile file: they are caught and
/// come back as [`Error::Damaged`], so what the hook prints would only alarm. All other panics reach the hook that
/// was there before. A binary calls this once, after it has set its own hook.
pub fn hush_readers() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // A thread that is ending has no such value left, and reads nothing.
        if READING.try_with(Cell::get).unwrap_or(0) == 0 {
            before(panic);
        }
    }));
}
