//! Rows of f32 held in eight bits a value: a byte of a table that rises by equal factors, and a factor for each 256 values.
//!
//! Moments of AdamW change by a thousandth a step, far less than two codes lie apart. Rounded to the nearest code they would
//! never move, so a value is rounded up or down by chance, right in the mean; the chance is a function of step and place, so that
//! a run that goes on does the same.

use super::draw::mix;

/// Values that share a factor.
pub(super) const BLOCK: usize = 256;

/// What the codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// A sign and 127 sizes, ten to the octave: 2^-12.6 to 1. Smaller values are nothing.
    Signed,
    /// 255 sizes, ten to the octave: 2^-25.4 to 1. Smaller values are the smallest, so that none is divided by nothing.
    Square,
}

/// Sizes that double.
const OCTAVE: f32 = 10.0;

impl Scale {
    /// The number of the largest size.
    fn top(self) -> usize {
        match self {
            Self::Signed => 127,
            Self::Square => 255,
        }
    }

    /// Size of each number, as a share of the block's factor; of 0 it is 0.
    pub(super) fn table(self) -> Vec<f32> {
        let top = self.top();
        let size = |number: usize| match number {
            0 => 0.0,
            _ => ((number as f32 - top as f32) / OCTAVE).exp2(),
        };
        (0..=top).map(size).collect()
    }

    /// The byte of a number and a sign.
    fn byte(self, number: usize, negative: bool) -> u8 {
        match self {
            Self::Signed if negative => 128 - number as u8,
            Self::Signed => 128 + number as u8,
            Self::Square => number as u8,
        }
    }

    #[inline(always)]
    fn value(self, byte: u8, table: &[f32]) -> f32 {
        match self {
            Self::Signed if byte < 128 => -table[usize::from(128 - byte)],
            Self::Signed => table[usize::from(byte - 128)],
            Self::Square => table[usize::from(byte)],
        }
    }

    /// The largest number whose size is at most `share`, which lies in 0..=1.
    #[inline(always)]
    fn below(self, share: f32, table: &[f32]) -> usize {
        let guess = self.top() as f32 + OCTAVE * share.max(f32::MIN_POSITIVE).log2();
        let mut number = guess.max(0.0) as usize;
        number = number.min(self.top());
        while number > 0 && table[number] > share {
            number -= 1;
        }
        while number < self.top() && table[number + 1] <= share {
            number += 1;
        }
        number
    }

