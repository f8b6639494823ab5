//! One stream of the backbone: embedding, blocks, head. Usable alone, or as half of the fusion model.

use super::{
    block::Block,
    config::{Modality, StreamConfig},
    embed::{Embed, unpatchify},
    fusion::own_sums,
    layers::Linear,
    positions::{audio_rope, video_rope},
    time::TimeEmbedding,
};
use crate::{
    Error, Result,
    error::into_tensor,
    ops::{self, Activation, Rope, Rows},
    param::Param,
    vjp::checkpoint,
    weights::Weights,
};
use candle_core::Tensor;

/// What a stream is given. A unit is a latent frame of video or one audio latent.
#[derive(Debug, Clone)]
pub struct StreamInput {
    /// `[channels, frames, height, width]` or `[latents, channels]`.
    pub latent: Tensor,
    /// Text rows `[n, text_dim]`, n at most `text_len`.
    pub text: Tensor,
    /// The scheduler's time, 0..=1000.
    pub t: f64,
    /// Units that hold no noise: their time is 0. Empty for none.
    pub clean: Vec<bool>,
    /// Time positions of the units. Empty for 0, 1, 2...
    pub positions: Vec<f64>,
    /// Factor on the positions of audio in place of the configured one.
    pub scaling: Option<f64>,
}

impl StreamInput {
    /// All units noisy, in order.
    pub fn new(latent: Tensor, text: Tensor, t: f64) -> Self {
        Self {
            latent,
            text,
            t,
            clean: Vec::new(),
            positions: Vec::new(),
            scaling: None,
        }
    }
}

/// Tokens ready for the blocks.
pub struct Prepared {
    /// `[tokens, d]`.
    pub x: Tensor,
    /// Where the tokens are.
    pub rope: Rope,
    /// Text after its embedding, `[text_len, d]`.
    pub context: Tensor,
    e: Tensor,
    pub(super) e0: Tensor,
    pub(super) rows: Rows,
    grid: [usize; 3],
}

/// A stream.
#[derive(Debug, Clone)]
pub struct Stream {
    config: StreamConfig,
    modality: Modality,
    embed: Embed,
    text: (Linear, Linear),
    time: TimeEmbedding,
    pub(super) blocks: Vec<Block>,
    head: Linear,
    head_modulation: Param,
    pub(super) recompute: bool,
}

