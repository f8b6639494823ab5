//! A run's state and its step, from samples to moved weights.

use super::{
    adamw::{AdamW, AdamWSettings, Route},
    collective::Collective,
    cost,
    customizer::{Customizer, CustomizerConfig},
    draw::Draw,
    objective::{Loss, objective},
    order::{Kind, Order, members},
    plan::{Share, base_of, before_backbone, shares, table_fits, weights_of},
    recipe::{Recipe, ReferenceRule},
    rules::{Mode, decays},
    samples::{Entry, Sample, Samples},
    state::digest,
    sums::Sums,
};
use crate::{
    Error, Result, generate,
    weights::{Held, Source, Trained},
};
use candle_core::Device;
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

/// A weight that moves.
struct Moved {
    rule: usize,
    decays: bool,
}

/// Everything that a step changes, and what it needs.
pub struct Trainer {
    pub(super) recipe: Recipe,
    pub(super) model: Customizer,
    pub(super) held: Vec<Held>,
    pub(super) optimizer: AdamW,
    pub(super) trained: Vec<Trained>,
    moved: Vec<Moved>,
    order: Order,
    excluded: HashSet<String>,
    /// Hash of the weights that stay, computed when a state first asks for it.
    frozen: OnceCell<Option<String>>,
    device: Device,
    /// Rank and number of ranks.
    ranks: (usize, usize),
    /// Whether all that is trained lies before the backbone.
    backbone_stays: bool,
    /// Operations of the last step.
    flops: f64,
    pub(super) step: u64,
}

impl Trainer {
    /// Builds the network on the processor. As [`Trainer::on`].
    pub fn new(
        recipe: Recipe,
        config: &CustomizerConfig,
        source: impl Source + 'static,
        samples: &dyn Samples,
    ) -> Result<Self> {
        Self::build(recipe, config, source, samples, (&Device::Cpu, None), (0, 1))
    }

    /// Builds the network from `source` and sees that the recipe and the data fit it: every key falls under a line of the table,
    /// every line has keys, every kind of step has samples. The network lies at `place`; what it computes in is the recipe's
    /// `dtype`. As rank `ranks.0` of `ranks.1` it keeps of moments, f32 masters and moving averages its own slices alone, from the
    /// beginning. Fails where there is no such place.
    pub fn on(
        recipe: Recipe,
        config: &CustomizerConfig,
        source: impl Source + 'static,
        samples: &dyn Samples,
        place: &generate::Place,
        ranks: (usize, usize),
    ) -> Result<Self> {
        Self::build(recipe, config, source, samples, (&place.device()?, None), ranks)
    }

    /// The same with a given way for the optimizer.
    pub(super) fn build(
        recipe: Recipe,
        config: &CustomizerConfig,
        source: impl Source + 'static,
        samples: &dyn Samples,
        (device, route): (&Device, Option<Route>),
        ranks: (usize, usize),
    ) -> Result<Self> {
        let weights = weights_of(&recipe, source, device, ranks);
        let model = Customizer::new(config, &weights, recipe.recompute)?.anchored(recipe.anchored);
        weights.finish()?;
        let (held, trained) = (weights.held(), weights.trained());
        table_fits(&recipe, held.iter().map(|held| held.name.as_str()))?;
        let order = order_of(&recipe, samples.entries())?;
        let settings = AdamWSettings {
            betas: (recipe.optimizer.betas[0], recipe.optimizer.betas[1]),
            eps: recipe.optimizer.eps,
            moments: recipe.optimizer.moments,
            offload: recipe.optimizer.offload,
            ..AdamWSettings::default()
        };
        let moved = trained
            .iter()
            .map(|weight| Moved::new(&recipe, weight))
            .collect::<Result<_>>()?;
        let mut optimizer = AdamW::of(route, trained, settings, ranks)?;
        if recipe.ema.is_some() {
            optimizer.keep_averages()?;
        }
        let trained: Vec<Trained> = optimizer.trained().cloned().collect();
        Ok(Self {
            model,
            held,
            optimizer,
            backbone_stays: trained.iter().all(|weight| before_backbone(&weight.name)),
            trained,
            moved,
            order,
            excluded: recipe.exclude.iter().cloned().collect(),
            recipe,
            frozen: OnceCell::new(),
            device: device.clone(),
            ranks,
            flops: 0.0,
            step: 0,
        })
    }

    /// Keeps of moments, f32 masters and moving averages this rank's slice of every weight (ZeRO-1), and lets the rest go: for a
    /// trainer that was not built as this rank. The first step does it too. Fails if it was done for another number of ranks.
    pub fn share(&mut self, ranks: &dyn Collective) -> Result<()> {
        self.ranks = (ranks.rank(), ranks.world());
        self.optimizer.share(self.ranks)
    }

