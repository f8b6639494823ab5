//! Given pictures: brought to a clip's size.

use crate::{Error, Result};

/// An RGB picture, rows packed, red first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

/// Pixels of a token's side.
const UNIT: usize = 32;

/// How a value between pixels is found.
#[derive(Clone, Copy)]
enum Kernel {
    /// Two pixels; wider when shrinking, so that nothing is passed over.
    Linear,
    /// Four pixels (a = -0.75), never wider: what the reference does to a first frame.
    Cubic,
}

impl Kernel {
    fn reach(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic if x <= 1.0 => (1.25 * x - 2.25) * x * x + 1.0,
            Self::Cubic if x < 2.0 => ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0,
            Self::Cubic => 0.0,
        }
    }
}

/// For each place of `to`, the pixels of `from` it is made of.
fn taps(from: usize, to: usize, kernel: Kernel) -> Vec<Vec<(usize, f64)>> {
    let ratio = from as f64 / to as f64;
    let spread = match kernel {
        Kernel::Linear => ratio.max(1.0),
        Kernel::Cubic => 1.0,
    };
    let last = from as i64 - 1;
    let place = |index: usize| {
        let centre = (index as f64 + 0.5) * ratio - 0.5;
        let reach = kernel.reach() * spread;
        let (first, end) = ((centre - reach).ceil() as i64, (centre + reach).floor() as i64);
        let mut taps: Vec<(usize, f64)> = (first..=end)
            .map(|pixel| {
                let near = pixel.clamp(0, last.max(0)) as usize;
                (near, kernel.weight((pixel as f64 - centre) / spread))
            })
            .collect();
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        taps
    };
    (0..to).map(place).collect()
}

impl Picture {
    /// Fails if the bytes do not fit the size.
    pub fn check(&self) -> Result<()> {
        let needed = self
            .width
            .checked_mul(self.height)
            .and_then(|count| count.checked_mul(3));
        if self.rgb.is_empty() || needed != Some(self.rgb.len()) {
            let (width, height) = (self.width, self.height);
            return Err(Error::Input(format!("{width}x{height} is no picture")));
        }
        Ok(())
    }

    fn resized(&self, width: usize, height: usize, kernel: Kernel) -> Self {
        let columns = taps(self.width, width, kernel);
        let rows = taps(self.height, height, kernel);
        let mut wide = vec![0f64; width * self.height * 3];
        for (line, out) in self
            .rgb
            .chunks_exact(self.width * 3)
            .zip(wide.chunks_exact_mut(width * 3))
        {
            for (taps, pixel) in columns.iter().zip(out.chunks_exact_mut(3)) {
                for (place, weight) in taps {
                    for (to, from) in pixel.iter_mut().zip(&line[place * 3..]) {
                        *to += weight * f64::from(*from);
                    }
                }
            }
        }
        let mut rgb = Vec::with_capacity(width * height * 3);
        for taps in &rows {
            rgb.extend((0..width * 3).map(|column| {
                let sum: f64 = taps
                    .iter()
                    .map(|(row, weight)| weight * wide[row * width * 3 + column])
                    .sum();
                // `as` limits
                sum.round() as u8
            }));
        }
        Self { width, height, rgb }
    }

    /// The whole picture as large as it fits into `width` by `height`, the rest white: how references are shown.
    pub fn letterboxed(&self, width: usize, height: usize) -> Result<Self> {
        self.check()?;
        let ratio = (width as f64 / self.width as f64).min(height as f64 / self.height as f64);
        let side = |own: usize, most: usize| ((own as f64 * ratio).round() as usize).clamp(1, most);
        let small = self.resized(side(self.width, width), side(self.height, height), Kernel::Linear);
        let (left, top) = ((width - small.width) / 2, (height - small.height) / 2);
        let mut rgb = vec![255; width * height * 3];
        for (row, line) in small.rgb.chunks_exact(small.width * 3).enumerate() {
            let start = ((top + row) * width + left) * 3;
            rgb[start..start + line.len()].copy_from_slice(line);
        }
        Ok(Self { width, height, rgb })
    }

    /// The picture stretched to `width` by `height`, as the reference does with a first frame.
    pub fn stretched(&self, width: usize, height: usize) -> Result<Self> {
        self.check()?;
        Ok(self.resized(width, height, Kernel::Cubic))
    }
}

/// Width and height, multiples of 32, of about `area` pixels and a picture's shape: the reference's choice for image-to-video.
/// Of the grids near the ideal one and of the directly scaled size, the one whose area is nearest, then whose shape is.
pub fn image_size(width: usize, height: usize, area: usize) -> (usize, usize) {
    let (wide, high, area) = (width.max(1) as f64, height.max(1) as f64, area as f64);
    let ratio = wide / high;
    let units = area / (UNIT * UNIT) as f64;
    let ideal = (units / ratio).sqrt();
    let whole = |x: f64| (x.round_ties_even().max(1.0)) as usize;
    let mut found = Vec::new();
    for step in -3..=3i32 {
        let rows = (ideal.floor() + f64::from(step)).max(1.0);
        for columns in [(rows * ratio).floor(), (rows * ratio).ceil()] {
            found.push((whole(columns), whole(rows)));
        }
    }
    let scale = (area / (wide * high)).sqrt();
    found.push((
        whole(wide * scale / UNIT as f64),
        whole(high * scale / UNIT as f64),
    ));
    let miss = |(columns, rows): &(usize, usize)| {
        let own = (columns * rows) as f64;
        let shape = *columns as f64 / *rows as f64;
        ((own - units).abs(), (shape / ratio).ln().abs())
    };
    let best = found.into_iter().min_by(|a, b| {
        let (a, b) = (miss(a), miss(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let (columns, rows) = best.unwrap_or((1, 1));
    (columns * UNIT, rows * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: usize, height: usize, value: u8) -> Picture {
        Picture {
            width,
            height,
            rgb: vec![value; width * height * 3],
        }
    }

    #[test]
    fn a_letterbox_keeps_the_shape_and_is_white_around() {
        let boxed = flat(40, 20, 10).letterboxed(64, 64).unwrap();
        let at = |x: usize, y: usize| boxed.rgb[(y * 64 + x) * 3];
        assert_eq!(
            (at(0, 0), at(32, 15), at(32, 16), at(32, 47), at(32, 48)),
            (255, 255, 10, 10, 255)
        );
        assert_eq!((at(0, 32), at(63, 32)), (10, 10));
    }

    #[test]
    fn kernels_keep_flat_pictures_and_own_sizes() {
        assert!(
            flat(7, 5, 99)
                .stretched(64, 32)
                .unwrap()
                .rgb
                .iter()
                .all(|x| *x == 99)
        );
        let mut own = flat(8, 4, 0);
        own.rgb
            .iter_mut()
            .enumerate()
            .for_each(|(k, x)| *x = (k * 2) as u8);
        assert_eq!(own.stretched(8, 4).unwrap(), own);
        assert_eq!(own.letterboxed(8, 4).unwrap(), own);
        let lies = Picture { width: 9, ..own };
        assert!(lies.stretched(8, 4).is_err());
    }

    #[test]
    fn a_first_frames_shape_decides_the_size() {
        assert_eq!(image_size(1000, 1000, 704 * 704), (704, 704));
        let (width, height) = image_size(1920, 1080, 518_400);
        assert!(width.is_multiple_of(32) && height.is_multiple_of(32) && width > height);
        assert!(
            (width * height).abs_diff(518_400) < 32 * 32 * 8,
            "{width}x{height}"
        );
        assert_eq!(image_size(1, 100_000, 4096).0, 32);
    }
}
