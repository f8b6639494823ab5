//! The three longest loops in AVX2, eight pixels at a time. [`super::x86`] calls them where the processor has it.
#![expect(
    unsafe_code,
    reason = "instructions by name; each block says what makes it sound"
)]

use super::super::resize::Column;
use super::x86::pair;
use super::{Lanes, Pixels};
use std::arch::x86_64::*;

/// Resizes as much of a row as goes by fours and returns how many columns that were.
///
/// Of four columns the first and third are in one register, the second and fourth in another, so that packing puts
/// them in order. (Functions and no closures: a build by parts inlines only those that say so.)
#[target_feature(enable = "avx2")]
pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) -> usize {
    let mut done = 0;
    for (to, four) in out.chunks_exact_mut(4).zip(columns.chunks_exact(4)) {
        let [c0, c1, c2, c3] = [&four[0], &four[1], &four[2], &four[3]];
        // Offsets grow from left to right; the last few pixels of a row are left to the one that reads them with care.
        let most = c0.at.max(c1.at).max(c2.at.max(c3.at));
        if most + 8 > row.len() {
            break;
        }
        // SAFETY: eight bytes from the largest offset belong to the row, so do those from the others.
        let packed = unsafe {
            let even = sums([at(row, c0), at(row, c2)], [c0, c2]);
            let odd = sums([at(row, c1), at(row, c3)], [c1, c3]);
            _mm256_packs_epi32(even, odd)
        };
        // SAFETY: four pixels of four 16-bit lanes are the 32 bytes written.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), packed) };
        done += 4;
    }
    done
}

/// The eight bytes a column starts with.
///
/// # Safety
/// They must belong to the row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn at(row: &[u8], column: &Column) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { _mm_loadl_epi64(row.as_ptr().add(column.at).cast()) }
}

/// The mixed colours of two columns in 32 bits each, without the last four bits.
#[inline]
#[target_feature(enable = "avx2")]
fn sums([p, q]: [__m128i; 2], [v, w]: [&Column; 2]) -> __m256i {
    // Red beside red, green beside green, blue beside blue, each widened to 16 bits.
    let spread = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
    ));
    let pixels = _mm256_shuffle_epi8(_mm256_set_m128i(q, p), spread);
    let shares = _mm256_set_m128i(_mm_set1_epi32(pair(w.weights)), _mm_set1_epi32(pair(v.weights)));
    _mm256_srli_epi32::<4>(_mm256_madd_epi16(pixels, shares))
}

/// Mixes as much of two rows as goes by eights and returns how many pixels that were; `length` are there everywhere.
#[target_feature(enable = "avx2")]
pub(super) fn vertical(
    [a, b]: [&[Lanes]; 2],
    weights: [i16; 2],
    pixels: Pixels,
    planes: &mut [&mut [f32]; 3],
    length: usize,
) -> usize {
    let length = length / 8 * 8;
    let (a, b) = (&a[..length], &b[..length]);
    let weights = [_mm256_set1_epi16(weights[0]), _mm256_set1_epi16(weights[1])];
    let shares = Shares::new(pixels);
    let apart = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    ));
    let in_turn = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for at in (0..length).step_by(8) {
        // Packing takes 0 1 | 2 3 and 4 5 | 6 7 to 0 1 4 5 | 2 3 6 7, as bytes.
        let packed = _mm256_packus_epi16(
            mixed(&a[at..at + 4], &b[at..at + 4], weights),
            mixed(&a[at + 4..at + 8], &b[at + 4..at + 8], weights),
        );
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        // Reds, greens, blues and the unused of 0 to 3 | of 4 to 7; then all reds, all greens ...
        let colours = _mm256_shuffle_epi8(bytes, apart);
        let ordered = _mm256_permutevar8x32_epi32(colours, in_turn);
        shares.store(ordered, planes, at);
    }
    length
}

