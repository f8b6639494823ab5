//! What the pure parts of the metrics cost: temporal flickering beside VBench's own code, and the parts with a budget.
//!
//! ```text
//! cargo run --release -p omni-bench --example speed -- CLIP [PYTHON]
//! ```
//! One thread, CPU seconds, the least of a few rounds in turns. With PYTHON (an interpreter that has
//! opencv-python-headless and numpy) `scripts/bench/tf_reference.py` runs on the same clip, in the same run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench speaks, and stops where it cannot go on"
)]

use omni_bench::metrics::tf::Flicker;
use omni_media::{Image, Limits, Span, read_frames_twice};
use omni_perception::{
    audio::mel::LogMel,
    text::score,
    vision::{aesthetic, musiq},
};
use std::{ops::ControlFlow, path::Path, process::Command};

const ROUNDS: usize = 5;

/// CPU seconds of this thread so far, user and system; some systems count in steps of 4 ms.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}

/// The least of a few rounds.
fn least<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::INFINITY;
    let mut result = None;
    for _ in 0..ROUNDS {
        let before = cpu();
        let value = work();
        best = best.min(cpu() - before);
        result = Some(value);
    }
    (best, result.unwrap())
}

/// Milliseconds of one call of something short: the least of a few rounds of many calls.
fn short<T>(mut work: impl FnMut() -> T) -> f64 {
    let calls = 50;
    let (seconds, ()) = least(|| (0..calls).for_each(|_| drop(std::hint::black_box(work()))));
    seconds * 1e3 / f64::from(calls)
}

fn frames(clip: &Path, on: &mut dyn FnMut(&Image)) -> u64 {
    let mut each = |frame: omni_media::Frame<'_>| {
        on(frame.bt601.unwrap_or(frame.image));
        ControlFlow::Continue(())
    };
    read_frames_twice(clip, &Span::default(), &Limits::default(), &mut each).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let clip = std::path::PathBuf::from(arguments.next().expect("usage: speed CLIP [PYTHON]"));
    let python = arguments.next();
    let mut kept = Vec::new();
    let count = frames(&clip, &mut |image| kept.push(image.clone()));
    let (scoring, tf) = least(|| {
        let mut flicker = Flicker::default();
        for image in &kept {
            flicker.push(image);
        }
        flicker.score().unwrap()
    });
    let (whole, _) = least(|| {
        let mut flicker = Flicker::default();
        frames(&clip, &mut |image| {
            flicker.push(image);
        });
        flicker.score().unwrap()
    });
    let first = &kept[0];
    println!("{count} frames of {}x{}", first.width, first.height);
    println!("tf {tf:.9}: score only {scoring:.4} CPU s, with decoding {whole:.3} CPU s");
    if let Some(python) = python {
        reference(&python, &clip, scoring, whole);
    }
    let patches = short(|| musiq::patches(&musiq::prepare(first)));
    let pixels = short(|| aesthetic::pixel_values(first));
    println!("a frame: MUSIQ's patches {patches:.2} ms, SigLIP's input {pixels:.2} ms");
    let wave: Vec<f32> = (0..480_000).map(|i| (i as f32 * 0.01).sin() * 0.2).collect();
    for bins in [80, 128] {
        let mel = LogMel::new(bins);
        println!(
            "log-mel of 30 s, {bins} bands: {:.2} ms",
            short(|| mel.window(&wave))
        );
    }
    let said =
        "Well, I don't know what the 21st of May 1984 was like, Mr. Smith; it's colour that I remember.";
    let heard =
        "well i do not know what the twenty first of may 1984 was like mister smith its color i remember";
    let pairs = short(|| {
        (0..1000)
            .map(|_| score("en", said, heard).errors.total())
            .sum::<usize>()
    });
    println!("normalising and scoring 1000 pairs of 19 words: {pairs:.1} ms");
}

fn reference(python: &str, clip: &Path, scoring: f64, whole: f64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bench/tf_reference.py");
    let output = Command::new(python).arg(script).arg(clip).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
    let [tf, score, all] = [(); 3].map(|()| numbers.next().unwrap());
    println!("VBench  {tf:.9}: score only {score:.4} CPU s, with decoding {all:.3} CPU s");
    println!(
        "VBench / omni: score only {:.1}, with decoding {:.1}",
        score / scoring,
        all / whole
    );
}
