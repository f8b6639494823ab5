//! AdamW in place: one pass over weight, gradient and moments, no temporaries.

use crate::{Error, Result, weights::Trained};
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, backprop::GradStore};
use rayon::prelude::*;
use std::cell::RefCell;

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
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            decay: 0.01,
        }
    }
}

struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
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
            let moments = Moments {
                first: vec![0.0; weight.var.elem_count()],
                second: vec![0.0; weight.var.elem_count()],
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
            take(&weight.name, &moments.first, &moments.second, moments.steps)?;
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
            *moments = Moments { first, second, steps };
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
        let AdamWSettings {
            lr,
            betas,
            eps,
            decay,
        } = self.settings;
        let Moments { first, second, steps } = &mut *self.moments.borrow_mut();
        let (rise, fall) = (1.0 - betas.0.powi(*steps), (1.0 - betas.1.powi(*steps)).sqrt());
        let (keep, step) = ((1.0 - lr * decay) as f32, (lr / rise) as f32);
        let (b1, b2, eps) = (betas.0 as f32, betas.1 as f32, eps as f32);
        let (fall, scale) = ((1.0 / fall) as f32, self.scale as f32);
        let count = first.len();
        weight[..count]
            .par_chunks_mut(1 << 14)
            .zip(grad[..count].par_chunks(1 << 14))
            .zip(first.par_chunks_mut(1 << 14).zip(second.par_chunks_mut(1 << 14)))
            .for_each(|((weight, grad), (first, second))| {
                for (((weight, grad), first), second) in weight.iter_mut().zip(grad).zip(first).zip(second) {
                    let grad = grad * scale;
                    *first = b1 * *first + (1.0 - b1) * grad;
                    *second = b2 * *second + (1.0 - b2) * grad * grad;
                    *weight = *weight * keep - step * *first / (second.sqrt() * fall + eps);
                }
            });
        Ok(())
    }
}
