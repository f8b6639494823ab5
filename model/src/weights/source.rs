//! Where weights come from: a mapped file, tensors at hand, a formula, or nowhere (shapes only).

use crate::{Error, Result};
use candle_core::{Device, Tensor, safetensors::MmapedSafetensors};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The answer to one name.
pub enum Found {
    /// Here it is, of whatever shape.
    Tensor(Tensor),
    /// There is none.
    Absent,
    /// Values do not matter.
    ShapeOnly,
}

/// Tensors by name.
pub trait Source {
    /// Looks `name` up; `shape` is what the caller expects, for sources that make tensors. Fails on damaged bytes only.
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found>;

    /// What messages call it.
    fn label(&self) -> String;

    /// Every name it holds; empty where that has no meaning.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it holds `name`.
    fn has(&self, name: &str) -> bool {
        self.names().iter().any(|held| held == name)
    }
}

/// A safetensors file, mapped: a tensor takes memory only while it is loaded.
pub struct File {
    path: PathBuf,
    map: MmapedSafetensors,
}

impl File {
    /// Maps a file. Fails if it cannot be opened, is cut off, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        std::fs::File::open(path).map_err(io)?;
        #[expect(unsafe_code, reason = "a checkpoint is too large to read whole")]
        // SAFETY: the map is read only. A file that another process cuts off while it is mapped ends the process with a
        // signal; checkpoints are published by rename and never changed in place.
        let map = unsafe { MmapedSafetensors::new(path) }.map_err(|error| Error::Format {
            path: path.to_owned(),
            why: first_line(&error),
        })?;
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }
}

/// candle's errors carry a backtrace below their first line.
pub(crate) fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Source for File {
    fn load(&self, name: &str, _: &[usize], device: &Device) -> Result<Found> {
        if self.map.get(name).is_err() {
            return Ok(Found::Absent);
        }
        Ok(Found::Tensor(self.map.load(name, device)?))
    }

    fn label(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn names(&self) -> Vec<String> {
        self.map.tensors().into_iter().map(|(name, _)| name).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.map.get(name).is_ok()
    }
}

/// Tensors already in memory.
pub struct Loaded {
    label: String,
    tensors: HashMap<String, Tensor>,
}

impl Loaded {
    /// `label` is what messages call them.
    pub fn new(label: impl Into<String>, tensors: HashMap<String, Tensor>) -> Self {
        Self {
            label: label.into(),
            tensors,
        }
    }
}

impl Source for Loaded {
    fn load(&self, name: &str, _: &[usize], device: &Device) -> Result<Found> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(Found::Tensor(tensor.to_device(device)?)),
            None => Ok(Found::Absent),
        }
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// Has everything and holds nothing: for key tables and plans.
pub struct ShapesOnly;

impl Source for ShapesOnly {
    fn load(&self, _: &str, _: &[usize], _: &Device) -> Result<Found> {
        Ok(Found::ShapeOnly)
    }

    fn label(&self) -> String {
        "the list of shapes".to_owned()
    }
}
