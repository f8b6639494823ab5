//! The sums behind BRISQUE's numbers, made while the rows of a picture pass by: of a plane only the rows that a window sees are
//! kept, so that all of it stays in the nearest cache. One function compiled for the vector unit at hand holds all loops; nothing
//! in them is contracted or put in another order, but the sums of [`Spread`].

/// How far the window over which the mean and the deviation are taken reaches from its middle.
const REACH: usize = 3;
/// Its width.
pub(super) const SPAN: usize = 2 * REACH + 1;
/// Added to the local deviation.
const FLOOR: f64 = 1.0 / 255.0;
/// Weights of red, green and blue in grey (scikit-image).
const GREY: [f64; 3] = [0.2125, 0.7154, 0.0721];
/// OpenCV's bicubic rule (a = -0.75) in the middle between two pixels.
const HALFWAY: [f64; 4] = [-0.09375, 0.59375, 0.59375, -0.09375];
/// Values that are summed at once.
const LANES: usize = 16;
/// Pixels whose windows are summed at once: eight chains of additions hide each other's latency.
const BLOCK: usize = 32;

/// The sums over a picture's levelled values (first) and over the products of each with its neighbour to the right, below, below to
/// the right, and below to the left; of the picture in grey, and of its half.
pub(super) fn sums(rgb: &[u8], width: usize, height: usize) -> [[Spread; 5]; 2] {
    pulp::Arch::new().dispatch(Pass { rgb, width, height })
}

/// The weight of a place in the window: a Gaussian of 7/6 pixels over 7 x 7 that sums to 1, by its squared distance from
/// the middle, with the very digits of the reference.
pub(super) fn weight(down: usize, right: usize) -> f64 {
    let far = down.abs_diff(REACH).pow(2) + right.abs_diff(REACH).pow(2);
    match far {
        0 => 0.11739635539001349,
        1 => 0.08130511451661487,
        2 => 0.05630942821519819,
        4 => 0.027008944999942323,
        5 => 0.018705566786105406,
        8 => 0.0062138480158640775,
        9 => 0.0043035205210607925,
        10 => 0.002980486298974274,
        13 => 0.000990095038924366,
        _ => 0.0001577586358082699,
    }
}

/// A picture's way through both sizes.
struct Pass<'a> {
    rgb: &'a [u8],
    width: usize,
    height: usize,
}

impl pulp::NullaryFnOnce for Pass<'_> {
    type Output = [[Spread; 5]; 2];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let mut whole = Levels::new(self.width);
        let mut half = Half::new(self.width, self.height);
        let mut halved = Levels::new(half.width);
        let mut grey = vec![0.0; self.width];
        for pixels in self.rgb.chunks_exact(3 * self.width).take(self.height) {
            for (to, rgb) in grey.iter_mut().zip(pixels.chunks_exact(3)) {
                // In the order, and rounded as seldom, as the reference's matrix product.
                let part = |i: usize| f64::from(rgb[i]) * (1.0 / 255.0);
                *to = part(2).mul_add(GREY[2], part(0).mul_add(GREY[0], part(1) * GREY[1]));
            }
            whole.push(&grey);
            half.push(&grey, &mut halved);
        }
        whole.end();
        halved.end();
        [whole.spreads, halved.spreads]
    }
}

/// Half the size: exactly two to one, so that every pixel lies in the middle of four, edges repeated. An odd side rounds to even,
/// as OpenCV's.
struct Half {
    width: usize,
    height: usize,
    /// Of the whole.
    rows: usize,
    /// The last four rows, narrowed, each at its number's remainder.
    narrow: [Vec<f64>; 4],
    taken: usize,
    given: usize,
    line: Vec<f64>,
}

impl Half {
    fn new(width: usize, height: usize) -> Half {
        let half = |side: usize| (side as f64 / 2.0).round_ties_even() as usize;
        let width = half(width);
        Half {
            width,
            height: half(height),
            rows: height,
            narrow: std::array::from_fn(|_| vec![0.0; width]),
            taken: 0,
            given: 0,
            line: vec![0.0; width],
        }
    }

    /// The rows that pixel `at` of a halved side lies among.
    #[inline(always)]
    fn taps(at: usize, side: usize) -> [usize; 4] {
        std::array::from_fn(|tap| (2 * at + tap).saturating_sub(1).min(side - 1))
    }

