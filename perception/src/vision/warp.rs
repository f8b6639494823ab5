//! Similarity by points and OpenCV's `warpAffine` on bytes (OpenCV 4.10, `imgwarp.cpp`; insightface
//! `face_align.py`). OpenCV 4.12 has another, floating-point path and differs by a few levels at edges.

use omni_media::Image;

use super::lanes::{bilinear, two_pixels};

/// A 2x3 affine matrix, rows first: source pixel to target pixel.
pub type Affine = [[f64; 3]; 2];

/// Where the five points of an aligned 112x112 face lie (ArcFace).
pub const TEMPLATE_112: [[f32; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];

/// The least-squares similarity (rotation, one scale, shift; no mirror) from `from` to `to`, in f64:
/// what Umeyama's method gives in the plane. `None` when `from` has no extent or a value is not finite.
pub fn similarity(from: &[[f32; 2]; 5], to: &[[f32; 2]; 5]) -> Option<Affine> {
    let centre =
        |points: &[[f32; 2]; 5], axis: usize| points.iter().map(|p| f64::from(p[axis])).sum::<f64>() / 5.0;
    let (fx, fy, tx, ty) = (centre(from, 0), centre(from, 1), centre(to, 0), centre(to, 1));
    let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
    for (f, t) in from.iter().zip(to) {
        let (x, y) = (f64::from(f[0]) - fx, f64::from(f[1]) - fy);
        let (u, v) = (f64::from(t[0]) - tx, f64::from(t[1]) - ty);
        along += x * u + y * v;
        across += x * v - y * u;
        spread += x * x + y * y;
    }
    let (a, b) = (along / spread, across / spread);
    let matrix = [[a, -b, tx - a * fx + b * fy], [b, a, ty - b * fx - a * fy]];
    let sound = spread > 1e-9 && matrix.iter().flatten().all(|x| x.is_finite()) && a * a + b * b > 1e-12;
    sound.then_some(matrix)
}

/// The template for a square face picture of `size` pixels (a multiple of 112 in the reference code).
pub fn template(size: usize) -> [[f32; 2]; 5] {
    let ratio = size as f32 / 112.0;
    TEMPLATE_112.map(|[x, y]| [x * ratio, y * ratio])
}

/// The face aligned by its five points into a `size` x `size` picture; black outside the source.
/// `None` as for [`similarity`].
pub fn norm_crop(image: &Image, points: &[[f32; 2]; 5], size: usize) -> Option<Image> {
    Some(warp_affine(
        image,
        &similarity(points, &template(size))?,
        size,
        size,
    ))
}

/// `cv2.warpAffine(image, matrix, (width, height))`: bilinear with 5 fraction bits, zero outside.
pub fn warp_affine(image: &Image, matrix: &Affine, width: usize, height: usize) -> Image {
    let mut data = vec![0; width * height * 3];
    warp_window(image, matrix, [0, height, 0, width], |x, y, pixel| {
        let at = (y * width + x) * 3;
        data[at..at + 3].copy_from_slice(&pixel);
    });
    Image { width, height, data }
}

/// The pixels of [`warp_affine`] in rows `top..bottom` and columns `left..right` alone, each handed to `put` with its
/// column and row.
#[inline]
pub(super) fn warp_window(
    image: &Image,
    matrix: &Affine,
    [top, bottom, left, right]: [usize; 4],
    mut put: impl FnMut(usize, usize, [u8; 3]),
) {
    let [[m0, m1, m2], [m3, m4, m5]] = inverse(matrix);
    let fixed = |value: f64| (value * 1024.0).round_ties_even() as i32;
    let along: Vec<(i32, i32)> = (left..right)
        .map(|x| (fixed(m0 * x as f64), fixed(m3 * x as f64)))
        .collect();
    for y in top..bottom {
        let x0 = fixed(m1 * y as f64 + m2).saturating_add(16);
        let y0 = fixed(m4 * y as f64 + m5).saturating_add(16);
        for (x, &(dx, dy)) in (left..right).zip(&along) {
            let source = (x0.saturating_add(dx) >> 5, y0.saturating_add(dy) >> 5);
            put(x, y, sample(image, source));
        }
    }
}

/// One target pixel from source coordinates with 5 fraction bits.
#[inline]
fn sample(image: &Image, (x, y): (i32, i32)) -> [u8; 3] {
    let (fx, fy) = ((x & 31) as u32, (y & 31) as u32);
    let (x, y) = (
        (x >> 5).clamp(-32768, 32767) as isize,
        (y >> 5).clamp(-32768, 32767) as isize,
    );
    let weights = [(32 - fy) * (32 - fx), (32 - fy) * fx, fy * (32 - fx), fy * fx];
    let (width, height) = (image.width as isize, image.height as isize);
    if x >= 0 && y >= 0 && x + 1 < width && y + 1 < height {
        let at = (y * width + x) as usize * 3;
        let (above, below) = (
            two_pixels(&image.data, at),
            two_pixels(&image.data, at + image.width * 3),
        );
        let [r, g, b, _] = bilinear(above, below, weights.map(|weight| weight as i16));
        return [r, g, b];
    }
    beside_the_edge(image, (x, y), weights)
}

/// The same where some of the four source pixels lie outside.
#[cold]
fn beside_the_edge(image: &Image, (x, y): (isize, isize), weights: [u32; 4]) -> [u8; 3] {
    let (width, height) = (image.width as isize, image.height as isize);
    let mut sums = [0u32; 3];
    for (corner, weight) in weights.into_iter().enumerate() {
        let (x, y) = (x + (corner & 1) as isize, y + (corner >> 1) as isize);
        if x >= 0 && y >= 0 && x < width && y < height {
            let at = (y * width + x) as usize * 3;
            for (sum, &value) in sums.iter_mut().zip(&image.data[at..at + 3]) {
                *sum += u32::from(value) * weight;
            }
        }
    }
    sums.map(|sum| ((sum * 32 + 16384) >> 15) as u8)
}

/// Inverts in OpenCV's own order of operations, so that rounding agrees.
fn inverse(matrix: &Affine) -> Affine {
    let [[m0, m1, m2], [m3, m4, m5]] = *matrix;
    let determinant = m0 * m4 - m1 * m3;
    let d = if determinant == 0.0 {
        0.0
    } else {
        1.0 / determinant
    };
    let (a, b, c, e) = (m4 * d, m1 * -d, m3 * -d, m0 * d);
    [[a, b, -a * m2 - b * m5], [c, e, -c * m2 - e * m5]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    #[test]
    fn opencv_gives_the_same_matrices_and_pixels() {
        let Some(folder) = shared("golden/metrics/face") else {
            return;
        };
        let read =
            |name: &str| omni_media::decode_picture(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        let text = std::fs::read_to_string(folder.join("norm_crop.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let frame = read("frame.png");
        for case in golden["cases"].as_array().unwrap() {
            let points: [[f32; 2]; 5] = serde_json::from_value(case["landmarks"].clone()).unwrap();
            let want: Affine = serde_json::from_value(case["matrix_2x3"].clone()).unwrap();
            let got = similarity(&points, &TEMPLATE_112).unwrap();
            for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                assert!((got - want).abs() < 1e-4, "{got} {want}");
            }
            for (key, size) in [("file", 112), ("file_224", 224)] {
                let Some(name) = case[key].as_str() else { continue };
                let (golden, ratio) = (read(name), size as f64 / 112.0);
                let scaled = want.map(|row| row.map(|value| value * ratio));
                let differing = |crop: &Image| {
                    let pairs = crop.data.iter().zip(&golden.data).map(|(a, b)| a.abs_diff(*b));
                    (pairs.clone().filter(|d| *d > 0).count(), pairs.max())
                };
                let exact = differing(&warp_affine(&frame, &scaled, size, size));
                assert_eq!(exact, (0, Some(0)), "{name} from the reference's matrix");
                // The reference sums its matrix in f32 and by another decomposition: a few samples fall into the
                // neighbouring 1/32 pixel.
                let own = differing(&norm_crop(&frame, &points, size).unwrap());
                println!("{name}: {own:?} from our own matrix");
                assert!(
                    own.0 * 1000 <= golden.data.len() && own.1 <= Some(4),
                    "{name}: {own:?}"
                );
            }
        }
    }

    #[test]
    fn the_identity_copies_and_a_shift_leaves_black() {
        let image = Image {
            width: 2,
            height: 2,
            data: (1..=12).collect(),
        };
        assert_eq!(
            warp_affine(&image, &[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 2, 2),
            image
        );
        let moved = warp_affine(&image, &[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], 2, 2);
        assert_eq!(moved.data, [0, 0, 0, 1, 2, 3, 0, 0, 0, 7, 8, 9]);
    }

    #[test]
    fn points_without_extent_or_reason_give_nothing() {
        assert!(similarity(&[[5.0, 5.0]; 5], &TEMPLATE_112).is_none());
        assert!(similarity(&[[f32::NAN, 5.0]; 5], &TEMPLATE_112).is_none());
        let huge = TEMPLATE_112.map(|[x, y]| [x * 1e30, y * 1e30]);
        let image = Image {
            width: 1,
            height: 1,
            data: vec![9; 3],
        };
        let _ = norm_crop(&image, &huge, 112);
        let tiny = TEMPLATE_112.map(|[x, y]| [x * 1e-4 - 1e6, y * 1e-4]);
        let _ = norm_crop(&image, &tiny, 112);
    }
}
