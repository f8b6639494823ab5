//! What can go wrong with a media file, each with one fixed word for the manifests.

use std::path::{Path, PathBuf};

/// Why a file (or a buffer) gave no frames or samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file, or its folder may not be entered.
    #[error("{path}: cannot be opened ({message}); check the path and its permissions")]
    NotFound {
        /// The file asked for.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
    /// No stream of moving pictures (cover art and streams without a frame rate do not count).
    #[error("{path}: has no moving pictures")]
    NoVideo {
        /// The file asked for.
        path: PathBuf,
    },
    /// No stream of sound.
    #[error("{path}: has no sound")]
    NoAudio {
        /// The file asked for.
        path: PathBuf,
    },
    /// Damaged, truncated, or not media at all.
    #[error("{path}: {message}; re-encode it or leave it out")]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// What was found, e.g. `truncated: ends at 1.20 s of 5.00 s`.
        message: String,
    },
    /// A container or codec that is not read here (playlists and other formats that pull in further files are refused).
    #[error("{path}: {message}; convert it to mp4, mkv or wav")]
    Unsupported {
        /// The file asked for.
        path: PathBuf,
        /// Which container or codec.
        message: String,
    },
    /// Longer than `Limits::max_seconds`.
    #[error("{path}: lasts {seconds:.1} s, the limit is {limit:.1} s; raise it or choose a part of the file")]
    TooLong {
        /// The file asked for.
        path: PathBuf,
        /// Declared length, or the length at which reading stopped.
        seconds: f64,
        /// The limit.
        limit: f64,
    },
    /// More pixels, channels or samples than the limits allow.
    #[error("{path}: {message}; raise the limit or scale the file down")]
    TooLarge {
        /// The file asked for.
        path: PathBuf,
        /// What is too large.
        message: String,
    },
    /// No progress for `Limits::stall`.
    #[error("{path}: no progress for {seconds:.1} s; check the disk, or leave the file out")]
    Stalled {
        /// The file asked for.
        path: PathBuf,
        /// The limit, seconds.
        seconds: f64,
    },
    /// A picture or waveform held in memory could not be decoded or converted.
    #[error("{what}: {message}")]
    Invalid {
        /// What was being converted.
        what: &'static str,
        /// The codec's words.
        message: String,
    },
}

impl Error {
    /// The fixed word that manifests store as the reason of a drop.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::NoVideo { .. } => "no_video",
            Self::NoAudio { .. } => "no_audio",
            Self::Unreadable { .. } => "unreadable",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLong { .. } => "too_long",
            Self::TooLarge { .. } => "too_large",
            Self::Stalled { .. } => "stalled",
            Self::Invalid { .. } => "invalid",
        }
    }

    pub(crate) fn unreadable(path: &Path, message: impl Into<String>) -> Self {
        Self::Unreadable {
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn invalid(what: &'static str, message: impl ToString) -> Self {
        Self::Invalid {
            what,
            message: message.to_string(),
        }
    }

    pub(crate) fn not_found(path: &Path, error: &std::io::Error) -> Self {
        Self::NotFound {
            path: path.into(),
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_file_and_a_remedy() {
        let error = Error::TooLong {
            path: "a/b.mp4".into(),
            seconds: 10800.0,
            limit: 600.0,
        };
        let text = error.to_string();
        assert!(
            text.contains("a/b.mp4") && text.contains("10800.0 s") && text.contains("raise it"),
            "{text}"
        );
        assert_eq!(error.reason(), "too_long");
    }
}
