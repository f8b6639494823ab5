//! Which shift of the sound fits the lips best, and by how much (joonson/syncnet_python `SyncNetInstance.py`).

use super::crop::median_filter;

/// Added to every difference before its length is taken (PyTorch's `pairwise_distance`).
const EPSILON: f32 = 1e-6;
/// Windows over which the confidence of a moment is smoothed.
const SMOOTH: usize = 9;

/// What a comparison of all shifts gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Offsets {
    /// Distance of lips and sound: `[windows, 2 * shift + 1]`; column `k` is sound `k - shift` windows later.
    pub distances: Vec<f32>,
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// The best shift, frames of 1/25 s; positive when the sound lies before the pictures.
    pub offset: i64,
    /// Sync-D: the least mean distance.
    pub distance: f32,
    /// Sync-C: the median of the mean distances less the least.
    pub confidence: f32,
}

/// Compares vectors of `width` numbers, one row per window, at shifts of up to `shift` windows either way.
///
/// Sound beyond the ends counts as zero vectors, as in the reference. `None` without windows or when the two do not
/// have equally many rows.
pub fn compare(lips: &[f32], sound: &[f32], width: usize, shift: usize) -> Option<Offsets> {
    if width == 0 || lips.is_empty() || lips.len() != sound.len() || !lips.len().is_multiple_of(width) {
        return None;
    }
    let columns = 2 * shift + 1;
    let windows = lips.len() / width;
    let silence = vec![0.0; width];
    let heard = |i: usize| match i.checked_sub(shift) {
        Some(i) if i < windows => &sound[i * width..][..width],
        _ => &silence,
    };
    let mut distances = Vec::with_capacity(windows * columns);
    for (i, lip) in lips.chunks_exact(width).enumerate() {
        distances.extend((0..columns).map(|k| distance(lip, heard(i + k))));
    }
    let mean: Vec<f32> = (0..columns)
        .map(|k| {
            let column = distances.iter().skip(k).step_by(columns);
            (column.map(|d| f64::from(*d)).sum::<f64>() / windows as f64) as f32
        })
        .collect();
    let best = (0..columns).fold(0, |best, k| if mean[k] < mean[best] { k } else { best });
    Some(Offsets {
        offset: shift as i64 - best as i64,
        distance: mean[best],
        confidence: median(&mean) - mean[best],
        distances,
        mean,
    })
}

impl Offsets {
    /// The confidence of each window at the best shift, smoothed over nine of them.
    pub fn by_window(&self) -> Vec<f64> {
        let columns = self.mean.len();
        let half = columns as i64 / 2;
        let best = (half - self.offset).clamp(0, 2 * half) as usize;
        let middle = median(&self.mean);
        let column = self.distances.iter().skip(best).step_by(columns.max(1));
        let values: Vec<f64> = column.map(|d| f64::from(middle - d)).collect();
        median_filter(&values, SMOOTH)
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let square = |(x, y): (&f32, &f32)| {
        let d = f64::from(x - y + EPSILON);
        d * d
    };
    a.iter().zip(b).map(square).sum::<f64>().sqrt() as f32
}

/// The middle value; the number of shifts is odd.
fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors that differ from row to row; row `i` of the sound is row `i + late` of the lips.
    fn rows(count: usize, late: i64) -> Vec<f32> {
        let row = |i: i64| (0..4).map(move |k| ((i * i * 3 + k * 5) as f32 * 0.37).sin());
        (0..count as i64).flat_map(|i| row(i + late)).collect()
    }

    #[test]
    fn a_shift_is_found_with_its_sign() {
        for late in [-3, 0, 2] {
            let found = compare(&rows(40, 0), &rows(40, late), 4, 15).unwrap();
            assert_eq!(found.offset, late, "sound {late}");
            assert!(found.confidence > 0.3 && found.distance < 0.8, "{found:?}");
            assert_eq!(found.by_window().len(), 40);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_none() {
        assert!(compare(&[], &[], 4, 15).is_none());
        assert!(compare(&[1.0; 8], &[1.0; 4], 4, 15).is_none());
        assert!(compare(&[1.0; 7], &[1.0; 7], 4, 15).is_none());
        let one = compare(&[1.0; 4], &[1.0; 4], 4, 15).unwrap();
        assert_eq!(one.offset, 0);
    }
}
