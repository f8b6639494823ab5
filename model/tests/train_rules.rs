//! What a recipe lets a trainer take and move, and what it refuses.

use crate::{
    train::{dress, network, trainer},
    train_support::{clip, data, recipe, speech, values, with_table},
};
use candle_core::{DType, Device};
use omni_model::train::{InMemory, Sample, Solo, States};
use std::path::Path;

#[test]
fn cross_pair_never_takes_a_reference_from_the_target() {
    let own = (0..4).map(|number| clip(&format!("own-{number}"), &format!("own-{number}")));
    let foreign = (0..3).map(|number| clip(&format!("foreign-{number}"), "elsewhere"));
    let data = InMemory::new(own.chain(foreign).collect());
    let text = |rule: &str| format!("steps = 30\npattern = ['joint']\ntake = {{ references = '{rule}' }}");
    let table = "keys = ['*']\nmode = 'train'\nlr = 1e-4\n";
    let ids = |rule: &str| -> Vec<String> {
        let mut trainer = trainer(&with_table(&text(rule), table), &data).unwrap();
        (0..3)
            .flat_map(|_| trainer.step(&data, &Solo).unwrap().ids)
            .collect()
    };
    assert!(ids("cross_pair").iter().all(|id| id.starts_with("foreign")));
    assert!(ids("any").iter().any(|id| id.starts_with("own")));
    let none = InMemory::new(vec![clip("a", "a")]);
    let error = trainer(&with_table(&text("cross_pair"), table), &none)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("no sample for joint steps")
            && error.contains("1 have references from their own clip"),
        "{error}"
    );
}

#[test]
fn low_rank_additions_begin_as_nothing_and_are_all_that_moves() {
    let data = data(3);
    let table = "keys = ['video_model.blocks.*', 'audio_model.blocks.*']\nmode = 'lora'\nrank = 4\nlr = 1e-2\n[[weights]]\nkeys = ['*']\nmode = 'freeze'\n";
    let (low, whole) = (with_table("steps = 4", table), recipe("steps = 4"));
    let mut adapted = trainer(&low, &data).unwrap();
    let plain = trainer(&whole, &data).unwrap();
    assert_eq!(adapted.look(&data).unwrap(), plain.look(&data).unwrap());
    let shares = adapted.shares();
    assert!(
        shares[0].trained > 0 && shares[0].trained < shares[0].frozen && shares[1].trained == 0,
        "{shares:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let states = States::open(folder.path()).unwrap();
    let before = states.save(&adapted, "data", &dress).unwrap();
    // a fresh head is zero, so that nothing behind it has a slope: only what is asked for is told
    adapted.step(&data, &Solo).unwrap();
    // into a folder of its own: beside the first state what stays would be the same file, not what the trainer holds
    let elsewhere = tempfile::tempdir().unwrap();
    let states = States::open(elsewhere.path()).unwrap();
    let after = states.save(&adapted, "data", &dress).unwrap();
    let read =
        |path: &Path| candle_core::safetensors::load(path.join("model.safetensors"), &Device::Cpu).unwrap();
    let stays = |path: &Path| std::fs::read(path.join("frozen.safetensors")).unwrap();
    assert!(stays(&before) == stays(&after), "what is frozen moved");
    let (before, after) = (read(&before), read(&after));
    assert!(before.keys().all(|name| name.contains(".lora_")) && before.len() == after.len());
    assert!(
        before
            .keys()
            .any(|name| name.ends_with("self_attn.q.lora_up.weight"))
    );
}

#[test]
fn a_table_that_does_not_fit_the_network_is_refused() {
    let data = data(2);
    let why = |table: &str| {
        trainer(&with_table("steps = 2", table), &data)
            .err()
            .unwrap()
            .to_string()
    };
    let partial = "keys = ['ocf.*']\nmode = 'train'\nlr = 1e-4\n";
    assert!(
        why(partial).contains("no line of `weights` fits `"),
        "{}",
        why(partial)
    );
    let typo = "keys = ['ocff.*']\nmode = 'train'\nlr = 1e-4\n[[weights]]\nkeys = ['*']\nmode = 'freeze'\n";
    assert!(
        why(typo).contains("no key of this network falls under this line"),
        "{}",
        why(typo)
    );
}

#[test]
fn samples_of_other_sizes_and_damaged_ones_are_named() {
    let (model, _) = network(DType::F32, true);
    let why = |sample: &Sample| model.check(sample).unwrap_err().to_string();
    let mut sample = clip("odd", "b");
    sample.audio = values("x", &[7, 21], 1.0);
    assert!(
        why(&sample).contains("sample `odd`: its sound is [7, 21], the network takes [any, 20]"),
        "{}",
        why(&sample)
    );
    let mut sample = clip("odd", "b");
    sample.subjects[0].picture = Some(values("x", &[48, 1, 6, 6], 1.0));
    assert!(why(&sample).contains("a picture is [48, 1, 6, 6], the network takes [48, 1, 4, 6]"));
    let mut sample = clip("odd", "b");
    sample.text = values("x", &[17, 96], 1.0);
    assert!(why(&sample).contains("17 text rows, the network takes 16"));

    let bytes = speech("said").to_bytes().unwrap();
    assert_eq!(
        bytes,
        Sample::from_bytes("said", &bytes).unwrap().to_bytes().unwrap()
    );
    let mut sample = speech("said");
    sample.audio = (sample.audio / 0.0).unwrap();
    let why = |bytes: &[u8]| Sample::from_bytes("said", bytes).unwrap_err().to_string();
    assert!(
        why(&sample.to_bytes().unwrap()).contains("sample `said`: `audio` holds"),
        "{}",
        why(&sample.to_bytes().unwrap())
    );
    for end in [0, 7, 100, bytes.len() - 1] {
        assert!(why(&bytes[..end]).contains("said"));
    }
}
