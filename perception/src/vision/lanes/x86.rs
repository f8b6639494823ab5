//! The loops in SSE2, which every x86-64 processor has; what goes by eights in AVX2 where the processor has that.
#![expect(
    unsafe_code,
    reason = "instructions by name; each block says what makes it sound"
)]

use super::super::resize::Column;
use super::{Lanes, Pixels, avx2, two_pixels};
use std::arch::x86_64::*;

pub(super) fn horizontal(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    let mut done = 0;
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        done = unsafe { avx2::horizontal(row, columns, out) };
    }
    narrow(row, &columns[done..], &mut out[done..]);
}

/// One column at a time.
pub(super) fn narrow(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { horizontal_sse2(row, columns, out) }
}

#[target_feature(enable = "sse2")]
fn horizontal_sse2(row: &[u8], columns: &[Column], out: &mut [Lanes]) {
    for (to, column) in out.iter_mut().zip(columns) {
        let weights = _mm_set1_epi32(pair(column.weights));
        let sums = _mm_srli_epi32::<4>(_mm_madd_epi16(pairs(two_pixels(row, column.at)), weights));
        *to = lanes(_mm_cvtsi128_si64(_mm_packs_epi32(sums, sums)));
    }
}

pub(super) fn vertical(rows: [&[Lanes]; 2], weights: [i16; 2], pixels: Pixels, mut planes: [&mut [f32]; 3]) {
    let mut done = 0;
    if is_x86_feature_detected!("avx2") {
        let length = planes
            .iter()
            .fold(rows[0].len().min(rows[1].len()), |least, plane| {
                least.min(plane.len())
            });
        // SAFETY: the processor has AVX2.
        done = unsafe { avx2::vertical(rows, weights, pixels, &mut planes, length) };
    }
    mixed(
        rows.map(|row| &row[done..]),
        weights,
        pixels,
        planes.map(|plane| &mut plane[done..]),
    );
}

/// Four pixels at a time.
pub(super) fn mixed(rows: [&[Lanes]; 2], weights: [i16; 2], pixels: Pixels, planes: [&mut [f32]; 3]) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { vertical_sse2(rows, weights, pixels, planes) }
}

/// Averages what goes by eights, and returns how many pixels that gave.
pub(super) fn halve(rows: [&[u8]; 2], pixels: Pixels, planes: &mut [&mut [f32]; 3]) -> usize {
    if !is_x86_feature_detected!("avx2") {
        return 0;
    }
    let fits = rows[0].len().min(rows[1].len()) / 6;
    let length = planes.iter().fold(fits, |least, plane| least.min(plane.len()));
    // SAFETY: the processor has AVX2.
    unsafe { avx2::halve(rows, pixels, planes, length) }
}

#[target_feature(enable = "sse2")]
fn vertical_sse2([a, b]: [&[Lanes]; 2], weights: [i16; 2], pixels: Pixels, planes: [&mut [f32]; 3]) {
    let length = planes
        .iter()
        .fold(a.len().min(b.len()), |least, plane| least.min(plane.len()));
    let [reds, greens, blues] = planes.map(|plane| &mut plane[..length]);
    let mix = Mix::new(weights, pixels);
    for at in (0..length / 4).map(|four| four * 4) {
        let colours = mix.four(&a[at..at + 4], &b[at..at + 4]);
        for (plane, values) in [&mut *reds, &mut *greens, &mut *blues].into_iter().zip(colours) {
            let to = &mut plane[at..at + 4];
            // SAFETY: four numbers are the 16 bytes written.
            unsafe { _mm_storeu_ps(to.as_mut_ptr(), values) };
        }
    }
    for at in length / 4 * 4..length {
        let colours = mix.four(&[a[at]; 4], &[b[at]; 4]);
        for (plane, values) in [&mut *reds, &mut *greens, &mut *blues].into_iter().zip(colours) {
            plane[at] = _mm_cvtss_f32(values);
        }
    }
}

/// What all pixels of a row share.
#[derive(Clone, Copy)]
struct Mix {
    weights: [__m128i; 2],
    mean: __m128,
    scale: __m128,
}

impl Mix {
    #[inline]
    #[target_feature(enable = "sse2")]
    fn new([a, b]: [i16; 2], pixels: Pixels) -> Mix {
        Mix {
            weights: [_mm_set1_epi16(a), _mm_set1_epi16(b)],
            mean: _mm_set1_ps(pixels.mean),
            scale: _mm_set1_ps(pixels.scale),
        }
    }

    /// Four reds, four greens and four blues.
    ///
    /// `a` and `b` must have four pixels each.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn four(self, a: &[Lanes], b: &[Lanes]) -> [__m128; 3] {
        let [low, high] = [0, 2].map(|at| self.two(&a[at..at + 2], &b[at..at + 2]));
        // r0 r2 g0 g2 b0 b2 . .  and  r1 r3 g1 g3 b1 b3 . .
        let (even, odd) = (_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high));
        let (red_green, blue) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
        let zero = _mm_setzero_si128();
        [
            _mm_unpacklo_epi16(red_green, zero),
            _mm_unpackhi_epi16(red_green, zero),
            _mm_unpacklo_epi16(blue, zero),
        ]
        .map(|levels| _mm_mul_ps(_mm_sub_ps(_mm_cvtepi32_ps(levels), self.mean), self.scale))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn two(self, a: &[Lanes], b: &[Lanes]) -> __m128i {
        let [a, b] = [a, b].map(|two| _mm_set_epi64x(word(two[1]), word(two[0])));
        let (a, b) = (
            _mm_mulhi_epi16(a, self.weights[0]),
            _mm_mulhi_epi16(b, self.weights[1]),
        );
        let sum = _mm_add_epi16(_mm_add_epi16(a, b), _mm_set1_epi16(2));
        _mm_srai_epi16::<2>(sum)
    }
}

#[inline]
pub(super) fn bilinear(above: u64, below: u64, weights: [i16; 4]) -> [u8; 4] {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { bilinear_sse2(above, below, weights) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn bilinear_sse2(above: u64, below: u64, [w0, w1, w2, w3]: [i16; 4]) -> [u8; 4] {
    let above = _mm_madd_epi16(pairs(above), _mm_set1_epi32(pair([w0, w1])));
    let below = _mm_madd_epi16(pairs(below), _mm_set1_epi32(pair([w2, w3])));
    let sum = _mm_add_epi32(_mm_add_epi32(above, below), _mm_set1_epi32(512));
    let words = _mm_packs_epi32(_mm_srli_epi32::<10>(sum), _mm_setzero_si128());
    _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_le_bytes()
}

/// Red beside red, green beside green, blue beside blue, each widened to 16 bits.
#[inline]
#[target_feature(enable = "sse2")]
fn pairs(two_pixels: u64) -> __m128i {
    let both = _mm_cvtsi64_si128(two_pixels.cast_signed());
    _mm_unpacklo_epi8(
        _mm_unpacklo_epi8(both, _mm_srli_si128::<3>(both)),
        _mm_setzero_si128(),
    )
}

/// Two weights in one lane, the first below.
#[inline]
pub(super) fn pair([low, high]: [i16; 2]) -> i32 {
    i32::from(low) & 0xffff | i32::from(high) << 16
}

#[inline]
fn word(lanes: Lanes) -> i64 {
    (0..4).fold(0, |word, k| {
        word | i64::from(lanes[k].cast_unsigned()) << (16 * k)
    })
}

#[inline]
fn lanes(word: i64) -> Lanes {
    [
        word as i16,
        (word >> 16) as i16,
        (word >> 32) as i16,
        (word >> 48) as i16,
    ]
}
