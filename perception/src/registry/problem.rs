//! Why files could not be brought, with the way out in each message.

use std::path::PathBuf;

use super::spec::{FileSpec, ModelSpec};

/// Errors of [`super::pull`].
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The licence of the weights is not on the user's list.
    #[error("`{id}`: the weights' licence ({licence}) is not among those allowed")]
    LicenceRefused {
        /// Id of the network.
        id: String,
        /// Its weights' licence.
        licence: String,
    },
    /// Weights for non-commercial use, and nobody has agreed to that.
    #[error(
        "`{id}` is for non-commercial use only (package: {package}; weights: {weights}); agree with `--accept-nc`"
    )]
    NonCommercial {
        /// Id of the network.
        id: String,
        /// Licence of the package.
        package: String,
        /// Licence of the weights.
        weights: String,
    },
    /// A package client is not installed.
    #[error("`{tool}` is not installed; {remedy}")]
    ToolMissing {
        /// The program.
        tool: String,
        /// How to get it, or how to do without.
        remedy: String,
    },
    /// A package client failed.
    #[error("`{command}` failed ({status}): {stderr}; {remedy}")]
    ToolFailed {
        /// The whole command line.
        command: String,
        /// Exit status in words.
        status: String,
        /// The last lines of its complaint.
        stderr: String,
        /// Which file to put where.
        remedy: String,
    },
    /// A package does not hold what the list says.
    #[error("{archive}: {message}")]
    Archive {
        /// The package file.
        archive: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file is not the listed one.
    #[error("{origin}: not the file `{name}` of `{id}`: {message}")]
    WrongFile {
        /// Id of the network.
        id: String,
        /// Name of the file.
        name: String,
        /// Where it came from.
        origin: String,
        /// Size or hash found and expected.
        message: String,
    },
    /// A download failed.
    #[error("{source}; {remedy}")]
    Download {
        /// What happened on the wire.
        source: omni_net::Error,
        /// Which file to put where.
        remedy: String,
    },
    /// Nothing publishes these files ready-made, or the user's folder lacks them.
    #[error("`{id}`: {message}; {remedy}")]
    Absent {
        /// Id of the network.
        id: String,
        /// What is missing.
        message: String,
        /// Which file to put where.
        remedy: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The request against the list is wrong.
    #[error(transparent)]
    Registry(#[from] crate::Error),
}

impl PullError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> PullError {
        let path = path.into();
        move |source| PullError::Io { path, source }
    }
}

/// "put FILE (size, hash) into a folder ..." for every file of an entry.
pub(super) fn by_hand(spec: &ModelSpec) -> String {
    let files: Vec<String> = spec.files.iter().map(describe).collect();
    format!(
        "or put {} into a folder DIR and run `omni models pull {} --from DIR`",
        files.join(", "),
        spec.id
    )
}

fn describe(file: &FileSpec) -> String {
    match (&file.bytes, &file.sha256) {
        (Some(bytes), Some(hash)) => format!("`{}` ({bytes} bytes, sha256 {hash})", file.name),
        (None, Some(hash)) => format!("`{}` (sha256 {hash})", file.name),
        _ => format!("`{}`", file.name),
    }
}
