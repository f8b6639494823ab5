//! `omni model`: checkpoints made, looked into and converted.
#![cfg(feature = "model")]

use crate::common;
use common::{Scratch, code, stderr, stdout};
use std::fs;

fn ok(scratch: &Scratch, args: &[&str]) -> String {
    let output = scratch.omni(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn fails(scratch: &Scratch, args: &[&str], expected: i32, words: &str) {
    let output = scratch.omni(args);
    assert_eq!(code(&output), expected, "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
}

#[test]
fn the_examples_of_the_help_run() {
    let scratch = Scratch::new();
    ok(
        &scratch,
        &[
            "model", "init", "--preset", "tiny", "--seed", "7", "--out", "tiny",
        ],
    );
    let told = ok(&scratch, &["model", "inspect", "tiny/model.safetensors"]);
    assert!(
        told.contains("ovi_fusion") && told.contains("ocf") && told.contains("mtp_ca"),
        "{told}"
    );
    ok(
        &scratch,
        &[
            "model",
            "convert",
            "tiny/model.safetensors",
            "--dtype",
            "bf16",
            "--out",
            "tiny-bf16",
        ],
    );
    let told = ok(&scratch, &["model", "inspect", "tiny-bf16", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told["dtypes"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["bf16"]
    );
    for command in ["init", "inspect", "convert", "assemble"] {
        assert!(
            ok(&scratch, &["model", command, "--help"]).contains("Example:"),
            "{command}"
        );
    }
}

#[test]
fn folders_that_are_there_files_that_are_not_and_damage_are_told_apart() {
    let scratch = Scratch::new();
    ok(&scratch, &["model", "init", "--preset", "tiny", "--out", "tiny"]);
    fails(
        &scratch,
        &["model", "init", "--preset", "tiny", "--out", "tiny"],
        2,
        "tiny",
    );
    fails(
        &scratch,
        &["model", "init", "--preset", "huge", "--out", "x"],
        2,
        "720p",
    );
    fails(
        &scratch,
        &["model", "inspect", "gone.safetensors"],
        3,
        "gone.safetensors",
    );
    scratch.write("text.safetensors", "these are no tensors at all");
    fails(
        &scratch,
        &["model", "inspect", "text.safetensors"],
        1,
        "safetensors",
    );
    fails(
        &scratch,
        &["model", "convert", "text.safetensors", "--out", "y"],
        1,
        "safetensors",
    );
    assert!(!scratch.join("y").exists());
    let whole = fs::read(scratch.join("tiny/model.safetensors")).unwrap();
    fs::write(scratch.join("cut.safetensors"), &whole[..whole.len() - 100]).unwrap();
    fails(
        &scratch,
        &["model", "inspect", "cut.safetensors"],
        1,
        "cut.safetensors",
    );
}

#[test]
fn pytorchs_files_are_converted_and_one_with_code_in_it_is_refused() {
    let scratch = Scratch::new();
    let fixture = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tests/fixtures");
        folder.join(name).to_string_lossy().into_owned()
    };
    ok(
        &scratch,
        &["model", "convert", &fixture("plain.pth"), "--out", "plain"],
    );
    let told = ok(&scratch, &["model", "inspect", "plain", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["tensors"], &told["unknown_count"]), (&5.into(), &5.into()));
    assert!(ok(&scratch, &["model", "inspect", "plain"]).contains("no network that this build knows"));
    fails(
        &scratch,
        &["model", "inspect", &fixture("hostile.pth")],
        1,
        "posix.system",
    );
    fails(
        &scratch,
        &["model", "convert", &fixture("hostile.pth"), "--out", "z"],
        1,
        "nothing of it was run",
    );
    assert!(!scratch.join("z").exists());
}

/// Tensors of a safetensors file under other names, and some more, as another file.
fn renamed(from: &std::path::Path, to: &std::path::Path, name: impl Fn(&str) -> String, more: &[&str]) {
    let bytes = fs::read(from).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    let mut written = serde_json::Map::new();
    for (key, value) in header {
        let key = if key == "__metadata__" { key } else { name(&key) };
        written.insert(key, value);
    }
    for key in more {
        let at = data.len();
        data.extend([0; 8]);
        written.insert(
            (*key).to_owned(),
            serde_json::json!({ "dtype": "F32", "shape": [2], "data_offsets": [at, at + 8] }),
        );
    }
    let header = serde_json::to_vec(&written).unwrap();
    let mut all = (header.len() as u64).to_le_bytes().to_vec();
    all.extend(header);
    all.extend(data);
    fs::write(to, all).unwrap();
}

/// A tiny checkpoint's files as they would be published, and the words to put them together.
fn published(scratch: &Scratch) -> Vec<&'static str> {
    ok(
        scratch,
        &[
            "model", "init", "--preset", "tiny", "--seed", "7", "--out", "tiny",
        ],
    );
    renamed(
        &scratch.join("tiny/speech/model.safetensors"),
        &scratch.join("f5.safetensors"),
        |name| format!("ema_model.transformer.text_embed.{name}"),
        &["ema_model.transformer.norm_out.linear.bias"],
    );
    vec![
        "model",
        "assemble",
        "--preset",
        "tiny",
        "--backbone",
        "tiny/model.safetensors",
        "--text-encoder",
        "tiny/text/model.safetensors",
        "--tokenizer",
        "tiny/text/tokenizer.json",
        "--phonemes",
        "f5.safetensors",
        "--vocabulary",
        "tiny/speech/vocab.txt",
        "--out",
    ]
}

#[test]
fn files_become_a_checkpoint_that_samples_what_the_first_one_does() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let words = published(&scratch);
    let told = ok(&scratch, &[&words[..], &["mine"]].concat());
    for word in ["backbone", "linked", "taken out"] {
        assert!(told.contains(word), "`{word}` is not in: {told}");
    }
    // random weights of ours are nobody's published ones, and stay random
    for word in ["chetwinlow1/Ovi", "Apache-2.0", "CC-BY-NC-4.0"] {
        assert!(!told.contains(word), "`{word}` is in: {told}");
    }
    let origin = |checkpoint: &str| {
        let text = fs::read_to_string(scratch.join(checkpoint).join("config.toml")).unwrap();
        text.lines()
            .find(|line| line.starts_with("origin"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(origin("mine"), origin("tiny"));
    let node = |path: &str| fs::metadata(scratch.join(path)).unwrap().ino();
    assert_eq!(node("mine/model.safetensors"), node("tiny/model.safetensors"));
    let config = fs::read_to_string(scratch.join("mine/config.toml")).unwrap();
    let sources: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(scratch.join("mine/sources.json")).unwrap()).unwrap();
    let hash = blake3::hash(&fs::read(scratch.join("mine/model.safetensors")).unwrap())
        .to_hex()
        .to_string();
    assert!(
        config.contains(&hash) && sources[0]["blake3"] == hash.as_str(),
        "{config}"
    );
    assert_eq!(sources.as_array().unwrap().len(), 5);
    // copies are other files
    ok(&scratch, &[&words[..], &["copied", "--by", "copy"]].concat());
    assert_ne!(node("copied/model.safetensors"), node("tiny/model.safetensors"));
    // what was pulled is found by its place
    for (from, to) in [
        (
            "tiny/model.safetensors",
            "pulled/ovi-720x720_5s/model.safetensors",
        ),
        (
            "tiny/text/model.safetensors",
            "pulled/umt5_xxl/models_t5_umt5-xxl-enc-bf16.pth",
        ),
        ("tiny/text/tokenizer.json", "pulled/umt5_xxl/tokenizer.json"),
        ("f5.safetensors", "pulled/f5tts_v1/model_1250000.safetensors"),
        ("tiny/speech/vocab.txt", "pulled/f5tts_v1/vocab.txt"),
    ] {
        fs::create_dir_all(scratch.join(to).parent().unwrap()).unwrap();
        fs::copy(scratch.join(from), scratch.join(to)).unwrap();
    }
    let pulled = |folder: &'static str, more: &[&'static str]| {
        let args = ["model", "assemble", "--preset", "tiny", "--pulled", folder];
        [&args[..], &["--out", "from-pulled"], more].concat()
    };
    fails(
        &scratch,
        &pulled("nowhere", &[]),
        3,
        "--pulled nowhere is no folder",
    );
    // nothing lies beside that backbone which would say what it is
    fails(
        &scratch,
        &pulled("pulled", &[]),
        2,
        "--origin init, trained or released",
    );
    ok(&scratch, &pulled("pulled", &["--origin", "trained"]));
    assert_eq!(origin("from-pulled"), "origin = \"trained\"");
    // the same weights sample the same
    let frames = |checkpoint: &str| {
        let out = format!("{checkpoint}-clips");
        ok(
            &scratch,
            &[
                "sample",
                "--checkpoint",
                checkpoint,
                "--prompt",
                "A man <sub1> says, <S>hello<E>",
                "--out",
                &out,
                "--seconds",
                "0.2",
                "--steps",
                "2",
                "--frames",
                "--method",
                "m",
            ],
        );
        let mut all = Vec::new();
        let mut folders = vec![scratch.join(&out)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path
                    .extension()
                    .is_some_and(|ending| ending == "png" || ending == "wav")
                {
                    let name = path.strip_prefix(scratch.join(&out)).unwrap().to_owned();
                    all.push((name, fs::read(&path).unwrap()));
                }
            }
        }
        all.sort();
        assert!(all.len() > 2, "{all:?}");
        all
    };
    let first = frames("tiny");
    assert!(first == frames("mine") && first == frames("from-pulled"));
}

#[test]
fn files_that_do_not_belong_together_leave_nothing() {
    let scratch = Scratch::new();
    let words = published(&scratch);
    let with = |old: &str, new: &str| -> Vec<String> {
        let put = |word: &&str| {
            if *word == old {
                new.to_owned()
            } else {
                (*word).to_owned()
            }
        };
        let mut all: Vec<String> = words.iter().map(put).collect();
        all.push("mine".to_owned());
        all
    };
    let refused = |args: &[String], number: i32, word: &str| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        fails(&scratch, &args, number, word);
        assert!(!scratch.join("mine").exists());
    };
    // one renamed tensor: both names are told
    renamed(
        &scratch.join("tiny/model.safetensors"),
        &scratch.join("odd.safetensors"),
        |name| {
            name.replace(
                "video_model.patch_embedding.weight",
                "video_model.patch_embeding.weight",
            )
        },
        &[],
    );
    refused(
        &with("tiny/model.safetensors", "odd.safetensors"),
        1,
        "`video_model.patch_embedding.weight` (the file has `video_model.patch_embeding.weight`)",
    );
    refused(
        &with("tiny/text/model.safetensors", "f5.safetensors"),
        1,
        "--text-encoder",
    );
    refused(&with("f5.safetensors", "tiny/model.safetensors"), 1, "--phonemes");
    refused(&with("tiny/text/tokenizer.json", "gone.json"), 3, "gone.json");
    scratch.write("short.txt", " \na\nb\n");
    refused(
        &with("tiny/speech/vocab.txt", "short.txt"),
        2,
        "3 tokens, and the phoneme encoder has",
    );
    refused(
        &with("tiny", "720p"),
        2,
        "--video-vae (Wan2.2_VAE.pth of `omni models pull wan22_vae`)",
    );
    let mut more = with("", "");
    more.extend(["--vocoder".to_owned(), "f5.safetensors".to_owned()]);
    refused(&more, 2, "stand-in codec");
    // a checkpoint of another size
    refused(&with("tiny", "small"), 1, "does not fit the network");
    fs::create_dir(scratch.join("there")).unwrap();
    let all = [&words[..], &["there"]].concat();
    fails(&scratch, &all, 2, "there");
    let left = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().contains("unfinished"))
    );
}

