//! What a face detector looks at: the picture fitted into a fixed black canvas, as the planes of its input tensor.
//!
//! Resizing, channel order and scaling happen in one pass into a tensor that is kept between pictures: for a detector
//! of a few milliseconds, three fresh megabytes per picture cost as much as a tenth of the network.

use std::sync::{Mutex, PoisonError};

use omni_media::Image;

use super::lanes::{self, Lanes};
use super::resize::{Column, columns, position, weights};
use crate::Error;

/// How a network wants its pixels: `(x - mean) * scale`, planes in RGB or BGR order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels {
    pub(super) mean: f32,
    pub(super) scale: f32,
    pub(super) bgr: bool,
}

impl Pixels {
    pub(super) fn of(self, value: u8) -> f32 {
        (f32::from(value) - self.mean) * self.scale
    }
}

/// Canvases for any number of threads; grows to the number of callers at work at the same time.
pub(super) struct Canvases {
    size: (usize, usize),
    pixels: Pixels,
    free: Mutex<Vec<Canvas>>,
}

impl Canvases {
    /// Canvases of `size` (width, height) pixels.
    pub(super) fn new(size: (usize, usize), pixels: Pixels) -> Canvases {
        Canvases {
            size,
            pixels,
            free: Mutex::default(),
        }
    }

    /// Width and height in pixels.
    pub(super) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Draws the picture, hands `[1, 3, height, width]` and the scale that was applied to `then`.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture without pixels, and those of `then`.
    pub(super) fn with<T>(
        &self,
        image: &Image,
        then: impl FnOnce(&[f32], f32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        let mut canvas = free.unwrap_or_else(|| Canvas::new(self.size, self.pixels));
        let scale = canvas.draw(image)?;
        let result = then(&canvas.tensor, scale);
        lock().push(canvas);
        result
    }
}

/// The input tensor and what is worth keeping while pictures of one size come in.
struct Canvas {
    size: (usize, usize),
    pixels: Pixels,
    tensor: Vec<f32>,
    /// Size of the last picture and of what it became.
    from: (usize, usize),
    to: (usize, usize),
    columns: Vec<Column>,
    rows: [Row; 2],
}

/// A source row, resized horizontally: 11-bit fixed point without the last four bits.
#[derive(Default)]
struct Row {
    number: Option<usize>,
    values: Vec<Lanes>,
}

impl Canvas {
    fn new(size: (usize, usize), pixels: Pixels) -> Canvas {
        Canvas {
            size,
            pixels,
            tensor: Vec::new(),
            from: (0, 0),
            to: (0, 0),
            columns: Vec::new(),
            rows: Default::default(),
        }
    }

    /// The picture shrunk or enlarged to fit, at the top left of black (insightface `retinaface.py`: sizes
    /// truncated, the height's scale for both axes). Returns that scale.
    fn draw(&mut self, image: &Image) -> Result<f32, Error> {
        let from = (image.width, image.height);
        if from.0 == 0 || from.1 == 0 || image.data.len() != from.0 * from.1 * 3 {
            let why = "a picture without pixels has no faces to look for";
            return Err(Error::Input(why.to_owned()));
        }
        if self.from != from {
            self.fit(from);
        }
        self.rows.iter_mut().for_each(|row| row.number = None);
        let to = self.to;
        if from == to {
            self.copy(image);
        } else if from == (2 * to.0, 2 * to.1) {
            self.halve(image);
        } else {
            self.linear(image);
        }
        Ok((to.1 as f64 / from.1 as f64) as f32)
    }

    /// Gets ready for pictures of another size.
    fn fit(&mut self, from: (usize, usize)) {
        let (width, height) = self.size;
        let ratio = from.1 as f64 / from.0 as f64;
        let (w, h) = if ratio > height as f64 / width as f64 {
            ((height as f64 / ratio) as usize, height)
        } else {
            (width, (width as f64 * ratio) as usize)
        };
        self.from = from;
        self.to = (w.clamp(1, width), h.clamp(1, height));
        self.columns = columns(from.0, self.to.0);
        self.tensor.clear();
        self.tensor.resize(3 * width * height, self.pixels.of(0));
        for row in &mut self.rows {
            row.values.resize(self.to.0, [0; 4]);
        }
    }

    fn copy(&mut self, image: &Image) {
        let pixels = self.pixels;
        for (y, row) in image.data.chunks_exact(image.width * 3).enumerate() {
            for (colour, plane) in self.targets(y).into_iter().enumerate() {
                for (to, pixel) in plane.iter_mut().zip(row.chunks_exact(3)) {
                    *to = pixels.of(pixel[colour]);
                }
            }
        }
    }

    /// OpenCV averages 2x2 pixels at an exact half.
    fn halve(&mut self, image: &Image) {
        let (pixels, stride) = (self.pixels, image.width * 3);
        for (y, rows) in image.data.chunks_exact(2 * stride).enumerate() {
            let (above, below) = rows.split_at(stride);
            lanes::halve([above, below], pixels, self.targets(y));
        }
    }

    /// A row of each plane as far as the picture goes: red, green, blue.
    fn targets(&mut self, y: usize) -> [&mut [f32]; 3] {
        targets(&mut self.tensor, self.size, self.pixels, y, self.to.0)
    }

