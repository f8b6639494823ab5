//! What can be typed of the model: `omni model`, `omni sample`, `omni mux`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `omni model`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Make a checkpoint of random weights: to try the way, or to train from.
    #[command(
        after_help = "Example:\n  omni model init --preset tiny --seed 7 --out tiny\n\n\
The folder appears when all of it is written; equal presets and seeds give equal bytes. What such a checkpoint samples is\n\
noise. Its codec, tokenizer and vocabulary are stand-ins (docs/model.md).\n\
Exit codes: 0 made, 1 it cannot be written, 2 wrong usage, or the folder is there already."
    )]
    Init(ModelInitArgs),
    /// Say what a file or folder of weights is: which network, what is missing, how large.
    #[command(after_help = "Example:\n  omni model inspect tiny/model.safetensors\n\n\
Reads safetensors, and PyTorch's .pth and .pt as data: nothing in them is run.\n\
Exit codes: 0 told, 1 it is damaged or holds more than tensors, 3 it is not there.")]
    Inspect(ModelInspectArgs),
    /// Write weights as safetensors, in another type if wanted, in files of a size.
    #[command(
        after_help = "Example:\n  omni model convert tiny/model.safetensors --dtype bf16 --out tiny-bf16\n\n\
Names stay as they are. The folder appears when all of it is written.\n\
Exit codes: 0 written, 1 the source is damaged or the folder cannot be written, 2 wrong usage, or the folder is there\n\
already, 3 the source is not there."
    )]
    Convert(ModelConvertArgs),
    /// Put a checkpoint together from files that were pulled or downloaded.
    #[command(
        after_help = "Example:\n  omni model assemble --preset tiny --backbone tiny/model.safetensors \\\n    \
--text-encoder tiny/text/model.safetensors --tokenizer tiny/text/tokenizer.json \\\n    \
--phonemes f5.safetensors --vocabulary tiny/speech/vocab.txt --out mine\n\n\
Every file is held against the names and shapes of its network before anything is written. What is not given is looked\n\
for in --pulled, as `omni models pull` lays it out. Licence and source of each are told and kept in OUT/sources.json.\n\
Exit codes: 0 made, 1 a file is damaged or of another network, or the folder cannot be written, 2 a file is missing, does\n\
not belong to the preset or lies on another disk than the folder (--by copy), nothing says where the backbone comes from\n\
(--origin), or the folder is there already, 3 a file or the folder of --pulled is not where it was said to be."
    )]
    Assemble(Box<ModelAssembleArgs>),
}

/// How files come into a checkpoint's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlacingName {
    /// As a second name of the same file: no room, on the same disk alone.
    Link,
    /// As a copy.
    Copy,
}

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OriginName {
    /// Random: what is sampled is noise.
    Init,
    /// Trained.
    Trained,
    /// Published.
    Released,
}

/// `omni model assemble`.
#[derive(Debug, Args)]
pub struct ModelAssembleArgs {
    /// How large its networks are.
    #[arg(long)]
    pub preset: PresetName,
    /// Ovi's fusion network, safetensors; with OCF and MTP-CA where they were trained.
    #[arg(long)]
    pub backbone: Option<PathBuf>,
    /// UMT5's encoder in Wan's names, .pth or safetensors.
    #[arg(long)]
    pub text_encoder: Option<PathBuf>,
    /// Its tokenizer.json.
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    /// A checkpoint of F5-TTS, of which the text embedding is taken.
    #[arg(long)]
    pub phonemes: Option<PathBuf>,
    /// Its vocab.txt.
    #[arg(long)]
    pub vocabulary: Option<PathBuf>,
    /// Wan2.2's VAE, .pth or safetensors; with 720p.
    #[arg(long)]
    pub video_vae: Option<PathBuf>,
    /// MMAudio's VAE at 16 kHz, .pth or safetensors; with 720p.
    #[arg(long)]
    pub audio_vae: Option<PathBuf>,
    /// BigVGAN's generator, .pt or safetensors; with 720p.
    #[arg(long)]
    pub vocoder: Option<PathBuf>,
    /// Where files that are not given are looked for, in a folder for each network: `models` in omni's store.
    #[arg(long, value_name = "DIR")]
    pub pulled: Option<PathBuf>,
    /// How files come into the folder.
    #[arg(long, default_value = "link")]
    pub by: PlacingName,
    /// Where the backbone's weights come from; as the config.toml beside it says, or released for a plain Ovi checkpoint.
    #[arg(long)]
    pub origin: Option<OriginName>,
    /// The checkpoint's folder; must not be there.
    #[arg(long)]
    pub out: PathBuf,
}

/// How large a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// A million weights.
    Tiny,
    /// 15 million: the least that can learn pictures.
    Little,
    /// 57 million.
    Small,
    /// The released size: 12 billion, 24 GB in bf16.
    #[value(name = "720p")]
    P720,
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeName {
    /// 32 bits.
    F32,
    /// 16 bits, the range of 32.
    Bf16,
    /// 16 bits, a small range.
    F16,
}

