//! AdamW in place, and what it holds of each weight: moments, f32 masters where the weight is of half precision, and moving
//! averages. Of several ranks each holds them for its own slice of every weight.

use super::{
    collective::{Collective, Solo},
    kernel,
    moments::Moments,
    narrow::BLOCK,
    shard::Shard,
};
use crate::{Error, Result, weights::Trained};
use candle_core::{DType, Device, Tensor, backprop::GradStore};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// How the moments are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MomentForm {
    /// As f32: 8 bytes a weight.
    #[default]
    #[serde(rename = "f32")]
    Wide,
    /// In eight bits each: 2.03 bytes a weight.
    #[serde(rename = "8bit")]
    Narrow,
}

impl MomentForm {
    /// Bytes of both moments of `count` weights.
    pub fn bytes(self, count: u64) -> u64 {
        match self {
            Self::Wide => 8 * count,
            Self::Narrow => 2 * count + 8 * count.div_ceil(BLOCK as u64),
        }
    }

    /// Slices of ranks begin at multiples of this.
    pub(super) fn align(self) -> usize {
        match self {
            Self::Wide => 1,
            Self::Narrow => BLOCK,
        }
    }
}

/// What the optimizer is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// Step size.
    pub lr: f64,
    /// Memory of the gradient and of its square.
    pub betas: (f64, f64),
    /// Added to the root.
    pub eps: f64,
    /// Share of a weight that a step of size one takes off.
    pub decay: f64,
    /// How the moments are held.
    pub moments: MomentForm,
    /// Moments, f32 masters and averages lie on the processor, wherever the weights do (ZeRO-Offload).
    pub offload: bool,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            decay: 0.01,
            moments: MomentForm::Wide,
            offload: false,
        }
    }
}

/// How a weight is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// By the kernel; the weight lies on the CPU.
    Kernel,
    /// In candle's ops, where the weight lies.
    Ops,
    /// By the kernel, on a copy: masters and moments lie on the CPU, the weight elsewhere.
    Aside,
}

impl Route {
    /// The way for weights on the processor, or on a card. Codes of eight bits have no ops of candle's.
    pub(super) fn of(on_cpu: bool, settings: &AdamWSettings) -> Self {
        match (on_cpu, settings.offload, settings.moments) {
            (true, _, _) => Self::Kernel,
            (false, false, MomentForm::Wide) => Self::Ops,
            (false, true, _) | (false, _, MomentForm::Narrow) => Self::Aside,
        }
    }
}

/// What is kept of a weight, whole, as f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Master,
    First,
    Second,
    Average,
}

/// A weight, and what this rank keeps of it.
struct Weight {
    trained: Trained,
    shard: Shard,
    /// The own slice as f32: a view of the weight itself, or what the weight is rounded from.
    master: Tensor,
    viewed: bool,
    moments: RefCell<Moments>,
    average: Option<Tensor>,
}

/// The optimizer of some weights, f32 or bf16.
pub struct AdamW {
    settings: AdamWSettings,
    ranks: (usize, usize),
    route: Route,
    weights: Vec<Weight>,
}

impl AdamW {
    /// Moments of zero, of all values of the weights. Fails on weights that are neither f32 nor bf16.
    pub fn new(trained: Vec<Trained>, settings: AdamWSettings) -> Result<Self> {
        Self::of(None, trained, settings, (0, 1))
    }

    /// The same for a rank of several, which holds its slices alone from the beginning; and by a given way, any of which works on
    /// the CPU, or by that of where the weights lie.
    pub(super) fn of(
        route: Option<Route>,
        trained: Vec<Trained>,
        settings: AdamWSettings,
        ranks: (usize, usize),
    ) -> Result<Self> {
        let on_cpu = trained.first().is_none_or(|weight| weight.var.device().is_cpu());
        let route = route.unwrap_or_else(|| Route::of(on_cpu, &settings));
        let weights = trained
            .into_iter()
            .map(|trained| Weight::new(trained, route, settings.moments, ranks));
        Ok(Self {
            weights: weights.collect::<Result<_>>()?,
            ranks,
            settings,
            route,
        })
    }

    /// The weights.
    pub fn trained(&self) -> impl Iterator<Item = &Trained> {
        self.weights.iter().map(|weight| &weight.trained)
    }

    /// Bytes that the moments of this rank take.
    pub fn bytes(&self) -> usize {
        self.weights
            .iter()
            .map(|weight| weight.moments.borrow().bytes())
            .sum()
    }

    /// Bytes that the f32 masters of this rank take; 0 where the weights themselves are f32 and lie where the optimizer does.
    pub fn master_bytes(&self) -> usize {
        let apart = self.weights.iter().filter(|weight| !weight.viewed);
        apart.map(|weight| 4 * weight.shard.len).sum()
    }

