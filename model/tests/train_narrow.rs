//! Moments in eight bits: a quarter of the memory, nearly the same curve, and the same bytes when a run goes on.

use crate::{train::dress, train_support};
use candle_core::{DType, Device, Tensor};
use omni_model::{
    train::{CustomizerConfig, MomentForm, Recipe, Solo, States, Trainer},
    weights::Init,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use train_support::{data, with_table};

fn recipe(moments: &str) -> Recipe {
    with_table(
        &format!(
            "steps = 80\npattern = ['joint']\noptimizer = {{ moments = '{moments}' }}\n\
             dropout = {{ references = 0.0, text = 0.0, both = 0.0 }}"
        ),
        "keys = ['*']\nmode = 'train'\nlr = 3e-3\n",
    )
}

fn trainer(moments: &str) -> Trainer {
    let seed = Init { seed: 1 };
    Trainer::new(recipe(moments), &CustomizerConfig::tiny(), seed, &data(2)).unwrap()
}

fn curve(moments: &str) -> (Vec<f64>, usize) {
    let (data, mut trainer) = (data(2), trainer(moments));
    let losses = (0..80)
        .map(|_| trainer.step(&data, &Solo).unwrap().loss)
        .collect();
    (losses, trainer.moment_bytes())
}

#[test]
fn narrow_moments_take_a_quarter_and_learn_as_much() {
    let ((wide, wide_bytes), (narrow, narrow_bytes)) = (curve("f32"), curve("8bit"));
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    // the last ten steps, where the two have long gone ways of their own
    let (a, b) = (mean(&wide[70..]), mean(&narrow[70..]));
    assert!(b < 0.8 * mean(&narrow[..10]), "{narrow:?}");
    assert!((b / a - 1.0).abs() < 0.05, "{a} with f32, {b} with eight bits");
    let most = wide
        .iter()
        .zip(&narrow)
        .map(|(a, b)| (a / b - 1.0).abs())
        .fold(0.0, f64::max);
    assert!(most < 0.10, "{most} apart in some step");
    assert!(
        narrow_bytes * 100 < wide_bytes * 27,
        "{narrow_bytes} of {wide_bytes}"
    );
    assert!(MomentForm::Narrow.bytes(1 << 20) == (2 << 20) + (8 << 12));
}

/// A run of three steps with narrow moments, and its state.
fn three_steps(folder: &Path) -> (Trainer, PathBuf) {
    let (data, mut whole) = (data(2), trainer("8bit"));
    for _ in 0..3 {
        whole.step(&data, &Solo).unwrap();
    }
    let state = States::open(folder)
        .unwrap()
        .save(&whole, "data", &dress)
        .unwrap();
    (whole, state)
}

/// The run, and one that goes on from its state, make the same steps.
fn goes_on_alike(mut whole: Trainer, state: &Path) {
    let (data, mut again) = (data(2), trainer("8bit"));
    again.resume(state, "data").unwrap();
    for _ in 0..3 {
        assert_eq!(
            whole.step(&data, &Solo).unwrap(),
            again.step(&data, &Solo).unwrap()
        );
    }
}

#[test]
fn a_run_with_narrow_moments_goes_on_to_the_same_losses() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, state) = three_steps(folder.path());
    goes_on_alike(whole, &state);
    // on the disk a moment is its codes and factors
    let path = state.join("state/optimizer.safetensors");
    let rows = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let (codes, factors) = rows
        .keys()
        .partition::<Vec<_>, _>(|name| !name.ends_with(".factors"));
    assert_eq!(codes.len(), factors.len());
    assert!(codes.iter().all(|name| rows[*name].dtype() == DType::U8));
    let values: usize = codes.iter().map(|name| rows[*name].elem_count()).sum();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes < 2 * values as u64, "{bytes} bytes of {values} moments");
    // the form of the moments is part of the recipe
    let error = trainer("f32").resume(&state, "data").unwrap_err().to_string();
    assert!(error.contains("`optimizer` was"), "{error}");
}

