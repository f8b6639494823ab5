//! Kernels of 3x3 by Winograd's F(4x4, 3x3): 36 products for 16 results where the plain sum takes 144; the taps in time are
//! added up before the way back.
//!
//! The points are 0, +-5/8, +-3/2 and infinity: with the usual 0, +-1, +-2 the values on the way are larger, and rounding takes
//! more of them.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over constants are unrolled and keep arrays in registers"
)]

use super::{
    conv::Job,
    conv_kernel::{Line, PANEL, Step, Sum},
};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Pixels of a tile's side, and of what it is computed from.
const TILE: usize = 4;
const REACH: usize = TILE + 2;
/// Products of a tile.
const SPOTS: usize = REACH * REACH;

const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// Tiles of a plane below which turning the weight costs more than it saves. Of the plane alone: a chunk's length must not
/// change its bits.
const FEWEST: usize = 12;
/// Tiles that go through the products together.
const TILES: usize = 192;
/// Values of the turned weight held at once.
const TURNED: usize = 8 << 20;

/// Whether the kernel is 3x3 in single steps on a plane large enough.
pub(super) fn suits(job: &Job<'_>) -> bool {
    let [_, rows, columns] = job.shape.taps;
    let [height, width] = job.plane;
    rows == 3
        && columns == 3
        && job.path.stride == 1
        && job.path.dilation == 1
        && job.path.pad == [[1, 1], [1, 1]]
        && height.div_ceil(TILE) * width.div_ceil(TILE) >= FEWEST
}

/// Sizes of a run.
struct Plan<'a> {
    job: &'a Job<'a>,
    /// Tiles of a plane, down and across.
    tiles: [usize; 2],
    /// Values of a row of tiles, turned: `[spots, tiles across, channels]`.
    strip: usize,
}

/// `[frames, rows, columns, out]`.
pub(super) fn run(job: &Job<'_>) -> Vec<f32> {
    let [height, width] = job.plane;
    let [time, ..] = job.shape.taps;
    let tiles = [height.div_ceil(TILE), width.div_ceil(TILE)];
    let plan = Plan {
        job,
        tiles,
        strip: SPOTS * tiles[1] * job.shape.input,
    };
    let (panels, output) = (job.shape.output.div_ceil(PANEL), job.shape.output);
    let frames = job.results[0];
    let mut out = vec![0.0; frames * height * width * output];
    let down = (TILES / (frames * tiles[1])).clamp(1, tiles[0]);
    let weight = time * SPOTS * job.shape.input; // lines of a panel
    let group = (TURNED / (weight * PANEL)).clamp(1, panels);
    let mut turned = vec![0.0; group * weight * PANEL];
    let mut strips = vec![0.0; job.frames.len() * down * plan.strip];
    let mut sums = vec![[0.0; PANEL]; SPOTS * group * frames * down * tiles[1]];
    for first in (0..panels).step_by(group) {
        let group = first..panels.min(first + group);
        let (turned, _) = turned[..group.len() * weight * PANEL].as_chunks_mut::<PANEL>();
        plan.turn_weight(group.clone(), turned);
        for top in (0..tiles[0]).step_by(down) {
            let down = down.min(tiles[0] - top);
            let strips = &mut strips[..job.frames.len() * down * plan.strip];
            plan.turn_pixels(top, down, strips);
            let sums = &mut sums[..SPOTS * group.len() * frames * down * tiles[1]];
            plan.multiply(down, strips, turned, group.len(), sums);
            plan.turn_back(top, down, group.clone(), sums, &mut out);
        }
    }
    out
}

