//! States on the disk: what they write, what they share, and which are gone on from.

use crate::{train::dress, train_support};
use candle_core::{Device, Tensor};
use omni_model::{
    Error,
    train::{CustomizerConfig, Recipe, Solo, States, Trainer},
    weights::{Folder, Init, Source},
};
use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path};
use train_support::{data, recipe, with_table};

fn trainer(recipe: &Recipe, seed: u64) -> Trainer {
    Trainer::new(recipe.clone(), &CustomizerConfig::tiny(), Init { seed }, &data(3)).unwrap()
}

/// OCF and MTP-CA are trained, the backbone stays.
fn on_one_card() -> Recipe {
    with_table(
        "steps = 4",
        "keys = ['ocf.*', 'mtp_ca.*']\nmode = 'train'\nlr = 1e-3\n[[weights]]\nkeys = ['*']\nmode = 'freeze'\n",
    )
}

fn read(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn weights_that_stay_are_written_once_and_named_by_their_hash() {
    let (data, recipe) = (data(3), on_one_card());
    let mut trainer = trainer(&recipe, 1);
    let folder = tempfile::tempdir().unwrap();
    let states = States::open(folder.path()).unwrap();
    let first = states.save(&trainer, "data", &dress).unwrap();
    trainer.step(&data, &Solo).unwrap();
    let second = states.save(&trainer, "data", &dress).unwrap();
    let frozen = |state: &Path| fs::metadata(state.join("frozen.safetensors")).unwrap();
    assert_eq!(frozen(&first).ino(), frozen(&second).ino(), "written twice");
    for name in read(&second.join("model.safetensors")).keys() {
        assert!(name.starts_with("ocf.") || name.starts_with("mtp_ca."), "{name}");
    }
    assert!(bytes(&second.join("model.safetensors")) < bytes(&second.join("frozen.safetensors")));
    // both files together are what one was
    let all = Folder::open(&second).unwrap();
    let whole = self::trainer(&self::recipe("steps = 4"), 1);
    let one = states.path(99);
    whole.export(&one, false, &dress).unwrap();
    assert_eq!(all.names(), Folder::open(&one).unwrap().names());
    let card = fs::read_to_string(second.join("state/state.json")).unwrap();
    let hash = blake3::hash(&fs::read(second.join("frozen.safetensors")).unwrap()).to_hex();
    assert!(card.contains(hash.as_str()), "{card}");

    // the run goes on over the same weights, not over others
    let mut again = self::trainer(&recipe, 1);
    again.resume(&second, "data").unwrap();
    assert_eq!(
        again.step(&data, &Solo).unwrap(),
        trainer.step(&data, &Solo).unwrap()
    );
    let error = self::trainer(&recipe, 2).resume(&second, "data").unwrap_err();
    assert!(error.to_string().contains("other weights that stay"), "{error}");
}

#[test]
fn a_state_of_the_first_layout_is_gone_on_from_and_an_unknown_one_refused() {
    let (data, recipe) = (data(3), on_one_card());
    let mut trainer = trainer(&recipe, 1);
    trainer.step(&data, &Solo).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = States::open(folder.path())
        .unwrap()
        .save(&trainer, "data", &dress)
        .unwrap();
    crate::train_narrow::as_format_2(&state);
    let path = state.join("state/state.json");
    let mut card: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    card["format"] = 1.into();
    card.as_object_mut().unwrap().remove("frozen");
    fs::write(&path, card.to_string()).unwrap();
    let mut all = read(&state.join("frozen.safetensors"));
    all.extend(read(&state.join("model.safetensors")));
    candle_core::safetensors::save(&all, state.join("model.safetensors")).unwrap();
    fs::remove_file(state.join("frozen.safetensors")).unwrap();
    let mut again = self::trainer(&recipe, 1);
    again.resume(&state, "data").unwrap();
    assert_eq!(
        again.step(&data, &Solo).unwrap(),
        trainer.step(&data, &Solo).unwrap()
    );

    card["format"] = 4.into();
    fs::write(&path, card.to_string()).unwrap();
    let error = again.resume(&state, "data").unwrap_err().to_string();
    assert!(
        error.contains("layout 4") && error.contains("reads 1 to 3"),
        "{error}"
    );
}

#[test]
fn a_damaged_file_of_weights_that_stay_is_noticed_before_a_run_goes_on() {
    let (data, recipe) = (data(3), on_one_card());
    let mut trainer = trainer(&recipe, 1);
    let folder = tempfile::tempdir().unwrap();
    let states = States::open(folder.path()).unwrap();
    trainer.step(&data, &Solo).unwrap();
    let state = states.save(&trainer, "data", &dress).unwrap();
    let path = state.join("frozen.safetensors");
    let sound = fs::read(&path).unwrap();
    for place in [sound.len() / 2, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = trainer.resume(&state, "data").unwrap_err().to_string();
        assert!(
            error.contains("frozen.safetensors") && error.contains("BLAKE3 differs"),
            "{error}"
        );
    }
    fs::write(&path, &sound[..sound.len() - 4]).unwrap();
    let error = trainer.resume(&state, "data").unwrap_err().to_string();
    assert!(
        error.contains("frozen.safetensors") && error.contains("it was written with"),
        "{error}"
    );
    fs::remove_file(&path).unwrap();
    let error = trainer.resume(&state, "data").unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.ends_with("frozen.safetensors")),
        "{error}"
    );
    fs::write(&path, sound).unwrap();
    trainer.resume(&state, "data").unwrap();
}
