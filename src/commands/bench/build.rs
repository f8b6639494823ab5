//! `omni bench cases build`: a suite out of curated clips.

use crate::{
    cli::CaseBuildArgs,
    commands::out_dir,
    config::Config,
    exit::{Code, missing, usage},
    output, table,
};
use anyhow::Context;
use omni_bench::cases::build::{BuildError, Guard, Settings, Subset, Suite, build, write};
use omni_pipeline::readers::Run;
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(args: &CaseBuildArgs) -> anyhow::Result<Code> {
    if args.per_subset == 0 {
        return Err(usage("--per-subset must be at least 1"));
    }
    let from = out_dir(args.from.as_deref(), &Config::load()?, "--from DIR")?;
    if !from.is_dir() {
        return Err(missing(format!("{} does not exist", from.display())));
    }
    let run = Run::open(&from).with_context(|| format!("{} is no output folder of a run", from.display()))?;
    let guard = args
        .disjoint_from
        .as_deref()
        .map(|selection| guard(selection, args.training_run.as_deref(), &from))
        .transpose()?;
    let settings = Settings {
        per_subset: args.per_subset,
        seed: args.seed,
        first_frames: args.first_frames,
    };
    let suite = build(&run, guard.as_ref(), settings).map_err(kind)?;
    let file = write(&suite, &args.out).map_err(kind)?;
    told(&suite, guard.as_ref())?;
    output::line(&format!(
        "\nwrote {}; check it with: omni bench cases check {}",
        file.display(),
        file.display()
    ))?;
    Ok(Code::Done)
}

/// The people of the selection; the run it was made from is looked for where `omni select` puts selections.
fn guard(selection: &Path, run: Option<&Path>, from: &Path) -> anyhow::Result<Guard> {
    if !selection.exists() {
        return Err(missing(format!("{} does not exist", selection.display())));
    }
    let folder = match selection.is_dir() {
        true => Some(selection),
        false => selection.parent(),
    };
    let around = std::path::absolute(folder.unwrap_or(selection))?;
    let runs: Vec<PathBuf> = match run {
        Some(run) => vec![run.to_owned()],
        None => around
            .parent()
            .map(Path::to_owned)
            .into_iter()
            .chain([from.to_owned()])
            .collect(),
    };
    let guard = Guard::read(selection, &runs).map_err(kind)?;
    if guard.unguarded() > 0 {
        output::note(&format!(
            "warning: in {} clips of the selection nobody has a face vector; they are guarded by voice alone",
            guard.unguarded()
        ));
    }
    Ok(guard)
}

/// The exit code of an error: what was typed wrong is usage.
fn kind(error: BuildError) -> anyhow::Error {
    match error {
        BuildError::Selection { .. }
        | BuildError::OtherNetwork { .. }
        | BuildError::Folder { .. }
        | BuildError::Lacks { .. } => usage(error.to_string()),
        BuildError::FirstFrame { .. } => missing(error.to_string()),
        other => other.into(),
    }
}

fn told(suite: &Suite, guard: Option<&Guard>) -> anyhow::Result<()> {
    let list = |counts: Vec<(String, usize)>| {
        let said: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
        said.join(", ")
    };
    let rows: Vec<Vec<String>> = Subset::ALL
        .iter()
        .map(|subset| {
            let (languages, traits) = suite.balance(*subset);
            let cases: usize = languages.values().sum();
            let suited = suite.found.suited.get(&subset.number()).copied().unwrap_or(0);
            let traits = traits.into_iter().map(|(one, n)| (one.to_owned(), n)).collect();
            vec![
                subset.number().to_string(),
                cases.to_string(),
                suited.to_string(),
                list(languages.into_iter().collect()),
                list(traits),
            ]
        })
        .collect();
    output::line(&table::layout(
        &["subset", "cases", "suited clips", "languages", "traits"],
        &rows,
    ))?;
    let counts = |counts: &std::collections::BTreeMap<&'static str, usize>| {
        list(counts.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect())
    };
    if !suite.found.unsuited.is_empty() {
        output::note(&format!("no case because: {}", counts(&suite.found.unsuited)));
    }
    if !suite.found.reused.is_empty() {
        let reused = suite.found.reused.iter();
        let reused: Vec<String> = reused
            .map(|(subset, n)| format!("{n} in subset {subset}"))
            .collect();
        output::note(&format!(
            "too few people: cases with somebody who is in another case: {}",
            reused.join(", ")
        ));
    }
    if let Some(guard) = guard {
        let (faces, voices) = guard.len();
        output::note(&format!(
            "{} clips compared with {faces} faces and {voices} voices of the selection; left out: {}",
            suite.found.compared,
            match suite.found.left_out.is_empty() {
                true => "none".to_owned(),
                false => counts(&suite.found.left_out),
            }
        ));
    }
    Ok(())
}
