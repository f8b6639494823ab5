//! OC-Bench: how well generated clips keep faces and voices, lips and words (paper, section 5).
//!
//! Networks and what they are fed lie in `omni-perception`; here are the readings made of them ([`metrics`], fed by
//! [`take`], some on a [`grid`] of pictures), what they are made for ([`cases`]), a method's clips on the runner ([`run`]),
//! what it all comes to ([`aggregate`], [`stats`], [`report`], [`compare`]), and [`verify`], which holds this build against
//! numbers of the reference implementations. Nothing here prints.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod aggregate;
pub mod cases;
pub mod compare;
pub mod grid;
pub mod metric;
pub mod metrics;
pub mod networks;
pub mod report;
pub mod run;
pub mod stats;
pub mod take;
pub mod verify;
