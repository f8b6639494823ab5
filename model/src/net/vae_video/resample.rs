//! Between the levels: sizes and rates halved and doubled, and the ways past that have no weights.

use super::conv::{Caches, CausalConv, FrameConv, Slot, last_frames};
use crate::{Result, ops, weights::Weights};
use candle_core::Tensor;

/// 2x2 pixels to channels: `[frames, h, w, c]` to `[frames, h/2, w/2, 4c]`. The column of a pixel counts before its row.
pub fn pixels_to_patches(x: &Tensor) -> Result<Tensor> {
    let (f, h, w, c) = x.dims4()?;
    let split = x.reshape((f, h / 2, 2, w / 2, 2, c))?; // rows q at 2, columns r at 4
    let order = split.permute((0, 1, 3, 5, 4, 2))?.contiguous()?;
    Ok(order.reshape((f, h / 2, w / 2, 4 * c))?)
}

/// The inverse of [`pixels_to_patches`].
pub fn pixels_from_patches(x: &Tensor) -> Result<Tensor> {
    let (f, h, w, c) = x.dims4()?;
    let split = x.reshape((f, h, w, c / 4, 2, 2))?; // columns r at 4, rows q at 5
    let order = split.permute((0, 1, 5, 2, 4, 3))?.contiguous()?;
    Ok(order.reshape((f, 2 * h, 2 * w, c / 4))?)
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
    let (f, h, w, c) = x.dims4()?;
    let split = x.reshape(&[f / ft, ft, h / fs, fs, w / fs, fs, c][..])?;
    let order = split.permute(&[0usize, 2, 4, 6, 1, 3, 5][..])?.contiguous()?;
    let groups = order.reshape((f / ft, h / fs, w / fs, output, c * ft * fs * fs / output))?;
    Ok(groups.mean(4)?)
}

/// The other way: channels repeated and spread over `ft` frames and `fs` x `fs` pixels. In a first chunk the first `ft - 1`
/// frames are dropped.
pub fn duplicate_up(x: &Tensor, output: usize, ft: usize, fs: usize, first: bool) -> Result<Tensor> {
    let drop = if first { ft - 1 } else { 0 };
    Ok(ops::spread_channels(x, output, [ft, fs], drop)?)
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
            space: FrameConv::new(&weights.pp("resample").pp(1), [channels, channels], 3, 2, [0, 1])?,
            time: conv.transpose()?,
        })
    }

    /// The first chunk keeps its rate; later ones take windows of three frames that begin with the last frame before.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches) -> Result<Tensor> {
        let x = self.space.forward(x, None)?;
        let Some(time) = &self.time else { return Ok(x) };
        let (past, slot) = caches.next();
        *slot = Slot::Frames(last_frames(None, &x, 1)?);
        match past {
            Slot::Frames(past) => time.run(Some(&past), &x, 0, 2, None),
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
            space: FrameConv::new(&weights.pp("resample").pp(1), [channels, channels], 3, 1, [1, 1])?,
            time: conv.transpose()?,
        })
    }

    /// The first chunk keeps its rate, and the convolution never sees it: for the second there are zeros before. `add` is
    /// added to the result.
    pub(super) fn forward(&self, x: &Tensor, caches: &mut Caches, add: &Tensor) -> Result<Tensor> {
        let x = match &self.time {
            Some(time) => faster(x, time, caches)?,
            None => x.clone(),
        };
        self.space.forward(&ops::twice_the_size(&x)?, Some(add))
    }
}

fn faster(x: &Tensor, time: &CausalConv, caches: &mut Caches) -> Result<Tensor> {
    let (f, h, w, c) = x.dims4()?;
    let (past, slot) = caches.next();
    let past = match &past {
        Slot::New => {
            *slot = Slot::Passed;
            return Ok(x.clone());
        }
        Slot::Passed => None,
        Slot::Frames(past) => Some(past),
    };
    *slot = Slot::Frames(last_frames(past, x, 2)?);
    let y = time.run(past, x, if past.is_some() { 0 } else { 2 }, 1, None)?;
    // the first half of the channels is the earlier frame
    let pairs = y.reshape((f, h * w, 2, c))?.transpose(1, 2)?.contiguous()?;
    Ok(pairs.reshape((2 * f, h, w, c))?)
}
