//! `omni bench`: score a clip, check cases.

mod build;
mod compare;
mod report;

use crate::{
    cli::{BenchCommand, CaseExportArgs, CaseFormat, CasesCommand, ImportArgs, ScoreArgs},
    config::Config,
    exit::{Code, missing, usage},
    output, table,
};
use anyhow::Context;
use omni_bench::{
    cases,
    metric::Metric,
    networks::{METRICS, Networks, Unavailable},
    take::{Scored, score},
};
use omni_pipeline::Fault;
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde_json::json;
use std::path::Path;

/// Runs the command.
pub fn run(command: &BenchCommand) -> anyhow::Result<Code> {
    match command {
        BenchCommand::Score(args) => score_clip(args),
        BenchCommand::Cases(CasesCommand::Check { file, json }) => check(file, *json),
        BenchCommand::Cases(CasesCommand::Import(args)) => import(args),
        BenchCommand::Cases(CasesCommand::Export(args)) => export(args),
        BenchCommand::Cases(CasesCommand::Build(args)) => build::run(args),
        BenchCommand::Compare(args) => compare::run(args),
        BenchCommand::Why(args) => compare::explain(args),
        BenchCommand::Report(args) => report::run(args),
    }
}

fn format(format: CaseFormat) -> cases::Format {
    match format {
        CaseFormat::OviCsv => cases::Format::OviCsv,
        CaseFormat::Dreamid => cases::Format::Dreamid,
        CaseFormat::Multitalk => cases::Format::Multitalk,
        CaseFormat::FirstFrames => cases::Format::FirstFrames,
    }
}

fn import(args: &ImportArgs) -> anyhow::Result<Code> {
    let path = args.path.canonicalize();
    let path = path.map_err(|_| missing(format!("{} does not exist", args.path.display())))?;
    let own = if path.is_dir() {
        Some(path.as_path())
    } else {
        path.parent()
    };
    let root = match &args.root {
        Some(root) => root
            .canonicalize()
            .map_err(|_| missing(format!("{} does not exist", root.display())))?,
        None => own.unwrap_or(Path::new("/")).to_owned(),
    };
    if args.out.extension().is_none_or(|ending| ending != "jsonl") {
        return Err(usage(format!(
            "--out {}: a case file ends in .jsonl",
            args.out.display()
        )));
    }
    let found = cases::import(format(args.format), &path, &root, &args.language)?;
    let mut lacks = found.notes.len();
    found.notes.iter().for_each(|note| output::note(note));
    for case in &found.cases {
        for fault in cases::faults(case, Path::new("/")) {
            output::note(&format!("{}: {fault}", case.case));
            lacks += 1;
        }
    }
    let out = std::path::absolute(&args.out)?;
    let text = cases::to_lines(&found.cases, out.parent().unwrap_or(Path::new("/")))?;
    std::fs::write(&out, text).with_context(|| format!("{}", out.display()))?;
    output::note(&format!(
        "{} cases in {}, {lacks} remarks",
        found.cases.len(),
        args.out.display()
    ));
    Ok(if lacks == 0 && !found.cases.is_empty() {
        Code::Done
    } else {
        Code::Failed
    })
}

fn export(args: &CaseExportArgs) -> anyhow::Result<Code> {
    if !args.file.exists() {
        return Err(missing(format!("{} does not exist", args.file.display())));
    }
    let file = std::path::absolute(&args.file)?;
    let found = cases::read(&file)?;
    found
        .faults
        .iter()
        .for_each(|fault| output::note(&fault.to_string()));
    let done = cases::export(format(args.format), &found.cases, &args.out)?;
    done.notes.iter().for_each(|note| output::note(note));
    output::note(&format!(
        "{} cases written to {}",
        done.written,
        args.out.display()
    ));
    let whole = found.faults.is_empty() && done.notes.is_empty() && done.written > 0;
    Ok(if whole { Code::Done } else { Code::Failed })
}

fn check(file: &Path, as_json: bool) -> anyhow::Result<Code> {
    if !file.exists() {
        return Err(missing(format!("{} does not exist", file.display())));
    }
    let found = cases::read(file)?;
    if as_json {
        output::line(&json!({ "cases": found.cases.len(), "faults": found.faults }).to_string())?;
    } else {
        found
            .faults
            .iter()
            .try_for_each(|fault| output::line(&fault.to_string()))?;
    }
    let (sound, faults) = (found.cases.len(), found.faults.len());
    output::note(&format!(
        "{sound} sound cases, {faults} faults in {}",
        file.display()
    ));
    Ok(if faults == 0 && sound > 0 {
        Code::Done
    } else {
        Code::Failed
    })
}

fn score_clip(args: &ScoreArgs) -> anyhow::Result<Code> {
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
    let crate::commands::networks::Chosen {
        registry,
        store,
        profile,
        device,
        library,
    } = crate::commands::networks::chosen(&args.networks, config)?;
    let networks = Networks::new(registry, store, &profile, device, library);
    let chosen = !args.metrics.is_empty();
    let names: Vec<&str> = match chosen {
        true => args.metrics.iter().map(String::as_str).collect(),
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

/// The error of a metric that was asked for by name, so that the exit code tells what kind it is.
fn lacking(error: Unavailable) -> anyhow::Error {
    match error {
        Unavailable::Unknown(_) => usage(error.to_string()),
        Unavailable::NoRole { .. } => missing(error.to_string()),
        Unavailable::Network(error) => error.into(),
    }
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

fn show(readings: &[Scored]) -> anyhow::Result<()> {
    let row = |reading: &Scored| {
        let value = reading
            .value
            .map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
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