    /// Bytes that the moving averages of this rank take.
    pub fn average_bytes(&self) -> usize {
        let averages = self.weights.iter().filter_map(|weight| weight.average.as_ref());
        averages.map(|average| 4 * average.elem_count()).sum()
    }

    /// Begins moving averages at the weights as they are.
    pub(super) fn keep_averages(&mut self) -> Result<()> {
        for weight in &mut self.weights {
            weight.average = Some(weight.master.force_contiguous()?);
        }
        Ok(())
    }

    /// Keeps this rank's slice of everything and lets the rest go. Fails once it was split for other ranks.
    pub(super) fn share(&mut self, ranks: (usize, usize)) -> Result<()> {
        if self.ranks == ranks {
            return Ok(());
        }
        if self.ranks.1 != 1 {
            return Err(Error::Input(format!(
                "an optimizer that was split for {} ranks cannot be split for {}",
                self.ranks.1, ranks.1
            )));
        }
        for weight in &mut self.weights {
            weight.share(ranks, self.route, self.settings.moments)?;
        }
        self.ranks = ranks;
        Ok(())
    }

    /// This rank's slice of a weight, by number.
    pub(super) fn shard(&self, index: usize) -> Option<Shard> {
        self.weights.get(index).map(|weight| weight.shard)
    }

    /// Takes a step along `grads` times `scale` (below one to clip). A weight without a gradient took no part: it does not
    /// decay, and its moments stay. For one process alone.
    pub fn step(&mut self, grads: &GradStore, scale: f64) -> Result<()> {
        for index in 0..self.weights.len() {
            if let Some(grad) = grads.get(&self.weights[index].trained.var) {
                let (lr, decay) = (self.settings.lr, self.settings.decay);
                let grad = grad.flatten_all()?.to_dtype(DType::F32)?;
                self.update(index, &grad, scale, (lr, decay))?;
                self.publish(index, &Solo)?;
            }
        }
        Ok(())
    }

    /// Moves this rank's slice of a weight, by number, along its gradient `[len]`, f32, times `scale`, with a step size and a
    /// decay of its own. The network sees it when it is published.
    pub(super) fn update(
        &mut self,
        index: usize,
        grad: &Tensor,
        scale: f64,
        (lr, decay): (f64, f64),
    ) -> Result<()> {
        let Some(weight) = self.weights.get(index) else {
            return Err(Error::Input(format!("there is no trained weight {index}")));
        };
        weight.moments.borrow_mut().steps += 1;
        if weight.shard.len == 0 {
            return Ok(());
        }
        let settings = AdamWSettings {
            lr,
            decay,
            ..self.settings
        };
        let grad = grad.to_device(weight.master.device())?;
        let first_block = weight.shard.start / BLOCK;
        kernel::step(
            &weight.master,
            &grad,
            &weight.moments,
            settings,
            scale,
            first_block,
        )
    }

    /// Moves this rank's slice of a moving average towards the weight.
    pub(super) fn follow(&mut self, index: usize, memory: f64) -> Result<()> {
        let Some(weight) = self.weights.get(index).filter(|weight| weight.shard.len > 0) else {
            return Ok(());
        };
        match &weight.average {
            Some(average) => {
                let kernel = self.route != Route::Ops;
                kernel::average(average, &weight.master, 1.0 - memory as f32, kernel)
            }
            None => Ok(()),
        }
    }

    /// Brings a weight, by number, to what the slices of all ranks are.
    pub(super) fn publish(&self, index: usize, ranks: &dyn Collective) -> Result<()> {
        match self.weights.get(index) {
            Some(weight) if !(weight.viewed && ranks.world() == 1) => weight.publish(ranks),
            _ => Ok(()),
        }
    }

    /// In how many steps a weight had a gradient.
    pub(super) fn steps(&self, index: usize) -> i32 {
        let weight = self.weights.get(index);
        weight.map_or(0, |weight| weight.moments.borrow().steps)
    }

    /// A part of a weight, whole, f32 on the CPU, in the order in which the network holds it; `None` for averages where none
    /// are kept. All ranks ask at once.
    pub(super) fn whole(&self, index: usize, part: Part, ranks: &dyn Collective) -> Result<Option<Tensor>> {
        let Some(weight) = self.weights.get(index) else {
            return Ok(None);
        };
        if self.ranks.1 != ranks.world() {
            return Err(Error::Input(format!(
                "the optimizer is split for {} ranks and asked for by {}",
                self.ranks.1,
                ranks.world()
            )));
        }
        let own = match part {
            Part::Master => weight.master.clone(),
            Part::First => weight.moments.borrow().first.values()?,
            Part::Second => weight.moments.borrow().second.values()?,
            Part::Average => match &weight.average {
                Some(average) => average.clone(),
                None => return Ok(None),
            },
        };
        // ranks talk where the network lies
        let own = own.to_device(weight.trained.var.device())?;
        let whole = weight.shard.gather(&own, ranks)?;
        Ok(Some(whole.to_device(&Device::Cpu)?))
    }

