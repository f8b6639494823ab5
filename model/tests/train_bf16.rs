//! Training in bf16: the curve is that of f32 as nearly as rounding lets it be, and nothing of what is learned is lost to it.

use crate::{
    train::{dress, trainer},
    train_support::{data, recipe, with_table},
};
use candle_core::{DType, Device, Tensor};
use omni_model::train::{Place, Recipe, Solo, States};
use std::{collections::HashMap, path::Path};

fn curve(more: &str) -> Vec<f64> {
    let settings =
        "steps = 20\npattern = ['joint']\ndropout = { references = 0.0, text = 0.0, both = 0.0 }\n";
    let table = "keys = ['*']\nmode = 'train'\nlr = 3e-3\n";
    let (data, recipe) = (data(2), with_table(&format!("{settings}{more}"), table));
    let mut trainer = trainer(&recipe, &data).unwrap();
    (0..20)
        .map(|_| trainer.step(&data, &Solo).unwrap().loss)
        .collect()
}

#[test]
fn twenty_steps_follow_the_curve_of_f32() {
    let (wide, half) = (curve(""), curve("dtype = 'bf16'"));
    let off = |(a, b): (&f64, &f64)| (a / b - 1.0).abs();
    let most = wide.iter().zip(&half).map(off).fold(0.0, f64::max);
    println!("at most {most:.5} apart: {wide:?} {half:?}");
    assert!(most < 0.01, "{most}: {wide:?} {half:?}");
    assert!(wide != half, "it ran in f32");
    // by then they have learned ten times as much as they are apart
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let learned = |losses: &[f64]| 1.0 - mean(&losses[15..]) / mean(&losses[..5]);
    assert!(learned(&half) > 0.1 && learned(&wide) > 0.1, "{wide:?} {half:?}");
}

fn half() -> Recipe {
    recipe("steps = 6\nema = 0.9\ndtype = 'bf16'\nkeep = { every = 3, last = 2, milestone = 0 }")
}

fn run_to(folder: &Path, stop: u64) {
    let data = data(5);
    let place = Place {
        folder,
        data: "data",
        dress: &dress,
    };
    let mut trainer = trainer(&half(), &data).unwrap();
    place.resume(&mut trainer).unwrap();
    place
        .train(&mut trainer, &data, &Solo, &mut |line| {
            line.report.step + 1 < stop
        })
        .unwrap();
}

fn read(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

#[test]
fn a_run_in_bf16_that_was_stopped_ends_with_the_bytes_of_one_that_was_not() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_to(whole.path(), 99);
    run_to(parts.path(), 3);
    run_to(parts.path(), 99);
    let last = "checkpoints/step-00000006";
    for file in [
        "model.safetensors",
        "state/optimizer.safetensors",
        "state/ema.safetensors",
        "state/state.json",
    ] {
        let bytes = |run: &Path| std::fs::read(run.join(last).join(file)).unwrap();
        assert!(bytes(whole.path()) == bytes(parts.path()), "{file} differs");
    }
}

#[test]
fn states_and_exports_hold_what_the_weights_are_rounded_from() {
    let data = data(5);
    let mut trainer = trainer(&half(), &data).unwrap();
    for _ in 0..2 {
        trainer.step(&data, &Solo).unwrap();
    }
    assert_eq!(trainer.master_bytes() * 2, trainer.moment_bytes());
    let folder = tempfile::tempdir().unwrap();
    let state = States::open(folder.path())
        .unwrap()
        .save(&trainer, "data", &dress)
        .unwrap();
    let (model, average) = (folder.path().join("model"), folder.path().join("average"));
    trainer.export(&model, false, &dress).unwrap();
    trainer.export(&average, true, &dress).unwrap();
    let of = |path: &Path| read(&path.join("model.safetensors"));
    let (state, model, average) = (of(&state), of(&model), of(&average));
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (mut rounded, mut moved) = (0, 0);
    for (name, tensor) in &state {
        assert_eq!(tensor.dtype(), DType::F32, "{name}");
        let (own, out) = (flat(tensor), flat(&model[name]));
        assert!(own == out, "{name}");
        let coarse = tensor
            .to_dtype(DType::BF16)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        rounded += usize::from(flat(&coarse) != own);
        moved += usize::from(flat(&average[name]) != own);
    }
    assert!(
        rounded > state.len() / 2 && moved > state.len() / 2,
        "{rounded} {moved} of {}",
        state.len()
    );
}

#[test]
fn another_precision_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    run_to(folder.path(), 3);
    let data = data(5);
    let place = Place {
        folder: folder.path(),
        data: "data",
        dress: &dress,
    };
    let other = Recipe {
        dtype: omni_model::train::NumberForm::F32,
        ..half()
    };
    let error = place.resume(&mut trainer(&other, &data).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`dtype` was \"bf16\""), "{error}");
}
