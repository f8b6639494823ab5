//! `omni verify`: this build against the numbers of the reference implementations.

use crate::{
    cli::VerifyArgs,
    config::Config,
    exit::{Code, missing, usage},
    output, table,
};
use omni_bench::verify::{Checked, Report, Verdict, Verifier};
use omni_model::verify::{self as networks, Measure, Outcome};
use omni_perception::{
    registry::{Registry, Store},
    runtime::Device,
};
use std::path::Path;

/// Runs the command.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Code> {
    if !args.dir.exists() {
        return Err(missing(format!("{} does not exist", args.dir.display())));
    }
    if !args.dir.is_dir() {
        return Err(usage(format!("{} is not a folder", args.dir.display())));
    }
    let config = Config::load()?;
    let store = Store::new(config.store_dir()?);
    let library = super::onnxruntime(&config, &Registry::builtin(), &store, &Device::Cpu)?;
    let mut report = Verifier::new(library, Device::Cpu).verify(&args.dir)?;
    // A key table is known by the folder it lies in, also where that is the one we stand in.
    add_networks(&mut report, &args.dir.canonicalize()?);
    if args.json {
        output::line(&serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&report)?;
    }
    Ok(if report.holds() { Code::Done } else { Code::Failed })
}

/// Files that hold the numbers of the model's networks, of which the bench knows nothing.
fn add_networks(report: &mut Report, dir: &Path) {
    let (known, unread): (Vec<String>, Vec<String>) = std::mem::take(&mut report.unread)
        .into_iter()
        .partition(|name| networks::knows(&dir.join(name)));
    report.unread = unread;
    for name in known {
        for check in networks::verify_file(&dir.join(&name)) {
            match network(&name, &check) {
                Some(row) => report.checks.push(row),
                None => report.unread.push(format!("{name}: {}", check.what)),
            }
        }
    }
    report.checks.sort_by(|a, b| a.file.cmp(&b.file));
    report.unread.sort();
}

/// A row of the report; `None` for what no check looked at.
fn network(file: &str, check: &networks::Check) -> Option<Checked> {
    let (error, tolerance, note) = match &check.outcome {
        Outcome::Unknown => return None,
        Outcome::Broken(why) => (None, 0.0, Some(why.clone())),
        Outcome::Compared {
            error,
            bound,
            measure,
        } => {
            let relative = *measure == Measure::Relative;
            (Some(*error), *bound, relative.then(|| "relative".to_owned()))
        }
    };
    Some(Checked {
        file: file.to_owned(),
        quantity: check.what.clone(),
        error,
        tolerance,
        verdict: if check.passed() {
            Verdict::Pass
        } else {
            Verdict::Fail
        },
        note,
    })
}

fn show(report: &Report) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = report.checks.iter().map(row).collect();
    if !rows.is_empty() {
        let headings = [
            "file",
            "quantity",
            "largest error",
            "tolerance",
            "verdict",
            "note",
        ];
        output::line(&table::layout(&headings, &rows))?;
    }
    for name in &report.unread {
        output::line(&format!("not read: {name}"))?;
    }
    let (passed, failed) = (report.count(Verdict::Pass), report.count(Verdict::Fail));
    let mut words = format!(
        "{passed} passed, {failed} failed, {} not read",
        report.unread.len()
    );
    let waiting = report.count(Verdict::NeedsWeights);
    if waiting > 0 {
        words.push_str(&format!(", {waiting} not compared for lack of published weights"));
    }
    if passed + failed == 0 {
        words.push_str("; nothing was checked");
    }
    output::note(&words);
    Ok(())
}

fn row(check: &Checked) -> Vec<String> {
    let number = |x: f64| {
        if x == 0.0 {
            "0".to_owned()
        } else {
            format!("{x:.1e}")
        }
    };
    let verdict = match check.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::NeedsWeights => "needs weights",
    };
    vec![
        check.file.clone(),
        check.quantity.clone(),
        check.error.map_or_else(String::new, number),
        number(check.tolerance),
        verdict.to_owned(),
        check.note.clone().unwrap_or_default(),
    ]
}
