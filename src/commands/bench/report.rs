//! `omni bench report`: what runs of methods come to, as a page or a table.

use super::compare::read;
use crate::{
    cli::{BenchReportArgs, ReportFormat},
    exit::{Code, usage},
    output,
};
use anyhow::Context;
use omni_bench::report::{Ablation, MethodRun, Sheet, page, text};
use std::path::{Path, PathBuf};

/// Runs the command.
pub fn run(args: &BenchReportArgs) -> anyhow::Result<Code> {
    let subset = subset(&args.subset)?;
    let recipe = args.ablation.as_deref().map(ablation).transpose()?;
    let runs: Vec<MethodRun> = args
        .runs
        .iter()
        .map(|out| read(out))
        .collect::<anyhow::Result<_>>()?;
    known_cases(&args.case, &runs)?;
    let sheets = sheets(&runs, subset)?;
    let ablation = recipe
        .map(|recipe| Sheet::ablation(&runs, &recipe, subset))
        .transpose()
        .map_err(|error| usage(error.to_string()))?;
    let failed: usize = runs.iter().map(|run| run.header.failed().len()).sum();
    let lost = runs.iter().any(|run| run.lost().is_some());
    text::notes(&runs)
        .iter()
        .filter(|note| note.starts_with("warning: "))
        .for_each(|note| output::note(note));
    match args.format {
        ReportFormat::Html => write_page(args, &runs, &sheets, ablation.as_ref())?,
        other => {
            let all: Vec<Sheet> = sheets.into_iter().chain(ablation).collect();
            let made = match other {
                ReportFormat::Csv => text::csv(&all),
                ReportFormat::Latex => text::latex(&runs, &all),
                ReportFormat::Markdown => text::markdown(&runs, &all),
                _ => serde_json::to_string_pretty(&text::json(&runs, &all))?,
            };
            match &args.out {
                Some(path) => write(path, &made)?,
                None => output::line(made.trim_end())?,
            }
        }
    }
    Ok(match args.strict && (failed > 0 || lost) {
        true => Code::Failed,
        false => Code::Done,
    })
}

/// All cases first, then each subset; of one subset only that.
fn sheets(runs: &[MethodRun], subset: Option<i64>) -> anyhow::Result<Vec<Sheet>> {
    let sheet = |subset| Sheet::new(runs, subset).map_err(|error| usage(error.to_string()));
    let mut out = vec![sheet(subset)?];
    if subset.is_none() {
        for one in 1..=3 {
            let any = |run: &MethodRun| run.cases.values().any(|case| case.case.subset == one);
            if runs.iter().any(any) {
                out.push(sheet(Some(one))?);
            }
        }
    }
    Ok(out)
}

/// Whether some run has each case that was named.
fn known_cases(named: &[String], runs: &[MethodRun]) -> anyhow::Result<()> {
    let names = || runs.iter().flat_map(|run| run.cases.keys()).map(String::as_str);
    match named
        .iter()
        .find(|name| names().all(|known| known != name.as_str()))
    {
        None => Ok(()),
        Some(name) => {
            let hint = omni_pipeline::nearest(name, names());
            let hint = hint
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            Err(usage(format!("--case {name}: no run has such a case{hint}")))
        }
    }
}

fn subset(text: &str) -> anyhow::Result<Option<i64>> {
    match text {
        "all" => Ok(None),
        "1" | "2" | "3" => Ok(text.parse().ok()),
        other => Err(usage(format!("--subset {other}: it is 1, 2, 3 or all"))),
    }
}

fn ablation(path: &Path) -> anyhow::Result<Ablation> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("--ablation {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| usage(format!("{}: {error}", path.display())))
}

fn write_page(
    args: &BenchReportArgs,
    runs: &[MethodRun],
    sheets: &[Sheet],
    ablation: Option<&Sheet>,
) -> anyhow::Result<()> {
    let file = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("bench-report.html"));
    let absolute = std::path::absolute(&file)?;
    let options = page::Options {
        folder: absolute.parent().unwrap_or(Path::new("/")),
        cases: &args.case,
    };
    let made = page::render(runs, sheets, ablation, &options);
    made.lacks.iter().for_each(|note| output::note(note));
    write(&file, &made.html)?;
    let cases: std::collections::BTreeSet<&String> = runs.iter().flat_map(|run| run.cases.keys()).collect();
    output::line(&format!(
        "{} methods, {} cases\nopen {}",
        runs.len(),
        cases.len(),
        file.display()
    ))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    omni_manifests::write_file(path, text.as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))
}
