//! Safetensors out: tensor by tensor, so that no more than one is in memory, in as many files as the size asks for.

use super::Entry;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name in the folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 of all of them, in hex.
    pub blake3: String,
}

/// The word of safetensors for a type; `None` for one it has no word for.
fn word(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F8E4M3 => "F8_E4M3",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::I16 => "I16",
        DType::U32 => "U32",
        DType::U8 => "U8",
        _ => return None,
    })
}

/// Writes `entries` to `folder` as `STEM.safetensors`, or as `STEM-00001-of-0000N.safetensors` of at most `most` bytes each
/// (a larger tensor has a file of its own). `make` gives the values of each in its turn, of the entry's type and shape.
///
/// Fails on a type without a word in the format, on what `make` fails with, and when the folder cannot be written; what was
/// written until then stays, so write to a folder that is renamed when all is well.
pub fn write_parts(
    folder: &Path,
    stem: &str,
    entries: &[Entry],
    most: u64,
    make: &mut dyn FnMut(&Entry) -> Result<Tensor>,
) -> Result<Vec<Part>> {
    let mut groups: Vec<Vec<&Entry>> = vec![Vec::new()];
    let mut size = 0;
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in sorted {
        let own = bytes(entry);
        if size > 0 && size + own > most {
            groups.push(Vec::new());
            size = 0;
        }
        size += own;
        if let Some(group) = groups.last_mut() {
            group.push(entry);
        }
    }
    let count = groups.len();
    let name = |index: usize| match count {
        1 => format!("{stem}.safetensors"),
        _ => format!("{stem}-{:05}-of-{count:05}.safetensors", index + 1),
    };
    let mut parts = Vec::with_capacity(count);
    for (index, group) in groups.iter().enumerate() {
        let name = name(index);
        let (bytes, blake3) = write(&folder.join(&name), group, make)?;
        parts.push(Part { name, bytes, blake3 });
    }
    Ok(parts)
}

fn bytes(entry: &Entry) -> u64 {
    entry.count() as u64 * entry.dtype.size_in_bytes() as u64
}

/// A writer that hashes what passes.
struct Hashed<W> {
    inner: W,
    hasher: blake3::Hasher,
    written: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn write(
    path: &Path,
    entries: &[&Entry],
    make: &mut dyn FnMut(&Entry) -> Result<Tensor>,
) -> Result<(u64, String)> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let header = header(path, entries)?;
    let mut out = BufWriter::with_capacity(
        1 << 20,
        Hashed {
            inner: File::create(path).map_err(io)?,
            hasher: blake3::Hasher::new(),
            written: 0,
        },
    );
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(header.as_bytes()).map_err(io)?;
    for entry in entries {
        let tensor = make(entry)?;
        if tensor.dims() != entry.shape || tensor.dtype() != entry.dtype {
            let (found, dtype) = (tensor.dims(), tensor.dtype());
            return Err(Error::Input(format!(
                "`{}` came as {dtype:?} {found:?}",
                entry.name
            )));
        }
        tensor
            .contiguous()?
            .write_bytes(&mut out)
            .map_err(|error| match error {
                candle_core::Error::Io(source) => io(source),
                other => other.into(),
            })?;
    }
    let out = out.into_inner().map_err(|error| io(error.into_error()))?;
    out.inner.sync_all().map_err(io)?;
    Ok((out.written, out.hasher.finalize().to_hex().to_string()))
}

fn header(path: &Path, entries: &[&Entry]) -> Result<String> {
    let mut all = Map::new();
    let mut start = 0;
    for entry in entries {
        let dtype = word(entry.dtype).ok_or_else(|| Error::Format {
            path: PathBuf::from(path),
            kind: "safetensors",
            why: format!("it has no word for {:?} (`{}`)", entry.dtype, entry.name),
        })?;
        let end = start + bytes(entry);
        let value = json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [start, end]});
        all.insert(entry.name.clone(), value);
        start = end;
    }
    let mut text = Value::Object(all).to_string();
    // values begin at a multiple of eight
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::{Folder, open_source};
    use super::*;
    use candle_core::Device;

    fn entry(name: &str, shape: &[usize], dtype: DType) -> Entry {
        Entry {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        }
    }

    fn made(entry: &Entry) -> Result<Tensor> {
        let count = entry.count();
        let values: Vec<f32> = (0..count).map(|k| k as f32 - 3.0).collect();
        Ok(Tensor::from_vec(values, entry.shape.as_slice(), &Device::Cpu)?.to_dtype(entry.dtype)?)
    }

    #[test]
    fn shards_read_back_whole_with_their_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [
            entry("b", &[4, 3], DType::BF16),
            entry("a", &[5], DType::F32),
            entry("c", &[2, 2], DType::F8E4M3),
        ];
        let parts = write_parts(folder.path(), "model", &entries, 30, &mut made).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors"
            ]
        );
        for part in &parts {
            let bytes = std::fs::read(folder.path().join(&part.name)).unwrap();
            assert_eq!(part.bytes, bytes.len() as u64);
            assert_eq!(part.blake3, blake3::hash(&bytes).to_hex().to_string());
        }
        let source = open_source(folder.path()).unwrap();
        let found: Vec<String> = source.entries().into_iter().map(|entry| entry.name).collect();
        assert_eq!(found, ["a", "b", "c"]);
        let super::super::Found::Tensor(b) = source.load("b", &[4, 3], &Device::Cpu).unwrap() else {
            panic!("it is there")
        };
        assert_eq!(b.dtype(), DType::BF16);
        let values = b.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        assert_eq!(values.to_vec1::<f32>().unwrap()[..4], [-3.0, -2.0, -1.0, 0.0]);
    }

    #[test]
    fn a_name_in_two_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for stem in ["x", "y"] {
            write_parts(
                folder.path(),
                stem,
                &[entry("a", &[2], DType::F32)],
                1 << 20,
                &mut made,
            )
            .unwrap();
        }
        let said = Folder::open(folder.path()).err().unwrap().to_string();
        assert!(said.contains("`a` is also in"), "{said}");
    }
}
