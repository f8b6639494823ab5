//! A state as a checkpoint without training in it: low-rank additions folded into their matrices, and where asked for the moving
//! averages in place of the weights.

use super::{state::write_weights, trainer::Trainer};
use crate::{Error, Result, weights::Held};
use candle_core::Tensor;
use std::{collections::HashMap, fs, path::Path};

impl Trainer {
    /// Writes `model.safetensors` into `folder`, which `dress` then completes, and gives it its name when all is there. With
    /// `averages` the moving averages; fails if none are kept, and if something of that name is there.
    pub fn export(&self, folder: &Path, averages: bool, dress: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let io = |source| Error::Io {
            path: folder.to_owned(),
            source,
        };
        if folder.exists() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let beside = folder.with_file_name(format!(".{name}.unfinished"));
        fs::create_dir_all(&beside).map_err(io)?;
        let done = self
            .plain(averages)
            .and_then(|held| write_weights(held.iter(), &beside.join("model.safetensors")))
            .and_then(|()| dress(&beside))
            .and_then(|()| fs::rename(&beside, folder).map_err(io));
        if done.is_err() {
            let _ = fs::remove_dir_all(&beside); // the error that matters is the first
        }
        done
    }

    /// The weights as the backbone alone has them.
    fn plain(&self, averages: bool) -> Result<Vec<Held>> {
        let mut found: HashMap<&str, Tensor> = self
            .held
            .iter()
            .map(|held| (held.name.as_str(), held.tensor.detach()))
            .collect();
        if averages {
            let all = self.averages();
            if all.is_empty() {
                return Err(Error::Recipe(
                    "no moving averages are kept: the recipe has no `ema`".to_owned(),
                ));
            }
            for (weight, row) in all {
                let average = Tensor::from_slice(row, weight.var.shape(), weight.var.device())?;
                found.insert(&weight.name, average);
            }
        }
        let mut plain = Vec::with_capacity(self.held.len());
        for held in self.held.iter().filter(|held| !held.name.contains(".lora_")) {
            let stem = held.name.strip_suffix(".weight").unwrap_or(&held.name);
            let part = |which: &str| found.get(format!("{stem}.lora_{which}.weight").as_str());
            let mut tensor = found[held.name.as_str()].clone();
            if let (Some(down), Some(up), Some(rule)) =
                (part("down"), part("up"), self.recipe.rule_of(&held.name))
            {
                let rule = &self.recipe.weights[rule];
                let rank = rule.rank.unwrap_or(1) as f64;
                tensor = (tensor + (down.matmul(up)? * (rule.alpha.unwrap_or(rank) / rank))?)?;
            }
            plain.push(Held {
                tensor,
                ..held.clone()
            });
        }
        Ok(plain)
    }
}