/// Levels of four pixels out of those above and below.
#[inline]
#[target_feature(enable = "avx2")]
fn mixed(a: &[Lanes], b: &[Lanes], weights: [__m256i; 2]) -> __m256i {
    let (a, b) = (&a[..4], &b[..4]);
    // SAFETY: four pixels of four 16-bit lanes are the 32 bytes read.
    let (a, b) = unsafe {
        (
            _mm256_loadu_si256(a.as_ptr().cast()),
            _mm256_loadu_si256(b.as_ptr().cast()),
        )
    };
    let sum = _mm256_add_epi16(
        _mm256_mulhi_epi16(a, weights[0]),
        _mm256_mulhi_epi16(b, weights[1]),
    );
    _mm256_srai_epi16::<2>(_mm256_add_epi16(sum, _mm256_set1_epi16(2)))
}

/// Averages as many 2x2 pixels of two rows as go by eights and returns how many pixels that gave; `length` would fit.
#[target_feature(enable = "avx2")]
pub(super) fn halve(
    [a, b]: [&[u8]; 2],
    pixels: Pixels,
    planes: &mut [&mut [f32]; 3],
    length: usize,
) -> usize {
    // The last read of eight target pixels ends four bytes behind them.
    let room = a.len().min(b.len()).saturating_sub(4) / 48 * 8;
    let length = (length / 8 * 8).min(room);
    let shares = Shares::new(pixels);
    for at in (0..length).step_by(8) {
        // r0 r1 g0 g1 b0 b1 . . | r4 r5 ..  and  r2 r3 g2 g3 b2 b3 . . | r6 r7 ..
        let first = mean(&a[at * 6..], &b[at * 6..]);
        let second = mean(&a[at * 6 + 12..], &b[at * 6 + 12..]);
        // As bytes: r0 r1 g0 g1 b0 b1 . . r2 r3 .. | r4 r5 .. r6 r7 ..
        let bytes = _mm256_packus_epi16(first, second);
        let colours = _mm256_shuffle_epi8(
            bytes,
            _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, -1, -1, -1, -1,
            )),
        );
        let ordered = _mm256_permutevar8x32_epi32(colours, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        shares.store(ordered, planes, at);
    }
    length
}

/// The means of two target pixels at the start of both rows, and of the two that lie four further on, 16 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn mean(a: &[u8], b: &[u8]) -> __m256i {
    let sum = _mm256_add_epi16(pair_sums(a), pair_sums(b));
    _mm256_srli_epi16::<2>(_mm256_add_epi16(sum, _mm256_set1_epi16(2)))
}

/// Of twelve bytes and of the twelve that start at byte 24: two pixels' reds added, greens, blues, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn pair_sums(row: &[u8]) -> __m256i {
    // Both reds beside each other, both greens, both blues.
    let pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1,
    ));
    let row = &row[..40];
    // SAFETY: bytes 0 to 15 and 24 to 39 are there.
    let both = unsafe {
        _mm256_set_m128i(
            _mm_loadu_si128(row.as_ptr().add(24).cast()),
            _mm_loadu_si128(row.as_ptr().cast()),
        )
    };
    _mm256_maddubs_epi16(_mm256_shuffle_epi8(both, pairs), _mm256_set1_epi8(1))
}

/// What makes a network's number of a byte.
#[derive(Clone, Copy)]
struct Shares {
    mean: __m256,
    scale: __m256,
}

impl Shares {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(pixels: Pixels) -> Shares {
        Shares {
            mean: _mm256_set1_ps(pixels.mean),
            scale: _mm256_set1_ps(pixels.scale),
        }
    }

    /// Writes eight pixels at `at`: `bytes` are eight reds, eight greens, eight blues and eight of no use.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(self, bytes: __m256i, planes: &mut [&mut [f32]; 3], at: usize) {
        let low = _mm256_castsi256_si128(bytes);
        let colours = [
            low,
            _mm_srli_si128::<8>(low),
            _mm256_extracti128_si256::<1>(bytes),
        ];
        for (plane, eight) in planes.iter_mut().zip(colours) {
            let levels = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
            let values = _mm256_mul_ps(_mm256_sub_ps(levels, self.mean), self.scale);
            let to = &mut plane[at..at + 8];
            // SAFETY: eight numbers are the 32 bytes written.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), values) };
        }
    }
}
