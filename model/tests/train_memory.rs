//! What a training step's forward and backward pass ask for at most, above weights and inputs: blocks that are computed again
//! keep their inputs and nothing else. Alone in its process: it counts what the whole process allocates.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it measured"
)]

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
use std::sync::atomic::Ordering::Relaxed;

const TOKENS: usize = 512;
const LAYERS: usize = 8;

/// MiB that a step asks for, and those of its gradients.
fn step(recompute: bool) -> (f64, f64) {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let config = OcfConfig {
        dim: 128,
        heads: 4,
        ffn: 512,
        layers: LAYERS,
        text_dim: 32,
        ..OcfConfig::paper()
    };
    let weights = Weights::new(Formula { seed: 1 }, DType::F32, &Device::Cpu).train(|_| true);
    let ocf = Ocf::new(&config, &weights).unwrap().recomputed(recompute);
    let values = value_of("text", 1, TOKENS * 32, 1.0, 0.0);
    let text = Tensor::from_vec(values, (TOKENS, 32), &Device::Cpu).unwrap();
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
    let held = NOW.load(Relaxed);
    MOST.store(held, Relaxed);
    let out = ocf.forward(&input, &points).unwrap().tokens;
    let grads = out.sqr().unwrap().mean_all().unwrap().backward().unwrap();
    let most = mib(MOST.load(Relaxed) - held);
    let of = |weight: &omni_model::weights::Trained| {
        grads.get(&weight.var).map_or(0, |grad| 4 * grad.elem_count())
    };
    (most, mib(weights.trained().iter().map(of).sum()))
}

#[test]
fn a_recomputed_stack_keeps_the_inputs_of_its_blocks_and_one_block_under_way() {
    let ((plain, gradients), (recomputed, same)) = (step(false), step(true));
    assert_eq!(gradients, same);
    println!(
        "plain {plain:.1} MiB, recomputed {recomputed:.1} MiB, {gradients:.1} MiB of each are gradients"
    );
    // a block's rows of `dim` values, of which 15 and three of `ffn` are alive at once in a plain pass
    let row = (TOKENS * 128 * 4) as f64 / f64::from(1 << 20);
    let block = (15.0 + 3.0 * 4.0) * row;
    assert!(
        plain < gradients + LAYERS as f64 * block + 4.0,
        "{plain} MiB plain"
    );
    assert!(
        recomputed < gradients + LAYERS as f64 * 2.0 * row + 2.0 * block + 4.0,
        "{recomputed} MiB recomputed"
    );
    assert!(recomputed < 0.6 * plain, "{recomputed} of {plain} MiB");
}
