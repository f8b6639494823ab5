//! A run's state and its step, from samples to moved weights.

use super::{
    AdamW, AdamWSettings,
    collective::Collective,
    customizer::{Customizer, CustomizerConfig},
    draw::Draw,
    objective::{Loss, objective},
    order::{Kind, Order, members},
    recipe::{Mode, Recipe, ReferenceRule, decays},
    samples::{Entry, Sample, Samples},
    state::digest,
    sums::Sums,
};
use crate::{
    Error, Result,
    weights::{Held, Lora, Source, Trained, Weights},
};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::{cell::OnceCell, collections::HashSet};

/// What a step did; a line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its number, from 0.
    pub step: u64,
    /// What it trained.
    pub kind: Kind,
    /// Mean over the samples of the weighted sum of losses.
    pub loss: f64,
    /// Mean loss of the video; `None` in a step on speech.
    pub video: Option<f64>,
    /// Mean loss of the audio.
    pub audio: f64,
    /// Length of all gradients before they were clipped.
    pub norm: f64,
    /// Step size of each line of the recipe's table that trains, by its first pattern.
    pub lr: Vec<(String, f64)>,
    /// Tokens of both streams.
    pub tokens: u64,
    /// The samples, in order.
    pub ids: Vec<String>,
}

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
}

/// A weight that moves.
struct Moved {
    rule: usize,
    decays: bool,
    average: Option<Vec<f32>>,
}

/// Everything that a step changes, and what it needs.
pub struct Trainer {
    pub(super) recipe: Recipe,
    pub(super) model: Customizer,
    pub(super) held: Vec<Held>,
    pub(super) optimizer: AdamW,
    trained: Vec<Trained>,
    moved: Vec<Moved>,
    order: Order,
    excluded: HashSet<String>,
    /// Hash of the weights that stay, computed when a state first asks for it.
    frozen: OnceCell<Option<String>>,
    pub(super) step: u64,
}

/// The name of a weight without its low-rank part.
fn base_of(name: &str) -> Option<String> {
    let short = name
        .strip_suffix(".lora_down.weight")
        .or_else(|| name.strip_suffix(".lora_up.weight"))?;
    Some(format!("{short}.weight"))
}

/// Weights of `source`, trained and adapted as the recipe's table says.
fn weights_of(recipe: &Recipe, source: impl Source + 'static) -> Weights {
    let (trains, adapts) = (recipe.clone(), recipe.clone());
    let mode = |recipe: &Recipe, name: &str| recipe.rule_of(name).map(|rule| recipe.weights[rule].mode);
    Weights::new(source, DType::F32, &Device::Cpu)
        .train(move |name| match base_of(name) {
            Some(base) => mode(&trains, &base) == Some(Mode::Lora),
            None => mode(&trains, name) == Some(Mode::Train),
        })
        .adapt(move |name| {
            let rule = &adapts.weights[adapts.rule_of(name)?];
            let rank = rule.rank.filter(|_| rule.mode == Mode::Lora)?;
            let scale = rule.alpha.unwrap_or(rank as f64) / rank as f64;
            Some(Lora { rank, scale })
        })
}

impl Trainer {
    /// Builds the network from `source` and sees that the recipe and the data fit it: every key falls under a line of the table,
    /// every line has keys, every kind of step has samples.
    pub fn new(
        recipe: Recipe,
        config: &CustomizerConfig,
        source: impl Source + 'static,
        samples: &dyn Samples,
    ) -> Result<Self> {
        let weights = weights_of(&recipe, source);
        let model = Customizer::new(config, &weights, recipe.recompute)?.anchored(recipe.anchored);
        weights.finish()?;
        let (held, trained) = (weights.held(), weights.trained());
        table_fits(&recipe, &held)?;
        if trained.is_empty() {
            return Err(Error::Recipe(
                "no weight of this network falls under a line that trains".to_owned(),
            ));
        }
        let order = order_of(&recipe, samples.entries())?;
        let settings = AdamWSettings {
            betas: (recipe.optimizer.betas[0], recipe.optimizer.betas[1]),
            eps: recipe.optimizer.eps,
            moments: recipe.optimizer.moments,
            ..AdamWSettings::default()
        };
        let moved = trained
            .iter()
            .map(|weight| Moved::new(&recipe, weight))
            .collect::<Result<_>>()?;
        Ok(Self {
            model,
            held,
            optimizer: AdamW::new(trained.clone(), settings)?,
            trained,
            moved,
            order,
            excluded: recipe.exclude.iter().cloned().collect(),
            recipe,
            frozen: OnceCell::new(),
            step: 0,
        })
    }

    /// Hash of the weights that stay; `None` if all are trained.
    pub(super) fn frozen(&self) -> Result<&Option<String>> {
        if let Some(known) = self.frozen.get() {
            return Ok(known);
        }
        let stay = || self.held.iter().filter(|held| !held.tensor.is_variable());
        let found = stay().next().map(|_| digest(stay())).transpose()?;
        Ok(self.frozen.get_or_init(|| found))
    }

