//! How far `track` is from its floor, in two ways: decoding alone and what its own network calls took inside ONNX Runtime
//! (wall time); and one pass that decodes and makes as many bare network calls, and nothing else (CPU seconds).
//!
//! ```text
//! cargo run --release -p omni-curate --example track_floor -- CLIP [PYTHON]
//! ```
//! One thread. With PYTHON (an interpreter that has onnxruntime, opencv-python-headless and numpy) the same
//! networks run in `scripts/bench/track_reference.py` on the same clip, in the same run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench speaks, and stops where it cannot go on"
)]

use omni_curate::{
    kit::{Kit, KitSettings},
    plan,
    recipe::Recipe,
};
use omni_media::{Limits, Span, read_frames};
use omni_perception::{
    registry::{Located, Registry, Store},
    runtime::{Device, Runtime, Session, Tensor},
};
use omni_pipeline::{Cancel, Event, Progress, RunOptions};
use std::{collections::BTreeMap, ops::ControlFlow, path::Path, process::Command, sync::Mutex};

/// CPU seconds of this process so far (user and system).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Rounds that are measured.
const ROUNDS: usize = 9;

/// Wall seconds of decoding alone, CPU seconds of decoding and bare networks, and of `track` its CPU seconds, its wall
/// seconds and those of them that it spent inside ONNX Runtime.
struct Round {
    decode: f64,
    floor: f64,
    work: f64,
    wall: f64,
    inside: f64,
}

/// CPU seconds, wall seconds, and what came of it.
fn timed<T>(work: impl FnOnce() -> T) -> ([f64; 2], T) {
    let (before, start) = (cpu(), std::time::Instant::now());
    let result = work();
    ([cpu() - before, start.elapsed().as_secs_f64()], result)
}

