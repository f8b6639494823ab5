//! What is done with a run that was: a step made again, its weights exported.

use super::{open, wanted::read};
use crate::{
    cli::{ExportRunArgs, ReplayArgs},
    exit::{Code, missing, usage},
    output, table,
};
use omni_model::train::{self, Solo, StepReport};

/// `omni train replay`: the losses of each sample of a step, and whether the step is the one that was logged.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<Code> {
    let wanted = read(&args.run)?;
    let log = train::read_log(&args.run)?;
    let logged = log.into_iter().find(|line| line.report.step == args.step);
    if args.step >= wanted.recipe.steps {
        return Err(usage(format!(
            "--step {}: the run has {} steps, counted from 0",
            args.step, wanted.recipe.steps
        )));
    }
    open(&wanted)?.within(&args.run, |trainer, data, place| {
        place.before(trainer, args.step)?;
        output::note(&format!("from the state after {} steps", trainer.next()));
        while trainer.next() < args.step {
            trainer.step(data, &Solo)?;
        }
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
        let looked = trainer.look(data)?;
        let rows: Vec<Vec<String>> = looked
            .iter()
            .map(|(id, video, audio)| vec![id.clone(), number(*video), number(Some(*audio))])
            .collect();
        output::line(&table::layout(
            &["sample", "loss of the video", "loss of the audio"],
            &rows,
        ))?;
        let Some(logged) = logged else {
            output::note("the log does not have this step: nothing to compare with");
            return Ok(Code::Failed);
        };
        let report = trainer.step(data, &Solo)?;
        let (bits, same) = (report == logged.report, alike(&report, &logged.report));
        output::line(&format!(
            "step {}: loss {}, gradients {}; logged: loss {}, gradients {}{}",
            args.step,
            report.loss,
            report.norm,
            logged.report.loss,
            logged.report.norm,
            match (bits, same) {
                (true, _) => " (the same)",
                (false, true) => " (the same but for rounding: it was made by another number of ranks)",
                (false, false) if report.ids != logged.report.ids => {
                    " (NOT the same: other samples than then; was `exclude` changed since?)"
                }
                (false, false) => " (NOT the same)",
            }
        ))?;
        Ok(if same { Code::Done } else { Code::Failed })
    })
}

/// Whether two reports are of one step, summed up by any number of ranks.
fn alike(a: &StepReport, b: &StepReport) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    (a.step, a.kind, a.tokens, &a.ids) == (b.step, b.kind, b.tokens, &b.ids)
        && near(a.loss, b.loss)
        && near(a.norm, b.norm)
}

/// `omni train export`: the weights after the last step as a checkpoint.
pub fn export(args: &ExportRunArgs) -> anyhow::Result<Code> {
    let wanted = read(&args.run)?;
    if args.out.exists() {
        return Err(usage(format!(
            "{} is there already; give another --out",
            args.out.display()
        )));
    }
    open(&wanted)?.within(&args.run, |trainer, _, place| {
        let step = place.resume(trainer)?;
        let step = step.ok_or_else(|| missing(format!("{} has no state yet", args.run.display())))?;
        trainer.export(&args.out, args.ema, place.dress)?;
        output::line(&format!(
            "{} holds the weights after step {step}{}",
            args.out.display(),
            if args.ema { ", their moving averages" } else { "" }
        ))?;
        Ok(Code::Done)
    })
}
