//! Clips made on the way of a run, as `omni sample` makes them, and where asked for scored as `omni bench run` does. Each is a
//! process of its own: what the codec and the scoring networks hold is gone when training goes on.

use crate::{exit::missing, output};
use anyhow::{Context, anyhow};
use omni_model::train::{Collective, Events, Place, Trainer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

/// Readings of the clips of a run, a line for each time, beside its log.
const SCORES: &str = "scores.jsonl";

/// A line of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Scores {
    /// Steps done when the clips were made.
    step: u64,
    /// When, seconds since 1970.
    time: f64,
    /// Mean of each reading over the clips that have it, and how many those are.
    readings: BTreeMap<String, (f64, usize)>,
}

/// Makes the clips that are due after the trainer's last step into `RUN/samples/step-N`, with the moving averages where some are
/// kept; those that are there stay. What clips and scores fail with is said, and training goes on; a checkpoint for them that cannot
/// be written ends it. Every rank calls it and gives its slices of the weights; rank 0 does the rest.
pub fn make(run: &Path, trainer: &Trainer, place: &Place<'_>, ranks: &dyn Collective) -> anyhow::Result<()> {
    let name = format!("step-{:08}", trainer.next());
    let folder = run.join("samples").join(&name);
    let checkpoint = run.join("samples").join(format!(".{name}.checkpoint"));
    let averages = trainer.recipe().ema.is_some();
    if ranks.rank() > 0 {
        return Ok(trainer.export_of(&checkpoint, averages, place.dress, ranks)?);
    }
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    forget(&checkpoint)?; // of a process that was killed
    trainer.export_of(&checkpoint, averages, place.dress, ranks)?;
    let made = clips(trainer, &checkpoint, &folder, &name);
    forget(&checkpoint)?;
    let scored = made.and_then(|()| score(run, trainer, &folder, &name));
    if let Err(error) = scored {
        output::note(&format!("{name}: {error:#}; training goes on"));
    }
    Ok(())
}

fn forget(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn clips(trainer: &Trainer, checkpoint: &Path, folder: &Path, name: &str) -> anyhow::Result<()> {
    let settings = &trainer.recipe().samples;
    for case in cases(&settings.cases, settings.count)? {
        let mut args = vec![
            "sample".to_owned(),
            "--checkpoint".to_owned(),
            checkpoint.display().to_string(),
            "--case".to_owned(),
            format!("{}:{case}", settings.cases.display()),
            "--method".to_owned(),
            name.to_owned(),
            "--out".to_owned(),
            folder.display().to_string(),
        ];
        let seconds = settings.seconds.map(|seconds| seconds.to_string());
        let steps = settings.steps.map(|steps| steps.to_string());
        for (flag, value) in [("--seconds", seconds), ("--steps", steps)] {
            args.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        omni(&args)?;
    }
    output::note(&format!(
        "{name}: clips of what is learned so far lie in {}",
        folder.display()
    ));
    Ok(())
}

/// The names of the first cases of a file.
fn cases(path: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| missing(format!("{}: {error}", path.display())))?;
    let name = |line: &str| {
        let row: Value = serde_json::from_str(line).with_context(|| path.display().to_string())?;
        let name = row["case"].as_str().map(str::to_owned);
        name.ok_or_else(|| anyhow!("{}: a line without `case`", path.display()))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.take(count).map(name).collect()
}

/// Runs this program with other arguments; gives what it printed. Fails with its exit code.
fn omni(args: &[String]) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("this program is not found again")?;
    let ran = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("omni cannot be started")?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(anyhow!(
        "`omni {}` did not work ({}): {}",
        args.join(" "),
        ran.status,
        last.unwrap_or("it said nothing")
    ))
}

/// Scores the clips where the recipe asks for it; says how to, where not.
fn score(run: &Path, trainer: &Trainer, folder: &Path, name: &str) -> anyhow::Result<()> {
    let out = run.join("scores").join(name);
    let path = |path: &Path| path.display().to_string();
    let args = ["bench", "run", "--cases"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            path(&folder.join("cases.jsonl")),
            "--outputs".to_owned(),
            path(folder),
        ])
        .chain([
            "--method".to_owned(),
            name.to_owned(),
            "--out".to_owned(),
            path(&out),
        ])
        .collect::<Vec<_>>();
    if !trainer.recipe().samples.score || !cfg!(feature = "bench") {
        output::note(&format!("score them with: omni {}", args.join(" ")));
        return Ok(());
    }
    omni(&args)?;
    let rows = omni(&["show", &path(&out), "score", "--json"].map(str::to_owned))?;
    let line = Scores {
        step: trainer.next(),
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        readings: means(&rows)?,
    };
    let told: Vec<String> = line
        .readings
        .iter()
        .map(|(name, (mean, count))| format!("{name} {mean:.3} ({count})"))
        .collect();
    output::note(&format!("{name}: {}", told.join(", ")));
    add(run, line)
}

/// The mean of each reading over the clips that have a value, and their number.
fn means(rows: &str) -> anyhow::Result<BTreeMap<String, (f64, usize)>> {
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for line in rows.lines().filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_str(line).context("what `omni show` printed")?;
        if let (Some(reading), Some(value)) = (row["reading"].as_str(), row["value"].as_f64()) {
            let sum = sums.entry(reading.to_owned()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
    }
    sums.values_mut().for_each(|sum| sum.0 /= sum.1 as f64);
    Ok(sums)
}

/// Puts a line in place of the one of the same step, and draws all of them for TensorBoard anew.
fn add(run: &Path, line: Scores) -> anyhow::Result<()> {
    let path = run.join(SCORES);
    let known = std::fs::read_to_string(&path).unwrap_or_default(); // the first time there is none
    let mut lines: Vec<Scores> = known
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| path.display().to_string())?;
    lines.retain(|other| other.step < line.step);
    lines.push(line);
    let mut text = String::new();
    for line in &lines {
        text += &(serde_json::to_string(line)? + "\n");
    }
    omni_manifests::write_file(&path, text.as_bytes())?;
    let mut events = Events::create(run, "scores", lines[0].time)?;
    for line in &lines {
        let values: Vec<(String, f64)> = line
            .readings
            .iter()
            .map(|(name, (mean, _))| (format!("samples/{name}"), *mean))
            .collect();
        events.scalars(line.step, line.time, &values)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_clips_that_have_a_value() {
        let rows = r#"{"reading":"tf","value":0.5}
{"reading":"tf","value":0.7}
{"reading":"wer","value":null}
"#;
        let means = means(rows).unwrap();
        assert_eq!(means.len(), 1);
        assert!((means["tf"].0 - 0.6).abs() < 1e-12 && means["tf"].1 == 2);
    }

    #[test]
    fn a_step_that_is_done_again_stands_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let line = |step, mean| Scores {
            step,
            time: 1.0,
            readings: BTreeMap::from([("tf".to_owned(), (mean, 3))]),
        };
        for (step, mean) in [(10, 0.1), (20, 0.2), (20, 0.3)] {
            add(folder.path(), line(step, mean)).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join(SCORES)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("0.3") && !text.contains("0.2"), "{text}");
        assert!(folder.path().join("events.out.tfevents.scores").is_file());
    }
}
