//! The inner loops of OpenCV's byte resize and warp, four lanes a pixel: the longest loops of a picture, so on x86-64
//! they name their instructions (the compiler finds neither the pairwise nor the upper-half multiplication by itself).

use super::canvas::Pixels;
use super::resize::Column;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use plain as arch;
#[cfg(target_arch = "x86_64")]
use x86 as arch;

/// Red, green, blue and a lane of no use.
pub(super) type Lanes = [i16; 4];

/// Resizes a row of RGB bytes: 11-bit fixed point without the last four bits.
pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    arch::horizontal(row, columns, out);
}

/// Mixes two rows of [`horizontal`] by 11-bit `weights` into levels of 0..=255, and these into a row of each of the
/// three planes (red, green, blue) as `pixels` says.
pub(super) fn vertical(rows: [&[Lanes]; 2], weights: [i16; 2], pixels: Pixels, planes: [&mut [f32]; 3]) {
    arch::vertical(rows, weights, pixels, planes);
}

/// Averages 2x2 pixels of two rows of RGB bytes (rounded) into a row of each of the three planes (red, green, blue).
pub(super) fn halve(rows: [&[u8]; 2], pixels: Pixels, mut planes: [&mut [f32]; 3]) {
    let done = arch::halve(rows, pixels, &mut planes);
    let [above, below] = rows.map(|row| row[done * 6..].chunks_exact(6));
    for (colour, plane) in planes.into_iter().enumerate() {
        let pairs = above.clone().zip(below.clone());
        for (to, (a, b)) in plane[done..].iter_mut().zip(pairs) {
            let sum = u16::from(a[colour]) + u16::from(a[colour + 3]);
            let sum = sum + u16::from(b[colour]) + u16::from(b[colour + 3]);
            *to = pixels.of(((sum + 2) >> 2) as u8);
        }
    }
}

/// Two pixels of the row above and two of the row below (red first, as from [`two_pixels`]) by 10-bit weights that add
/// up to 1024, rounded: red, green, blue and a byte of no use.
#[inline]
pub(super) fn bilinear(above: u64, below: u64, weights: [i16; 4]) -> [u8; 4] {
    arch::bilinear(above, below, weights)
}

/// The pixel at a byte offset and the next one, red first; zeros behind the end.
#[inline]
pub(super) fn two_pixels(row: &[u8], at: usize) -> u64 {
    match row[at..].first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..row.len() - at].copy_from_slice(&row[at..]);
            u64::from_le_bytes(eight)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::resize::{columns, weights};
    use super::*;

    type Horizontal = fn(&[u8], &[Column], &mut [Lanes]);
    type Vertical = fn([&[Lanes]; 2], [i16; 2], Pixels, [&mut [f32]; 3]);

    fn bytes(count: usize, step: usize) -> Vec<u8> {
        (0..count).map(|i| (i * step * 31 % 256) as u8).collect()
    }

    fn resized(how: Horizontal, row: &[u8], columns: &[Column]) -> Vec<Lanes> {
        let mut out = vec![[0; 4]; columns.len()];
        how(row, columns, &mut out);
        out.iter_mut().for_each(|lanes| lanes[3] = 0);
        out
    }

    #[test]
    fn every_way_to_resize_a_row_is_the_same() {
        for (from, to) in [(1, 1), (2, 7), (97, 31), (640, 333), (31, 97), (9, 8)] {
            let columns = columns(from, to);
            for step in [17, 5] {
                let row = bytes(from * 3, step);
                let want = resized(plain::horizontal, &row, &columns);
                assert_eq!(resized(horizontal, &row, &columns), want, "{from} to {to}");
                #[cfg(target_arch = "x86_64")]
                assert_eq!(resized(x86::narrow, &row, &columns), want, "{from} to {to}, SSE2");
            }
        }
    }

    #[test]
    fn every_way_to_mix_rows_is_the_same() {
        let pixels = Pixels {
            mean: 127.5,
            scale: 1.0 / 128.0,
            bgr: false,
        };
        #[cfg(target_arch = "x86_64")]
        let ways = [vertical, x86::mixed, plain::vertical];
        #[cfg(not(target_arch = "x86_64"))]
        let ways = [vertical, plain::vertical, plain::vertical];
        for to in [1, 3, 4, 8, 9, 15, 333] {
            let columns = columns(97, to);
            let rows = [17, 5].map(|step| resized(plain::horizontal, &bytes(97 * 3, step), &columns));
            for fraction in [0.0, 0.25, 0.4999, 1.0] {
                let [fast, four, slow] = ways.map(|mix: Vertical| {
                    let mut planes = [0, 1, 2].map(|_| vec![9.0; to]);
                    let targets = planes.each_mut().map(Vec::as_mut_slice);
                    mix([&rows[0], &rows[1]], weights(fraction), pixels, targets);
                    planes
                });
                assert_eq!(fast, slow, "{to} columns, {fraction}");
                assert_eq!(four, slow, "{to} columns, {fraction}, by fours");
                assert!(
                    fast.as_flattened_levels(pixels)
                        .all(|level| (0.0..=255.0).contains(&level))
                );
            }
        }
    }

    #[test]
    fn halves_are_rounded_means_of_four_pixels() {
        let pixels = Pixels {
            mean: 127.5,
            scale: 1.0 / 128.0,
            bgr: false,
        };
        for to in [1, 2, 7, 8, 9, 16, 17, 333] {
            let [above, below] = [17, 5].map(|step| bytes(to * 6, step));
            let mut planes = [0, 1, 2].map(|_| vec![9.0; to]);
            halve([&above, &below], pixels, planes.each_mut().map(Vec::as_mut_slice));
            for (colour, plane) in planes.iter().enumerate() {
                for (x, value) in plane.iter().enumerate() {
                    let at = x * 6 + colour;
                    let four = [above[at], above[at + 3], below[at], below[at + 3]].map(f32::from);
                    let level = (four.iter().sum::<f32>() / 4.0 + 0.5).floor();
                    assert_eq!(
                        *value,
                        (level - 127.5) / 128.0,
                        "{to} columns, {x}, colour {colour}"
                    );
                }
            }
        }
    }

    trait Levels {
        fn as_flattened_levels(&self, pixels: Pixels) -> impl Iterator<Item = f32>;
    }

    impl Levels for [Vec<f32>; 3] {
        fn as_flattened_levels(&self, pixels: Pixels) -> impl Iterator<Item = f32> {
            self.iter()
                .flatten()
                .map(move |value| value / pixels.scale + pixels.mean)
        }
    }

    proptest::proptest! {
        #[test]
        fn both_ways_to_mix_four_pixels_are_the_same(above: u64, below: u64, fx in 0i16..32, fy in 0i16..32) {
            let weights = [(32 - fy) * (32 - fx), (32 - fy) * fx, fy * (32 - fx), fy * fx];
            let (got, want) = (bilinear(above, below, weights), plain::bilinear(above, below, weights));
            proptest::prop_assert_eq!(&got[..3], &want[..3]);
        }
    }
}
