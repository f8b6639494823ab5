//! The paper's section 4 in candle: Ovi's dual-stream transformer with Omni-Context Fusion, SA-MRoPE and masked TTS-to-prompt
//! cross-attention, and the networks around it: VAEs, text encoders, vocoder, solvers.
//!
//! Not for media files, records or the command line. `docs/model.md` tells what is here and how it is checked.

#![allow(
    unexpected_cfgs,
    reason = "`dynamic-loading` is cudarc's; .cargo/cuda.toml gives it to every crate by rustflags"
)]

pub mod checkpoint;
pub mod codec;
pub mod generate;
pub mod net;
pub mod ops;
pub mod sample;
pub mod text;
pub mod train;
pub mod verify;
pub mod vjp;
pub mod weights;

// tests within the crate share what is made up for those of its public surface
#[cfg(test)]
extern crate self as omni_model;

mod error;
mod files;
mod param;

pub use error::{Error, Result};
pub use param::{Param, no_grad};
pub use verify::{Check, Measure, Outcome, verify};
