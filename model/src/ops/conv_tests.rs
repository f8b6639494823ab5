//! The convolutions against sums written out, on any shapes.

use super::*;
use crate::param::Param;
use candle_core::{Device, Var};
use proptest::prelude::*;

fn values(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let values = crate::weights::value_of("conv", seed, count, 1.7, 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference over the largest value.
fn far(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-30, |most: f64, b| most.max(b.abs()));
    let off = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs());
    off.fold(0.0, f64::max) / largest
}

#[derive(Debug, Clone)]
struct Case {
    shape: ConvShape,
    path: ConvPath,
    past: usize,
    size: [usize; 3],
    extras: [bool; 2],
}

impl Case {
    fn kernel(&self) -> (ConvKernel, Tensor) {
        let [time, rows, columns] = self.shape.taps;
        let stored = values(&[self.shape.output, self.shape.input, time, rows, columns], 2);
        let kernel = ConvKernel {
            shape: self.shape,
            weight: Param::new(self.shape.hold(&stored).unwrap()),
            bias: self.extras[0].then(|| Param::new(values(&[self.shape.output], 3))),
        };
        (kernel, stored)
    }

    fn inputs(&self) -> (Option<Tensor>, Tensor) {
        let [frames, height, width] = self.size;
        let x = values(&[frames, height, width, self.shape.input], 1);
        let past = values(&[self.past, height, width, self.shape.input], 5);
        ((self.past > 0).then_some(past), x)
    }

    /// Sums in f64, written out.
    fn plain(&self, results: [usize; 3], add: Option<&[f32]>) -> Vec<f64> {
        let (kernel, stored) = self.kernel();
        let (past, x) = self.inputs();
        let joined = [past.map_or(Vec::new(), |past| flat(&past)), flat(&x)].concat();
        let (stored, bias) = (flat(&stored), kernel.bias.map(|bias| flat(&bias.t())));
        let [_, height, width] = self.size;
        let ConvShape { input, output, taps } = self.shape;
        let path = self.path;
        let value = |frame: usize, y: usize, x: usize, channel: usize| {
            let frame = frame.checked_sub(path.lead)?;
            let y = y.checked_sub(path.pad[0][0]).filter(|y| *y < height)?;
            let x = x.checked_sub(path.pad[1][0]).filter(|x| *x < width)?;
            let at = ((frame * height + y) * width + x) * input + channel;
            joined.get(at).map(|value| f64::from(*value))
        };
        let mut out = Vec::new();
        for place in 0..results.iter().product::<usize>() * output {
            let (pixel, channel) = (place / output, place % output);
            let (line, x) = (pixel / results[2], pixel % results[2]);
            let (frame, y) = (line / results[1], line % results[1]);
            let mut sum = bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
            sum += add.map_or(0.0, |add| f64::from(add[place]));
            for tap in 0..taps.iter().product() {
                let (dx, line) = (tap % taps[2], tap / taps[2]);
                let (dy, dt) = (line % taps[1], line / taps[1]);
                for i in 0..input {
                    let weight = stored[(channel * input + i) * taps.iter().product::<usize>() + tap];
                    let (y, x) = (
                        y * path.stride + dy * path.dilation,
                        x * path.stride + dx * path.dilation,
                    );
                    let x = value(frame * path.every + dt, y, x, i).unwrap_or(0.0);
                    sum += x * f64::from(weight);
                }
            }
            out.push(sum);
        }
        out
    }

