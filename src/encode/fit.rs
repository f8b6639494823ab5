//! Pictures brought to the size that is encoded: scaled by areas, then cut or letterboxed.

use omni_media::Image;

/// Sides are multiples of this: a token is 32 pixels wide.
const STEP: usize = 32;

/// The size of pictures of `width` x `height`: as many pixels as `area` has, sides multiples of 32 and at least that.
pub fn bucket(area: (usize, usize), (width, height): (usize, usize)) -> (usize, usize) {
    let pixels = (area.0 * area.1) as f64;
    let aspect = width.max(1) as f64 / height.max(1) as f64;
    let snap = |side: f64| ((side / STEP as f64).round_ties_even() as usize).max(1) * STEP;
    (snap((pixels * aspect).sqrt()), snap((pixels / aspect).sqrt()))
}

/// Scaled to cover the size, what sticks out cut off alike on both sides.
pub fn cover(image: &Image, size: (usize, usize)) -> Image {
    let factor = factors(image, size).fold(0.0, f64::max);
    place(image, size, factor, 0)
}

/// Scaled to lie inside of the size, the rest white.
pub fn letterbox(image: &Image, size: (usize, usize)) -> Image {
    let factor = factors(image, size).fold(f64::INFINITY, f64::min);
    place(image, size, factor, 255)
}

fn factors(image: &Image, (width, height): (usize, usize)) -> impl Iterator<Item = f64> {
    let of = |to: usize, from: usize| to as f64 / from.max(1) as f64;
    [of(width, image.width), of(height, image.height)].into_iter()
}

/// Where along a side each new pixel takes its values from: weights of source pixels, none where it lies outside.
fn spans(from: usize, to: usize, factor: f64) -> Vec<Vec<(usize, f32)>> {
    let margin = (to as f64 - from as f64 * factor) / 2.0;
    let span = |place: usize| {
        let start = (place as f64 - margin) / factor;
        let (start, end) = (start.max(0.0), (start + 1.0 / factor).min(from as f64));
        // a pixel that lies outside by rounding alone
        if end - start < 0.25 / factor {
            return Vec::new();
        }
        let (first, last) = (start as usize, (end.ceil() as usize).min(from));
        let share = |pixel: usize| (end.min(pixel as f64 + 1.0) - start.max(pixel as f64)) / (end - start);
        (first..last).map(|pixel| (pixel, share(pixel) as f32)).collect()
    };
    (0..to).map(span).collect()
}

fn place(image: &Image, (width, height): (usize, usize), factor: f64, ground: u8) -> Image {
    let (columns, rows) = (
        spans(image.width, width, factor),
        spans(image.height, height, factor),
    );
    let mut data = Vec::with_capacity(width * height * 3);
    for row in &rows {
        for column in &columns {
            if row.is_empty() || column.is_empty() {
                data.extend([ground; 3]);
                continue;
            }
            let mut sum = [0f32; 3];
            for (y, down) in row {
                for (x, across) in column {
                    let at = (y * image.width + x) * 3;
                    for (sum, value) in sum.iter_mut().zip(&image.data[at..at + 3]) {
                        *sum += down * across * f32::from(*value);
                    }
                }
            }
            data.extend(sum.map(|value| value.round() as u8));
        }
    }
    Image { width, height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_specification() {
        // backbone.md 1: requests at an area of 518400 and 921600 pixels
        for (area, asked, wanted) in [
            ((720, 720), (720, 720), (704, 704)),
            ((720, 720), (1280, 704), (960, 544)),
            ((960, 960), (960, 960), (960, 960)),
            ((960, 960), (1280, 704), (1280, 704)),
            ((64, 64), (1, 1000), (32, 2016)),
        ] {
            assert_eq!(bucket(area, asked), wanted, "{asked:?}");
        }
    }

    fn image(width: usize, height: usize, of: impl Fn(usize, usize) -> u8) -> Image {
        let data = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| [of(x, y); 3]);
        Image {
            width,
            height,
            data: data.collect(),
        }
    }

    #[test]
    fn a_wide_picture_is_cut_or_has_bars() {
        let wide = image(8, 4, |x, _| if x < 4 { 10 } else { 90 });
        let cut = cover(&wide, (2, 2));
        assert_eq!(cut.data, [10, 10, 10, 90, 90, 90, 10, 10, 10, 90, 90, 90]);
        let boxed = letterbox(&wide, (4, 4));
        assert_eq!(boxed.data[..12], [255; 12]);
        assert_eq!(
            boxed.data[12..24],
            [10, 10, 10, 10, 10, 10, 90, 90, 90, 90, 90, 90]
        );
        assert_eq!(boxed.data[36..], [255; 12]);
        let same = image(5, 3, |x, y| (x * 7 + y) as u8);
        assert_eq!(cover(&same, (5, 3)).data, same.data);
        assert!(
            cover(&image(3, 3, |_, _| 7), (10, 10))
                .data
                .iter()
                .all(|value| *value == 7)
        );
    }
}
