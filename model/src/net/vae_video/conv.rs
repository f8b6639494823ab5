//! Causal convolutions and what stands between them.

use crate::{
    Result,
    ops::{self, ConvKernel, ConvPath, ConvShape},
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

/// The last `count` frames of `past` (or of zeros) and then `x`, in a storage of their own: a part of `x` would keep all of it.
pub(super) fn last_frames(past: Option<&Tensor>, x: &Tensor, count: usize) -> Result<Tensor> {
    let frames = x.dim(0)?;
    if frames >= count {
        return Ok(x.narrow(0, frames - count, count)?.force_contiguous()?);
    }
    let missing = count - frames;
    Ok(match past {
        Some(past) => {
            let old = past.dim(0)?;
            Tensor::cat(&[&past.narrow(0, old - missing, missing)?, x], 0)?
        }
        None => x.pad_with_zeros(0, missing, 0)?,
    })
}

/// Weight and bias of a convolution; `taps` in time, rows and columns. The file's weight has `stored` dimensions.
fn kernel(
    weights: &Weights,
    [input, output]: [usize; 2],
    taps: [usize; 3],
    stored: &[usize],
) -> Result<ConvKernel> {
    let shape = ConvShape { input, output, taps };
    Ok(ConvKernel {
        shape,
        weight: weights.derive(&[("weight", stored)], &shape.held(), |parts| {
            shape.hold(&parts[0])
        })?,
        bias: Some(weights.get("bias", &[output])?),
    })
}

/// A convolution that sees the past only.
#[derive(Debug, Clone)]
pub struct CausalConv {
    kernel: ConvKernel,
}

impl CausalConv {
    /// A kernel of time, rows and columns, padded in space to keep the size.
    pub fn new(weights: &Weights, input: usize, output: usize, taps: [usize; 3]) -> Result<Self> {
        let stored = [output, input, taps[0], taps[1], taps[2]];
        Ok(Self {
            kernel: kernel(weights, [input, output], taps, &stored)?,
        })
    }

    /// `[frames, h, w, in]` to `[frames, h, w, out]`, plus `add`; before the first frame there are zeros.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches, add: Option<&Tensor>) -> Result<Tensor> {
        let reach = self.kernel.shape.taps[0] - 1;
        if reach == 0 {
            return self.run(None, x, 0, 1, add);
        }
        let (past, slot) = caches.next();
        let past = match &past {
            Slot::Frames(past) => Some(past),
            Slot::New | Slot::Passed => None,
        };
        *slot = Slot::Frames(last_frames(past, x, reach)?);
        self.run(past, x, if past.is_some() { 0 } else { reach }, 1, add)
    }

    /// The whole of `x` from its first frame on: with zeros before it.
    pub fn whole(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x, &mut Caches::default(), None)
    }

    /// The first `count` frames, then the rest with what is kept of them.
    pub fn in_chunks(&self, x: &Tensor, count: usize) -> Result<[Tensor; 2]> {
        let mut caches = Caches::default();
        let first = self.forward(&x.narrow(0, 0, count)?, &mut caches, None)?;
        caches.rewind();
        let rest = self.forward(&x.narrow(0, count, x.dim(0)? - count)?, &mut caches, None)?;
        Ok([first, rest])
    }

    /// The convolution over `lead` frames of zeros, `past`, `x`: every `every`th frame of it.
    pub(super) fn run(
        &self,
        past: Option<&Tensor>,
        x: &Tensor,
        lead: usize,
        every: usize,
        add: Option<&Tensor>,
    ) -> Result<Tensor> {
        let path = ConvPath {
            lead,
            every,
            ..ConvPath::same(self.kernel.shape.taps)
        };
        Ok(ops::conv(past, x, &self.kernel, path, add)?)
    }
}

/// A convolution of single frames.
#[derive(Debug, Clone)]
pub(super) struct FrameConv {
    kernel: ConvKernel,
    path: ConvPath,
}

impl FrameConv {
    /// `stride` rows and columns from one result to the next, `pad` zeros before and after both.
    pub(super) fn new(
        weights: &Weights,
        [input, output]: [usize; 2],
        side: usize,
        stride: usize,
        pad: [usize; 2],
    ) -> Result<Self> {
        let taps = [1, side, side];
        Ok(Self {
            kernel: kernel(weights, [input, output], taps, &[output, input, side, side])?,
            path: ConvPath {
                stride,
                pad: [pad; 2],
                ..ConvPath::same(taps)
            },
        })
    }

    /// `[frames, h, w, in]`, plus `add`.
    pub(super) fn forward(&self, x: &Tensor, add: Option<&Tensor>) -> Result<Tensor> {
        Ok(ops::conv(None, x, &self.kernel, self.path, add)?)
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
        let gamma = weights.derive(&[("gamma", &shape)], &[channels], |parts| {
            parts[0].reshape(channels)? * root
        })?;
        Ok(Self { gamma })
    }

    /// `[.., channels]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::unit_norm(x, &self.gamma.t(), false)?)
    }

    /// With SiLU on top.
    fn activated(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::unit_norm(x, &self.gamma.t(), true)?)
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
        let h = self.convs[0].forward(&self.norms[0].activated(x)?, caches, None)?;
        let h = self.norms[1].activated(&h)?;
        match &self.shortcut {
            Some(shortcut) => {
                let past = shortcut.forward(x, caches, None)?;
                self.convs[1].forward(&h, caches, Some(&past))
            }
            None => self.convs[1].forward(&h, caches, Some(x)),
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
        let conv = |name, output| FrameConv::new(&weights.pp(name), [channels, output], 1, 1, [0, 0]);
        Ok(Self {
            norm: ChannelNorm::new(&weights.pp("norm"), channels, 2)?,
            qkv: conv("to_qkv", 3 * channels)?,
            proj: conv("proj", channels)?,
        })
    }

    /// `[frames, h, w, channels]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (frames, height, width, channels) = x.dims4()?;
        let qkv = self.qkv.forward(&self.norm.forward(x)?, None)?.flatten(1, 2)?; // (frames, pixels, 3c)
        let scale = 1.0 / (channels as f64).sqrt();
        let mut seen = Vec::with_capacity(frames);
        for frame in 0..frames {
            let rows = qkv.get(frame)?;
            let part = |index: usize| rows.narrow(1, index * channels, channels)?.contiguous();
            seen.push(ops::attention(&part(0)?, &part(1)?, &part(2)?, 1, scale, None)?);
        }
        let seen = Tensor::stack(&seen, 0)?.reshape((frames, height, width, channels))?;
        self.proj.forward(&seen, Some(x))
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
        self.conv.forward(&self.norm.activated(x)?, caches, None)
    }
}
