//! The log of a run: a line of JSON each step, and the same as TensorBoard's curves. The lines are what counts; the curves are
//! made from them anew whenever a run goes on, so that no step stands there twice.

use super::{events::Events, trainer::StepReport};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// Name of the file of lines.
pub const LOG: &str = "log.jsonl";

/// A line of the log: the step and when it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What the step did.
    pub report: StepReport,
    /// Seconds it took.
    pub seconds: f64,
    /// When it was done, seconds since 1970.
    pub time: f64,
    /// Operations it took, all ranks together, counted from the sizes of its samples; 0 in lines of earlier builds.
    #[serde(default)]
    pub flops: f64,
    /// Operations a second, as a share of the recipe's `peak_tflops` for every rank; absent where the recipe has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

/// The log of a run that is under way.
pub struct Log {
    path: PathBuf,
    file: File,
    events: Events,
}

/// The lines of a run's log, in order; a last line that was torn by a kill is left out. No log: no lines.
pub fn read_log(run: &Path) -> Result<Vec<Line>> {
    let path = run.join(LOG);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { path, source }),
    };
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let lines = text[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let parse = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| Error::Format {
            path: path.clone(),
            kind: "a log of training",
            why: format!(
                "line {} is damaged ({error}); take it out, or move the file away to begin a new one",
                number + 1
            ),
        })
    };
    lines.enumerate().map(parse).collect()
}

impl Log {
    /// Goes on with the log of a run whose state is after `steps` steps: later lines are taken away.
    pub fn open(run: &Path, steps: u64) -> Result<Self> {
        let path = run.join(LOG);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let mut lines = read_log(run)?;
        lines.retain(|line| line.report.step < steps);
        let beside = run.join(format!(".{LOG}"));
        let mut text = String::new();
        for line in &lines {
            text += &to_text(line)?;
        }
        fs::write(&beside, text).map_err(io)?;
        fs::rename(&beside, &path).map_err(io)?;
        let mut events = Events::create(run, "train", lines.first().map_or(0.0, |line| line.time))?;
        for line in &lines {
            events.scalars(line.report.step, line.time, &curves(line))?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(io)?;
        Ok(Self { path, file, events })
    }

    /// Adds a step.
    pub fn push(&mut self, line: &Line) -> Result<()> {
        let text = to_text(line)?;
        self.file.write_all(text.as_bytes()).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })?;
        self.events.scalars(line.report.step, line.time, &curves(line))
    }
}

fn to_text(line: &Line) -> Result<String> {
    let text = serde_json::to_string(line).map_err(|error| Error::Resume(error.to_string()))?;
    Ok(text + "\n")
}

/// What TensorBoard draws of a step.
fn curves(line: &Line) -> Vec<(String, f64)> {
    let report = &line.report;
    let kind = report.kind.name();
    let mut all = vec![
        (format!("loss/{kind}"), report.loss),
        (format!("loss/{kind}/audio"), report.audio),
        (format!("gradients/{kind}"), report.norm),
        (
            "speed/tokens_per_second".to_owned(),
            report.tokens as f64 / line.seconds.max(1e-9),
        ),
        (
            "speed/samples_per_second".to_owned(),
            report.ids.len() as f64 / line.seconds.max(1e-9),
        ),
    ];
    if line.flops > 0.0 {
        let rate = line.flops / line.seconds.max(1e-9);
        all.push(("speed/tflops_per_second".to_owned(), rate / 1e12));
    }
    all.extend(
        line.share_of_peak
            .map(|share| ("speed/share_of_peak".to_owned(), share)),
    );
    all.extend(report.video.map(|video| (format!("loss/{kind}/video"), video)));
    all.extend(report.lr.iter().map(|(keys, lr)| (format!("lr/{keys}"), *lr)));
    all
}
