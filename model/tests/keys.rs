//! The full-size networks ask for exactly the tensors of the published checkpoints. Shapes only: nothing is allocated.
//!
//! Needs the tables of `OMNI_SHARED`/golden/model/keys; passes over what is absent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use omni_model::{
    net::{
        F5Text, F5TextConfig, FusionConfig, FusionModel, MtpCa, MtpCaConfig, Ocf, OcfConfig, Umt5,
        Umt5Config,
        umt5::Naming,
        vae_audio::{AudioVae, AudioVaeConfig},
        vae_video::{VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    weights::Weights,
};
use std::{collections::BTreeMap, path::Path};

type Table = BTreeMap<String, Vec<usize>>;

fn table(name: &str) -> Option<Table> {
    let shared = std::env::var_os("OMNI_SHARED")?;
    let path = Path::new(&shared).join("golden/model/keys").join(name);
    let text = std::fs::read_to_string(path).ok()?;
    let row = |line: &str| {
        let (key, shape) = line.split_once('\t').unwrap_or((line, ""));
        let sizes = shape.trim().split('x').filter(|size| !size.is_empty());
        (key.to_owned(), sizes.map(|size| size.parse().unwrap()).collect())
    };
    Some(text.lines().skip(1).map(row).collect())
}

fn asked(weights: &Weights) -> Table {
    weights.finish().unwrap();
    let asked = weights.asked();
    let table: Table = asked.iter().cloned().collect();
    assert_eq!(table.len(), asked.len(), "a tensor was asked for twice");
    table
}

fn parameters(table: &Table) -> usize {
    table.values().map(|shape| shape.iter().product::<usize>()).sum()
}

/// Compares with a table, where it is there, and with the number of parameters.
fn same(name: &str, weights: &Weights, count: usize) {
    let ours = asked(weights);
    assert_eq!(parameters(&ours), count, "{name}");
    let Some(theirs) = table(name) else { return };
    let missing: Vec<_> = theirs
        .iter()
        .filter(|(key, shape)| ours.get(*key) != Some(shape))
        .collect();
    let extra: Vec<_> = ours.keys().filter(|key| !theirs.contains_key(*key)).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}: missing {missing:?}, extra {extra:?}"
    );
}

#[test]
fn the_released_backbone() {
    let weights = Weights::shapes_only();
    FusionModel::new(&FusionConfig::ovi(), &weights).unwrap();
    same("ovi_fusion.tsv", &weights, 11_660_753_108);
}

#[test]
fn the_released_video_vae() {
    let weights = Weights::shapes_only();
    VideoVae::new(&VideoVaeConfig::wan22(), &weights).unwrap();
    same("wan22_vae.tsv", &weights, 704_688_668);
}

#[test]
fn the_released_text_encoder() {
    let weights = Weights::shapes_only();
    Umt5::new(&Umt5Config::xxl(), Naming::Wan, &weights).unwrap();
    same("umt5_xxl_encoder.tsv", &weights, 5_680_910_336);
}

#[test]
fn the_released_audio_vae_and_vocoder() {
    let weights = Weights::shapes_only();
    AudioVae::new(&AudioVaeConfig::mmaudio_16k(), &weights).unwrap();
    same("mmaudio_vae_16k.tsv", &weights, parameters(&asked(&weights)));
    let weights = Weights::shapes_only();
    Vocoder::new(&VocoderConfig::mmaudio_16k(), &weights).unwrap();
    same("bigvgan_16k.tsv", &weights, parameters(&asked(&weights)));
}

#[test]
fn the_released_phoneme_encoder() {
    let weights = Weights::shapes_only();
    let place = weights.pp("ema_model.transformer.text_embed");
    F5Text::new(&F5TextConfig::v1(), &place).unwrap();
    same("f5_text_embed.tsv", &weights, parameters(&asked(&weights)));
}

#[test]
fn the_papers_modules_have_the_planned_sizes() {
    let weights = Weights::shapes_only();
    Ocf::new(&OcfConfig::paper(), &weights.pp("ocf")).unwrap();
    assert_eq!(parameters(&asked(&weights)), 362_442_752);
    let weights = Weights::shapes_only();
    MtpCa::new(&MtpCaConfig::paper(), &weights.pp("mtp_ca")).unwrap();
    assert_eq!(parameters(&asked(&weights)), 9_454_592);
}
