//! What a training step's forward and backward pass ask for at most, above weights and inputs: blocks that are computed again
//! keep their inputs and nothing else; and what a sum over ranks asks for. Alone in its process: it counts what the whole process allocates.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it measured"
)]

mod counting;
mod train_support;

use candle_core::{DType, Device, Tensor, Var};
use counting::{MOST, NOW};
use omni_model::{
    generate::Place,
    net::{
        Ocf, OcfConfig, OcfInput,
        sa_mrope::{Prompt, Settings},
    },
    train::{Collective, CustomizerConfig, Launch, Meeting, Patience, Processes, Trainer},
    weights::{Formula, Init, Weights, value_of},
};
use std::{
    net::TcpListener,
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

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

/// One measures at a time: the count is the process's.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_sum_over_ranks_takes_a_few_times_its_bytes_on_each() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const WORLD: usize = 4;
    const VALUES: usize = 1 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (together, measured) = (Barrier::new(WORLD), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for rank in 0..WORLD {
            let (together, measured) = (&together, &measured);
            scope.spawn(move || {
                let launch = Launch {
                    rank,
                    world: WORLD,
                    local: rank,
        here: 1,
                    address: "127.0.0.1".to_owned(),
                    port,
                    token: String::new(),
                };
                let meeting = Meeting {
                    run: "a".to_owned(),
                    settings: "b".to_owned(),
                };
                let ranks = Processes::meet(&launch, &meeting, &Patience::default()).unwrap();
                let own = Tensor::ones(VALUES, DType::F32, &Device::Cpu).unwrap();
                let own = ranks.all_reduce(&own).unwrap(); // buffers of lines are there
                for sum in [true, false] {
                    together.wait();
                    if rank == 0 {
                        MOST.store(NOW.load(Relaxed), Relaxed);
                        measured.store(NOW.load(Relaxed), Relaxed);
                    }
                    together.wait();
                    let got = match sum {
                        true => ranks.reduce_scatter(&own).unwrap(),
                        false => ranks.all_reduce(&own).unwrap(),
                    };
                    together.wait();
                    drop(got);
                    if rank == 0 {
                        let grown = MOST.load(Relaxed).saturating_sub(measured.load(Relaxed));
                        let each = grown as f64 / WORLD as f64 / (4 * VALUES) as f64;
                        println!("a sum's slice ({sum}) or whole: {each:.2} times the bytes of the values, on each of {WORLD}");
                        let most = if sum { 1.8 } else { 3.0 };
                        assert!(each < most, "{each}");
                    }
                    together.wait();
                }
                ranks.finish();
            });
        }
    });
}

#[test]
fn a_recomputed_stack_keeps_the_inputs_of_its_blocks_and_one_block_under_way() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// What is counted is what the process holds, not what the trainer says of itself: a slice must not keep the whole alive.
#[test]
fn a_rank_of_four_holds_a_quarter_of_what_the_optimizer_keeps() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (dtype, moments) in [("f32", "f32"), ("bf16", "f32"), ("bf16", "8bit")] {
        let recipe = train_support::recipe(&format!(
            "steps = 1\nema = 0.9\ndtype = '{dtype}'\noptimizer = {{ moments = '{moments}' }}"
        ));
        let (data, place) = (train_support::data(1), Place::parse("cpu", Some(dtype)).unwrap());
        let held = |ranks| {
            let before = NOW.load(Relaxed);
            MOST.store(before, Relaxed);
            let config = CustomizerConfig::tiny();
            let trainer =
                Trainer::on(recipe.clone(), &config, Init { seed: 1 }, &data, &place, ranks).unwrap();
            let kept = trainer.moment_bytes() + trainer.master_bytes() + trainer.average_bytes();
            let held = NOW.load(Relaxed) - before;
            (held, kept, MOST.load(Relaxed) - before - held)
        };
        held((0, 1)); // what is made once for all is there
        let ((whole, kept, _), (quarter, own, passing)) = (held((0, 1)), held((0, 4)));
        println!(
            "{dtype}, moments {moments}: {whole} bytes alone, {quarter} as one of four; {kept} and {own} of them kept; {passing} more \
             for a moment"
        );
        // one weight at a time is whole, on its way from the file to the slice
        assert!(passing < kept / 8, "{passing} bytes more while it was loaded");
        let gone = (whole - quarter) as f64 / kept as f64;
        assert!(
            (0.70..0.78).contains(&gone),
            "{gone:.3} of what is kept is gone, not three quarters"
        );
    }
}
