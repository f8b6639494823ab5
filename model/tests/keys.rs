//! The full-size networks ask for exactly the tensors of the published checkpoints. Shapes only: nothing is allocated.
//!
//! Needs the tables of `OMNI_SHARED`/golden/model/keys; passes over what is absent.

use omni_model::{
    net::{MtpCa, MtpCaConfig, Ocf, OcfConfig},
    verify::{
        tables::{Table, released},
        verify_file,
    },
    weights::Weights,
};
use std::path::Path;

fn parameters(table: &Table) -> usize {
    table.values().map(|shape| shape.iter().product::<usize>()).sum()
}

fn asked(weights: &Weights) -> Table {
    weights.finish().unwrap();
    weights.asked().into_iter().collect()
}

#[test]
fn the_released_networks_have_their_published_sizes() {
    for (name, count) in [
        ("ovi_fusion", 11_660_753_108),
        ("wan22_vae", 704_688_668),
        ("umt5_xxl_encoder", 5_680_910_336),
    ] {
        assert_eq!(parameters(&released(name).unwrap().unwrap()), count, "{name}");
    }
}

#[test]
fn the_released_networks_have_the_published_names_and_shapes() {
    let Some(shared) = std::env::var_os("OMNI_SHARED") else {
        return;
    };
    let folder = Path::new(&shared).join("golden/model/keys");
    for name in [
        "ovi_fusion",
        "wan22_vae",
        "umt5_xxl_encoder",
        "mmaudio_vae_16k",
        "bigvgan_16k",
        "f5_text_embed",
    ] {
        let path = folder.join(format!("{name}.tsv"));
        let checks = verify_file(&path);
        assert!(
            !path.exists() || checks.iter().all(|check| check.passed()),
            "{checks:?}"
        );
    }
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
