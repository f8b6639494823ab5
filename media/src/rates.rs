//! Which source frame stands where when the frame rate or the number of frames changes.

/// Source frame of every output frame at `to` frames per second, by the rule of FFmpeg's `fps` filter
/// (libavfilter/vf_fps.c, constant source rate): source frame `i` starts at output index
/// `floor(i * to / fps + 1/2)`, output `k` shows the last source frame that has started, and the length is that
/// of index `frames`. Empty when a rate is not positive.
pub fn fps_map(frames: usize, fps_num: i64, fps_den: i64, to: i64) -> Vec<usize> {
    if fps_num <= 0 || fps_den <= 0 || to <= 0 {
        return Vec::new();
    }
    let (num, step) = (i128::from(fps_num), i128::from(to) * i128::from(fps_den));
    let start = |i: usize| (2 * i as i128).saturating_mul(step).saturating_add(num) / (2 * num);
    let mut map = Vec::new();
    for frame in 0..frames {
        let next = usize::try_from(start(frame + 1)).unwrap_or(usize::MAX);
        while map.len() < next {
            map.push(frame);
        }
    }
    map
}

/// `n` frame numbers spread evenly over `0..total`, first and last included:
/// `numpy.linspace(0, total - 1, n, dtype=int)`. Empty when `total` is 0.
pub fn linspace_frames(total: usize, n: usize) -> Vec<usize> {
    if total == 0 {
        return Vec::new();
    }
    let last = total - 1;
    let step = last as f64 / n.saturating_sub(1).max(1) as f64;
    (0..n)
        .map(|i| {
            if i > 0 && i + 1 == n {
                last
            } else {
                (i as f64 * step) as usize
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_of_nothing_gives_nothing() {
        assert!(
            fps_map(10, 0, 1, 25).is_empty()
                && fps_map(10, 25, 0, 25).is_empty()
                && fps_map(10, 25, 1, -25).is_empty()
        );
        assert!(
            fps_map(0, 25, 1, 25).is_empty()
                && linspace_frames(0, 4).is_empty()
                && linspace_frames(4, 0).is_empty()
        );
    }

    #[test]
    fn doubling_repeats_and_halving_skips() {
        assert_eq!(fps_map(3, 25, 1, 50), [0, 0, 1, 1, 2, 2]);
        assert_eq!(fps_map(4, 50, 1, 25), [0, 2]);
    }

    proptest! {
        #[test]
        fn maps_rise_and_stay_inside(frames in 1usize..500, num in 1i64..120_000, den in 1i64..1100) {
            prop_assume!(num / den < 1000 && num * 100 > den);
            let map = fps_map(frames, num, den, 25);
            prop_assert!(map.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(map.iter().all(|&i| i < frames));
            let expected = frames as f64 * 25.0 * den as f64 / num as f64;
            prop_assert!((map.len() as f64 - expected).abs() <= 0.5 + 1e-9);
        }
    }
}
