//! Flags of `omni encode` and `omni train`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `omni encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// The output folder of the curation that the selection was made from.
    #[arg(long)]
    pub from: PathBuf,
    /// The corpus, where it is not where the run in --from says.
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// The selection: what `omni select` wrote.
    #[arg(long)]
    pub selection: PathBuf,
    /// The checkpoint whose codec and encoders are used.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Where the latents go.
    #[arg(long)]
    pub out: PathBuf,
    /// Pictures have as many pixels as this, each clip in its own aspect.
    #[arg(long, default_value = "704x704", value_name = "WIDTHxHEIGHT")]
    pub size: String,
    /// Longest clip, seconds; longer ones are cut.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Decode this many clips back into OUT/check, to look at.
    #[arg(long, value_name = "CLIPS")]
    pub check: Option<usize>,
    /// This worker's number, from 0.
    #[arg(long, default_value_t = 0)]
    pub rank: usize,
    /// How many workers there are.
    #[arg(long, default_value_t = 1)]
    pub world: usize,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `omni train`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TrainArgs {
    /// What to do with a run.
    #[command(subcommand)]
    pub command: Option<TrainCommand>,
    /// A recipe: stage1, stage2, stage3, each also with -one-card, or a file.
    #[arg(long)]
    pub recipe: Option<String>,
    /// Override one key of the recipe, for example batch.joint=8.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What `omni encode` wrote; several folders may be named.
    #[arg(long, num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// The checkpoint to begin from.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// The folder of the run.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on with the run in --out; what is not given is the run's own.
    #[arg(long)]
    pub resume: bool,
    /// Where the network lies: cpu, or cuda:N in a build with CUDA [default: the run's own, or cpu].
    #[arg(long)]
    pub device: Option<String>,
    /// What weights and activations are held as: f32 or bf16 [default: the recipe's].
    #[arg(long)]
    pub dtype: Option<String>,
    /// What the device can do at most, 10^12 operations a second, for the log's share of peak [default: the recipe's].
    #[arg(long, value_name = "TFLOPS")]
    pub peak_tflops: Option<f64>,
    /// Memory that may be used, GiB [default: what is free].
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// Print what would be trained, what it takes and how long, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What can be done with a run.
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Compute one step of a run again, sample by sample.
    #[command(after_help = "Example:\n  omni train replay run --step 1500\n\n\
Goes there from the newest state before it. Exit codes: 0 the step is the logged one, 1 it is not.")]
    Replay(ReplayArgs),
    /// Write a run's newest state as a checkpoint without training in it.
    #[command(after_help = "Example:\n  omni train export run --out model --ema\n\n\
Low-rank additions are folded into the weights; with --ema the moving averages are written in their place.")]
    Export(ExportRunArgs),
}

/// `omni train replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// The step, from 0.
    #[arg(long)]
    pub step: u64,
}

/// `omni train export`.
#[derive(Debug, Args)]
pub struct ExportRunArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// The checkpoint's folder; nothing may be there.
    #[arg(long)]
    pub out: PathBuf,
    /// The moving averages instead of the weights.
    #[arg(long)]
    pub ema: bool,
}
