//! `omni bench compare` and `omni bench why`: two runs, or one case of both.

use crate::{
    cli::{CompareArgs, WhyArgs},
    exit::{Code, missing, usage},
    output, table,
};
use anyhow::Context;
use omni_bench::{
    compare::{Comparison, Verdict, compare, why},
    report::MethodRun,
};
use std::path::Path;

/// Reads a run of `omni bench run`.
pub fn read(out: &Path) -> anyhow::Result<MethodRun> {
    if !out.exists() {
        return Err(missing(format!("{} does not exist", out.display())));
    }
    let run = MethodRun::read(out).with_context(|| format!("{} cannot be read", out.display()))?;
    match run.lost().filter(|_| run.cases.is_empty()) {
        Some(lost) => Err(anyhow::anyhow!(lost)),
        None => Ok(run),
    }
}

/// Says of which runs scores are lost.
fn warn(runs: &[&MethodRun]) {
    let lost = runs.iter().filter_map(|run| run.lost());
    lost.for_each(|lost| output::note(&format!("warning: {lost}")));
}

/// Runs `omni bench compare`.
pub fn run(args: &CompareArgs) -> anyhow::Result<Code> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    warn(&[&a, &b]);
    let found = compare(&a, &b, args.cases).map_err(|error| usage(error.to_string()))?;
    if args.json {
        output::line(&serde_json::to_string_pretty(&found)?)?;
        return Ok(Code::Done);
    }
    show(&found)?;
    Ok(Code::Done)
}

fn show(found: &Comparison) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = found
        .readings
        .iter()
        .map(|one| {
            vec![
                one.reading.clone(),
                format!("{:.3}", one.a),
                format!("{:.3}", one.b),
                format!("{:+.3}", one.difference.value),
                format!("[{:+.3}, {:+.3}]", one.difference.low, one.difference.high),
                format!("{} of {}", one.difference.count, one.difference.of),
                match one.verdict {
                    Verdict::ABetter => format!("{} is better", found.a),
                    Verdict::BBetter => format!("{} is better", found.b),
                    Verdict::Undecided => "not told apart".to_owned(),
                    Verdict::TooFew => "too few cases".to_owned(),
                },
            ]
        })
        .collect();
    let headings = [
        "reading",
        found.a.as_str(),
        found.b.as_str(),
        "difference",
        "95 % interval",
        "cases",
        "",
    ];
    output::line(&table::layout(&headings, &rows))?;
    let moved: Vec<Vec<String>> = found
        .readings
        .iter()
        .flat_map(|one| {
            one.moved.iter().map(|case| {
                vec![
                    one.reading.clone(),
                    case.case.clone(),
                    format!("{:.3}", case.a),
                    format!("{:.3}", case.b),
                    format!("{:+.3}", case.difference),
                ]
            })
        })
        .collect();
    if !moved.is_empty() {
        let headings = [
            "moved most",
            "case",
            found.a.as_str(),
            found.b.as_str(),
            "difference",
        ];
        output::line(&format!("\n{}", table::layout(&headings, &moved)))?;
    }
    for one in &found.readings {
        if let Some((case, word)) = one.one_sided.first() {
            output::note(&format!(
                "{}: cases with a value in one run only: {}, for example {case} ({word})",
                one.reading,
                one.one_sided.len()
            ));
        }
    }
    for refused in &found.refused {
        output::note(&format!("not compared: {}: {}", refused.reading, refused.why));
    }
    if let Some(case) = found.other_cases.first() {
        output::note(&format!(
            "warning: {} cases of one name ask for different clips and are left out, for example {case}",
            found.other_cases.len()
        ));
    }
    Ok(())
}

/// Runs `omni bench why`.
pub fn explain(args: &WhyArgs) -> anyhow::Result<Code> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    warn(&[&a, &b]);
    let Some(found) = why::why(&a, &b, &args.case) else {
        let lacks: Vec<&str> = [&a, &b]
            .into_iter()
            .filter(|run| !run.cases.contains_key(&args.case))
            .map(|run| run.method())
            .collect();
        let hint = omni_pipeline::nearest(&args.case, a.cases.keys().map(String::as_str));
        let hint = hint
            .map(|name| format!(" (did you mean `{name}`?)"))
            .unwrap_or_default();
        return Err(usage(format!(
            "no case `{}` in the run of `{}`{hint}",
            args.case,
            lacks.join("` and `")
        )));
    };
    if args.json {
        output::line(&serde_json::to_string_pretty(&found)?)?;
        return Ok(Code::Done);
    }
    let rows: Vec<Vec<String>> = found
        .points
        .iter()
        .filter(|point| !point.same)
        .map(|point| {
            vec![
                point.about.clone(),
                point.what.clone(),
                point.a.clone(),
                point.b.clone(),
            ]
        })
        .collect();
    let same = found.points.len() - rows.len();
    match rows.is_empty() {
        true => output::line("nothing differs")?,
        false => {
            let headings = ["differs", "what", found.a.as_str(), found.b.as_str()];
            output::line(&table::fitted(&headings, &rows, Some(160)))?;
        }
    }
    output::note(&format!("{same} other points are the same (--json shows them)"));
    Ok(Code::Done)
}
