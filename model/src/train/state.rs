//! States on the disk: the weights in the checkpoint's own names, and beside them what only the trainer needs. A state is
//! written beside and renamed, so one that can be seen is whole. Weights that stay are written once in a run: every later state
//! shares that file with the one before it, and names it by its hash.

use super::{
    adamw::Part,
    collective::{Collective, Solo},
    recipe::Recipe,
    state_file::{MOMENTS, Rows, write_weights},
    sums::all,
    trainer::Trainer,
};
use crate::{Error, Result, checkpoint::FileMark, files::share, weights::Held};
use candle_core::DType;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
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
/// Moments.
const OPTIMIZER: &str = "optimizer.safetensors";
/// Moving averages.
const AVERAGES: &str = "ema.safetensors";
/// Key of the optimizer's step counts in its file, in states of formats 1 and 2.
const STEPS: &str = "steps";
/// Layout of the states that are written. 1 and 2 are read, too: 1 had all weights in one file, and both had every moment as
/// f32 and the step counts with them.
const FORMAT: u32 = 3;

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
    /// In how many steps each weight had a gradient; absent in formats 1 and 2.
    #[serde(default)]
    gradients: BTreeMap<String, i32>,
    /// The files of what is trained, by their paths in the state's folder; absent in states of earlier builds.
    #[serde(default)]
    files: BTreeMap<String, FileMark>,
}

impl Card {
    /// Fails unless the files of the state in `folder` are those that were written, and the folder has the name of its step. What is
    /// damaged would be trained on, and given a new mark; the states to come share the weights that stay. So all bytes are read
    /// once more (docs/train.md tells the cost).
    fn check(&self, folder: &Path) -> Result<()> {
        let frozen = self.frozen.iter().map(|frozen| (FROZEN, &frozen.file));
        let files = self.files.iter().map(|(name, mark)| (name.as_str(), mark));
        for (name, mark) in files.chain(frozen) {
            mark.check(&folder.join(name)).map_err(|error| match error {
                Error::Format { path, kind, why } => Error::Format {
                    path,
                    kind,
                    why: format!(
                        "{why}; move `{}` away to go on from the state before it",
                        folder.display()
                    ),
                },
                error => error,
            })?;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        match name.strip_prefix("step-").map(str::parse::<u64>) {
            Some(Ok(step)) if step != self.step => Err(Error::Resume(format!(
                "`{}` says that it is the state after {} steps",
                folder.display(),
                self.step
            ))),
            _ => Ok(()),
        }
    }

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
        if !matches!(format["format"].as_u64(), Some(1..=3)) {
            return Err(Error::Resume(format!(
                "`{}` has layout {} of a state, this build reads 1 to {FORMAT}; go on with the build that wrote it",
                path.display(),
                format["format"]
            )));
        }
        serde_json::from_value(format).map_err(|error| damaged(error.to_string()))
    }
}

/// The weights that stay, of the state in `folder`; `None` if it has none or is no state.
fn frozen_of(folder: &Path) -> Option<Frozen> {
    Card::read(folder).ok()?.frozen
}