/// Turns a state into one of format 2: every moment as f32, the step counts in that file.
pub fn as_format_2(state: &Path) {
    let card_path = state.join("state/state.json");
    let mut card: serde_json::Value = serde_json::from_slice(&std::fs::read(&card_path).unwrap()).unwrap();
    let steps = card.as_object_mut().unwrap().remove("gradients").unwrap();
    card.as_object_mut().unwrap().remove("files");
    let steps: Vec<(String, i64)> = steps
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, steps)| (name.clone(), steps.as_i64().unwrap()))
        .collect();
    card["format"] = 2.into();
    std::fs::write(&card_path, card.to_string()).unwrap();
    let path = state.join("state/optimizer.safetensors");
    let rows = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let wide: HashMap<String, Tensor> = rows
        .iter()
        .filter(|(name, _)| !name.ends_with(".factors"))
        .map(|(name, row)| {
            let factors = rows.get(&format!("{name}.factors"));
            let wide = factors.map_or_else(|| row.clone(), |factors| spread(name, row, factors));
            (name.clone(), wide)
        })
        .collect();
    let note = HashMap::from([("steps".to_owned(), serde_json::to_string(&steps).unwrap())]);
    safetensors::serialize_to_file(&wide, Some(note), &path).unwrap();
}

/// What codes stand for, as `docs/train.md` says it: sizes that rise by 2^(1/10) to the block's factor; the first moment has a
/// sign and 127 sizes, the second 255 sizes.
fn spread(name: &str, codes: &Tensor, factors: &Tensor) -> Tensor {
    let (codes, factors) = (codes.to_vec1::<u8>().unwrap(), factors.to_vec1::<f32>().unwrap());
    let size = |number: usize, top: usize| match number {
        0 => 0.0,
        _ => ((number as f32 - top as f32) / 10.0).exp2(),
    };
    let value = |(place, code): (usize, &u8)| {
        let factor = factors[place / 256];
        let code = usize::from(*code);
        factor
            * match name.ends_with(".v") {
                true => size(code, 255),
                false if code < 128 => -size(128 - code, 127),
                false => size(code - 128, 127),
            }
    };
    let row: Vec<f32> = codes.iter().enumerate().map(value).collect();
    Tensor::from_slice(&row, row.len(), &Device::Cpu).unwrap()
}

#[test]
fn a_state_of_an_earlier_build_goes_on_with_the_same_codes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, state) = three_steps(folder.path());
    as_format_2(&state);
    goes_on_alike(whole, &state);
}

/// As a state of an earlier build, whose files have no marks.
fn without_marks(state: &Path) {
    let path = state.join("state/state.json");
    let mut card: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    card.as_object_mut().unwrap().remove("files").unwrap();
    std::fs::write(&path, card.to_string()).unwrap();
}

#[test]
fn codes_without_their_factors_are_refused_by_name() {
    let (data, mut trainer) = (data(2), trainer("8bit"));
    let folder = tempfile::tempdir().unwrap();
    trainer.step(&data, &Solo).unwrap();
    let state = States::open(folder.path())
        .unwrap()
        .save(&trainer, "data", &dress)
        .unwrap();
    without_marks(&state);
    let path = state.join("state/optimizer.safetensors");
    let rows = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let name = "video_model.blocks.0.ffn.0.weight.v.factors";
    let mut refused = |row: Option<Tensor>, why: &str| {
        let mut rows = rows.clone();
        match row {
            Some(row) => rows.insert(name.to_owned(), row),
            None => rows.remove(name),
        };
        candle_core::safetensors::save(&rows, &path).unwrap();
        let error = trainer.resume(&state, "data").unwrap_err().to_string();
        assert!(
            error.contains("optimizer.safetensors") && error.contains(why),
            "{error}"
        );
    };
    refused(None, "lacks `video_model.blocks.0.ffn.0.weight.v.factors`");
    refused(Some(rows[name].narrow(0, 0, 1).unwrap()), "1 factors of");
}
