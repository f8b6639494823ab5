//! ImageBind's pictures: five clips of two seconds, two frames of each, three crops of each frame.
//!
//! Reference: facebookresearch/ImageBind `data.py`, with pytorchvideo's sampler (constant clips per video), short-side
//! scaling and uniform crops.

use omni_media::Image;

use crate::vision::interpolate::{Kernel, Planes};

/// Clips of a video.
pub const CLIPS: usize = 5;
/// Crops of a clip.
pub const CROPS: usize = 3;
/// Side of a crop in pixels.
pub const SIDE: usize = 224;
/// Seconds of a clip.
const SECONDS: i128 = 2;
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// First and last frame of each of the five clips of a video of `frames` frames at `fps` (numerator, denominator).
///
/// Starts are spread evenly and exactly over the video. `None` for no frames or no rate.
pub fn frame_pairs(frames: u64, fps: (i64, i64)) -> Option<[[u64; 2]; CLIPS]> {
    let (num, den) = (i128::from(fps.0), i128::from(fps.1));
    if frames == 0 || num <= 0 || den <= 0 {
        return None;
    }
    // In units of 1 / (4 * den) frames: start k * (D - 2) / 4 seconds times the rate.
    let free = (i128::from(frames) * den - SECONDS * num).max(0);
    let whole = 4 * den;
    let ceil = |x: i128| (x + whole - 1).div_euclid(whole);
    let last = i128::from(frames) - 1;
    Some(std::array::from_fn(|k| {
        let start = k as i128 * free;
        let end = ceil(start + 4 * SECONDS * num).min(last + 1) - 1;
        [ceil(start).min(last), end.clamp(0, last)].map(|i| i as u64)
    }))
}

/// Start of clip `k` of a length of `seconds`, split into `clips`.
pub fn clip_start(seconds: f64, clips: usize, k: usize) -> f64 {
    (seconds - SECONDS as f64).max(0.0) * k as f64 / (clips - 1).max(1) as f64
}

/// The three crops `[3, 224, 224]` of a frame: left, centre, right, or top, centre, bottom of an upright one.
/// `None` for an empty picture.
pub fn crops(image: &Image) -> Option<[Vec<f32>; CROPS]> {
    if image.width * image.height == 0 {
        return None;
    }
    let planes = Planes::unit(image);
    let longer = |long: usize, short: usize| (long as f64 / short as f64 * SIDE as f64).floor() as usize;
    let (width, height) = if image.width < image.height {
        (SIDE, longer(image.height, image.width))
    } else {
        (longer(image.width, image.height), SIDE)
    };
    let scaled = planes.resize(width, height, Kernel::Linear);
    let upright = height > width;
    let spare = if upright { height } else { width } - SIDE;
    Some([0, spare.div_ceil(2), spare].map(|at| {
        let (x, y) = if upright { (0, at) } else { (at, 0) };
        cut(&scaled, x, y)
    }))
}

fn cut(planes: &Planes, x: usize, y: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(3 * SIDE * SIDE);
    for channel in 0..3 {
        let plane = planes.plane(channel);
        for row in y..y + SIDE {
            let values = &plane[row * planes.width + x..][..SIDE];
            out.extend(values.iter().map(|v| (v - MEAN[channel]) / DEVIATION[channel]));
        }
    }
    out
}

/// One input `[3, 2, 224, 224]` from the same crop of a clip's two frames.
pub fn pair(first: &[f32], last: &[f32]) -> Vec<f32> {
    let size = SIDE * SIDE;
    let planes = first.chunks_exact(size).zip(last.chunks_exact(size));
    planes.flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seconds_at_24_frames() {
        let pairs = frame_pairs(122, (24, 1)).unwrap();
        assert_eq!(pairs, [[0, 47], [19, 66], [37, 84], [56, 103], [74, 121]]);
    }

    #[test]
    fn short_and_odd_videos_stay_inside() {
        assert_eq!(frame_pairs(1, (25, 1)).unwrap(), [[0, 0]; 5]);
        assert_eq!(frame_pairs(20, (25, 1)).unwrap(), [[0, 19]; 5]);
        assert!(frame_pairs(0, (25, 1)).is_none() && frame_pairs(5, (0, 1)).is_none());
        for frames in 1..200 {
            for fps in [(24, 1), (30000, 1001), (60, 1), (1, 1)] {
                let pairs = frame_pairs(frames, fps).unwrap();
                assert!(
                    pairs.iter().all(|[a, b]| a <= b && *b < frames),
                    "{frames} {fps:?}"
                );
            }
        }
    }

    #[test]
    fn crops_lie_along_the_longer_side() {
        let picture = |width: usize, height: usize| {
            let wide = width > height;
            let grey = |i: usize| {
                (if wide {
                    i % width * 255 / width
                } else {
                    i / width * 255 / height
                }) as u8
            };
            let data = (0..width * height).flat_map(|i| [grey(i); 3]).collect();
            Image { width, height, data }
        };
        for (width, height) in [(448, 224), (224, 448), (224, 224), (1, 1)] {
            let [a, b, c] = crops(&picture(width, height)).unwrap();
            assert_eq!(a.len(), 3 * SIDE * SIDE);
            assert!(a[0] <= b[0] && b[0] <= c[0], "{width}x{height}");
        }
        assert!(crops(&Image::default()).is_none());
    }
}
