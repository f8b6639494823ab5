//! BRISQUE: how far the statistics of a picture are from those of natural scenes, without a reference. Lower is better.
//!
//! Reference: the package `brisque` 0.2.0 (Mittal, Moorthy, Bovik 2012), whose numbers ours equal
//! (`scripts/golden/quality.py`). The picture in grey, and its half, are levelled by local mean and deviation; the spread of the
//! levelled values and of the products of neighbours is fitted by asymmetric generalised Gaussians; a support vector
//! regression rates the 36 numbers of the fits.

mod rows;

use std::path::Path;

use omni_media::Image;

use self::rows::Sums;
use crate::{Error, Network};

/// Numbers per picture: 18 of the picture, then 18 of its half.
pub const FEATURES: usize = 36;
/// Shapes are looked for up to here; a spread that no Gaussian has is given this one, where the reference's solver runs away.
const STEEPEST: f64 = 1e6;
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
    if image.width < 4 || image.height < 4 {
        return None;
    }
    let mut out = [0.0; FEATURES];
    let sizes = rows::sums(&image.data, image.width, image.height);
    for (numbers, spreads) in out.chunks_exact_mut(FEATURES / 2).zip(&sizes) {
        let [own, products @ ..] = spreads;
        let own = Fit::of(&own.sums())?;
        numbers[0] = own.shape;
        numbers[1] = (own.left + own.right) / 2.0;
        for (numbers, spread) in numbers[2..].chunks_exact_mut(4).zip(products) {
            let fit = Fit::of(&spread.sums())?;
            numbers.copy_from_slice(&[fit.shape, fit.mean, fit.left, fit.right]);
        }
    }
    Some(out)
}

/// An asymmetric generalised Gaussian: its shape, its mean, and the mean squares of either side.
struct Fit {
    shape: f64,
    mean: f64,
    left: f64,
    right: f64,
}

impl Fit {
    /// `None` without values on both sides.
    fn of(sums: &Sums) -> Option<Fit> {
        let Sums {
            absolute,
            below,
            above,
            negative,
            count,
        } = *sums;
        if below <= 0.0 || above <= 0.0 {
            return None;
        }
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
