//! The hidden form of latents to pixels.

use super::{
    Stage, VideoVaeConfig, Watch,
    conv::{Caches, CausalConv, Head, Middle, Residual},
    resample::{Up, duplicate_up},
};
use crate::{Result, weights::Weights};
use candle_core::Tensor;

struct Level {
    blocks: Vec<Residual>,
    /// With it, the factor on the rate.
    up: Option<(Up, usize)>,
    output: usize,
}

pub(super) struct Decoder {
    first: CausalConv,
    levels: Vec<Level>,
    middle: Middle,
    head: Head,
}

impl Decoder {
    pub(super) fn new(config: &VideoVaeConfig, weights: &Weights) -> Result<Self> {
        let widths: Vec<usize> = config
            .dim_mult
            .iter()
            .rev()
            .map(|mult| mult * config.dec_dim)
            .collect();
        let mut width = widths.first().copied().unwrap_or(config.dec_dim);
        let first = CausalConv::new(&weights.pp("conv1"), config.z_dim, width, [3, 3, 3])?;
        let middle = Middle::new(&weights.pp("middle"), width)?;
        let doubled: Vec<bool> = config.temperal_downsample.iter().rev().copied().collect();
        let mut levels = Vec::new();
        for (index, output) in widths.iter().copied().enumerate() {
            let place = weights.pp("upsamples").pp(index).pp("upsamples");
            let mut blocks = Vec::new();
            for block in 0..=config.num_res_blocks {
                let input = if block == 0 { width } else { output };
                blocks.push(Residual::new(&place.pp(block), input, output)?);
            }
            let up = doubled.get(index).map(|time| {
                let up = Up::new(&place.pp(config.num_res_blocks + 1), output, *time)?;
                Ok::<_, crate::Error>((up, if *time { 2 } else { 1 }))
            });
            levels.push(Level {
                blocks,
                up: up.transpose()?,
                output,
            });
            width = output;
        }
        Ok(Self {
            first,
            levels,
            middle,
            head: Head::new(&weights.pp("head"), width, 12)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches, watch: Watch<'_>) -> Result<Tensor> {
        let first = caches.is_new();
        let mut x = self.first.forward(x, caches, None)?;
        watch(Stage::First, &x);
        x = self.middle.forward(&x, caches)?;
        watch(Stage::Middle, &x);
        for (index, level) in self.levels.iter().enumerate() {
            let mut h = x.clone();
            for block in &level.blocks {
                h = block.forward(&h, caches)?;
            }
            x = match &level.up {
                Some((up, ft)) => {
                    let past = duplicate_up(&x, level.output, *ft, 2, first)?;
                    up.forward(&h, caches, &past)?
                }
                None => h,
            };
            watch(Stage::Up(index), &x);
        }
        self.head.forward(&x, caches)
    }
}
