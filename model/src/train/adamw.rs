//! AdamW in place: one pass over weight, gradient and moments, no temporaries.

use super::narrow::{BLOCK, Narrow, Scale, chances, decode, encode};
use crate::{Error, Result, weights::Trained};
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, backprop::GradStore};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, cell::RefCell};

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
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            decay: 0.01,
            moments: MomentForm::Wide,
        }
    }
}

/// A moment of a weight.
enum Row {
    Wide(Vec<f32>),
    Narrow(Narrow),
}

impl Row {
    fn of(form: MomentForm, scale: Scale, row: Vec<f32>) -> Self {
        match form {
            MomentForm::Wide => Self::Wide(row),
            MomentForm::Narrow => Self::Narrow(Narrow::of(scale, &row)),
        }
    }

    fn zeros(form: MomentForm, scale: Scale, count: usize) -> Self {
        match form {
            MomentForm::Wide => Self::Wide(vec![0.0; count]),
            MomentForm::Narrow => Self::Narrow(Narrow::zeros(scale, count)),
        }
    }

    fn values(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Wide(row) => Cow::Borrowed(row),
            Self::Narrow(row) => Cow::Owned(row.wide()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Wide(row) => row.len(),
            Self::Narrow(row) => row.codes.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Wide(row) => 4 * row.len(),
            Self::Narrow(row) => row.bytes(),
        }
    }
}

struct Moments {
    first: Row,
    second: Row,
    /// Steps in which this weight had a gradient: the correction of the moments counts those only.
    steps: i32,
}

/// The optimizer of some weights, f32 on the CPU.
pub struct AdamW {
    settings: AdamWSettings,
    weights: Vec<(Trained, RefCell<Moments>)>,
}

impl AdamW {
    /// Moments of zero. Fails on weights that are not f32 on the CPU.
    pub fn new(trained: Vec<Trained>, settings: AdamWSettings) -> Result<Self> {
        let mut weights = Vec::with_capacity(trained.len());
        for weight in trained {
            if weight.var.dtype() != DType::F32 || !weight.var.device().is_cpu() {
                return Err(Error::Config(format!(
                    "`{}` is not trained as f32 on the CPU",
                    weight.name
                )));
            }
            let count = weight.var.elem_count();
            let moments = Moments {
                first: Row::zeros(settings.moments, Scale::Signed, count),
                second: Row::zeros(settings.moments, Scale::Square, count),
                steps: 0,
            };
            weights.push((weight, RefCell::new(moments)));
        }
        Ok(Self { settings, weights })
    }

    /// The weights.
    pub fn trained(&self) -> impl Iterator<Item = &Trained> {
        self.weights.iter().map(|(weight, _)| weight)
    }

    /// Bytes that all moments take.
    pub fn bytes(&self) -> usize {
        let of = |moments: &Moments| moments.first.bytes() + moments.second.bytes();
        self.weights
            .iter()
            .map(|(_, moments)| of(&moments.borrow()))
            .sum()
    }

    /// Takes a step along `grads` times `scale` (below one to clip). A weight without a gradient took no part: it does not
    /// decay, and its moments stay.
    pub fn step(&mut self, grads: &GradStore, scale: f64) -> Result<()> {
        for index in 0..self.weights.len() {
            if let Some(grad) = grads.get(&self.weights[index].0.var) {
                let (lr, decay) = (self.settings.lr, self.settings.decay);
                self.update(index, grad, scale, (lr, decay))?;
            }
        }
        Ok(())
    }

    /// Moves one weight, by number, along its gradient times `scale`, with a step size and a decay of its own.
    pub fn update(&mut self, index: usize, grad: &Tensor, scale: f64, (lr, decay): (f64, f64)) -> Result<()> {
        let Some((weight, moments)) = self.weights.get(index) else {
            return Err(Error::Input(format!("there is no trained weight {index}")));
        };
        moments.borrow_mut().steps += 1;
        let settings = AdamWSettings {
            lr,
            decay,
            ..self.settings
        };
        let update = Update {
            settings,
            scale,
            moments,
        };
        weight.var.inplace_op2(&grad.contiguous()?, &update)?;
        Ok(())
    }

    /// Each weight's name, moments and steps, for a state on the disk.
    pub fn moments(&self, mut take: impl FnMut(&str, &[f32], &[f32], i32) -> Result<()>) -> Result<()> {
        for (weight, moments) in &self.weights {
            let moments = moments.borrow();
            take(
                &weight.name,
                &moments.first.values(),
                &moments.second.values(),
                moments.steps,
            )?;
        }
        Ok(())
    }