#[test]
fn sources_and_licences_are_those_of_the_registry() {
    use omni_model::checkpoint::Role;
    let text =
        fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("perception/models.toml"));
    let registry: toml::Table = toml::from_str(&text.unwrap()).unwrap();
    let networks = registry["network"].as_array().unwrap();
    for role in Role::ALL {
        let known = role.published();
        let entry = networks
            .iter()
            .find(|entry| entry["id"].as_str() == Some(known.id))
            .unwrap();
        assert_eq!(entry["source"]["repository"].as_str(), Some(known.repository));
        assert_eq!(entry["licence"]["weights"].as_str(), Some(known.licence));
        let files = entry["files"].as_array().unwrap();
        assert!(
            files.iter().any(|file| file["name"].as_str() == Some(known.file)),
            "{}",
            known.file
        );
    }
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_one() {
    let scratch = Scratch::new();
    let args = |preset| ["model", "init", "--preset", preset, "--out", "fresh"];
    let mut child = scratch.command(&args("small")).spawn().unwrap();
    let left = scratch.join(&format!(".fresh.{}.unfinished", child.id()));
    let began = std::time::Instant::now();
    while !left.exists() {
        assert!(began.elapsed().as_secs() < 60, "nothing was begun");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(left.exists() && !scratch.join("fresh").exists());
    // of a process that lives: this test's own
    let living = scratch.join(&format!(".fresh.{}.unfinished", std::process::id()));
    fs::create_dir(&living).unwrap();
    ok(&scratch, &args("tiny"));
    assert!(!left.exists() && living.exists() && scratch.join("fresh/config.toml").exists());
}

#[test]
fn values_that_f16_cannot_hold_are_refused_by_name() {
    let scratch = Scratch::new();
    let header = serde_json::json!({
        "small": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "wide": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    })
    .to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    for value in [1.0f32, 2.0, -1e6] {
        bytes.extend(value.to_le_bytes());
    }
    fs::write(scratch.join("a.safetensors"), bytes).unwrap();
    let convert = |dtype| {
        [
            "model",
            "convert",
            "a.safetensors",
            "--dtype",
            dtype,
            "--out",
            "b",
        ]
    };
    fails(&scratch, &convert("f16"), 1, "`wide` has values up to 1e6");
    assert!(!scratch.join("b").exists());
    ok(&scratch, &convert("bf16"));
}

#[test]
fn numbers_of_a_configuration_beyond_their_range_are_refused() {
    let scratch = Scratch::new();
    ok(&scratch, &["model", "init", "--preset", "tiny", "--out", "tiny"]);
    let path = scratch.join("tiny/config.toml");
    let config = fs::read_to_string(&path).unwrap();
    for (old, new, words) in [
        ("seconds = 1.0", "seconds = 1e30", "sampling.seconds"),
        (
            "num_layers = 3",
            "num_layers = 99999999999",
            "num_layers = 99999999999 is not within 1 to 1024",
        ),
        ("steps = 4", "steps = 0", "sampling.steps = 0"),
    ] {
        assert!(config.contains(old), "{old}");
        fs::write(&path, config.replace(old, new)).unwrap();
        let args = [
            "sample",
            "--checkpoint",
            "tiny",
            "--prompt",
            "A room.",
            "--out",
            "clips",
            "--dry-run",
        ];
        fails(&scratch, &args, 2, words);
        fails(&scratch, &args, 2, "tiny/config.toml: ");
    }
}
