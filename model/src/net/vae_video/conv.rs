//! Causal convolutions and what stands between them.

use crate::{
    Result,
    ops::{self, Activation},
    param::Param,
    weights::Weights,
};
use candle_core::Tensor;

/// What each convolution in time still needs of the past, in the order in which a pass meets them.
#[derive(Default)]
pub(super) struct Caches {
    slots: Vec<Slot>,
    next: usize,
}

/// What one of them has seen.
#[derive(Default, Clone)]
pub(super) enum Slot {
    /// Nothing: this is the first chunk.
    #[default]
    New,
    /// A first chunk that it let pass without keeping any of it.
    Passed,
    /// The last frames of its input.
    Frames(Tensor),
}

impl Caches {
    /// Back to the first convolution, for the next chunk.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// Whether no chunk has passed yet.
    pub(super) fn is_new(&self) -> bool {
        self.slots.is_empty()
    }

    /// What the next convolution has seen, and where to put what it sees now.
    pub(super) fn next(&mut self) -> (Slot, &mut Slot) {
        if self.next == self.slots.len() {
            self.slots.push(Slot::New);
        }
        let slot = &mut self.slots[self.next];
        self.next += 1;
        (slot.clone(), slot)
    }
}

/// A convolution that sees the past only.
#[derive(Debug, Clone)]
pub struct CausalConv {
    /// [out, taps * in, rows, columns]: the taps in time are channels of one plane.
    weight: Param,
    bias: Param,
    taps: usize,
    pad: usize,
}

impl CausalConv {
    /// A kernel of time, rows and columns, padded in space to keep the size.
    pub fn new(weights: &Weights, input: usize, output: usize, kernel: [usize; 3]) -> Result<Self> {
        let [taps, rows, columns] = kernel;
        let stored = [output, input, taps, rows, columns];
        let plane = [output, taps * input, rows, columns];
        Ok(Self {
            weight: weights.derive(&[("weight", &stored)], &plane, |parts| {
                parts[0].transpose(1, 2)?.contiguous()?.reshape(&plane[..])
            })?,
            bias: weights.get("bias", &[output])?,
            taps,
            pad: rows / 2,
        })
    }

    /// [frames, in, h, w] to [frames, out, h, w]; before the first frame there are zeros.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        if self.taps == 1 {
            return self.planes(x, 1, x.dim(0)?);
        }
        let (past, slot) = caches.next();
        let joined = match past {
            Slot::Frames(past) => Tensor::cat(&[&past, x], 0)?,
            Slot::New | Slot::Passed => x.pad_with_zeros(0, self.taps - 1, 0)?,
        };
        let frames = joined.dim(0)?;
        *slot = Slot::Frames(
            joined
                .narrow(0, frames - (self.taps - 1), self.taps - 1)?
                .contiguous()?,
        );
        self.planes(&joined, 1, x.dim(0)?)
    }

    /// The whole of `x` from its first frame on: as [`Self::forward`] without a past.
    pub fn whole(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x, &mut Caches::default())
    }

    /// The first `count` frames, then the rest with what is kept of them.
    pub fn in_chunks(&self, x: &Tensor, count: usize) -> Result<[Tensor; 2]> {
        let mut caches = Caches::default();
        let first = self.forward(&x.narrow(0, 0, count)?, &mut caches)?;
        caches.rewind();
        let rest = self.forward(&x.narrow(0, count, x.dim(0)? - count)?, &mut caches)?;
        Ok([first, rest])
    }

    /// `count` frames of the convolution over `x`, which begins with the past: every `stride`th.
    pub(super) fn planes(&self, x: &Tensor, stride: usize, count: usize) -> Result<Tensor> {
        let stacked = if self.taps == 1 && stride == 1 {
            x.clone()
        } else {
            let pick = |tap: usize| {
                if stride == 1 {
                    return x.narrow(0, tap, count);
                }
                let index: Vec<u32> = (0..count)
                    .filter_map(|i| u32::try_from(i * stride + tap).ok())
                    .collect();
                x.index_select(&Tensor::from_vec(index, count, x.device())?, 0)
            };
            let taps: Vec<Tensor> = (0..self.taps).map(pick).collect::<candle_core::Result<_>>()?;
            Tensor::cat(&taps, 1)?
        };
        self.add_bias(&stacked.conv2d(&self.weight.t(), self.pad, 1, 1, 1)?)
    }

    fn add_bias(&self, y: &Tensor) -> Result<Tensor> {
        let bias = self.bias.t();
        Ok(y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?)
    }
}

/// A convolution of single frames.
#[derive(Debug, Clone)]
pub(super) struct FrameConv {
    weight: Param,
    bias: Param,
    stride: usize,
    pad: usize,
}

