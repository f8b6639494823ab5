//! Time and memory of a fused forward: 101 million parameters, 512 video and 157 audio tokens, 512 text rows, f32, 76.7 GFLOP
//! (the configuration of `fused_mid_outputs`, weights from the formula).
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p omni-model --example fused_mid -- 9`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal"
)]

use candle_core::{DType, Device, Tensor};
use omni_model::{
    net::{FusionConfig, FusionModel, StreamConfig, StreamInput},
    no_grad,
    weights::{Formula, Weights, value_of},
};
use std::time::Instant;

const SEED: u64 = 4242;

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

/// Seconds of processor time of this process, all threads.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    (ticks(11) + ticks(12)) / 100.0
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

fn main() {
    let runs: usize = std::env::args().nth(1).map_or(5, |text| text.parse().unwrap());
    let weights = Weights::new(Formula { seed: SEED }, DType::F32, &Device::Cpu);
    let model = FusionModel::new(&config(), &weights).unwrap();
    let text = input("bench.ctx", &[77, 4096]);
    let video = StreamInput::new(input("bench.video", &[48, 8, 16, 16]), text.clone(), 731.0);
    let audio = StreamInput::new(input("bench.audio", &[157, 20]), text, 731.0);
    let forward = || no_grad(|| model.forward(&video, &audio, 0)).unwrap();
    forward();
    let loaded = memory("VmRSS");
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (start, before) = (Instant::now(), processor_seconds());
        forward();
        wall.push(start.elapsed().as_secs_f64());
        processor.push(processor_seconds() - before);
    }
    wall.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    let row = |name: &str, seconds: &[f64]| {
        let (least, middle) = (1e3 * seconds[0], 1e3 * seconds[seconds.len() / 2]);
        println!("{name:10} {least:7.0} ms least {middle:7.0} ms median of {runs}");
    };
    row("wall", &wall);
    row("processor", &processor);
    println!("{:.1} GFLOP/s by the least wall time", 76.7 / wall[0]);
    println!(
        "{loaded:.0} MiB resident after the first forward, {:.0} MiB at most",
        memory("VmHWM")
    );
}
