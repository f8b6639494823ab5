//! Flags of `omni bench`.

use super::NetworkArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `omni bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Score one clip.
    #[command(
        after_help = "Example:\n  omni bench score talk.mp4 --metrics tf,wer --text Hello\n\n\
Readings that lack their input or their network are named absent, with the reason. With several people, --face, --voice\n\
and --text are given once for each, in one order.\n\
Exit codes: 0 scored, 1 the clip cannot be read, 2 wrong usage, 3 a metric named with --metrics lacks its network."
    )]
    Score(ScoreArgs),
    /// Score a folder of generated clips on the cases of a benchmark.
    #[command(
        after_help = "Example:\n  omni bench run --subset 2 --cases cases.jsonl --outputs clips --method ours --out scores\n\n\
The clip of a case is CLIPS/<case>.mp4, or <case>.<seed>.mp4 for several seeds, which are averaged within their case.\n\
`cases`, `outputs`, `method`, `out` and more may stand under [bench] in omni.toml; name and paradigm of the method also in\n\
method.toml beside the clips. A run that was stopped goes on where it was; OUT/bench.json says what the scores rest on.\n\
Exit codes: 0 scored, 1 the cases are not sound or (--strict) a clip could not be scored, 2 wrong usage, or another run is at\n\
work in --out, 3 something named is not there, or a metric named with --metrics lacks its network, 4 a clip hung, 130 stopped."
    )]
    Run(Box<BenchRunArgs>),
    /// Benchmark cases.
    #[command(subcommand, after_help = "Example:\n  omni bench cases check cases.jsonl")]
    Cases(CasesCommand),
    /// Make a page, or a table, of what runs of methods came to.
    #[command(
        after_help = "Examples:\n  omni bench report ours theirs --out report.html\n  \
omni bench report ours theirs --format csv\n\n\
The page is one file and loads nothing but the clips, pictures and voices beside it. Readings made with other networks\n\
than the paper's stand in columns of their own; published rows only beside profile `paper`.\n\
Exit codes: 0 done, 1 a run cannot be read, or --strict and an output is missing, broken or not scored, 2 wrong usage,\n\
3 no such folder."
    )]
    Report(BenchReportArgs),
    /// Compare two runs case by case: differences of means with intervals, and the cases that moved most.
    #[command(after_help = "Example:\n  omni bench compare ours theirs\n\n\
Differences are B - A over the cases that both have; intervals are 95 % of 2,000 paired resamples.\n\
Exit codes: 0 compared, 1 a run cannot be read, 2 the two share no reading made with the same networks, 3 no such folder.")]
    Compare(CompareArgs),
    /// Say what differs between two runs of one case: networks, frames, faces, offset, words.
    #[command(after_help = "Example:\n  omni bench why ours theirs --case s1-0001\n\n\
Exit codes: 0 told, 1 a run cannot be read, 2 no such case, 3 no such folder.")]
    Why(WhyArgs),
}

/// `omni bench score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The clip.
    pub clip: PathBuf,
    /// A person's reference picture.
    #[arg(long)]
    pub face: Vec<PathBuf>,
    /// A person's reference voice.
    #[arg(long)]
    pub voice: Vec<PathBuf>,
    /// What a person is to say.
    #[arg(long)]
    pub text: Vec<String>,
    /// Whisper's code of the language that is to be spoken.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// The prompt, for caption_leak and ib_a.
    #[arg(long)]
    pub prompt: Option<String>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Print {clip, readings: [{name, value, absent, unit, better}]} as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is read of a clip, and by what.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Only these: face, t_sim, sync, ib, aq, iq, tf, wer, pq, av_offset, binding,
    /// dnsmos, brisque.
    #[arg(long, value_delimiter = ',')]
    pub metrics: Vec<String>,
    #[command(flatten)]
    pub ways: WayArgs,
    #[command(flatten)]
    pub networks: NetworkArgs,
}

/// How readings are made where there is more than one way.
#[derive(Debug, Clone, Default, Args)]
pub struct WayArgs {
    /// Which faces the sync readings are of: speaking (sync_c, sync_d), or all-tracks, as LatentSync counts (sync_c_all)
    /// [default: speaking].
    #[arg(long, value_name = "MODE")]
    pub sync_mode: Option<String>,
    /// By which rules words are compared: whisper (wer), or seedtts, seed-tts-eval's (wer_seedtts) [default: whisper].
    #[arg(long, value_name = "RULES")]
    pub wer_protocol: Option<String>,
}

/// `omni bench run`.
#[derive(Debug, Clone, Args)]
pub struct BenchRunArgs {
    /// Cases of this subset only: 1, 2, 3 or all.
    #[arg(long, default_value = "all", value_parser = ["1", "2", "3", "all"])]
    pub subset: String,
    /// The case file (.jsonl or .parquet).
    #[arg(long)]
    pub cases: Option<PathBuf>,
    /// The folder of the clips.
    #[arg(long)]
    pub outputs: Option<PathBuf>,
    /// Who made the clips, as the report is to call it.
    #[arg(long)]
    pub method: Option<String>,
    /// How they are made, which decides what applies: video, audio_driven, first_frame or joint [default: joint].
    #[arg(long)]
    pub paradigm: Option<String>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// The output folder; one method to a folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Clips that are scored side by side [default: all cores].
    #[arg(long)]
    pub threads: Option<usize>,
    /// End with 1 when a clip is missing or broken, or a network gave no number.
    #[arg(long)]
    pub strict: bool,
}

