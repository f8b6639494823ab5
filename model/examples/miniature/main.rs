//! The paper's Table 2 in miniature: a row of it trained on a made-up world and sampled for people that were held out.
//!
//! `cargo run --release -p omni-model --example miniature -- ROW SEED FOLDER STEPS CLIPS [BACKBONE]` writes
//! `FOLDER/ROW-SEED.json`; a run that was stopped goes on from its last state, one that is done is passed over, and one that was
//! done with other settings is refused. A row of the table begins from the result `BACKBONE` of the row `backbone`. ROW `list`
//! prints the rows of the table, `truth` reads the true latents in place of generated ones, `untrained` those of random weights.
//! `scripts/miniature` runs all and draws the figure.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

mod readings;
mod results;
mod rows;
mod samples;
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
use results::{Settings, io, processor_seconds};
use rows::{BASE, CURRICULUM, ROWS, Row, Stage};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
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
    /// The result of the backbone that a row begins from.
    backbone: Option<PathBuf>,
}

impl Order {
    /// The row of the table; `None` for what is none.
    fn table_row(&self) -> Option<Row> {
        Row::named(&self.row)
    }

    fn settings(&self) -> Result<Settings> {
        let settings = Settings::new(&self.row, self.seed, self.steps, self.clips);
        match (self.table_row(), &self.backbone) {
            (Some(_), Some(path)) => settings.begun_from(path),
            (Some(_), None) => Err(Error::Input(
                "a row begins from a backbone: name its result, FOLDER/backbone-SEED.json, as the last word"
                    .to_owned(),
            )),
            (None, Some(_)) => Err(Error::Input(format!("`{}` begins from no backbone", self.row))),
            (None, None) => Ok(settings),
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.row, self.seed)
    }

    /// Where its result is to lie.
    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name()))
    }

    /// Where its trainings lie.
    fn runs(&self) -> PathBuf {
        runs(&self.path())
    }
}

/// What came out.
struct Made {
    clips: Value,
    losses: Value,
    /// Whether this process did all of it, none being there from one that was stopped.
    alone: bool,
}

impl Made {
    /// What nothing was trained for.
    fn read(clips: Value) -> Self {
        Self {
            clips,
            losses: json!({}),
            alone: true,
        }
    }
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
        backbone: next().map(PathBuf::from),
    })
    .filter(|_| std::env::args().len() <= 7)
}

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("list") {
        println!("{}", ROWS.map(|row| row.name).join(" "));
        return std::process::ExitCode::SUCCESS;
    }
    let Some(order) = order() else {
        eprintln!("miniature ROW SEED FOLDER STEPS CLIPS [BACKBONE], or miniature list");
        return std::process::ExitCode::from(2);
    };
    // inside of the pool: a loop that is handed to another thread waits for it, and there are thousands in a step
    match rayon::scope(|_| run(&order)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", order.name());
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(order: &Order) -> Result<()> {
    let settings = order.settings()?;
    let path = order.path();
    if settings.made(&path)? {
        return Ok(());
    }
    fs::create_dir_all(&order.folder).map_err(io(&order.folder))?;
    let made = make(order, &settings.to_string())?;
    let mut result = serde_json::Map::new();
    result.insert("clips".to_owned(), made.clips);
    result.insert("losses".to_owned(), made.losses);
    let seconds = if made.alone { processor_seconds() } else { None };
    result.insert("processor_seconds".to_owned(), json!(seconds));
    settings.write(&path, result)
}

/// `data` is what a run that goes on must have been about.
fn make(order: &Order, data: &str) -> Result<Made> {
    if let (Some(row), Some(backbone)) = (order.table_row(), &order.backbone) {
        return trained(order, &row, backbone, data);
    }
    match order.row.as_str() {
        "backbone" => backbone(order, data),
        "truth" => test(order, &TESTS, &mut |sample, _| Ok(latents_of(sample))).map(Made::read),
        "untrained" => untrained(order).map(Made::read),
        name => Err(Error::Input(format!("no row `{name}`"))),
    }
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

/// Where the runs of a result lie.
fn runs(result: &Path) -> PathBuf {
    let name = result.file_stem().unwrap_or_default();
    result.with_file_name("runs").join(name)
}

/// Trains what every row begins from, and reads what it makes of prompts that describe people who were held out.
fn backbone(order: &Order, data: &str) -> Result<Made> {
    let stage = Row::backbone(order.seed, order.steps)?;
    let folder = order.runs();
    let source = Fresh(Init { seed: order.seed });
    let (state, alone) = train(&stage, &BASE.network(), source, (&folder, data))?;
    let model = model(&BASE, &state)?;
    let clips = test(order, &[(Kind::TestPlain, "described")], &mut |sample, number| {
        generate(&model, sample, number)
    })?;
    Ok(Made {
        clips,
        losses: json!({ "backbone": curve(&folder)? }),
        alone,
    })
}

/// Runs a training to its end, from its last state if it has one; gives its last state, and whether it had none.
fn train(
    stage: &Stage,
    network: &CustomizerConfig,
    source: impl Source + 'static,
    (folder, data): (&Path, &str),
) -> Result<(PathBuf, bool)> {
    let mut trainer = Trainer::new(stage.recipe.clone(), network, source, &stage.world)?;
    let run = Place {
        folder,
        data,
        dress: &|_| Ok(()),
    };
    let alone = run.resume(&mut trainer)?.is_none();
    let ended = run.train(&mut trainer, &stage.world, &Solo, &mut |_| true)?;
    Ok((ended.state, alone))
}

/// The network of a row with the weights of a state.
fn model(row: &Row, state: &Path) -> Result<Customizer> {
    let weights = Weights::new(Folder::open(state)?, candle_core::DType::F32, &Device::Cpu);
    let model = Customizer::new(&row.network(), &weights, false)?.anchored(row.anchored);
    weights.finish()?;
    Ok(model)
}

/// Trains a row stage by stage from the backbone, then samples; gives the readings and the losses.
fn trained(order: &Order, row: &Row, backbone: &Path, data: &str) -> Result<Made> {
    let states = States::open(&runs(backbone).join("checkpoints"))?.list()?;
    let Some((_, mut from)) = states.into_iter().next_back() else {
        return Err(Error::Input(format!(
            "the backbone of {} is not in {}: remove the file, and train it again",
            backbone.display(),
            runs(backbone).display()
        )));
    };
    let mut losses = serde_json::Map::new();
    let mut alone = true;
    for stage in row.stages(order.seed, order.steps)? {
        let folder = order.runs().join(&stage.recipe.name);
        let source = Begun {
            folder: Folder::open(&from)?,
            fresh: Init { seed: order.seed },
        };
        let (state, fresh) = train(&stage, &row.network(), source, (&folder, data))?;
        from = state;
        alone &= fresh;
        losses.insert(stage.recipe.name.clone(), curve(&folder)?);
    }
    let model = model(row, &from)?;
    let clips = test(order, &TESTS, &mut |sample, number| {
        generate(&model, sample, number)
    })?;
    Ok(Made {
        clips,
        losses: Value::Object(losses),
        alone,
    })
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
    let weights = Weights::new(
        Fresh(Init { seed: order.seed }),
        candle_core::DType::F32,
        &Device::Cpu,
    );
    let model = Customizer::new(&CURRICULUM.network(), &weights, false)?;
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