    /// Fails if the kernel, or the form in candle's ops, gives something else than the plain sums.
    fn check(&self) {
        let ConvShape { input, taps, .. } = self.shape;
        let (kernel, _) = self.kernel();
        let (past, x) = self.inputs();
        let run = |add: Option<&Tensor>| conv(past.as_ref(), &x, &kernel, self.path, add);
        let Ok(bare) = run(None) else {
            let [time, rows, columns] = self.shape.taps;
            let [[above, below], [left, right]] = self.path.pad;
            let [frames, height, width] = self.size;
            let reach = |taps: usize| (taps - 1) * self.path.dilation + 1;
            assert!(
                self.path.lead + self.past + frames < time
                    || height + above + below < reach(rows)
                    || width + left + right < reach(columns),
                "{self:?} was refused"
            );
            return;
        };
        let dims = bare.dims4().unwrap();
        let add = self.extras[1].then(|| values(bare.dims(), 4));
        let ours = run(add.as_ref()).unwrap();
        let sums = self.plain([dims.0, dims.1, dims.2], add.as_ref().map(flat).as_deref());
        // rounding grows as the root of the number of products in a sum
        let products = (input * taps.iter().product::<usize>()) as f64;
        let bound = 5e-6 * (products / 630.0).sqrt().max(1.0);
        assert!(
            far(&flat(&ours), &sums) < bound,
            "{} {self:?}",
            far(&flat(&ours), &sums)
        );
        let other = ConvKernel {
            shape: self.shape,
            weight: Param::new(self.shape.hold(&wide(&self.kernel().1)).unwrap()),
            bias: kernel.bias.as_ref().map(|bias| Param::new(wide(&bias.t()))),
        };
        let (past, x, add) = (past.as_ref().map(wide), wide(&x), add.as_ref().map(wide));
        let other = conv(past.as_ref(), &x, &other, self.path, add.as_ref()).unwrap();
        let other = flat(&other.to_dtype(DType::F32).unwrap());
        assert!(
            far(&other, &sums) < 1e-6,
            "candle {} {self:?}",
            far(&other, &sums)
        );
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (1usize..40, 1usize..70, 1usize..4, 1usize..4, 1usize..6);
    let path = (0usize..3, 1usize..3, 1usize..3, 1usize..4, any::<[bool; 4]>());
    let size = (0usize..3, 1usize..4, 1usize..9, 1usize..14, any::<[bool; 2]>());
    (shape, path, size).prop_map(|(shape, path, size)| Case {
        shape: ConvShape {
            input: shape.0,
            output: shape.1,
            taps: [shape.2, shape.3, shape.4],
        },
        path: ConvPath {
            lead: path.0,
            every: path.1,
            stride: path.2,
            dilation: path.3,
            pad: [
                [usize::from(path.4[0]), usize::from(path.4[1])],
                [2 * usize::from(path.4[2]), usize::from(path.4[3])],
            ],
        },
        past: size.0,
        size: [size.1, size.2, size.3],
        extras: size.4,
    })
}

/// Kernels of 3x3 in single steps, on planes on both sides of what is turned.
fn squares() -> impl Strategy<Value = Case> {
    let shape = (1usize..40, 1usize..70, 1usize..4, 1usize..3);
    let size = (0usize..3, 1usize..4, 1usize..20, 1usize..20, any::<[bool; 2]>());
    (shape, size).prop_map(|(shape, size)| Case {
        shape: ConvShape {
            input: shape.0,
            output: shape.1,
            taps: [shape.2, 3, 3],
        },
        path: ConvPath {
            lead: shape.2 - 1,
            every: shape.3,
            ..ConvPath::same([1, 3, 3])
        },
        past: size.0,
        size: [size.1, size.2, size.3],
        extras: size.4,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_convolution_is_its_plain_sum(case in cases()) {
        case.check();
    }

    #[test]
    fn squares_are_their_plain_sums(case in squares()) {
        case.check();
    }
}

/// Wide and deep enough for several panels, groups and blocks.
fn large() -> Case {
    Case {
        shape: ConvShape {
            input: 70,
            output: 100,
            taps: [3, 3, 3],
        },
        path: ConvPath {
            lead: 2,
            ..ConvPath::same([3, 3, 3])
        },
        past: 0,
        size: [4, 45, 34],
        extras: [true, false],
    }
}

#[test]
fn one_pixel_a_column_and_no_frame_to_find() {
    let base = large();
    for size in [[1, 1, 1], [2, 1, 9], [1, 7, 1]] {
        Case { size, ..base.clone() }.check();
    }
    let mut none = base;
    none.path.lead = 0;
    none.size = [2, 5, 5];
    let (kernel, _) = none.kernel();
    assert!(
        conv(None, &none.inputs().1, &kernel, none.path, None).is_err(),
        "two frames of three taps"
    );
    let rows = ConvShape::rows(6, 4, 3);
    let upwards = ConvKernel {
        shape: rows,
        weight: Param::new(rows.hold_rows(&values(&[4, 6, 3], 2)).unwrap()),
        bias: None,
    };
    assert!(
        crate::ops::conv_upwards(&values(&[0, 6], 1), &upwards, 2).is_err(),
        "no row at all"
    );
    let run =
        |past: Option<&Tensor>, x: &Tensor, add: Option<&Tensor>| conv(past, x, &kernel, none.path, add);
    assert!(run(None, &values(&[9, 9, 9, 3], 1), None).is_err());
    let x = values(&[3, 5, 5, 70], 1);
    assert!(run(None, &x, Some(&values(&[1, 5, 5, 100], 1))).is_ok());
    assert!(run(None, &x, Some(&values(&[1, 5, 5, 99], 1))).is_err());
    assert!(run(Some(&values(&[1, 5, 6, 70], 1)), &x, None).is_err());
}

/// What no small random case reaches: panels in several groups with a ragged last one, more channels than a step takes, several
/// strips of a plane.
#[test]
fn groups_steps_and_strips_are_their_plain_sums() {
    let of = |input, output, taps: [usize; 3], size, lead| Case {
        shape: ConvShape { input, output, taps },
        path: ConvPath {
            lead,
            ..ConvPath::same(taps)
        },
        size,
        ..large()
    };
    of(2600, 65, [1, 3, 3], [1, 9, 13], 0).check();
    of(600, 40, [1, 1, 1], [2, 5, 5], 0).check();
    of(600, 40, [1, 3, 3], [1, 3, 3], 0).check();
    of(3, 5, [3, 3, 3], [4, 45, 34], 2).check();
}

#[test]
fn chunks_and_threads_change_no_bit() {
    let case = large();
    let (kernel, _) = case.kernel();
    for (height, width) in [(45, 34), (6, 9)] {
        let x = values(&[4, height, width, 70], 1);
        let whole = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| flat(&conv(None, &x, &kernel, case.path, None).unwrap()))
        };
        let one = whole(1);
        assert_eq!(one, whole(2));
        assert_eq!(one, whole(3));
        let first = conv(None, &x.narrow(0, 0, 3).unwrap(), &kernel, case.path, None).unwrap();
        let (past, rest) = (x.narrow(0, 1, 2).unwrap(), x.narrow(0, 3, 1).unwrap());
        let path = ConvPath { lead: 0, ..case.path };
        let second = conv(Some(&past), &rest, &kernel, path, None).unwrap();
        assert_eq!(one, [flat(&first), flat(&second)].concat());
    }
}

#[test]
fn a_gradient_goes_through() {
    let case = Case {
        shape: ConvShape {
            input: 3,
            output: 5,
            taps: [2, 3, 3],
        },
        size: [2, 4, 5],
        path: ConvPath {
            lead: 1,
            ..ConvPath::same([2, 3, 3])
        },
        ..large()
    };
    // of the frames, of what came before, and of what is added: each against steps to either side
    let (kernel, _) = case.kernel();
    let parts = [
        case.inputs().1,
        values(&[1, 4, 5, 3], 6),
        values(&[3, 4, 5, 5], 7),
    ];
    let vars = parts.map(|part| Var::from_tensor(&part).unwrap());
    let loss = |[x, past, add]: [&Tensor; 3]| {
        let y = conv(Some(past), x, &kernel, case.path, Some(add)).unwrap();
        y.sqr().unwrap().sum_all().unwrap()
    };
    let all = || vars.each_ref().map(|var| var.as_tensor());
    let grads = loss(all()).backward().unwrap();
    for (which, var) in vars.iter().enumerate() {
        let slope = flat(grads.get(var).unwrap());
        let at = |index: usize, step: f32| {
            let mut moved = flat(var.as_tensor());
            moved[index] += step;
            let moved = Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap();
            let mut parts = all();
            parts[which] = &moved;
            f64::from(loss(parts).to_scalar::<f32>().unwrap())
        };
        for index in [0, 17, 59] {
            let found = (at(index, 0.05) - at(index, -0.05)) / 0.1;
            assert!(
                (found - f64::from(slope[index])).abs() < 1e-2 * found.abs().max(1.0),
                "{which}: {found} {}",
                slope[index]
            );
        }
    }
}

fn wide(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::F64).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    wide(tensor).flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn rows_equal_windows_and_a_product() {
    for (input, output, taps, dilation) in [
        (5, 33, 3, 1),
        (40, 7, 7, 3),
        (3, 64, 11, 5),
        (9, 1, 1, 1),
        (4, 4, 4, 2),
    ] {
        let shape = ConvShape::rows(input, output, taps);
        let (stored, bias) = (values(&[output, input, taps], 2), values(&[output], 3));
        let kernel = |weight: Tensor, bias: Tensor| ConvKernel {
            shape,
            weight: Param::new(weight),
            bias: Some(Param::new(bias)),
        };
        let ours = kernel(shape.hold_rows(&stored).unwrap(), bias.clone());
        let plain = kernel(shape.hold_rows(&wide(&stored)).unwrap(), wide(&bias));
        assert_eq!((ours.weight.t().rank(), plain.weight.t().rank()), (3, 2));
        let (x, add) = (values(&[23, input], 1), values(&[23, output], 4));
        let expected = numbers(&conv_rows(&wide(&x), &plain, dilation, false, Some(&wide(&add))).unwrap());
        let [before, after] = margins(taps, dilation);
        let padded = x.pad_with_zeros(0, before, after).unwrap();
        for (x, has_margins) in [(&x, false), (&padded, true)] {
            let found = conv_rows(x, &ours, dilation, has_margins, Some(&add)).unwrap();
            assert!(far(&flat(&found), &expected) < 2e-6);
            let other = conv_rows(&wide(x), &plain, dilation, has_margins, Some(&wide(&add))).unwrap();
            assert!(
                numbers(&other)
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| (a - b).abs() < 1e-9)
            );
        }
    }
}

