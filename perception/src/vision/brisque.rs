//! BRISQUE: how far the statistics of a picture are from those of natural scenes, without a reference. Lower is better.
//!
//! Reference: the package `brisque` 0.2.0 (Mittal, Moorthy, Bovik 2012), whose numbers ours equal
//! (`scripts/golden/quality.py`). The picture in grey, and its half, are levelled by local mean and deviation; the spread of the
//! levelled values and of the products of neighbours is fitted by asymmetric generalised Gaussians; a support vector
//! regression rates the 36 numbers of the fits.

use std::path::Path;

use omni_media::Image;

use crate::{Error, Network};

/// Numbers per picture: 18 of the picture, then 18 of its half.
pub const FEATURES: usize = 36;
/// How far the window over which the mean and the deviation are taken reaches from its middle.
const REACH: usize = 3;
/// Its width.
const SPAN: usize = 2 * REACH + 1;
/// Added to the local deviation.
const FLOOR: f64 = 1.0 / 255.0;
/// Shapes are looked for up to here; a spread that no Gaussian has is given this one, where the reference's solver runs away.
const STEEPEST: f64 = 1e6;
/// Weights of red, green and blue in grey (scikit-image).
const GREY: [f64; 3] = [0.2125, 0.7154, 0.0721];

/// Least value of each number in the package's training set (its `normalize.pickle`).
const LEAST: [f64; FEATURES] = [
    0.336999, 0.019667, 0.23, -0.125959, 0.000167, 0.000616, 0.231, -0.125873, 0.000165, 0.0006, 0.241,
    -0.128814, 0.000179, 0.000386, 0.243, -0.13308, 0.000182, 0.000421, 0.436998, 0.016929, 0.247, -0.200231,
    0.000104, 0.000834, 0.257, -0.200017, 0.000112, 0.000876, 0.257, -0.155072, 0.000112, 0.000356, 0.258,
    -0.154374, 0.000117, 0.000351,
];
/// The greatest.
const MOST: [f64; FEATURES] = [
    9.999411, 0.807472, 1.644021, 0.202917, 0.712384, 0.468672, 1.644021, 0.169548, 0.713132, 0.467896,
    1.553016, 0.101368, 0.687324, 0.533087, 1.554016, 0.101, 0.689177, 0.533133, 3.639918, 0.800955,
    1.096995, 0.175286, 0.755547, 0.39927, 1.095995, 0.155928, 0.751488, 0.402398, 1.041992, 0.093209,
    0.623516, 0.532925, 1.042992, 0.093714, 0.621958, 0.534484,
];

/// The regression behind the features.
pub struct Brisque {
    network: Network,
    gamma: f64,
    rho: f64,
    vectors: Vec<(f64, [f64; FEATURES])>,
}

impl Brisque {
    /// Reads the package's `svm.txt`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Network`] when it is no such regression.
    pub fn open(file: &Path, network: Network) -> Result<Brisque, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Io {
            path: file.to_owned(),
            source,
        })?;
        let parsed = parse(&text).map_err(|message| Error::Network {
            network: network.id.clone(),
            message,
        })?;
        Ok(Brisque { network, ..parsed })
    }

    /// Which it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The rating, about 0 (natural) to 100, not clipped. `None` for a picture without any contrast, and for one
    /// below 4 x 4 pixels.
    pub fn score(&self, image: &Image) -> Option<f64> {
        let features = features(image)?;
        let scaled: [f64; FEATURES] =
            std::array::from_fn(|i| -1.0 + 2.0 / (MOST[i] - LEAST[i]) * (features[i] - LEAST[i]));
        let kernel = |vector: &[f64; FEATURES]| {
            let apart: f64 = vector.iter().zip(&scaled).map(|(a, b)| (a - b).powi(2)).sum();
            (-self.gamma * apart).exp()
        };
        let sum: f64 = self
            .vectors
            .iter()
            .map(|(weight, vector)| weight * kernel(vector))
            .sum();
        Some(sum - self.rho)
    }
}