impl Plan<'_> {
    /// `[panels, time, spots, in]` lines.
    fn turn_weight(&self, panels: std::ops::Range<usize>, turned: &mut [Line]) {
        let (channels, [time, ..]) = (self.job.shape.input, self.job.shape.taps);
        let (lines, _) = self.job.weight.as_chunks::<PANEL>();
        let lines = &lines[panels.start * time * 9 * channels..];
        turned
            .par_chunks_mut(SPOTS * channels)
            .zip(lines.par_chunks(9 * channels))
            .for_each(|(turned, taps)| {
                pulp::Arch::new().dispatch(TurnWeight {
                    channels,
                    taps,
                    turned,
                });
            });
    }

    /// `[frames, down, spots, across, in]`.
    fn turn_pixels(&self, top: usize, down: usize, strips: &mut [f32]) {
        let each = |(index, strip): (usize, &mut [f32])| {
            let Some(frame) = self.job.frames[index / down] else {
                strip.fill(0.0);
                return;
            };
            pulp::Arch::new().dispatch(TurnPixels {
                frame,
                plane: self.job.plane,
                channels: self.job.shape.input,
                tile: top + index % down,
                across: self.tiles[1],
                strip,
            });
        };
        strips.par_chunks_mut(self.strip).enumerate().for_each(each);
    }

    /// `[spots, panels, tiles]` lines.
    fn multiply(&self, down: usize, strips: &[f32], turned: &[Line], panels: usize, sums: &mut [Line]) {
        let (channels, [time, ..]) = (self.job.shape.input, self.job.shape.taps);
        let (across, every) = (self.tiles[1], self.job.path.every);
        let tiles = self.job.results[0] * down * across;
        let starts: Vec<usize> = (0..tiles)
            .map(|tile| {
                let (strip, x) = (tile / across, tile % across);
                let strip = strip / down * every * down + strip % down;
                strip * self.strip + x * channels
            })
            .collect();
        let each = |(index, sums): (usize, &mut [Line])| {
            let (spot, panel) = (index / panels, index % panels);
            let step = |tap: usize| Step {
                a: tap * down * self.strip + spot * across * channels,
                b: ((panel * time + tap) * SPOTS + spot) * channels,
                len: channels,
            };
            let steps: Vec<Step> = (0..time).map(step).collect();
            sums.fill([0.0; PANEL]);
            pulp::Arch::new().dispatch(Sum {
                a: strips,
                rows: &starts,
                steps: &steps,
                b: turned,
                out: sums,
            });
        };
        sums.par_chunks_mut(tiles).enumerate().for_each(each);
    }

    /// Into the rows of pixels that `down` rows of tiles from `top` on cover.
    fn turn_back(
        &self,
        top: usize,
        down: usize,
        panels: std::ops::Range<usize>,
        sums: &[Line],
        out: &mut [f32],
    ) {
        let [height, width] = self.job.plane;
        let line = width * self.job.shape.output;
        let covered = top * TILE * line..height.min((top + down) * TILE) * line;
        let rows: Vec<&mut [f32]> = out
            .chunks_exact_mut(height * line)
            .flat_map(|frame| frame[covered.clone()].chunks_mut(TILE * line))
            .collect();
        rows.into_par_iter().enumerate().for_each(|(index, out)| {
            let at = (index / down * height + (top + index % down) * TILE) * line;
            for (place, panel) in panels.clone().enumerate() {
                pulp::Arch::new().dispatch(TurnBack {
                    sums,
                    tiles: self.job.results[0] * down * self.tiles[1],
                    panels: panels.len(),
                    place,
                    first: index * self.tiles[1],
                    across: self.tiles[1],
                    width,
                    output: self.job.shape.output,
                    panel,
                    bias: self.job.bias_of(panel),
                    add: self.job.add.map(|add| &add[at..at + out.len()]),
                    out,
                });
            }
        });
    }
}

/// `x * factor`. Functions, not closures: those are not sure to be compiled for the vector unit at hand.
#[inline(always)]
fn by<S: Simd>(simd: S, x: S::f32s, factor: f32) -> S::f32s {
    simd.mul_f32s(x, simd.splat_f32s(factor))
}

/// `x * factor + y`.
#[inline(always)]
fn add_by<S: Simd>(simd: S, x: S::f32s, factor: f32, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(x, simd.splat_f32s(factor), y)
}

/// Sum and difference.
#[inline(always)]
fn both<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> [S::f32s; 2] {
    [simd.add_f32s(x, y), simd.sub_f32s(x, y)]
}

/// Three taps to six spots.
#[inline(always)]
fn spread<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; REACH] {
    const NEAR: f32 = 1.0 / (2.0 * AA * (AA - BB));
    const FAR: f32 = 1.0 / (2.0 * BB * (BB - AA));
    let even = add_by(simd, c, NEAR * AA, by(simd, a, NEAR));
    let [p, q] = both(simd, even, by(simd, b, NEAR * A));
    let even = add_by(simd, c, FAR * BB, by(simd, a, FAR));
    let [r, s] = both(simd, even, by(simd, b, FAR * B));
    [by(simd, a, 1.0 / (AA * BB)), p, q, r, s, c]
}

/// Six pixels to six spots.
#[inline(always)]
fn weigh<S: Simd>(simd: S, [x0, x1, x2, x3, x4, x5]: [S::f32s; REACH]) -> [S::f32s; REACH] {
    let (even, odd) = (add_by(simd, x2, -BB, x4), add_by(simd, x1, -BB, x3));
    let [p, q] = [add_by(simd, odd, A, even), add_by(simd, odd, -A, even)];
    let (even, odd) = (add_by(simd, x2, -AA, x4), add_by(simd, x1, -AA, x3));
    let [r, s] = [add_by(simd, odd, B, even), add_by(simd, odd, -B, even)];
    let first = add_by(simd, x0, AA * BB, add_by(simd, x2, -(AA + BB), x4));
    let last = add_by(simd, x1, AA * BB, add_by(simd, x3, -(AA + BB), x5));
    [first, p, q, r, s, last]
}

/// Six spots to four pixels.
#[inline(always)]
fn gather<S: Simd>(simd: S, [x0, p, q, r, s, x5]: [S::f32s; REACH]) -> [S::f32s; TILE] {
    let [near, turn] = both(simd, p, q);
    let [far, tilt] = both(simd, r, s);
    [
        simd.add_f32s(x0, simd.add_f32s(near, far)),
        add_by(simd, turn, A, by(simd, tilt, B)),
        add_by(simd, near, AA, by(simd, far, BB)),
        simd.add_f32s(x5, add_by(simd, turn, AA * A, by(simd, tilt, BB * B))),
    ]
}

