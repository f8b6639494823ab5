//! What a recipe makes of a network's weights, also before any of them is loaded.

use super::{
    customizer::{Customizer, CustomizerConfig},
    recipe::Recipe,
    rules::{Mode, WeightRule},
    shard::Shard,
};
use crate::{
    Error, Result,
    weights::{Lora, ShapesOnly, Source, Weights},
};
use candle_core::Device;

/// How many weights, by what becomes of them, under one line of the recipe's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The line's patterns.
    pub keys: String,
    /// What becomes of them.
    pub mode: Mode,
    /// Values that are trained, low-rank additions included.
    pub trained: usize,
    /// Values that stay.
    pub frozen: usize,
    /// Whether all that is trained of it lies in the modules before the backbone (OCF, MTP-CA).
    pub before_backbone: bool,
}

/// What a run is going to hold, told from names and shapes alone: nothing is loaded.
pub struct Plan {
    /// What is trained and what stays, a line each of the recipe's table.
    pub shares: Vec<Share>,
}

impl Plan {
    /// Fails where the recipe's table does not fit the network: a key without a line, a line without keys, nothing that trains.
    pub fn new(recipe: &Recipe, config: &CustomizerConfig) -> Result<Self> {
        let weights = weights_of(recipe, ShapesOnly, &Device::Cpu, (0, 1));
        Customizer::new(config, &weights, recipe.recompute)?;
        let asked = weights.asked();
        table_fits(recipe, asked.iter().map(|(name, _)| name.as_str()))?;
        let sizes = asked.iter().map(|(name, shape)| {
            let stays = !moves(recipe, name);
            (name.as_str(), shape.iter().product(), stays)
        });
        Ok(Self {
            shares: shares(recipe, sizes),
        })
    }
}

/// Values by line of the table; of each weight its name, its number of values, and whether it stays.
pub(super) fn shares<'a>(
    recipe: &Recipe,
    weights: impl Iterator<Item = (&'a str, usize, bool)>,
) -> Vec<Share> {
    let share = |rule: &WeightRule| Share {
        keys: rule.keys.join(", "),
        mode: rule.mode,
        trained: 0,
        frozen: 0,
        before_backbone: true,
    };
    let mut all: Vec<Share> = recipe.weights.iter().map(share).collect();
    for (name, count, stays) in weights {
        let base = base_of(name);
        if let Some(rule) = recipe.rule_of(base.as_deref().unwrap_or(name)) {
            let share = &mut all[rule];
            share.before_backbone &= stays || before_backbone(name);
            *(if stays {
                &mut share.frozen
            } else {
                &mut share.trained
            }) += count;
        }
    }
    all
}

/// The name of a weight without its low-rank part.
pub(super) fn base_of(name: &str) -> Option<String> {
    let short = name
        .strip_suffix(".lora_down.weight")
        .or_else(|| name.strip_suffix(".lora_up.weight"))?;
    Some(format!("{short}.weight"))
}

/// Weights of `source`, trained and adapted as the recipe's table says.
///
/// Of f32 values beside weights of half precision only the slices of rank `ranks.0` of `ranks.1` are kept.
pub(super) fn weights_of(
    recipe: &Recipe,
    source: impl Source + 'static,
    device: &Device,
    ranks: (usize, usize),
) -> Weights {
    let (trains, adapts) = (recipe.clone(), recipe.clone());
    let align = recipe.optimizer.moments.align();
    Weights::new(source, recipe.dtype.dtype(), device)
        .train(move |name| moves(&trains, name))
        .keep(move |row| Shard::of(row.elem_count(), align, ranks).own(row))
        .adapt(move |name| {
            let rule = &adapts.weights[adapts.rule_of(name)?];
            let rank = rule.rank.filter(|_| rule.mode == Mode::Lora)?;
            let scale = rule.alpha.unwrap_or(rank as f64) / rank as f64;
            Some(Lora { rank, scale })
        })
}

/// Whether a weight is trained, as the recipe's table says.
pub(super) fn moves(recipe: &Recipe, name: &str) -> bool {
    let mode = |name: &str| recipe.rule_of(name).map(|rule| recipe.weights[rule].mode);
    match base_of(name) {
        Some(base) => mode(&base) == Some(Mode::Lora),
        None => mode(name) == Some(Mode::Train),
    }
}

/// Whether a weight is of the modules that lie before the backbone.
pub(super) fn before_backbone(name: &str) -> bool {
    name.starts_with("ocf.") || name.starts_with("mtp_ca.")
}

/// Every key falls under a line, every line has a key, and some key is trained.
pub(super) fn table_fits<'a>(recipe: &Recipe, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut used = vec![false; recipe.weights.len()];
    let mut trains = false;
    for name in names {
        let base = base_of(name);
        match recipe.rule_of(base.as_deref().unwrap_or(name)) {
            Some(rule) => used[rule] = true,
            None => return Err(Error::Recipe(format!("no line of `weights` fits `{name}`"))),
        }
        trains |= moves(recipe, name);
    }
    match used.iter().position(|used| !used) {
        Some(rule) => {
            let keys = recipe.weights[rule].keys.join(", ");
            Err(Error::Recipe(format!(
                "weights `{keys}`: no key of this network falls under this line"
            )))
        }
        None if !trains => Err(Error::Recipe(
            "no weight of this network falls under a line that trains".to_owned(),
        )),
        None => Ok(()),
    }
}
