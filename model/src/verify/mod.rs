//! Holds the networks against stored numbers of the reference: every file of a folder, known by its name, read by its own
//! configuration. Nothing here is tuned to particular files: other widths, head sizes, lengths and seeds are other files.

mod backbone;
mod codecs;
mod context;
mod golden;
mod solvers;
pub mod tables;
mod text;
mod training;

use crate::{Error, Result, generate::Place};
use candle_core::Device;
use golden::Golden;
use std::path::{Path, PathBuf};

/// How two tensors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// ||a - b|| / ||b|| over the whole tensor.
    Relative,
    /// The largest difference of two values.
    Absolute,
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Compared.
    Compared {
        /// How far off; NaN if ours holds one.
        error: f64,
        /// What it may be at most.
        bound: f64,
        /// In which sense.
        measure: Measure,
    },
    /// Nothing here knows what it is.
    Unknown,
    /// The comparison could not be made, and why.
    Broken(String),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// File name.
    pub file: String,
    /// Which tensor or case.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl Check {
    /// Whether it holds: compared, and within its bound.
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Compared { error, bound, .. } if error <= bound)
    }

    /// Whether it was recognised at all.
    pub fn known(&self) -> bool {
        self.outcome != Outcome::Unknown
    }
}

type Run = fn(&mut Golden) -> Result<()>;

/// File name without extension -> what checks it. The longest name that a file's name begins with counts.
const KINDS: &[(&str, Run)] = &[
    ("rope", backbone::rope),
    ("time_embedding", backbone::time_embedding),
    ("wan_block", backbone::wan_block),
    ("video_only", backbone::video_only),
    ("audio_only", backbone::audio_only),
    ("fused", backbone::fused),
    ("fused_mid_outputs", backbone::fused_mid),
    ("fused_refs", backbone::fused_refs),
    ("ocf_mtp_ca", context::ocf_mtp_ca),
    ("schedulers", solvers::schedules),
    ("sampler_tiny", solvers::sampler),
    ("train_step_tiny", training::train_step),
    ("f5_text", text::f5_text),
    ("umt5_ovi", text::umt5_wan),
    ("umt5_hf", text::umt5_hf),
    ("wan22_vae", codecs::wan22_vae),
    ("mmaudio_vae", codecs::mmaudio_vae),
    ("mel_16k", codecs::mel_16k),
    ("bigvgan", codecs::bigvgan),
];

/// What checks a file of this name.
fn kind(stem: &str) -> Option<Run> {
    let fits = |name: &str| {
        stem.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let known = KINDS.iter().filter(|(name, _)| fits(name));
    known.max_by_key(|(name, _)| name.len()).map(|(_, run)| *run)
}

/// Whether something here can check a file, told by its place and name.
pub fn knows(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let tensors = path
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    (tensors && kind(&stem).is_some()) || tables::knows(path)
}

/// Checks every file of `folder` that can be checked, and those of its folder `keys`, in the order of their names. A file
/// that cannot be used is a check that did not hold, not an error; a tensor that no check looked at, and a file of tensors
/// that none knows, are listed as unknown.
///
/// Fails if the folder cannot be listed.
pub fn verify(folder: &Path) -> Result<Vec<Check>> {
    let mut paths = files(folder)?;
    let keys = folder.join("keys");
    if keys.is_dir() {
        paths.extend(files(&keys)?);
    }
    Ok(paths.iter().flat_map(|path| verify_file(path)).collect())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let tensors = path
            .extension()
            .is_some_and(|extension| extension == "safetensors");
        if tensors || tables::knows(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Checks one file on the processor.
pub fn verify_file(path: &Path) -> Vec<Check> {
    checked(path, &Device::Cpu)
}

/// Checks one file with tensors and networks on a device: `cpu`, `cuda:0`... What has no network in it (schedules, tables of
/// names) is the same everywhere. Fails where this build or this machine has no such device.
pub fn verify_file_on(path: &Path, device: &str) -> Result<Vec<Check>> {
    Ok(checked(path, &Place::parse(device, None)?.device()?))
}

fn checked(path: &Path, device: &Device) -> Vec<Check> {
    if tables::knows(path) {
        return tables::check(path);
    }
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let file = name(path.file_name());
    let single = |what: &str, outcome| {
        vec![Check {
            file: file.clone(),
            what: what.to_owned(),
            outcome,
        }]
    };
    let Some(run) = kind(&name(path.file_stem())) else {
        return single("file", Outcome::Unknown);
    };
    let mut golden = match Golden::open(path, device) {
        Ok(golden) => golden,
        Err(error) => return single("file", Outcome::Broken(error.to_string())),
    };
    if let Err(error) = run(&mut golden) {
        golden.broken("file", &error);
    }
    golden.finish()
}
