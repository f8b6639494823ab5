//! Every network against stored numbers of the reference.
//!
//! The files of `tests/fixtures/golden` always (its README says where they come from); the whole set where `OMNI_SHARED` names the
//! folder that holds `golden/model`.

use omni_model::verify::{Check, Outcome, verify};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden")
}

fn bad(checks: &[Check]) -> Vec<String> {
    let line = |check: &Check| format!("{} {}: {:?}", check.file, check.what, check.outcome);
    checks.iter().filter(|check| !check.passed()).map(line).collect()
}

/// Everything holds; shows, for each file and bound, the check nearest to it. Gives the number of files.
fn holds(folder: &Path) -> usize {
    let checks = verify(folder).unwrap();
    let mut worst: BTreeMap<(&str, String), (f64, String)> = BTreeMap::new();
    for check in &checks {
        if let Outcome::Compared {
            error,
            bound,
            measure,
        } = check.outcome
        {
            let key = (check.file.as_str(), format!("{bound:.0e} {measure:?}"));
            let line = format!("{error:.1e} {}", check.what);
            let entry = worst.entry(key).or_insert((error, line.clone()));
            if error > entry.0 {
                *entry = (error, line);
            }
        }
    }
    for ((file, bound), (_, line)) in &worst {
        println!("{file:30} {bound:16} {line}");
    }
    let bad = bad(&checks);
    assert!(
        bad.is_empty(),
        "{} of {}\n{}",
        bad.len(),
        checks.len(),
        bad.join("\n")
    );
    worst.keys().map(|(file, _)| file).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_fixtures_hold() {
    assert_eq!(holds(&fixtures()), 10);
}

#[test]
fn the_shared_goldens_hold() {
    let Some(shared) = std::env::var_os("OMNI_SHARED") else {
        return;
    };
    let folder = Path::new(&shared).join("golden/model");
    if folder.is_dir() {
        assert_eq!(holds(&folder), 26);
    }
}

/// A folder with one fixture, its bytes changed.
fn changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(fixtures().join(name)).unwrap();
    change(&mut bytes);
    std::fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

/// Where the values of a tensor begin.
fn place(bytes: &[u8], tensor: &str) -> usize {
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let entries: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = entries[tensor]["data_offsets"][0].as_u64().unwrap();
    8 + header + usize::try_from(start).unwrap()
}

#[test]
fn a_weight_that_is_off_is_noticed() {
    let folder = changed("ocf_mtp_ca.safetensors", |bytes| {
        let at = place(bytes, "w.ocf.blocks.1.attn.v.weight");
        bytes[at..at + 4].copy_from_slice(&1.5f32.to_le_bytes());
    });
    let lines = bad(&verify(folder.path()).unwrap());
    assert!(
        !lines.iter().any(|line| line.contains("after_block0")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("out.mtp_ca")), "{lines:?}");
}

#[test]
fn an_output_that_is_not_a_number_is_noticed() {
    let folder = changed("schedulers.safetensors", |bytes| {
        let at = place(bytes, "euler.n3.shift5.sigmas");
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let lines = bad(&verify(folder.path()).unwrap());
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("euler.n3.shift5.sigmas"));
}

#[test]
fn files_that_are_unknown_damaged_or_without_their_weights_are_listed() {
    let folder = changed("fused_refs.safetensors", |_| {});
    std::fs::write(folder.path().join("something.safetensors"), b"?").unwrap();
    std::fs::write(folder.path().join("wan_block.safetensors"), b"?").unwrap();
    std::fs::write(folder.path().join("notes.txt"), b"?").unwrap();
    let checks = verify(folder.path()).unwrap();
    let outcome = |file: &str| {
        checks
            .iter()
            .find(|check| check.file == file)
            .unwrap()
            .outcome
            .clone()
    };
    let Outcome::Broken(why) = outcome("fused_refs.safetensors") else {
        panic!("{checks:?}")
    };
    assert!(
        why.contains("cannot be read") && why.contains("fused.safetensors"),
        "{why}"
    );
    assert_eq!(outcome("something.safetensors"), Outcome::Unknown);
    assert!(matches!(outcome("wan_block.safetensors"), Outcome::Broken(_)));
    assert!(!checks.iter().any(|check| check.file == "notes.txt"));
    assert!(verify(&folder.path().join("absent")).is_err());
}

#[test]
fn a_kind_is_known_by_the_beginning_of_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        std::fs::copy(
            fixtures().join("schedulers.safetensors"),
            folder.path().join(name),
        )
        .unwrap();
    };
    copy("schedulers_other.safetensors");
    copy("schedulersandmore.safetensors");
    let checks = verify(folder.path()).unwrap();
    let of = |file: &str| {
        checks
            .iter()
            .filter(|check| check.file == file)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(of("schedulers_other.safetensors").iter().all(Check::passed));
    assert!(
        of("schedulersandmore.safetensors")
            .iter()
            .all(|check| !check.known())
    );
}
