//! Corpora: one file each, one line in [`ALL`]. A source lists clips and never opens media.
//!
//! No source here gives a stamp (`Source::stamp`). It would have to change with every table, side file and name below
//! the root, so it costs the same walk and a `stat` a file, and saves only the reading of the tables. And it could miss
//! a change: times may be set back by a copy, two writes may fall into one tick of the clock, and a network file system
//! may answer from its cache. A listing that is read again can do none of that.

mod counts;
pub mod emilia;
pub mod folder;
mod media_index;
pub mod openhumanvid;
pub mod opens2v;
mod rows;
mod tar;
mod walk;

pub use counts::Counts;
use omni_pipeline::{Source, SourceError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Makes a source.
pub type Build = fn(root: &Path, settings: &Value) -> Result<Box<dyn Source>, Error>;

/// A source as the command line knows it.
pub struct SourceEntry {
    /// What `--source` is followed by.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Makes the source from the corpus folder and its settings (`null` or an object; the recipe's table).
    pub build: Build,
}

/// Every source.
pub const ALL: &[SourceEntry] = &[openhumanvid::ENTRY, opens2v::ENTRY, emilia::ENTRY, folder::ENTRY];

/// The source of that name.
pub fn find(name: &str) -> Option<&'static SourceEntry> {
    ALL.iter().find(|entry| entry.name == name)
}

/// Why a corpus cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The corpus folder is not there.
    #[error(
        "corpus folder {path} does not exist or is no folder; name it with `--root` or `roots.<source>` in omni.toml"
    )]
    NoRoot {
        /// The folder that was looked for.
        path: PathBuf,
    },
    /// The folder holds nothing the source can read.
    #[error(
        "{path} holds no {wanted}; point `--root` (or `roots.<source>` in omni.toml) at a folder that does"
    )]
    Nothing {
        /// The folder that was searched.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// A folder cannot be listed.
    #[error("cannot list {path}: {source}")]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table cannot be read.
    #[error("table {path}: {what}")]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A table cannot be opened or read.
    #[error(transparent)]
    Manifest(#[from] omni_manifests::Error),
    /// The source's settings make no sense.
    #[error("settings of source `{source_name}`: {what}")]
    Settings {
        /// The source.
        source_name: &'static str,
        /// What is wrong.
        what: String,
    },
    /// Whoever takes the rows refused one.
    #[error(transparent)]
    Sink(#[from] omni_pipeline::SourceError),
}

impl Error {
    fn list(path: &Path, source: std::io::Error) -> Error {
        Error::List {
            path: path.to_owned(),
            source,
        }
    }
}

fn check_root(root: &Path) -> Result<(), Error> {
    match root.is_dir() {
        true => Ok(()),
        false => Err(Error::NoRoot {
            path: root.to_owned(),
        }),
    }
}

fn read_settings<T: DeserializeOwned + Default>(name: &'static str, settings: &Value) -> Result<T, Error> {
    if settings.is_null() {
        return Ok(T::default());
    }
    let refuse = |error: serde_json::Error| Error::Settings {
        source_name: name,
        what: error.to_string(),
    };
    serde_json::from_value(settings.clone()).map_err(refuse)
}

/// What the sink said goes back as it came.
fn into_source_error(error: Error) -> SourceError {
    match error {
        Error::Sink(error) => error,
        other => SourceError::new(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_pipeline::ListingSink;
    use omni_schemas::Listing;

    /// Remembers what a source said.
    #[derive(Default)]
    pub(super) struct Seen {
        pub kept: Vec<Listing>,
        pub dropped: Vec<(String, String)>,
    }

    impl ListingSink for Seen {
        fn keep(&mut self, row: Listing) -> Result<(), SourceError> {
            self.kept.push(row);
            Ok(())
        }

        fn drop(&mut self, key: &str, reason: &str) -> Result<(), SourceError> {
            self.dropped.push((key.to_owned(), reason.to_owned()));
            Ok(())
        }
    }

    /// Writes files below a new folder.
    pub(super) fn corpus(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn every_source_file_is_listed() {
        const PARTS: [&str; 9] = [
            "counts.rs",
            "media_index.rs",
            "mod.rs",
            "emilia_tests.rs",
            "openhumanvid_tests.rs",
            "opens2v_tests.rs",
            "rows.rs",
            "tar.rs",
            "walk.rs",
        ];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sources");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".rs") && !PARTS.contains(&name.as_str()) {
                let source = name.trim_end_matches(".rs");
                assert!(find(source).is_some(), "{name} is not in sources::ALL");
            }
        }
        assert!(find("nothing").is_none());
    }

    #[test]
    fn a_wrong_root_names_the_flag_and_a_wrong_key_the_source() {
        let empty = corpus(&[("notes.txt", "")]);
        for entry in ALL {
            let said =
                |root: &Path, settings: &Value| (entry.build)(root, settings).err().unwrap().to_string();
            let missing = said(&empty.path().join("nowhere"), &Value::Null);
            assert!(
                missing.contains("--root") && missing.contains("nowhere"),
                "{missing}"
            );
            let nothing = said(empty.path(), &Value::Null);
            assert!(
                nothing.contains("--root") && nothing.contains("holds no"),
                "{nothing}"
            );
            let typo = said(empty.path(), &serde_json::json!({ "filtres": {} }));
            assert!(typo.contains(entry.name) && typo.contains("filtres"), "{typo}");
        }
    }
}
