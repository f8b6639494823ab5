//! `omni bench score`: one clip's readings.

use super::networks::{lacking, names, open};
use crate::{
    cli::ScoreArgs,
    config::Config,
    exit::{Code, missing, usage},
    output, table,
};
use omni_bench::{
    metric::Metric,
    take::{Scored, Unscored, score},
};
use omni_perception::audio::tokenizer::languages;
use omni_pipeline::Fault;
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde_json::json;
use std::path::Path;

/// Runs the command.
pub fn run(args: &ScoreArgs) -> anyhow::Result<Code> {
    there(&args.clip, "`omni bench run` scores folders")?;
    for path in args.face.iter().chain(&args.voice) {
        there(path, "name a file")?;
    }
    language(&args.language)?;
    let config = Config::load()?;
    let Scorers { metrics, absent } = metrics(args, &config)?;
    let mut readings = match score(&args.clip, case(args), &metrics) {
        Ok(readings) => readings,
        Err(Unscored { fault, why }) => return Err(failed(&args.clip, fault, why)),
    };
    readings.extend(absent);
    if args.json {
        output::line(&json!({ "clip": args.clip, "readings": readings }).to_string())?;
    } else {
        show(&readings)?;
    }
    Ok(Code::Done)
}

/// A file that was named is one.
fn there(path: &Path, instead: &str) -> anyhow::Result<()> {
    if path.is_dir() {
        return Err(usage(format!("{} is a folder; {instead}", path.display())));
    }
    match path.is_file() {
        true => Ok(()),
        false => Err(missing(format!("{} does not exist", path.display()))),
    }
}

/// A code that the recogniser can be told.
pub(super) fn language(code: &str) -> anyhow::Result<()> {
    match languages().any(|known| known == code) {
        true => Ok(()),
        false => Err(usage(format!(
            "--language {code}: is no language code of Whisper's; it is for example en, de or zh"
        ))),
    }
}

/// Why a clip has no readings at all.
fn failed(clip: &Path, fault: Fault, why: Option<String>) -> anyhow::Error {
    match fault {
        Fault::Drop(reason) => {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            anyhow::anyhow!("{} cannot be scored: {reason}{why}", clip.display())
        }
        Fault::Stop(error) => anyhow::Error::from_boxed(error).context("a network failed"),
        // No metric asks a service today; if one does, this says whom it waits for.
        Fault::Wait(wait) => anyhow::anyhow!("{} ({}): {}", wait.on, wait.why, wait.what),
    }
}

/// What is to be measured, and what cannot be.
#[derive(Default)]
struct Scorers {
    metrics: Vec<Box<dyn Metric>>,
    absent: Vec<Scored>,
}

/// The metrics that can be made, and a line for each that cannot. One that was asked for by name must be possible.
fn metrics(args: &ScoreArgs, config: &Config) -> anyhow::Result<Scorers> {
    let networks = open(&args.read.networks, &args.read.ways, config)?;
    let chosen = !args.read.metrics.is_empty();
    let mut out = Scorers::default();
    for name in names(&args.read.metrics) {
        match networks.metric(name) {
            Ok(metric) => out.metrics.push(metric),
            Err(error) => match error.word().filter(|_| !chosen) {
                Some(word) => {
                    output::note(&format!("{name} is left out: {error}"));
                    out.absent.push(Scored::absent(name, word));
                }
                None => return Err(lacking(error)),
            },
        }
    }
    Ok(out)
}

/// The flags as a case: the first face, voice and text are those of `<sub1>`, and so on.
fn case(args: &ScoreArgs) -> Case {
    let count = args.face.len().max(args.voice.len()).max(args.text.len());
    let path =
        |paths: &[std::path::PathBuf], i: usize| paths.get(i).map(|path| path.to_string_lossy().into_owned());
    let anchor = |i: usize| format!("<sub{}>", i + 1);
    let subject = |i: usize| CaseSubject {
        anchor: anchor(i),
        face: path(&args.face, i),
        voice: path(&args.voice, i),
        visible: true,
        speaks: args.text.is_empty() || i < args.text.len(),
    };
    let utterance = |(i, text): (usize, &String)| CaseUtterance {
        anchor: anchor(i),
        text: text.clone(),
        language: args.language.clone(),
    };
    Case {
        prompt: args.prompt.clone().unwrap_or_default(),
        subjects: (0..count).map(subject).collect(),
        utterances: args.text.iter().enumerate().map(utterance).collect(),
        ..Case::default()
    }
}

/// A number with three decimals, or a dash.
pub(super) fn show_value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn show(readings: &[Scored]) -> anyhow::Result<()> {
    let row = |reading: &Scored| {
        let value = show_value(reading.value);
        let unit = reading.unit.to_owned();
        vec![
            reading.name.clone(),
            value,
            unit,
            reading.absent.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = readings.iter().map(row).collect();
    output::line(&table::layout(
        &["reading", "value", "unit", "absent because"],
        &rows,
    ))
}