    fn linear(&mut self, image: &Image) {
        let (pixels, (width, height)) = (self.pixels, self.to);
        let scale = self.from.1 as f64 / height as f64;
        let last = self.from.1 as i64 - 1;
        for y in 0..height {
            let (first, fraction) = position(y, scale);
            let wanted = [first, first + 1].map(|row| row.clamp(0, last) as usize);
            self.keep_rows(image, wanted);
            let [a, b] = &self.rows;
            let planes = targets(&mut self.tensor, self.size, pixels, y, width);
            lanes::vertical([&a.values, &b.values], weights(fraction), pixels, planes);
        }
    }

    /// Resizes the two wanted source rows; neighbouring target rows mostly need the same ones.
    fn keep_rows(&mut self, image: &Image, wanted: [usize; 2]) {
        if self.rows[1].number == Some(wanted[0]) {
            self.rows.swap(0, 1);
        }
        let stride = image.width * 3;
        for (row, wanted) in self.rows.iter_mut().zip(wanted) {
            if row.number != Some(wanted) {
                row.number = Some(wanted);
                let source = &image.data[wanted * stride..];
                lanes::horizontal(source, &self.columns, &mut row.values);
            }
        }
    }
}

/// Row `y` of each plane of the tensor, its first `length` numbers: red, green, blue.
fn targets(
    tensor: &mut [f32],
    (width, height): (usize, usize),
    pixels: Pixels,
    y: usize,
    length: usize,
) -> [&mut [f32]; 3] {
    let (first, rest) = tensor.split_at_mut(width * height);
    let (second, third) = rest.split_at_mut(width * height);
    let at = y * width;
    let mut planes = [first, second, third].map(|plane| &mut plane[at..at + length]);
    if pixels.bgr {
        planes.reverse();
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::super::{planes, resize::resize};
    use super::*;
    use crate::runtime::testing::shared;
    use proptest::prelude::*;

    const ARCS: Pixels = Pixels {
        mean: 127.5,
        scale: 1.0 / 128.0,
        bgr: false,
    };

    /// The same in three steps and on pictures: resize, put onto black, take apart.
    fn slowly(image: &Image, (width, height): (usize, usize), pixels: Pixels) -> (Vec<f32>, f32) {
        let ratio = image.height as f64 / image.width as f64;
        let (w, h) = if ratio > height as f64 / width as f64 {
            ((height as f64 / ratio) as usize, height)
        } else {
            (width, (width as f64 * ratio) as usize)
        };
        let small = resize(image, w.clamp(1, width), h.clamp(1, height));
        let mut canvas = Image {
            width,
            height,
            data: vec![0; width * height * 3],
        };
        for (to, from) in canvas
            .data
            .chunks_exact_mut(width * 3)
            .zip(small.data.chunks_exact(small.width * 3))
        {
            to[..from.len()].copy_from_slice(from);
        }
        let scale = (small.height as f64 / image.height as f64) as f32;
        (planes(&canvas, pixels.mean, pixels.scale, pixels.bgr), scale)
    }

    fn noise(width: usize, height: usize, seed: u32) -> Image {
        let mut state = seed | 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Image {
            width,
            height,
            data: (0..width * height * 3).map(next).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn one_pass_gives_what_three_steps_give(
            sizes in proptest::collection::vec((1usize..200, 1usize..200), 1..4),
            bgr: bool,
            seed: u32,
        ) {
            let pixels = Pixels { bgr, ..ARCS };
            let canvases = Canvases::new((64, 96), pixels);
            for (width, height) in sizes {
                let image = noise(width, height, seed);
                let want = slowly(&image, (64, 96), pixels);
                let got = canvases.with(&image, |tensor, scale| Ok((tensor.to_vec(), scale)));
                prop_assert!(got.unwrap() == want, "{width}x{height}");
            }
        }
    }

    #[test]
    fn exact_halves_and_equal_sizes_are_the_same_too() {
        let canvases = Canvases::new((64, 96), ARCS);
        for (width, height) in [(128, 192), (128, 100), (64, 96), (64, 20), (128, 101)] {
            let image = noise(width, height, 7);
            let got = canvases
                .with(&image, |tensor, scale| Ok((tensor.to_vec(), scale)))
                .unwrap();
            assert!(got == slowly(&image, (64, 96), ARCS), "{width}x{height}");
        }
        assert_eq!(canvases.free.lock().unwrap().len(), 1, "the canvas is used again");
    }

    #[test]
    fn the_canvas_is_the_reference_s() {
        let Some(folder) = shared("golden/metrics/face") else {
            return;
        };
        let read =
            |name: &str| omni_media::decode_picture(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        let want = planes(&read("det_input_bgr.png"), ARCS.mean, ARCS.scale, ARCS.bgr);
        Canvases::new((640, 640), ARCS)
            .with(&read("frame.png"), |tensor, scale| {
                assert_eq!(scale, 0.5);
                let most = tensor.iter().zip(&want).map(|(a, b)| (a - b).abs());
                assert!(most.fold(0.0, f32::max) <= 1.01 / 128.0);
                assert_eq!(tensor[640 * 640 - 1], -0.996_093_75);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn pictures_without_pixels_are_refused() {
        let canvases = Canvases::new((64, 64), ARCS);
        for (width, height, bytes) in [(0, 4, 0), (4, 4, 5)] {
            let data = vec![0; bytes];
            let image = Image { width, height, data };
            assert!(canvases.with(&image, |_, _| Ok(())).is_err());
        }
    }
}
