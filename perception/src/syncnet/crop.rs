//! The pictures SyncNet looks at: a face box smoothed over time and cut out with the chin below it.
//!
//! Reference: joonson/syncnet_python `run_pipeline.py`, `crop_video`, without its detour over two lossy encodings.

use omni_media::Image;

use crate::vision::resize::resize;

/// Side of the crop in pixels.
pub const SIDE: usize = 224;
/// What stands around the picture.
const BORDER: u8 = 110;
/// How much more than the face is taken.
const MARGIN: f64 = 0.4;
/// Frames over which a box is smoothed.
const SMOOTH: usize = 13;

/// Centre and half size of a face in one frame, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Centre, from the left.
    pub x: f64,
    /// Centre, from the top.
    pub y: f64,
    /// Half of the box's longer side.
    pub s: f64,
}

/// Where to cut in each frame of a track of boxes (left, top, right, bottom), smoothed.
///
/// The smoothing takes zeros from beyond both ends, as SciPy's `medfilt` does, so the first and last places are biased
/// towards the top left. The reference has it so.
pub fn places(boxes: &[[f64; 4]]) -> Vec<Place> {
    let sequence =
        |of: &dyn Fn(&[f64; 4]) -> f64| median_filter(&boxes.iter().map(of).collect::<Vec<_>>(), SMOOTH);
    let s = sequence(&|b| (b[3] - b[1]).max(b[2] - b[0]) / 2.0);
    let y = sequence(&|b| (b[1] + b[3]) / 2.0);
    let x = sequence(&|b| (b[0] + b[2]) / 2.0);
    let place = |((x, y), s)| Place { x, y, s };
    x.into_iter().zip(y).zip(s).map(place).collect()
}

/// The median over `size` (odd) neighbours, zeros beyond both ends.
pub fn median_filter(values: &[f64], size: usize) -> Vec<f64> {
    let half = size / 2;
    let at = |i: usize| {
        i.checked_sub(half)
            .and_then(|i| values.get(i))
            .copied()
            .unwrap_or(0.0)
    };
    let median = |i: usize| {
        let mut window: Vec<f64> = (i..i + size).map(at).collect();
        window.sort_by(f64::total_cmp);
        window[half]
    };
    (0..values.len()).map(median).collect()
}

/// The face at `place`, 224 x 224; grey 110 outside the picture and where the cut has no pixel at all.
pub fn crop(image: &Image, place: &Place) -> Image {
    let Place { x, y, s } = *place;
    let pad = (s * (1.0 + 2.0 * MARGIN)).trunc();
    let (height, width) = (image.height as f64 + 2.0 * pad, image.width as f64 + 2.0 * pad);
    let cut = |from: f64, to: f64, size: f64| {
        let from = from.trunc().clamp(0.0, size);
        (from - pad, to.trunc().clamp(from, size) - pad)
    };
    let (top, bottom) = cut(y + pad - s, y + pad + s * (1.0 + 2.0 * MARGIN), height);
    let (left, right) = cut(x + pad - s * (1.0 + MARGIN), x + pad + s * (1.0 + MARGIN), width);
    let mut face = Image {
        width: (right - left) as usize,
        height: (bottom - top) as usize,
        data: Vec::new(),
    };
    if face.width * face.height == 0 {
        let data = vec![BORDER; SIDE * SIDE * 3];
        return Image {
            width: SIDE,
            height: SIDE,
            data,
        };
    }
    face.data = vec![BORDER; face.width * face.height * 3];
    paste(image, &mut face, left as i64, top as i64);
    resize(&face, SIDE, SIDE)
}

/// Copies what of `image` lies behind `to`, whose corner is at (`left`, `top`).
fn paste(image: &Image, to: &mut Image, left: i64, top: i64) {
    let first = left.clamp(0, image.width as i64);
    let end = (left + to.width as i64).clamp(first, image.width as i64);
    let (bytes, offset) = ((end - first) as usize * 3, (first - left) as usize * 3);
    let stride = to.width * 3;
    for (row, line) in to.data.chunks_exact_mut(stride).enumerate() {
        let y = top + row as i64;
        if bytes == 0 || y < 0 || y >= image.height as i64 {
            continue;
        }
        let from = (y as usize * image.width + first as usize) * 3;
        line[offset..offset + bytes].copy_from_slice(&image.data[from..from + bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_take_zeros_from_beyond_the_ends() {
        assert_eq!(median_filter(&[5.0, 6.0, 7.0, 8.0], 3), [5.0, 6.0, 7.0, 7.0]);
        assert_eq!(median_filter(&[9.0], 13), [0.0]);
        assert!(median_filter(&[], 13).is_empty());
        let places = places(&vec![[10.0, 20.0, 30.0, 60.0]; 13]);
        assert_eq!(places[0].s, 20.0, "seven of thirteen values are the face's");
        assert_eq!((places[6].x, places[6].y), (20.0, 40.0));
    }

    #[test]
    fn a_face_at_the_edge_is_filled_with_grey() {
        let image = Image {
            width: 40,
            height: 40,
            data: vec![200; 4800],
        };
        let place = Place {
            x: 0.0,
            y: 20.0,
            s: 10.0,
        };
        let face = crop(&image, &place);
        assert_eq!((face.width, face.height), (SIDE, SIDE));
        assert_eq!((face.data[0], face.data[(SIDE - 1) * 3]), (110, 200));
        let gone = Place {
            x: -500.0,
            y: -500.0,
            s: 3.0,
        };
        assert!(crop(&image, &gone).data.iter().all(|&x| x == 110));
    }
}
