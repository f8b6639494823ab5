//! Convolutions over frames, rows and columns of pixels, channels last: own kernels for f32 on the CPU, candle's `conv2d`
//! elsewhere.

use super::{conv_direct, conv_kernel::PANEL, conv_winograd, on_cpu, with_values};
use crate::{param::Param, vjp::with_plain};
use candle_core::{DType, Result, Tensor};

/// Sizes of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Taps in time, rows, columns.
    pub taps: [usize; 3],
}

impl ConvShape {
    /// All taps.
    pub(super) fn all_taps(&self) -> usize {
        self.taps.iter().product()
    }

    /// Whether weights of this one's dtype and device are held in panels.
    pub fn has_panels(weight: &Tensor) -> bool {
        on_cpu(&[weight])
    }

    /// A weight of the checkpoint's form `[out, in, time, rows, columns]` as it is held: for f32 on the CPU in panels of 32
    /// output channels `[panels, taps * in, 32]`, otherwise `[out, time, in, rows, columns]`.
    pub fn hold(&self, weight: &Tensor) -> Result<Tensor> {
        let [time, rows, columns] = self.taps;
        let weight = weight.reshape((self.output, self.input, time, rows, columns))?;
        if !on_cpu(&[&weight]) {
            return weight.transpose(1, 2)?.contiguous();
        }
        let panels = self.output.div_ceil(PANEL);
        let lines = weight.permute((0, 2, 3, 4, 1))?.contiguous()?;
        let depth = self.all_taps() * self.input;
        lines
            .reshape((self.output, depth))?
            .pad_with_zeros(0, 0, panels * PANEL - self.output)?
            .reshape((panels, PANEL, depth))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// The shape in which f32 on the CPU is held, and that of what stands for a weight of which only the shape is known.
    pub fn held(&self) -> [usize; 3] {
        [self.output.div_ceil(PANEL), self.all_taps() * self.input, PANEL]
    }

    /// `[out, time, in, rows, columns]` of either form.
    fn plain(&self, held: &Tensor) -> Result<Tensor> {
        if held.rank() != 3 {
            return Ok(held.clone());
        }
        let [time, rows, columns] = self.taps;
        held.transpose(1, 2)?
            .contiguous()?
            .reshape((held.dim(0)? * PANEL, time, rows, columns, self.input))?
            .narrow(0, 0, self.output)?
            .permute((0, 1, 4, 2, 3))?
            .contiguous()
    }
}

/// Weight and bias.
#[derive(Debug, Clone)]
pub struct ConvKernel {
    /// Sizes.
    pub shape: ConvShape,
    /// As [`ConvShape::hold`] makes it.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

/// How a kernel goes over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvPath {
    /// Frames of zeros before all others.
    pub lead: usize,
    /// Frames from one result to the next.
    pub every: usize,
    /// Rows and columns from one result to the next.
    pub stride: usize,
    /// Rows and columns from tap to tap.
    pub dilation: usize,
    /// Zeros before and after the rows, and the columns.
    pub pad: [[usize; 2]; 2],
}

impl ConvPath {
    /// Steps of one, and as many zeros around as keep the size.
    pub fn same(taps: [usize; 3]) -> Self {
        Self {
            lead: 0,
            every: 1,
            stride: 1,
            dilation: 1,
            pad: [margins(taps[1], 1), margins(taps[2], 1)],
        }
    }
}

/// Zeros on either side of a line that keep its length.
pub fn margins(taps: usize, dilation: usize) -> [usize; 2] {
    let reach = taps.saturating_sub(1) * dilation;
    [reach / 2, reach - reach / 2]
}

/// What a kernel for the CPU is given.
pub(super) struct Job<'a> {
    /// Planes of pixels; where there is none it is zeros.
    pub(super) frames: Vec<Option<&'a [f32]>>,
    /// Rows and columns of one.
    pub(super) plane: [usize; 2],
    /// Frames, rows and columns of the result.
    pub(super) results: [usize; 3],
    pub(super) shape: ConvShape,
    pub(super) path: ConvPath,
    /// Panels.
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    /// Added to the result.
    pub(super) add: Option<&'a [f32]>,
}

impl Job<'_> {
    /// The bias of a panel.
    pub(super) fn bias_of(&self, panel: usize) -> [f32; PANEL] {
        let mut line = [0.0; PANEL];
        let bias = self.bias.map_or(&[][..], |bias| &bias[panel * PANEL..]);
        for (line, bias) in line.iter_mut().zip(bias) {
            *line = *bias;
        }
        line
    }
}

/// Frames, rows and columns that come out, or why nothing can.
fn results(shape: ConvShape, path: ConvPath, [frames, height, width]: [usize; 3]) -> Result<[usize; 3]> {
    let count = |size: usize, taps: usize, dilation: usize, stride: usize| {
        let reach = (taps - 1) * dilation + 1;
        (size >= reach && stride > 0).then(|| (size - reach) / stride + 1)
    };
    let [time, rows, columns] = shape.taps;
    let [[above, below], [left, right]] = path.pad;
    let found = (
        count(path.lead + frames, time, 1, path.every),
        count(height + above + below, rows, path.dilation, path.stride),
        count(width + left + right, columns, path.dilation, path.stride),
    );
    match found {
        (Some(frames), Some(height), Some(width)) => Ok([frames, height, width]),
        _ => candle_core::bail!(
            "a convolution of {:?} taps finds no place in {frames} frames of {height}x{width}",
            shape.taps
        ),
    }
}

