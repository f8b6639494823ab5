//! The stand-in codec: cosine transforms with the released strides and shapes, and no weights.
//!
//! Video: a block of 4 pictures by 16x16 pixels by 3 colours has 3072 values; of its orthonormal cosine transform the 48
//! coefficients of lowest order are kept, divided by 16. The first picture stands for itself four times. So encoding what was
//! decoded gives the latent back, and decoding is the nearest clip to what was encoded that 48 coefficients can say.
//! Sound: of two frames of the normalised log mel (160 values) 20 coefficients are kept, divided by 4.

use super::{AUDIO_CHANNELS, Codec, CodecKind, SPACE_STRIDE, TIME_STRIDE, VIDEO_CHANNELS, voice::Voice};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// Colours of a picture.
const COLOURS: usize = 3;
/// Values of a block of video.
const BLOCK: usize = COLOURS * TIME_STRIDE * SPACE_STRIDE * SPACE_STRIDE;
/// What coefficients of video are divided by, so that a latent is about as large as noise.
const VIDEO_SCALE: f64 = 16.0;

/// The codec.
pub struct Linear {
    /// `[48, 3072]`, rows of length one; columns are colour, picture, row, column.
    video: Tensor,
    voice: Voice,
}

/// The value at `place` of the orthonormal cosine of order `order` over `length` places.
pub(super) fn cosine(order: usize, place: usize, length: usize) -> f64 {
    let at = |index: usize| index as f64;
    let angle = std::f64::consts::PI * (at(place) + 0.5) * at(order) / at(length);
    let norm = if order == 0 { 1.0 } else { 2.0 };
    (norm / at(length)).sqrt() * angle.cos()
}

/// The orders (colour, time, row, column) that are kept: the lowest, time and colour counted double.
fn orders() -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for colour in 0..COLOURS {
        for time in 0..TIME_STRIDE {
            for row in 0..SPACE_STRIDE {
                for column in 0..SPACE_STRIDE {
                    all.push([colour, time, row, column]);
                }
            }
        }
    }
    all.sort_by_key(|&[colour, time, row, column]| {
        (row + column + 2 * time + 2 * colour, time, colour, row, column)
    });
    all.truncate(VIDEO_CHANNELS);
    all
}

/// Rows of length one, each at a right angle to the others.
fn basis() -> Vec<f32> {
    let mut rows = Vec::with_capacity(VIDEO_CHANNELS * BLOCK);
    for [colour, time, row, column] in orders() {
        for c in 0..COLOURS {
            for t in 0..TIME_STRIDE {
                let outer = cosine(colour, c, COLOURS) * cosine(time, t, TIME_STRIDE);
                for y in 0..SPACE_STRIDE {
                    let line = outer * cosine(row, y, SPACE_STRIDE);
                    rows.extend((0..SPACE_STRIDE).map(|x| (line * cosine(column, x, SPACE_STRIDE)) as f32));
                }
            }
        }
    }
    rows
}

impl Linear {
    /// Computes the transforms.
    pub fn new() -> Result<Self> {
        Ok(Self {
            video: Tensor::from_vec(basis(), (VIDEO_CHANNELS, BLOCK), &Device::Cpu)?,
            voice: Voice::new()?,
        })
    }
}

/// Four pictures `[3, 4, h, w]` as blocks `[rows * columns, 3072]`.
fn blocks(four: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    let side = SPACE_STRIDE;
    // (colour, picture, row, y, column, x); candle permutes at most six dims
    let split = four.reshape((COLOURS, TIME_STRIDE, rows, side, columns, side))?;
    let blocks = split.permute((2, 4, 0, 1, 3, 5))?.contiguous()?;
    Ok(blocks.reshape((rows * columns, BLOCK))?)
}

/// Blocks back as four pictures.
fn unblocked(blocks: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    let side = SPACE_STRIDE;
    let split = blocks.reshape((rows, columns, COLOURS, TIME_STRIDE, side, side))?;
    let pictures = split.permute((2, 3, 0, 4, 1, 5))?.contiguous()?;
    Ok(pictures.reshape((COLOURS, TIME_STRIDE, rows * side, columns * side))?)
}

impl Codec for Linear {
    fn kind(&self) -> CodecKind {
        CodecKind::Linear
    }