/// The nine taps of each channel to 36 spots.
struct TurnWeight<'a> {
    channels: usize,
    taps: &'a [Line],
    turned: &'a mut [Line],
}

impl WithSimd for TurnWeight<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for channel in 0..self.channels {
            for column in (0..PANEL).step_by(S::F32_LANES) {
                let mut down = [[simd.splat_f32s(0.0); REACH]; 3];
                for (x, down) in down.iter_mut().enumerate() {
                    let mut taps = [simd.splat_f32s(0.0); 3];
                    for (y, tap) in taps.iter_mut().enumerate() {
                        let line = &self.taps[(3 * y + x) * self.channels + channel];
                        *tap = load(simd, &line[column..]);
                    }
                    *down = spread(simd, taps);
                }
                for y in 0..REACH {
                    let row = spread(simd, [down[0][y], down[1][y], down[2][y]]);
                    for (x, value) in row.into_iter().enumerate() {
                        let line = &mut self.turned[(y * REACH + x) * self.channels + channel];
                        S::as_mut_simd_f32s(&mut line[column..]).0[0] = value;
                    }
                }
            }
        }
    }
}

/// A row of tiles to their spots.
struct TurnPixels<'a> {
    frame: &'a [f32],
    plane: [usize; 2],
    channels: usize,
    /// Which row of tiles.
    tile: usize,
    across: usize,
    strip: &'a mut [f32],
}

impl WithSimd for TurnPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ([height, width], channels) = (self.plane, self.channels);
        for tile in 0..self.across {
            for channel in (0..channels).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(channels - channel);
                let mut down = [[simd.splat_f32s(0.0); REACH]; REACH];
                for (x, down) in down.iter_mut().enumerate() {
                    let mut pixels = [simd.splat_f32s(0.0); REACH];
                    for (y, pixel) in pixels.iter_mut().enumerate() {
                        // counted from one: before the first row and column, and after the last, there are zeros
                        let (y, x) = (self.tile * TILE + y, tile * TILE + x);
                        if y > 0 && x > 0 && y <= height && x <= width {
                            let at = ((y - 1) * width + x - 1) * channels + channel;
                            *pixel = load(simd, &self.frame[at..at + lanes]);
                        }
                    }
                    *down = weigh(simd, pixels);
                }
                for y in 0..REACH {
                    let [a, b, c, d, e, f] = &down;
                    let row = weigh(simd, [a[y], b[y], c[y], d[y], e[y], f[y]]);
                    for (x, value) in row.into_iter().enumerate() {
                        let spot = y * REACH + x;
                        let at = (spot * self.across + tile) * channels + channel;
                        store(simd, &mut self.strip[at..at + lanes], value);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0 {
        [whole, ..] => *whole,
        [] => simd.partial_load_f32s(values),
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, into: &mut [f32], values: S::f32s) {
    if into.len() == S::F32_LANES {
        S::as_mut_simd_f32s(into).0[0] = values;
    } else {
        simd.partial_store_f32s(into, values);
    }
}

/// A panel of a row of tiles to pixels.
struct TurnBack<'a> {
    sums: &'a [Line],
    /// Of a panel.
    tiles: usize,
    panels: usize,
    /// Which of the panels at hand.
    place: usize,
    first: usize,
    across: usize,
    width: usize,
    output: usize,
    /// Which of all panels.
    panel: usize,
    bias: Line,
    add: Option<&'a [f32]>,
    /// Up to four rows of pixels.
    out: &'a mut [f32],
}

impl WithSimd for TurnBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let line = self.width * self.output;
        let rows = self.out.len() / line;
        let columns = PANEL.min(self.output - self.panel * PANEL);
        for tile in 0..self.across {
            for column in (0..columns).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(columns - column);
                let bias = load(simd, &self.bias[column..]);
                let mut across = [[simd.splat_f32s(0.0); TILE]; REACH];
                for (y, across) in across.iter_mut().enumerate() {
                    let mut spots = [simd.splat_f32s(0.0); REACH];
                    for (x, spot) in spots.iter_mut().enumerate() {
                        let panel = (y * REACH + x) * self.panels + self.place;
                        let line = &self.sums[panel * self.tiles + self.first + tile];
                        *spot = load(simd, &line[column..]);
                    }
                    *across = gather(simd, spots);
                }
                for x in 0..TILE.min(self.width - tile * TILE) {
                    let [a, b, c, d, e, f] = &across;
                    let pixels = gather(simd, [a[x], b[x], c[x], d[x], e[x], f[x]]);
                    for (y, pixel) in pixels.into_iter().enumerate().take(rows) {
                        let at = y * line + (tile * TILE + x) * self.output + self.panel * PANEL + column;
                        let mut pixel = simd.add_f32s(pixel, bias);
                        if let Some(add) = self.add {
                            pixel = simd.add_f32s(pixel, load(simd, &add[at..at + lanes]));
                        }
                        store(simd, &mut self.out[at..at + lanes], pixel);
                    }
                }
            }
        }
    }
}
