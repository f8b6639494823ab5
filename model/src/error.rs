//! What can go wrong here, told by what the caller can do about it.

use crate::weights::Mismatch;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
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
