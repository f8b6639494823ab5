//! What can end a run.

use std::path::{Path, PathBuf};

/// Why a plan could not be made, or a run or a reader could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record is read that nothing makes.
    #[error("stage `{stage}` needs `{record}`, and no stage in this recipe makes it")]
    NoMaker {
        /// The reading stage.
        stage: String,
        /// The record it reads.
        record: String,
    },
    /// Two stages make one record.
    #[error("record `{record}` is made by both `{first}` and `{second}`; keep one of them in the recipe")]
    TwoMakers {
        /// The record.
        record: String,
        /// The stage listed first (`source` for the listing).
        first: String,
        /// The other.
        second: String,
    },
    /// One stage twice in a plan.
    #[error("stage `{0}` is named twice in this recipe")]
    StageTwice(String),
    /// Stages that wait for each other.
    #[error("stages {0} need each other's records, so none of them can run first")]
    Circle(String),
    /// `only` names a stage that the plan lacks.
    #[error("no stage `{name}` in this recipe; it has: {known}")]
    UnknownStage {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A run option that makes no sense.
    #[error("{0}")]
    Option(String),
    /// The source could not list the corpus.
    #[error("source `{name}` could not list the corpus: {source}")]
    Source {
        /// The source.
        name: String,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source listed one clip twice in a shard.
    #[error("source `{name}` lists the clip `{key}` twice")]
    KeyTwice {
        /// The source.
        name: String,
        /// The clip.
        key: String,
    },
    /// A stage ended the run.
    #[error("stage `{stage}` stopped at `{key}`: {source}")]
    Stage {
        /// The stage.
        stage: String,
        /// The clip it was working on.
        key: String,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More clips of a shard were dropped than the recipe allows.
    #[error(
        "stage `{stage}` dropped {dropped} of {clips} clips of shard {shard} ({:.1} %, the recipe allows {:.1} %), \
         most often `{reason}` ({count} times); mend the cause or raise `max_drop_rate`",
        100.0 * *dropped as f64 / (*clips).max(1) as f64, 100.0 * limit
    )]
    DropRate {
        /// The stage.
        stage: String,
        /// The shard.
        shard: String,
        /// Clips it dropped.
        dropped: u64,
        /// Clips it was given.
        clips: u64,
        /// The allowed share, 0..=1.
        limit: f64,
        /// The most common reason.
        reason: String,
        /// How often it was given.
        count: u64,
    },
    /// A file or folder of the output could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of the output is not what it should be.
    #[error("{}: {what}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The output folder holds no run.
    #[error("{} holds no run (no run.json); give the folder that `--out` named", .0.display())]
    NoRun(PathBuf),
    /// No stage of the run makes a record.
    #[error("no stage of this run makes `{record}`; it has: {known}")]
    UnknownRecord {
        /// The record asked for.
        record: String,
        /// The records there are.
        known: String,
    },
    /// A part, pack or listing could not be read or written.
    #[error(transparent)]
    Manifest(#[from] omni_manifests::Error),
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
