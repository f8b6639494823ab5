//! ONNX networks behind typed methods: detect, embed, transcribe.

pub mod audio;
mod error;
pub mod imagebind;
pub mod registry;
pub mod runtime;
pub mod syncnet;
pub mod text;
pub mod vision;

pub use error::Error;
pub use registry::Network;
