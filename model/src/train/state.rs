//! States on the disk: the weights in the checkpoint's own names, and beside them what only the trainer needs. A state is
//! written beside and renamed, so one that can be seen is whole. Weights that stay are written once in a run: every later state
//! shares that file with the one before it, and names it by its hash.

use super::{recipe::Recipe, trainer::Trainer};
use crate::{Error, Result, checkpoint::FileMark, weights::Held};
use candle_core::{DType, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Folder of a state's own files, apart from the checkpoint's.
const OWN: &str = "state";
/// What a state says about itself, in its own folder.
const CARD: &str = "state.json";
/// Weights that are trained; in states of format 1 those that stay, too.
const TRAINED: &str = "model.safetensors";
/// Weights that stay.
pub(super) const FROZEN: &str = "frozen.safetensors";
/// Key of the optimizer's step counts in its file.
const STEPS: &str = "steps";
/// Layout of the states that are written. 1, which is read too, had all weights in one file.
const FORMAT: u32 = 2;

/// The weights that stay, as a state refers to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frozen {
    /// BLAKE3 of their names, shapes and values.
    pub(super) weights: String,
    /// Their file.
    pub(super) file: FileMark,
}

/// What a state says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Card {
    /// Of this layout.
    format: u32,
    /// Steps done.
    step: u64,
    /// The recipe, without what may change.
    recipe: Recipe,
    /// Which data.
    data: String,
    /// The weights that stay; absent where all are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen: Option<Frozen>,
}

impl Card {
    /// That of the state in `folder`. Fails on one of a layout that this build does not know.
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(OWN).join(CARD);
        let text = fs::read_to_string(&path).map_err(io(&path))?;
        let damaged = |why: String| Error::Format {
            path: path.clone(),
            kind: "a state",
            why,
        };
        let format: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if !matches!(format["format"].as_u64(), Some(1 | 2)) {
            return Err(Error::Resume(format!(
                "`{}` has layout {} of a state, this build reads 1 and {FORMAT}; go on with the build that wrote it",
                path.display(),
                format["format"]
            )));
        }
        serde_json::from_value(format).map_err(|error| damaged(error.to_string()))
    }
}

/// The weights that stay, of the state in `folder`; `None` if it has none or is no state.
pub(super) fn frozen_of(folder: &Path) -> Option<Frozen> {
    Card::read(folder).ok()?.frozen
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// A folder of states.
pub struct States {
    folder: PathBuf,
}

impl States {
    /// Makes the folder where needed, and removes what a killed process left half written.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(io(folder))?;
        for entry in fs::read_dir(folder).map_err(io(folder))? {
            let entry = entry.map_err(io(folder))?;
            if entry.file_name().to_string_lossy().starts_with(".writing") {
                fs::remove_dir_all(entry.path()).map_err(io(&entry.path()))?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The folder as it is, for a rank that only reads: what another writes at this moment is left alone.
    pub(super) fn beside(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Steps done and folder of every state, rising.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io(&self.folder))? {
            let path = entry.map_err(io(&self.folder))?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse().ok()) {
                all.push((step, path));
            }
        }
        all.sort();
        Ok(all)
    }

    /// Where the state after `step` steps lies.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    /// Writes the trainer's state, unless it is there; `dress` adds what a checkpoint needs beside the weights. Fails on a full
    /// disk, and then leaves nothing of it; the states before stay.
    pub fn save(
        &self,
        trainer: &Trainer,
        data: &str,
        dress: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let target = self.path(trainer.step);
        if target.is_dir() {
            return Ok(target);
        }
        let beside = self.folder.join(format!(".writing-{}", trainer.step));
        let written = self.write(trainer, data, &beside).and_then(|()| dress(&beside));
        let renamed = written.and_then(|()| {
            sync(&beside)?;
            fs::rename(&beside, &target).map_err(io(&target))?;
            sync(&self.folder)
        });
        if let Err(error) = renamed {
            let _ = fs::remove_dir_all(&beside); // the error that matters is the first
            return Err(error);
        }
        self.prune(&trainer.recipe)?;
        Ok(target)
    }

    fn write(&self, trainer: &Trainer, data: &str, folder: &Path) -> Result<()> {
        let own = folder.join(OWN);
        fs::create_dir_all(&own).map_err(io(&own))?;
        let trained = trainer.held.iter().filter(|held| held.tensor.is_variable());
        write_weights(trained, &folder.join(TRAINED))?;
        write_optimizer(trainer, &own)?;
        let card = Card {
            format: FORMAT,
            step: trainer.step,
            recipe: trainer.recipe.fixed(),
            data: data.to_owned(),
            frozen: self.frozen(trainer, &folder.join(FROZEN))?,
        };
        let text = serde_json::to_string_pretty(&card).map_err(|error| Error::Resume(error.to_string()))?;
        let path = own.join(CARD);
        fs::write(&path, text).map_err(io(&path))?;
        flush(&path)?;
        sync(&own)
    }

    /// Puts the weights that stay to `path`: the file of the newest state that holds the same ones, or a new one. `None` if
    /// there are none.
    fn frozen(&self, trainer: &Trainer, path: &Path) -> Result<Option<Frozen>> {
        let Some(weights) = trainer.frozen()? else {
            return Ok(None);
        };
        for (_, state) in self.list()?.iter().rev() {
            let known = frozen_of(state).filter(|known| known.weights == *weights);
            if let Some(known) = known
                && (fs::hard_link(state.join(FROZEN), path).is_ok()
                    || fs::copy(state.join(FROZEN), path).is_ok())
            {
                return Ok(Some(known));
            }
        }
        write_weights(
            trainer.held.iter().filter(|held| !held.tensor.is_variable()),
            path,
        )?;
        Ok(Some(Frozen {
            weights: weights.clone(),
            file: FileMark::of(path)?,
        }))
    }

    /// Removes states that the recipe's rule does not keep.
    fn prune(&self, recipe: &Recipe) -> Result<()> {
        let all = self.list()?;
        let old = all.len().saturating_sub(recipe.keep.last);
        for (step, path) in &all[..old] {
            if recipe.keep.milestone == 0 || !step.is_multiple_of(recipe.keep.milestone) || *step == 0 {
                // renamed first: a state that can be seen is whole, also while it goes
                let going = self.folder.join(format!(".writing-old-{step}"));
                fs::rename(path, &going).map_err(io(path))?;
                fs::remove_dir_all(&going).map_err(io(&going))?;
            }
        }
        Ok(())
    }
}

/// Flushes a folder, so that names in it last.
fn sync(folder: &Path) -> Result<()> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io(folder))
}