    fn encode_video(&self, clip: &Tensor) -> Result<Tensor> {
        let (colours, frames, height, width) = clip.dims4()?;
        if colours != COLOURS
            || frames == 0
            || height == 0
            || width == 0
            || !height.is_multiple_of(SPACE_STRIDE)
            || !width.is_multiple_of(SPACE_STRIDE)
        {
            return Err(Error::Input(format!(
                "a clip of {frames} frames {width}x{height}: sides are multiples of {SPACE_STRIDE}"
            )));
        }
        let (rows, columns) = (height / SPACE_STRIDE, width / SPACE_STRIDE);
        let clip = clip.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let first = clip.narrow(1, 0, 1)?;
        let mut latents = Vec::with_capacity(frames.div_ceil(TIME_STRIDE));
        let mut encode = |four: &Tensor| -> Result<()> {
            let z = blocks(four, rows, columns)?.matmul(&self.video.t()?)?; // (blocks, 48)
            let z = (z.t()? / VIDEO_SCALE)?.contiguous()?;
            latents.push(z.reshape((VIDEO_CHANNELS, 1, rows, columns))?);
            Ok(())
        };
        encode(&first.repeat((1, TIME_STRIDE, 1, 1))?)?;
        for start in (1..frames).step_by(TIME_STRIDE) {
            if start + TIME_STRIDE <= frames {
                encode(&clip.narrow(1, start, TIME_STRIDE)?)?;
            }
        }
        Ok(Tensor::cat(&latents, 1)?)
    }

    fn decode_video(&self, latent: &Tensor, take: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        let (channels, frames, rows, columns) = latent.dims4()?;
        if channels != VIDEO_CHANNELS {
            return Err(Error::Input(format!("video latents of {channels} channels")));
        }
        let latent = latent.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        for frame in 0..frames {
            let z = latent.narrow(1, frame, 1)?.contiguous()?;
            let z = (z.reshape((VIDEO_CHANNELS, rows * columns))? * VIDEO_SCALE)?;
            let four = unblocked(&z.t()?.matmul(&self.video)?, rows, columns)?;
            take(if frame == 0 { four.mean_keepdim(1)? } else { four })?;
        }
        Ok(())
    }

    fn encode_audio(&self, samples: &[f32]) -> Result<Tensor> {
        self.voice.encode(samples)
    }

    fn decode_audio(&self, latent: &Tensor) -> Result<Vec<f32>> {
        let (_, channels) = latent.dims2()?;
        if channels != AUDIO_CHANNELS {
            return Err(Error::Input(format!("audio latents of {channels} channels")));
        }
        self.voice.decode(latent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::value_of;

    fn furthest(a: &Tensor, b: &Tensor) -> f32 {
        let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        off.max(0).unwrap().to_scalar().unwrap()
    }

    fn decoded(codec: &Linear, latent: &Tensor) -> Tensor {
        let mut parts = Vec::new();
        let mut take = |part| {
            parts.push(part);
            Ok(())
        };
        codec.decode_video(latent, &mut take).unwrap();
        Tensor::cat(&parts, 1).unwrap()
    }

    #[test]
    fn the_rows_of_the_transform_are_orthonormal() {
        let basis = Linear::new().unwrap().video;
        let product = basis.matmul(&basis.t().unwrap()).unwrap();
        let one = Tensor::eye(VIDEO_CHANNELS, DType::F32, &Device::Cpu).unwrap();
        assert!(furthest(&product, &one) < 1e-5);
    }

    #[test]
    fn what_was_decoded_encodes_to_the_same_latent_and_shapes_are_the_released_ones() {
        let codec = Linear::new().unwrap();
        let values = value_of("clip", 3, 3 * 11 * 32 * 48, 1.0, 0.0);
        let clip = Tensor::from_vec(values, (3, 11, 32, 48), &Device::Cpu).unwrap();
        // 11 pictures: the last two make no latent frame
        let latent = codec.encode_video(&clip).unwrap();
        assert_eq!(latent.dims(), [48, 3, 2, 3]);
        let back = decoded(&codec, &latent);
        assert_eq!(back.dims(), [3, 9, 32, 48]);
        assert!(furthest(&codec.encode_video(&back).unwrap(), &latent) < 1e-5);
        // later pictures change nothing before them
        let begun = codec.encode_video(&clip.narrow(1, 0, 5).unwrap()).unwrap();
        assert_eq!(furthest(&begun, &latent.narrow(1, 0, 2).unwrap()), 0.0);
    }

    #[test]
    fn a_smooth_picture_survives() {
        let codec = Linear::new().unwrap();
        let line = Tensor::arange(0f32, 32.0, &Device::Cpu).unwrap();
        let row = (line / 16.0).unwrap().affine(1.0, -1.0).unwrap();
        let clip = row.broadcast_as((3, 5, 32, 32)).unwrap().contiguous().unwrap();
        let back = decoded(&codec, &codec.encode_video(&clip).unwrap());
        assert!(furthest(&back, &clip) < 0.05, "{}", furthest(&back, &clip));
    }

    #[test]
    fn odd_sizes_and_channels_are_refused() {
        let codec = Linear::new().unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        for shape in [[3, 5, 30, 32], [3, 0, 32, 32], [1, 5, 32, 32]] {
            assert!(codec.encode_video(&zeros(&shape)).is_err(), "{shape:?}");
        }
        assert!(
            codec
                .decode_video(&zeros(&[20, 1, 2, 2]), &mut |_| Ok(()))
                .is_err()
        );
        assert!(codec.decode_audio(&zeros(&[4, 48])).is_err());
    }
}
