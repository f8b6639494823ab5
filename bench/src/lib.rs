//! OC-Bench: how well generated clips keep faces and voices, lips and words (paper, section 5).
//!
//! Networks and what they are fed lie in `omni-perception`; here are the readings made of them, and [`verify`], which
//! holds this build against numbers of the reference implementations. Nothing here prints.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod metrics;
pub mod verify;
