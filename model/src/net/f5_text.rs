//! F5-TTS's text embedding: phonemes and characters as vectors, the speech prior of the paper's MTP-CA.
//!
//! Its response norm sums over the sequence, so the padded length matters. Here each utterance is encoded alone, at its own
//! length; the padded forms exist to be compared with the reference.

use super::{
    axis_frequencies,
    layers::{LayerNorm, Linear},
};
use crate::{
    Error, Result,
    ops::{Activation, unfold_each},
    param::Param,
    weights::Weights,
};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

const EPS: f64 = 1e-6;
const TAPS: usize = 7;

/// Sizes, and one behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct F5TextConfig {
    /// Tokens of the vocabulary; the table has one row more, for the filler.
    pub text_num_embeds: usize,
    /// Width.
    pub text_dim: usize,
    /// Blocks.
    pub conv_layers: usize,
    /// Inner width over width.
    pub conv_mult: usize,
    /// Whether fillers are held at zero (v1) or not (base).
    #[serde(default = "masked")]
    pub mask_padding: bool,
}

fn masked() -> bool {
    true
}

impl F5TextConfig {
    /// `F5TTS_v1_Base`.
    pub fn v1() -> Self {
        Self {
            text_num_embeds: 2545,
            text_dim: 512,
            conv_layers: 4,
            conv_mult: 2,
            mask_padding: true,
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            text_num_embeds: 50,
            text_dim: 32,
            conv_layers: 3,
            ..Self::v1()
        }
    }
}

/// Global response norm.
#[derive(Debug, Clone)]
pub struct Grn {
    gamma: Param,
    beta: Param,
}

impl Grn {
    /// Reads `gamma` and `beta`.
    pub fn new(weights: &Weights, dim: usize) -> Result<Self> {
        Ok(Self {
            gamma: weights.get("gamma", &[1, 1, dim])?,
            beta: weights.get("beta", &[1, 1, dim])?,
        })
    }

    /// [n, dim] to [n, dim]; the norm runs over the sequence.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let norm = x.sqr()?.sum_keepdim(0)?.sqrt()?; // (1, dim)
        let share = norm.broadcast_div(&(norm.mean_keepdim(1)? + EPS)?)?;
        let (gamma, beta) = (self.gamma.t().squeeze(0)?, self.beta.t().squeeze(0)?);
        let scaled = x
            .broadcast_mul(&share)?
            .broadcast_mul(&gamma)?
            .broadcast_add(&beta)?;
        Ok((scaled + x)?)
    }
}

/// A ConvNeXt-V2 block.
#[derive(Debug, Clone)]
pub struct ConvNext {
    depthwise: Param,
    depthwise_bias: Param,
    norm: LayerNorm,
    wide: Linear,
    grn: Grn,
    narrow: Linear,
}

impl ConvNext {
    /// Reads `dwconv`, `norm`, `pwconv1`, `grn`, `pwconv2`.
    pub fn new(weights: &Weights, dim: usize, inner: usize) -> Result<Self> {
        let depthwise = weights.pp("dwconv");
        Ok(Self {
            depthwise: depthwise.get("weight", &[dim, 1, TAPS])?,
            depthwise_bias: depthwise.get("bias", &[dim])?,
            norm: LayerNorm::new(&weights.pp("norm"), dim, EPS)?,
            wide: Linear::new(&weights.pp("pwconv1"), dim, inner)?,
            grn: Grn::new(&weights.pp("grn"), inner)?,
            narrow: Linear::new(&weights.pp("pwconv2"), inner, dim)?,
        })
    }

    /// [n, dim] to [n, dim].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let taps = self.depthwise.t();
        let mut h = x.zeros_like()?.broadcast_add(&self.depthwise_bias.t())?;
        for (tap, window) in unfold_each(x, TAPS, 1)?.iter().enumerate() {
            let weight = taps.narrow(2, tap, 1)?.flatten_all()?;
            h = (h + window.broadcast_mul(&weight)?)?;
        }
        let h = self
            .wide
            .activated(&self.norm.forward(&h)?, Activation::GeluErf)?;
        Ok((x + self.narrow.forward(&self.grn.forward(&h)?)?)?)
    }

    /// Its response norm.
    pub fn grn(&self) -> &Grn {
        &self.grn
    }
}

/// The embedding.
#[derive(Debug, Clone)]
pub struct F5Text {
    table: Param,
    blocks: Vec<ConvNext>,
    config: F5TextConfig,
}

impl F5Text {
    /// Reads `text_embed` and `text_blocks`.
    pub fn new(config: &F5TextConfig, weights: &Weights) -> Result<Self> {
        let (dim, inner) = (config.text_dim, config.text_dim * config.conv_mult);
        let block = |index| ConvNext::new(&weights.pp("text_blocks").pp(index), dim, inner);
        Ok(Self {
            table: weights
                .pp("text_embed")
                .get("weight", &[config.text_num_embeds + 1, dim])?,
            blocks: (0..config.conv_layers).map(block).collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    /// Token ids (-1 for padding) as `length` rows [length, dim]: cut or filled up to it. Fails on an id beyond the table.
    pub fn forward(&self, tokens: &[i64], length: usize) -> Result<Tensor> {
        self.embed(tokens, length, false)
    }

    /// The same with the text left out, as guidance needs it: fillers in place of all tokens, masked where the text was
    /// padded.
    pub fn dropped(&self, tokens: &[i64], length: usize) -> Result<Tensor> {
        self.embed(tokens, length, true)
    }

    fn embed(&self, tokens: &[i64], length: usize, dropped: bool) -> Result<Tensor> {
        let padded = tokens.iter().copied().chain(std::iter::repeat(-1)).take(length);
        let mut ids = Vec::with_capacity(length);
        for token in padded {
            match u32::try_from(token + 1) {
                Ok(id) if (id as usize) <= self.config.text_num_embeds => ids.push(id),
                _ => return Err(Error::Input(format!("token {token} is not in the vocabulary"))),
            }
        }
        let kept: Vec<f32> = ids.iter().map(|id| f32::from(u8::from(*id != 0))).collect();
        let rows = if dropped { vec![0; length] } else { ids };
        let table = self.table.t();
        let device = table.device();
        let mut x = table.index_select(&Tensor::from_vec(rows, length, device)?, 0)?;
        let places = positions(length, self.config.text_dim);
        let places = Tensor::from_vec(places, (length, self.config.text_dim), &Device::Cpu)?;
        x = (x + places
            .to_dtype(DType::F32)?
            .to_device(device)?
            .to_dtype(table.dtype())?)?;
        let kept = Tensor::from_vec(kept, (length, 1), device)?.to_dtype(table.dtype())?;
        let hold = |x: Tensor| {
            if self.config.mask_padding {
                x.broadcast_mul(&kept)
            } else {
                Ok(x)
            }
        };
        x = hold(x)?;
        for block in &self.blocks {
            x = hold(block.forward(&x)?)?;
        }
        Ok(x)
    }
}

/// The sinusoid of places 0..length: cosines, then sines, `dim` values each.
pub fn positions(length: usize, dim: usize) -> Vec<f64> {
    let places = (0..length).map(|place| place as f64);
    let frequencies = axis_frequencies(dim / 2);
    places
        .flat_map(|place| {
            let angles = frequencies.iter().map(move |frequency| place * frequency);
            let cosines: Vec<f64> = angles.clone().map(f64::cos).collect();
            cosines.into_iter().chain(angles.map(f64::sin))
        })
        .collect()
}