impl FrameConv {
    pub(super) fn new(
        weights: &Weights,
        [input, output]: [usize; 2],
        kernel: usize,
        stride: usize,
        pad: usize,
    ) -> Result<Self> {
        Ok(Self {
            weight: weights.get("weight", &[output, input, kernel, kernel])?,
            bias: weights.get("bias", &[output])?,
            stride,
            pad,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.t();
        let y = x.conv2d(&self.weight.t(), self.pad, self.stride, 1, 1)?;
        Ok(y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?)
    }
}

/// Every pixel's channels to unit length, times sqrt(channels) and a weight.
#[derive(Debug, Clone)]
pub struct ChannelNorm {
    gamma: Param,
}

impl ChannelNorm {
    /// `gamma` with the given number of unit dimensions after the channels.
    pub fn new(weights: &Weights, channels: usize, units: usize) -> Result<Self> {
        let shape: Vec<usize> = std::iter::once(channels)
            .chain(std::iter::repeat_n(1, units))
            .collect();
        let root = (channels as f64).sqrt();
        let gamma = weights.derive(&[("gamma", &shape)], &[1, channels, 1, 1], |parts| {
            parts[0].reshape((1, channels, 1, 1))? * root
        })?;
        Ok(Self { gamma })
    }

    /// [frames, channels, h, w] to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let length = x.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
        Ok(x.broadcast_div(&length)?.broadcast_mul(&self.gamma.t())?)
    }
}

/// Norm, SiLU, convolution, twice; and a way past.
pub(super) struct Residual {
    norms: [ChannelNorm; 2],
    convs: [CausalConv; 2],
    shortcut: Option<CausalConv>,
}

impl Residual {
    pub(super) fn new(weights: &Weights, input: usize, output: usize) -> Result<Self> {
        let path = weights.pp("residual");
        let shortcut =
            (input != output).then(|| CausalConv::new(&weights.pp("shortcut"), input, output, [1, 1, 1]));
        Ok(Self {
            norms: [
                ChannelNorm::new(&path.pp(0), input, 3)?,
                ChannelNorm::new(&path.pp(3), output, 3)?,
            ],
            convs: [
                CausalConv::new(&path.pp(2), input, output, [3, 3, 3])?,
                CausalConv::new(&path.pp(6), output, output, [3, 3, 3])?,
            ],
            shortcut: shortcut.transpose()?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        let mut h = x.clone();
        for (norm, conv) in self.norms.iter().zip(&self.convs) {
            h = conv.forward(&ops::activate(&norm.forward(&h)?, Activation::Silu)?, caches)?;
        }
        match &self.shortcut {
            Some(shortcut) => Ok((h + shortcut.forward(x, caches)?)?),
            None => Ok((h + x)?),
        }
    }
}

/// Attention among the pixels of each frame, one head.
pub struct FrameAttention {
    norm: ChannelNorm,
    qkv: FrameConv,
    proj: FrameConv,
}

impl FrameAttention {
    /// Reads `norm`, `to_qkv`, `proj`.
    pub fn new(weights: &Weights, channels: usize) -> Result<Self> {
        Ok(Self {
            norm: ChannelNorm::new(&weights.pp("norm"), channels, 2)?,
            qkv: FrameConv::new(&weights.pp("to_qkv"), [channels, 3 * channels], 1, 1, 0)?,
            proj: FrameConv::new(&weights.pp("proj"), [channels, channels], 1, 1, 0)?,
        })
    }

    /// [frames, channels, h, w] to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (frames, channels, height, width) = x.dims4()?;
        let qkv = self.qkv.forward(&self.norm.forward(x)?)?.flatten_from(2)?; // (frames, 3c, pixels)
        let scale = 1.0 / (channels as f64).sqrt();
        let mut seen = Vec::with_capacity(frames);
        for frame in 0..frames {
            let rows = qkv.get(frame)?.t()?.contiguous()?; // (pixels, 3c)
            let part = |index: usize| rows.narrow(1, index * channels, channels)?.contiguous();
            let y = ops::attention(&part(0)?, &part(1)?, &part(2)?, 1, scale, None)?;
            seen.push(y.t()?.contiguous()?.reshape((channels, height, width))?);
        }
        Ok((x + self.proj.forward(&Tensor::stack(&seen, 0)?)?)?)
    }
}

/// Residual, attention, residual.
pub(super) struct Middle {
    first: Residual,
    attention: FrameAttention,
    second: Residual,
}

impl Middle {
    pub(super) fn new(weights: &Weights, channels: usize) -> Result<Self> {
        Ok(Self {
            first: Residual::new(&weights.pp(0), channels, channels)?,
            attention: FrameAttention::new(&weights.pp(1), channels)?,
            second: Residual::new(&weights.pp(2), channels, channels)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        let x = self.attention.forward(&self.first.forward(x, caches)?)?;
        self.second.forward(&x, caches)
    }
}

/// Norm, SiLU, convolution.
pub(super) struct Head {
    norm: ChannelNorm,
    conv: CausalConv,
}

impl Head {
    pub(super) fn new(weights: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            norm: ChannelNorm::new(&weights.pp(0), input, 3)?,
            conv: CausalConv::new(&weights.pp(2), input, output, [3, 3, 3])?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        self.conv
            .forward(&ops::activate(&self.norm.forward(x)?, Activation::Silu)?, caches)
    }
}