    /// Puts a part of a weight, whole, f32, back. Fails if it has another length.
    pub(super) fn put(&mut self, index: usize, part: Part, row: &Tensor) -> Result<()> {
        let Some(weight) = self.weights.get_mut(index) else {
            return Err(Error::Input(format!("there is no trained weight {index}")));
        };
        if row.elem_count() != weight.shard.count {
            return Err(Error::Resume(format!(
                "`{}` has another size",
                weight.trained.name
            )));
        }
        let row = row.flatten_all()?;
        let own = weight.shard.own(&row)?;
        match part {
            Part::Master => weight.put(&row, &own),
            Part::First => weight.moments.borrow_mut().first.set(&own),
            Part::Second => weight.moments.borrow_mut().second.set(&own),
            Part::Average => {
                weight.average = Some(own.force_contiguous()?.to_device(weight.master.device())?);
                Ok(())
            }
        }
    }

    /// Puts the number of steps of a weight back.
    pub(super) fn put_steps(&mut self, index: usize, steps: i32) {
        if let Some(weight) = self.weights.get(index) {
            weight.moments.borrow_mut().steps = steps;
        }
    }
}

impl Weight {
    fn new(mut trained: Trained, route: Route, form: MomentForm, ranks: (usize, usize)) -> Result<Self> {
        let var = &trained.var;
        if !matches!(var.dtype(), DType::F32 | DType::BF16) {
            return Err(Error::Config(format!(
                "`{}` is {:?}; weights are trained as f32 or bf16",
                trained.name,
                var.dtype()
            )));
        }
        let viewed = var.dtype() == DType::F32 && route != Route::Aside;
        let flat = var.as_tensor().detach().flatten_all()?;
        let wide = trained.wide.take();
        let place = match route {
            Route::Aside => Device::Cpu,
            _ => var.device().clone(),
        };
        let shard = Shard::of(var.elem_count(), form.align(), ranks);
        // `copy` of a slice would copy, and `to_device` would move, all that lies around it
        let master = match wide {
            _ if viewed => shard.own(&flat)?,
            // as it was kept for these ranks, or whole
            Some(wide) if wide.elem_count() == shard.len => wide.to_device(&place)?,
            Some(wide) => shard.own(&wide)?.force_contiguous()?.to_device(&place)?,
            None => shard
                .own(&flat)?
                .to_dtype(DType::F32)?
                .force_contiguous()?
                .to_device(&place)?,
        };
        let moments = Moments::zeros(form, shard.len, card(route, &place))?;
        Ok(Self {
            trained,
            shard,
            master,
            viewed,
            moments: RefCell::new(moments),
            average: None,
        })
    }

    fn share(&mut self, ranks: (usize, usize), route: Route, form: MomentForm) -> Result<()> {
        let shard = Shard::of(self.shard.count, form.align(), ranks);
        let master = shard.own(&self.master)?;
        self.master = if self.viewed {
            master
        } else {
            master.force_contiguous()?
        };
        if let Some(average) = &mut self.average {
            *average = shard.own(average)?.force_contiguous()?;
        }
        let old = self.moments.get_mut();
        let mut moments = Moments::zeros(form, shard.len, card(route, self.master.device()))?;
        if old.steps > 0 && shard.len > 0 {
            moments.first.set(&shard.own(&old.first.values()?)?)?;
            moments.second.set(&shard.own(&old.second.values()?)?)?;
        }
        moments.steps = old.steps;
        *old = moments;
        self.shard = shard;
        Ok(())
    }

    fn publish(&self, ranks: &dyn Collective) -> Result<()> {
        let var = &self.trained.var;
        let own = self.master.to_dtype(var.dtype())?.to_device(var.device())?;
        let whole = self.shard.gather(&own, ranks)?;
        Ok(var.set(&whole.reshape(var.shape())?)?)
    }

    /// Takes over the whole weight and the own slice of it.
    fn put(&mut self, row: &Tensor, own: &Tensor) -> Result<()> {
        let var = &self.trained.var;
        let whole = row.to_dtype(var.dtype())?.to_device(var.device())?;
        var.set(&whole.reshape(var.shape())?)?;
        if !self.viewed {
            self.master = own.force_contiguous()?.to_device(self.master.device())?;
        }
        Ok(())
    }
}

/// Where moments lie as tensors; `None` where they lie as rows on the CPU.
fn card(route: Route, place: &Device) -> Option<&Device> {
    (route == Route::Ops).then_some(place)
}
