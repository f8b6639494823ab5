//! Why there is no answer, by what follows for the item. No message holds a key or a request's body.

use std::path::PathBuf;
use std::time::Duration;

use super::Key;

/// Errors of a call.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It may go better the next time: refused, reset, late, cut, or a status that says so.
    #[error("{service}: {message}")]
    Transient {
        /// The endpoint's kind.
        service: &'static str,
        /// A fixed word.
        reason: &'static str,
        /// What happened.
        message: String,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
        /// Whether the server may have done (and charged) the work.
        maybe_paid: bool,
    },
    /// The service refuses this very request; asking again would give the same.
    #[error("{service}: status {status} {kind}: {message}")]
    Refused {
        /// The endpoint's kind.
        service: &'static str,
        /// The status.
        status: u16,
        /// The service's own word for it.
        kind: String,
        /// The first 300 characters of its message.
        message: String,
    },
    /// The endpoint serves nobody who asks like us: its items wait for a later run.
    #[error("{service}: {why}")]
    Closed {
        /// The endpoint's kind.
        service: &'static str,
        /// Why, and what to do.
        why: String,
    },
    /// All tries failed.
    #[error("{last} ({tries} tries)")]
    Exhausted {
        /// Tries made.
        tries: u32,
        /// Whether the endpoint answered anyone in the meantime; then this request is the cause.
        alive: bool,
        /// The last failure.
        last: Box<ServiceError>,
    },
    /// The next call could pass the budget.
    #[error(
        "{service}: the budget of {limit} leaves {left} for this worker, and a call may cost {price}; raise --budget"
    )]
    Budget {
        /// The endpoint's kind.
        service: &'static str,
        /// All of it.
        limit: String,
        /// What is left of this worker's part.
        left: String,
        /// Price of the call that was refused.
        price: String,
    },
    /// A replay has no recorded answer.
    #[error(
        "{service}: no recorded answer for the request {key:?} (prompt {prompt}); record one with --services live"
    )]
    NotRecorded {
        /// The endpoint's kind.
        service: &'static str,
        /// The request.
        key: Key,
        /// Its prompt.
        prompt: String,
    },
    /// The reply log cannot be read or written.
    #[error("{}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The caller wanted to stop.
    #[error("stopped")]
    Stopped,
    /// The client could not be set up.
    #[error("{0}")]
    Setup(String),
}

impl ServiceError {
    /// A fixed word for counting; of a refusal with its status.
    pub fn reason(&self) -> String {
        match self {
            Self::Transient { reason, .. } => (*reason).to_owned(),
            Self::Refused { status, .. } => format!("refused_{status}"),
            Self::Closed { .. } => "closed".into(),
            Self::Exhausted { last, .. } => last.reason(),
            Self::Budget { .. } => "budget".into(),
            Self::NotRecorded { .. } => "not_recorded".into(),
            Self::Log { .. } => "log".into(),
            Self::Stopped => "stopped".into(),
            Self::Setup(_) => "setup".into(),
        }
    }

    /// The kind of endpoint concerned, if one is.
    pub fn service(&self) -> Option<&'static str> {
        match self {
            Self::Transient { service, .. }
            | Self::Refused { service, .. }
            | Self::Closed { service, .. }
            | Self::Budget { service, .. }
            | Self::NotRecorded { service, .. } => Some(service),
            Self::Exhausted { last, .. } => last.service(),
            Self::Log { .. } | Self::Stopped | Self::Setup(_) => None,
        }
    }

    /// Whether the items of this endpoint wait while everything else may go on: it is closed, dead, or too dear.
    pub fn leaves_pending(&self) -> bool {
        matches!(
            self,
            Self::Closed { .. } | Self::Budget { .. } | Self::Exhausted { alive: false, .. }
        )
    }

    /// Whether the item should wait for a later run; else the item itself is at fault.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Exhausted { alive, .. } => !alive,
            _ => true,
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// Whether the service may have charged for it.
    pub fn maybe_paid(&self) -> bool {
        match self {
            Self::Transient { maybe_paid, .. } => *maybe_paid,
            // An answer that could not be taken.
            Self::Refused { status, .. } => *status < 300,
            // The exchange was left in its middle.
            Self::Stopped => true,
            _ => false,
        }
    }

    pub(crate) fn log(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ServiceError + '_ {
        move |source| ServiceError::Log {
            path: path.to_owned(),
            source,
        }
    }
}