/// A libsvm model file: a header of `key value` lines, then a weight and `index:value` pairs a line.
fn parse(text: &str) -> Result<Brisque, String> {
    let mut lines = text.lines();
    let (mut gamma, mut rho, mut total) = (None, None, None);
    for line in lines.by_ref() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let number = || value.trim().parse::<f64>().ok();
        match key {
            "svm_type" if value != "epsilon_svr" => {
                return Err(format!("svm_type `{value}` is no regression"));
            }
            "kernel_type" if value != "rbf" => return Err(format!("kernel_type `{value}` is not rbf")),
            "gamma" => gamma = number(),
            "rho" => rho = number(),
            "total_sv" => total = value.trim().parse::<usize>().ok(),
            "SV" => break,
            _ => {}
        }
    }
    let vectors: Vec<_> = lines
        .map(|line| vector(line).ok_or_else(|| format!("no support vector: `{line:.40}`")))
        .collect::<Result<_, _>>()?;
    match (gamma, rho, total) {
        (Some(gamma), Some(rho), Some(total)) if total == vectors.len() && total > 0 => Ok(Brisque {
            network: Network {
                id: String::new(),
                hash: String::new(),
            },
            gamma,
            rho,
            vectors,
        }),
        _ => Err("its header lacks gamma, rho or the number of vectors that follow".to_owned()),
    }
}

fn vector(line: &str) -> Option<(f64, [f64; FEATURES])> {
    let mut words = line.split_whitespace();
    let weight = words.next()?.parse().ok()?;
    let mut out = [0.0; FEATURES];
    for word in words {
        let (index, value) = word.split_once(':')?;
        let index = index.parse::<usize>().ok()?.checked_sub(1)?;
        *out.get_mut(index)? = value.parse().ok()?;
    }
    Some((weight, out))
}

/// The 36 numbers of a picture. `None` as for [`Brisque::score`].
pub fn features(image: &Image) -> Option<[f64; FEATURES]> {
    let whole = Plane::grey(image);
    if whole.width < 4 || whole.height < 4 {
        return None;
    }
    let half = whole.halved();
    let (first, second) = (fits(&whole)?, fits(&half)?);
    let mut out = [0.0; FEATURES];
    out[..18].copy_from_slice(&first);
    out[18..].copy_from_slice(&second);
    Some(out)
}

/// One number a pixel, row by row.
struct Plane {
    width: usize,
    height: usize,
    data: Vec<f64>,
}

impl Plane {
    /// In grey, 0 to 1.
    fn grey(image: &Image) -> Plane {
        // In the order, and rounded as seldom, as the reference's matrix product.
        let mut data = vec![0.0; image.width * image.height];
        vectorized(|| {
            for (to, rgb) in data.iter_mut().zip(image.data.chunks_exact(3)) {
                let part = |i: usize| f64::from(rgb[i]) * (1.0 / 255.0);
                *to = part(2).mul_add(GREY[2], part(0).mul_add(GREY[0], part(1) * GREY[1]));
            }
        });
        Plane {
            width: image.width,
            height: image.height,
            data,
        }
    }