    /// The step that comes next, from 0.
    pub fn next(&self) -> u64 {
        self.step
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Bytes that the optimizer's moments take.
    pub fn moment_bytes(&self) -> usize {
        self.optimizer.bytes()
    }

    /// The network.
    pub fn model(&self) -> &Customizer {
        &self.model
    }

    /// What is trained and what stays, a line each of the recipe's table.
    pub fn shares(&self) -> Vec<Share> {
        let share = |(index, rule): (usize, &super::recipe::WeightRule)| {
            let mut share = Share {
                keys: rule.keys.join(", "),
                mode: rule.mode,
                trained: 0,
                frozen: 0,
            };
            for held in &self.held {
                let base = base_of(&held.name);
                if self.recipe.rule_of(base.as_ref().unwrap_or(&held.name)) == Some(index) {
                    let count = held.tensor.elem_count();
                    *(if held.tensor.is_variable() {
                        &mut share.trained
                    } else {
                        &mut share.frozen
                    }) += count;
                }
            }
            share
        };
        self.recipe.weights.iter().enumerate().map(share).collect()
    }

    /// The samples of a step, by number and place, without those that the recipe excludes. Where none is left, those of the
    /// next step of its kind that has some, so that the steps around it are what they were.
    fn batch(&self, step: u64, entries: &[Entry]) -> Result<Vec<(u64, usize)>> {
        let kind = self.order.kind(step);
        let kept = |step: u64| -> Vec<(u64, usize)> {
            let all = self.order.batch(step).into_iter().enumerate();
            let kept = all.filter(|(_, index)| !self.excluded.contains(&entries[*index].id));
            kept.map(|(place, index)| (place as u64, index)).collect()
        };
        // Two rounds through the data, whatever the pattern of steps: what is kept may be first in this one and last in the next.
        let rounds = (2 * entries.len() * self.recipe.pattern.len()) as u64;
        let mut steps = (step..=step + rounds).filter(|step| self.order.kind(*step) == kind);
        steps
            .find_map(|step| Some(kept(step)).filter(|batch| !batch.is_empty()))
            .ok_or_else(|| Error::Recipe(format!("`exclude` leaves no sample for {} steps", kind.name())))
    }

    /// The loss of one sample of a step, and the sample.
    fn loss(&self, samples: &dyn Samples, (place, index): (u64, usize)) -> Result<(Sample, Loss)> {
        let sample = samples.load(index)?;
        self.model.check(&sample)?;
        let draw = Draw::new(self.recipe.seed, self.step, place);
        let settings = (&self.recipe.loss, &self.recipe.dropout);
        let loss = objective(&self.model, &sample, self.order.kind(self.step), draw, settings)?;
        Ok((sample, loss))
    }

    /// The losses of the coming step, sample by sample, without moving anything: id, video, audio.
    pub fn look(&self, samples: &dyn Samples) -> Result<Vec<(String, Option<f64>, f64)>> {
        let batch = self.batch(self.step, samples.entries())?;
        let look = |at: (u64, usize)| {
            let (sample, loss) = crate::no_grad(|| self.loss(samples, at))?;
            Ok((sample.id, loss.video, loss.audio))
        };
        batch.into_iter().map(look).collect()
    }

    /// One step: each rank takes every `world`-th sample, the gradients are added up, and every rank moves its weights alike.
    ///
    /// Fails with [`Error::NotFinite`] before anything has moved.
    pub fn step(&mut self, samples: &dyn Samples, ranks: &dyn Collective) -> Result<StepReport> {
        let batch = self.batch(self.step, samples.entries())?;
        let mut sums = Sums::new(self.trained.len());
        for at in batch.iter().skip(ranks.rank()).step_by(ranks.world()) {
            let (sample, loss) = self.loss(samples, *at)?;
            let grads = loss.total.affine(1.0 / batch.len() as f64, 0.0)?.backward()?;
            sums.add(&sample.id, &loss, &self.trained, &grads)?;
        }
        sums.reduce(&self.trained, ranks)?;
        let norm = sums.norm()?;
        let ids = batch
            .iter()
            .map(|(_, index)| samples.entries()[*index].id.clone());
        let report = self.report(&sums, norm, ids.collect());
        self.finite(&sums, &report)?;
        self.apply(&sums, norm)?;
        self.step += 1;
        Ok(report)
    }

    fn report(&self, sums: &Sums, norm: f64, ids: Vec<String>) -> StepReport {
        let rules = self
            .recipe
            .weights
            .iter()
            .filter(|rule| rule.mode != Mode::Freeze);
        let lr = rules.map(|rule| (rule.keys[0].clone(), rule.lr_at(self.step, self.recipe.steps)));
        StepReport {
            step: self.step,
            kind: self.order.kind(self.step),
            loss: sums.loss(),
            video: sums.video(),
            audio: sums.audio(),
            norm,
            lr: lr.collect(),
            tokens: sums.tokens(),
            ids,
        }
    }

    fn finite(&self, sums: &Sums, report: &StepReport) -> Result<()> {
        for (what, value) in [
            ("the loss of the video", report.video.unwrap_or(0.0)),
            ("the loss of the audio", report.audio),
            ("the length of the gradients", report.norm),
        ] {
            if !value.is_finite() {
                return Err(Error::NotFinite {
                    step: self.step,
                    what: what.to_owned(),
                    value,
                    ids: if sums.bad.is_empty() {
                        report.ids.clone()
                    } else {
                        sums.bad.clone()
                    },
                });
            }
        }
        Ok(())
    }

    fn apply(&mut self, sums: &Sums, norm: f64) -> Result<()> {
        let clip = self.recipe.optimizer.clip;
        let scale = if norm > clip { clip / norm } else { 1.0 };
        for (index, moved) in self.moved.iter_mut().enumerate() {
            if let Some(grad) = &sums.grads[index] {
                let lr = self.recipe.weights[moved.rule].lr_at(self.step, self.recipe.steps);
                let decay = if moved.decays {
                    self.recipe.optimizer.decay
                } else {
                    0.0
                };
                self.optimizer.update(index, grad, scale, (lr, decay))?;
            }
            if let (Some(average), Some(memory)) = (&mut moved.average, self.recipe.ema) {
                let now = self.trained[index].var.flatten_all()?.to_vec1::<f32>()?;
                for (average, now) in average.iter_mut().zip(now) {
                    *average += (1.0 - memory as f32) * (now - *average);
                }
            }
        }
        Ok(())
    }

    /// The moving averages, each with its weight; empty when none are kept.
    pub(super) fn averages(&self) -> Vec<(&Trained, &Vec<f32>)> {
        let pairs = self.trained.iter().zip(&self.moved);
        pairs
            .filter_map(|(weight, moved)| Some((weight, moved.average.as_ref()?)))
            .collect()
    }

    /// Puts averages back; `find` gives those of a name.
    pub(super) fn restore_averages(&mut self, mut find: impl FnMut(&str) -> Result<Vec<f32>>) -> Result<()> {
        for (weight, moved) in self.trained.iter().zip(&mut self.moved) {
            if let Some(average) = &mut moved.average {
                let found = find(&weight.name)?;
                if found.len() != average.len() {
                    return Err(Error::Resume(format!(
                        "the average of `{}` has another size",
                        weight.name
                    )));
                }
                *average = found;
            }
        }
        Ok(())
    }
}

impl Moved {
    fn new(recipe: &Recipe, weight: &Trained) -> Result<Self> {
        let base = base_of(&weight.name);
        let rule = recipe.rule_of(base.as_ref().unwrap_or(&weight.name));
        let rule =
            rule.ok_or_else(|| Error::Recipe(format!("no line of `weights` fits `{}`", weight.name)))?;
        let average = recipe.ema.map(|_| weight.var.flatten_all()?.to_vec1::<f32>());
        Ok(Self {
            rule,
            decays: decays(&weight.name, &weight.shape),
            average: average.transpose()?,
        })
    }
}

/// Every key falls under a line, every line has a key.
fn table_fits(recipe: &Recipe, held: &[Held]) -> Result<()> {
    let mut used = vec![false; recipe.weights.len()];
    for held in held {
        let base = base_of(&held.name);
        match recipe.rule_of(base.as_ref().unwrap_or(&held.name)) {
            Some(rule) => used[rule] = true,
            None => {
                return Err(Error::Recipe(format!(
                    "no line of `weights` fits `{}`",
                    held.name
                )));
            }
        }
    }
    match used.iter().position(|used| !used) {
        Some(rule) => {
            let keys = recipe.weights[rule].keys.join(", ");
            Err(Error::Recipe(format!(
                "weights `{keys}`: no key of this network falls under this line"
            )))
        }
        None => Ok(()),
    }
}

/// Who may be in a step of which kind.
fn order_of(recipe: &Recipe, entries: &[Entry]) -> Result<Order> {
    let take = &recipe.take;
    let people = take.subjects[0]..=take.subjects[1];
    let apart = |entry: &Entry| take.references != ReferenceRule::CrossPair || !entry.own_reference;
    let of = |kind: Kind| match kind {
        Kind::Joint => members(entries, |entry| {
            entry.video && people.contains(&entry.subjects) && apart(entry)
        }),
        Kind::Speech => members(entries, |entry| {
            (!entry.video || take.speech_of_clips) && apart(entry)
        }),
    };
    for kind in &recipe.pattern {
        if of(*kind).is_empty() {
            let (all, clips) = (entries.len(), entries.iter().filter(|entry| entry.video).count());
            let own = entries.iter().filter(|entry| entry.own_reference).count();
            return Err(Error::Recipe(format!(
                "no sample for {} steps: of {all} samples {clips} have pictures, {own} have references from their own clip; \
                 `take` asks for {} to {} people and {} references{}",
                kind.name(),
                take.subjects[0],
                take.subjects[1],
                if take.references == ReferenceRule::CrossPair {
                    "foreign"
                } else {
                    "any"
                },
                if *kind == Kind::Speech {
                    " (take.speech_of_clips = true would take the clips' own sound)"
                } else {
                    ""
                },
            )));
        }
    }
    Ok(Order::new(
        recipe.seed,
        &recipe.pattern,
        |kind| recipe.batch_of(kind),
        of,
    ))
}
