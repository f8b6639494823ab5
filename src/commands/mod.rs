//! One file per command, one function each: from what was typed to one library call and its result shown.

#[cfg(feature = "curate")]
mod audit;
#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "curate")]
mod curate;
#[cfg(feature = "perception")]
mod doctor;
#[cfg(all(feature = "model", feature = "ffmpeg"))]
mod encode;
mod explain;
#[cfg(feature = "curate")]
mod export;
#[cfg(feature = "model")]
mod folders;
#[cfg(feature = "curate")]
mod forget;
#[cfg(feature = "curate")]
mod gc;
#[cfg(feature = "curate")]
mod init;
#[cfg(any(feature = "bench", feature = "model"))]
mod lock;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "perception")]
mod models;
#[cfg(feature = "ffmpeg")]
mod mux;
#[cfg(feature = "perception")]
mod networks;
#[cfg(feature = "curate")]
mod people;
#[cfg(feature = "curate")]
mod recipe;
#[cfg(feature = "curate")]
mod report;
#[cfg(feature = "curate")]
mod review;
#[cfg(any(
    feature = "curate",
    feature = "bench",
    all(feature = "model", feature = "ffmpeg")
))]
mod runner;
#[cfg(feature = "model")]
mod sample;
#[cfg(feature = "bench")]
mod schema;
#[cfg(feature = "curate")]
mod scoring;
#[cfg(feature = "curate")]
mod services;
mod show;
#[cfg(feature = "model")]
mod train;
mod verify;

use crate::{
    cli::{Arguments, Command},
    config::Config,
    exit::{Code, missing, usage},
    output,
};
use clap::CommandFactory;
use omni_pipeline::nearest;
use std::path::{Path, PathBuf};

/// Runs a command.
pub fn run(command: Command) -> anyhow::Result<Code> {
    match command {
        Command::Show(args) => show::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Completions { shell } => completions(shell),
        #[cfg(feature = "perception")]
        Command::Models(command) => models::run(command),
        #[cfg(feature = "perception")]
        Command::Doctor => doctor::run(),
        #[cfg(feature = "bench")]
        Command::Bench(command) => bench::run(&command),
        #[cfg(feature = "model")]
        Command::Model(command) => model::run(&command),
        #[cfg(feature = "model")]
        Command::Sample(args) => sample::run(&args),
        #[cfg(feature = "ffmpeg")]
        Command::Mux(args) => mux::run(&args),
        #[cfg(feature = "bench")]
        Command::Schema { record } => schema::run(&record),
        #[cfg(all(feature = "model", feature = "ffmpeg"))]
        Command::Encode(args) => encode::run(&args),
        #[cfg(feature = "model")]
        Command::Train(args) => train::run(&args),
        other => curation(other),
    }
}

/// The commands of `curate`.
#[cfg(feature = "curate")]
fn curation(command: Command) -> anyhow::Result<Code> {
    match command {
        Command::Audit(args) => audit::run(&args),
        Command::Curate(args) => curate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Select(args) => people::select(&args),
        Command::Pool(args) => people::pool(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Recipe(args) => recipe::run(args.name.as_deref()),
        other => Err(left_out(&other)),
    }
}

#[cfg(not(feature = "curate"))]
fn curation(command: Command) -> anyhow::Result<Code> {
    Err(left_out(&command))
}

/// A command whose part this build does not hold.
fn left_out(command: &Command) -> anyhow::Error {
    let feature = match command {
        Command::Bench(_) | Command::Schema { .. } => "bench",
        Command::Models(_) | Command::Doctor => "perception",
        Command::Encode(_) => "model,ffmpeg",
        Command::Train(_) => "model",
        Command::Model(_) | Command::Sample(_) => "model",
        Command::Mux(_) => "ffmpeg",
        _ => "curate",
    };
    missing(format!(
        "this `omni` was built without `{feature}`: build it with `cargo build --release --features {feature}`"
    ))
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "omni", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Code::Done)
}

/// The output folder: the flag, or `omni.toml`.
fn out_dir(flag: Option<&Path>, config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    flag.map(Path::to_owned)
        .or_else(|| config.out.clone())
        .ok_or_else(|| {
            usage(format!(
                "no output folder: give {name}, or `out` in omni.toml (`omni init` writes one)"
            ))
        })
}

/// The usage error of a record that does not exist.
fn no_record(name: &str) -> anyhow::Error {
    let known: Vec<&str> = omni_schemas::ALL.iter().map(|(name, ..)| *name).collect();
    let hint = nearest(name, known.iter().copied());
    let hint = hint
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default();
    usage(format!(
        "no record `{name}`{hint}; there are: {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_command_that_was_left_out_names_the_feature_that_brings_it_and_ends_with_3() {
        for (typed, feature) in [
            (&["omni", "bench", "score", "a.mp4"][..], "bench"),
            (&["omni", "schema", "case"], "bench"),
            (&["omni", "models", "list"], "perception"),
            (&["omni", "doctor"], "perception"),
            (&["omni", "curate"], "curate"),
            (&["omni", "train", "--out", "run"], "model"),
            (&["omni", "gc"], "curate"),
            (&["omni", "model", "inspect", "a"], "model"),
            (&["omni", "mux", "a"], "ffmpeg"),
        ] {
            let command = Arguments::try_parse_from(typed).unwrap().command;
            let error = left_out(&command);
            assert_eq!(Code::of(&error), Code::Missing);
            assert!(
                error.to_string().ends_with(&format!("--features {feature}`")),
                "{error}"
            );
        }
    }
}
