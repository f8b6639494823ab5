//! A checkpoint: a folder with `config.toml`, the backbone's weights, and below it the text encoder (`text/`) and the
//! phoneme encoder (`speech/`).

mod assemble;
mod config;
mod init;
mod inspect;
mod ranges;
mod role;
mod unfinished;

pub use assemble::{Assembly, Placed, Placing, assemble};
pub use config::{AudioCaption, Config, FileMark, Origin, Preset, Sampling};
pub use init::{init, seal, seal_but};
pub use inspect::{Inspection, KnownNetwork, convert, inspect};
pub use role::{Published, Role};
pub(crate) use unfinished::into_new_folder;

use crate::{
    Error, Result,
    codec::{Codec, CodecKind, Linear, Released},
    net::{F5Text, FusionModel, MtpCa, Ocf, Umt5, umt5::Naming},
    text::{TextEncoder, Tokenizer, Vocabulary},
    weights::{Folder, Weights, safetensors_of},
};
use candle_core::{DType, Device};
use std::path::{Path, PathBuf};

/// Its configuration's file.
pub const CONFIG: &str = "config.toml";

/// The folder of its phoneme encoder.
const SPEECH: &str = "speech";

/// An opened checkpoint; its weights are read when they are asked for.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is.
    pub config: Config,
}

/// The backbone and what the paper adds to it.
pub struct Network {
    /// Both streams.
    pub fusion: FusionModel,
    /// Omni-Context Fusion, if the checkpoint has it.
    pub ocf: Option<Ocf>,
    /// Masked TTS-to-prompt cross-attention, if the checkpoint has it.
    pub mtp_ca: Option<MtpCa>,
    /// References lie where the prompt describes whom they show.
    pub anchored: bool,
}

/// The phoneme encoder and its vocabulary.
pub struct Speech {
    /// Its table of tokens.
    pub vocabulary: Vocabulary,
    /// The encoder.
    pub encoder: F5Text,
}

impl Checkpoint {
    /// Reads `config.toml` and checks every file it has a mark of, byte by byte. Fails on a folder that is none, on a
    /// configuration that no network can have, and on a file that is absent or has changed since it was written.
    pub fn open(folder: &Path) -> Result<Self> {
        let config = Config::read(&folder.join(CONFIG))?;
        for (name, mark) in &config.files {
            mark.check(&folder.join(name))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            config,
        })
    }

    /// The weights of the backbone and the paper's modules, in `dtype` on `device`.
    pub fn weights(&self, dtype: DType, device: &Device) -> Result<Weights> {
        Ok(Weights::new(Folder::open(&self.folder)?, dtype, device))
    }

    /// The networks of [`Checkpoint::weights`]. Fails if the tensors are not exactly theirs.
    pub fn network(&self, dtype: DType, device: &Device) -> Result<Network> {
        let weights = self.weights(dtype, device)?;
        let network = Network::new(&self.config, &weights)?;
        weights.finish()?;
        Ok(network)
    }

    /// The text encoder.
    pub fn text(&self, device: &Device) -> Result<TextEncoder> {
        let folder = self.folder.join("text");
        let tokenizer = Tokenizer::open(&folder.join("tokenizer.json"))?;
        let config = &self.config.text;
        if tokenizer.size() > config.vocab {
            return Err(Error::Config(format!(
                "a tokenizer of {} tokens and a table of {}",
                tokenizer.size(),
                config.vocab
            )));
        }
        let weights = single(&folder, device)?;
        let encoder = Umt5::new(config, Naming::Wan, &weights)?;
        weights.finish()?;
        Ok(TextEncoder::new(
            tokenizer,
            encoder,
            self.config.backbone.video.text_len,
        ))
    }

    /// The phoneme encoder, if the checkpoint has one.
    pub fn speech(&self, device: &Device) -> Result<Option<Speech>> {
        let Some(config) = &self.config.speech else {
            return Ok(None);
        };
        let weights = single(&self.folder.join(SPEECH), device)?;
        let encoder = F5Text::new(config, &weights)?;
        weights.finish()?;
        let vocabulary = self.vocabulary()?;
        Ok(vocabulary.map(|vocabulary| Speech { vocabulary, encoder }))
    }

    /// The phoneme encoder's tokens alone, if the checkpoint has them.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>> {
        let path = self.folder.join(SPEECH).join("vocab.txt");
        let there = self.config.speech.as_ref();
        there.map(|_| Vocabulary::open(&path)).transpose()
    }

    /// The codec that the configuration names.
    pub fn codec(&self, device: &Device) -> Result<Box<dyn Codec>> {
        Ok(match self.config.codec {
            CodecKind::Linear => Box::new(Linear::new()?),
            CodecKind::Released => Box::new(Released::open(&self.folder, device)?),
        })
    }

    /// A name for what the weights are: BLAKE3 of the marks of all files, or of names and sizes where there are none.
    pub fn identity(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for path in safetensors_of(&self.folder)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let size = std::fs::metadata(&path).map_or(0, |data| data.len());
            let mark = self
                .config
                .files
                .get(&name)
                .map_or("", |mark| mark.blake3.as_str());
            hasher.update(format!("{name}\n{size}\n{mark}\n").as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// Weights of a folder or, where it holds none of safetensors, of the first of PyTorch's files in it.
fn single(folder: &Path, device: &Device) -> Result<Weights> {
    let published = ["models_t5_umt5-xxl-enc-bf16.pth"].map(|name| folder.join(name));
    if let Some(path) = published.iter().find(|path| path.exists()) {
        return Weights::open(path, DType::F32, device);
    }
    Ok(Weights::new(Folder::open(folder)?, DType::F32, device))
}

impl Network {
    /// Builds the networks of `config`. What the weights lack is told by [`Weights::finish`].
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        config.check()?;
        let ocf = config.ocf.as_ref().map(|ocf| Ocf::new(ocf, &weights.pp("ocf")));
        let mtp_ca = config
            .mtp_ca
            .as_ref()
            .map(|mtp_ca| MtpCa::new(mtp_ca, &weights.pp("mtp_ca")));
        Ok(Self {
            fusion: FusionModel::new(&config.backbone, weights)?,
            ocf: ocf.transpose()?,
            mtp_ca: mtp_ca.transpose()?,
            anchored: config.anchored,
        })
    }
}

/// Number of values of every tensor that `config` asks for, without making any.
pub fn parameters(config: &Config) -> Result<u64> {
    let weights = Weights::shapes_only();
    Network::new(config, &weights)?;
    let count = |(_, shape): &(String, Vec<usize>)| shape.iter().map(|size| *size as u64).product::<u64>();
    Ok(weights.asked().iter().map(count).sum())
}