    /// This rank.
    pub(super) fn rank(&self) -> usize {
        self.ranks.0
    }

    /// Where the network lies.
    pub(super) fn device(&self) -> Device {
        self.device.clone()
    }

    /// Operations of the last step, all ranks together, counted from the sizes of its samples; 0 before the first.
    pub fn flops(&self) -> f64 {
        self.flops
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

    /// Bytes that the optimizer's moments take on this rank.
    pub fn moment_bytes(&self) -> usize {
        self.optimizer.bytes()
    }

    /// Bytes that the f32 masters of weights in bf16 take on this rank.
    pub fn master_bytes(&self) -> usize {
        self.optimizer.master_bytes()
    }

    /// Bytes that the moving averages take on this rank.
    pub fn average_bytes(&self) -> usize {
        self.optimizer.average_bytes()
    }

    /// The network.
    pub fn model(&self) -> &Customizer {
        &self.model
    }

    /// What is trained and what stays, a line each of the recipe's table.
    pub fn shares(&self) -> Vec<Share> {
        let held = self.held.iter().map(|held| {
            let stays = !held.tensor.is_variable();
            (held.name.as_str(), held.tensor.elem_count(), stays)
        });
        shares(&self.recipe, held)
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
        let sample = self.model.placed(sample)?;
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
        self.share(ranks)?;
        let batch = self.batch(self.step, samples.entries())?;
        let mut sums = Sums::new(self.trained.len(), batch.len());
        let own = batch.iter().enumerate().skip(ranks.rank()).step_by(ranks.world());
        for (place, at) in own {
            let (sample, loss) = self.loss(samples, *at)?;
            let grads = loss.total.affine(1.0 / batch.len() as f64, 0.0)?.backward()?;
            let flops = self.flops_of(&sample)?;
            sums.add(place, &loss, &self.trained, &grads, flops)?;
        }
        sums.reduce(&self.trained, &self.optimizer, ranks)?;
        let norm = sums.norm(&self.device, ranks)?;
        let ids = batch
            .iter()
            .map(|(_, index)| samples.entries()[*index].id.clone());
        let report = self.report(&sums, norm, ids.collect());
        self.finite(&sums, &report)?;
        self.apply(&sums, norm, ranks)?;
        self.flops = sums.flops();
        self.step += 1;
        Ok(report)
    }

    /// Operations of a sample of the coming step, forward and backward.
    fn flops_of(&self, sample: &Sample) -> Result<u64> {
        let joint = self.order.kind(self.step) == Kind::Joint;
        cost::sample_flops(
            self.model.config(),
            (self.recipe.recompute, self.backbone_stays),
            sample,
            joint,
        )
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
                    ids: bad_of(sums, &report.ids),
                });
            }
        }
        Ok(())
    }

    fn apply(&mut self, sums: &Sums, norm: f64, ranks: &dyn Collective) -> Result<()> {
        let clip = self.recipe.optimizer.clip;
        let scale = if norm > clip { clip / norm } else { 1.0 };
        for (index, moved) in self.moved.iter().enumerate() {
            if let Some(grad) = &sums.grads[index] {
                let lr = self.recipe.weights[moved.rule].lr_at(self.step, self.recipe.steps);
                let decay = if moved.decays {
                    self.recipe.optimizer.decay
                } else {
                    0.0
                };
                self.optimizer.update(index, grad, scale, (lr, decay))?;
                self.optimizer.publish(index, ranks)?;
            }
            if let Some(memory) = self.recipe.ema {
                self.optimizer.follow(index, memory)?;
            }
        }
        Ok(())
    }
}

/// The samples whose loss is no number; all, where each has one and their sum has not.
fn bad_of(sums: &Sums, ids: &[String]) -> Vec<String> {
    let marked = ids.iter().zip(&sums.bad).filter(|(_, bad)| **bad);
    let bad: Vec<String> = marked.map(|(id, _)| id.clone()).collect();
    if bad.is_empty() { ids.to_vec() } else { bad }
}

impl Moved {
    fn new(recipe: &Recipe, weight: &Trained) -> Result<Self> {
        let base = base_of(&weight.name);
        let rule = recipe.rule_of(base.as_ref().unwrap_or(&weight.name));
        let rule =
            rule.ok_or_else(|| Error::Recipe(format!("no line of `weights` fits `{}`", weight.name)))?;
        Ok(Self {
            rule,
            decays: decays(&weight.name, &weight.shape),
        })
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