    /// Half the size by OpenCV's bicubic rule, edges repeated: at exactly two to one every pixel lies in the middle of four, whose
    /// weights are those of a = -0.75 at 0.5. An odd side rounds to even, as OpenCV's.
    fn halved(&self) -> Plane {
        const WEIGHTS: [f64; 4] = [-0.09375, 0.59375, 0.59375, -0.09375];
        let half = |side: usize| (side as f64 / 2.0).round_ties_even() as usize;
        let (width, height) = (half(self.width), half(self.height));
        let taps = |at: usize, side: usize| -> [usize; 4] {
            std::array::from_fn(|tap| (2 * at + tap).saturating_sub(1).min(side - 1))
        };
        let mut narrow = Vec::with_capacity(width * self.height);
        for row in self.data.chunks_exact(self.width) {
            narrow.extend((0..width).map(|x| {
                let taps = taps(x, self.width);
                (0..4).map(|i| WEIGHTS[i] * row[taps[i]]).sum::<f64>()
            }));
        }
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = taps(y, self.height).map(|row| &narrow[row * width..][..width]);
            data.extend((0..width).map(|x| (0..4).map(|i| WEIGHTS[i] * rows[i][x]).sum::<f64>()));
        }
        Plane { width, height, data }
    }

    /// Weighted means over 7 x 7, zero beyond the edges. Every pixel's sum runs over all 49 places from the last to the first, as
    /// SciPy's `convolve2d` does: where a picture is flat, the rounding decides on which side of its mean a pixel lies.
    fn blurred(&self) -> Vec<f64> {
        let (width, height, stride) = (self.width, self.height, self.width + 2 * REACH);
        let mut padded = vec![0.0; stride * (height + 2 * REACH)];
        for (y, row) in self.data.chunks_exact(width).enumerate() {
            padded[(y + REACH) * stride + REACH..][..width].copy_from_slice(row);
        }
        let mut out = vec![0.0; width * height];
        pulp::Arch::new().dispatch(Blur {
            weights: std::array::from_fn(|place| weight(place / SPAN, place % SPAN)),
            padded: &padded,
            width,
            out: &mut out,
        });
        out
    }

    /// Each pixel less the mean around it, over the deviation around it.
    fn levelled(&self) -> Plane {
        let mean = self.blurred();
        let squares = Plane {
            width: self.width,
            height: self.height,
            data: self.data.iter().map(|x| x * x).collect(),
        };
        let square = squares.blurred();
        let mut data = vec![0.0; self.data.len()];
        vectorized(|| {
            let around = mean.iter().zip(&square);
            for (to, (x, (mean, square))) in data.iter_mut().zip(self.data.iter().zip(around)) {
                *to = (x - mean) / ((mean * mean - square).abs().sqrt() + FLOOR);
            }
        });
        Plane {
            width: self.width,
            height: self.height,
            data,
        }
    }

    /// Products of each pixel with the one so many to the right and below; `left`: with the one to the left and below.
    fn spread_of_products(&self, right: usize, down: usize, left: bool) -> Spread {
        let (width, mut spread) = (self.width, Spread::default());
        for y in 0..self.height - down {
            let here = &self.data[y * width..][..width];
            let there = &self.data[(y + down) * width..][..width];
            let (here, there) = match left {
                true => (&here[right..], &there[..width - right]),
                false => (&here[..width - right], &there[right..]),
            };
            vectorized(|| {
                for (here, there) in here.chunks(LANES).zip(there.chunks(LANES)) {
                    spread.push(here, there);
                }
            });
        }
        spread
    }
}

