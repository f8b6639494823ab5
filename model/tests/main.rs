//! All tests of this crate that go through its public surface, in one program: one link instead of many.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it passed over"
)]

mod context;
mod denoiser;
mod generate;
mod golden;
mod keys;
mod miniature;
mod pth;
mod tokenizer;
mod train;
mod train_bf16;
mod train_narrow;
mod train_ranks;
mod train_rules;
mod train_states;
mod train_support;
mod video_vae;
