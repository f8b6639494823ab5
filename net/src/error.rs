//! What can go wrong, by what the caller can do about it. No message holds a query or a secret.

use std::path::PathBuf;
use std::time::Duration;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of the host could not be resolved, or no route leads there.
    #[error("{host} cannot be reached: {message}; is this machine offline?")]
    Offline {
        /// Host and port.
        host: String,
        /// The system's words.
        message: String,
    },
    /// The host is there and nothing listens.
    #[error("{host} refused the connection")]
    Refused {
        /// Host and port.
        host: String,
    },
    /// The connection failed in another way (TLS, for example).
    #[error("no connection to {host}: {message}")]
    Connect {
        /// Host and port.
        host: String,
        /// The cause.
        message: String,
    },
    /// No answer, or silence in the middle of one.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Host and port.
        host: String,
    },
    /// The answer ended early, every time.
    #[error("{url}: the answer ended early: {message}; run the same command again to go on from there")]
    Interrupted {
        /// Address without its query.
        url: String,
        /// The cause.
        message: String,
    },
    /// 404 or 410.
    #[error("{url} does not exist (status {status})")]
    NotFound {
        /// Address without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// 401 or 403.
    #[error("{url}: not allowed (status {status}); a token for this host may be missing or wrong")]
    Unauthorized {
        /// Address without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// Another status that is not success.
    #[error("{url}: status {status}: {message}")]
    Status {
        /// Address without its query.
        url: String,
        /// The status.
        status: u16,
        /// The first 300 characters of the answer.
        message: String,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The file is not as long as it should be.
    #[error("{url}: {found} bytes offered, {expected} expected")]
    Length {
        /// Address without its query.
        url: String,
        /// Bytes expected.
        expected: u64,
        /// Bytes offered or sent.
        found: u64,
    },
    /// The file arrived whole and is another one. It was deleted.
    #[error("{url}: sha256 {found}, expected {expected}; the file was deleted")]
    HashMismatch {
        /// Address without its query.
        url: String,
        /// Hash expected.
        expected: String,
        /// Hash of what came.
        found: String,
    },
    /// The server compressed the body although asked not to.
    #[error("{url}: the body is compressed ({encoding}) although it was asked for plain")]
    Encoding {
        /// Address without its query.
        url: String,
        /// The content encoding.
        encoding: String,
    },
    /// Too many redirects, or one that leads nowhere we go.
    #[error("{url}: bad redirect: {message}")]
    Redirect {
        /// Address without its query.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// Not an http address.
    #[error("`{url}` is no http address")]
    Url {
        /// The text.
        url: String,
    },
    /// No space is left.
    #[error("{path}: no space left on the disk; free some and run the same command again")]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The caller wanted to stop.
    #[error("stopped; run the same command again to go on from there")]
    Stopped,
    /// The client itself could not be made.
    #[error("the network client could not be set up: {0}")]
    Setup(String),
}

impl Error {
    /// A fixed word for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Offline { .. } => "offline",
            Self::Refused { .. } => "refused",
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted { .. } => "interrupted",
            Self::NotFound { .. } => "not_found",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Status { .. } => "status",
            Self::Length { .. } => "length",
            Self::HashMismatch { .. } => "hash_mismatch",
            Self::Encoding { .. } => "encoding",
            Self::Redirect { .. } => "redirect",
            Self::Url { .. } => "url",
            Self::DiskFull { .. } => "disk_full",
            Self::Io { .. } => "io",
            Self::Stopped => "stopped",
            Self::Setup(_) => "setup",
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Offline { .. } | Self::Refused { .. } | Self::Connect { .. } => true,
            Self::Timeout { .. } | Self::Interrupted { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What the server asked us to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Error {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Error::DiskFull {
                path: path.to_owned(),
            },
            _ => Error::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_name() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Error::io("x".as_ref(), full).reason(), "disk_full");
    }
}
