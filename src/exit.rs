//! The exit codes of every command.

use std::process::ExitCode;

/// How a command ended. Scripts may rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: all done.
    Done,
    /// 1: some items failed, a stage was left out so that clips are pending, or a check did not hold.
    Failed,
    /// 2: wrong usage or recipe.
    Usage,
    /// 3: something needed is missing: weights, a library, a service, a feature.
    Missing,
    /// 4: a clip hung and the run ended itself; the same command goes on.
    Stuck,
    /// 5: clips wait for a service that is closed, does not answer, or is beyond the budget; all else is done, and the same
    /// command goes on.
    Pending,
    /// 130: stopped by Ctrl-C; what was done is kept.
    Interrupted,
}

/// An error that says which code it ends with.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage or recipe.
    #[error("{0}")]
    Usage(String),
    /// Something needed is missing.
    #[error("{0}")]
    Missing(String),
}

/// A usage error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure::Usage(message.into()).into()
}

/// Something needed is missing.
pub fn missing(message: impl Into<String>) -> anyhow::Error {
    Failure::Missing(message.into()).into()
}

impl Code {
    /// The code of an error: by its kind, anywhere in its chain.
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(Self::of_one).unwrap_or(Self::Failed)
    }

    fn of_one(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Some(match failure {
                Failure::Usage(_) => Self::Usage,
                Failure::Missing(_) => Self::Missing,
            });
        }
        #[cfg(feature = "curate")]
        if let Some(code) = Self::of_curation(error) {
            return Some(code);
        }
        #[cfg(feature = "perception")]
        if let Some(code) = Self::of_network(error) {
            return Some(code);
        }
        #[cfg(feature = "model")]
        if let Some(code) = Self::of_model(error) {
            return Some(code);
        }
        None
    }

    #[cfg(feature = "model")]
    fn of_model(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        use omni_model::Error;
        use std::io::ErrorKind;
        Some(match error.downcast_ref::<Error>()? {
            Error::Config(_) | Error::Input(_) | Error::Recipe(_) | Error::Resume(_) | Error::Ranks(_) => {
                Self::Usage
            }
            Error::Device(_) => Self::Missing,
            Error::Stopped => Self::Interrupted,
            Error::Io { source, .. } => match source.kind() {
                ErrorKind::NotFound => Self::Missing,
                ErrorKind::AlreadyExists => Self::Usage,
                _ => Self::Failed,
            },
            _ => Self::Failed,
        })
    }

    #[cfg(feature = "curate")]
    fn of_curation(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        use omni_curate::{plan::PlanError, recipe::RecipeError, stages::BuildError};
        if error.is::<RecipeError>() {
            return Some(Self::Usage);
        }
        match error.downcast_ref::<PlanError>()? {
            PlanError::Source { .. } => Some(Self::Missing),
            PlanError::Stage { error, .. } => match error.as_ref() {
                BuildError::Network(network) => Self::of_network(network),
                _ => Some(Self::Usage),
            },
            _ => Some(Self::Usage),
        }
    }

    #[cfg(feature = "perception")]
    fn of_network(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        use omni_perception::Error;
        match error.downcast_ref::<Error>()? {
            Error::NoWeights { .. } | Error::Runtime { .. } | Error::Device { .. } => Some(Self::Missing),
            Error::Registry(_) => Some(Self::Usage),
            _ => None,
        }
    }
}

impl Code {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Code::Done => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::Missing => 3,
            Code::Stuck => 4,
            Code::Pending => 5,
            Code::Interrupted => 130,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}
