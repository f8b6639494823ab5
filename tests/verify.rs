//! `omni verify`: golden files that agree, that do not, and that nothing knows.

use crate::common;
use common::{Scratch, code, shared, stderr, stdout, store};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn report(output: &std::process::Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn the_goldens_of_this_repository_agree() {
    let scratch = Scratch::new();
    for folder in [
        "tests/fixtures/golden",
        "perception/tests/fixtures/text",
        "model/tests/fixtures/golden",
    ] {
        let output = scratch.omni(&["verify", fixtures(folder).to_str().unwrap()]);
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        assert!(
            stderr(&output).contains(" 0 failed, 0 not read"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn all_shared_goldens_agree() {
    let (Some(golden), Some(_)) = (shared("golden"), store()) else {
        return;
    };
    let scratch = Scratch::new();
    let output = scratch.omni(&["verify", golden.to_str().unwrap(), "--json"]);
    let report = report(&output);
    let failed: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == "fail")
        .collect();
    assert_eq!(code(&output), 0, "{failed:?} {:?}", report["unread"]);
}

/// File, quantity and note of every check that ended so.
fn checks(report: &Value, verdict: &str) -> Vec<String> {
    let all = report["checks"].as_array().unwrap().iter();
    all.filter(|check| check["verdict"] == verdict)
        .map(|check| format!("{} {} {}", check["file"], check["quantity"], check["note"]))
        .collect()
}

#[test]
fn a_changed_number_an_unknown_file_and_an_unknown_tensor_fail() {
    let scratch = Scratch::new();
    let golden = scratch.join("golden");
    copy(&fixtures("tests/fixtures/golden"), &golden);
    let path = golden.join("syncnet/syncnet_expected.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut facts: Value = serde_json::from_str(&text).unwrap();
    facts["offset_search_cases"][0]["confidence"] = serde_json::json!(5.2);
    std::fs::write(&path, facts.to_string()).unwrap();
    std::fs::write(golden.join("face/more.json"), "{}").unwrap();
    let tensors = golden.join("vbench/tf_synthetic.safetensors");
    let bytes = std::fs::read(&tensors).unwrap();
    let at = bytes.windows(5).position(|w| w == b"score").unwrap();
    let mut renamed = bytes.clone();
    renamed[at..at + 5].copy_from_slice(b"scora");
    std::fs::write(&tensors, renamed).unwrap();
    let output = scratch.omni(&["verify", "golden", "--json"]);
    assert_eq!(code(&output), 1);
    let report = report(&output);
    let failed = checks(&report, "fail");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed[0].contains("Sync-C") && failed[1].contains("`score` is missing"),
        "{failed:?}"
    );
    let unread = report["unread"].to_string();
    assert!(
        unread.contains("face/more.json") && unread.contains("tensor `scora`"),
        "{unread}"
    );
}

#[test]
fn files_that_are_missing_are_named_and_lists_of_nothing_fail() {
    let scratch = Scratch::new();
    let golden = scratch.join("golden");
    copy(&fixtures("tests/fixtures/golden"), &golden);
    let whole = scratch.omni(&["verify", "golden"]);
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    let lacks = "files not here beside others of their kind";
    assert!(stderr(&whole).contains(lacks), "{}", stderr(&whole));
    assert_eq!(code(&scratch.omni(&["verify", "golden", "--strict"])), 1);
    for gone in [
        "face/scrfd_maps.safetensors",
        "vbench/tf_synthetic.safetensors",
        "sampling/hungarian.json",
    ] {
        // A folder without any file of its kind is no folder of golden files.
        if gone.starts_with("vbench") {
            scratch.write("golden/vbench/temporal_flickering.json", "[]");
        }
        std::fs::remove_file(golden.join(gone)).unwrap();
    }
    scratch.write("golden/sampling/fps25_maps.json", "[]");
    let output = scratch.omni(&["verify", "golden", "--json"]);
    assert_eq!(code(&output), 1);
    let report = report(&output);
    let failed = checks(&report, "fail");
    let lacking = checks(&report, "not_here");
    let named = |lines: &[String], word: &str| {
        assert!(lines.iter().any(|line| line.contains(word)), "{word}: {lines:?}");
    };
    for word in [
        "scrfd_maps.safetensors",
        "tf_synthetic.safetensors",
        "hungarian.json",
    ] {
        named(&lacking, word);
    }
    for word in ["fps25_maps.json", "temporal_flickering.json"] {
        named(&failed, word);
    }
}

#[test]
fn a_changed_tensor_of_a_network_and_a_file_of_none_fail() {
    let scratch = Scratch::new();
    let golden = scratch.join("golden");
    std::fs::create_dir_all(golden.join("keys")).unwrap();
    let bytes = std::fs::read(fixtures("model/tests/fixtures/golden/schedulers.safetensors")).unwrap();
    let mut changed = bytes.clone();
    // The exponent of the last number: 0 becomes 2, 1 becomes more than 1e38.
    *changed.last_mut().unwrap() ^= 0x40;
    std::fs::write(golden.join("schedulers.safetensors"), changed).unwrap();
    std::fs::write(golden.join("surprise.safetensors"), bytes).unwrap();
    scratch.write("golden/keys/f5_text_embed.tsv", "key\tshape\nnobody\t1x2\n");
    let output = scratch.omni(&["verify", "golden", "--json"]);
    assert_eq!(code(&output), 1);
    let report = report(&output);
    let checks = report["checks"].as_array().unwrap();
    let failed: Vec<&Value> = checks.iter().filter(|check| check["verdict"] == "fail").collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(failed[0]["file"], "keys/f5_text_embed.tsv");
    assert_eq!(failed[1]["file"], "schedulers.safetensors");
    assert!(checks.len() > 20, "the other tensors were compared");
    assert_eq!(report["unread"], serde_json::json!(["surprise.safetensors"]));
}

#[test]
fn a_device_that_is_not_here_is_named() {
    let scratch = Scratch::new();
    let folder = fixtures("model/tests/fixtures/golden");
    let verify = |device: &str| scratch.omni(&["verify", folder.to_str().unwrap(), "--device", device]);
    let words = match (cfg!(feature = "model"), cfg!(feature = "cuda")) {
        (false, _) => "built without `model`",
        (true, false) => "built without CUDA",
        (true, true) => "this machine lacks libcuda.so.1",
    };
    let card = verify("cuda:0");
    assert_eq!(code(&card), 3, "{}", stderr(&card));
    assert!(stderr(&card).contains(words), "{}", stderr(&card));
    if cfg!(feature = "model") {
        let word = verify("gpu");
        assert_eq!(code(&word), 2, "{}", stderr(&word));
    }
}

#[test]
fn nothing_to_check_is_a_failure_and_no_folder_is_named() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.join("empty")).unwrap();
    let output = scratch.omni(&["verify", "empty"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("nothing was checked"),
        "{}",
        stderr(&output)
    );
    let output = scratch.omni(&["verify", "nowhere"]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("nowhere does not exist"),
        "{}",
        stderr(&output)
    );
    scratch.write("file", "x");
    assert_eq!(code(&scratch.omni(&["verify", "file"])), 2);
}

#[test]
fn a_missing_runtime_fails_by_name_where_a_graph_lies() {
    let Some(golden) = shared("golden/metrics") else {
        return;
    };
    let scratch = Scratch::new();
    let mut command = scratch.command(&["verify", golden.join("wavlm").to_str().unwrap()]);
    let output = command
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        stdout(&output).contains("omni models pull onnxruntime"),
        "{}",
        stdout(&output)
    );
}

/// bf16 and f16 are computed, not f32 under another name; what has a bound holds it, and what has none is said to have none.
#[test]
#[cfg(feature = "model")]
fn the_backbone_is_held_to_the_bounds_of_bf16_and_the_rest_is_said_to_have_none() {
    let scratch = Scratch::new();
    let folder = fixtures("model/tests/fixtures/golden");
    let run = |dtype: &str| {
        let output = scratch.omni(&["verify", folder.to_str().unwrap(), "--dtype", dtype, "--json"]);
        assert_eq!(
            code(&output),
            0,
            "{dtype}: {}{}",
            stdout(&output),
            stderr(&output)
        );
        report(&output)["checks"].as_array().unwrap().clone()
    };
    let (half, small) = (run("bf16"), run("f16"));
    let is = |check: &Value, verdict: &str| check["verdict"] == verdict;
    let mut held = 0;
    for check in half
        .iter()
        .filter(|check| check["file"] == "fused.safetensors" && is(check, "pass"))
    {
        let (error, bound) = (
            check["error"].as_f64().unwrap(),
            check["tolerance"].as_f64().unwrap(),
        );
        assert!(error > 5e-4 && error <= bound && bound == 3e-2, "{check}");
        held += 1;
    }
    assert!(held >= 8, "{held} of {half:?}");
    for checks in [&half, &small] {
        assert!(checks.iter().all(|check| !is(check, "fail")), "{checks:?}");
        let without = |file: &str| {
            checks
                .iter()
                .filter(|check| check["file"] == file && is(check, "no_bound"))
                .count()
        };
        for file in [
            "fused_refs",
            "ocf_mtp_ca",
            "bigvgan",
            "umt5_hf",
            "train_step_tiny",
        ] {
            assert!(without(&format!("{file}.safetensors")) > 0, "{file}: {checks:?}");
        }
        let kept = checks
            .iter()
            .find(|check| check["file"] == "schedulers.safetensors")
            .unwrap();
        assert!(is(kept, "pass"), "{kept}");
    }
    assert!(
        !small
            .iter()
            .any(|check| check["file"] == "fused.safetensors" && is(check, "pass"))
    );
    let told = scratch.omni(&["verify", folder.to_str().unwrap(), "--dtype", "bf16"]);
    assert!(
        stderr(&told).contains("without a bound in this precision"),
        "{}",
        stderr(&told)
    );
    assert!(stdout(&told).contains("no bound for bf16"), "{}", stdout(&told));
    let wrong = scratch.omni(&["verify", folder.to_str().unwrap(), "--dtype", "fp8"]);
    assert_eq!(code(&wrong), 2);
    assert!(stderr(&wrong).contains("there are f32, bf16, f16"));
}
