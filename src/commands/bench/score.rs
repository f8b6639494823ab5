//! `omni bench score`: one clip's readings.

use super::networks::{lacking, open};
use crate::{
    cli::ScoreArgs,
    config::Config,
    exit::{Code, missing},
    output, table,
};
use anyhow::Context;
use omni_bench::{
    metric::Metric,
    networks::METRICS,
    take::{Scored, score},
};
use omni_pipeline::Fault;
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde_json::json;

/// Runs the command.
pub fn run(args: &ScoreArgs) -> anyhow::Result<Code> {
    if !args.clip.is_file() {
        return Err(missing(format!("{} does not exist", args.clip.display())));
    }
    if let Some(path) = args.face.iter().chain(&args.voice).find(|path| !path.is_file()) {
        return Err(missing(format!("{} does not exist", path.display())));
    }
    let config = Config::load()?;
    let Scorers { metrics, absent } = metrics(args, &config)?;
    let mut readings = match score(&args.clip, case(args), &metrics) {
        Ok(readings) => readings,
        Err(Fault::Drop(reason)) => anyhow::bail!("{} cannot be scored: {reason}", args.clip.display()),
        Err(Fault::Stop(error)) => return Err(anyhow::Error::from_boxed(error)).context("a network failed"),
        // No metric asks a service today; if one does, this says whom it waits for.
        Err(Fault::Wait(wait)) => anyhow::bail!("{} ({}): {}", wait.on, wait.why, wait.what),
    };
    readings.extend(absent);
    if args.json {
        output::line(&json!({ "clip": args.clip, "readings": readings }).to_string())?;
    } else {
        show(&readings)?;
    }
    Ok(Code::Done)
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
    let names: Vec<&str> = match chosen {
        true => args.read.metrics.iter().map(String::as_str).collect(),
        false => METRICS.to_vec(),
    };
    let mut out = Scorers::default();
    for name in names {
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