    /// Puts back what [`AdamW::moments`] told: `find` gives the moments and steps of a name. Fails if they have another length.
    pub fn restore(&mut self, mut find: impl FnMut(&str) -> Result<(Vec<f32>, Vec<f32>, i32)>) -> Result<()> {
        for (weight, moments) in &self.weights {
            let (first, second, steps) = find(&weight.name)?;
            let mut moments = moments.borrow_mut();
            if first.len() != moments.first.len() || second.len() != moments.second.len() {
                return Err(Error::Resume(format!(
                    "the moments of `{}` have another size",
                    weight.name
                )));
            }
            *moments = Moments {
                first: Row::of(self.settings.moments, Scale::Signed, first),
                second: Row::of(self.settings.moments, Scale::Square, second),
                steps,
            };
        }
        Ok(())
    }
}

struct Update<'a> {
    settings: AdamWSettings,
    scale: f64,
    moments: &'a RefCell<Moments>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<()> {
        let CpuStorage::F32(weight) = weight else {
            candle_core::bail!("adamw on weights that are not f32");
        };
        let grad = &grad.as_slice::<f32>()?[grad_layout.start_offset()..];
        let weight = &mut weight[layout.start_offset()..];
        let Moments { first, second, steps } = &mut *self.moments.borrow_mut();
        let (rule, count) = (Rule::new(&self.settings, self.scale, *steps), first.len());
        match (first, second) {
            (Row::Wide(first), Row::Wide(second)) => {
                rule.wide(&mut weight[..count], &grad[..count], first, second);
            }
            (Row::Narrow(first), Row::Narrow(second)) => {
                rule.narrow(&mut weight[..count], &grad[..count], first, second);
            }
            _ => candle_core::bail!("the moments of a weight are held in two ways"),
        }
        Ok(())
    }
}

/// The numbers of a step, the same for all values of a weight.
struct Rule {
    keep: f32,
    step: f32,
    betas: (f32, f32),
    eps: f32,
    fall: f32,
    scale: f32,
    steps: u64,
}

impl Rule {
    fn new(settings: &AdamWSettings, scale: f64, steps: i32) -> Self {
        let AdamWSettings {
            lr,
            betas,
            eps,
            decay,
            ..
        } = *settings;
        let (rise, fall) = (1.0 - betas.0.powi(steps), (1.0 - betas.1.powi(steps)).sqrt());
        Self {
            keep: (1.0 - lr * decay) as f32,
            step: (lr / rise) as f32,
            betas: (betas.0 as f32, betas.1 as f32),
            eps: eps as f32,
            fall: (1.0 / fall) as f32,
            scale: scale as f32,
            steps: steps.unsigned_abs().into(),
        }
    }

    #[inline(always)]
    fn move_all(&self, weight: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        let (b1, b2) = self.betas;
        for (((weight, grad), first), second) in weight.iter_mut().zip(grad).zip(first).zip(second) {
            let grad = grad * self.scale;
            *first = b1 * *first + (1.0 - b1) * grad;
            *second = b2 * *second + (1.0 - b2) * grad * grad;
            *weight = *weight * self.keep - self.step * *first / (second.sqrt() * self.fall + self.eps);
        }
    }

    fn wide(&self, weight: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        weight
            .par_chunks_mut(1 << 14)
            .zip(grad.par_chunks(1 << 14))
            .zip(first.par_chunks_mut(1 << 14).zip(second.par_chunks_mut(1 << 14)))
            .for_each(|((weight, grad), (first, second))| self.move_all(weight, grad, first, second));
    }

    fn narrow(&self, weight: &mut [f32], grad: &[f32], first: &mut Narrow, second: &mut Narrow) {
        let tables = (first.scale.table(), second.scale.table());
        let scales = (first.scale, second.scale);
        weight
            .par_chunks_mut(BLOCK)
            .zip(grad.par_chunks(BLOCK))
            .zip(first.codes.par_chunks_mut(BLOCK).zip(&mut first.factors))
            .zip(second.codes.par_chunks_mut(BLOCK).zip(&mut second.factors))
            .enumerate()
            .for_each(|(block, (((weight, grad), (m, m_factor)), (v, v_factor)))| {
                let (mut first, mut second) = ([0.0; BLOCK], [0.0; BLOCK]);
                let (first, second) = (&mut first[..m.len()], &mut second[..v.len()]);
                decode(scales.0, m, *m_factor, &tables.0, first);
                decode(scales.1, v, *v_factor, &tables.1, second);
                self.move_all(weight, grad, first, second);
                let chance = chances(self.steps, block as u64);
                *m_factor = encode(scales.0, first, m, &tables.0, &chance);
                *v_factor = encode(scales.1, second, v, &tables.1, &chance);
            });
    }
}
