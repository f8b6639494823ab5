//! Every network against stored numbers of the reference.
//!
//! The small files of `tests/fixtures` always; the whole set where `OMNI_SHARED` names the folder that holds `golden/model`.

use omni_model::verify::{Check, Outcome, verify};
use std::{collections::BTreeMap, path::Path};

/// Largest share of its bound that an error takes, by file; lines of checks that do not hold.
fn summary(checks: &[Check]) -> (BTreeMap<String, f64>, Vec<String>) {
    let (mut worst, mut bad) = (BTreeMap::new(), Vec::new());
    for check in checks {
        if let Outcome::Compared { error, bound, .. } = check.outcome {
            let share = worst.entry(check.file.clone()).or_insert(0.0f64);
            *share = share.max(error / f64::max(bound, f64::MIN_POSITIVE));
        }
        if !check.passed() {
            bad.push(format!("{} {}: {:?}", check.file, check.what, check.outcome));
        }
    }
    (worst, bad)
}

fn holds(folder: &Path) {
    let checks = verify(folder).unwrap();
    let (worst, bad) = summary(&checks);
    for (file, share) in &worst {
        println!("{file:32} {:4} of its bound", format!("{share:.2}"));
    }
    assert!(
        bad.is_empty(),
        "{} of {}\n{}",
        bad.len(),
        checks.len(),
        bad.join("\n")
    );
}

#[test]
fn the_shared_goldens_hold() {
    let Some(shared) = std::env::var_os("OMNI_SHARED") else {
        return;
    };
    let folder = Path::new(&shared).join("golden/model");
    if folder.is_dir() {
        holds(&folder);
    }
}