#[test]
fn upwards_is_the_transposed_convolution() {
    for (rate, taps, rows) in [(4, 8, 9), (2, 4, 2), (3, 9, 5), (2, 2, 4)] {
        let (x, weight) = (values(&[rows, 6], 1), values(&[6, 5, taps], 2));
        let shape = ConvShape::rows(6, rate * 5, taps / rate);
        let held = shape
            .hold(&ConvShape::plain_of_upwards(&weight, rate).unwrap())
            .unwrap();
        let kernel = ConvKernel {
            shape,
            weight: Param::new(held),
            bias: None,
        };
        let ours = conv_upwards(&x, &kernel, rate).unwrap();
        let columns = wide(&x).t().unwrap().contiguous().unwrap().unsqueeze(0).unwrap();
        let plain = columns
            .conv_transpose1d(&wide(&weight), (taps - rate) / 2, 0, rate, 1, 1)
            .unwrap();
        let plain = plain.squeeze(0).unwrap().t().unwrap().contiguous().unwrap();
        assert_eq!(ours.dims(), plain.dims());
        assert!(far(&flat(&ours), &numbers(&plain)) < 2e-6);
    }
}

#[test]
fn the_activation_in_one_pass_equals_its_three_steps() {
    let (up, down): ([f32; SNAKE_TAPS], [f32; SNAKE_TAPS]) = (
        std::array::from_fn(|tap| 0.1 + 0.01 * tap as f32),
        std::array::from_fn(|tap| 0.2 - 0.03 * tap as f32),
    );
    for (rows, width) in [(1, 3), (2, 64), (9, 5), (70, 129)] {
        let (x, rate, share) = (
            values(&[rows, width], 1),
            values(&[width], 2),
            values(&[width], 3),
        );
        let one = |x: &Tensor, rate: &Tensor, share: &Tensor| {
            let snake = Snake {
                rate,
                share,
                up: &up,
                down: &down,
            };
            snake.apply(x, [2, 3]).unwrap()
        };
        let ours = one(&x, &rate, &share);
        assert_eq!(ours.dims(), [rows + 5, width]);
        let plain = one(&wide(&x), &wide(&rate), &wide(&share));
        assert!(far(&flat(&ours), &numbers(&plain)) < 1e-6);
    }
}

#[test]
fn a_mean_of_some_equals_their_sum_over_their_count() {
    for count in 1..4u64 {
        let all: Vec<Tensor> = (0..count).map(|seed| values(&[9, 700], seed)).collect();
        let plain: Vec<Tensor> = all.iter().map(wide).collect();
        let expected = numbers(&mean_of(&plain).unwrap());
        assert!(far(&flat(&mean_of(&all).unwrap()), &expected) < 1e-6);
    }
    assert!(mean_of(&[]).is_err());
}