impl DtypeName {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// `omni model init`.
#[derive(Debug, Args)]
pub struct ModelInitArgs {
    /// How large.
    #[arg(long)]
    pub preset: PresetName,
    /// Which random numbers.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How the backbone's weights are stored [default: f32; bf16 for 720p].
    #[arg(long)]
    pub dtype: Option<DtypeName>,
    /// The checkpoint's folder; must not be there.
    #[arg(long)]
    pub out: PathBuf,
}

/// `omni model inspect`.
#[derive(Debug, Args)]
pub struct ModelInspectArgs {
    /// A file of weights, or a folder of safetensors.
    pub file: PathBuf,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `omni model convert`.
#[derive(Debug, Args)]
pub struct ModelConvertArgs {
    /// A file of weights, or a folder of safetensors.
    pub file: PathBuf,
    /// Type of the written floating-point values [default: as they are].
    #[arg(long)]
    pub dtype: Option<DtypeName>,
    /// Most megabytes of a written file.
    #[arg(long, default_value_t = 5000)]
    pub shard_mb: u64,
    /// The folder; must not be there.
    #[arg(long)]
    pub out: PathBuf,
}

/// A solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SolverName {
    /// UniPC of second order.
    Unipc,
    /// DPM-Solver++ of second order.
    #[value(name = "dpm++")]
    DpmPlusPlus,
    /// First order.
    Euler,
}

/// How the passes of a step are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GuidanceName {
    /// Two passes: the prompt against the negative prompt.
    Ovi,
    /// A third one, against references of nothing.
    Ref3,
}

/// `omni sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The checkpoint's folder.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// A case file (.jsonl), all of it or one case: cases.jsonl or cases.jsonl:NAME.
    #[arg(long, value_name = "FILE[:ID]")]
    pub case: Option<String>,
    /// A selection that `omni select` wrote, all of it or one clip: its prompts and references.
    #[arg(long, value_name = "SELECTION[:CLIP]")]
    pub data: Option<String>,
    /// With --data: the run's output folder [default: the one the selection lies in].
    #[arg(long, requires = "data")]
    pub from: Option<PathBuf>,
    /// A prompt, with `<sub1>`, `<sub2>`... where people are and `<S>words<E>` where they speak.
    #[arg(long)]
    pub prompt: Option<String>,
    /// With --prompt: a person's picture; the first is `<sub1>`'s.
    #[arg(long, requires = "prompt")]
    pub face: Vec<PathBuf>,
    /// With --prompt: a person's voice, 1 s at least; the first is `<sub1>`'s, and 5 s of it are used.
    #[arg(long, requires = "prompt")]
    pub voice: Vec<PathBuf>,
    /// With --prompt: the picture the clip begins with.
    #[arg(long, requires = "prompt")]
    pub first_frame: Option<PathBuf>,
    /// With --prompt: what is to be heard besides speech.
    #[arg(long, requires = "prompt")]
    pub audio_caption: Option<String>,
    /// Where clips go; the same command again makes only what is missing.
    #[arg(long)]
    pub out: PathBuf,
    /// Who made the clips, for `omni bench` [default: the checkpoint folder's name].
    #[arg(long)]
    pub method: Option<String>,
    /// Width and height, multiples of 32 [default: the checkpoint's; of a first frame's shape with one].
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    pub size: Option<String>,
    /// Length [default: the checkpoint's].
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Steps [default: the checkpoint's].
    #[arg(long)]
    pub steps: Option<usize>,
    /// Solver [default: the checkpoint's].
    #[arg(long)]
    pub solver: Option<SolverName>,
    /// Seed of the noise; several, divided by commas, make a clip each.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub seed: Vec<u32>,
    /// Guidance of the video [default: the checkpoint's].
    #[arg(long)]
    pub guidance_video: Option<f64>,
    /// Guidance of the audio [default: the checkpoint's].
    #[arg(long)]
    pub guidance_audio: Option<f64>,
    /// Passes of a step when there are references.
    #[arg(long, default_value = "ref3")]
    pub guidance: GuidanceName,
    /// Block left out of the negative pass, 0 for none [default: the checkpoint's].
    #[arg(long)]
    pub slg_layer: Option<usize>,
    /// What the video is kept from [default: the checkpoint's].
    #[arg(long)]
    pub negative_video: Option<String>,
    /// What the audio is kept from [default: the checkpoint's].
    #[arg(long)]
    pub negative_audio: Option<String>,
    /// What the networks run on: cpu, or cuda:0 in a build with the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Keep text encoder, phoneme encoder, VAEs and vocoder on the processor: the card holds the backbone alone.
    #[arg(long)]
    pub offload: bool,
    /// How the backbone's numbers are held [default: f32 on the CPU, bf16 elsewhere].
    #[arg(long)]
    pub dtype: Option<DtypeName>,
    /// Most memory, in MiB, that a clip may need [default: what the machine has free].
    #[arg(long)]
    pub memory_mb: Option<u64>,
    /// Write frames (PNG) and sound (WAV) instead of an mp4; `omni mux` makes it from them.
    #[arg(long)]
    pub frames: bool,
    /// Print parameters, memory and operations of each clip; make nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `omni mux`.
#[derive(Debug, Args)]
pub struct MuxArgs {
    /// The folder that `omni sample --frames` wrote.
    pub dir: PathBuf,
}
