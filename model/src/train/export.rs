//! A state as a checkpoint without training in it: low-rank additions folded into their matrices, and where asked for the moving
//! averages in place of the weights.

use super::{
    adamw::Part,
    collective::{Collective, Solo},
    state_file::write,
    trainer::Trainer,
};
use crate::{
    Error, Result,
    checkpoint::into_new_folder,
    weights::{Entry, Held},
};
use candle_core::{DType, Device};
use std::{collections::HashMap, path::Path};

impl Trainer {
    /// Writes `model.safetensors` into `folder`, which `dress` then completes, and gives it its name when all is there. With
    /// `averages` the moving averages; fails if none are kept, and if something of that name is there. What is trained is f32,
    /// also of a run in bf16. For a trainer that is alone.
    pub fn export(&self, folder: &Path, averages: bool, dress: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        self.export_of(folder, averages, dress, &Solo)
    }

    /// The same of the trainers of all ranks, all of which call it; rank 0 writes.
    pub fn export_of(
        &self,
        folder: &Path,
        averages: bool,
        dress: &dyn Fn(&Path) -> Result<()>,
        ranks: &dyn Collective,
    ) -> Result<()> {
        if averages && self.recipe.ema.is_none() {
            return Err(Error::Recipe(
                "no moving averages are kept: the recipe has no `ema`".to_owned(),
            ));
        }
        let part = if averages { Part::Average } else { Part::Master };
        if ranks.rank() != 0 {
            return self.write_plain(None, part, ranks);
        }
        into_new_folder(folder, |beside| {
            self.write_plain(Some(beside), part, ranks)?;
            dress(beside)
        })
    }

    /// The weights as the backbone alone has them.
    fn write_plain(&self, folder: Option<&Path>, part: Part, ranks: &dyn Collective) -> Result<()> {
        let trained: HashMap<&str, usize> = self
            .trained
            .iter()
            .enumerate()
            .map(|(index, weight)| (weight.name.as_str(), index))
            .collect();
        let held: HashMap<&str, &Held> = self
            .held
            .iter()
            .filter(|held| !held.name.contains(".lora_"))
            .map(|held| (held.name.as_str(), held))
            .collect();
        let low = |name: &str, which: &str| {
            let stem = name.strip_suffix(".weight").unwrap_or(name);
            trained
                .get(format!("{stem}.lora_{which}.weight").as_str())
                .copied()
        };
        let entry = |held: &&Held| Entry {
            name: held.name.clone(),
            dtype: match trained.contains_key(held.name.as_str()) || low(&held.name, "down").is_some() {
                true => DType::F32,
                false => held.tensor.dtype(),
            },
            shape: held.shape.clone(),
        };
        let entries = held.values().map(entry).collect();
        write(folder, "model", entries, &mut |entry| {
            let held = held[entry.name.as_str()];
            let mut tensor = match trained.get(entry.name.as_str()) {
                Some(index) => self.exact(*index, part, ranks)?,
                None => held.tensor.to_device(&Device::Cpu)?.to_dtype(entry.dtype)?,
            };
            if let (Some(down), Some(up)) = (low(&entry.name, "down"), low(&entry.name, "up")) {
                let (down, up) = (self.exact(down, part, ranks)?, self.exact(up, part, ranks)?);
                tensor = (tensor + (down.matmul(&up)? * self.lora_scale(&entry.name))?)?;
            }
            Ok(held.stored.save(&tensor, &held.shape)?)
        })
    }

    /// What the low-rank addition of a matrix is multiplied with.
    fn lora_scale(&self, name: &str) -> f64 {
        let rule = self.recipe.rule_of(name).map(|rule| &self.recipe.weights[rule]);
        let rank = rule.and_then(|rule| rule.rank).unwrap_or(1) as f64;
        rule.and_then(|rule| rule.alpha).unwrap_or(rank) / rank
    }
}
