//! Shot cuts, told frame by frame without delay.
//!
//! A cut needs three signs at once: the mean change of hue, saturation and value of PySceneDetect's ContentDetector
//! (threshold 27 there), a changed colour histogram, and a picture whose structure no longer correlates with the one
//! before. The last two keep flashes and fast motion from counting: a flash keeps its edges, a pan its colours. The
//! answer for a frame is given when the frame is pushed; a fade or dissolve is not a cut here.

use omni_media::Image;

/// Width and height of the picture that is compared.
const WIDTH: usize = 96;
const HEIGHT: usize = 54;
/// Histogram cells per channel (hue, saturation, value).
const BINS: usize = 8;

/// Limits of [`ShotDetector`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ShotSettings {
    /// Mean change of hue (0..180), saturation and value (0..255) above which a frame may start a shot.
    pub content: f32,
    /// Share of the histogram that must have moved, 0 to 1.
    pub histogram: f32,
    /// Correlation of brightness with the frame before must be below this, -1 to 1.
    pub correlation: f32,
}

impl Default for ShotSettings {
    fn default() -> ShotSettings {
        ShotSettings {
            content: 15.0,
            histogram: 0.25,
            correlation: 0.5,
        }
    }
}

/// How much one frame differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Mean absolute change of hue, saturation and value, as PySceneDetect's `content_val`.
    pub content: f32,
    /// Half the sum of absolute differences of the normalised histograms, 0 to 1.
    pub histogram: f32,
    /// Correlation of the brightness of the two small pictures, -1 to 1.
    pub correlation: f32,
}

/// Finds cuts; feed it every frame in order.
#[derive(Clone, Debug)]
pub struct ShotDetector {
    settings: ShotSettings,
    last: Option<Small>,
}

#[derive(Clone, Debug)]
struct Small {
    hsv: Vec<[u8; 3]>,
    histogram: Vec<f32>,
}

impl ShotDetector {
    /// A detector that has seen nothing.
    pub fn new(settings: ShotSettings) -> ShotDetector {
        ShotDetector { settings, last: None }
    }

    /// Whether this frame starts a new shot; never for the first frame.
    pub fn push(&mut self, image: &Image) -> bool {
        let limits = self.settings;
        self.measure(image).is_some_and(|change| {
            change.content > limits.content
                && change.histogram > limits.histogram
                && change.correlation < limits.correlation
        })
    }

    /// The numbers behind [`ShotDetector::push`], for a caller with its own rule; `None` for the first frame.
    pub fn measure(&mut self, image: &Image) -> Option<Change> {
        let now = Small::of(image);
        let change = self.last.as_ref().map(|last| last.change(&now));
        self.last = Some(now);
        change
    }
}

impl Small {
    fn of(image: &Image) -> Small {
        let hsv: Vec<[u8; 3]> = shrink(image).into_iter().map(hsv).collect();
        let mut histogram = vec![0.0; BINS * BINS * BINS];
        for [h, s, v] in &hsv {
            let cell = |x: u8, range: usize| (usize::from(x) * BINS / range).min(BINS - 1);
            histogram[(cell(*h, 180) * BINS + cell(*s, 256)) * BINS + cell(*v, 256)] +=
                1.0 / hsv.len() as f32;
        }
        Small { hsv, histogram }
    }

    fn change(&self, now: &Small) -> Change {
        let sum: u32 = self
            .hsv
            .iter()
            .flatten()
            .zip(now.hsv.iter().flatten())
            .map(|(a, b)| u32::from(a.abs_diff(*b)))
            .sum();
        let moved: f32 = self
            .histogram
            .iter()
            .zip(&now.histogram)
            .map(|(a, b)| (a - b).abs())
            .sum();
        Change {
            content: sum as f32 / (3 * self.hsv.len()) as f32,
            histogram: moved / 2.0,
            correlation: correlation(&self.hsv, &now.hsv),
        }
    }
}

/// Correlation of the values; two flat pictures correlate fully.
fn correlation(a: &[[u8; 3]], b: &[[u8; 3]]) -> f32 {
    let mean = |p: &[[u8; 3]]| f64::from(p.iter().map(|x| u32::from(x[2])).sum::<u32>()) / p.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x[2]) - ma, f64::from(y[2]) - mb);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let floor = a.len() as f64;
    if aa < floor && bb < floor {
        1.0
    } else {
        (ab / (aa * bb).sqrt().max(1e-9)) as f32
    }
}

