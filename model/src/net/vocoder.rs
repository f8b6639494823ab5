//! The vocoder (BigVGAN, 16 kHz): log10 mel to a waveform. Inside, time comes first: `[samples, channels]`.

use super::layers::Linear;
use crate::{
    Error, Result,
    ops::{self, ConvKernel, ConvShape, SNAKE_TAPS, Snake},
    param::Param,
    weights::Weights,
};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Taps of the first and last convolution.
const EDGE_TAPS: usize = 7;

/// Sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VocoderConfig {
    /// Mel bands.
    pub num_mels: usize,
    /// Width after the first convolution; halves with every upsampler.
    pub upsample_initial_channel: usize,
    /// Factors on the rate.
    pub upsample_rates: Vec<usize>,
    /// Taps of the upsamplers: multiples of their factors.
    pub upsample_kernel_sizes: Vec<usize>,
    /// Taps of the blocks after each upsampler.
    pub resblock_kernel_sizes: Vec<usize>,
    /// Dilations of each block.
    pub resblock_dilation_sizes: Vec<Vec<usize>>,
    /// Must be `1`.
    pub resblock: String,
    /// Must be `snakebeta`.
    pub activation: String,
    /// Must be true: the activation's parameters are logarithms.
    pub snake_logscale: bool,
}

impl VocoderConfig {
    /// MMAudio's at 16 kHz: 112 million parameters.
    pub fn mmaudio_16k() -> Self {
        Self {
            num_mels: 80,
            upsample_initial_channel: 1536,
            upsample_rates: vec![4, 4, 2, 2, 2, 2],
            upsample_kernel_sizes: vec![8, 8, 4, 4, 4, 4],
            resblock_kernel_sizes: vec![3, 7, 11],
            resblock_dilation_sizes: vec![vec![1, 3, 5]; 3],
            resblock: "1".to_owned(),
            activation: "snakebeta".to_owned(),
            snake_logscale: true,
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            upsample_initial_channel: 32,
            upsample_rates: vec![4, 4, 2],
            upsample_kernel_sizes: vec![8, 8, 4],
            ..Self::mmaudio_16k()
        }
    }

    fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Config(format!("vocoder: {why}")));
        if self.resblock != "1" || self.activation != "snakebeta" || !self.snake_logscale {
            let (block, activation) = (&self.resblock, &self.activation);
            return refuse(format!(
                "blocks `{block}` with `{activation}`: only 1 with snakebeta in logarithms"
            ));
        }
        let ups = self.upsample_rates.iter().zip(&self.upsample_kernel_sizes);
        let whole = |(rate, taps): (&usize, &usize)| {
            *rate > 0 && *taps >= *rate && taps.is_multiple_of(*rate) && (taps - rate).is_multiple_of(2)
        };
        if self.resblock_kernel_sizes.contains(&0) {
            return refuse("blocks without taps".to_owned());
        }
        if self.upsample_rates.len() != self.upsample_kernel_sizes.len() || !ups.into_iter().all(whole) {
            return refuse(format!(
                "rates {:?} by taps {:?}",
                self.upsample_rates, self.upsample_kernel_sizes
            ));
        }
        if self.resblock_kernel_sizes.len() != self.resblock_dilation_sizes.len() {
            return refuse("blocks and dilations differ in number".to_owned());
        }
        Ok(())
    }
}

/// Names under which a normed weight's length and direction are stored: by the old and the new of torch.
const WEIGHT_NORM: [[&str; 2]; 2] = [
    ["weight_g", "weight_v"],
    [
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ],
];

/// A weight of unit length per row of its first dimension, times a stored length.
fn normed(
    weights: &Weights,
    stored: &[usize],
    shape: &[usize],
    turn: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<Param> {
    let new = weights.has(WEIGHT_NORM[1][0]);
    let [length, direction] = WEIGHT_NORM[usize::from(new)];
    let lengths = [stored[0], 1, 1];
    weights.derive(&[(length, &lengths), (direction, stored)], shape, |parts| {
        let rows = parts[1].flatten_from(1)?;
        let unit = rows
            .broadcast_div(&rows.sqr()?.sum_keepdim(1)?.sqrt()?)?
            .reshape(stored)?;
        turn(&unit.broadcast_mul(&parts[0])?)
    })
}

struct Conv {
    kernel: ConvKernel,
    dilation: usize,
}

impl Conv {
    fn new(weights: &Weights, [input, output]: [usize; 2], taps: usize, dilation: usize) -> Result<Self> {
        let shape = ConvShape::rows(input, output, taps);
        let weight = normed(weights, &[output, input, taps], &shape.held(), |weight| {
            shape.hold_rows(weight)
        })?;
        Ok(Self {
            kernel: ConvKernel {
                shape,
                weight,
                bias: Some(weights.get("bias", &[output])?),
            },
            dilation,
        })
    }

    /// Rows of zeros that the input of [`Self::after`] has around it.
    fn margins(&self) -> [usize; 2] {
        ops::margins(self.kernel.shape.taps[2], self.dilation)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::conv_rows(x, &self.kernel, self.dilation, false, None)?)
    }

    /// Of the activation of `x`, plus `add`.
    fn after(&self, activation: &SnakeBeta, x: &Tensor, add: Option<&Tensor>) -> Result<Tensor> {
        let x = activation.with_margins(x, self.margins())?;
        Ok(ops::conv_rows(&x, &self.kernel, self.dilation, true, add)?)
    }
}

