//! What can go wrong, by what the caller can do about it.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ONNX Runtime's library could not be opened.
    #[error(
        "ONNX Runtime could not be opened from {path}: {message}; run `omni models pull {}`",
        library(path)
    )]
    Runtime {
        /// The library asked for.
        path: PathBuf,
        /// What the loader said.
        message: String,
    },
    /// The device asked for is not usable on this machine.
    #[error("device {device} is not usable: {message}")]
    Device {
        /// The device, for example `cuda:0`.
        device: String,
        /// The missing library or the provider's own words.
        message: String,
    },
    /// A network failed to load, or has another signature than its role asks for.
    #[error("network {network}: {message}")]
    Network {
        /// Id of the network.
        network: String,
        /// What is wrong.
        message: String,
    },
    /// No weights for a role.
    #[error("no weights for {role} (network `{id}`): run `{command}`")]
    NoWeights {
        /// The role, for example `face_detector`.
        role: String,
        /// The network the profile names.
        id: String,
        /// The command that brings it.
        command: String,
    },
    /// An input that a network cannot take (empty picture, too short sound).
    #[error("{0}")]
    Input(String),
    /// The registry or a request against it is wrong.
    #[error("{0}")]
    Registry(String),
    /// The caller no longer wants the result.
    #[error("stopped")]
    Stopped,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The id of the library that belongs at a path: the one for graphics cards has a folder of its name.
fn library(path: &std::path::Path) -> &'static str {
    const CARDS: &str = "onnxruntime-gpu";
    match path.components().any(|part| part.as_os_str() == CARDS) {
        true => CARDS,
        false => "onnxruntime",
    }
}
