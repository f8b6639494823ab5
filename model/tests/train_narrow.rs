//! Moments in eight bits: a quarter of the memory, nearly the same curve, and the same bytes when a run goes on.

use crate::train_support;
use omni_model::{
    Error,
    train::{CustomizerConfig, MomentForm, Recipe, Solo, States, Trainer},
    weights::Init,
};
use std::path::Path;
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

fn dress(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[test]
fn a_run_with_narrow_moments_goes_on_to_the_same_losses() {
    let (data, mut whole) = (data(2), trainer("8bit"));
    let folder = tempfile::tempdir().unwrap();
    let states = States::open(folder.path()).unwrap();
    for _ in 0..3 {
        whole.step(&data, &Solo).unwrap();
    }
    let state = states.save(&whole, "data", &dress).unwrap();
    let mut again = trainer("8bit");
    again.resume(&state, "data").unwrap();
    for _ in 0..3 {
        assert_eq!(
            whole.step(&data, &Solo).unwrap(),
            again.step(&data, &Solo).unwrap()
        );
    }
    // the form of the moments is part of the recipe
    let error = trainer("f32").resume(&state, "data").unwrap_err().to_string();
    assert!(error.contains("`optimizer` was"), "{error}");
}
