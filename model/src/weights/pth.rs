//! PyTorch's own files (`.pth`, `.pt`): a zip with a pickle and a part for each storage. Read without running any of it.

use super::{
    pickle::{Pickle, TensorPlace},
    source::{Entry, Found, Source},
};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{Read, Seek},
    path::{Path, PathBuf},
};
use zip::ZipArchive;

/// Where published files keep their tensors: at the top, or below these keys.
const PLACES: &[&[&str]] = &[
    &[],
    &["generator"],
    &["ema_model_state_dict"],
    &["module"],
    &["app", "model"],
    &["state_dict"],
    &["model"],
];

/// Most bytes of a pickle: the largest known has a few thousand names.
const PICKLE: u64 = 64 << 20;

/// How a file of PyTorch before 1.6 begins: its magic number, pickled (`torch/serialization.py`, `MAGIC_NUMBER`).
pub(super) const OLD: [u8; 14] = *b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// A PyTorch file.
pub struct Pth {
    path: PathBuf,
    archive: RefCell<ZipArchive<std::fs::File>>,
    /// Folder of all parts in the archive.
    root: String,
    tensors: BTreeMap<String, TensorPlace>,
}

impl Pth {
    /// Reads names, shapes and places. Fails on a file that is damaged, holds no tensors, or names anything but tensors.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |why: String| Error::Format {
            path: path.to_owned(),
            kind: "a PyTorch file",
            why,
        };
        let mut file = std::fs::File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut begin = [0; OLD.len()];
        let read = file.read(&mut begin).and_then(|_| file.rewind());
        read.map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        if begin == OLD {
            return Err(refuse(
                "it is of PyTorch before 1.6, a stream of pickles; load it there with `torch.load` and write it again with `torch.save`"
                    .to_owned(),
            ));
        }
        let mut archive = ZipArchive::new(file).map_err(|error| refuse(error.to_string()))?;
        let name = |index| Some(archive.name_for_index(index)?.ok()?.into_owned());
        let pickle = (0..archive.len())
            .filter_map(name)
            .find(|name| name.ends_with("/data.pkl"));
        let pickle = pickle.ok_or_else(|| refuse("there is no `data.pkl` in it".to_owned()))?;
        let root = pickle.trim_end_matches("data.pkl").to_owned();
        let bytes = part(&mut archive, &pickle, PICKLE).map_err(refuse)?;
        let pickle = Pickle::read(&bytes).map_err(refuse)?;
        let found = PLACES
            .iter()
            .filter_map(|place| pickle.tensors(place))
            .find(|tensors| !tensors.is_empty());
        let tensors = found.ok_or_else(|| refuse("it holds no dictionary of tensors".to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            archive: RefCell::new(archive),
            root,
            tensors: tensors.into_iter().collect(),
        })
    }

    fn read(&self, place: &TensorPlace) -> std::result::Result<Vec<u8>, String> {
        let size = place.dtype.size_in_bytes() as u64;
        let name = format!("{}data/{}", self.root, place.storage);
        let bytes = part(&mut self.archive.borrow_mut(), &name, place.count as u64 * size)?;
        if bytes.len() as u64 != place.count as u64 * size {
            return Err(format!(
                "`{name}` has {} bytes, {} values are told of",
                bytes.len(),
                place.count
            ));
        }
        let elements = place.elements().unwrap_or_default();
        if place.in_order() {
            let start = place.offset * place.dtype.size_in_bytes();
            return Ok(bytes[start..start + elements * place.dtype.size_in_bytes()].to_vec());
        }
        Ok(place.gather(&bytes))
    }
}

/// A part of the archive, of at most `most` bytes.
fn part(
    archive: &mut ZipArchive<std::fs::File>,
    name: &str,
    most: u64,
) -> std::result::Result<Vec<u8>, String> {
    let mut entry = archive
        .by_name(name)
        .map_err(|error| format!("`{name}`: {error}"))?;
    if entry.size() > most {
        return Err(format!(
            "`{name}` has {} bytes, at most {most} are right",
            entry.size()
        ));
    }
    let mut bytes = Vec::new();
    let limit = entry.size();
    entry
        .by_ref()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("`{name}`: {error}"))?;
    Ok(bytes)
}

impl Source for Pth {
    fn load(&self, name: &str, _: &[usize], device: &Device) -> Result<Found> {
        let Some(place) = self.tensors.get(name) else {
            return Ok(Found::Absent);
        };
        let bytes = self.read(place).map_err(|why| Error::Format {
            path: self.path.clone(),
            kind: "a PyTorch file",
            why,
        })?;
        Ok(Found::Tensor(Tensor::from_raw_buffer(
            &bytes,
            place.dtype,
            &place.shape,
            device,
        )?))
    }

    fn label(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |(name, place): (&String, &TensorPlace)| Entry {
            name: name.clone(),
            dtype: place.dtype,
            shape: place.shape.clone(),
        };
        self.tensors.iter().map(entry).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
