//! The list of networks (`models.toml`), where their files lie, and how they get there.
//!
//! * [`Registry`]: the parsed list; profiles pick one network per role.
//! * [`Store`]: the folder that holds the files; [`Store::locate`] hands out only files whose
//!   size and hash are right.
//! * [`pull`]: brings missing files: the user's own folder, a package client, or a download.
//!
//! Nothing here opens a network or knows what its tensors mean.

mod archive;
mod check;
mod list;
mod own;
mod package;
mod parse;
mod problem;
mod pull;
mod spec;
mod store;
mod table;
mod watch;

pub use list::Registry;
pub use problem::PullError;
pub use pull::{DEFAULT_HUB, PullEvent, PullOptions, Pulled, pull};
pub use spec::{FileSpec, Licence, ModelKind, ModelSpec, Profile, Source};
pub use store::{Located, Store, Verified};
pub use table::markdown;

/// The network that made a number: its id and the hash of its files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Network {
    /// Id in `models.toml`.
    pub id: String,
    /// SHA-256 over the files, 64 hex digits: the file's own hash for one file, else the hash of
    /// the lines `name sha256` in the order of `models.toml`.
    pub hash: String,
}

impl Network {
    /// Id and the first 12 digits of the hash, for example `yunet_2023mar#8f2383e4dd3c`.
    pub fn tag(&self) -> String {
        format!("{}#{}", self.id, self.hash.get(..12).unwrap_or(&self.hash))
    }
}
