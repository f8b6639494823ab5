//! The steps of a run that is open: going on from its last state, progress, Ctrl-C, clips on the way.

use super::{
    Opened, ranks, samples,
    wanted::{RUN, RunFile},
};
use crate::{output, signals};
use anyhow::Context;
use omni_model::train::{self, Collective, Ended, Line, Trainer};
use omni_pipeline::Cancel;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Lines of progress come at most this often.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Trains to the end or to Ctrl-C; stops at the steps after which clips are made, and makes them. What is wanted is written down
/// once the run's last state was found to fit it.
pub fn make(
    opened: Opened,
    wanted: Option<&RunFile>,
    out: &Path,
    ranks: &dyn Collective,
) -> anyhow::Result<Ended> {
    opened.within(out, |trainer, data, place| {
        let first = ranks.rank() == 0;
        let settings = trainer.recipe().samples.clone();
        let due = |steps: u64| settings.every > 0 && steps > 0 && steps.is_multiple_of(settings.every);
        let resumed = ranks::resume(trainer, place, ranks)?;
        if let Some(wanted) = wanted {
            std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
            let text = serde_json::to_string_pretty(wanted)?;
            omni_manifests::write_file(&out.join(RUN), text.as_bytes())?;
        }
        if let Some(step) = resumed {
            if first {
                output::note(&format!("going on after step {step}"));
            }
            if due(step) {
                samples::make(out, trainer, place, ranks)?;
            }
        }
        let cancel = Cancel::default();
        signals::on_interrupt(&cancel);
        let mut saying = Saying::new(trainer);
        if first && trainer.recipe().peak_tflops.is_none() {
            output::note(
                "the log holds no share of peak: what the device can do is not known (--peak-tflops, or the recipe's `peak_tflops`)",
            );
        }
        loop {
            let mut on = |line: &Line| {
                saying.step(line, first);
                !cancel.is_cancelled() && !due(line.report.step + 1)
            };
            let ended = place.train(trainer, data, ranks, &mut on)?;
            let stops = !train::agreed(ranks, !cancel.is_cancelled())?;
            if due(ended.steps) && !stops && saying.any {
                samples::make(out, trainer, place, ranks)?;
            }
            if ended.whole || stops {
                return Ok(ended);
            }
        }
    })
}

/// Lines of progress, not too many.
struct Saying {
    total: u64,
    first: u64,
    begun: Instant,
    said: Option<Instant>,
    /// Whether a step was done.
    any: bool,
}

impl Saying {
    fn new(trainer: &Trainer) -> Self {
        Self {
            total: trainer.recipe().steps,
            first: trainer.next(),
            begun: Instant::now(),
            said: None,
            any: false,
        }
    }

    fn step(&mut self, line: &Line, speaks: bool) {
        self.any = true;
        let done = line.report.step + 1;
        if !speaks {
            return;
        }
        if done == self.total || self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let each = self.begun.elapsed().as_secs_f64() / (done - self.first) as f64;
            output::note(&progress(line, self.total, each * (self.total - done) as f64));
            self.said = Some(Instant::now());
        }
    }
}

fn progress(line: &Line, total: u64, left: f64) -> String {
    let report = &line.report;
    let video = report
        .video
        .map(|video| format!("video {video:.4}, "))
        .unwrap_or_default();
    let share = line
        .share_of_peak
        .map(|share| format!(" ({:.1} % of peak)", 100.0 * share))
        .unwrap_or_default();
    let lr: Vec<String> = report.lr.iter().map(|(_, lr)| format!("{lr:.1e}")).collect();
    format!(
        "step {}/{total} {}: loss {:.4} ({video}audio {:.4}), gradients {:.3}, lr {}, {:.0} tokens/s{share}, {} left",
        report.step + 1,
        report.kind.name(),
        report.loss,
        report.audio,
        report.norm,
        lr.join(" "),
        report.tokens as f64 / line.seconds.max(1e-9),
        indicatif::HumanDuration(Duration::from_secs_f64(left.max(0.0)))
    )
}
