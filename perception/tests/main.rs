//! All tests of this crate that go through its public surface, in one program: one link instead of many.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it passed over"
)]

mod bench;
mod clients;
mod opencv_faces;
mod pull;
mod quality;
mod text_golden;