impl Stream {
    /// Reads a stream; with `fusion` also the fusion weights of its blocks. Fails on an impossible configuration; what the
    /// weights lack is told by [`Weights::finish`].
    pub fn new(config: &StreamConfig, fusion: bool, weights: &Weights) -> Result<Self> {
        config.check()?;
        let (dim, text) = (config.dim, weights.pp("text_embedding"));
        let outputs = config.out_dim * config.patch_size.iter().product::<usize>();
        let block = |index| Block::new(config, fusion, &weights.pp("blocks").pp(index));
        Ok(Self {
            modality: config.modality()?,
            embed: Embed::new(config, &weights.pp("patch_embedding"))?,
            text: (
                Linear::new(&text.pp(0), config.text_dim, dim)?,
                Linear::new(&text.pp(2), dim, dim)?,
            ),
            time: TimeEmbedding::new(config, weights)?,
            blocks: (0..config.num_layers).map(block).collect::<Result<_>>()?,
            head: Linear::new(&weights.pp("head").pp("head"), dim, outputs)?,
            head_modulation: weights.pp("head").get("modulation", &[1, 2, dim])?,
            config: config.clone(),
            recompute: false,
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Tokens of a latent before the blocks: `[tokens, d]`.
    pub fn embed(&self, latent: &Tensor) -> Result<Tensor> {
        self.embed.forward(latent)
    }

    /// Text rows filled up with zeros, then embedded: the pads are attended to as one constant vector. Fails if there are
    /// more rows than the model takes.
    pub fn embed_text(&self, text: &Tensor) -> Result<Tensor> {
        let (rows, room) = (text.dim(0)?, self.config.text_len);
        if rows > room {
            return Err(Error::Input(format!("{rows} text rows, the model takes {room}")));
        }
        let padded = text.pad_with_zeros(0, 0, room - rows)?;
        self.text
            .1
            .forward(&self.text.0.activated(&padded, Activation::GeluTanh)?)
    }

    /// Everything the blocks need.
    pub fn prepare(&self, input: &StreamInput) -> Result<Prepared> {
        let (grid, units, each) = self.grid(&input.latent)?;
        if !(input.clean.is_empty() || input.clean.len() == units)
            || !(input.positions.is_empty() || input.positions.len() == units)
        {
            return Err(Error::Input(format!(
                "clean marks or positions do not fit {units} units"
            )));
        }
        let x = self.embed(&input.latent)?;
        let (times, rows) = times(input, each);
        let (e, e0) = self.time.forward(&times, x.dtype())?;
        Ok(Prepared {
            rope: self.rope(input, grid, units, &x)?,
            context: self.embed_text(&input.text)?,
            x,
            e,
            e0,
            rows,
            grid,
        })
    }

    /// Token grid, number of units, tokens of each.
    fn grid(&self, latent: &Tensor) -> Result<([usize; 3], usize, usize)> {
        match (self.modality, self.config.patch_size.as_slice()) {
            (Modality::Video, &[t, ph, pw]) => {
                let (_, f, h, w) = latent.dims4()?;
                let (rows, columns) = (h / ph, w / pw);
                Ok(([f / t, rows, columns], f / t, rows * columns))
            }
            _ => {
                let (units, _) = latent.dims2()?;
                Ok(([units, 1, 1], units, 1))
            }
        }
    }

    fn rope(&self, input: &StreamInput, grid: [usize; 3], units: usize, x: &Tensor) -> Result<Rope> {
        let counted = || (0..units).map(|unit| unit as f64).collect();
        let positions: Vec<f64> = if input.positions.is_empty() {
            counted()
        } else {
            input.positions.clone()
        };
        let size = self.config.head_size();
        match self.modality {
            Modality::Video => video_rope(&positions, grid[1], grid[2], size, x.device()),
            Modality::Audio => {
                let scaling = input.scaling.unwrap_or(self.config.temporal_rope_scaling_factor);
                audio_rope(&positions, scaling, size, x.device())
            }
        }
    }

    /// The stream alone, without another: what the latent's velocity is, in the latent's shape.
    pub fn forward(&self, input: &StreamInput) -> Result<Tensor> {
        let prepared = self.prepare(input)?;
        let (mut x, keys) = (prepared.x.clone(), prepared.x.dim(0)?);
        for block in &self.blocks {
            x = self.alone(block, &x, &prepared, keys)?;
        }
        self.finish(&x, &prepared)
    }

    /// A block without another stream.
    fn alone(&self, block: &Block, x: &Tensor, prepared: &Prepared, keys: usize) -> Result<Tensor> {
        let (block, rope, rows) = (block.clone(), prepared.rope.clone(), prepared.rows.clone());
        let trained = block.trained(false);
        let forward = move |inputs: &[Tensor]| {
            let [x, e0, context] = inputs else {
                return Err(Error::Input("a block takes three tensors".to_owned()));
            };
            let m = block.modulation(e0, &rows)?;
            let x = block.attend_self(x, &m, &rope, keys)?;
            Ok(vec![block.attend_rest(&x, &m, context, None)?])
        };
        let inputs = [x, &prepared.e0, &prepared.context].map(Tensor::clone);
        let mut outputs = if self.recompute {
            checkpoint(&inputs, &trained, move |inputs| {
                forward(inputs).map_err(into_tensor)
            })?
        } else {
            forward(&own_sums(&inputs)?)?
        };
        outputs
            .pop()
            .ok_or_else(|| Error::Input("a block lost its output".to_owned()))
    }

    /// The head: tokens to a latent's shape.
    pub fn finish(&self, x: &Tensor, prepared: &Prepared) -> Result<Tensor> {
        let sum = prepared
            .e
            .unsqueeze(1)?
            .broadcast_add(&self.head_modulation.t())?; // (times, 2, d)
        let part = |index| sum.narrow(1, index, 1)?.squeeze(1)?.contiguous();
        let h = ops::modulate(x, &part(0)?, &part(1)?, &prepared.rows, self.config.eps)?;
        let y = self.head.forward(&h)?; // (tokens, outputs)
        match (self.modality, self.config.patch_size.as_slice()) {
            (Modality::Video, &[t, ph, pw]) => unpatchify(&y, prepared.grid, [t, ph, pw]),
            _ => Ok(y),
        }
    }
}

/// The distinct times of an input, and which of them each token takes.
fn times(input: &StreamInput, each: usize) -> (Vec<f64>, Rows) {
    if !input.clean.contains(&true) {
        return (vec![input.t], Rows::shared());
    }
    let index = input
        .clean
        .iter()
        .flat_map(|clean| std::iter::repeat_n(u32::from(*clean), each));
    (vec![input.t, 0.0], Rows::indexed(index.collect()))
}
