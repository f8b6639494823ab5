//! The ways of the optimizer against each other: what runs on a card runs here, on the CPU, in the same ops.

#[path = "../../tests/train_support/mod.rs"]
mod train_support;

use super::{
    CustomizerConfig, Solo, Trainer,
    adamw::{AdamWSettings, MomentForm, Part, Route},
};
use crate::{ops::without_kernels, weights::Init};
use candle_core::Device;
use train_support::{data, recipe};

/// The losses of a few steps, and every weight and average behind them.
fn run(route: Route, kernels: bool, more: &str) -> (Vec<f64>, Vec<f32>) {
    let work = || {
        let (data, recipe) = (data(5), recipe(&format!("steps = 6\nema = 0.9\n{more}")));
        let place = (&Device::Cpu, Some(route));
        let mut trainer = Trainer::build(
            recipe,
            &CustomizerConfig::tiny(),
            Init { seed: 1 },
            &data,
            place,
            (0, 1),
        )
        .unwrap();
        let losses = (0..6).map(|_| trainer.step(&data, &Solo).unwrap().loss).collect();
        let mut values = Vec::new();
        for index in 0..trainer.trained.len() {
            for part in [Part::Master, Part::Average] {
                let whole = trainer.exact(index, part, &Solo).unwrap();
                values.extend(whole.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            }
        }
        (losses, values)
    };
    if kernels { work() } else { without_kernels(work) }
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let off = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (off / norm(&mut b.iter().copied())).sqrt()
}

#[test]
fn what_a_card_runs_trains_as_the_kernels_do() {
    let (losses, weights) = run(Route::Kernel, true, "");
    for (route, kernels) in [(Route::Ops, false), (Route::Aside, false), (Route::Ops, true)] {
        let (others, moved) = run(route, kernels, "");
        for (a, b) in losses.iter().zip(&others) {
            assert!((a / b - 1.0).abs() < 1e-5, "{route:?} {kernels}: {a} {b}");
        }
        let off = apart(&moved, &weights);
        // Adam divides small gradients by their size, so that rounding shows in weights with next to none
        assert!(off < 1e-3, "{route:?} {kernels}: weights {off} apart");
    }
    assert!(losses[5] != losses[0]);
}

#[test]
fn the_optimizer_of_a_card_lies_there_unless_it_is_told_or_cannot() {
    let of = |on_cpu, offload, moments| {
        let settings = AdamWSettings {
            offload,
            moments,
            ..AdamWSettings::default()
        };
        Route::of(on_cpu, &settings)
    };
    assert_eq!(of(false, false, MomentForm::Wide), Route::Ops);
    assert_eq!(of(false, true, MomentForm::Wide), Route::Aside);
    assert_eq!(of(false, false, MomentForm::Narrow), Route::Aside);
    for offload in [false, true] {
        assert_eq!(of(true, offload, MomentForm::Wide), Route::Kernel);
        assert_eq!(of(true, offload, MomentForm::Narrow), Route::Kernel);
    }
    // a run whose card is full may go on with it
    let (offloads, plain) = (
        recipe("steps = 1\noptimizer = { offload = true }"),
        recipe("steps = 1"),
    );
    assert!(offloads != plain && offloads.fixed() == plain.fixed());
}

#[test]
fn a_copy_on_the_cpu_is_moved_to_the_same_bits() {
    for more in [
        "",
        "dtype = 'bf16'",
        "optimizer = { moments = '8bit' }",
        "dtype = 'bf16'\noptimizer = { moments = '8bit' }",
    ] {
        assert!(
            run(Route::Kernel, true, more) == run(Route::Aside, true, more),
            "{more}"
        );
    }
}