/// Block means on a fixed grid, reading at most 4 x 4 pixels per block: cheap at any size.
fn shrink(image: &Image) -> Vec<[u8; 3]> {
    let mut out = vec![[0; 3]; WIDTH * HEIGHT];
    if image.width == 0 || image.height == 0 {
        return out;
    }
    let spots = |cells: usize, size: usize| -> Vec<[usize; 4]> {
        (0..cells)
            .map(|c| std::array::from_fn(|k| ((c * 8 + k * 2 + 1) * size / (cells * 8)).min(size - 1)))
            .collect()
    };
    let (columns, rows) = (spots(WIDTH, image.width), spots(HEIGHT, image.height));
    for (to, (ys, xs)) in out
        .iter_mut()
        .zip(rows.iter().flat_map(|ys| columns.iter().map(move |xs| (ys, xs))))
    {
        let mut sum = [0u32; 3];
        for y in ys {
            for x in xs {
                let at = (y * image.width + x) * 3;
                for (sum, &value) in sum.iter_mut().zip(&image.data[at..at + 3]) {
                    *sum += u32::from(value);
                }
            }
        }
        *to = sum.map(|s| ((s + 8) >> 4) as u8);
    }
    out
}

/// Hue 0..179, saturation and value 0..255, as OpenCV scales them.
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (r, g, b) = (f32::from(r), f32::from(g), f32::from(b));
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let spread = most - least;
    if spread == 0.0 {
        return [0, 0, most as u8];
    }
    let hue = if most == r {
        60.0 * (g - b) / spread
    } else if most == g {
        120.0 + 60.0 * (b - r) / spread
    } else {
        240.0 + 60.0 * (r - g) / spread
    };
    let hue = if hue < 0.0 { hue + 360.0 } else { hue };
    // Rounded: none is negative, and no ratio of bytes lies so near below a half that adding one rounds it up.
    let rounded = |value: f32| (value + 0.5) as u32;
    [
        (rounded(hue / 2.0) % 180) as u8,
        rounded(255.0 * spread / most) as u8,
        most as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of soft blobs; `seed` makes another scene, `shift` moves the camera, `light` brightens it.
    fn scene(seed: f32, shift: f32, light: f32) -> Image {
        let mut data = Vec::with_capacity(192 * 108 * 3);
        for y in 0..108 {
            for x in 0..192 {
                let (u, v) = (
                    (x as f32 + shift) * 0.05 * (1.0 + seed),
                    y as f32 * 0.08 * (2.0 - seed),
                );
                for channel in 0..3 {
                    let wave = (u + seed * 7.0 + channel as f32 * seed).sin() * (v - seed).cos();
                    data.push(((110.0 + 80.0 * wave) * light).clamp(0.0, 255.0) as u8);
                }
            }
        }
        Image {
            width: 192,
            height: 108,
            data,
        }
    }

    #[test]
    fn a_new_scene_is_a_cut_and_motion_or_light_is_not() {
        let mut shots = ShotDetector::new(ShotSettings::default());
        assert!(!shots.push(&scene(0.1, 0.0, 1.0)), "first frame");
        assert!(!shots.push(&scene(0.1, 4.0, 1.0)), "pan");
        assert!(!shots.push(&scene(0.1, 5.0, 1.6)), "flash begins");
        assert!(!shots.push(&scene(0.1, 6.0, 1.0)), "flash ends");
        assert!(shots.push(&scene(1.4, 6.0, 1.0)), "another scene");
        assert!(!shots.push(&scene(1.4, 7.0, 1.0)), "and it goes on");
    }

    #[test]
    fn hue_saturation_value_as_opencv_scales_them() {
        assert_eq!(hsv([255, 0, 0]), [0, 255, 255]);
        assert_eq!(hsv([0, 255, 0]), [60, 255, 255]);
        assert_eq!(hsv([0, 0, 128]), [120, 255, 128]);
        assert_eq!(hsv([7, 7, 7]), [0, 0, 7]);
    }

    #[test]
    fn empty_and_tiny_pictures_do_not_panic() {
        let mut shots = ShotDetector::new(ShotSettings::default());
        shots.push(&Image {
            width: 0,
            height: 0,
            data: vec![],
        });
        shots.push(&Image {
            width: 1,
            height: 1,
            data: vec![1, 2, 3],
        });
    }
}
