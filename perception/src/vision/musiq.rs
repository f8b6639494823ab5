//! MUSIQ, which rates how well a picture was taken: its multi-scale patches, and the network behind them.
//!
//! Reference: IQA-PyTorch `musiq_arch.py` and `multiscale_trans_util.py`, called as VBench's `imaging_quality.py` does
//! (mode `longer`). The network's input is a sequence of 32 x 32 patches of the picture at three sizes.

use std::path::Path;

use omni_media::Image;

use super::interpolate::{Kernel, Planes};
use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Side of a patch in pixels.
pub const PATCH: usize = 32;
/// Numbers per patch: channel, row, column.
pub const LENGTH: usize = 3 * PATCH * PATCH;
/// Longer sides of the two resized pictures.
const SIDES: [usize; 2] = [224, 384];
/// Cells of the position grid on either side.
const GRID: f32 = 10.0;
/// Longest side that the network looks at; larger pictures are shrunk to it.
const LONGEST: usize = 512;

/// The network's input; row `i` of each belongs to patch `i`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patches {
    /// `[n, 3072]`.
    pub patches: Vec<f32>,
    /// Cell of the 10 x 10 grid.
    pub spatial: Vec<i64>,
    /// 0 and 1: the resized pictures; 2: the picture itself.
    pub scale: Vec<i64>,
    /// 1 for a patch, 0 for filling.
    pub mask: Vec<f32>,
}

/// The picture as VBench hands it over: in 0..1, at most 512 pixels long (bilinear, not antialiased, not rounded).
pub fn prepare(image: &Image) -> Planes {
    let raw = Planes::of(image, f32::from);
    let longest = image.width.max(image.height);
    let mut planes = if longest > LONGEST {
        let scale = LONGEST as f64 / longest as f64;
        let side = |pixels: usize| (scale * pixels as f64) as usize;
        raw.resize(side(image.width), side(image.height), Kernel::Linear)
    } else {
        raw
    };
    planes.data.iter_mut().for_each(|x| *x /= 255.0);
    planes
}

/// The sequence of patches of a prepared picture. Empty for an empty picture.
pub fn patches(picture: &Planes) -> Patches {
    let mut out = Patches::default();
    if picture.data.is_empty() {
        return out;
    }
    let mut signed = picture.clone();
    signed.data.iter_mut().for_each(|x| *x = 2.0 * (*x - 0.5));
    for (scale, side) in SIDES.into_iter().enumerate() {
        let ratio = side as f64 / signed.width.max(signed.height) as f64;
        let length = |pixels: usize| (pixels as f64 * ratio).round_ties_even() as usize;
        let resized = signed.resize(length(signed.width), length(signed.height), Kernel::Cubic);
        out.add(&resized, scale as i64, Some(side.div_ceil(PATCH).pow(2)));
    }
    out.add(&signed, SIDES.len() as i64, None);
    out
}

impl Patches {
    /// Number of patches, filling included.
    pub fn len(&self) -> usize {
        self.mask.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.mask.is_empty()
    }

    /// The patches of one size, row by row, filled up or cut to `limit`.
    fn add(&mut self, picture: &Planes, scale: i64, limit: Option<usize>) {
        let (columns, rows) = (picture.width.div_ceil(PATCH), picture.height.div_ceil(PATCH));
        let cells = columns * rows;
        let count = limit.unwrap_or(cells);
        let (grid_x, grid_y) = (grid(columns), grid(rows));
        for cell in 0..cells.min(count) {
            self.cut(picture, cell % columns, cell / columns);
            self.spatial
                .push(grid_y[cell / columns] * GRID as i64 + grid_x[cell % columns]);
            self.scale.push(scale);
            self.mask.push(1.0);
        }
        let filling = count.saturating_sub(cells);
        self.patches.extend(std::iter::repeat_n(0.0, filling * LENGTH));
        self.spatial.extend(std::iter::repeat_n(0, filling));
        self.scale.extend(std::iter::repeat_n(0, filling));
        self.mask.extend(std::iter::repeat_n(0.0, filling));
    }

