//! `omni encode`: the clips of a selection as the trainer takes them.

use super::{
    folders::{self, Kind},
    runner,
};
use crate::{
    cli::EncodeArgs,
    encode::{self, Curated, Encode, Selected},
    exit::{Code, missing, usage},
    output, signals, table,
};
use anyhow::Context;
use omni_model::train::Encoder;
use omni_pipeline::{Outcome, Plan, RunOptions};
use std::sync::Arc;

/// Runs the command.
pub fn run(args: &EncodeArgs) -> anyhow::Result<Code> {
    for (flag, path) in [
        ("--from", &args.from),
        ("--selection", &args.selection),
        ("--checkpoint", &args.checkpoint),
    ] {
        if !path.exists() {
            return Err(missing(format!("{flag} {} does not exist", path.display())));
        }
    }
    folders::refuse(&args.out, &[Kind::Latents])?;
    let area = area(&args.size)?;
    if !(args.seconds > 0.0 && args.seconds <= 60.0) {
        return Err(usage(format!(
            "--seconds {}: it lies above 0 and is at most 60",
            args.seconds
        )));
    }
    if args.world == 0 || args.rank >= args.world {
        return Err(usage(format!(
            "--rank {} must be below --world {}",
            args.rank, args.world
        )));
    }
    let curated = Arc::new(Curated::open(&args.from, &args.selection)?);
    let encoder = Encoder::open(&args.checkpoint)
        .with_context(|| format!("checkpoint {}", args.checkpoint.display()))?;
    let root = args.root.clone().unwrap_or_else(|| curated.root.clone());
    if !root.is_dir() {
        return Err(missing(format!(
            "the corpus {} does not exist; it comes from --root, or from the run in --from, which may have been made in another \
             working folder",
            root.display()
        )));
    }
    let stage = Encode {
        curated: curated.clone(),
        encoder,
        area,
        seconds: args.seconds,
    };
    let plan = Plan::new(Box::new(Selected(curated.clone())), vec![Box::new(stage)])?;
    let options = RunOptions {
        out: args.out.clone(),
        root,
        rank: args.rank,
        world: args.world,
        ..RunOptions::default()
    };
    let again = encode::again(&plan, &options, &curated)?;
    if !again.is_empty() {
        output::note(&again.words());
    }
    if args.dry_run {
        let rows: Vec<Vec<String>> = omni_pipeline::status(&plan, &options)?
            .into_iter()
            .map(|step| {
                let total = step
                    .total
                    .map_or_else(|| "? (not listed yet)".into(), |total| total.to_string());
                vec![
                    step.stage.to_string(),
                    step.dir.to_string(),
                    step.done.to_string(),
                    total,
                ]
            })
            .collect();
        output::line(&table::layout(&["stage", "folder", "done", "of shards"], &rows))?;
        return Ok(Code::Done);
    }
    again.clear()?;
    let code = work(&plan, &options)?;
    if let Some(most) = args.check {
        let encoder = Encoder::open(&args.checkpoint)?;
        for path in encode::decode(&encoder, &args.out, most)? {
            output::line(&format!("decoded back: {}", path.display()))?;
        }
    }
    Ok(code)
}

/// `WIDTHxHEIGHT`.
fn area(text: &str) -> anyhow::Result<(usize, usize)> {
    let sides = text
        .split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match sides {
        Some((width, height)) if (32..=4096).contains(&width) && (32..=4096).contains(&height) => {
            Ok((width, height))
        }
        _ => Err(usage(format!(
            "--size {text}: it is WIDTHxHEIGHT, each 32 to 4096 pixels"
        ))),
    }
}

fn work(plan: &Plan, options: &RunOptions) -> anyhow::Result<Code> {
    let summary = runner::execute(plan, options)?;
    let mut rows = vec![vec!["encoded".to_owned(), summary.kept.to_string()]];
    let dropped = summary.dropped.iter();
    rows.extend(dropped.map(|(reason, count)| vec![format!("dropped: {reason}"), count.to_string()]));
    rows.push(vec!["selected".to_owned(), summary.listed.to_string()]);
    output::line(&table::layout(&["what", "clips"], &rows))?;
    if let Some(count) = summary.dropped.get("not_found") {
        output::note(&format!(
            "{count} clips were not found below {}: is that the corpus (--root)?",
            options.root.display()
        ));
    }
    if !summary.dropped.is_empty() {
        output::note(
            "the same command tries a dropped clip again when its file is there at last, or has changed since",
        );
    }
    let out = options.out.display();
    output::line(&format!(
        "\nlook at it with: omni show {out} latents; train on it with: omni train --data {out}"
    ))?;
    Ok(match summary.outcome {
        _ if signals::was_interrupted() => Code::Interrupted,
        Outcome::Complete | Outcome::ShareComplete if summary.kept > 0 => Code::Done,
        _ => Code::Failed,
    })
}
