//! A file of stored tensors, and the comparisons made with it.

use super::{Check, Measure, Outcome};
use crate::{
    Error, Result,
    generate::Precision,
    weights::{Loaded, Weights},
};
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

/// One stored tensor: its shape and its values as f64 (exact for every dtype used).
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

/// A file under comparison.
pub(super) struct Golden {
    path: PathBuf,
    device: Device,
    precision: Precision,
    config: Value,
    tensors: BTreeMap<String, Stored>,
    seen: RefCell<BTreeSet<String>>,
    checks: Vec<Check>,
}

impl Golden {
    /// Reads a file whole; its tensors will lie on `device`, those that networks take in `precision`. Fails if it is damaged or its configuration is not JSON.
    pub(super) fn open(path: &Path, device: &Device, precision: Precision) -> Result<Self> {
        let format = |why: String| Error::Format {
            path: path.to_owned(),
            kind: "stored numbers",
            why,
        };
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| format(error.to_string()))?;
        let config = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("config"));
        let config = config.map_or(Ok(Value::Null), |text| serde_json::from_str(text));
        let file = SafeTensors::deserialize(&bytes).map_err(|error| format(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = numbers(view.dtype(), view.data());
            let Some(values) = values else {
                return Err(format(format_args!("`{name}` is {:?}", view.dtype()).to_string()));
            };
            let shape = view.shape().to_vec();
            tensors.insert(name.to_owned(), Stored { shape, values });
        }
        Ok(Self {
            path: path.to_owned(),
            device: device.clone(),
            precision,
            config: config.map_err(|error| format(format_args!("configuration: {error}").to_string()))?,
            tensors,
            seen: RefCell::default(),
            checks: Vec::new(),
        })
    }

    /// Where its tensors lie, and the networks run.
    pub(super) fn device(&self) -> Device {
        self.device.clone()
    }

    /// Its configuration, read as `T`; keys that `T` does not know (a seed, a note) are passed over.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.config.clone()).map_err(|error| Error::Config(error.to_string()))
    }

    /// One entry of the configuration.
    pub(super) fn entry<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let value = self.config.get(key).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| Error::Config(format!("`{key}`: {error}")))
    }

    /// The file that this one takes its weights from, in the same folder: "those of NAME.safetensors".
    pub(super) fn weights_of_other(&self) -> Result<Golden> {
        let text: String = self.entry("weights")?;
        let name = text
            .split_whitespace()
            .find(|word| word.ends_with(".safetensors"));
        match name {
            Some(name) if !name.contains(['/', '\\']) => {
                Golden::open(&self.path.with_file_name(name), &self.device, self.precision)
            }
            _ => Err(Error::Config(format!("`weights`: `{text}` names no file"))),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names beginning with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        self.tensors
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect()
    }

    pub(super) fn stored(&self, name: &str) -> Result<&Stored> {
        self.seen.borrow_mut().insert(name.to_owned());
        let absent = || Error::Format {
            path: self.path.clone(),
            kind: "stored numbers",
            why: format!("there is no tensor `{name}`"),
        };
        self.tensors.get(name).ok_or_else(absent)
    }

    /// A tensor as a network takes it.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.wide(name)?.to_dtype(self.precision.dtype())?)
    }

    /// Whether networks run in f32.
    pub(super) fn exact(&self) -> bool {
        self.precision == Precision::F32
    }

    /// What networks run in.
    pub(super) fn dtype(&self) -> DType {
        self.precision.dtype()
    }

    /// A tensor as f32.
    pub(super) fn wide(&self, name: &str) -> Result<Tensor> {
        let stored = self.stored(name)?;
        let wide = Tensor::from_slice(&stored.values, stored.shape.as_slice(), &self.device)?;
        Ok(wide.to_dtype(DType::F32)?)
    }

    /// The values of a tensor.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f64>> {
        Ok(self.stored(name)?.values.clone())
    }

    /// Says of the tensors under `prefix` that they are not looked at in this precision.
    pub(super) fn pass_over(&mut self, prefix: &str) {
        for name in self.names(prefix) {
            self.seen.borrow_mut().insert(name);
        }
        let why = format!("turned in f32 alone: no bound for {}", self.precision.name());
        self.record(&format!("{prefix}*"), Outcome::Unbounded { error: None, why });
    }

    /// A tensor of one value.
    pub(super) fn scalar(&self, name: &str) -> Result<f64> {
        let values = self.values(name)?;
        values
            .first()
            .copied()
            .ok_or_else(|| Error::Input(format!("`{name}` is empty")))
    }

    /// A tensor of counts.
    pub(super) fn counts(&self, name: &str) -> Result<Vec<usize>> {
        let count = |value: &f64| *value as usize;
        Ok(self.stored(name)?.values.iter().map(count).collect())
    }

    /// The tensors under `prefix`, without it, as weights.
    pub(super) fn weights(&self, prefix: &str) -> Result<Weights> {
        self.weights_as(prefix, self.dtype())
    }

    /// The same in another dtype.
    pub(super) fn weights_as(&self, prefix: &str, dtype: DType) -> Result<Weights> {
        let mut tensors = HashMap::new();
        for name in self.names(prefix) {
            tensors.insert(name[prefix.len()..].to_owned(), self.wide(&name)?);
        }
        let label = format!("`{}`", self.path.display());
        Ok(Weights::new(Loaded::new(label, tensors), dtype, &self.device))
    }

    /// Compares with the stored tensor `name`: ||ours - stored|| / ||stored||. The bound is that of f32; in another precision
    /// the difference is told, and nothing said of it.
    pub(super) fn relative(&mut self, name: &str, ours: &Tensor, bound: f64) -> Result<()> {
        self.relative_in(name, ours, bound, None)
    }

    /// The same where there is a bound for bf16, too.
    pub(super) fn relative_in(
        &mut self,
        name: &str,
        ours: &Tensor,
        bound: f64,
        half: Option<f64>,
    ) -> Result<()> {
        let error = self.distance(name, ours)?;
        let bound = match self.precision {
            Precision::F32 => Some(bound),
            Precision::Bf16 => half,
            Precision::F16 => None,
        };
        match bound {
            Some(bound) => self.push(name, error, bound, Measure::Relative),
            None => self.record(
                name,
                Outcome::Unbounded {
                    error: Some(error),
                    why: format!("no bound for {}", self.precision.name()),
                },
            ),
        }
        Ok(())
    }

    /// Compares with a tensor cut from a stored one.
    pub(super) fn compare(&mut self, what: &str, ours: &Tensor, stored: &Tensor, bound: f64) -> Result<()> {
        if ours.dims() != stored.dims() {
            let (ours, stored) = (ours.dims(), stored.dims());
            return Err(Error::Input(format!(
                "`{what}`: ours is {ours:?}, stored is {stored:?}"
            )));
        }
        self.push(what, far(&flat(ours)?, &flat(stored)?), bound, Measure::Relative);
        Ok(())
    }

    /// The figure of [`Self::relative`], without a comparison.
    pub(super) fn distance(&self, name: &str, ours: &Tensor) -> Result<f64> {
        Ok(far(&flat(ours)?, &self.like(name, ours.dims())?.values))
    }

    /// Compares with the stored tensor `name`: the largest difference.
    pub(super) fn absolute(&mut self, name: &str, ours: &[f64], bound: f64) -> Result<()> {
        let stored = self.stored(name)?;
        if ours.len() != stored.values.len() {
            let (ours, stored) = (ours.len(), stored.values.len());
            return Err(Error::Input(format!(
                "`{name}`: {ours} values, stored are {stored}"
            )));
        }
        // `f64::max` would pass over a NaN
        let larger = |far: f64, off: f64| if off > far || off.is_nan() { off } else { far };
        let error = ours
            .iter()
            .zip(&stored.values)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, larger);
        self.push(name, error, bound, Measure::Absolute);
        Ok(())
    }

    /// The same for a tensor.
    pub(super) fn absolute_tensor(&mut self, name: &str, ours: &Tensor, bound: f64) -> Result<()> {
        self.like(name, ours.dims())?;
        self.absolute(name, &flat(ours)?, bound)
    }

    /// A figure of our own.
    pub(super) fn push(&mut self, what: &str, error: f64, bound: f64, measure: Measure) {
        self.record(
            what,
            Outcome::Compared {
                error,
                bound,
                measure,
            },
        );
    }

    pub(super) fn broken(&mut self, what: &str, error: &Error) {
        // candle's errors carry a backtrace below their first line
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().to_owned();
        let text = if matches!(error, Error::Tensor(_)) {
            first
        } else {
            text
        };
        self.record(what, Outcome::Broken(text));
    }

    fn record(&mut self, what: &str, outcome: Outcome) {
        let file = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.checks.push(Check {
            file,
            what: what.to_owned(),
            outcome,
        });
    }

    fn like(&self, name: &str, dims: &[usize]) -> Result<&Stored> {
        let stored = self.stored(name)?;
        if stored.shape == dims {
            Ok(stored)
        } else {
            let shape = &stored.shape;
            Err(Error::Input(format!(
                "`{name}`: ours is {dims:?}, stored is {shape:?}"
            )))
        }
    }

    /// The comparisons made, and a line for each tensor that none looked at.
    pub(super) fn finish(mut self) -> Vec<Check> {
        if self.checks.is_empty() {
            self.record(
                "file",
                Outcome::Broken("it holds nothing to compare with".to_owned()),
            );
        }
        // after a check that broke off, what it did not come to is no news
        if self
            .checks
            .iter()
            .any(|check| matches!(check.outcome, Outcome::Broken(_)))
        {
            return self.checks;
        }
        let seen = self.seen.take();
        let unseen: Vec<String> = self
            .tensors
            .keys()
            .filter(|name| !seen.contains(*name))
            .cloned()
            .collect();
        for name in unseen {
            self.record(&name, Outcome::Unknown);
        }
        self.checks
    }
}

/// ||a - b|| / ||b||.
fn far(a: &[f64], b: &[f64]) -> f64 {
    let norm = |sum: f64| sum.sqrt();
    let off = norm(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum());
    off / norm(b.iter().map(|b| b * b).sum()).max(f64::MIN_POSITIVE)
}

/// All values of a tensor, row-major.
pub(super) fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor
        .detach()
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?)
}

/// Little-endian values of a dtype as f64; `None` for one that no golden file has.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn read<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
        let (chunks, _) = bytes.as_chunks::<N>();
        Some(chunks.iter().map(|chunk| value(*chunk)).collect())
    }
    let wide = |value: i64| value as f64;
    match dtype {
        Dtype::F32 => read(bytes, |chunk| f64::from(f32::from_le_bytes(chunk))),
        Dtype::F64 => read(bytes, f64::from_le_bytes),
        Dtype::I64 => read(bytes, |chunk| wide(i64::from_le_bytes(chunk))),
        Dtype::I32 => read(bytes, |chunk| f64::from(i32::from_le_bytes(chunk))),
        Dtype::U8 | Dtype::BOOL => read(bytes, |[byte]| f64::from(byte)),
        _ => None,
    }
}
