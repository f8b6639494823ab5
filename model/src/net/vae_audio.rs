//! The audio VAE (MMAudio, 16 kHz): log10 mel to 20 channels at 31.25 Hz and back, with layers that keep magnitudes.
//!
//! The checkpoint holds raw weights; they are brought to unit length per output once, when loaded. Inside, time comes first:
//! `[frames, channels]`.

use crate::{
    Error, Result,
    ops::{self, Activation, ConvKernel, ConvShape},
    param::Param,
    weights::Weights,
};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

const EPS: f64 = 1e-4;
/// Deviation of SiLU of a normal number.
const SILU_SCALE: f64 = 0.596;
/// Share of the residual path.
const BLEND: f64 = 0.3;
/// Activations are held within this after every block.
const LIMIT: f32 = 256.0;

/// Sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioVaeConfig {
    /// Mel bands.
    pub data_dim: usize,
    /// Latent channels.
    pub embed_dim: usize,
    /// Width of the first level.
    pub hidden_dim: usize,
    /// Width of each level over the first.
    pub ch_mult: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub num_res_blocks: usize,
    /// Levels after which the encoder halves the rate.
    pub down_layers: Vec<usize>,
    /// Levels with attention: none of those there are.
    #[serde(default)]
    pub attn_layers: Vec<usize>,
}

impl AudioVaeConfig {
    /// The released VAE: 172 million parameters.
    pub fn mmaudio_16k() -> Self {
        Self {
            data_dim: 80,
            embed_dim: 20,
            hidden_dim: 384,
            ch_mult: vec![1, 2, 4],
            num_res_blocks: 2,
            down_layers: vec![0],
            attn_layers: vec![3],
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            hidden_dim: 16,
            ..Self::mmaudio_16k()
        }
    }
}

/// SiLU that keeps the magnitude.
pub fn mp_silu(x: &Tensor) -> Result<Tensor> {
    Ok((ops::activate(x, Activation::Silu)? / SILU_SCALE)?)
}

/// Sum of two that keeps the magnitude, `share` of it the second.
pub fn mp_sum(a: &Tensor, b: &Tensor, share: f64) -> Result<Tensor> {
    let scale = 1.0 / ((1.0 - share).powi(2) + share.powi(2)).sqrt();
    Ok((a.affine((1.0 - share) * scale, 0.0)? + b.affine(share * scale, 0.0)?)?)
}

/// Each frame's channels (the last dimension) to a mean square of one.
pub fn pixel_norm(x: &Tensor) -> Result<Tensor> {
    let length = (x.sqr()?.mean_keepdim(D::Minus1)?.sqrt()? + EPS)?;
    Ok(x.broadcast_div(&length)?)
}

/// Raw weights `[out, ..]` to unit length per output.
pub fn unit_weight(raw: &Tensor) -> candle_core::Result<Tensor> {
    let rows = raw.flatten_from(1)?;
    let floor = EPS * (rows.dim(1)? as f64).sqrt();
    let length = (rows.sqr()?.sum_keepdim(1)?.sqrt()? + floor)?;
    rows.broadcast_div(&length)?.reshape(raw.shape())
}

struct Conv {
    kernel: ConvKernel,
}

impl Conv {
    fn new(weights: &Weights, name: &str, input: usize, output: usize, taps: usize) -> Result<Self> {
        Self::gained(weights, name, [input, output, taps], None)
    }

    /// With `gain` the name of a scalar; its value plus one is folded in.
    fn gained(
        weights: &Weights,
        name: &str,
        [input, output, taps]: [usize; 3],
        gain: Option<&str>,
    ) -> Result<Self> {
        let name = format!("{name}.weight");
        let raw = [output, input, taps];
        let mut parts: Vec<(&str, &[usize])> = vec![(&name, &raw)];
        parts.extend(gain.map(|gain| (gain, &[][..])));
        let shape = ConvShape::rows(input, output, taps);
        let weight = weights.derive(&parts, &shape.held(), |parts| {
            let mut weight = unit_weight(&parts[0])?;
            if let Some(gain) = parts.get(1) {
                weight = weight.broadcast_mul(&(gain + 1.0)?)?;
            }
            shape.hold_rows(&weight)
        })?;
        Ok(Self {
            kernel: ConvKernel {
                shape,
                weight,
                bias: None,
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::conv_rows(x, &self.kernel, 1, false, None)?)
    }
}

struct Residual {
    convs: [Conv; 2],
    shortcut: Option<Conv>,
}

impl Residual {
    fn new(weights: &Weights, input: usize, output: usize) -> Result<Self> {
        let shortcut = (input != output).then(|| Conv::new(weights, "nin_shortcut", input, output, 1));
        Ok(Self {
            convs: [
                Conv::new(weights, "conv1", input, output, 3)?,
                Conv::new(weights, "conv2", output, output, 3)?,
            ],
            shortcut: shortcut.transpose()?,
        })
    }

    /// The normed input is also what goes past.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = pixel_norm(x)?;
        let h = self.convs[0].forward(&mp_silu(&x)?)?;
        let h = self.convs[1].forward(&mp_silu(&h)?)?;
        let past = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&x)?,
            None => x,
        };
        limited(&mp_sum(&past, &h, BLEND)?)
    }
}

