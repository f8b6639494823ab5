//! The paper's Table 2 in miniature: a row of it trained on a made-up world and sampled for people that were held out.
//!
//! `cargo run --release -p omni-model --example miniature -- ROW SEED FOLDER STEPS CLIPS` writes `FOLDER/ROW-SEED.json`; a run
//! that was stopped goes on from its last state. ROW `list` prints the rows, `truth` reads the true latents in place of
//! generated ones, `untrained` those of random weights. `scripts/miniature` runs all and draws the figures.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod readings;
mod rows;
mod world;

use candle_core::{Device, Tensor};
use omni_model::{
    Error, Result,
    net::{Condition, Denoiser, Latents},
    sample::{Conditions, Guidance, Plan, SolverKind, denoise},
    train::{Customizer, CustomizerConfig, Draw, Dropped, Place, Sample, Solo, States, Trainer, read_log},
    weights::{Folder, Found, Init, Source, Weights, value_of},
};
use readings::{Readings, read};
use rows::{ROWS, Row, Stage};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};
use world::{Clip, Kind};

/// Steps of sampling.
const SAMPLING: usize = 12;

/// The clips of the tests of every row.
const TESTS: [(Kind, &str); 2] = [(Kind::Test, "clip_words"), (Kind::TestWords, "utterance_words")];

struct Order {
    row: String,
    seed: u64,
    folder: PathBuf,
    steps: u64,
    clips: u64,
}

fn order() -> Option<Order> {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next();
    Some(Order {
        row: next()?,
        seed: next()?.parse().ok()?,
        folder: next()?.into(),
        steps: next()?.parse().ok()?,
        clips: next()?.parse().ok()?,
    })
}

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("list") {
        println!("{}", ROWS.map(|row| row.name).join(" "));
        return std::process::ExitCode::SUCCESS;
    }
    let Some(order) = order() else {
        println!("miniature ROW SEED FOLDER STEPS CLIPS, or miniature list");
        return std::process::ExitCode::from(2);
    };
    // inside of the pool: a loop that is handed to another thread waits for it, and there are thousands in a step
    match rayon::scope(|_| run(&order)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            println!("{}-{}: {error}", order.row, order.seed);
            std::process::ExitCode::FAILURE
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

fn run(order: &Order) -> Result<()> {
    let path = order.folder.join(format!("{}-{}.json", order.row, order.seed));
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(&order.folder).map_err(io(&order.folder))?;
    let begin = Instant::now();
    let (clips, losses) = match Row::named(&order.row) {
        Some(row) => trained(order, &row)?,
        None if order.row == "truth" => (
            test(order, &TESTS, &mut |sample, _| Ok(latents_of(sample)))?,
            json!({}),
        ),
        None if order.row == "backbone" => backbone(order)?,
        None if order.row == "untrained" => (untrained(order)?, json!({})),
        None => return Err(Error::Input(format!("no row `{}`", order.row))),
    };
    let result = json!({
        "row": order.row,
        "seed": order.seed,
        "steps": order.steps,
        "seconds": begin.elapsed().as_secs_f64(),
        "losses": losses,
        "clips": clips,
    });
    let beside = path.with_extension("unfinished");
    fs::write(&beside, result.to_string()).map_err(io(&beside))?;
    fs::rename(&beside, &path).map_err(io(&path))
}

fn latents_of(sample: &Sample) -> Latents {
    Latents {
        video: sample.video.clone(),
        audio: Some(sample.audio.clone()),
    }
}

/// Fresh weights. The reference's deviation of 0.02 for the embeddings of text and time fits rows of thousands of values; of rows
/// of 64 next to nothing would come through, so theirs are as other matrices'.
struct Fresh(Init);

impl Source for Fresh {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        match shape {
            [output, input] if name.contains("text_embedding.") || name.contains("time_embedding.") => {
                let bound = (6.0 / (output + input) as f64).sqrt() as f32;
                let values = value_of(name, self.0.seed, output * input, bound, 0.0);
                Ok(Found::Tensor(Tensor::from_vec(values, shape, device)?))
            }
            _ => self.0.load(name, shape, device),
        }
    }

    fn label(&self) -> String {
        self.0.label()
    }
}

/// The weights of a folder, and fresh ones of the modules that it has not.
struct Begun {
    folder: Folder,
    fresh: Init,
}

impl Source for Begun {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        match self.folder.load(name, shape, device)? {
            Found::Absent if name.starts_with("ocf.") || name.starts_with("mtp_ca.") => {
                self.fresh.load(name, shape, device)
            }
            found => Ok(found),
        }
    }

    fn label(&self) -> String {
        self.folder.label()
    }
}

/// Where a row's runs lie.
fn runs(order: &Order, name: &str) -> PathBuf {
    order.folder.join("runs").join(name)
}

/// Trains what every row begins from, and reads what it makes of prompts that describe people who were held out.
fn backbone(order: &Order) -> Result<(Value, Value)> {
    let (stage, folder) = (Row::backbone(order.seed, order.steps)?, runs(order, "backbone"));
    let source = Fresh(Init { seed: order.seed });
    let state = train(&stage, &ROWS[0].network(), source, &folder)?;
    let model = model(&ROWS[0], &state)?;
    let clips = test(order, &[(Kind::TestPlain, "described")], &mut |sample, number| {
        generate(&model, sample, number)
    })?;
    Ok((clips, json!({ "backbone": curve(&folder)? })))
}