/// The convolution of `past` (if any) and then `x`, `[frames, rows, columns, channels]`, plus `add`.
///
/// The same frames give the same bits in one call and in several with the past handed on, on any number of threads.
pub fn conv(
    past: Option<&Tensor>,
    x: &Tensor,
    kernel: &ConvKernel,
    path: ConvPath,
    add: Option<&Tensor>,
) -> Result<Tensor> {
    let shape = kernel.shape;
    let (frames, height, width, channels) = x.dims4()?;
    let before = past.map_or(Ok(0), |past| past.dim(0))?;
    if channels != shape.input || channels == 0 || shape.output == 0 {
        candle_core::bail!("a convolution of {} channels was given {channels}", shape.input);
    }
    if height * width == 0 || shape.all_taps() == 0 {
        candle_core::bail!(
            "a convolution of {:?} taps over {height}x{width} pixels",
            shape.taps
        );
    }
    let results = results(shape, path, [before + frames, height, width])?;
    let (weight, bias) = (kernel.weight.t(), kernel.bias.as_ref().map(Param::t));
    let expected = [results[0], results[1], results[2], shape.output];
    let fits = past.is_none_or(|past| past.dims()[1..] == x.dims()[1..])
        && bias.as_ref().is_none_or(|bias| bias.dims() == [shape.output])
        && add.is_none_or(|add| add.dims() == expected)
        && (weight.rank() != 3 || weight.dims() == shape.held());
    if !fits {
        candle_core::bail!("past, weight, bias or what is added does not fit a convolution to {expected:?}");
    }
    let inputs: Vec<Tensor> = [Some(x), Some(&weight), past, bias.as_ref(), add]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let has = [past.is_some(), bias.is_some(), add.is_some()];
    let plain = move |inputs: &[Tensor]| plain(inputs, has, shape, path);
    let all: Vec<&Tensor> = inputs.iter().collect();
    if weight.rank() != 3 || !on_cpu(&all) {
        return plain(&inputs);
    }
    let none = Tensor::zeros(0, DType::F32, x.device())?;
    let optional = |tensor: Option<&Tensor>| tensor.unwrap_or(&none).clone();
    let parts = [
        x,
        &weight,
        &optional(past),
        &optional(bias.as_ref()),
        &optional(add),
    ];
    let out = with_values(parts, |[x, weight, past, bias, add]| {
        let size = (height * width * channels).max(1);
        let held = past.chunks_exact(size).chain(x.chunks_exact(size)).map(Some);
        let job = Job {
            frames: std::iter::repeat_n(None, path.lead).chain(held).collect(),
            plane: [height, width],
            results,
            shape,
            path,
            weight,
            bias: has[1].then_some(bias),
            add: has[2].then_some(add),
        };
        if conv_winograd::suits(&job) {
            conv_winograd::run(&job)
        } else {
            conv_direct::run(&job)
        }
    })?;
    let [frames, height, width] = results;
    let out = Tensor::from_vec(out, (frames, height, width, shape.output), x.device())?;
    with_plain(&inputs, out, plain)
}

/// The same in candle's ops: the taps in time as channels of one `conv2d`.
fn plain(inputs: &[Tensor], has: [bool; 3], shape: ConvShape, path: ConvPath) -> Result<Tensor> {
    let mut rest = inputs[2..].iter();
    let [past, bias, add] = has.map(|has| if has { rest.next() } else { None });
    let x = match past {
        Some(past) => Tensor::cat(&[past, &inputs[0]], 0)?,
        None => inputs[0].clone(),
    };
    let mut x = x.permute((0, 3, 1, 2))?; // (frames, channels, rows, columns)
    if path.lead > 0 {
        x = x.contiguous()?.pad_with_zeros(0, path.lead, 0)?;
    }
    let [time, rows, columns] = shape.taps;
    let count = (x.dim(0)? - time) / path.every + 1;
    if time > 1 || path.every > 1 {
        let tap = |tap: usize| {
            if path.every == 1 {
                return x.narrow(0, tap, count);
            }
            let index = (0..count).filter_map(|frame| u32::try_from(frame * path.every + tap).ok());
            let index = Tensor::from_vec(index.collect::<Vec<u32>>(), count, x.device())?;
            x.contiguous()?.index_select(&index, 0)
        };
        let taps = (0..time).map(tap).collect::<Result<Vec<_>>>()?;
        x = Tensor::cat(&taps, 1)?;
    }
    let [vertical, horizontal] = path.pad;
    let even = vertical == horizontal && vertical[0] == vertical[1];
    let around = if even { vertical[0] } else { 0 };
    if !even {
        x = x
            .contiguous()?
            .pad_with_zeros(2, vertical[0], vertical[1])?
            .pad_with_zeros(3, horizontal[0], horizontal[1])?;
    }
    let weight = shape
        .plain(&inputs[1])?
        .reshape((shape.output, time * shape.input, rows, columns))?;
    let y = x
        .contiguous()?
        .conv2d(&weight, around, path.stride, path.dilation, 1)?
        .permute((0, 2, 3, 1))?
        .contiguous()?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    match add {
        Some(add) => y + add,
        None => Ok(y),
    }
}
