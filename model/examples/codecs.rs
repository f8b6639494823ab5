//! Processor time of the video VAE's decoder and of the vocoder, here and in PyTorch, on the same weights (from the formula)
//! and the same input, one thread each, in two rounds in turn; and how far each result is from PyTorch's in f64.
//!
//! `cargo run --release -p omni-model --example codecs -- vae 5 --python venv/bin/python`
//!
//! Without `--python` (a Python with torch and numpy) ours alone is timed; `--threads 2` gives ours two threads. Also said: what
//! ours asks for at most beside weights and input, and how fast one product of matrices goes here, of which the network's own
//! products make a floor. `vocoder` takes 0.26 s of sound through the released
//! configuration (112 million parameters); `vae` takes 9 pictures of 128x128 out of the released one at a quarter of its width.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for the terminal"
)]

use candle_core::{Device, Tensor};
use omni_model::{
    net::{
        vae_video::{VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    no_grad,
    weights::{Weights, value_of},
};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

mod beside;
#[path = "../tests/counting/mod.rs"]
mod counting;

use beside::{
    SEED, apart, floats, formula, hand_over, number, numbers, option, processor_seconds, stop,
    thread_seconds, torch,
};
use counting::{MOST, NOW};

const USAGE: &str = "codecs vae|vocoder [RUNS] [--threads N] [--python PYTHON]";

/// Both are timed once per round, so that a busy minute of the machine is not one side's alone.
const ROUNDS: usize = 2;

/// A network, its input, and what PyTorch has to know of it.
struct Subject {
    config: Value,
    asked: Vec<(String, Vec<usize>)>,
    input: Tensor,
    run: Box<dyn Fn() -> Tensor>,
    /// Products of the network as it is defined, a multiplication and an addition each.
    products: f64,
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
        products: 14.4e9,
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
        products: 87.6e9,
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

fn row(name: &str, seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let (least, middle) = (1e3 * seconds[0], 1e3 * seconds[seconds.len() / 2]);
    println!(
        "{name:8} {least:7.0} ms least {middle:7.0} ms median of {} (processor time)",
        seconds.len()
    );
    least
}

/// Products a second of two matrices of 1024 by 1024 on one thread, by processor time, the best of three.
fn product_rate() -> f64 {
    const TIMES: usize = 16;
    let (a, b) = (input(&[1024, 1024]), input(&[1024, 1024]));
    let rounds = (0..3).map(|_| {
        let before = processor_seconds();
        for _ in 0..TIMES {
            a.matmul(&b).unwrap();
        }
        processor_seconds() - before
    });
    TIMES as f64 * 1024f64.powi(3) / rounds.fold(f64::INFINITY, f64::min)
}

/// Ours, with what it asks for at most.
fn first(subject: &Subject) -> Vec<f32> {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let ours = no_grad(|| (subject.run)());
    let most = (MOST.load(Relaxed) - before) as f64 / f64::from(1 << 20);
    println!("asks for {most:.0} MiB at most beside weights and input");
    ours.flatten_all().unwrap().to_vec1().unwrap()
}

/// Seconds of processor time and, shortest first, of the clock.
fn timed(subject: &Subject, runs: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut seconds, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (before, wall) = (processor_seconds(), Instant::now());
        no_grad(|| (subject.run)());
        seconds.push(processor_seconds() - before);
        walls.push(wall.elapsed().as_secs_f64());
    }
    walls.sort_by(f64::total_cmp);
    (seconds, walls)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = option(&arguments, "--threads", USAGE);
    let threads = threads.map_or(1, |text| text.parse().unwrap_or_else(|_| stop(USAGE)));
    // one thread, as PyTorch is given
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let subject = match arguments.first().map(String::as_str) {
        Some("vae") => vae(),
        Some("vocoder") => vocoder(),
        _ => stop(USAGE),
    };
    let runs = number(&arguments, 1, USAGE).unwrap_or(5);
    let floor = 1e3 * subject.products / product_rate();
    println!("products alone, at the rate of a matrix product: {floor:.0} ms");
    let result = first(&subject);
    let Some(python) = option(&arguments, "--python", USAGE) else {
        let before = thread_seconds();
        let (mut seconds, walls) = timed(&subject, runs);
        let per_run = |(id, after): (&String, &f64)| {
            let spent = after - before.get(id).unwrap_or(&0.0);
            format!("{:.0}", 1e3 * spent / runs as f64)
        };
        let threads: Vec<String> = thread_seconds().iter().map(per_run).collect();
        row("candle", &mut seconds);
        println!("by the clock {:.0} ms least", 1e3 * walls[0]);
        println!(
            "by thread, ms of processor time of a mean run: {}",
            threads.join(", ")
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    hand_over(
        &subject.asked,
        [("input", subject.input.clone())],
        &subject.config,
        folder.path(),
    );
    let (mut ours, mut theirs, mut version) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..ROUNDS {
        ours.extend(timed(&subject, runs).0);
        let told = torch(python, "codecs_torch.py", folder.path(), &[runs.to_string()], 1);
        theirs.extend(numbers(&told["seconds"]));
        version = told["version"].as_str().unwrap().to_owned();
    }
    println!("torch {version}");
    let share = row("candle", &mut ours) / row("torch", &mut theirs);
    let [narrow, wide] = ["output.bin", "output64.bin"].map(|name| floats(&folder.path().join(name)));
    println!("candle takes {share:.2} of torch's time");
    println!(
        "apart (relative): candle from torch {:.1e}, candle from torch in f64 {:.1e}, torch from torch in f64 {:.1e}",
        apart(&result, &narrow),
        apart(&result, &wide),
        apart(&narrow, &wide)
    );
}
