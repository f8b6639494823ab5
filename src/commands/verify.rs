//! `omni verify`: this build against the numbers of the reference implementations.

use crate::{
    cli::VerifyArgs,
    exit::{Code, missing, usage},
    output, table,
};
use serde::Serialize;
use std::path::Path;

/// How one comparison ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    Fail,
    NeedsWeights,
    NotHere,
    NoBound,
}

/// One quantity of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    quantity: String,
    error: Option<f64>,
    tolerance: Option<f64>,
    verdict: Verdict,
    note: Option<String>,
}

/// What a folder of golden files gave; `unread` names files, and tensors in files, that nothing looked at.
#[derive(Serialize)]
struct Report {
    checks: Vec<Checked>,
    unread: Vec<String>,
}

impl Report {
    /// Whether something was compared, all of it within its tolerance, and nothing was left unread.
    fn holds(&self) -> bool {
        self.count(Verdict::Pass) > 0 && self.unread.is_empty() && self.count(Verdict::Fail) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    }
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Code> {
    if !args.dir.exists() {
        return Err(missing(format!("{} does not exist", args.dir.display())));
    }
    if !args.dir.is_dir() {
        return Err(usage(format!("{} is not a folder", args.dir.display())));
    }
    // told before the other networks run for minutes
    #[cfg(feature = "model")]
    let place =
        omni_model::generate::Place::parse(&args.device, Some(args.dtype.as_deref().unwrap_or("f32")))?;
    #[cfg(not(feature = "model"))]
    for_networks_alone(args)?;
    let report = measured(&args.dir)?;
    // A key table is known by the folder it lies in, also where that is the one we stand in.
    #[cfg(feature = "model")]
    let report = with_networks(report, &args.dir.canonicalize()?, &place)?;
    if args.json {
        output::line(&serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&report)?;
    }
    let whole = !args.strict || report.count(Verdict::NotHere) == 0;
    Ok(if report.holds() && whole {
        Code::Done
    } else {
        Code::Failed
    })
}

/// Refuses what only the networks heed that this build was made without.
#[cfg(not(feature = "model"))]
fn for_networks_alone(args: &VerifyArgs) -> anyhow::Result<()> {
    let device = (args.device != "cpu").then(|| format!(" --device {}", args.device));
    let dtype = args.dtype.as_ref().map(|dtype| format!(" --dtype {dtype}"));
    let given: String = device.into_iter().chain(dtype).collect();
    if given.is_empty() {
        return Ok(());
    }
    Err(missing(format!(
        "{}: this `omni` was built without `model`, whose networks alone that is for",
        given.trim_start()
    )))
}

/// What the bench makes of the folder; what it does not know is unread.
#[cfg(feature = "bench")]
fn measured(dir: &Path) -> anyhow::Result<Report> {
    use omni_bench::verify as bench;
    use omni_perception::{
        registry::{Registry, Store},
        runtime::Device,
    };
    let config = crate::config::Config::load()?;
    let store = Store::new(config.store_dir()?);
    let library = super::networks::onnxruntime(&config, &Registry::builtin(), &store, &Device::Cpu)?;
    let found = bench::Verifier::new(library, Device::Cpu).verify(dir)?;
    let checks = found.checks.into_iter().map(|check| Checked {
        file: check.file,
        quantity: check.quantity,
        error: check.error,
        tolerance: Some(check.tolerance),
        verdict: match check.verdict {
            bench::Verdict::Pass => Verdict::Pass,
            bench::Verdict::Fail => Verdict::Fail,
            bench::Verdict::NeedsWeights => Verdict::NeedsWeights,
            bench::Verdict::NotHere => Verdict::NotHere,
        },
        note: check.note,
    });
    Ok(Report {
        checks: checks.collect(),
        unread: found.unread,
    })
}

/// Without the bench every file is unread, until the model's networks look at it.
#[cfg(not(feature = "bench"))]
fn measured(dir: &Path) -> anyhow::Result<Report> {
    let (mut unread, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                unread.push(name.to_string_lossy().into_owned());
            }
        }
    }
    Ok(Report {
        checks: Vec::new(),
        unread,
    })
}

/// The report with the files that hold the numbers of the model's networks, of which the bench knows nothing.
#[cfg(feature = "model")]
fn with_networks(
    mut report: Report,
    dir: &Path,
    place: &omni_model::generate::Place,
) -> anyhow::Result<Report> {
    use omni_model::verify as networks;
    let (known, unread): (Vec<String>, Vec<String>) = std::mem::take(&mut report.unread)
        .into_iter()
        .partition(|name| networks::knows(&dir.join(name)));
    report.unread = unread;
    for name in known {
        for check in networks::verify_file_on(&dir.join(&name), place)? {
            match network(&name, &check) {
                Some(row) => report.checks.push(row),
                None => report.unread.push(format!("{name}: {}", check.what)),
            }
        }
    }
    report.checks.sort_by(|a, b| a.file.cmp(&b.file));
    report.unread.sort();
    Ok(report)
}

/// A row of the report; `None` for what no check looked at.
#[cfg(feature = "model")]
fn network(file: &str, check: &omni_model::verify::Check) -> Option<Checked> {
    use omni_model::verify::{Measure, Outcome};
    let (error, tolerance, note) = match &check.outcome {
        Outcome::Unknown => return None,
        Outcome::Broken(why) => (None, Some(0.0), Some(why.clone())),
        Outcome::Unbounded { error, why } => (*error, None, Some(why.clone())),
        Outcome::Compared {
            error,
            bound,
            measure,
        } => {
            let relative = *measure == Measure::Relative;
            (
                Some(*error),
                Some(*bound),
                relative.then(|| "relative".to_owned()),
            )
        }
    };
    Some(Checked {
        file: file.to_owned(),
        quantity: check.what.clone(),
        error,
        tolerance,
        verdict: match &check.outcome {
            Outcome::Unbounded { .. } => Verdict::NoBound,
            _ if check.passed() => Verdict::Pass,
            _ => Verdict::Fail,
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
    let lacking = report.count(Verdict::NotHere);
    if lacking > 0 {
        words.push_str(&format!(
            ", {lacking} files not here beside others of their kind (a failure with --strict)"
        ));
    }
    let unbounded = report.count(Verdict::NoBound);
    if unbounded > 0 {
        words.push_str(&format!(
            ", {unbounded} without a bound in this precision (neither passed nor failed)"
        ));
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
        Verdict::NotHere => "not here",
        Verdict::NoBound => "no bound",
    };
    vec![
        check.file.clone(),
        check.quantity.clone(),
        check.error.map_or_else(String::new, number),
        check.tolerance.map_or_else(String::new, number),
        verdict.to_owned(),
        check.note.clone().unwrap_or_default(),
    ]
}