    #[inline(always)]
    fn push(&mut self, row: &[f64], to: &mut Levels) {
        let narrow = &mut self.narrow[self.taken % 4];
        let inner = row[1..].windows(4).step_by(2);
        for (to, four) in narrow[1..].iter_mut().zip(inner) {
            *to = mixed([four[0], four[1], four[2], four[3]]);
        }
        // beyond an edge its pixel is repeated
        for at in [0, self.width - 1] {
            narrow[at] = mixed(Self::taps(at, row.len()).map(|tap| row[tap]));
        }
        self.taken += 1;
        while self.given < self.height {
            let taps = Self::taps(self.given, self.rows);
            if taps[3] >= self.taken {
                break;
            }
            let [a, b, c, d] = taps.map(|row| &self.narrow[row % 4][..self.width]);
            for (x, to) in self.line.iter_mut().enumerate() {
                *to = mixed([a[x], b[x], c[x], d[x]]);
            }
            to.push(&self.line);
            self.given += 1;
        }
    }
}

#[inline(always)]
fn mixed(four: [f64; 4]) -> f64 {
    HALFWAY[0] * four[0] + HALFWAY[1] * four[1] + HALFWAY[2] * four[2] + HALFWAY[3] * four[3]
}

/// A plane's levelled values: each pixel less the mean around it, over the deviation around it; zeros lie beyond the edges.
struct Levels {
    width: usize,
    weights: [f64; SPAN * SPAN],
    /// The last seven rows and their squares with zeros on both sides, each at its number's remainder.
    rows: [Vec<f64>; SPAN],
    squares: [Vec<f64>; SPAN],
    taken: usize,
    mean: Vec<f64>,
    square: Vec<f64>,
    /// The row that was levelled last, and the one before.
    here: Vec<f64>,
    above: Vec<f64>,
    levelled: usize,
    spreads: [Spread; 5],
}

impl Levels {
    fn new(width: usize) -> Levels {
        let blocks = width.next_multiple_of(BLOCK);
        let row = || vec![0.0; blocks + 2 * REACH];
        Levels {
            width,
            weights: std::array::from_fn(|place| weight(place / SPAN, place % SPAN)),
            rows: std::array::from_fn(|_| row()),
            squares: std::array::from_fn(|_| row()),
            taken: 0,
            mean: vec![0.0; blocks],
            square: vec![0.0; blocks],
            here: vec![0.0; width],
            above: vec![0.0; width],
            levelled: 0,
            spreads: Default::default(),
        }
    }

    /// Takes the next row.
    #[inline(always)]
    fn push(&mut self, row: &[f64]) {
        let at = self.taken % SPAN;
        let places = REACH..REACH + self.width;
        self.rows[at][places.clone()].copy_from_slice(row);
        for (to, x) in self.squares[at][places].iter_mut().zip(row) {
            *to = x * x;
        }
        self.step();
    }

    /// There are no more rows.
    #[inline(always)]
    fn end(&mut self) {
        for _ in 0..REACH {
            let at = self.taken % SPAN;
            self.rows[at].fill(0.0);
            self.squares[at].fill(0.0);
            self.step();
        }
    }

    /// Levels the row whose window has become whole.
    #[inline(always)]
    fn step(&mut self) {
        self.taken += 1;
        let Some(middle) = self.taken.checked_sub(REACH + 1) else {
            return;
        };
        // the window's uppermost row lies three above, where rows that never were are still zeros
        let top = middle + SPAN - REACH;
        let window: [usize; SPAN] = std::array::from_fn(|down| (top + down) % SPAN);
        blur(window.map(|at| &self.rows[at][..]), &self.weights, &mut self.mean);
        blur(
            window.map(|at| &self.squares[at][..]),
            &self.weights,
            &mut self.square,
        );
        std::mem::swap(&mut self.here, &mut self.above);
        let values = &self.rows[middle % SPAN][REACH..];
        let around = self.mean.iter().zip(&self.square);
        for (to, (x, (mean, square))) in self.here.iter_mut().zip(values.iter().zip(around)) {
            *to = (x - mean) / ((mean * mean - square).abs().sqrt() + FLOOR);
        }
        self.sum();
    }

