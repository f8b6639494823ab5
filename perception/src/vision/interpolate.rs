//! Pictures as float planes, and PyTorch's `interpolate` on them (align_corners off, no antialiasing).
//!
//! Reference: ATen `UpSampleKernel.cpp` of PyTorch 2.6. Positions and weights are computed in f32 as there, so that
//! large pictures read the same pixels.

use omni_media::Image;

/// Three planes (red, green, blue) of floats, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `3 * width * height` values.
    pub data: Vec<f32>,
}

/// How a value between pixels is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Two neighbours, clamped at the borders.
    Linear,
    /// Four neighbours, cubic convolution with a = -0.75, border pixels repeated.
    Cubic,
}

impl Planes {
    /// The picture's bytes divided by 255.
    pub fn unit(image: &Image) -> Planes {
        Planes::of(image, |byte| f32::from(byte) / 255.0)
    }

    /// The picture with each byte turned into a number.
    pub fn of(image: &Image, value: impl Fn(u8) -> f32) -> Planes {
        let table: Vec<f32> = (0..=255).map(value).collect();
        let size = image.width * image.height;
        let mut data = vec![0.0; 3 * size];
        for (i, pixel) in image.data.chunks_exact(3).take(size).enumerate() {
            for channel in 0..3 {
                data[channel * size + i] = table[usize::from(pixel[channel])];
            }
        }
        Planes {
            width: image.width,
            height: image.height,
            data,
        }
    }

    /// One plane: 0 red, 1 green, 2 blue.
    pub fn plane(&self, channel: usize) -> &[f32] {
        let size = self.width * self.height;
        &self.data[channel * size..][..size]
    }

    /// Resized to `width` x `height`; a picture of the same size comes back as it is. Empty when either is empty.
    pub fn resize(&self, width: usize, height: usize, kernel: Kernel) -> Planes {
        let empty = self.width * self.height * width * height == 0;
        if (width, height) == (self.width, self.height) || empty {
            let data = if empty { Vec::new() } else { self.data.clone() };
            return Planes { width, height, data };
        }
        let (columns, rows) = (kernel.taps(self.width, width), kernel.taps(self.height, height));
        let mut data = Vec::with_capacity(3 * width * height);
        for channel in 0..3 {
            let across: Vec<f32> = self
                .plane(channel)
                .chunks_exact(self.width)
                .flat_map(|row| {
                    columns
                        .iter()
                        .map(|taps| taps.iter().map(|&(i, w)| row[i] * w).sum())
                })
                .collect();
            for taps in &rows {
                let start = data.len();
                data.resize(start + width, 0.0f32);
                let out = &mut data[start..];
                for &(row, weight) in taps {
                    let from = &across[row * width..][..width];
                    out.iter_mut().zip(from).for_each(|(to, x)| *to += x * weight);
                }
            }
        }
        Planes { width, height, data }
    }
}

impl Kernel {
    /// For each of `to` positions, which of `from` samples it is made of.
    fn taps(self, from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
        let scale = from as f32 / to as f32;
        (0..to)
            .map(|i| self.taps_at(scale * (i as f32 + 0.5) - 0.5, from))
            .collect()
    }

    fn taps_at(self, at: f32, from: usize) -> Vec<(usize, f32)> {
        match self {
            Kernel::Linear => {
                let at = at.max(0.0);
                let first = (at as usize).min(from - 1);
                let share = (at - first as f32).clamp(0.0, 1.0);
                vec![(first, 1.0 - share), ((first + 1).min(from - 1), share)]
            }
            Kernel::Cubic => {
                let (first, t) = (at.floor(), at - at.floor());
                let place = |k: i64| (first as i64 + k).clamp(0, from as i64 - 1) as usize;
                let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
                (-1..).map(place).zip(weights).collect()
            }
        }
    }
}

const A: f32 = -0.75;

/// Cubic convolution between 0 and 1.
fn near(x: f32) -> f32 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// Cubic convolution between 1 and 2.
fn far(x: f32) -> f32 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Planes {
        Planes {
            width: values.len(),
            height: 1,
            data: values.repeat(3),
        }
    }

    #[test]
    fn doubling_a_row_by_hand() {
        let got = row(&[0.0, 4.0]).resize(4, 1, Kernel::Linear);
        assert_eq!(got.plane(0), [0.0, 1.0, 3.0, 4.0]);
        // Cubic at 0.25 before and behind the step, from the formula with a = -0.75.
        let got = row(&[0.0, 4.0]).resize(4, 1, Kernel::Cubic);
        let want = [-0.421_875, 0.421_875 + 0.203_125 * 4.0 - 0.421_875];
        assert!((got.plane(1)[0] - want[0]).abs() < 1e-6, "{got:?}");
        assert!(
            (got.plane(1)[0] + got.plane(1)[3] - 4.0).abs() < 1e-6,
            "symmetric"
        );
    }

    #[test]
    fn a_flat_picture_stays_flat_and_an_empty_one_empty() {
        let flat = Planes {
            width: 3,
            height: 5,
            data: vec![0.5; 45],
        };
        for kernel in [Kernel::Linear, Kernel::Cubic] {
            for (width, height) in [(1, 1), (7, 2), (3, 5), (30, 50)] {
                let out = flat.resize(width, height, kernel);
                assert_eq!(out.data.len(), 3 * width * height);
                assert!(out.data.iter().all(|x| (x - 0.5).abs() < 1e-6));
            }
            assert!(flat.resize(0, 4, kernel).data.is_empty());
        }
    }
}
