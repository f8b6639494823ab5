//! What a whole pass of profile `open` over a clip costs beside its floor: one decode of pictures and sound, and what the
//! networks took inside ONNX Runtime in that very pass.
//!
//! ```text
//! cargo run --release -p omni-bench --example open_pass -- CLIP "WHAT IS SAID" [METRICS]
//! ```
//! One thread. The reference picture is the clip's first frame, the reference voice its own sound. Floor and pass come in turns and
//! the median of the ratios within a round counts, because a shared machine's speed drifts: within a round, both are wall
//! time; CPU seconds of the pass stand beside it. BRISQUE is no network, but its regression is what is asked for: its time is named, and the ratio
//! is given with it in the floor, too.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench speaks, and stops where it cannot go on"
)]

use omni_bench::{
    metric::{Measured, Metric, Reading, Scoring},
    networks::{METRICS, Networks},
    take::{Sound, TakeInfo, measure},
};
use omni_media::{Frame, Limits, Span, png, read_audio, read_audio_16k, read_frames, wav_s16};
use omni_perception::{
    registry::{Registry, Store},
    runtime::{Device, thread_seconds},
};
use omni_pipeline::Fault;
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde_json::Value;
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

const ROUNDS: usize = 5;

/// Wall seconds of a metric, and those of them inside ONNX Runtime.
type Spent = Arc<Mutex<[f64; 2]>>;

/// A metric whose time is kept.
struct Timed {
    metric: Box<dyn Metric>,
    spent: Spent,
}

struct Timing<'a> {
    scoring: Box<dyn Scoring + 'a>,
    spent: Spent,
}

fn timed<T>(spent: &Spent, work: impl FnOnce() -> T) -> T {
    let (start, inside) = (Instant::now(), thread_seconds());
    let out = work();
    let mut spent = spent.lock().unwrap();
    spent[0] += start.elapsed().as_secs_f64();
    spent[1] += thread_seconds() - inside;
    out
}

impl Metric for Timed {
    fn name(&self) -> &'static str {
        self.metric.name()
    }

    fn version(&self) -> u32 {
        self.metric.version()
    }

    fn readings(&self) -> Vec<Reading> {
        self.metric.readings()
    }

    fn settings(&self) -> Value {
        self.metric.settings()
    }

    fn sees(&self) -> bool {
        self.metric.sees()
    }

    fn hears(&self) -> bool {
        self.metric.hears()
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let scoring = timed(&self.spent, || self.metric.start(take))?;
        Ok(Box::new(Timing {
            scoring,
            spent: self.spent.clone(),
        }))
    }
}

impl Scoring for Timing<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let scoring = &mut self.scoring;
        timed(&self.spent, || scoring.audio(sound))
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let scoring = &mut self.scoring;
        timed(&self.spent, || scoring.frame(frame))
    }

    fn again(&mut self) -> Result<bool, Fault> {
        let scoring = &mut self.scoring;
        timed(&self.spent, || scoring.again())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let scoring = self.scoring;
        timed(&self.spent, || scoring.finish())
    }
}

/// CPU seconds of this thread so far.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}

fn networks() -> Networks {
    let cache = std::env::var_os("OMNI_CACHE").map(Into::into);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/omni"));
    let (registry, store) = (Registry::builtin(), Store::new(&cache));
    let library = store.locate_id(&registry, "onnxruntime").unwrap().first();
    Networks::new(registry, store, "open", Device::Cpu, library)
}

/// One decode of pictures and sound; the first picture.
fn decode(clip: &Path) -> omni_media::Image {
    let (span, limits) = (Span::default(), Limits::default());
    let mut first = None;
    read_audio(clip, &span, &limits).unwrap();
    read_frames(clip, &span, &limits, &mut |frame| {
        first.get_or_insert_with(|| frame.image.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    first.unwrap()
}

/// Somebody who looks and sounds as in the clip itself.
fn case(clip: &Path, folder: &Path, words: &str) -> Case {
    let (face, voice) = (folder.join("face.png"), folder.join("voice.wav"));
    std::fs::write(&face, png(&decode(clip)).unwrap()).unwrap();
    let wave = read_audio_16k(clip, &Span::default(), &Limits::default()).unwrap();
    std::fs::write(&voice, wav_s16(&wave)).unwrap();
    let path = |path: &Path| Some(path.to_string_lossy().into_owned());
    Case {
        prompt: format!("A person <sub1> says, <S>{words}<E>"),
        subjects: vec![CaseSubject {
            anchor: "<sub1>".into(),
            face: path(&face),
            voice: path(&voice),
            visible: true,
            speaks: true,
        }],
        utterances: vec![CaseUtterance {
            anchor: "<sub1>".into(),
            text: words.into(),
            language: "en".into(),
        }],
        ..Case::default()
    }
}

/// The middle one, and the least and the most.
fn middle(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: open_pass CLIP WORDS [METRICS]";
    let clip = std::path::PathBuf::from(arguments.next().expect(usage));
    let words = arguments.next().expect(usage);
    let wanted = arguments.next();
    let networks = networks();
    let mut metrics = Vec::new();
    for name in METRICS {
        if wanted
            .as_ref()
            .is_some_and(|wanted| !wanted.split(',').any(|one| one == *name))
        {
            continue;
        }
        match networks.metric(name) {
            Ok(metric) => metrics.push(Timed {
                metric,
                spent: Spent::default(),
            }),
            Err(error) => println!("without {name}: {error}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let case = case(&clip, folder.path(), &words);
    let pass: Vec<&dyn Metric> = metrics.iter().map(|metric| metric as &dyn Metric).collect();
    let score = || measure(&clip, &Span::default(), case.clone(), &pass, &|| true).unwrap();
    for taken in score() {
        for reading in taken.readings {
            let shown = reading.value.map(|value| format!("{value:.4}"));
            println!("{:40} {}", reading.name, shown.or(reading.absent).unwrap());
        }
    }
    metrics
        .iter()
        .for_each(|metric| *metric.spent.lock().unwrap() = [0.0; 2]);
    let own = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.name() == name);
        metric.map_or(0.0, |metric| metric.spent.lock().unwrap()[0])
    };
    let (mut ratios, mut with, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        decode(&clip);
        let decoding = start.elapsed().as_secs_f64();
        let (start, inside, rating, before) = (Instant::now(), thread_seconds(), own("brisque"), cpu());
        score();
        let (all, used) = (start.elapsed().as_secs_f64(), cpu() - before);
        let (inside, rating) = (thread_seconds() - inside, own("brisque") - rating);
        println!(
            "decode {decoding:.3} s, networks {inside:.3} s, BRISQUE {rating:.3} s; pass {all:.3} s wall, {used:.3} CPU s"
        );
        ratios.push(all / (decoding + inside));
        with.push(all / (decoding + inside + rating));
        whole.push(used);
    }
    for metric in &metrics {
        let [all, inside] = metric
            .spent
            .lock()
            .unwrap()
            .map(|seconds| seconds / ROUNDS as f64);
        println!(
            "{:10} {all:.3} s a pass, {inside:.3} of them in networks",
            metric.name()
        );
    }
    let [cpu, ..] = middle(whole);
    let [ratio, least, most] = middle(ratios);
    println!("pass: {cpu:.3} CPU s (median); pass / (decode + networks) {ratio:.3} ({least:.3}-{most:.3})");
    let [ratio, least, most] = middle(with);
    println!("with BRISQUE's own time in the floor {ratio:.3} ({least:.3}-{most:.3})");
}