    /// Adds the row that was levelled last.
    #[inline(always)]
    fn sum(&mut self) {
        let (here, last) = (&self.here[..], self.width - 1);
        let [own, right, below, below_right, below_left] = &mut self.spreads;
        own.add(here, None);
        right.add(&here[..last], Some(&here[1..]));
        if self.levelled > 0 {
            let above = &self.above[..];
            below.add(above, Some(here));
            below_right.add(&above[..last], Some(&here[1..]));
            below_left.add(&above[1..], Some(&here[..last]));
        }
        self.levelled += 1;
    }
}

/// Weighted means over 7 x 7. Every pixel's sum runs over all 49 places from the last to the first, as SciPy's `convolve2d` does:
/// where a picture is flat, the rounding decides on which side of its mean a pixel lies.
#[inline(always)]
fn blur(rows: [&[f64]; SPAN], weights: &[f64; SPAN * SPAN], out: &mut [f64]) {
    let (blocks, _) = out.as_chunks_mut::<BLOCK>();
    for (number, block) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0; BLOCK];
        for down in (0..SPAN).rev() {
            let from = rows[down][number * BLOCK..].first_chunk::<{ BLOCK + SPAN - 1 }>();
            let Some(from) = from else { return };
            for right in (0..SPAN).rev() {
                let weight = weights[down * SPAN + right];
                for lane in 0..BLOCK {
                    sums[lane] += weight * from[right + lane];
                }
            }
        }
        *block = sums;
    }
}

/// Sums over values, of either sign apart, in so many lanes.
#[derive(Default, Clone, Copy)]
pub(super) struct Spread {
    absolute: [f64; LANES],
    below: [f64; LANES],
    above: [f64; LANES],
    negative: [f64; LANES],
    count: u64,
}

/// What a [`Spread`] has summed.
pub(super) struct Sums {
    /// Of the values without their signs.
    pub absolute: f64,
    /// Of the squares of those below zero.
    pub below: f64,
    /// Of the squares of the others.
    pub above: f64,
    /// How many are below zero.
    pub negative: f64,
    /// How many there are.
    pub count: f64,
}

impl Spread {
    /// Takes values, or the products of two runs of them.
    #[inline(always)]
    fn add(&mut self, a: &[f64], b: Option<&[f64]>) {
        // a copy, which can stay in registers
        let mut sums = *self;
        let (blocks, rest) = a.as_chunks::<LANES>();
        match b {
            None => {
                for a in blocks {
                    sums.block(*a);
                }
                sums.some(rest.iter().copied());
            }
            Some(b) => {
                let (others, other) = b.as_chunks::<LANES>();
                for (a, b) in blocks.iter().zip(others) {
                    sums.block(std::array::from_fn(|lane| a[lane] * b[lane]));
                }
                sums.some(rest.iter().zip(other).map(|(a, b)| a * b));
            }
        }
        sums.count += a.len() as u64;
        *self = sums;
    }

    #[inline(always)]
    fn block(&mut self, values: [f64; LANES]) {
        for (lane, x) in values.into_iter().enumerate() {
            self.one(lane, x);
        }
    }

    #[inline(always)]
    fn some(&mut self, values: impl Iterator<Item = f64>) {
        for (lane, x) in values.enumerate() {
            self.one(lane, x);
        }
    }

    #[inline(always)]
    fn one(&mut self, lane: usize, x: f64) {
        let square = x * x;
        let below = if x < 0.0 { square } else { 0.0 };
        self.absolute[lane] += x.abs();
        self.below[lane] += below;
        self.above[lane] += square - below;
        self.negative[lane] += if x < 0.0 { 1.0 } else { 0.0 };
    }