/// `omni bench cases`.
#[derive(Debug, Subcommand)]
pub enum CasesCommand {
    /// Check a case file (.jsonl or .parquet): line and reason of every fault.
    #[command(after_help = "Example:\n  omni bench cases check cases.jsonl\n\n\
Exit codes: 0 every case is sound, 1 some are not or there are none, 3 there is no such file.")]
    Check {
        /// The case file.
        file: PathBuf,
        /// Print {cases, faults: [{line, case, message}]} as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take over the cases of another project.
    #[command(
        after_help = "Example:\n  omni bench cases import prompts.csv --format ovi-csv --root Ovi --out cases.jsonl\n\n\
Exit codes: 0 taken over, 1 a case was left out or is not sound (each is said), 2 wrong usage, 3 no such file."
    )]
    Import(ImportArgs),
    /// Write cases for another project's generator.
    #[command(
        after_help = "Example:\n  omni bench cases export cases.jsonl --format first-frames --out frames\n\n\
Exit codes: 0 written, 1 a case was left out or is not sound (each is said), 2 wrong usage, 3 no such file."
    )]
    Export(CaseExportArgs),
    /// Make a suite of three subsets out of curated clips, of people no training clip shows.
    #[command(
        after_help = "Examples:\n  omni bench cases build --from out --per-subset 100 --seed 7 --out suite\n  \
omni bench cases build --from out --disjoint-from out/select-stage1 --out unseen\n\n\
Writes suite/cases.jsonl with its pictures and voices, and suite.json, which names each case's clip. Equal inputs give\n\
equal bytes.\n\
Exit codes: 0 written, 1 too few clips (what was found is said) or the run cannot be read, 2 wrong usage, or a selection\n\
that is not the run's, 3 no such folder."
    )]
    Build(CaseBuildArgs),
}

/// Whose cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaseFormat {
    /// character-ai/Ovi: a CSV of prompts and pictures.
    OviCsv,
    /// DreamID-Omni: a caption per JSON file.
    Dreamid,
    /// MeiGen-AI/MultiTalk: an object per JSON file.
    Multitalk,
    /// A folder of pictures with text files of the same names.
    FirstFrames,
}

/// `omni bench cases import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, or the folder of files.
    pub path: PathBuf,
    /// Whose cases.
    #[arg(long)]
    pub format: CaseFormat,
    /// Where the files that cases name are looked for [default: the folder of PATH].
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Whisper's code of the language that is spoken; these formats do not tell.
    #[arg(long, default_value = "en")]
    pub language: String,
    /// The case file that is written (.jsonl).
    #[arg(long)]
    pub out: PathBuf,
}

/// `omni bench cases export`.
#[derive(Debug, Args)]
pub struct CaseExportArgs {
    /// The case file.
    pub file: PathBuf,
    /// Whose cases.
    #[arg(long)]
    pub format: CaseFormat,
    /// The file (ovi-csv) or folder that is written.
    #[arg(long)]
    pub out: PathBuf,
}

/// `omni bench cases build`.
#[derive(Debug, Args)]
pub struct CaseBuildArgs {
    /// The output folder of `omni curate` [default: omni.toml's `out`].
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Cases of each subset.
    #[arg(long, default_value_t = 100)]
    pub per_subset: usize,
    /// Seed of the draw.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Also write the first frame of each clip and name it in the case, for methods that start from one. `omni sample` starts
    /// from it, too.
    #[arg(long)]
    pub first_frames: bool,
    /// A selection for training (what `omni select` wrote): nobody in it comes into a case, by face and by voice.
    #[arg(long)]
    pub disjoint_from: Option<PathBuf>,
    /// The output folder the selection was made from [default: the folder it lies in, else --from].
    #[arg(long, requires = "disjoint_from")]
    pub training_run: Option<PathBuf>,
    /// The folder of the suite; a new or empty one.
    #[arg(long)]
    pub out: PathBuf,
}

/// A form of `omni bench report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One page for a browser.
    Html,
    /// A row per method, subset and reading, with interval and counts.
    Csv,
    /// The table, for a paper.
    Latex,
    /// The table, for a text file.
    Markdown,
    /// Everything at full precision.
    Json,
}

/// `omni bench report`.
#[derive(Debug, Args)]
pub struct BenchReportArgs {
    /// The output folders of `omni bench run`, one per method.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The form.
    #[arg(long, default_value = "html")]
    pub format: ReportFormat,
    /// The file that is written [default: bench-report.html for html, else the terminal].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Only this subset: 1, 2, 3 or all.
    #[arg(long, default_value = "all")]
    pub subset: String,
    /// A recipe of an ablation table: its rows and their ticks (TOML).
    #[arg(long)]
    pub ablation: Option<PathBuf>,
    /// A case that is shown with five frames of each method; may be given several times [default: one of each subset].
    #[arg(long)]
    pub case: Vec<String>,
    /// End with 1 when an output is missing or broken, or scores that were made are gone.
    #[arg(long)]
    pub strict: bool,
}

/// `omni bench compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The output folder of one run.
    pub a: PathBuf,
    /// The output folder of the other.
    pub b: PathBuf,
    /// How many of the cases that moved most are named for each reading.
    #[arg(long, default_value_t = 3)]
    pub cases: usize,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `omni bench why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The output folder of one run.
    pub a: PathBuf,
    /// The output folder of the other.
    pub b: PathBuf,
    /// The case.
    #[arg(long)]
    pub case: String,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}
