//! One-to-one assignment of greatest total weight (Hungarian method, rectangular, O(n² m)).

/// Pairs `(row, column)` by row, `min(rows, columns)` of them, whose weights add up to the most.
///
/// `weight` is asked once per pair; a value that is not finite counts as very bad.
pub fn assign_max(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let transposed = rows > columns;
    let (n, m) = if transposed {
        (columns, rows)
    } else {
        (rows, columns)
    };
    let mut cost = vec![0.0; n * m];
    for i in 0..n {
        for j in 0..m {
            let value = if transposed { weight(j, i) } else { weight(i, j) };
            cost[i * m + j] = if value.is_finite() { -value } else { 1e12 };
        }
    }
    let mut pairs: Vec<(usize, usize)> = shortest_paths(&cost, n, m)
        .into_iter()
        .map(|(i, j)| if transposed { (j, i) } else { (i, j) })
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Least total cost for n <= m by shortest augmenting paths with potentials; index 0 is a sentinel.
fn shortest_paths(cost: &[f64], n: usize, m: usize) -> Vec<(usize, usize)> {
    let (mut u, mut v) = (vec![0.0; n + 1], vec![0.0; m + 1]);
    let mut owner = vec![0usize; m + 1];
    let mut from = vec![0usize; m + 1];
    for i in 1..=n {
        owner[0] = i;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; m + 1];
        let mut used = vec![false; m + 1];
        while owner[column] != 0 {
            used[column] = true;
            let row = owner[column];
            let (mut delta, mut next) = (f64::INFINITY, 0);
            for j in 1..=m {
                if used[j] {
                    continue;
                }
                let reduced = cost[(row - 1) * m + j - 1] - u[row] - v[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    from[j] = column;
                }
                if least[j] < delta {
                    delta = least[j];
                    next = j;
                }
            }
            for j in 0..=m {
                if used[j] {
                    u[owner[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            owner[column] = owner[from[column]];
            column = from[column];
        }
    }
    (1..=m)
        .filter(|&j| owner[j] != 0)
        .map(|j| (owner[j] - 1, j - 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    #[test]
    fn scipy_gives_the_same_totals_and_pairs() {
        let Some(file) = shared("golden/metrics/sampling/hungarian.json") else {
            return;
        };
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for case in golden.as_array().unwrap() {
            let matrix: Vec<Vec<f64>> = serde_json::from_value(case["similarity"].clone()).unwrap();
            let want: Vec<(usize, usize)> = serde_json::from_value(case["pairs"].clone()).unwrap();
            let columns = case["cols"].as_u64().unwrap() as usize;
            let got = assign_max(matrix.len(), columns, |i, j| matrix[i][j]);
            assert_eq!(got, want);
            let total: f64 = got.iter().map(|&(i, j)| matrix[i][j]).sum();
            assert!((total - case["total"].as_f64().unwrap()).abs() < 1e-9);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_permutation_is_better(weights in proptest::collection::vec(-10i32..10, 12)) {
            let weight = |i: usize, j: usize| f64::from(weights[i * 4 + j]);
            let pairs = assign_max(3, 4, weight);
            let got: f64 = pairs.iter().map(|&(i, j)| weight(i, j)).sum();
            let mut best = f64::NEG_INFINITY;
            for a in 0..4 {
                for b in (0..4).filter(|&b| b != a) {
                    for c in (0..4).filter(|&c| c != a && c != b) {
                        best = best.max(weight(0, a) + weight(1, b) + weight(2, c));
                    }
                }
            }
            proptest::prop_assert_eq!(pairs.len(), 3);
            proptest::prop_assert_eq!(got, best);
        }
    }

    #[test]
    fn hostile_weights_end() {
        assert!(assign_max(0, 3, |_, _| 1.0).is_empty());
        assert_eq!(assign_max(2, 2, |_, _| f64::NAN).len(), 2);
        assert_eq!(assign_max(3, 1, |i, _| i as f64), [(2, 0)]);
    }
}