/// Moments, their step counts, and averages where some are kept.
fn write_optimizer(trainer: &Trainer, own: &Path) -> Result<()> {
    let mut moments: Vec<(String, Vec<f32>)> = Vec::new();
    let mut steps: Vec<(String, i32)> = Vec::new();
    trainer.optimizer.moments(|name, first, second, count| {
        moments.push((format!("{name}.m"), first.to_vec()));
        moments.push((format!("{name}.v"), second.to_vec()));
        steps.push((name.to_owned(), count));
        Ok(())
    })?;
    let steps = serde_json::to_string(&steps).map_err(|error| Error::Resume(error.to_string()))?;
    write_rows(&moments, Some((STEPS, steps)), &own.join("optimizer.safetensors"))?;
    let rows: Vec<_> = trainer
        .averages()
        .into_iter()
        .map(|(weight, row)| (weight.name.clone(), row.clone()))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    write_rows(&rows, None, &own.join("ema.safetensors"))
}

/// BLAKE3 of names, shapes and values of weights, in their order.
pub(super) fn digest<'a>(held: impl Iterator<Item = &'a Held>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for held in held {
        hasher.update(format!("{}\n{:?}\n", held.name, held.tensor.dims()).as_bytes());
        let row = held
            .tensor
            .flatten_all()?
            .to_dtype(DType::F32)?
            .to_vec1::<f32>()?;
        for part in row.chunks(1 << 14) {
            let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn flush(path: &Path) -> Result<()> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io(path))
}

/// Weights in the checkpoint's own names and shapes.
pub(super) fn write_weights<'a>(held: impl Iterator<Item = &'a Held>, path: &Path) -> Result<()> {
    let stored: Vec<(&str, Tensor)> = held
        .map(|held| {
            Ok((
                held.name.as_str(),
                held.stored.save(&held.tensor, &held.shape)?.contiguous()?,
            ))
        })
        .collect::<Result<_>>()?;
    let views = stored.iter().map(|(name, tensor)| (*name, tensor));
    safetensors::serialize_to_file(views, None, path).map_err(unwritten(path))?;
    flush(path)
}

/// Rows of f32.
fn write_rows(rows: &[(String, Vec<f32>)], note: Option<(&str, String)>, path: &Path) -> Result<()> {
    let bytes: Vec<(&str, Vec<u8>)> = rows
        .iter()
        .map(|(name, row)| {
            (
                name.as_str(),
                row.iter().flat_map(|value| value.to_le_bytes()).collect(),
            )
        })
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(unwritten(path))?;
        views.push((*name, view));
    }
    let note = note.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    safetensors::serialize_to_file(views, note, path).map_err(unwritten(path))?;
    flush(path)
}