/// A transposed convolution: every row spreads over `taps` rows at `rate` times the rate.
struct Upsample {
    way: Way,
    rate: usize,
    taps: usize,
}

enum Way {
    /// For the kernel of the CPU: a convolution to `rate` rows at once.
    Kernel(ConvKernel),
    /// `[in, taps * out]`, and a bias.
    Spread(Linear, Param),
}

impl Upsample {
    fn new(weights: &Weights, [input, output]: [usize; 2], rate: usize, taps: usize) -> Result<Self> {
        let stored = [input, output, taps];
        let shape = ConvShape::rows(input, rate * output, taps / rate);
        let weight = normed(weights, &stored, &shape.held(), |weight| {
            if ConvShape::has_panels(weight) {
                return shape.hold(&ConvShape::plain_of_upwards(weight, rate)?);
            }
            weight
                .permute((0, 2, 1))?
                .contiguous()?
                .reshape((input, taps * output))
        })?;
        let way = if weight.tensor().rank() == 3 {
            Way::Kernel(ConvKernel {
                shape,
                weight,
                bias: Some(weights.derive(&[("bias", &[output])], &[rate * output], |parts| {
                    parts[0].repeat(rate)
                })?),
            })
        } else {
            Way::Spread(Linear::from_param(weight), weights.get("bias", &[output])?)
        };
        Ok(Self { way, rate, taps })
    }

    /// `[n, in]` to `[n * rate, out]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.way {
            Way::Kernel(kernel) => Ok(ops::conv_upwards(x, kernel, self.rate)?),
            Way::Spread(layer, bias) => self.spread(x, layer, &bias.t()),
        }
    }

    /// The taps of one row in groups of `rate`, each group a row of its own further on.
    fn spread(&self, x: &Tensor, layer: &Linear, bias: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let output = bias.dim(0)?;
        let spread = layer.forward(x)?; // (n, taps * out)
        let (groups, width) = (self.taps / self.rate, self.rate * output);
        let mut sum: Option<Tensor> = None;
        for group in 0..groups {
            let part = spread.narrow(1, group * width, width)?.contiguous()?;
            let part = part.reshape((rows * self.rate, output))?;
            let part = part.pad_with_zeros(0, group * self.rate, (groups - 1 - group) * self.rate)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let sum = sum.ok_or_else(|| Error::Config("an upsampler without taps".to_owned()))?;
        let cut = (self.taps - self.rate) / 2;
        Ok(sum
            .narrow(0, cut, rows * self.rate)?
            .contiguous()?
            .broadcast_add(bias)?)
    }
}

/// SnakeBeta between a doubling and a halving of the rate.
pub struct SnakeBeta {
    rate: Param,
    share: Param,
    up: [f32; SNAKE_TAPS],
    down: [f32; SNAKE_TAPS],
}

impl SnakeBeta {
    /// Reads `act.alpha`, `act.beta`, `upsample.filter`, `downsample.lowpass.filter`.
    pub fn new(weights: &Weights, channels: usize) -> Result<Self> {
        let filter = |name: &str| -> Result<[f32; SNAKE_TAPS]> {
            let taps = weights.pp(name).get("filter", &[1, 1, SNAKE_TAPS])?.t();
            let taps = taps
                .flatten_all()?
                .to_dtype(candle_core::DType::F32)?
                .to_vec1::<f32>()?;
            taps.try_into()
                .map_err(|_| Error::Config(format!("`{name}` has no {SNAKE_TAPS} taps")))
        };
        let act = weights.pp("act");
        let size = [channels];
        Ok(Self {
            rate: act.derive(&[("alpha", &size)], &size, |parts| parts[0].exp())?,
            share: act.derive(&[("beta", &size)], &size, |parts| {
                (parts[0].exp()? + 1e-9)?.recip()
            })?,
            up: filter("upsample")?,
            down: filter("downsample.lowpass")?,
        })
    }

    /// From parts at hand: logarithms by channel, and the two filters.
    pub fn from_parts(
        alpha: &Tensor,
        beta: &Tensor,
        up: [f32; SNAKE_TAPS],
        down: [f32; SNAKE_TAPS],
    ) -> Result<Self> {
        Ok(Self {
            rate: Param::new(alpha.exp()?),
            share: Param::new((beta.exp()? + 1e-9)?.recip()?),
            up,
            down,
        })
    }

