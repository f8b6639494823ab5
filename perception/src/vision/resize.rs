//! OpenCV's `resize` with INTER_LINEAR on bytes, restated in integers (OpenCV 4.10, `resize.cpp`).

use omni_media::Image;

/// Fixed point of the coefficients: 11 bits.
const ONE: f32 = 2048.0;

/// Resizes to `width` x `height`. An exact halving in both directions is 2x2 averaging, as in OpenCV.
/// An empty source or target gives a black picture of the target size.
pub fn resize(image: &Image, width: usize, height: usize) -> Image {
    let mut out = Image {
        width,
        height,
        data: vec![0; width * height * 3],
    };
    if image.width == 0 || image.height == 0 || out.data.is_empty() {
        return out;
    }
    if (image.width, image.height) == (width, height) {
        out.data.copy_from_slice(&image.data);
    } else if (image.width, image.height) == (2 * width, 2 * height) {
        halve(image, &mut out);
    } else {
        linear(image, &mut out);
    }
    out
}

fn halve(image: &Image, out: &mut Image) {
    let stride = image.width * 3;
    for (row, rows) in out
        .data
        .chunks_exact_mut(out.width * 3)
        .zip(image.data.chunks_exact(2 * stride))
    {
        let (above, below) = rows.split_at(stride);
        for ((to, a), b) in row
            .chunks_exact_mut(3)
            .zip(above.chunks_exact(6))
            .zip(below.chunks_exact(6))
        {
            for channel in 0..3 {
                let sum = u32::from(a[channel]) + u32::from(a[channel + 3]);
                let sum = sum + u32::from(b[channel]) + u32::from(b[channel + 3]);
                to[channel] = ((sum + 2) >> 2) as u8;
            }
        }
    }
}

/// Where a target coordinate reads (its first source coordinate, unclamped) and the share of the next one.
pub(super) fn position(target: usize, scale: f64) -> (i64, f32) {
    let at = ((target as f64 + 0.5) * scale - 0.5) as f32;
    let first = at.floor();
    (first as i64, at - first)
}

/// Shares of the first and of the next sample, 0..=2048.
pub(super) fn weights(fraction: f32) -> [i16; 2] {
    [
        ((1.0 - fraction) * ONE).round_ties_even() as i16,
        (fraction * ONE).round_ties_even() as i16,
    ]
}

/// What a target column is made of: the pixel at `at` and the one behind it (which has no share at the right edge).
pub(super) struct Column {
    /// Byte offset of the first sample's red.
    pub(super) at: usize,
    /// Both shares, as from [`weights`].
    pub(super) weights: [i16; 2],
}

/// The recipe of every target column.
pub(super) fn columns(from: usize, to: usize) -> Vec<Column> {
    let scale = from as f64 / to as f64;
    let last = from as i64 - 1;
    let column = |x: usize| {
        let (first, fraction) = position(x, scale);
        let (first, fraction) = match first {
            ..0 => (0, 0.0),
            first if first >= last => (last, 0.0),
            first => (first, fraction),
        };
        Column {
            at: first as usize * 3,
            weights: weights(fraction),
        }
    };
    (0..to).map(column).collect()
}

fn linear(image: &Image, out: &mut Image) {
    let stride = image.width * 3;
    let columns = columns(image.width, out.width);
    let scale = image.height as f64 / out.height as f64;
    let last = image.height as i64 - 1;
    // Two horizontal rows are kept; neighbouring target rows mostly need the same ones.
    let mut kept = [vec![0i32; out.width * 3], vec![0i32; out.width * 3]];
    let mut kept_rows = [usize::MAX; 2];
    for (y, to) in out.data.chunks_exact_mut(out.width * 3).enumerate() {
        let (first, fraction) = position(y, scale);
        let rows = [first.clamp(0, last) as usize, (first + 1).clamp(0, last) as usize];
        if kept_rows[0] != rows[0] && kept_rows[1] == rows[0] {
            kept.swap(0, 1);
            kept_rows.swap(0, 1);
        }
        for slot in 0..2 {
            if kept_rows[slot] != rows[slot] {
                horizontal(
                    &image.data[rows[slot] * stride..][..stride],
                    &columns,
                    &mut kept[slot],
                );
                kept_rows[slot] = rows[slot];
            }
        }
        let [w0, w1] = weights(fraction).map(i32::from);
        for ((to, &a), &b) in to.iter_mut().zip(&kept[0]).zip(&kept[1]) {
            *to = ((((w0 * (a >> 4)) >> 16) + ((w1 * (b >> 4)) >> 16) + 2) >> 2) as u8;
        }
    }
}

fn horizontal(row: &[u8], columns: &[Column], out: &mut [i32]) {
    for (to, column) in out.chunks_exact_mut(3).zip(columns) {
        let (a, b) = (
            &row[column.at..][..3],
            &row[(column.at + 3).min(row.len() - 3)..][..3],
        );
        let [w0, w1] = column.weights.map(i32::from);
        to[0] = i32::from(a[0]) * w0 + i32::from(b[0]) * w1;
        to[1] = i32::from(a[1]) * w0 + i32::from(b[1]) * w1;
        to[2] = i32::from(a[2]) * w0 + i32::from(b[2]) * w1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    fn picture(name: &str) -> Option<Image> {
        let file = shared(&format!("golden/metrics/face/{name}"))?;
        Some(omni_media::decode_picture(&std::fs::read(file).unwrap()).unwrap())
    }

    #[test]
    fn opencv_gives_the_same_pixels() {
        let Some(source) = picture("resize_src.png") else {
            return;
        };
        for (width, height) in [(224, 224), (112, 112), (180, 120), (500, 333)] {
            let Some(want) = picture(&format!("resize_{width}x{height}.png")) else {
                return;
            };
            let got = resize(&source, width, height);
            let different = got.data.iter().zip(&want.data).filter(|(a, b)| a != b).count();
            let most = got.data.iter().zip(&want.data).map(|(a, b)| a.abs_diff(*b)).max();
            println!(
                "{width}x{height}: {different} of {} bytes differ, at most by {most:?}",
                want.data.len()
            );
            assert!(
                most <= Some(1) && different * 1000 <= want.data.len(),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn a_flat_picture_stays_flat_at_every_size() {
        let flat = Image {
            width: 5,
            height: 7,
            data: vec![201; 5 * 7 * 3],
        };
        for (width, height) in [(1, 1), (3, 9), (10, 14), (64, 2), (5, 7)] {
            assert!(
                resize(&flat, width, height).data.iter().all(|&x| x == 201),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn halving_averages_four_pixels() {
        let image = Image {
            width: 2,
            height: 2,
            data: vec![0, 10, 1, 1, 20, 2, 2, 30, 3, 3, 40, 5],
        };
        assert_eq!(resize(&image, 1, 1).data, [2, 25, 3]);
    }

    #[test]
    fn empty_pictures_do_not_panic() {
        let empty = Image {
            width: 0,
            height: 0,
            data: Vec::new(),
        };
        assert_eq!(resize(&empty, 2, 2).data, [0; 12]);
        assert!(
            resize(
                &Image {
                    width: 1,
                    height: 1,
                    data: vec![1, 2, 3]
                },
                0,
                5
            )
            .data
            .is_empty()
        );
    }
}