/// The weight of a place in the window: a Gaussian of 7/6 pixels over 7 x 7 that sums to 1, by its squared distance from
/// the middle, with the very digits of the reference.
fn weight(down: usize, right: usize) -> f64 {
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

/// The 18 numbers of a plane. `None` when it has no contrast.
fn fits(plane: &Plane) -> Option<[f64; 18]> {
    let levelled = plane.levelled();
    let (mut own, ones) = (Spread::default(), [1.0; LANES]);
    vectorized(|| levelled.data.chunks(LANES).for_each(|some| own.push(some, &ones)));
    let whole = own.fit()?;
    let mut out = [0.0; 18];
    out[0] = whole.shape;
    out[1] = (whole.left + whole.right) / 2.0;
    let directions = [(1, 0, false), (0, 1, false), (1, 1, false), (1, 1, true)];
    for (numbers, (right, down, left)) in out[2..].chunks_exact_mut(4).zip(directions) {
        let fit = levelled.spread_of_products(right, down, left).fit()?;
        numbers.copy_from_slice(&[fit.shape, fit.mean, fit.left, fit.right]);
    }
    Some(out)
}

/// Numbers that are worked on at once: two registers of AVX-512, four of AVX2.
const LANES: usize = 16;

/// The loop of [`Plane::blurred`]: a type of its own, because a closure of this length is not inlined into what is compiled
/// for the vector unit.
struct Blur<'a> {
    weights: [f64; SPAN * SPAN],
    padded: &'a [f64],
    width: usize,
    out: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let stride = self.width + 2 * REACH;
        for (y, line) in self.out.chunks_exact_mut(self.width).enumerate() {
            // A row of the window at a time: seven products are added to a sum between its load and its store.
            for down in (0..SPAN).rev() {
                let from = (y + down) * stride;
                let weights = &self.weights[down * SPAN..][..SPAN];
                let row = |right: usize| &self.padded[from + right..][..self.width];
                let [r0, r1, r2, r3, r4, r5, r6] = [row(0), row(1), row(2), row(3), row(4), row(5), row(6)];
                for x in 0..self.width {
                    let mut sum = line[x] + weights[6] * r6[x];
                    sum += weights[5] * r5[x];
                    sum += weights[4] * r4[x];
                    sum += weights[3] * r3[x];
                    sum += weights[2] * r2[x];
                    sum += weights[1] * r1[x];
                    line[x] = sum + weights[0] * r0[x];
                }
            }
        }
    }
}

/// Runs a short `f` compiled for the vector unit at hand, where the compiler inlines it; a build by parts (`dev`) may not, and
/// is slower for it. Nothing is contracted or put in another order, but in [`Spread`].
fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Sums over values, of either sign apart, in so many lanes.
#[derive(Default)]
struct Spread {
    absolute: [f64; LANES],
    below: [f64; LANES],
    above: [f64; LANES],
    negative: [f64; LANES],
    count: u64,
}

/// An asymmetric generalised Gaussian: its shape, its mean, and the mean squares of either side.
struct Fit {
    shape: f64,
    mean: f64,
    left: f64,
    right: f64,
}

impl Spread {
    /// Takes the products of two runs of at most [`LANES`] numbers.
    #[inline(always)]
    fn push(&mut self, a: &[f64], b: &[f64]) {
        let length = a.len().min(b.len());
        match (a.first_chunk::<LANES>(), b.first_chunk::<LANES>()) {
            (Some(a), Some(b)) => {
                for lane in 0..LANES {
                    self.one(lane, a[lane] * b[lane]);
                }
            }
            _ => (0..length).for_each(|lane| self.one(lane, a[lane] * b[lane])),
        }
        self.count += length as u64;
    }

    #[inline(always)]
    fn one(&mut self, lane: usize, x: f64) {
        let square = x * x;
        let below = if x < 0.0 { square } else { 0.0 };
        self.absolute[lane] += x.abs();
        self.below[lane] += below;
        self.above[lane] += square - below;
        self.negative[lane] += f64::from(u8::from(x < 0.0));
    }

    /// `None` without values on both sides.
    fn fit(&self) -> Option<Fit> {
        let [absolute, below, above, negative] =
            [&self.absolute, &self.below, &self.above, &self.negative].map(|lanes| lanes.iter().sum::<f64>());
        if below <= 0.0 || above <= 0.0 {
            return None;
        }
        let count = self.count as f64;
        let (left, right) = (below / negative, above / (count - negative));
        let gamma = left.sqrt() / right.sqrt();
        let ratio = (absolute / count).powi(2) / ((below + above) / count);
        let wanted = ratio * (gamma.powi(3) + 1.0) * (gamma + 1.0) / (gamma.powi(2) + 1.0).powi(2);
        let shape = shape(wanted);
        let [one, two, three] = [1.0, 2.0, 3.0].map(|n| ln_gamma(n / shape));
        let constant = ((one - three) / 2.0).exp();
        Some(Fit {
            shape,
            mean: (right.sqrt() - left.sqrt()) * constant * (two - one).exp(),
            left,
            right,
        })
    }
}