    /// The activation alone, `[n, c]`.
    pub fn snake(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::snake(x, &self.rate.t(), &self.share.t())?)
    }

    /// Twice the rate.
    pub fn double(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::double_rate(x, &self.up)?)
    }

    /// Half the rate.
    pub fn halve(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::halve_rate(x, &self.down)?)
    }

    /// `[n, c]` to `[n, c]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.with_margins(x, [0, 0])
    }

    /// With rows of zeros before and after.
    fn with_margins(&self, x: &Tensor, margins: [usize; 2]) -> Result<Tensor> {
        let snake = Snake {
            rate: &self.rate.t(),
            share: &self.share.t(),
            up: &self.up,
            down: &self.down,
        };
        Ok(snake.apply(x, margins)?)
    }
}

/// Three times: activation, dilated convolution, activation, convolution, and what came in.
struct AmpBlock {
    activations: Vec<SnakeBeta>,
    dilated: Vec<Conv>,
    plain: Vec<Conv>,
}

impl AmpBlock {
    fn new(weights: &Weights, channels: usize, taps: usize, dilations: &[usize]) -> Result<Self> {
        let size = [channels, channels];
        let each = |name: &str, dilation: &dyn Fn(usize) -> usize| -> Result<Vec<Conv>> {
            let place = weights.pp(name);
            (0..dilations.len())
                .map(|index| Conv::new(&place.pp(index), size, taps, dilation(index)))
                .collect()
        };
        let activation = |index| SnakeBeta::new(&weights.pp("activations").pp(index), channels);
        Ok(Self {
            activations: (0..2 * dilations.len()).map(activation).collect::<Result<_>>()?,
            dilated: each("convs1", &|index| dilations[index])?,
            plain: each("convs2", &|_| 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        let (pairs, _) = self.activations.as_chunks::<2>();
        for (([before, between], dilated), plain) in pairs.iter().zip(&self.dilated).zip(&self.plain) {
            let h = dilated.after(before, &x, None)?;
            x = plain.after(between, &h, Some(&x))?;
        }
        Ok(x)
    }
}

/// A point of the network that a watcher is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first convolution.
    First,
    /// An upsampler, by index.
    Up(usize),
    /// A block, by index over all.
    Amp(usize),
}

/// The vocoder.
pub struct Vocoder {
    first: Conv,
    ups: Vec<Upsample>,
    /// Those of one upsampler after another.
    blocks: Vec<AmpBlock>,
    activation: SnakeBeta,
    last: Conv,
}

impl Vocoder {
    /// Reads all weights, in either naming of their norms.
    pub fn new(config: &VocoderConfig, weights: &Weights) -> Result<Self> {
        config.check()?;
        let mut width = config.upsample_initial_channel;
        let first = Conv::new(&weights.pp("conv_pre"), [config.num_mels, width], EDGE_TAPS, 1)?;
        let (mut ups, mut blocks) = (Vec::new(), Vec::new());
        for (index, rate) in config.upsample_rates.iter().enumerate() {
            let taps = config.upsample_kernel_sizes[index];
            let place = weights.pp("ups").pp(index).pp(0);
            ups.push(Upsample::new(&place, [width, width / 2], *rate, taps)?);
            width /= 2;
            for (taps, dilations) in config
                .resblock_kernel_sizes
                .iter()
                .zip(&config.resblock_dilation_sizes)
            {
                let place = weights.pp("resblocks").pp(blocks.len());
                blocks.push(AmpBlock::new(&place, width, *taps, dilations)?);
            }
        }
        Ok(Self {
            first,
            ups,
            blocks,
            activation: SnakeBeta::new(&weights.pp("activation_post"), width)?,
            last: Conv::new(&weights.pp("conv_post"), [width, 1], EDGE_TAPS, 1)?,
        })
    }

    /// Samples in -1..=1 of a log10 mel `[bands, frames]`: 256 per frame for the released one. `watch` is shown what lies
    /// between as `[samples, channels]`.
    pub fn forward(&self, mel: &Tensor, mut watch: impl FnMut(Stage, &Tensor)) -> Result<Tensor> {
        let mut x = self.first.forward(&mel.t()?.contiguous()?)?;
        watch(Stage::First, &x);
        let each = self.blocks.len() / self.ups.len().max(1);
        for (index, up) in self.ups.iter().enumerate() {
            x = up.forward(&x)?;
            watch(Stage::Up(index), &x);
            let mut ways = Vec::with_capacity(each);
            for (place, block) in self.blocks[index * each..][..each].iter().enumerate() {
                let y = block.forward(&x)?;
                watch(Stage::Amp(index * each + place), &y);
                ways.push(y);
            }
            if !ways.is_empty() {
                x = ops::mean_of(&ways)?;
            }
        }
        let samples = self.last.after(&self.activation, &x, None)?;
        Ok(samples.tanh()?.flatten_all()?)
    }
}
