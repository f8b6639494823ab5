//! Attention takes the memory of its inputs, not of all queries against all keys. Alone in its process: it reads the process's
//! largest size.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use candle_core::{DType, Device, Tensor};
use omni_model::ops::attention;

/// MiB, the most this process has held so far.
fn most() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn attention_of_many_tokens_stays_small() {
    // all scores of four heads would take 268 MB in f32, twice that in f64
    let tokens = 4096;
    for (dtype, bound) in [(DType::F32, 40.0), (DType::F64, 140.0)] {
        let x = Tensor::rand(-1f32, 1.0, (tokens, 64), &Device::Cpu)
            .unwrap()
            .to_dtype(dtype)
            .unwrap();
        let before = most();
        let out = attention(&x, &x, &x, 4, 0.25, None).unwrap();
        assert_eq!(out.dims(), [tokens, 64]);
        let grown = most() - before;
        assert!(grown < bound, "{dtype:?}: {grown} MiB");
    }
}
