//! Pixels to the hidden form of latents.

use super::{
    Stage, VideoVaeConfig, Watch,
    conv::{Caches, CausalConv, Head, Middle, Residual},
    resample::{Down, average_down},
};
use crate::{Result, weights::Weights};
use candle_core::Tensor;

struct Level {
    blocks: Vec<Residual>,
    down: Option<Down>,
    output: usize,
    /// Frames and pixels that become one.
    factors: (usize, usize),
}

pub(super) struct Encoder {
    first: CausalConv,
    levels: Vec<Level>,
    middle: Middle,
    head: Head,
}

impl Encoder {
    pub(super) fn new(config: &VideoVaeConfig, weights: &Weights) -> Result<Self> {
        let mut width = config.dim;
        let first = CausalConv::new(&weights.pp("conv1"), 12, width, [3, 3, 3])?;
        let mut levels = Vec::new();
        for (index, mult) in config.dim_mult.iter().enumerate() {
            let output = config.dim * mult;
            let place = weights.pp("downsamples").pp(index).pp("downsamples");
            let mut blocks = Vec::new();
            for block in 0..config.num_res_blocks {
                let input = if block == 0 { width } else { output };
                blocks.push(Residual::new(&place.pp(block), input, output)?);
            }
            let halves = config.temperal_downsample.get(index).copied();
            let down = halves.map(|time| Down::new(&place.pp(config.num_res_blocks), output, time));
            levels.push(Level {
                blocks,
                down: down.transpose()?,
                output,
                factors: match halves {
                    Some(true) => (2, 2),
                    Some(false) => (1, 2),
                    None => (1, 1),
                },
            });
            width = output;
        }
        Ok(Self {
            first,
            levels,
            middle: Middle::new(&weights.pp("middle"), width)?,
            head: Head::new(&weights.pp("head"), width, 2 * config.z_dim)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches, watch: Watch<'_>) -> Result<Tensor> {
        let mut x = self.first.forward(x, caches, None)?;
        watch(Stage::First, &x);
        for (index, level) in self.levels.iter().enumerate() {
            let mut h = x.clone();
            for block in &level.blocks {
                h = block.forward(&h, caches)?;
            }
            if let Some(down) = &level.down {
                h = down.forward(&h, caches)?;
            }
            let (ft, fs) = level.factors;
            x = (h + average_down(&x, level.output, ft, fs)?)?;
            watch(Stage::Down(index), &x);
        }
        x = self.middle.forward(&x, caches)?;
        watch(Stage::Middle, &x);
        self.head.forward(&x, caches)
    }
}
