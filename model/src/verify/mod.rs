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

use crate::{
    Error, Result,
    generate::{Place, Precision},
};
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
    /// Measured, or not even that, in a precision for which the reference states no bound: it neither holds nor fails.
    Unbounded {
        /// How far off, relative; `None` if it was not computed in that precision.
        error: Option<f64>,
        /// Why nothing is said of it.
        why: String,
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

/// What `--dtype` is to a kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    /// The backbone and its modules: they run in it.
    Taken,
    /// No network: the same in every precision.
    Same,
    /// A network, or a loop, that is f32 in `omni sample` and `omni train`, whatever the backbone is.
    Wide,
}

use Types::{Same, Taken, Wide};

/// File name without extension -> what checks it. The longest name that a file's name begins with counts.
const KINDS: &[(&str, Run, Types)] = &[
    ("rope", backbone::rope, Same),
    ("time_embedding", backbone::time_embedding, Wide),
    ("wan_block", backbone::wan_block, Taken),
    ("video_only", backbone::video_only, Taken),
    ("audio_only", backbone::audio_only, Taken),
    ("fused", backbone::fused, Taken),
    ("fused_mid_outputs", backbone::fused_mid, Taken),
    ("fused_refs", backbone::fused_refs, Taken),
    ("ocf_mtp_ca", context::ocf_mtp_ca, Taken),
    ("schedulers", solvers::schedules, Same),
    ("sampler_tiny", solvers::sampler, Wide),
    ("train_step_tiny", training::train_step, Wide),
    ("f5_text", text::f5_text, Wide),
    ("umt5_ovi", text::umt5_wan, Wide),
    ("umt5_hf", text::umt5_hf, Wide),
    ("wan22_vae", codecs::wan22_vae, Wide),
    ("mmaudio_vae", codecs::mmaudio_vae, Wide),
    ("mel_16k", codecs::mel_16k, Wide),
    ("bigvgan", codecs::bigvgan, Wide),
];

/// What checks a file of this name.
fn kind(stem: &str) -> Option<(Run, Types)> {
    let fits = |name: &str| {
        stem.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let known = KINDS.iter().filter(|(name, ..)| fits(name));
    known
        .max_by_key(|(name, ..)| name.len())
        .map(|(_, run, types)| (*run, *types))
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

/// Checks one file on the processor, in f32.
pub fn verify_file(path: &Path) -> Vec<Check> {
    checked(path, &Device::Cpu, Precision::F32)
}

/// Checks one file with tensors and networks at a place: the backbone, OCF and MTP-CA in its precision. What has no network in it
/// (schedules, tables of names) is the same everywhere; what is f32 whatever the backbone is, and what has no bound in that
/// precision, is [`Outcome::Unbounded`]. Fails where this build or this machine has no such device.
pub fn verify_file_on(path: &Path, place: &Place) -> Result<Vec<Check>> {
    Ok(checked(path, &place.device()?, place.precision))
}

fn checked(path: &Path, device: &Device, precision: Precision) -> Vec<Check> {
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
    let Some((run, types)) = kind(&name(path.file_stem())) else {
        return single("file", Outcome::Unknown);
    };
    let precision = match types {
        Taken => precision,
        Wide if precision != Precision::F32 => {
            let why = format!("f32 whatever the backbone is: no bound for {}", precision.name());
            return single("file", Outcome::Unbounded { error: None, why });
        }
        Same | Wide => Precision::F32,
    };
    let mut golden = match Golden::open(path, device, precision) {
        Ok(golden) => golden,
        Err(error) => return single("file", Outcome::Broken(error.to_string())),
    };
    if let Err(error) = run(&mut golden) {
        golden.broken("file", &error);
    }
    golden.finish()
}
