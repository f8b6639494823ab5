//! Between the levels: sizes and rates halved and doubled, and the ways past that have no weights.

use super::conv::{Caches, CausalConv, FrameConv, Slot};
use crate::{Result, weights::Weights};
use candle_core::Tensor;

/// 2x2 pixels to channels: [frames, c, h, w] to [frames, 4c, h/2, w/2]. The column of a pixel counts before its row.
pub fn pixels_to_patches(x: &Tensor) -> Result<Tensor> {
    let (f, c, h, w) = x.dims4()?;
    let split = x.reshape((f, c, h / 2, 2, w / 2, 2))?; // rows q at 3, columns r at 5
    let order = split.permute((0, 1, 5, 3, 2, 4))?.contiguous()?;
    Ok(order.reshape((f, 4 * c, h / 2, w / 2))?)
}

/// The inverse of [`pixels_to_patches`].
pub fn pixels_from_patches(x: &Tensor) -> Result<Tensor> {
    let (f, c, h, w) = x.dims4()?;
    let split = x.reshape((f, c / 4, 2, 2, h, w))?; // columns r at 2, rows q at 3
    let order = split.permute((0, 1, 4, 3, 5, 2))?.contiguous()?;
    Ok(order.reshape((f, c / 4, 2 * h, 2 * w))?)
}

/// `ft` frames and `fs` x `fs` pixels to channels, then averages of neighbouring channels down to `output`. A rest of frames
/// is filled up with zeros in front, so a first frame alone is averaged with zeros.
pub fn average_down(x: &Tensor, output: usize, ft: usize, fs: usize) -> Result<Tensor> {
    let rest = x.dim(0)? % ft;
    let x = if rest == 0 {
        x.clone()
    } else {
        x.pad_with_zeros(0, ft - rest, 0)?
    };
    let (f, c, h, w) = x.dims4()?;
    let split = x.reshape(&[f / ft, ft, c, h / fs, fs, w / fs, fs][..])?;
    let order = split.permute(&[0usize, 2, 1, 4, 6, 3, 5][..])?.contiguous()?;
    let groups = order.reshape((f / ft, output, c * ft * fs * fs / output, h / fs, w / fs))?;
    Ok(groups.mean(2)?)
}

/// The other way: channels repeated and spread over `ft` frames and `fs` x `fs` pixels. In a first chunk the first `ft - 1`
/// frames are dropped.
pub fn duplicate_up(x: &Tensor, output: usize, ft: usize, fs: usize, first: bool) -> Result<Tensor> {
    let (f, c, h, w) = x.dims4()?;
    let repeats = output * ft * fs * fs / c;
    let wide = x
        .unsqueeze(2)?
        .broadcast_as((f, c, repeats, h, w))?
        .contiguous()?;
    let split = wide.reshape(&[f, output, ft, fs, fs, h, w][..])?;
    let order = split.permute(&[0usize, 2, 1, 5, 3, 6, 4][..])?.contiguous()?;
    let y = order.reshape((f * ft, output, h * fs, w * fs))?;
    let drop = if first { ft - 1 } else { 0 };
    Ok(y.narrow(0, drop, f * ft - drop)?)
}

/// Half the size, and with `time` half the rate.
pub(super) struct Down {
    space: FrameConv,
    time: Option<CausalConv>,
}

impl Down {
    pub(super) fn new(weights: &Weights, channels: usize, time: bool) -> Result<Self> {
        let conv = time.then(|| CausalConv::new(&weights.pp("time_conv"), channels, channels, [3, 1, 1]));
        Ok(Self {
            space: FrameConv::new(&weights.pp("resample").pp(1), [channels, channels], 3, 2, 0)?,
            time: conv.transpose()?,
        })
    }

    /// The first chunk keeps its rate; later ones take windows of three frames that begin with the last frame before.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        let x = self
            .space
            .forward(&x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?)?;
        let Some(time) = &self.time else { return Ok(x) };
        let frames = x.dim(0)?;
        let (past, slot) = caches.next();
        *slot = Slot::Frames(x.narrow(0, frames - 1, 1)?.contiguous()?);
        match past {
            Slot::Frames(past) => {
                let joined = Tensor::cat(&[&past, &x], 0)?;
                time.planes(&joined, 2, (frames - 2) / 2 + 1)
            }
            Slot::New | Slot::Passed => Ok(x),
        }
    }
}

/// Twice the size, and with `time` twice the rate.
pub(super) struct Up {
    space: FrameConv,
    time: Option<CausalConv>,
}

impl Up {
    pub(super) fn new(weights: &Weights, channels: usize, time: bool) -> Result<Self> {
        let conv = time.then(|| CausalConv::new(&weights.pp("time_conv"), channels, 2 * channels, [3, 1, 1]));
        Ok(Self {
            space: FrameConv::new(&weights.pp("resample").pp(1), [channels, channels], 3, 1, 1)?,
            time: conv.transpose()?,
        })
    }

    /// The first chunk keeps its rate, and the convolution never sees it: for the second there are zeros before.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        let x = match &self.time {
            Some(time) => self.faster(x, time, caches)?,
            None => x.clone(),
        };
        let (_, _, h, w) = x.dims4()?;
        self.space.forward(&x.upsample_nearest2d(2 * h, 2 * w)?)
    }

    fn faster(&self, x: &Tensor, time: &CausalConv, caches: &mut Caches) -> Result<Tensor> {
        let (f, c, h, w) = x.dims4()?;
        let (past, slot) = caches.next();
        let joined = match past {
            Slot::New => {
                *slot = Slot::Passed;
                return Ok(x.clone());
            }
            Slot::Passed => x.pad_with_zeros(0, 2, 0)?,
            Slot::Frames(past) => Tensor::cat(&[&past, x], 0)?,
        };
        *slot = Slot::Frames(joined.narrow(0, joined.dim(0)? - 2, 2)?.contiguous()?);
        // the first half of the channels is the earlier frame
        Ok(time.planes(&joined, 1, f)?.reshape((2 * f, c, h, w))?)
    }
}
