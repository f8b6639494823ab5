//! Processor time of the video VAE's decoder and of the vocoder, here and in PyTorch, on the same weights (from the formula)
//! and the same input, one thread each, in turn; and how far the two results are apart.
//!
//! `cargo run --release -p omni-model --example codecs -- vae 5 --python venv/bin/python`
//!
//! Without `--python` (a Python with torch and numpy) ours alone is timed. `vocoder` takes 0.26 s of sound through the released
//! configuration (112 million parameters); `vae` takes 9 pictures of 128x128 out of the released one at a quarter of its width.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal"
)]

use candle_core::{DType, Device, Tensor};
use omni_model::{
    net::{
        vae_video::{VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    no_grad,
    weights::{Formula, Weights, value_of},
};
use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, process::Command};

const SEED: u64 = 4242;

/// A network, its input, and what PyTorch has to know of it.
struct Subject {
    config: Value,
    asked: Vec<(String, Vec<usize>)>,
    input: Tensor,
    run: Box<dyn Fn() -> Tensor>,
}

fn formula() -> Weights {
    Weights::new(Formula { seed: SEED }, DType::F32, &Device::Cpu)
}

fn input(shape: &[usize]) -> Tensor {
    let values = value_of("bench.input", SEED, shape.iter().product(), 1.0, 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn vocoder() -> Subject {
    let config = VocoderConfig::mmaudio_16k();
    let shapes = Weights::shapes_only();
    Vocoder::new(&config, &shapes).unwrap();
    let network = Vocoder::new(&config, &formula()).unwrap();
    let mel = input(&[config.num_mels, 16]);
    let given = mel.clone();
    Subject {
        config: json!({"kind": "vocoder", "config": config}),
        asked: shapes.asked(),
        input: mel,
        run: Box::new(move || network.forward(&given, |_, _| {}).unwrap()),
    }
}

fn vae() -> Subject {
    let config = VideoVaeConfig {
        dim: 16,
        dec_dim: 64,
        ..VideoVaeConfig::wan22()
    };
    let shapes = Weights::shapes_only();
    VideoVae::new(&config, &shapes).unwrap();
    let network = VideoVae::new(&config, &formula()).unwrap();
    let latent = input(&[config.z_dim, 3, 8, 8]);
    let scale = network
        .scale(&vec![0.0; config.z_dim], &vec![1.0; config.z_dim])
        .unwrap();
    let given = latent.clone();
    let decoding = |name: &str| name.starts_with("decoder.") || name.starts_with("conv2.");
    Subject {
        config: json!({"kind": "vae", "config": config}),
        asked: shapes
            .asked()
            .into_iter()
            .filter(|(name, _)| decoding(name))
            .collect(),
        input: latent,
        run: Box::new(move || {
            let mut clip = Vec::new();
            let take = |part| {
                clip.push(part);
                Ok(())
            };
            network.decode(&given, &scale, &mut |_, _| {}, take).unwrap();
            Tensor::cat(&clip, 1).unwrap()
        }),
    }
}

/// Seconds of processor time of this process, all threads.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn row(name: &str, mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let (least, middle) = (1e3 * seconds[0], 1e3 * seconds[seconds.len() / 2]);
    println!(
        "{name:8} {least:7.0} ms least {middle:7.0} ms median of {} (processor time)",
        seconds.len()
    );
    least
}

/// Runs PyTorch on what lies in `folder`; its seconds and its result.
fn torch(python: &str, folder: &Path, runs: usize) -> (Vec<f64>, Vec<f32>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/bench/codecs_torch.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .arg(runs.to_string())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("torch {}", told["version"].as_str().unwrap());
    let seconds = told["seconds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap());
    let bytes = std::fs::read(folder.join("output.bin")).unwrap();
    let (chunks, _) = bytes.as_chunks::<4>();
    (
        seconds.collect(),
        chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect(),
    )
}

fn main() {
    // one thread, as PyTorch is given
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()
        .unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let subject = match arguments.first().map(String::as_str) {
        Some("vae") => vae(),
        Some("vocoder") => vocoder(),
        _ => panic!("codecs vae|vocoder [RUNS] [--python PYTHON]"),
    };
    let runs: usize = arguments.get(1).map_or(5, |text| text.parse().unwrap());
    let python = arguments
        .iter()
        .position(|one| one == "--python")
        .map(|at| arguments[at + 1].clone());
    let ours = no_grad(|| (subject.run)());
    let mut seconds = Vec::new();
    for _ in 0..runs {
        let before = processor_seconds();
        no_grad(|| (subject.run)());
        seconds.push(processor_seconds() - before);
    }
    let least = row("candle", seconds);
    let Some(python) = python else { return };
    let folder = tempfile::tempdir().unwrap();
    let weights = formula();
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for (name, shape) in &subject.asked {
        tensors.insert(name.clone(), weights.get(name, shape).unwrap().t());
    }
    tensors.insert("input".to_owned(), subject.input.clone());
    candle_core::safetensors::save(&tensors, folder.path().join("tensors.safetensors")).unwrap();
    std::fs::write(folder.path().join("config.json"), subject.config.to_string()).unwrap();
    let (seconds, theirs) = torch(&python, folder.path(), runs);
    let theirs_least = row("torch", seconds);
    let ours: Vec<f32> = ours.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(ours.len(), theirs.len());
    let square = |sum: f64, x: f64| sum + x * x;
    let off = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| f64::from(a - b))
        .fold(0.0, square)
        .sqrt();
    let norm = theirs.iter().map(|b| f64::from(*b)).fold(0.0, square).sqrt();
    println!(
        "apart by {:.1e} (relative); candle takes {:.2} of torch's time",
        off / norm,
        least / theirs_least
    );
}