/// Marks of the checkpoint's files that the state in `folder` has; none if it is no state.
pub(super) fn marks_of(folder: &Path) -> BTreeMap<String, FileMark> {
    let Ok(card) = Card::read(folder) else {
        return BTreeMap::new();
    };
    let mut marks = card.files;
    marks.retain(|name, _| !name.contains('/'));
    marks.extend(card.frozen.map(|frozen| (FROZEN.to_owned(), frozen.file)));
    marks
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
                match fs::remove_dir_all(entry.path()) {
                    // another rank was faster
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    removed => removed.map_err(io(&entry.path()))?,
                }
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

    /// Steps done and folder of every state, rising; none where there is no folder.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            entries => entries.map_err(io(&self.folder))?,
        };
        for entry in entries {
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

    /// Writes the state of a trainer that is alone, unless it is there; `dress` adds what a checkpoint needs beside the weights.
    /// Fails on a full disk, and then leaves nothing of it; the states before stay.
    pub fn save(
        &self,
        trainer: &Trainer,
        data: &str,
        dress: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        self.save_of(trainer, data, dress, &Solo)
    }

    /// The same of the trainers of all ranks, all of which call it: rank 0 writes, the others give their slices. The files are
    /// those of one rank, whatever their number.
    pub fn save_of(
        &self,
        trainer: &Trainer,
        data: &str,
        dress: &dyn Fn(&Path) -> Result<()>,
        ranks: &dyn Collective,
    ) -> Result<PathBuf> {
        let target = self.path(trainer.step);
        let first = ranks.rank() == 0;
        let there = f64::from(u8::from(first && target.is_dir()));
        if all(&[there], &trainer.device(), ranks)?[0] > 0.0 {
            return Ok(target);
        }
        if !first {
            give(trainer, None, ranks)?;
            return Ok(target);
        }
        let beside = self.folder.join(format!(".writing-{}", trainer.step));
        let written = self.write(trainer, data, &beside, ranks);
        let renamed = written.and_then(|()| dress(&beside)).and_then(|()| {
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

    fn write(&self, trainer: &Trainer, data: &str, folder: &Path, ranks: &dyn Collective) -> Result<()> {
        let own = folder.join(OWN);
        fs::create_dir_all(&own).map_err(io(&own))?;
        give(trainer, Some(folder), ranks)?;
        let steps = |(index, weight): (usize, &crate::weights::Trained)| {
            (weight.name.clone(), trainer.optimizer.steps(index))
        };
        let card = Card {
            format: FORMAT,
            step: trainer.step,
            recipe: trainer.recipe.fixed(),
            data: data.to_owned(),
            frozen: self.frozen(trainer, folder)?,
            gradients: trainer.trained.iter().enumerate().map(steps).collect(),
            files: own_files(folder)?,
        };
        let text = serde_json::to_string_pretty(&card).map_err(|error| Error::Resume(error.to_string()))?;
        let path = own.join(CARD);
        fs::write(&path, text).map_err(io(&path))?;
        flush(&path)?;
        sync(&own)
    }

    /// Puts the weights that stay into `folder`: the file of the newest state that holds the same ones, or a new one. `None` if
    /// there are none.
    fn frozen(&self, trainer: &Trainer, folder: &Path) -> Result<Option<Frozen>> {
        let path = &folder.join(FROZEN);
        let Some(weights) = trainer.frozen()? else {
            return Ok(None);
        };
        for (_, state) in self.list()?.iter().rev() {
            let known = frozen_of(state).filter(|known| known.weights == *weights);
            if let Some(known) = known
                && share(&state.join(FROZEN), path).is_ok()
            {
                return Ok(Some(known));
            }
        }
        let stay = trainer.held.iter().filter(|held| !held.tensor.is_variable());
        write_weights(stay, folder, "frozen")?;
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

/// Writes what is trained and what the optimizer holds into a state's folder, or gives the other ranks' part of it.
fn give(trainer: &Trainer, folder: Option<&Path>, ranks: &dyn Collective) -> Result<()> {
    trainer.write_trained(folder, "model", ranks)?;
    let own = folder.map(|folder| folder.join(OWN));
    trainer.write_moments(own.as_deref(), ranks)?;
    trainer.write_averages(own.as_deref(), ranks)
}

/// Marks of the files of what is trained.
fn own_files(folder: &Path) -> Result<BTreeMap<String, FileMark>> {
    let names = [
        TRAINED.to_owned(),
        format!("{OWN}/{OPTIMIZER}"),
        format!("{OWN}/{AVERAGES}"),
    ];
    let there = names.into_iter().filter(|name| folder.join(name).is_file());
    there
        .map(|name| FileMark::of(&folder.join(&name)).map(|mark| (name, mark)))
        .collect()
}

/// Flushes a folder, so that names in it last.
fn sync(folder: &Path) -> Result<()> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io(folder))
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

impl Trainer {
    /// Goes on from the state in `folder`. Fails when it was made with another recipe, other data or another network, and says
    /// which.
    pub fn resume(&mut self, folder: &Path, data: &str) -> Result<()> {
        let card = Card::read(folder)?;
        if card.recipe != self.recipe.fixed() {
            return Err(Error::Resume(format!(
                "`{}` was made by another recipe ({}); give the recipe it was begun with, or another --out. Only `exclude`, \
                 `keep`, `samples`, `recompute`, `peak_tflops` and `optimizer.offload` may change",
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
        if self.rank() == 0 {
            card.check(folder)?;
        }
        self.restore(folder, &card)?;
        self.step = card.step;
        Ok(())
    }

    /// Puts weights, moments and averages back, one tensor at a time; each rank keeps its slices.
    fn restore(&mut self, folder: &Path, card: &Card) -> Result<()> {
        let own = folder.join(OWN);
        let weights = Rows::open(folder.join(TRAINED))?;
        let moments = Rows::open(own.join(OPTIMIZER))?;
        let steps = match card.format {
            3.. => card.gradients.clone(),
            _ => steps_of(&moments)?,
        };
        let averages = match self.recipe.ema {
            Some(_) => Some(Rows::open(own.join(AVERAGES))?),
            None => None,
        };
        for index in 0..self.trained.len() {
            let (name, stored) = (self.trained[index].name.clone(), self.trained[index].stored);
            let tensor = weights.get(&name)?;
            if tensor.dims() != self.trained[index].shape {
                return Err(Error::Resume(format!(
                    "`{name}` has another size in {}",
                    weights.label()
                )));
            }
            let tensor = stored.load(&tensor.to_dtype(DType::F32)?)?;
            self.optimizer.put(index, Part::Master, &tensor)?;
            for (letter, part, scale) in MOMENTS {
                let row = moments.moment(&format!("{name}.{letter}"), scale)?;
                self.optimizer.put(index, part, &row)?;
            }
            let count = steps.get(&name).copied();
            match count {
                Some(count) if (0..i32::MAX).contains(&count) => self.optimizer.put_steps(index, count),
                _ => {
                    return Err(Error::Resume(format!(
                        "`{}` tells no number of steps of `{name}`",
                        folder.display()
                    )));
                }
            }
            if let Some(averages) = &averages {
                self.optimizer.put(index, Part::Average, &averages.get(&name)?)?;
            }
        }
        Ok(())
    }
}

/// Step counts as states of formats 1 and 2 have them.
fn steps_of(moments: &Rows) -> Result<BTreeMap<String, i32>> {
    let steps: Vec<(String, i32)> = serde_json::from_str(&moments.note(STEPS)?)
        .map_err(|error| Error::Resume(format!("{}: {error}", moments.label())))?;
    Ok(steps.into_iter().collect())
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
