//! All that a run says of the clips of one shard, joined by clip: what the report and the exports are made from.
//!
//! Rows stay JSON, so that a record added later shows up without a change here.

use omni_manifests::{ListingReader, Receipt};
use omni_pipeline::readers::{Run, StageEntry};
use omni_schemas::{Blob, Listing};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// A row of any record: an object. A column that an older version of the record lacks reads as null.
pub type Row = Value;

/// Why the files of a run cannot be shown or exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] omni_pipeline::Error),
    /// A part, pack or listing cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] omni_manifests::Error),
    /// A clip's media cannot be read.
    #[error(transparent)]
    Media(#[from] omni_media::Error),
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder that was named cannot be used.
    #[error("{}: {what}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
}

impl Error {
    /// Names the path of a system error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Whether a clip's media can be opened: a file, or a stretch of an archive (`omni_media::Window`).
pub(crate) fn is_there(media: &Path) -> bool {
    omni_media::Window::open(media).is_ok()
}

/// Size and time of change (nanoseconds since 1970) of the file, or of the archive, that a clip's media lie in; by
/// these a report or an export sees that they changed.
pub(crate) fn media_stamp(media: &Path) -> Option<(u64, u64)> {
    let file = omni_media::split_window(media).map(|(archive, ..)| archive);
    let data = fs::metadata(file.as_deref().unwrap_or(media)).ok()?;
    let time = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((data.len(), u64::try_from(time.as_nanos()).ok()?))
}

/// What became of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Every stage is done and none dropped it.
    Kept,
    /// A stage dropped it.
    Dropped {
        /// The stage.
        stage: String,
        /// The reason.
        reason: String,
    },
    /// A stage has yet to run.
    Pending {
        /// The first such stage.
        stage: String,
    },
}

/// Everything known of one clip.
#[derive(Debug, Clone)]
pub struct Known {
    /// The source's row.
    pub listing: Listing,
    /// What became of it.
    pub fate: Fate,
    /// Its rows by record, in the order of the part.
    pub rows: BTreeMap<String, Vec<Row>>,
}

impl Known {
    /// The rows of a record; none when there are none.
    pub fn all(&self, record: &str) -> &[Row] {
        self.rows.get(record).map_or(&[], Vec::as_slice)
    }

    /// The first row of a record.
    pub fn one(&self, record: &str) -> Option<&Row> {
        self.all(record).first()
    }
}

/// One shard of a run.
#[derive(Debug)]
pub struct Shard {
    /// Its clips, in the order of the listing.
    pub clips: Vec<Known>,
    /// The tar of each record, where there is one.
    pub tars: BTreeMap<String, PathBuf>,
}

/// What one shard's parts say without reading their rows: by stage, the receipt of a part that is there.
pub type Receipts = BTreeMap<String, Receipt>;

/// The receipts of a shard.
///
/// # Errors
/// When a part that is there cannot be read.
pub fn receipts(run: &Run, number: usize) -> Result<Receipts, Error> {
    let mut found = Receipts::new();
    for entry in &run.file().stages {
        let path = run.shard_part(entry, number);
        if path.exists() {
            found.insert(entry.stage.clone(), omni_manifests::read_receipt(&path)?);
        }
    }
    Ok(found)
}

/// Reads one shard.
///
/// # Errors
/// When the listing or a part that is there cannot be read.
pub fn shard(
    run: &Run,
    listing: &mut ListingReader,
    number: usize,
    receipts: &Receipts,
) -> Result<Shard, Error> {
    let listed: Vec<Listing> = listing.group(number)?;
    let mut rows: BTreeMap<String, BTreeMap<String, Vec<Row>>> = BTreeMap::new();
    let mut tars = BTreeMap::new();
    for entry in &run.file().stages {
        let Some(receipt) = receipts.get(&entry.stage) else {
            continue;
        };
        let path = run.shard_part(entry, number);
        if receipt.tar.is_some() {
            tars.insert(entry.record.clone(), path.with_extension("tar"));
        }
        let of_record = rows.entry(entry.record.clone()).or_default();
        omni_manifests::for_each_row(&path, &mut |row| {
            // Every record's key column comes first; most call it `clip`.
            let key = row.get("clip").or_else(|| row.values().next());
            let key = key.and_then(Value::as_str).unwrap_or_default();
            of_record
                .entry(key.to_owned())
                .or_default()
                .push(Value::Object(row));
            ControlFlow::Continue(())
        })?;
    }
    let stages = &run.file().stages;
    let clips = listed.into_iter().map(|listing| {
        let fate = fate(stages, receipts, &listing.clip);
        let own = rows.iter_mut().filter_map(|(record, by_clip)| {
            let own = by_clip.remove(&listing.clip)?;
            Some((record.clone(), own))
        });
        Known {
            rows: own.collect(),
            fate,
            listing,
        }
    });
    Ok(Shard {
        clips: clips.collect(),
        tars,
    })
}

fn fate(stages: &[StageEntry], receipts: &Receipts, key: &str) -> Fate {
    let of = |entry: &StageEntry| {
        let reason = receipts.get(&entry.stage)?.drops.get(key)?;
        Some(Fate::Dropped {
            stage: entry.stage.clone(),
            reason: reason.clone(),
        })
    };
    let missing = |entry: &&StageEntry| !receipts.contains_key(&entry.stage);
    let pending = || {
        let entry = stages.iter().find(missing)?;
        Some(Fate::Pending {
            stage: entry.stage.clone(),
        })
    };
    stages.iter().find_map(of).or_else(pending).unwrap_or(Fate::Kept)
}

/// A pointer into a tar, where a value is one.
pub fn as_blob(value: &Value) -> Option<Blob> {
    value
        .is_object()
        .then(|| serde_json::from_value(value.clone()).ok())
        .flatten()
}

/// The folder the clips lie in: the one given, or the run's. A relative one is taken from the working folder.
///
/// # Errors
/// When there is no such folder.
pub fn media_root(run: &Run, given: Option<&Path>) -> Result<PathBuf, Error> {
    let root = given.unwrap_or(&run.file().root);
    fs::canonicalize(root).map_err(|error| Error::Folder {
        path: root.to_owned(),
        what: format!("the clips' folder cannot be opened ({error}); name it with --root DIR"),
    })
}
