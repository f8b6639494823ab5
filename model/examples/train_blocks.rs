//! Time and memory of a training step's forward and backward pass: 8 pre-norm blocks, dim 512, 8 heads, ffn 2048, 1024 tokens,
//! 25.2 million trained weights in them (the stack of the measurements that recomputation was decided by), f32.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p omni-model --example train_blocks -- plain|recomputed|frozen 5`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal"
)]

#[path = "../tests/counting/mod.rs"]
mod counting;

use candle_core::{DType, Device, Tensor, Var};
use counting::{MOST, NOW};
use omni_model::{
    net::{
        Ocf, OcfConfig, OcfInput,
        sa_mrope::{Prompt, Settings},
    },
    weights::{Formula, Weights, value_of},
};
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

const TOKENS: usize = 1024;
const TEXT: usize = 64;

/// MiB of a line of this process's status.
fn mib(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let kib = found.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let way = args.next().unwrap_or_else(|| "recomputed".to_owned());
    let rounds: usize = args.next().map_or(3, |count| count.parse().unwrap());
    let config = OcfConfig {
        dim: 512,
        heads: 8,
        ffn: 2048,
        layers: 8,
        text_dim: TEXT,
        ..OcfConfig::paper()
    };
    let frozen = way == "frozen";
    let weights = Weights::new(Formula { seed: 1 }, DType::F32, &Device::Cpu).train(move |_| !frozen);
    let ocf = Ocf::new(&config, &weights).unwrap().recomputed(way != "plain");
    let values = value_of("text", 1, TOKENS * TEXT, 1.0, 0.0);
    let text = Tensor::from_vec(values, (TOKENS, TEXT), &Device::Cpu).unwrap();
    let prompt = Prompt {
        text: TOKENS,
        subjects: Vec::new(),
        utterances: Vec::new(),
    };
    let points = prompt.points(&Settings::default()).unwrap();
    let input = OcfInput {
        text: Var::from_tensor(&text).unwrap().as_tensor().clone(),
        video: None,
        audio: None,
        tts: None,
    };
    // the largest size from here on, not that of loading
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, held) = (mib("VmRSS:"), NOW.load(Relaxed));
    MOST.store(held, Relaxed);
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        let loss = ocf
            .forward(&input, &points)
            .unwrap()
            .tokens
            .sqr()
            .unwrap()
            .mean_all()
            .unwrap();
        let grads = loss.backward().unwrap();
        assert!(grads.get(&input.text).is_some());
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{way}: best of {rounds} {best:.2} s, {:.0} MiB above weights and inputs; the process grew by {:.0} MiB",
        (MOST.load(Relaxed) - held) as f64 / f64::from(1 << 20),
        mib("VmHWM:") - before
    );
}
