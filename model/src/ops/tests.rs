use super::*;
use crate::vjp::{checkpoint, custom_vjp};
use candle_core::{Device, Var};

fn values(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let values = crate::weights::value_of("test", seed, count, 1.7, 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn var(shape: &[usize], seed: u64) -> Tensor {
    Var::from_tensor(&values(shape, seed))
        .unwrap()
        .as_tensor()
        .clone()
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (a, b) = (flat(a), flat(b));
    assert_eq!(a.len(), b.len());
    let norm = |v: Vec<f64>| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    norm(a.iter().zip(&b).map(|(a, b)| a - b).collect()) / norm(b).max(1e-30)
}

/// The kernel, and the plain form by way of f64, with gradients of every input.
fn compare(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let wide: Vec<Tensor> = inputs
        .iter()
        .map(|input| {
            let wide = input.detach().to_dtype(DType::F64).unwrap();
            Var::from_tensor(&wide).unwrap().as_tensor().clone()
        })
        .collect();
    let (ours, plain) = (f(inputs), f(&wide));
    assert!(far(&ours, &plain) < 1e-6, "forward {}", far(&ours, &plain));
    let seed = values(ours.dims(), 99);
    let wide_seed = seed.to_dtype(DType::F64).unwrap();
    let ours = (ours * seed).unwrap().sum_all().unwrap().backward().unwrap();
    let plain = (plain * wide_seed)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    for (index, (input, wide)) in inputs.iter().zip(&wide).enumerate() {
        let (a, b) = (ours.get(input).unwrap(), plain.get(wide).unwrap());
        assert!(far(a, b) < 2e-6, "gradient {index}: {}", far(a, b));
    }
}

/// Outcome and gradients of every input, by the kernels, and by what runs where there are none.
fn both_ways(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let run = || {
        let out = f(inputs);
        let seed = values(out.dims(), 99);
        let grads = (&out * seed).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = inputs.iter().map(|input| grads.get(input).unwrap().clone());
        [out.detach()].into_iter().chain(grads).collect::<Vec<_>>()
    };
    for (index, (ours, plain)) in run().iter().zip(without_kernels(run)).enumerate() {
        assert!(far(ours, &plain) < 3e-6, "{index}: {}", far(ours, &plain));
    }
}

/// Outcome and gradients in bf16 against those in f64 of the same, already rounded, inputs.
fn in_half(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let as_var = |t: &Tensor| Var::from_tensor(t).unwrap().as_tensor().clone();
    let half: Vec<Tensor> = inputs
        .iter()
        .map(|input| as_var(&input.detach().to_dtype(DType::BF16).unwrap()))
        .collect();
    let wide: Vec<Tensor> = half
        .iter()
        .map(|input| as_var(&input.detach().to_dtype(DType::F64).unwrap()))
        .collect();
    let run = |inputs: &[Tensor]| {
        let out = f(inputs);
        let seed = values(out.dims(), 99).to_dtype(DType::BF16).unwrap();
        let seed = seed.to_dtype(out.dtype()).unwrap();
        let grads = (&out * seed).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = inputs.iter().map(|input| grads.get(input).unwrap().clone());
        [out.detach()].into_iter().chain(grads).collect::<Vec<_>>()
    };
    for (index, (half, wide)) in run(&half).iter().zip(run(&wide)).enumerate() {
        assert_eq!(half.dtype(), DType::BF16);
        // a value of bf16 is off by 2^-9 at most; a handful of roundings lie between
        assert!(far(half, &wide) < 0.01, "{index}: {}", far(half, &wide));
    }
}

/// Every op that a network is trained through, with inputs of many rows.
fn each_op(with: impl Fn(&[Tensor], &dyn Fn(&[Tensor]) -> Tensor)) {
    const ROWS: usize = 700;
    let rows = Rows::indexed((0..ROWS).map(|row| u32::from(row % 3 == 0)).collect());
    let x = var(&[ROWS, 24], 1);
    for activation in [
        None,
        Some(Activation::GeluTanh),
        Some(Activation::Silu),
        Some(Activation::GeluErf),
    ] {
        with(&[x.clone(), var(&[24, 16], 2), var(&[16], 3)], &move |t| {
            linear(&t[0], &t[1], Some(&t[2]), activation).unwrap()
        });
    }
    with(&[x.clone(), var(&[24], 2), var(&[24], 3)], &|t| {
        layer_norm(&t[0], &t[1], &t[2], 1e-6).unwrap()
    });
    let two = [x.clone(), var(&[2, 24], 2), var(&[2, 24], 3)];
    let picked = rows.clone();
    with(&two, &move |t| {
        modulate(&t[0], &t[1], &t[2], &picked, 1e-6).unwrap()
    });
    with(&[x.clone(), var(&[ROWS, 24], 2), var(&[2, 24], 3)], &move |t| {
        add_gated(&t[0], &t[1], &t[2], &rows).unwrap()
    });
    with(&[x.clone(), var(&[1, 24], 2)], &|t| {
        add_row(&t[0], &t[1]).unwrap()
    });
    let angles: Vec<f64> = (0..ROWS * 4).map(|k| k as f64 * 0.37).collect();
    let rope = Rope::from_angles(&angles, 4, &Device::Cpu).unwrap();
    with(&[x.clone(), var(&[24], 2)], &move |t| {
        norm_rope(&t[0], Some(&t[1]), 1e-6, Some(&rope)).unwrap()
    });
    with(&[x, var(&[40, 24], 2), var(&[40, 24], 3)], &|t| {
        attention(&t[0], &t[1], &t[2], 3, 0.4, None).unwrap()
    });
}

#[test]
fn what_runs_without_kernels_gives_the_same_with_gradients() {
    each_op(|inputs, f| both_ways(inputs, f));
}

#[test]
fn half_precision_keeps_sums_over_many_rows() {
    each_op(|inputs, f| in_half(inputs, f));
}

#[test]
fn linear_equals_its_plain_form_with_every_activation() {
    for activation in [
        None,
        Some(Activation::GeluTanh),
        Some(Activation::Silu),
        Some(Activation::GeluErf),
    ] {
        let inputs = [var(&[5, 7], 1), var(&[7, 3], 2), var(&[3], 3)];
        compare(&inputs, |t| {
            linear(&t[0], &t[1], Some(&t[2]), activation).unwrap()
        });
        let plain: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
        let folded = linear(&plain[0], &plain[1], Some(&plain[2]), activation).unwrap();
        let apart = linear(&inputs[0], &inputs[1], Some(&inputs[2]), activation).unwrap();
        assert!(far(&folded, &apart) < 1e-7);
    }
}

#[test]
fn activations_hold_over_their_whole_range_and_keep_nan() {
    let x = Tensor::arange_step(-120f32, 120., 0.37, &Device::Cpu).unwrap();
    let x = Tensor::cat(&[&x, &(x.affine(1.0 / 60.0, 0.0).unwrap()), &x], 0).unwrap();
    for activation in [Activation::GeluTanh, Activation::Silu] {
        let wide = activate(&x.to_dtype(DType::F64).unwrap(), activation).unwrap();
        assert!(far(&activate(&x, activation).unwrap(), &wide) < 3e-7);
        let nan = Tensor::new(&[f32::NAN, 1.0], &Device::Cpu).unwrap();
        assert!(activate(&nan, activation).unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
    }
}

#[test]
fn norms_equal_their_plain_forms() {
    let rows = Rows::indexed(vec![1, 0, 0, 2, 1, 2]);
    let x = var(&[6, 19], 1);
    compare(&[x.clone(), var(&[19], 2), var(&[19], 3)], |t| {
        layer_norm(&t[0], &t[1], &t[2], 1e-6).unwrap()
    });
    let table = [x.clone(), var(&[3, 19], 4), var(&[3, 19], 5)];
    compare(&table, |t| modulate(&t[0], &t[1], &t[2], &rows, 1e-6).unwrap());
    let gated = [x, var(&[6, 19], 6), var(&[3, 19], 7)];
    compare(&gated, |t| add_gated(&t[0], &t[1], &t[2], &rows).unwrap());
}

#[test]
fn rms_norm_with_rotation_equals_its_plain_form() {
    let angles: Vec<f64> = (0..5 * 4).map(|i| f64::from(i) * 0.7).collect();
    let rope = Rope::from_angles(&angles, 4, &Device::Cpu).unwrap();
    let (x, weight) = (var(&[5, 24], 1), var(&[24], 2));
    compare(&[x.clone(), weight], |t| {
        norm_rope(&t[0], Some(&t[1]), 1e-6, Some(&rope)).unwrap()
    });
    compare(std::slice::from_ref(&x), |t| {
        norm_rope(&t[0], None, 1e-6, Some(&rope)).unwrap()
    });
    assert!(norm_rope(&var(&[4, 24], 3), None, 1e-6, Some(&rope)).is_err());
}

#[test]
fn attention_equals_its_plain_form_across_blocks_of_queries_and_keys() {
    for (n, m) in [(3, 5), (150, 40), (20, 700)] {
        let inputs = [var(&[n, 24], 1), var(&[m, 24], 2), var(&[m, 24], 3)];
        compare(&inputs, |t| attention(&t[0], &t[1], &t[2], 3, 0.4, None).unwrap());
        let bias = values(&[3, n + m - 1], 4);
        compare(&inputs, |t| {
            let bias = bias.to_dtype(t[0].dtype()).unwrap();
            attention(&t[0], &t[1], &t[2], 3, 0.4, Some(&bias)).unwrap()
        });
    }
}

#[test]
fn a_bias_is_taken_by_distance() {
    let q = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
    let v = Tensor::new(&[[1f32, 0.], [0., 1.], [0., 0.]], &Device::Cpu).unwrap();
    // columns are distances -1..=2; only distance 1 counts, so query 0 sees key 1 and query 1 sees key 2
    let bias = Tensor::new(&[[0f32, 0., 60., 0.]], &Device::Cpu).unwrap();
    let out = attention(&q, &v.zeros_like().unwrap(), &v, 1, 1.0, Some(&bias)).unwrap();
    let out = out.to_vec2::<f32>().unwrap();
    assert!(
        (out[0][1] - 1.0).abs() < 1e-6 && out[1][0].abs() < 1e-6 && out[1][1].abs() < 1e-6,
        "{out:?}"
    );
}

#[test]
fn unfolded_windows_make_a_convolution() {
    let (x, w) = (values(&[9, 4], 1), values(&[6, 4, 7], 2));
    let ours = {
        let w = crate::weights::Stored::Taps.load(&w).unwrap();
        linear(&unfold(&x, 7, 1).unwrap(), &w, None, None).unwrap()
    };
    let conv = x
        .t()
        .unwrap()
        .unsqueeze(0)
        .unwrap()
        .conv1d(&w, 3, 1, 1, 1)
        .unwrap();
    assert!(far(&ours, &conv.squeeze(0).unwrap().t().unwrap()) < 1e-6);
}

#[test]
fn a_custom_gradient_sums_uses_skips_the_frozen_and_leaves_unused_variables_alone() {
    let (x, y) = (var(&[3], 1), var(&[3], 2));
    let (frozen, unused) = (values(&[3], 3), var(&[3], 4));
    let product = |a: &Tensor, b: &Tensor| {
        let (a0, b0) = (a.detach(), b.detach());
        let outputs = vec![(&a0 * &b0).unwrap(), (&a0 + &b0).unwrap()];
        let outputs = custom_vjp(&[a.clone(), b.clone(), unused.clone()], outputs, move |up| {
            let g = up[0].as_ref().unwrap();
            assert!(up[1].is_none());
            Ok(vec![Some((g * &b0)?), Some((g * &a0)?), None])
        });
        outputs.unwrap().remove(0)
    };
    // x is used twice, in a chain of three
    let out = product(&product(&product(&x, &y), &frozen), &x);
    let grads = out.sum_all().unwrap().backward().unwrap();
    let expected = ((&x * &y).unwrap() * (&frozen * 2.0).unwrap()).unwrap();
    assert!(far(grads.get(&x).unwrap(), &expected) < 1e-6);
    assert!(grads.get(&frozen).is_none() && grads.get(&unused).is_none());
}

#[test]
fn recomputation_gives_the_same_gradients_to_the_last_bit() {
    let (x, w, shared) = (var(&[4, 6], 1), var(&[6, 6], 2), var(&[4, 6], 3));
    let block = |w: Tensor| {
        move |t: &[Tensor]| {
            let y = linear(&t[0], &w, None, Some(Activation::GeluTanh))?;
            Ok(vec![(&y + &t[1])?, (y * 2.0)?])
        }
    };
    let run = |again: bool| {
        let mut state = [x.clone(), shared.clone()];
        for _ in 0..2 {
            let f = block(w.clone());
            let out = if again {
                checkpoint(&state, std::slice::from_ref(&w), f)
            } else {
                f(&state)
            };
            state = [out.unwrap().remove(0), shared.clone()];
        }
        state[0].sqr().unwrap().sum_all().unwrap().backward().unwrap()
    };
    let (plain, recomputed) = (run(false), run(true));
    for input in [&x, &w, &shared] {
        assert_eq!(
            far(recomputed.get(input).unwrap(), plain.get(input).unwrap()),
            0.0
        );
    }
}

#[test]
fn the_vocoders_kernels_equal_their_plain_forms() {
    let filter: [f32; SNAKE_TAPS] = std::array::from_fn(|tap| 0.1 + 0.01 * tap as f32);
    for rows in [1, 2, 9] {
        let (x, rate, share) = (values(&[rows, 5], 1), values(&[5], 2), values(&[5], 3));
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let doubled = double_rate(&x, &filter).unwrap();
        assert_eq!(doubled.dims(), [2 * rows, 5]);
        assert!(far(&doubled, &double_rate(&wide(&x), &filter).unwrap()) < 1e-6);
        assert!(
            far(
                &halve_rate(&x, &filter).unwrap(),
                &halve_rate(&wide(&x), &filter).unwrap()
            ) < 1e-6
        );
        let ours = snake(&x, &rate, &share).unwrap();
        assert!(far(&ours, &snake(&wide(&x), &wide(&rate), &wide(&share)).unwrap()) < 1e-6);
    }
}