/// Runs a training to its end, from its last state if it has one; gives its last state.
fn train(
    stage: &Stage,
    network: &CustomizerConfig,
    source: impl Source + 'static,
    folder: &Path,
) -> Result<PathBuf> {
    let mut trainer = Trainer::new(stage.recipe.clone(), network, source, &stage.world)?;
    let run = Place {
        folder,
        data: "miniature",
        dress: &|_| Ok(()),
    };
    run.resume(&mut trainer)?;
    Ok(run.train(&mut trainer, &stage.world, &Solo, &mut |_| true)?.state)
}

/// The network of a row with the weights of a state.
fn model(row: &Row, state: &Path) -> Result<Customizer> {
    let weights = Weights::new(Folder::open(state)?, candle_core::DType::F32, &Device::Cpu);
    let model = Customizer::new(&row.network(), &weights, false)?.anchored(row.anchored);
    weights.finish()?;
    Ok(model)
}

/// Trains a row stage by stage from the backbone, then samples; gives the readings and the losses.
fn trained(order: &Order, row: &Row) -> Result<(Value, Value)> {
    let place = runs(order, &format!("{}-{}", row.name, order.seed));
    let states = States::open(&runs(order, "backbone").join("checkpoints"))?.list()?;
    let Some((_, mut from)) = states.into_iter().next_back() else {
        return Err(Error::Input("train `backbone` in this folder first".to_owned()));
    };
    let mut losses = serde_json::Map::new();
    for stage in row.stages(order.seed, order.steps)? {
        let folder = place.join(&stage.recipe.name);
        let source = Begun {
            folder: Folder::open(&from)?,
            fresh: Init { seed: order.seed },
        };
        from = train(&stage, &row.network(), source, &folder)?;
        losses.insert(stage.recipe.name.clone(), curve(&folder)?);
    }
    let model = model(row, &from)?;
    let clips = test(order, &TESTS, &mut |sample, number| {
        generate(&model, sample, number)
    })?;
    Ok((clips, Value::Object(losses)))
}

/// Losses of a log, means of up to 20 parts: kind, last step, video, audio.
fn curve(folder: &Path) -> Result<Value> {
    let lines = read_log(folder)?;
    let mut parts = Vec::new();
    for kind in ["joint", "speech"] {
        let of_kind: Vec<_> = lines
            .iter()
            .filter(|line| line.report.kind.name() == kind)
            .collect();
        for part in of_kind.chunks(of_kind.len().div_ceil(20).max(1)) {
            let mean = |value: &dyn Fn(&omni_model::train::StepReport) -> f64| {
                part.iter().map(|line| value(&line.report)).sum::<f64>() / part.len() as f64
            };
            let last = part.last().map_or(0, |line| line.report.step + 1);
            let video = mean(&|report| report.video.unwrap_or(0.0));
            parts.push(
                json!({ "kind": kind, "step": last, "video": video, "audio": mean(&|report| report.audio) }),
            );
        }
    }
    Ok(Value::Array(parts))
}

fn untrained(order: &Order) -> Result<Value> {
    let row = ROWS[ROWS.len() - 2];
    let weights = Weights::new(
        Fresh(Init { seed: order.seed }),
        candle_core::DType::F32,
        &Device::Cpu,
    );
    let model = Customizer::new(&row.network(), &weights, false)?;
    test(order, &TESTS, &mut |sample, number| {
        generate(&model, sample, number)
    })
}

/// Readings of every clip of the test: the same clips for every row and seed.
fn test(
    order: &Order,
    kinds: &[(Kind, &str)],
    make: &mut dyn FnMut(&Sample, u64) -> Result<Latents>,
) -> Result<Value> {
    let mut all = Vec::new();
    for (kind, name) in kinds {
        let kind = *kind;
        for number in 0..order.clips {
            let clip = Clip::new(kind, number)?;
            let sample = clip.sample(kind, number)?;
            let latents = omni_model::no_grad(|| make(&sample, number))?;
            let Readings(readings) = read(&clip, &latents, number + 100_000 * kind as u64)?;
            all.push(json!({
                "kind": name,
                "people": clip.people.len(),
                "utterances": clip.said.len(),
                "readings": readings,
            }));
        }
    }
    Ok(Value::Array(all))
}

/// A network that is asked the same twice a step, since without guidance the negative prompt is the positive one.
struct Unguided<'a> {
    model: &'a Customizer,
    last: RefCell<Option<(f64, Latents)>>,
}

impl Denoiser for Unguided<'_> {
    fn velocity(&self, x: &Latents, t: f64, condition: &Condition) -> Result<Latents> {
        if let Some((_, known)) = self.last.borrow().as_ref().filter(|(time, _)| *time == t) {
            return Ok(known.clone());
        }
        let found = Denoiser::velocity(self.model, x, t, condition)?;
        *self.last.borrow_mut() = Some((t, found.clone()));
        Ok(found)
    }
}

/// Samples the clip that `sample` asks for, without guidance; the noise is the clip's own, the same for every row.
fn generate(model: &Customizer, sample: &Sample, number: u64) -> Result<Latents> {
    let condition = model.condition(sample, true, Dropped::default())?;
    let draw = Draw::new(77, 0, number);
    let noise = |name: &str, like: &Tensor| draw.noise(name, like.dims());
    let noise = Latents {
        video: sample
            .video
            .as_ref()
            .map(|video| noise("video", video))
            .transpose()?,
        audio: Some(noise("audio", &sample.audio)?),
    };
    let conditions = Conditions {
        negative: condition.clone(),
        positive: condition,
        unreferenced: None,
    };
    let plan = Plan {
        solver: SolverKind::UniPc,
        steps: SAMPLING,
        shift: 5.0,
        guidance: Guidance {
            video: 1.0,
            audio: 1.0,
        },
        first_frame: None,
    };
    let network = Unguided {
        model,
        last: RefCell::new(None),
    };
    denoise(&network, noise, &conditions, &plan, |_, _| {})
}
