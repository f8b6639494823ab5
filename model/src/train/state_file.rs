//! The files of a state: rows of tensors by name, written one by one while the ranks give their slices, and read one by one.

use super::{
    adamw::{MomentForm, Part},
    collective::Collective,
    moments::{coded, decoded},
    narrow::{BLOCK, Scale},
    trainer::Trainer,
};
use crate::{
    Error, Result,
    weights::{Entry, File, Found, Held, Source, write_parts},
};
use candle_core::{DType, Device, Tensor};
use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
};

/// Behind the name of a moment whose codes it holds the factors of.
const FACTORS: &str = ".factors";

/// Writes `entries` to `STEM.safetensors` in `folder`, on ranks without a folder nowhere; `make` is asked for them in the same
/// order on every rank.
pub(super) fn write(
    folder: Option<&Path>,
    stem: &str,
    mut entries: Vec<Entry>,
    make: &mut dyn FnMut(&Entry) -> Result<Tensor>,
) -> Result<()> {
    if let Some(folder) = folder {
        return write_parts(folder, stem, &entries, u64::MAX, make).map(drop);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.iter().try_for_each(|entry| make(entry).map(drop))
}

/// Weights in the checkpoint's own names, shapes and types.
pub(super) fn write_weights<'a>(
    held: impl Iterator<Item = &'a Held>,
    folder: &Path,
    stem: &str,
) -> Result<()> {
    let held: HashMap<&str, &Held> = held.map(|held| (held.name.as_str(), held)).collect();
    let entry = |held: &&Held| Entry {
        name: held.name.clone(),
        dtype: held.tensor.dtype(),
        shape: held.shape.clone(),
    };
    write(
        Some(folder),
        stem,
        held.values().map(entry).collect(),
        &mut |entry| {
            let held = held[entry.name.as_str()];
            Ok(held.stored.save(&held.tensor, &held.shape)?)
        },
    )
}

fn row(name: String, dtype: DType, count: usize) -> Entry {
    Entry {
        name,
        dtype,
        shape: vec![count],
    }
}

/// What a file of the optimizer holds under a name.
#[derive(Clone, Copy)]
struct Item {
    index: usize,
    part: Part,
    scale: Scale,
    factors: bool,
}

impl Trainer {
    /// Where the weights that are trained stand, by name.
    fn places(&self) -> HashMap<&str, usize> {
        let weights = self.trained.iter().enumerate();
        weights
            .map(|(index, weight)| (weight.name.as_str(), index))
            .collect()
    }

    fn gathered(&self, index: usize, part: Part, ranks: &dyn Collective) -> Result<Tensor> {
        let whole = self.optimizer.whole(index, part, ranks)?;
        whole.ok_or_else(|| Error::Input("moving averages that are not kept were asked for".to_owned()))
    }

    /// A weight that is trained, or its moving average, as f32 in the form in which the network holds it.
    pub(super) fn exact(&self, index: usize, part: Part, ranks: &dyn Collective) -> Result<Tensor> {
        let whole = self.gathered(index, part, ranks)?;
        Ok(whole.reshape(self.trained[index].var.shape())?)
    }

    /// The weights that are trained, as f32 in the checkpoint's own names and shapes.
    pub(super) fn write_trained(
        &self,
        folder: Option<&Path>,
        stem: &str,
        ranks: &dyn Collective,
    ) -> Result<()> {
        let places = self.places();
        let entry = |weight: &crate::weights::Trained| Entry {
            name: weight.name.clone(),
            dtype: DType::F32,
            shape: weight.shape.clone(),
        };
        let entries = self.trained.iter().map(entry).collect();
        write(folder, stem, entries, &mut |entry| {
            let index = places[entry.name.as_str()];
            let whole = self.exact(index, Part::Master, ranks)?;
            Ok(self.trained[index].stored.save(&whole, &entry.shape)?)
        })
    }