    /// The number for `share`: one of its two neighbours, the upper where `chance` (0..1) lies below the share of the way that
    /// it has gone.
    #[inline(always)]
    fn number(self, share: f32, chance: f32, table: &[f32]) -> usize {
        let low = self.below(share, table);
        if low == self.top() || share == 0.0 {
            return low;
        }
        if self == Self::Square && low == 0 {
            return 1;
        }
        let gone = (share - table[low]) / (table[low + 1] - table[low]);
        low + usize::from(chance < gone)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Narrow {
    pub(super) scale: Scale,
    pub(super) codes: Vec<u8>,
    /// The largest value of each block.
    pub(super) factors: Vec<f32>,
}

impl Narrow {
    /// `count` zeros.
    pub(super) fn zeros(scale: Scale, count: usize) -> Self {
        Self {
            scale,
            codes: vec![scale.byte(0, false); count],
            factors: vec![0.0; count.div_ceil(BLOCK)],
        }
    }

    /// A row that [`Narrow::wide`] gave comes back as it was; any other row is rounded to the nearest codes.
    pub(super) fn of(scale: Scale, row: &[f32]) -> Self {
        let mut all = Self::zeros(scale, row.len());
        let table = scale.table();
        for ((row, codes), factor) in row
            .chunks(BLOCK)
            .zip(all.codes.chunks_mut(BLOCK))
            .zip(&mut all.factors)
        {
            *factor = encode(scale, row, codes, &table, |_| 0.5);
        }
        all
    }

    /// Its values.
    pub(super) fn wide(&self) -> Vec<f32> {
        let table = self.scale.table();
        let mut row = vec![0.0; self.codes.len()];
        for ((row, codes), factor) in row
            .chunks_mut(BLOCK)
            .zip(self.codes.chunks(BLOCK))
            .zip(&self.factors)
        {
            decode(self.scale, codes, *factor, &table, row);
        }
        row
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + 4 * self.factors.len()
    }
}

/// The values of a block.
#[inline(always)]
pub(super) fn decode(scale: Scale, codes: &[u8], factor: f32, table: &[f32], row: &mut [f32]) {
    for (value, code) in row.iter_mut().zip(codes) {
        *value = factor * scale.value(*code, table);
    }
}

/// Writes a block's codes and gives its factor; `chance` says for each place how to round.
#[inline(always)]
pub(super) fn encode(
    scale: Scale,
    row: &[f32],
    codes: &mut [u8],
    table: &[f32],
    chance: impl Fn(usize) -> f32,
) -> f32 {
    let factor = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let inverse = if factor > 0.0 { 1.0 / factor } else { 0.0 };
    for (place, (value, code)) in row.iter().zip(codes).enumerate() {
        let share = (value.abs() * inverse).min(1.0);
        *code = scale.byte(scale.number(share, chance(place), table), *value < 0.0);
    }
    factor
}

/// Chances of the places of a block in a step, each 0..1.
#[inline(always)]
pub(super) fn chances(step: u64, block: u64) -> impl Fn(usize) -> f32 {
    let seed = mix(step ^ mix(block));
    move |place| {
        let bits = mix(seed.wrapping_add(place as u64)) >> 40;
        bits as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(count: usize) -> Vec<f32> {
        (0..count)
            .map(|place| {
                let size = (-(place as f32 % 37.0) / 4.0).exp();
                if place % 3 == 0 { -size } else { size }
            })
            .collect()
    }

    #[test]
    fn rows_come_back_near_and_those_that_came_back_come_back_exactly() {
        for (scale, off) in [(Scale::Signed, 0.036), (Scale::Square, 0.036)] {
            let row: Vec<f32> = match scale {
                Scale::Signed => row(1000),
                Scale::Square => row(1000).iter().map(|value| value * value).collect(),
            };
            let narrow = Narrow::of(scale, &row);
            let wide = narrow.wide();
            for (value, back) in row.iter().zip(&wide) {
                if value.abs() > 2e-4 {
                    assert!((value / back - 1.0).abs() < off, "{value} {back}");
                }
            }
            assert_eq!(Narrow::of(scale, &wide), narrow);
            assert_eq!(narrow.bytes(), 1000 + 4 * 4);
        }
        assert!(
            Narrow::zeros(Scale::Signed, 300)
                .wide()
                .iter()
                .all(|value| *value == 0.0)
        );
    }

    #[test]
    fn rounding_by_chance_is_right_in_the_mean() {
        let (scale, table) = (Scale::Signed, Scale::Signed.table());
        let row = [1.0, 0.707, -0.3001, 0.0123];
        let mut sums = [0.0f64; 4];
        let rounds = 20_000;
        for step in 0..rounds {
            let (mut codes, mut back) = ([0u8; 4], [0.0f32; 4]);
            let factor = encode(scale, &row, &mut codes, &table, chances(step, 9));
            decode(scale, &codes, factor, &table, &mut back);
            sums.iter_mut()
                .zip(back)
                .for_each(|(sum, value)| *sum += f64::from(value));
        }
        for (sum, value) in sums.iter().zip(row) {
            let mean = sum / rounds as f64;
            assert!((mean / f64::from(value) - 1.0).abs() < 2e-3, "{mean} {value}");
        }
    }

    #[test]
    fn a_square_that_is_there_is_never_nothing() {
        let narrow = Narrow::of(Scale::Square, &[1.0, 1e-20, 0.0]);
        let back = narrow.wide();
        assert!(back[0] == 1.0 && back[1] > 0.0 && back[2] == 0.0, "{back:?}");
    }
}
