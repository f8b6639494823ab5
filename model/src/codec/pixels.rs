//! Pixels as tensors and back.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// Pictures as RGB bytes (rows packed, red first) to a clip `[3, frames, height, width]` in -1..=1. Fails without a picture,
/// or on one whose bytes do not fit its size.
pub fn clip_tensor(pictures: &[Vec<u8>], width: usize, height: usize) -> Result<Tensor> {
    let size = width * height;
    if size == 0 || pictures.is_empty() || pictures.iter().any(|picture| picture.len() != 3 * size) {
        return Err(Error::Input(format!(
            "{} pictures that are not {width}x{height} in RGB",
            pictures.len()
        )));
    }
    let mut values = Vec::with_capacity(3 * size * pictures.len());
    for channel in 0..3 {
        for picture in pictures {
            let own = picture.iter().skip(channel).step_by(3);
            values.extend(own.map(|value| f32::from(*value) / 127.5 - 1.0));
        }
    }
    let shape = (3, pictures.len(), height, width);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A clip `[3, frames, height, width]` as RGB bytes per picture, rounded and limited. Fails on another shape.
pub fn clip_bytes(clip: &Tensor) -> Result<Vec<Vec<u8>>> {
    let (channels, frames, height, width) = clip.dims4()?;
    if channels != 3 {
        return Err(Error::Input(format!("pictures of {channels} channels")));
    }
    let size = height * width;
    let values = clip.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let picture = |frame: usize| {
        let mut bytes = vec![0; 3 * size];
        for channel in 0..3 {
            let plane = &values[(channel * frames + frame) * size..][..size];
            for (to, value) in bytes[channel..].iter_mut().step_by(3).zip(plane) {
                // `as` limits, and makes not-a-number 0
                *to = ((value + 1.0) * 127.5).round() as u8;
            }
        }
        bytes
    };
    Ok((0..frames).map(picture).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_lies_are_refused() {
        let pictures: Vec<Vec<u8>> = (0..3u8).map(|k| (0..24).map(|x| x * 10 + k).collect()).collect();
        let clip = clip_tensor(&pictures, 4, 2).unwrap();
        assert_eq!(clip.dims(), [3, 3, 2, 4]);
        assert_eq!(clip_bytes(&clip).unwrap(), pictures);
        assert!(clip_tensor(&pictures, 4, 3).is_err());
        assert!(clip_tensor(&[], 4, 3).is_err());
        let wild = clip.affine(10.0, f64::NAN).unwrap();
        assert!(clip_bytes(&wild).unwrap().iter().flatten().all(|x| *x == 0));
    }
}
