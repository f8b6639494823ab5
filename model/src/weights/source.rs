//! Where weights come from: a mapped file, tensors at hand, a formula, or nowhere (shapes only).

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, safetensors::MmapedSafetensors};
use std::{
    collections::{BTreeMap, HashMap},
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

/// A tensor that a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its type as it is stored.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
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

    /// Name, type and shape of every tensor it holds; empty where that has no meaning.
    fn entries(&self) -> Vec<Entry> {
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
            kind: "safetensors",
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

    fn entries(&self) -> Vec<Entry> {
        entries(&self.map)
    }

    fn has(&self, name: &str) -> bool {
        self.map.get(name).is_ok()
    }
}

/// What a map holds, by name; types that candle does not know are left out.
fn entries(map: &MmapedSafetensors) -> Vec<Entry> {
    let known = map.tensors().into_iter().filter_map(|(name, view)| {
        let dtype = DType::try_from(view.dtype()).ok()?;
        let shape = view.shape().to_vec();
        Some(Entry { name, dtype, shape })
    });
    let mut all: Vec<Entry> = known.collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// All safetensors files of a folder as one source: one file, shards, or parts that were trained apart.
pub struct Folder {
    path: PathBuf,
    files: Vec<File>,
    /// Which file holds a tensor.
    places: BTreeMap<String, usize>,
}

impl Folder {
    /// Maps `*.safetensors` of `path`, not of folders below it. Fails if there is none, one is damaged, or two hold tensors
    /// of one name.
    pub fn open(path: &Path) -> Result<Self> {
        let names = safetensors_of(path)?;
        if names.is_empty() {
            return Err(Error::Format {
                path: path.to_owned(),
                kind: "a folder of weights",
                why: "there is no `*.safetensors` in it".to_owned(),
            });
        }
        let files = names
            .iter()
            .map(|name| File::open(name))
            .collect::<Result<Vec<_>>>()?;
        let mut places = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for name in file.names() {
                if let Some(other) = places.insert(name.clone(), index) {
                    return Err(Error::Format {
                        path: names[index].clone(),
                        kind: "a part of a checkpoint",
                        why: format!("`{name}` is also in `{}`", names[other].display()),
                    });
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            files,
            places,
        })
    }
}

/// The safetensors files of a folder, in the order of their names.
pub(crate) fn safetensors_of(path: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        if file.extension().is_some_and(|ending| ending == "safetensors") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

impl Source for Folder {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        match self.places.get(name) {
            Some(index) => self.files[*index].load(name, shape, device),
            None => Ok(Found::Absent),
        }
    }

    fn label(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.files.iter().flat_map(Source::entries).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
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
