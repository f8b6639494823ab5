//! The two inner loops of OpenCV's byte resize, four lanes a pixel: the longest loops of a picture, so on x86-64 they
//! name their instructions (the compiler finds neither the pairwise nor the upper-half multiplication by itself).

use super::resize::Column;

/// Red, green, blue and a lane of no use.
pub(super) type Lanes = [i16; 4];

/// Resizes a row of RGB bytes: 11-bit fixed point without the last four bits.
pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    arch::horizontal(row, columns, out);
}

/// Mixes two rows of [`horizontal`] by 11-bit `weights` into bytes, 0..=255.
pub(super) fn vertical(a: &[Lanes], b: &[Lanes], weights: [i16; 2], out: &mut [Lanes]) {
    arch::vertical(a, b, weights, out);
}

/// The pixel at a byte offset and the next one, red first; zeros behind the end.
#[inline]
fn two_pixels(row: &[u8], at: usize) -> u64 {
    match row[at..].first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..row.len() - at].copy_from_slice(&row[at..]);
            u64::from_le_bytes(eight)
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Column, Lanes, two_pixels};
    use std::arch::x86_64::{
        _mm_add_epi16, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_madd_epi16, _mm_mulhi_epi16,
        _mm_packs_epi32, _mm_set1_epi16, _mm_set1_epi32, _mm_setzero_si128, _mm_srai_epi16, _mm_srli_epi32,
        _mm_srli_si128, _mm_unpacklo_epi8,
    };

    #[expect(
        unsafe_code,
        reason = "SSE2 is part of x86-64: there is no such processor without"
    )]
    pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
        // SAFETY: SSE2, as above; the function is safe otherwise.
        unsafe { horizontal_sse2(row, columns, out) }
    }

    #[expect(
        unsafe_code,
        reason = "SSE2 is part of x86-64: there is no such processor without"
    )]
    pub(super) fn vertical(a: &[Lanes], b: &[Lanes], weights: [i16; 2], out: &mut [Lanes]) {
        // SAFETY: SSE2, as above; the function is safe otherwise.
        unsafe { vertical_sse2(a, b, weights, out) }
    }

    #[target_feature(enable = "sse2")]
    fn horizontal_sse2(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
        let zero = _mm_setzero_si128();
        for (to, column) in out.iter_mut().zip(columns) {
            let both = _mm_cvtsi64_si128(two_pixels(row, column.at).cast_signed());
            let pairs = _mm_unpacklo_epi8(_mm_unpacklo_epi8(both, _mm_srli_si128::<3>(both)), zero);
            let (wa, wb) = (i32::from(column.weights[0]), i32::from(column.weights[1]));
            let sums = _mm_srli_epi32::<4>(_mm_madd_epi16(pairs, _mm_set1_epi32(wa | wb << 16)));
            *to = lanes(_mm_cvtsi128_si64(_mm_packs_epi32(sums, sums)));
        }
    }

    #[target_feature(enable = "sse2")]
    fn vertical_sse2(a: &[Lanes], b: &[Lanes], weights: [i16; 2], out: &mut [Lanes]) {
        let (wa, wb) = (_mm_set1_epi16(weights[0]), _mm_set1_epi16(weights[1]));
        let two = _mm_set1_epi16(2);
        for ((to, a), b) in out.iter_mut().zip(a).zip(b) {
            let a = _mm_mulhi_epi16(_mm_cvtsi64_si128(word(*a)), wa);
            let b = _mm_mulhi_epi16(_mm_cvtsi64_si128(word(*b)), wb);
            let sum = _mm_add_epi16(_mm_add_epi16(a, b), two);
            *to = lanes(_mm_cvtsi128_si64(_mm_srai_epi16::<2>(sum)));
        }
    }

    fn word(lanes: Lanes) -> i64 {
        (0..4).fold(0, |word, k| {
            word | i64::from(lanes[k].cast_unsigned()) << (16 * k)
        })
    }

    fn lanes(word: i64) -> Lanes {
        [
            word as i16,
            (word >> 16) as i16,
            (word >> 32) as i16,
            (word >> 48) as i16,
        ]
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain {
    use super::{Column, Lanes, two_pixels};

    pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
        for (to, column) in out.iter_mut().zip(columns) {
            let pixels = two_pixels(row, column.at).to_le_bytes().map(i32::from);
            let [wa, wb] = column.weights.map(i32::from);
            *to = std::array::from_fn(|k| ((pixels[k] * wa + pixels[k + 3] * wb) >> 4) as i16);
        }
    }

    pub(super) fn vertical(a: &[Lanes], b: &[Lanes], weights: [i16; 2], out: &mut [Lanes]) {
        let high = |weight: i16, value: i16| (i32::from(weight) * i32::from(value)) >> 16;
        for ((to, a), b) in out.iter_mut().zip(a).zip(b) {
            *to =
                std::array::from_fn(|k| ((high(weights[0], a[k]) + high(weights[1], b[k]) + 2) >> 2) as i16);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use plain as arch;

#[cfg(test)]
mod tests {
    use super::super::resize::{columns, weights};
    use super::*;

    #[test]
    fn both_ways_are_the_same() {
        for (from, to) in [(1, 1), (2, 7), (97, 31), (640, 333), (31, 97)] {
            let rows = [17u32, 5].map(|step| {
                (0..from * 3)
                    .map(|i| (i as u32 * step * 31 % 256) as u8)
                    .collect::<Vec<_>>()
            });
            let columns = columns(from, to);
            let run = |resize: fn(&[u8], &[Column], &mut [Lanes])| {
                rows.each_ref().map(|row| {
                    let mut out = vec![[0; 4]; to];
                    resize(row, &columns, &mut out);
                    out.iter_mut().for_each(|lanes| lanes[3] = 0);
                    out
                })
            };
            let (got, want) = (run(horizontal), run(plain::horizontal));
            assert_eq!(got, want, "{from} to {to}");
            for fraction in [0.0, 0.25, 0.4999, 1.0] {
                let (mut fast, mut slow) = (vec![[0; 4]; to], vec![[0; 4]; to]);
                vertical(&got[0], &got[1], weights(fraction), &mut fast);
                plain::vertical(&got[0], &got[1], weights(fraction), &mut slow);
                assert_eq!(fast, slow);
                assert!(fast.as_flattened().iter().all(|value| (0..=255).contains(value)));
            }
        }
    }
}
