//! The checkpoint that a run begins from, and what a state takes over from it.

use super::{customizer::CustomizerConfig, state::marks_of};
use crate::{
    Error, Result,
    checkpoint::{CONFIG, Checkpoint, Config, Origin, seal_but},
    files::share,
    net::{MtpCaConfig, OcfConfig},
    weights::{Folder, Found, Init, Source},
};
use candle_core::Device;
use std::{fs, path::Path};

/// Weights of a checkpoint; what it has not of the paper's modules and of low-rank additions is fresh.
pub struct Base {
    checkpoint: Folder,
    fresh: Init,
}

impl Base {
    /// The checkpoint's configuration and its weights. A plain Ovi checkpoint is given OCF and MTP-CA of the paper's form; their
    /// fresh weights are those of `seed`.
    pub fn open(checkpoint: &Checkpoint, seed: u64) -> Result<(CustomizerConfig, Config, Self)> {
        let mut config = checkpoint.config.clone();
        let text_dim = config.text.dim;
        let tts_dim = config
            .speech
            .as_ref()
            .map_or(OcfConfig::paper().tts_dim, |speech| speech.text_dim);
        config.ocf.get_or_insert(OcfConfig {
            text_dim,
            tts_dim,
            ..OcfConfig::paper()
        });
        config.mtp_ca.get_or_insert(MtpCaConfig {
            text_dim,
            tts_dim,
            ..MtpCaConfig::paper()
        });
        config.origin = Origin::Trained;
        config.seed = None;
        config.files.clear();
        config.check()?;
        let sizes = CustomizerConfig {
            backbone: config.backbone.clone(),
            ocf: config.ocf.clone(),
            mtp_ca: config.mtp_ca.clone(),
        };
        let source = Self {
            checkpoint: Folder::open(&checkpoint.folder)?,
            fresh: Init { seed },
        };
        Ok((sizes, config, source))
    }
}

/// Whether a weight may be fresh.
fn may_be_new(name: &str) -> bool {
    name.starts_with("ocf.") || name.starts_with("mtp_ca.") || name.contains(".lora_")
}

impl Source for Base {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        match self.checkpoint.load(name, shape, device)? {
            Found::Absent if may_be_new(name) => self.fresh.load(name, shape, device),
            found => Ok(found),
        }
    }

    fn label(&self) -> String {
        self.checkpoint.label()
    }

    fn names(&self) -> Vec<String> {
        self.checkpoint.names()
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.has(name) || may_be_new(name)
    }
}

/// Makes a checkpoint of a folder that has weights: `config`, and the encoders of the checkpoint in `from`, shared with it where
/// the disk can.
pub fn dress(folder: &Path, config: &Config, from: &Path) -> Result<()> {
    let io = |path: &Path, source| Error::Io {
        path: path.to_owned(),
        source,
    };
    for part in ["text", "speech", "codec"] {
        let (source, target) = (from.join(part), folder.join(part));
        if !source.is_dir() {
            continue;
        }
        fs::create_dir_all(&target).map_err(|error| io(&target, error))?;
        for entry in fs::read_dir(&source).map_err(|error| io(&source, error))? {
            let path = entry.map_err(|error| io(&source, error))?.path();
            let to = target.join(path.file_name().unwrap_or_default());
            if path.is_file() {
                share(&path, &to)?;
            }
        }
    }
    let path = folder.join(CONFIG);
    fs::write(&path, config.to_toml()?).map_err(|error| io(&path, error))?;
    // what was taken over as it is was read and hashed when `from` was opened, or when it was written
    let mut known = Config::read(&from.join(CONFIG))?.files;
    known.retain(|name, _| name.contains('/'));
    known.extend(marks_of(folder));
    seal_but(folder, &known)
}
