//! Still pictures: PNG and small JPEG out; PNG, JPEG and WebP in.

use crate::{Error, Image};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader};
use std::io::Cursor;

/// Largest picture that is decoded, bytes of its pixel buffer.
const MAX_BYTES: u64 = 512 << 20;
/// Longest side that is decoded.
const MAX_SIDE: u32 = 32768;

/// Encodes a picture as PNG. The bytes depend on the pixels alone.
///
/// Fails when `data` is not `width * height * 3` bytes long or a side is zero or beyond `u32`.
pub fn png(image: &Image) -> Result<Vec<u8>, Error> {
    let expected = image
        .width
        .checked_mul(image.height)
        .and_then(|n| n.checked_mul(3));
    if expected != Some(image.data.len()) || image.data.is_empty() {
        let message = format!(
            "{}x{} with {} bytes is no RGB picture",
            image.width,
            image.height,
            image.data.len()
        );
        return Err(Error::invalid("png", message));
    }
    let side = |n: usize| u32::try_from(n).map_err(|error| Error::invalid("png", error));
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(
            &image.data,
            side(image.width)?,
            side(image.height)?,
            ExtendedColorType::Rgb8,
        )
        .map_err(|error| Error::invalid("png", error))?;
    Ok(bytes)
}

/// A small JPEG for looking at: the longest side becomes `side` pixels, and a smaller picture keeps its size.
///
/// Fails when `data` is not `width * height * 3` bytes long, or a side is zero or beyond `u32`.
pub fn thumbnail(image: &Image, side: u32) -> Result<Vec<u8>, Error> {
    let fault = || Error::invalid("thumbnail", "its size and its bytes do not agree");
    let number = |n: usize| u32::try_from(n).map_err(|error| Error::invalid("thumbnail", error));
    let (width, height) = (number(image.width)?, number(image.height)?);
    let whole = image::RgbImage::from_raw(width, height, image.data.clone()).ok_or_else(fault)?;
    let longest = width.max(height);
    if longest == 0 {
        return Err(fault());
    }
    let scaled = |n: u32| {
        let n = u64::from(n) * u64::from(side.min(longest)) / u64::from(longest);
        u32::try_from(n).unwrap_or(u32::MAX).max(1)
    };
    let small = image::imageops::thumbnail(&whole, scaled(width), scaled(height));
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 82)
        .encode_image(&small)
        .map_err(|error| Error::invalid("thumbnail", error))?;
    Ok(bytes)
}

/// Decodes a PNG, JPEG or WebP picture to RGB. EXIF orientation is applied, transparency is dropped.
///
/// Fails on anything else, on damaged data, and on pictures beyond 512 MiB of pixels or 32768 a side.
pub fn decode_picture(bytes: &[u8]) -> Result<Image, Error> {
    let invalid = |error: image::ImageError| Error::invalid("picture", error);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::invalid("picture", error))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(invalid)?;
    if decoder.total_bytes() > MAX_BYTES {
        return Err(Error::invalid(
            "picture",
            format!("needs {} bytes, the limit is {MAX_BYTES}", decoder.total_bytes()),
        ));
    }
    let orientation = decoder.orientation().map_err(invalid)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(invalid)?;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(Image {
        width,
        height,
        data: rgb.into_raw(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_picture_whose_size_lies_is_refused() {
        for (width, height, len) in [(2, 2, 11), (0, 0, 0), (usize::MAX, 2, 6), (3, 0, 0)] {
            assert_eq!(
                png(&Image {
                    width,
                    height,
                    data: vec![0; len]
                })
                .unwrap_err()
                .reason(),
                "invalid"
            );
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let good = png(&Image {
            width: 5,
            height: 4,
            data: (0..60).collect(),
        })
        .unwrap();
        assert!(decode_picture(b"").is_err());
        assert!(decode_picture(b"no picture at all, but some text").is_err());
        assert!(decode_picture(&good[..good.len() / 2]).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let _ = decode_picture(&bad);
        }
    }

    #[test]
    fn a_header_that_asks_for_the_moon_allocates_nothing() {
        let mut bomb = png(&Image {
            width: 1,
            height: 1,
            data: vec![1, 2, 3],
        })
        .unwrap();
        bomb[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
        assert!(decode_picture(&bomb).is_err());
    }

    #[test]
    fn a_thumbnail_is_small_keeps_its_shape_and_refuses_lies() {
        let image = Image {
            width: 400,
            height: 100,
            data: vec![90; 400 * 100 * 3],
        };
        let small = decode_picture(&thumbnail(&image, 80).unwrap()).unwrap();
        assert_eq!((small.width, small.height), (80, 20));
        let whole = decode_picture(&thumbnail(&image, 4000).unwrap()).unwrap();
        assert_eq!((whole.width, whole.height), (400, 100));
        let lies = Image { width: 401, ..image };
        assert_eq!(thumbnail(&lies, 80).unwrap_err().reason(), "invalid");
        assert!(thumbnail(&Image::default(), 80).is_err());
    }

    proptest! {
        #[test]
        fn png_gives_back_the_pixels(width in 1usize..40, height in 1usize..40, seed in any::<u8>()) {
            let data = (0..width * height * 3).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let image = Image { width, height, data };
            prop_assert_eq!(decode_picture(&png(&image).unwrap()).unwrap(), image);
        }
    }
}
