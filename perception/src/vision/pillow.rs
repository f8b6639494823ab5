//! Pillow's bicubic `resize` of RGB pictures, bit by bit (Pillow 11, `Resample.c`, a = -0.5 with antialiasing).
//!
//! Two 8-bit passes, across and then down, each with 22-bit fixed-point weights; the picture between them is rounded
//! to bytes.

use omni_media::Image;

/// Fraction bits of the weights.
const BITS: u32 = 32 - 8 - 2;

/// One target sample: its first source sample and the weights from there on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The picture in `width` x `height`; a side that fits already is left alone. Black for an empty source.
pub fn bicubic(image: &Image, width: usize, height: usize) -> Image {
    if image.width * image.height * width * height == 0 {
        let data = vec![0; width * height * 3];
        return Image { width, height, data };
    }
    let wide = if width == image.width {
        image.clone()
    } else {
        across(image, width)
    };
    if height == wide.height {
        wide
    } else {
        down(&wide, height)
    }
}

fn across(image: &Image, width: usize) -> Image {
    let taps = taps(image.width, width);
    let mut data = Vec::with_capacity(width * image.height * 3);
    for row in image.data.chunks_exact(image.width * 3) {
        for Taps { first, weights } in &taps {
            let mut sums = [1i32 << (BITS - 1); 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for channel in 0..3 {
                    sums[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            data.extend(sums.map(byte));
        }
    }
    let height = image.height;
    Image { width, height, data }
}

fn down(image: &Image, height: usize) -> Image {
    let stride = image.width * 3;
    let mut data = Vec::with_capacity(stride * height);
    let mut sums = vec![0i32; stride];
    for Taps { first, weights } in taps(image.height, height) {
        sums.fill(1 << (BITS - 1));
        for (row, weight) in image.data[first * stride..].chunks_exact(stride).zip(weights) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += i32::from(*x) * weight);
        }
        data.extend(sums.iter().copied().map(byte));
    }
    let width = image.width;
    Image { width, height, data }
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    let one = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let shares: Vec<f64> = (first..end)
            .map(|x| cubic((x as f64 - centre + 0.5) / stretch))
            .collect();
        let sum: f64 = shares.iter().sum();
        let fixed = |share: f64| {
            let scaled = share / sum * f64::from(1u32 << BITS);
            (scaled + 0.5f64.copysign(share)) as i32
        };
        let weights = shares.into_iter().map(fixed).collect();
        Taps { first, weights }
    };
    (0..to).map(one).collect()
}

/// Cubic convolution with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_stays_flat_and_a_step_overshoots_no_byte() {
        let flat = Image {
            width: 5,
            height: 7,
            data: vec![201; 105],
        };
        for (width, height) in [(1, 1), (3, 9), (10, 14), (64, 2), (5, 7)] {
            let out = bicubic(&flat, width, height);
            assert_eq!(out.data.len(), width * height * 3);
            assert!(out.data.iter().all(|&x| x == 201), "{width}x{height}");
        }
        let step = Image {
            width: 2,
            height: 1,
            data: vec![0, 0, 0, 255, 255, 255],
        };
        let out = bicubic(&step, 8, 1);
        assert_eq!((out.data[0], out.data[21]), (0, 255));
        assert!(bicubic(&Image::default(), 2, 2).data.iter().all(|&x| x == 0));
    }
}
