//! The steps of a run that is open: going on from its last state, progress, Ctrl-C, clips on the way.

use super::{
    Opened,
    live::Live,
    ranks, samples,
    wanted::{RUN, RunFile},
};
use crate::{output, signals};
use anyhow::Context;
use omni_model::train::{self, Collective, Ended, Line};
use omni_pipeline::Cancel;
use std::path::Path;

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
        if first && trainer.recipe().peak_tflops.is_none() {
            output::note(
                "the log holds no share of peak: what the device can do is not known (--peak-tflops, or the recipe's `peak_tflops`)",
            );
        }
        let mut log = train::read_log(out)?;
        log.retain(|line| line.report.step < trainer.next());
        let lost = trainer.next() - (log.len() as u64).min(trainer.next());
        if first && lost > 0 {
            output::note(&format!(
                "the log lacks {lost} of the {} steps before; the run goes on without their lines",
                trainer.next()
            ));
        }
        let mut live = Live::new((trainer.next(), trainer.recipe().steps), &log, first);
        loop {
            let mut on = |line: &Line| {
                live.step(line);
                !cancel.is_cancelled() && !due(line.report.step + 1)
            };
            let ended = place.train(trainer, data, ranks, &mut on)?;
            let stops = !train::agreed(ranks, !cancel.is_cancelled())?;
            if due(ended.steps) && !stops && live.any {
                live.aside(|| samples::make(out, trainer, place, ranks))?;
            }
            if ended.whole || stops {
                return Ok(ended);
            }
        }
    })
}
