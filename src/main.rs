//! `omni`: the open toolkit for identity-preserving joint audio-video generation.
//!
//! This crate turns flags into calls and results into text, bars and exit codes; the logic lies in the libraries.

// A build without some of the parts still lists their commands, and says what it lacks; what only they use lies idle.
#![cfg_attr(
    not(all(feature = "curate", feature = "bench", feature = "model")),
    allow(dead_code, reason = "used by the parts that are left out")
)]

mod cli;
#[cfg(feature = "model")]
mod clip_name;
mod commands;
mod config;
#[cfg(all(feature = "model", feature = "ffmpeg"))]
mod encode;
mod exit;
mod output;
mod progress;
mod signals;
mod table;
#[cfg(feature = "model")]
mod train_data;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    signals::quiet_broken_pipe();
    omni_manifests::hush_readers();
    let arguments = cli::Arguments::parse();
    match commands::run(arguments.command) {
        Ok(code) => code.into(),
        Err(error) => {
            output::error(&error);
            exit::Code::of(&error).into()
        }
    }
}