#[derive(Default)]
struct Log(Mutex<BTreeMap<&'static str, u64>>);

impl Progress for Log {
    fn on(&self, event: &Event) {
        if let Event::ClipDone {
            stage: "track",
            counts,
            ..
        } = event
        {
            self.0.lock().unwrap().extend(counts.clone());
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let clip = std::path::PathBuf::from(arguments.next().expect("usage: track_floor CLIP [PYTHON]"));
    let cache = std::env::var_os("OMNI_CACHE").map(Into::into);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/omni"));
    let (registry, store) = (Registry::builtin(), Store::new(&cache));
    let library = store.locate_id(&registry, "onnxruntime").unwrap().first();

    let frames = |on: &mut dyn FnMut(omni_media::Frame<'_>)| {
        read_frames(
            &clip,
            &Span {
                start: None,
                end: None,
            },
            &Limits::default(),
            &mut |frame| {
                on(frame);
                ControlFlow::Continue(())
            },
        )
        .unwrap()
    };
    let count = frames(&mut |_| {});
    let (_, counts) = run_track(&clip, &registry, &store, &library);
    let embeds = counts["embedder_calls"];

    let runtime = Runtime::open(&library, Device::Cpu).unwrap();
    let find = |role| store.locate(&registry, "open", role).unwrap();
    let (face, vector) = (find("face_detector"), find("face_embedder"));
    let detector = Bare::new(&runtime, &face, [1, 3, 640, 640]);
    let embedder = Bare::new(&runtime, &vector, [1, 3, 112, 112]);
    // The machine is shared and its speed drifts: both in turns, and the median of the ratios within a round.
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let decode = timed(|| frames(&mut |_| {})).0[1];
        let calls = || {
            let (mut seen, mut left) = (0, embeds);
            frames(&mut |_| {
                seen += 1;
                detector.call();
                // Spread over the clip, as they are in `track`.
                if left * count >= embeds * (count - seen).max(1) && left > 0 {
                    left -= 1;
                    embedder.call();
                }
            });
            (0..left).for_each(|_| embedder.call());
        };
        let [floor, _] = timed(calls).0;
        let ([work, wall], counts) = run_track(&clip, &registry, &store, &library);
        let inside = counts["network_us"] as f64 * 1e-6;
        rounds.push(Round {
            decode,
            floor,
            work,
            wall,
            inside,
        });
    }
    println!(
        "{} pictures, {} detector calls, {embeds} embedder calls; medians of {ROUNDS} rounds, one thread",
        count, counts["detector_calls"]
    );
    let say = |what: &str, of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (least, middle, most) = (values[0], values[ROUNDS / 2], values[ROUNDS - 1]);
        println!("{what:38}{middle:7.3}   ({least:.3} to {most:.3})");
        middle
    };
    say("decode alone, s", |round| round.decode);
    say("inside ONNX Runtime, s", |round| round.inside);
    say("track, s", |round| round.wall);
    say("track / (decode + ONNX Runtime)", |round| {
        round.wall / (round.decode + round.inside)
    });
    say("decode and bare networks, CPU s", |round| round.floor);
    let work = say("track, CPU s", |round| round.work);
    say("the same ratio to bare networks", |round| {
        round.work / round.floor
    });
    if let Some(python) = arguments.next() {
        reference(&python, &clip, [&face.first(), &vector.first()], embeds, work);
    }
}

/// A network of one input, called on noise: ONNX Runtime and nothing else.
struct Bare {
    session: Session,
    input: String,
    shape: [usize; 4],
    noise: Vec<f32>,
}

impl Bare {
    fn new(runtime: &Runtime, found: &Located, shape: [usize; 4]) -> Bare {
        let session = Session::open(runtime, &found.first(), found.network()).unwrap();
        let noise = (0..shape.iter().product::<usize>()).map(|i| (i * 7919 % 256) as f32);
        let bare = Bare {
            input: session.inputs()[0].name.clone(),
            session,
            shape,
            noise: noise.collect(),
        };
        bare.call();
        bare
    }

    fn call(&self) {
        let input = (self.input.as_str(), Tensor::f32(&self.shape, &self.noise));
        self.session.run(&[input]).unwrap();
    }
}

fn run_track(
    clip: &Path,
    registry: &Registry,
    store: &Store,
    library: &Path,
) -> ([f64; 2], BTreeMap<&'static str, u64>) {
    let folder = std::env::temp_dir().join(format!("omni-track-floor-{}", std::process::id()));
    let root = folder.join("clips");
    std::fs::create_dir_all(&root).unwrap();
    std::os::unix::fs::symlink(clip.canonicalize().unwrap(), root.join(clip.file_name().unwrap())).unwrap();
    let text = "name = 'bench'\nsource = 'folder'\nstages = ['probe', 'track']\n";
    let recipe = Recipe::parse(text, "bench", &[]).unwrap();
    let kit = Kit::new(KitSettings {
        registry: registry.clone(),
        store: store.clone(),
        profile: "open".into(),
        device: Device::Cpu,
        library: library.to_owned(),
    });
    let plan = plan::build(&recipe, &root, &kit).unwrap();
    let only = |stage: &str, out: &str| RunOptions {
        out: folder.join(out),
        root: root.clone(),
        threads: 1,
        only: vec![stage.into()],
        ..RunOptions::default()
    };
    let log = Log::default();
    let run = |stage, out| omni_pipeline::run(&plan, &only(stage, out), &Cancel::default(), &log).unwrap();
    // The first round loads the networks, which a long run does once.
    for out in ["warm", "out"] {
        run("probe", out);
    }
    run("track", "warm");
    let (work, _) = timed(|| run("track", "out"));
    let counts = log.0.into_inner().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    (work, counts)
}

fn reference(python: &str, clip: &Path, models: [&Path; 2], embeds: u64, ours: f64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bench/track_reference.py");
    let output = Command::new(python)
        .arg(script)
        .arg(clip)
        .args(models)
        .arg(embeds.to_string())
        .output()
        .expect("PYTHON runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    if let Some(theirs) = text
        .split_whitespace()
        .next_back()
        .and_then(|word| word.parse::<f64>().ok())
    {
        println!("Python / track            {:7.3}", theirs / ours);
    }
}