/// The shape `z` for which `gamma(2/z)^2 / (gamma(1/z) gamma(3/z))` is `wanted`; it grows with `z` towards 3/4.
fn shape(wanted: f64) -> f64 {
    let ratio = |z: f64| (2.0 * ln_gamma(2.0 / z) - ln_gamma(1.0 / z) - ln_gamma(3.0 / z)).exp();
    let (mut low, mut high) = (0.02_f64.ln(), STEEPEST.ln());
    if ratio(STEEPEST) <= wanted {
        return STEEPEST;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match ratio(middle.exp()) < wanted {
            true => low = middle,
            false => high = middle,
        }
    }
    ((low + high) / 2.0).exp()
}

/// The logarithm of the gamma function of a positive number (Lanczos, g = 7, nine terms; about 15 digits).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // gamma(x) = gamma(x + 1) / x
        return ln_gamma(x + 1.0) - x.ln();
    }
    let x = x - 1.0;
    let terms = TERMS.iter().enumerate();
    let sum = 0.999_999_999_999_809_9 + terms.map(|(i, term)| term / (x + i as f64 + 1.0)).sum::<f64>();
    let t = x + 7.5;
    (2.0 * std::f64::consts::PI).sqrt().ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_is_that_of_the_tables() {
        for (x, wanted) in [
            (0.5, std::f64::consts::PI.sqrt()),
            (1.0, 1.0),
            (4.0, 6.0),
            (10.0, 362_880.0),
        ] {
            let got = ln_gamma(x).exp();
            assert!((got / wanted - 1.0).abs() < 1e-13, "{x}: {got}");
        }
        assert!((ln_gamma(1e-6) - 1e6_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_normal_spread_has_shape_two_and_an_even_one_runs_to_the_end() {
        // E|x|^2 / E x^2: 2/pi for a normal spread, 3/4 for an even one, 1/2 for a Laplacian.
        assert!((shape(2.0 / std::f64::consts::PI) - 2.0).abs() < 1e-9);
        assert!((shape(0.5) - 1.0).abs() < 1e-9);
        assert_eq!(shape(0.76), STEEPEST);
    }

    #[test]
    fn the_window_sums_to_one() {
        let sum: f64 = (0..SPAN * SPAN)
            .map(|place| weight(place / SPAN, place % SPAN))
            .sum();
        assert!((sum - 1.0).abs() < 1e-14, "{sum}");
    }

    #[test]
    fn a_picture_of_one_colour_or_of_no_size_has_no_rating() {
        let image = |width: usize, height: usize| Image {
            width,
            height,
            data: vec![0; width * height * 3],
        };
        assert!(features(&image(64, 48)).is_none() && features(&image(3, 48)).is_none());
        assert!(features(&image(0, 0)).is_none());
    }

    #[test]
    fn a_file_that_is_no_such_regression_is_refused() {
        let good =
            "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\ntotal_sv 1\nrho -1.5\nSV\n2 1:0.5 36:-1 \n";
        let read = parse(good).unwrap();
        assert_eq!((read.gamma, read.rho), (0.05, -1.5));
        assert_eq!(
            (read.vectors[0].0, read.vectors[0].1[0], read.vectors[0].1[35]),
            (2.0, 0.5, -1.0)
        );
        for (from, to) in [
            ("epsilon_svr", "c_svc"),
            ("rbf", "linear"),
            ("total_sv 1", "total_sv 2"),
            ("rho -1.5", "rho x"),
            ("36:", "37:"),
            ("2 1:", "two 1:"),
        ] {
            assert!(parse(&good.replace(from, to)).is_err(), "{to}");
        }
        assert!(parse("").is_err());
    }
}