fn unwritten(path: &Path) -> impl FnOnce(safetensors::SafeTensorError) -> Error + '_ {
    move |error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::Io {
            path: path.to_owned(),
            source,
        },
        other => Error::Format {
            path: path.to_owned(),
            kind: "safetensors",
            why: other.to_string(),
        },
    }
}

/// Rows of a file by name, and the note in it.
struct Rows {
    path: PathBuf,
    bytes: Vec<u8>,
    note: HashMap<String, String>,
}

impl Rows {
    fn read(path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).map_err(io(&path))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(unwritten(&path))?;
        let note = header.metadata().clone().unwrap_or_default();
        Ok(Self { path, bytes, note })
    }

    fn row(&self, file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>> {
        let lacks = |_| Error::Resume(format!("`{}` lacks `{name}`", self.path.display()));
        let data = file.tensor(name).map_err(lacks)?;
        let four = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        Ok(data.data().chunks_exact(4).map(four).collect())
    }
}

impl Trainer {
    /// Goes on from the state in `folder`. Fails when it was made with another recipe, other data or another network, and says
    /// which.
    pub fn resume(&mut self, folder: &Path, data: &str) -> Result<()> {
        let (own, card) = (folder.join(OWN), Card::read(folder)?);
        if card.recipe != self.recipe.fixed() {
            return Err(Error::Resume(format!(
                "`{}` was made by another recipe ({}); give the recipe it was begun with, or another --out. Only `exclude`, \
                 `keep` and `recompute` may change",
                folder.display(),
                difference(&card.recipe, &self.recipe.fixed())
            )));
        }
        if card.data != data {
            return Err(Error::Resume(format!(
                "`{}` was trained on other data ({} there, {data} here); give the same --data, or another --out",
                folder.display(),
                card.data
            )));
        }
        if let Some(frozen) = &card.frozen
            && self.frozen()?.as_ref() != Some(&frozen.weights)
        {
            return Err(Error::Resume(format!(
                "`{}` was trained over other weights that stay; give the checkpoint it was begun from (--from), or another --out",
                folder.display()
            )));
        }
        let weights = Rows::read(folder.join(TRAINED))?;
        let file = SafeTensors::deserialize(&weights.bytes).map_err(unwritten(&weights.path))?;
        for held in self.held.iter().filter(|held| held.tensor.is_variable()) {
            let row = weights.row(&file, &held.name)?;
            if row.len() != held.tensor.elem_count() {
                return Err(Error::Resume(format!(
                    "`{}` has another size in `{}`",
                    held.name,
                    weights.path.display()
                )));
            }
            let tensor = Tensor::from_vec(row, held.shape.as_slice(), held.tensor.device())?;
            set(held, &held.stored.load(&tensor)?)?;
        }
        let optimizer = Rows::read(own.join("optimizer.safetensors"))?;
        let file = SafeTensors::deserialize(&optimizer.bytes).map_err(unwritten(&optimizer.path))?;
        let steps: Vec<(String, i32)> =
            serde_json::from_str(optimizer.note.get(STEPS).map_or("", String::as_str))
                .map_err(|error| Error::Resume(format!("`{}`: {error}", optimizer.path.display())))?;
        let steps: HashMap<String, i32> = steps.into_iter().collect();
        self.optimizer.restore(|name| {
            let row = |part: &str| optimizer.row(&file, &format!("{name}.{part}"));
            Ok((row("m")?, row("v")?, steps.get(name).copied().unwrap_or(0)))
        })?;
        if self.recipe.ema.is_some() {
            let averages = Rows::read(own.join("ema.safetensors"))?;
            let file = SafeTensors::deserialize(&averages.bytes).map_err(unwritten(&averages.path))?;
            self.restore_averages(|name| averages.row(&file, name))?;
        }
        self.step = card.step;
        Ok(())
    }
}

/// Overwrites a trained weight in place, so that the network sees it.
fn set(held: &Held, value: &Tensor) -> Result<()> {
    let var = candle_core::Var::from_tensor(&held.tensor)?;
    Ok(var.set(&value.reshape(held.tensor.shape())?)?)
}

/// The first key in which two recipes differ.
fn difference(a: &Recipe, b: &Recipe) -> String {
    let (a, b) = (serde_json::to_value(a), serde_json::to_value(b));
    let (Ok(serde_json::Value::Object(a)), Ok(serde_json::Value::Object(b))) = (a, b) else {
        return "it cannot be compared".to_owned();
    };
    let differs = a.iter().find(|(key, value)| b.get(*key) != Some(value));
    differs.map_or_else(String::new, |(key, value)| {
        format!(
            "`{key}` was {value}, it is {}",
            b.get(key).unwrap_or(&serde_json::Value::Null)
        )
    })
}
