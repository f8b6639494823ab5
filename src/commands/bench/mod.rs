//! `omni bench`: one file per command below it.

mod build;
mod cases;
mod compare;
pub(in crate::commands) mod networks;
mod report;
mod run;
mod score;

use crate::{cli::BenchCommand, exit::Code};

/// Runs the command.
pub fn run(command: &BenchCommand) -> anyhow::Result<Code> {
    match command {
        BenchCommand::Score(args) => score::run(args),
        BenchCommand::Run(args) => run::run(args),
        BenchCommand::Compare(args) => compare::run(args),
        BenchCommand::Why(args) => compare::explain(args),
        BenchCommand::Report(args) => report::run(args),
        BenchCommand::Cases(command) => cases::run(command),
    }
}