    /// Moments as rows: f32, or codes and factors.
    pub(super) fn write_moments(&self, folder: Option<&Path>, ranks: &dyn Collective) -> Result<()> {
        let narrow = self.recipe.optimizer.moments == MomentForm::Narrow;
        let (mut entries, mut items) = (Vec::new(), HashMap::new());
        for (index, weight) in self.trained.iter().enumerate() {
            let count = weight.var.elem_count();
            for (letter, part, scale) in MOMENTS {
                let name = format!("{}.{letter}", weight.name);
                let item = Item {
                    index,
                    part,
                    scale,
                    factors: false,
                };
                let dtype = if narrow { DType::U8 } else { DType::F32 };
                items.insert(name.clone(), item);
                entries.push(row(name.clone(), dtype, count));
                if narrow {
                    let name = name + FACTORS;
                    items.insert(
                        name.clone(),
                        Item {
                            factors: true,
                            ..item
                        },
                    );
                    entries.push(row(name, DType::F32, count.div_ceil(BLOCK)));
                }
            }
        }
        // a moment's factors come right behind its codes in a file's order: it is gathered once for both
        let mut behind: Option<((usize, Part), Tensor)> = None;
        write(folder, "optimizer", entries, &mut |entry| {
            let item = items[&entry.name];
            let own = (item.index, item.part);
            if let Some((_, factors)) = behind.take_if(|(of, _)| item.factors && *of == own) {
                return Ok(factors);
            }
            let whole = self.gathered(item.index, item.part, ranks)?;
            if !narrow {
                return Ok(whole);
            }
            // what codes stand for comes back as the same codes, so that ranks need not know of them
            let (codes, factors) = coded(item.scale, &whole)?;
            if item.factors {
                return Ok(factors);
            }
            behind = Some((own, factors));
            Ok(codes)
        })
    }

    /// Moving averages as rows of f32, where some are kept.
    pub(super) fn write_averages(&self, folder: Option<&Path>, ranks: &dyn Collective) -> Result<()> {
        if self.recipe.ema.is_none() {
            return Ok(());
        }
        let places = self.places();
        let entry =
            |weight: &crate::weights::Trained| row(weight.name.clone(), DType::F32, weight.var.elem_count());
        let entries = self.trained.iter().map(entry).collect();
        write(folder, "ema", entries, &mut |entry| {
            self.gathered(places[entry.name.as_str()], Part::Average, ranks)
        })
    }
}

/// Both moments: what they are called in a file, and the codes they are held in.
pub(super) const MOMENTS: [(&str, Part, Scale); 2] = [
    ("m", Part::First, Scale::Signed),
    ("v", Part::Second, Scale::Square),
];

/// Tensors of a file by name.
pub(super) struct Rows {
    path: PathBuf,
    file: File,
}

impl Rows {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        Ok(Self {
            file: File::open(&path)?,
            path,
        })
    }

    /// What messages call it.
    pub(super) fn label(&self) -> String {
        format!("`{}`", self.path.display())
    }

    /// A tensor of the file. Fails if it is not there.
    pub(super) fn get(&self, name: &str) -> Result<Tensor> {
        match self.file.load(name, &[], &Device::Cpu)? {
            Found::Tensor(tensor) => Ok(tensor),
            _ => Err(Error::Resume(format!("`{}` lacks `{name}`", self.path.display()))),
        }
    }

    /// A moment as f32, whichever way it was written.
    pub(super) fn moment(&self, name: &str, scale: Scale) -> Result<Tensor> {
        let row = self.get(name)?;
        if row.dtype() != DType::U8 {
            return Ok(row.to_dtype(DType::F32)?);
        }
        let factors = self.get(&format!("{name}{FACTORS}"))?;
        decoded(scale, &row.flatten_all()?, &factors.flatten_all()?)
            .map_err(|error| Error::Resume(format!("`{}`: `{name}`: {error}", self.path.display())))
    }

    /// A text in the head of the file; empty if it is not there.
    pub(super) fn note(&self, key: &str) -> Result<String> {
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        let mut file = std::fs::File::open(&self.path).map_err(io)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let mut head = Vec::new();
        file.take(u64::from_le_bytes(length))
            .read_to_end(&mut head)
            .map_err(io)?;
        let head: serde_json::Value = serde_json::from_slice(&head).map_err(|error| Error::Format {
            path: self.path.clone(),
            kind: "safetensors",
            why: error.to_string(),
        })?;
        let note = head["__metadata__"][key].as_str();
        Ok(note.unwrap_or_default().to_owned())
    }
}