    /// The lanes together.
    pub(super) fn sums(&self) -> Sums {
        let [absolute, below, above, negative] =
            [&self.absolute, &self.below, &self.above, &self.negative].map(|lanes| lanes.iter().sum());
        Sums {
            absolute,
            below,
            above,
            negative,
            count: self.count as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_sums_to_one() {
        let sum: f64 = (0..SPAN * SPAN)
            .map(|place| weight(place / SPAN, place % SPAN))
            .sum();
        assert!((sum - 1.0).abs() < 1e-14, "{sum}");
    }

    /// Plane, levelled plane and sums as they are written down: whole planes, one pixel after another.
    fn plainly(grey: &[f64], width: usize, height: usize) -> Vec<[f64; 5]> {
        let at = |data: &[f64], x: isize, y: isize| {
            let inside = (0..width as isize).contains(&x) && (0..height as isize).contains(&y);
            if inside {
                data[y as usize * width + x as usize]
            } else {
                0.0
            }
        };
        let blurred = |data: &[f64]| -> Vec<f64> {
            let pixels = (0..height as isize).flat_map(|y| (0..width as isize).map(move |x| (x, y)));
            let mean = |(x, y): (isize, isize)| {
                let mut sum = 0.0;
                for place in (0..SPAN * SPAN).rev() {
                    let (down, right) = (place / SPAN, place % SPAN);
                    let reach = REACH as isize;
                    sum +=
                        weight(down, right) * at(data, x + right as isize - reach, y + down as isize - reach);
                }
                sum
            };
            pixels.map(mean).collect()
        };
        let squares: Vec<f64> = grey.iter().map(|x| x * x).collect();
        let (mean, square) = (blurred(grey), blurred(&squares));
        let levelled: Vec<f64> = (0..grey.len())
            .map(|i| (grey[i] - mean[i]) / ((mean[i] * mean[i] - square[i]).abs().sqrt() + FLOOR))
            .collect();
        let sums = |values: Vec<f64>| {
            let square =
                |keep: fn(f64) -> bool| values.iter().filter(|x| keep(**x)).map(|x| x * x).sum::<f64>();
            [
                values.iter().map(|x| x.abs()).sum(),
                square(|x| x < 0.0),
                square(|x| x >= 0.0),
                values.iter().filter(|x| **x < 0.0).count() as f64,
                values.len() as f64,
            ]
        };
        let products = |right: isize, down: isize| {
            let mut out = Vec::new();
            for y in 0..height as isize - down {
                for x in 0..width as isize {
                    if (0..width as isize).contains(&(x + right)) {
                        out.push(at(&levelled, x, y) * at(&levelled, x + right, y + down));
                    }
                }
            }
            sums(out)
        };
        let mut all = vec![sums(levelled.clone())];
        all.extend([(1, 0), (0, 1), (1, 1), (-1, 1)].map(|(right, down)| products(right, down)));
        all
    }

    /// `(width, height, data)` of the half, one pixel after another.
    fn halved(grey: &[f64], width: usize, height: usize) -> (usize, usize, Vec<f64>) {
        let half = |side: usize| (side as f64 / 2.0).round_ties_even() as usize;
        let tap = |at: usize, tap: usize, side: usize| (2 * at + tap).saturating_sub(1).min(side - 1);
        let mut data = Vec::new();
        for y in 0..half(height) {
            for x in 0..half(width) {
                let row = |row: usize| {
                    let from = &grey[tap(y, row, height) * width..];
                    (0..4).map(|i| HALFWAY[i] * from[tap(x, i, width)]).sum::<f64>()
                };
                data.push((0..4).map(|i| HALFWAY[i] * row(i)).sum());
            }
        }
        (half(width), half(height), data)
    }

    proptest! {
        #[test]
        fn rows_that_pass_by_make_the_sums_of_whole_planes(width in 4_usize..75, height in 4_usize..20, seed: u64) {
            let mut state = seed;
            let rgb: Vec<u8> = (0..width * height * 3).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            }).collect();
            let grey: Vec<f64> = rgb.chunks_exact(3).map(|rgb| {
                let part = |i: usize| f64::from(rgb[i]) * (1.0 / 255.0);
                part(2).mul_add(GREY[2], part(0).mul_add(GREY[0], part(1) * GREY[1]))
            }).collect();
            let (half_width, half_height, half) = halved(&grey, width, height);
            let wanted = [plainly(&grey, width, height), plainly(&half, half_width, half_height)];
            for (spreads, wanted) in sums(&rgb, width, height).iter().zip(&wanted) {
                for (spread, wanted) in spreads.iter().zip(wanted) {
                    let got = spread.sums();
                    prop_assert_eq!((got.negative, got.count), (wanted[3], wanted[4]));
                    for (got, wanted) in [got.absolute, got.below, got.above].iter().zip(wanted) {
                        prop_assert!((got - wanted).abs() <= 1e-12 * wanted.abs(), "{} and not {}", got, wanted);
                    }
                }
            }
        }
    }
}
