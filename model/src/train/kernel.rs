//! The step of AdamW and that of a moving average: in place on the CPU, and in candle's own ops for storages elsewhere.

use super::{
    adamw::AdamWSettings,
    moments::{Moments, Row},
    narrow::{BLOCK, Narrow, chances, decode, encode},
};
use crate::{Error, Result};
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use std::cell::RefCell;

/// Values at a time in candle's ops: their temporaries are a few times as many.
const CHUNK: usize = 1 << 24;

/// Moves `weight` `[n]`, f32, along `grad` `[n]`, f32, times `scale`, with the moments of these values. `first_block` is the
/// number of the slice's first block within its weight: what is rounded by chance must not depend on who holds it.
pub(super) fn step(
    weight: &Tensor,
    grad: &Tensor,
    moments: &RefCell<Moments>,
    settings: AdamWSettings,
    scale: f64,
    first_block: usize,
) -> Result<()> {
    let steps = moments.borrow().steps;
    let rule = Rule::new(&settings, scale, steps);
    let placed = matches!(moments.borrow().first, Row::Placed(_));
    if placed {
        return rule.in_ops(weight, grad, &moments.borrow());
    }
    let update = Update {
        rule,
        moments,
        first_block,
    };
    Ok(weight.inplace_op2(&grad.contiguous()?, &update)?)
}

/// Moves a moving average `[n]`, f32, towards `now` `[n]` by `share` of the way.
pub(super) fn average(average: &Tensor, now: &Tensor, share: f32, kernel: bool) -> Result<()> {
    if kernel {
        return Ok(average.inplace_op2(&now.contiguous()?, &Towards { share })?);
    }
    in_chunks(average.elem_count(), |start, count| {
        let (old, now) = (average.narrow(0, start, count)?, now.narrow(0, start, count)?);
        let moved = (&old + ((now - &old)? * f64::from(share))?)?;
        Ok(average.slice_set(&moved, 0, start)?)
    })
}

fn in_chunks(count: usize, mut each: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
    (0..count)
        .step_by(CHUNK)
        .try_for_each(|start| each(start, CHUNK.min(count - start)))
}

/// The values of a tensor that is moved in place, and those it is moved by, as many; both f32 on the CPU.
fn both<'a>(
    (moved, layout): (&'a mut CpuStorage, &Layout),
    (by, by_layout): (&'a CpuStorage, &Layout),
) -> candle_core::Result<(&'a mut [f32], &'a [f32])> {
    let CpuStorage::F32(moved) = moved else {
        candle_core::bail!("only f32 is moved in place");
    };
    let count = layout.shape().elem_count();
    Ok((
        &mut moved[layout.start_offset()..][..count],
        &by.as_slice::<f32>()?[by_layout.start_offset()..][..count],
    ))
}

struct Towards {
    share: f32,
}

impl InplaceOp2 for Towards {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        layout: &Layout,
        now: &CpuStorage,
        now_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (average, now) = both((average, layout), (now, now_layout))?;
        for (average, now) in average.iter_mut().zip(now) {
            *average += self.share * (now - *average);
        }
        Ok(())
    }
}

struct Update<'a> {
    rule: Rule,
    moments: &'a RefCell<Moments>,
    first_block: usize,
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
        let (weight, grad) = both((weight, layout), (grad, grad_layout))?;
        let Moments { first, second, .. } = &mut *self.moments.borrow_mut();
        match (first, second) {
            (Row::Wide(first), Row::Wide(second)) => self.rule.wide(weight, grad, first, second),
            (Row::Narrow(first), Row::Narrow(second)) => {
                self.rule.narrow(weight, grad, first, second, self.first_block);
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

    fn narrow(
        &self,
        weight: &mut [f32],
        grad: &[f32],
        first: &mut Narrow,
        second: &mut Narrow,
        first_block: usize,
    ) {
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
                let chance = chances(self.steps, (first_block + block) as u64);
                *m_factor = encode(scales.0, first, m, &tables.0, &chance);
                *v_factor = encode(scales.1, second, v, &tables.1, &chance);
            });
    }

    /// The same in candle's ops, on whatever device, a chunk at a time.
    fn in_ops(&self, weight: &Tensor, grad: &Tensor, moments: &Moments) -> Result<()> {
        let (Row::Placed(first), Row::Placed(second)) = (&moments.first, &moments.second) else {
            return Err(Error::Input(
                "the moments of a weight are held in two ways".to_owned(),
            ));
        };
        let (b1, b2) = (f64::from(self.betas.0), f64::from(self.betas.1));
        let wide = |value: f32| f64::from(value);
        in_chunks(weight.elem_count(), |start, count| {
            let part = |tensor: &Tensor| tensor.narrow(0, start, count);
            let grad = (part(grad)? * wide(self.scale))?;
            let m = ((part(first)? * b1)? + (&grad * (1.0 - b1))?)?;
            let v = ((part(second)? * b2)? + (grad.sqr()? * (1.0 - b2))?)?;
            let below = ((v.sqrt()? * wide(self.fall))? + wide(self.eps))?;
            let moved = ((part(weight)? * wide(self.keep))? - ((&m / below)? * wide(self.step))?)?;
            for (whole, part) in [(first, &m), (second, &v), (weight, &moved)] {
                whole.slice_set(part, 0, start)?;
            }
            Ok(())
        })
    }
}
