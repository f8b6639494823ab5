//! Means with their intervals: percentile bootstrap over cases, seeded, paired between methods.

use serde::Serialize;

/// Resamples of an interval.
pub const RESAMPLES: usize = 2000;
/// The seed of all intervals, unless somebody asks for another.
pub const SEED: u64 = 7;
/// Share of the resamples inside an interval.
const LEVEL: f64 = 0.95;

/// A mean over cases, with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean of the values that are there.
    pub value: f64,
    /// Lower end of the 95 % interval; equal to the mean for a single value.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Cases that have a value.
    pub count: usize,
    /// All cases.
    pub of: usize,
}

/// The mean of the values that are there and its interval; `None` when there is none. Order matters to the last bit,
/// so give them in the order of the case names.
pub fn mean(values: &[Option<f64>], seed: u64) -> Option<Mean> {
    let there: Vec<f64> = values.iter().copied().flatten().collect();
    let value = average(&there)?;
    let (low, high) = interval(&there, seed);
    Some(Mean {
        value,
        low,
        high,
        count: there.len(),
        of: values.len(),
    })
}

/// The mean difference `b - a` over the cases that both have; resampled by case, so that what both find hard does not
/// widen the interval. `None` when they share none; lists are by case, in one order.
pub fn paired(a: &[Option<f64>], b: &[Option<f64>], seed: u64) -> Option<Mean> {
    let differences: Vec<Option<f64>> = a.iter().zip(b).map(|(a, b)| Some((*b)? - (*a)?)).collect();
    mean(&differences, seed)
}

/// Summed in order, in f64.
fn average(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle 95 % of the means of resamples drawn with replacement.
fn interval(values: &[f64], seed: u64) -> (f64, f64) {
    let mut random = Random(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| values[random.below(values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    (quantile(&means, tail), quantile(&means, 1.0 - tail))
}

/// Linear between neighbours, as NumPy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// SplitMix64: the same draws on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `count`; the bias of the multiplication is below 2^-64 times `count`.
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_counted_and_not_averaged() {
        let found = mean(&[Some(1.0), None, Some(3.0)], SEED).unwrap();
        assert_eq!((found.value, found.count, found.of), (2.0, 2, 3));
        assert!(mean(&[None, None], SEED).is_none() && mean(&[], SEED).is_none());
        let one = mean(&[Some(0.5)], SEED).unwrap();
        assert_eq!((one.low, one.high), (0.5, 0.5));
    }

    #[test]
    fn an_interval_is_as_wide_as_theory_says() {
        // Mean of 400 values of deviation 1/sqrt(12): standard error 0.01443, so about +-0.0283.
        let mut random = Random(1);
        let values: Vec<Option<f64>> = (0..400)
            .map(|_| Some(random.next() as f64 / u64::MAX as f64))
            .collect();
        let found = mean(&values, SEED).unwrap();
        assert!((found.high - found.low - 0.0566).abs() < 0.005, "{found:?}");
        assert!(found.low < found.value && found.value < found.high);
        assert_eq!(
            found,
            mean(&values, SEED).unwrap(),
            "the same seed gives the same interval"
        );
        assert_ne!(found.low, mean(&values, 8).unwrap().low);
    }

    #[test]
    fn pairs_see_a_small_difference_that_means_do_not() {
        let easy: Vec<Option<f64>> = (0..50).map(|i| Some(f64::from(i))).collect();
        let better: Vec<Option<f64>> = easy.iter().map(|x| x.map(|x| x + 0.5)).collect();
        let found = paired(&easy, &better, SEED).unwrap();
        assert_eq!((found.value, found.low, found.high), (0.5, 0.5, 0.5));
        let (a, b) = (mean(&easy, SEED).unwrap(), mean(&better, SEED).unwrap());
        assert!(a.high > b.low, "unpaired intervals overlap");
        let partly = paired(&[Some(1.0), None], &[Some(2.0), Some(5.0)], SEED).unwrap();
        assert_eq!((partly.count, partly.of), (1, 2));
    }

    #[test]
    fn draws_are_the_published_ones() {
        // The first values of SplitMix64 for seed 1234567 (Vigna's test vector).
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
