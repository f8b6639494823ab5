//! `omni bench cases`: check case files, take over those of others, write for others.

use crate::{
    cli::{CaseExportArgs, CaseFormat, CasesCommand, ImportArgs},
    exit::{Code, missing, usage},
    output,
};
use anyhow::Context;
use omni_bench::cases;
use serde_json::json;
use std::path::Path;

/// Runs the command.
pub fn run(command: &CasesCommand) -> anyhow::Result<Code> {
    match command {
        CasesCommand::Check { file, json } => check(file, *json),
        CasesCommand::Import(args) => import(args),
        CasesCommand::Export(args) => export(args),
        CasesCommand::Build(args) => super::build::run(args),
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
    super::score::language(&args.language)?;
    another(&path, &args.out)?;
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
    if found.cases.is_empty() {
        output::note(&format!(
            "no case: {} is not written, {lacks} remarks",
            args.out.display()
        ));
        return Ok(Code::Failed);
    }
    omni_manifests::write_file(&out, text.as_bytes())
        .with_context(|| format!("{} cannot be written", args.out.display()))?;
    output::note(&format!(
        "{} cases in {}, {lacks} remarks",
        found.cases.len(),
        args.out.display()
    ));
    Ok(if lacks == 0 { Code::Done } else { Code::Failed })
}

/// Refuses to write over what is read.
fn another(from: &Path, out: &Path) -> anyhow::Result<()> {
    let same = match (from.canonicalize(), out.canonicalize()) {
        (Ok(from), Ok(out)) => from == out,
        _ => false,
    };
    match same {
        true => Err(usage(format!(
            "--out {} is the file that is read; give another",
            out.display()
        ))),
        false => Ok(()),
    }
}

fn export(args: &CaseExportArgs) -> anyhow::Result<Code> {
    if !args.file.exists() {
        return Err(missing(format!("{} does not exist", args.file.display())));
    }
    another(&args.file, &args.out)?;
    let file = std::path::absolute(&args.file)?;
    let found = cases::read(&file)?;
    found
        .faults
        .iter()
        .for_each(|fault| output::note(&fault.to_string()));
    if found.cases.is_empty() {
        output::note(&format!(
            "{} holds no sound case: nothing is written",
            args.file.display()
        ));
        return Ok(Code::Failed);
    }
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
    if sound + faults == 0 {
        output::note(&format!("{} is empty: it holds no case", file.display()));
        return Ok(Code::Failed);
    }
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
