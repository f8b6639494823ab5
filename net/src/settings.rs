//! What a client is told once.

use std::fmt;
use std::time::Duration;

use crate::Retry;

/// Settings of a [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest silence in the middle of an answer.
    pub read_timeout: Duration,
    /// When and how often to try again.
    pub retry: Retry,
    /// Secret for one host.
    pub token: Option<Token>,
    /// Whether the proxy variables of the environment count.
    pub system_proxy: bool,
    /// Asked several times a second while a call waits: true ends it with [`crate::Error::Stopped`].
    pub interrupted: Option<fn() -> bool>,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(60),
            retry: Retry::default(),
            token: None,
            system_proxy: true,
            interrupted: None,
            user_agent: concat!("omni/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A bearer token that is sent to one origin only and never printed.
#[derive(Clone)]
pub struct Token {
    pub(crate) origin: String,
    pub(crate) secret: String,
}

impl Token {
    /// `origin` is scheme, host and port as in an address, for example `https://huggingface.co`.
    pub fn new(origin: impl Into<String>, secret: impl Into<String>) -> Token {
        Token {
            origin: origin.into(),
            secret: secret.into(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("origin", &self.origin)
            .field("secret", &"***")
            .finish()
    }
}
