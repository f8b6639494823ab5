//! Time and memory of a fused forward: 101 million parameters, 512 video and 157 audio tokens, 512 text rows, f32, 76.7 GFLOP
//! (the configuration of `fused_mid_outputs`, weights from the formula).
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p omni-model --example fused_mid -- 9 --python venv/bin/python`
//!
//! With `--python` (a Python with torch and numpy) the same forward runs in PyTorch on the same weights and inputs, with as many
//! threads, three rounds of each in turn; and how far the two results are apart.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for the terminal"
)]

mod beside;

use beside::{SEED, apart, floats, formula, hand_over, number, numbers, option, processor_seconds, torch};
use candle_core::{Device, Tensor};
use omni_model::{
    net::{FusionConfig, FusionModel, StreamConfig, StreamInput},
    no_grad,
    weights::{Weights, value_of},
};
use serde_json::json;
use std::{path::Path, time::Instant};

const USAGE: &str = "fused_mid [RUNS] [--python PYTHON]";

fn config() -> FusionConfig {
    let FusionConfig { video, audio } = FusionConfig::ovi();
    let mid = |stream: StreamConfig| StreamConfig {
        dim: 512,
        ffn_dim: 2048,
        num_heads: 8,
        num_layers: 8,
        ..stream
    };
    FusionConfig {
        video: mid(video),
        audio: mid(audio),
    }
}

/// A line of `/proc/self/status`, MiB.
fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with(key))
        .unwrap_or_default();
    let kib = line
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn input(name: &str, shape: &[usize]) -> Tensor {
    let values = value_of(name, SEED, shape.iter().product(), 3f32.sqrt(), 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// What runs here and there.
struct Forward {
    model: FusionModel,
    video: StreamInput,
    audio: StreamInput,
}

impl Forward {
    fn run(&self) -> (Tensor, Tensor) {
        no_grad(|| self.model.forward(&self.video, &self.audio, 0)).unwrap()
    }

    /// Writes weights, inputs and configuration for PyTorch.
    fn write(&self, folder: &Path) {
        let shapes = Weights::shapes_only();
        FusionModel::new(&config(), &shapes).unwrap();
        let inputs = [
            ("video", self.video.latent.clone()),
            ("audio", self.audio.latent.clone()),
            ("text", self.video.text.clone()),
        ];
        let told = json!({"config": config(), "t": self.video.t});
        hand_over(&shapes.asked(), inputs, &told, folder);
    }

    /// Both velocities in a row.
    fn values(&self) -> Vec<f32> {
        let (video, audio) = self.run();
        let row = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [row(&video), row(&audio)].concat()
    }
}

/// Processor and wall seconds.
type Seconds = [Vec<f64>; 2];

fn least(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn row(name: &str, [processor, wall]: &Seconds) {
    let told = |seconds: &[f64]| {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        format!("{:.0}, {:.0} ms", 1e3 * sorted[0], 1e3 * sorted[sorted.len() / 2])
    };
    println!(
        "{name} processor {}, wall {} (least, median of {})",
        told(processor),
        told(wall),
        wall.len()
    );
}

/// Runs PyTorch on what lies in `folder`: its version, and its seconds in the reference's way and in ours.
fn both_ways(python: &str, folder: &Path, runs: usize) -> (String, [Seconds; 2]) {
    let threads = rayon::current_num_threads();
    let args = [runs.to_string(), threads.to_string()];
    let told = torch(python, "fused_torch.py", folder, &args, threads);
    let seconds = |way: &str| ["processor", "wall"].map(|kind| numbers(&told[way][kind]));
    let version = told["version"].as_str().unwrap().to_owned();
    (version, ["as_reference", "lean"].map(seconds))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs = number(&arguments, 0, USAGE).unwrap_or(5);
    let python = option(&arguments, "--python", USAGE);
    let weights = formula();
    let text = input("bench.ctx", &[77, 4096]);
    let forward = Forward {
        model: FusionModel::new(&config(), &weights).unwrap(),
        video: StreamInput::new(input("bench.video", &[48, 8, 16, 16]), text.clone(), 731.0),
        audio: StreamInput::new(input("bench.audio", &[157, 20]), text, 731.0),
    };
    forward.run();
    let loaded = memory("VmRSS");
    let folder = tempfile::tempdir().unwrap();
    if python.is_some() {
        forward.write(folder.path());
    }
    let rounds = if python.is_some() { 3 } else { 1 };
    let [mut ours, mut reference, mut lean]: [Seconds; 3] = Default::default();
    let mut version = String::new();
    for _ in 0..rounds {
        for _ in 0..runs {
            let (start, before) = (Instant::now(), processor_seconds());
            forward.run();
            ours[0].push(processor_seconds() - before);
            ours[1].push(start.elapsed().as_secs_f64());
        }
        if let Some(python) = python {
            let (told, ways) = both_ways(python, folder.path(), runs);
            version = told;
            for (all, way) in [&mut reference, &mut lean].into_iter().zip(ways) {
                for (all, some) in all.iter_mut().zip(way) {
                    all.extend(some);
                }
            }
        }
    }
    println!("{} threads", rayon::current_num_threads());
    row("candle:", &ours);
    println!(
        "{:.1} GFLOP/s by the least processor time",
        76.7 / least(&ours[0])
    );
    println!(
        "{loaded:.0} MiB resident after the first forward, {:.0} MiB at most",
        memory("VmHWM")
    );
    if python.is_some() {
        for (way, theirs) in [("as the reference", &reference), ("lean", &lean)] {
            row(&format!("torch {version}, {way}:"), theirs);
            println!(
                "candle takes {:.2} of its processor time, {:.2} of its wall time",
                least(&ours[0]) / least(&theirs[0]),
                least(&ours[1]) / least(&theirs[1])
            );
        }
        println!(
            "apart by {:.1e} (relative)",
            apart(&forward.values(), &floats(&folder.path().join("output.bin")))
        );
    }
}