    /// One patch; what lies outside the picture is 0, half of it (rounded down) before the picture.
    fn cut(&mut self, picture: &Planes, column: usize, row: usize) {
        let before = |size: usize| (size.div_ceil(PATCH) * PATCH - size) / 2;
        let (left, top) = (before(picture.width), before(picture.height));
        let start = self.patches.len();
        self.patches.resize(start + LENGTH, 0.0);
        let (x0, y0) = (column * PATCH, row * PATCH);
        let inside_x = x0.max(left)..(x0 + PATCH).min(left + picture.width);
        for channel in 0..3 {
            let plane = picture.plane(channel);
            for y in y0.max(top)..(y0 + PATCH).min(top + picture.height) {
                let from = &plane[(y - top) * picture.width..][inside_x.start - left..inside_x.end - left];
                let to = start + (channel * PATCH + y - y0) * PATCH + inside_x.start - x0;
                self.patches[to..to + from.len()].copy_from_slice(from);
            }
        }
    }
}

/// Cell of the position grid for each of `count` patches in a row; in f32, as the reference's nearest-neighbour
/// interpolation (exact fractions differ at a few counts).
fn grid(count: usize) -> Vec<i64> {
    let step = GRID / count as f32;
    (0..count)
        .map(|i| ((i as f32 * step) as i64).min(GRID as i64 - 1))
        .collect()
}

/// The network.
pub struct Musiq {
    session: Session,
}

impl Musiq {
    /// Loads a graph `patches`, `spatial_positions`, `scale_positions`, `mask` -> `score`.
    ///
    /// # Errors
    /// [`Error::Network`] when the file does not load or has other inputs.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<Musiq, Error> {
        let session = Session::open(runtime, file, network)?;
        let expect = |name, kind, rank| Expect {
            name: Some(name),
            kind,
            rank,
        };
        session.expect_inputs(&[
            expect("patches", Kind::F32, 3),
            expect("spatial_positions", Kind::I64, 2),
            expect("scale_positions", Kind::I64, 2),
            expect("mask", Kind::F32, 2),
        ])?;
        Ok(Musiq { session })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.session.network()
    }

    /// Quality of a picture, 0 to 100.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty picture, [`Error::Network`] when the network fails.
    pub fn score(&self, image: &Image) -> Result<f32, Error> {
        self.score_patches(&patches(&prepare(image)))
    }

    /// The same from the patches.
    ///
    /// # Errors
    /// As [`Musiq::score`].
    pub fn score_patches(&self, input: &Patches) -> Result<f32, Error> {
        if input.is_empty() {
            return Err(Error::Input("a picture without pixels has no quality".to_owned()));
        }
        let n = input.len();
        let outputs = self.session.run(&[
            ("patches", Tensor::f32(&[1, n, LENGTH], &input.patches)),
            ("spatial_positions", Tensor::i64(&[1, n], &input.spatial)),
            ("scale_positions", Tensor::i64(&[1, n], &input.scale)),
            ("mask", Tensor::f32(&[1, n], &input.mask)),
        ])?;
        let score = outputs
            .first()
            .and_then(Output::f32s)
            .and_then(|values| values.first());
        score
            .copied()
            .ok_or_else(|| self.session.error("it gave no score"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Image {
        let data = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
        Image { width, height, data }
    }

    #[test]
    fn a_small_picture_keeps_its_size_and_a_large_one_is_shrunk() {
        let small = prepare(&picture(64, 48));
        assert_eq!((small.width, small.height), (64, 48));
        let large = prepare(&picture(1280, 704));
        assert_eq!((large.width, large.height), (512, 281));
        assert!(large.data.iter().all(|x| (0.0..=1.0).contains(x)));
    }

    #[test]
    fn sequences_have_49_and_144_patches_before_the_picture_itself() {
        let out = patches(&prepare(&picture(64, 48)));
        assert_eq!(out.len(), 49 + 144 + 4);
        assert_eq!(out.patches.len(), out.len() * LENGTH);
        // 224 x 168: 7 x 6 patches, then filling.
        assert_eq!(out.mask[..49].iter().sum::<f32>(), 42.0);
        assert_eq!((out.scale[48], out.scale[49], out.scale[196]), (0, 1, 2));
        // 48 rows in two patches: 8 rows of padding before.
        assert!(out.patches[193 * LENGTH..][..8 * PATCH].iter().all(|x| *x == 0.0));
        assert!(patches(&prepare(&Image::default())).is_empty());
    }

    #[test]
    fn positions_follow_floats_and_not_fractions() {
        assert_eq!(grid(4), [0, 2, 5, 7]);
        // 123 * 10 / 205 is exactly 6; in f32 it falls below.
        let exact = |i: i64, n: i64| i * 10 / n;
        let differs = |n: usize| (0..n).any(|i| grid(n)[i] != exact(i as i64, n as i64).min(9));
        assert!([205, 235, 266, 275, 305].into_iter().all(differs));
        assert!(!differs(100));
    }
}