fn limited(x: &Tensor) -> Result<Tensor> {
    Ok(x.clamp(-LIMIT, LIMIT)?)
}

struct Attention {
    qkv: Conv,
    proj: Conv,
}

impl Attention {
    fn new(weights: &Weights, channels: usize) -> Result<Self> {
        Ok(Self {
            qkv: Conv::new(weights, "qkv", channels, 3 * channels, 1)?,
            proj: Conv::new(weights, "proj_out", channels, channels, 1)?,
        })
    }

    /// One head; q, k and v lie interleaved channel by channel, and each is normed.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (frames, channels) = x.dims2()?;
        let qkv = self.qkv.forward(x)?.reshape((frames, channels, 3))?;
        let part = |index: usize| pixel_norm(&qkv.narrow(2, index, 1)?.squeeze(2)?.contiguous()?);
        let scale = 1.0 / (channels as f64).sqrt();
        let h = ops::attention(&part(0)?, &part(1)?, &part(2)?, 1, scale, None)?;
        mp_sum(x, &self.proj.forward(&h)?, BLEND)
    }
}

struct Middle {
    first: Residual,
    attention: Attention,
    second: Residual,
}

impl Middle {
    fn new(weights: &Weights, channels: usize) -> Result<Self> {
        Ok(Self {
            first: Residual::new(&weights.pp("block_1"), channels, channels)?,
            attention: Attention::new(&weights.pp("attn_1"), channels)?,
            second: Residual::new(&weights.pp("block_2"), channels, channels)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = limited(&self.attention.forward(&self.first.forward(x)?)?)?;
        self.second.forward(&x)
    }
}

struct Level {
    blocks: Vec<Residual>,
    /// Two 1x1 convolutions around the halving, or one of three taps after the doubling.
    rate: Vec<Conv>,
}

impl Level {
    fn blocks(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        Ok(x)
    }
}

/// The VAE.
pub struct AudioVae {
    mean: Param,
    std: Param,
    encoder: Vec<Level>,
    decoder: Vec<Level>,
    middles: [Middle; 2],
    first: [Conv; 2],
    last: [Conv; 2],
    embed_dim: usize,
}

impl AudioVae {
    /// Reads all weights.
    pub fn new(config: &AudioVaeConfig, weights: &Weights) -> Result<Self> {
        let levels = config.ch_mult.len();
        if levels == 0 || config.attn_layers.iter().any(|level| *level < levels) {
            return Err(Error::Config(format!(
                "an audio VAE with attention in {:?}",
                config.attn_layers
            )));
        }
        let widths: Vec<usize> = config
            .ch_mult
            .iter()
            .map(|mult| mult * config.hidden_dim)
            .collect();
        let (narrow, wide) = (config.hidden_dim, widths[levels - 1]);
        let (encoder, decoder) = (weights.pp("encoder"), weights.pp("decoder"));
        let gain = Some("learnable_gain");
        let latent = config.embed_dim;
        Ok(Self {
            mean: weights.get("data_mean", &[1, config.data_dim, 1])?,
            std: weights.get("data_std", &[1, config.data_dim, 1])?,
            encoder: down_levels(config, &widths, &encoder.pp("down"))?,
            decoder: up_levels(config, &widths, &decoder.pp("up"))?,
            middles: [
                Middle::new(&encoder.pp("mid"), wide)?,
                Middle::new(&decoder.pp("mid"), wide)?,
            ],
            first: [
                Conv::new(&encoder, "conv_in", config.data_dim, narrow, 3)?,
                Conv::new(&decoder, "conv_in", latent, wide, 3)?,
            ],
            last: [
                Conv::gained(&encoder, "conv_out", [wide, 2 * latent, 3], gain)?,
                Conv::gained(&decoder, "conv_out", [narrow, config.data_dim, 3], gain)?,
            ],
            embed_dim: latent,
        })
    }

    /// Mean and log-variance `[channels, frames / 2]` of a log10 mel `[bands, frames]`. The model uses the mean.
    pub fn encode(&self, mel: &Tensor) -> Result<(Tensor, Tensor)> {
        let (mean, std) = (self.mean.t().squeeze(0)?, self.std.t().squeeze(0)?);
        let x = mel.broadcast_sub(&mean)?.broadcast_div(&std)?.t()?.contiguous()?; // (frames, bands)
        let mut x = self.first[0].forward(&x)?;
        for level in &self.encoder {
            x = level.blocks(&x)?;
            if let [before, after] = level.rate.as_slice() {
                x = after.forward(&halved(&before.forward(&x)?)?)?;
            }
        }
        let x = self.last[0]
            .forward(&mp_silu(&self.middles[0].forward(&x)?)?)?
            .t()?; // (2 channels, frames)
        let half = |start| x.narrow(0, start, self.embed_dim)?.contiguous();
        Ok((half(0)?, half(self.embed_dim)?))
    }

    /// Log10 mel `[bands, 2 frames]` of a latent `[channels, frames]`.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let x = self.first[1].forward(&latent.t()?.contiguous()?)?;
        let mut x = self.middles[1].forward(&x)?;
        for level in self.decoder.iter().rev() {
            x = level.blocks(&x)?;
            if let [conv] = level.rate.as_slice() {
                x = conv.forward(&doubled(&x)?)?;
            }
        }
        let x = self.last[1].forward(&mp_silu(&x)?)?.t()?; // (bands, frames)
        let (mean, std) = (self.mean.t().squeeze(0)?, self.std.t().squeeze(0)?);
        Ok(x.broadcast_mul(&std)?.broadcast_add(&mean)?)
    }
}

fn down_levels(config: &AudioVaeConfig, widths: &[usize], weights: &Weights) -> Result<Vec<Level>> {
    let mut width = config.hidden_dim;
    let mut levels = Vec::new();
    for (index, output) in widths.iter().copied().enumerate() {
        let place = weights.pp(index);
        let mut blocks = Vec::new();
        for block in 0..config.num_res_blocks {
            blocks.push(Residual::new(&place.pp("block").pp(block), width, output)?);
            width = output;
        }
        let mut rate = Vec::new();
        if config.down_layers.contains(&index) {
            let place = place.pp("downsample");
            rate.push(Conv::new(&place, "conv1", output, output, 1)?);
            rate.push(Conv::new(&place, "conv2", output, output, 1)?);
        }
        levels.push(Level { blocks, rate });
    }
    Ok(levels)
}

/// In the order of their names; they run from the last to the first.
fn up_levels(config: &AudioVaeConfig, widths: &[usize], weights: &Weights) -> Result<Vec<Level>> {
    let mut width = widths.last().copied().unwrap_or(config.hidden_dim);
    let mut levels = Vec::new();
    for (index, output) in widths.iter().copied().enumerate().rev() {
        let place = weights.pp(index);
        let mut blocks = Vec::new();
        for block in 0..=config.num_res_blocks {
            blocks.push(Residual::new(&place.pp("block").pp(block), width, output)?);
            width = output;
        }
        let mut rate = Vec::new();
        // the encoder halves after a level; the decoder doubles at the end of the one above it
        if index > 0 && config.down_layers.contains(&(index - 1)) {
            rate.push(Conv::new(&place.pp("upsample"), "conv", output, output, 3)?);
        }
        levels.push(Level { blocks, rate });
    }
    levels.reverse();
    Ok(levels)
}

/// Means of neighbouring frames; an odd last one is dropped.
fn halved(x: &Tensor) -> Result<Tensor> {
    let (frames, channels) = x.dims2()?;
    let pairs = x.narrow(0, 0, frames / 2 * 2)?.contiguous()?;
    Ok(pairs.reshape((frames / 2, 2, channels))?.mean(1)?)
}

/// Every frame twice.
fn doubled(x: &Tensor) -> Result<Tensor> {
    let (frames, channels) = x.dims2()?;
    let twice = x
        .unsqueeze(1)?
        .broadcast_as((frames, 2, channels))?
        .contiguous()?;
    Ok(twice.reshape((2 * frames, channels))?)
}
