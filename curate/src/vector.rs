//! Face and voice vectors: unit length, cosine.

/// The vector scaled to length 1; nothing when it is empty, zero or not finite.
pub(crate) fn unit(vector: &[f64]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if !length.is_finite() || length < 1e-9 {
        return None;
    }
    Some(vector.iter().map(|value| (value / length) as f32).collect())
}

/// The dot product, which is the cosine of two unit vectors; eight sums side by side, so that the compiler can use
/// the vector unit, in an order that is always the same.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (a_parts, b_parts) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_parts
        .remainder()
        .iter()
        .zip(b_parts.remainder())
        .map(|(x, y)| x * y)
        .sum();
    let mut sums = [0.0_f32; 8];
    for (x, y) in a_parts.zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    tail + sums.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_vectors_have_length_one_and_nothing_comes_of_nothing() {
        let vector = unit(&[3.0, 0.0, 4.0]).unwrap();
        assert_eq!(vector, [0.6, 0.0, 0.8]);
        for bad in [
            &[][..],
            &[0.0, 0.0],
            &[f64::NAN, 1.0],
            &[f64::INFINITY, 1.0],
            &[1e300, 1e300],
        ] {
            assert!(unit(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_cosine_counts_every_element() {
        let a: Vec<f32> = (1..=19).map(|value| value as f32).collect();
        // sum of squares 1..=19
        assert_eq!(cosine(&a, &a), 2470.0);
    }
}
