//! What can go wrong here, told by what the caller can do about it.

use crate::weights::Mismatch;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read, or not be written.
    #[error("`{}` cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is damaged, or not what it was taken for.
    #[error("`{}` cannot be read as {kind}: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it was taken for.
        kind: &'static str,
        /// What does not fit.
        why: String,
    },
    /// The tensors of a checkpoint are not those of the network.
    #[error(transparent)]
    Weights(#[from] Mismatch),
    /// A configuration that no network can have.
    #[error("configuration: {0}")]
    Config(String),
    /// An input that the network cannot take.
    #[error("input: {0}")]
    Input(String),
    /// A sample that cannot be trained on.
    #[error("sample `{id}`: {why}")]
    Sample {
        /// Its name.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A recipe of training that cannot be meant.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A loss or a gradient that is no number; the weights are those of before the step.
    #[error(
        "step {step}: {what} is {value}, over the samples {}; the weights before it are kept. Leave samples out with \
         `exclude` in the recipe, or lower `lr`",
        ids.join(", ")
    )]
    NotFinite {
        /// The step, from 0.
        step: u64,
        /// The loss of a stream, or the gradients' length.
        what: String,
        /// Its value.
        value: f64,
        /// The samples it came from.
        ids: Vec<String>,
    },
    /// Ranks that do not find each other or do not fit together.
    #[error("ranks: {0}")]
    Ranks(String),
    /// Another rank of a run ended or does not answer.
    #[error("rank {rank} stops: {why}; start the run again with --resume")]
    Rank {
        /// This rank.
        rank: usize,
        /// What it waited for.
        why: String,
    },
    /// A state that cannot be gone on from.
    #[error("{0}")]
    Resume(String),
    /// A device that this build or this machine does not have.
    #[error("{0}")]
    Device(String),
    /// Whoever watched asked to stop.
    #[error("stopped")]
    Stopped,
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// As an error of candle's, for functions that candle's graph calls.
pub(crate) fn into_tensor(error: Error) -> candle_core::Error {
    match error {
        Error::Tensor(error) => error,
        other => candle_core::Error::wrap(other),
    }
}
