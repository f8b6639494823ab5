//! `omni curate`: builds the plan of a recipe and runs it.

use super::{networks::kit, out_dir, runner, scoring, services};
use crate::{
    cli::{CurateArgs, GraphFormat},
    config::Config,
    exit::{Code, missing, usage},
    output, signals, table,
};
use anyhow::Context;
use omni_curate::{kit::Kit, plan, recipe::Recipe};
use omni_pipeline::{Outcome, Plan, RunOptions, Summary, Verify};
use std::{path::PathBuf, time::Duration};

/// Runs the command.
pub fn run(args: &CurateArgs) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let recipe = recipe(args, &config)?;
    let root = root(args, &config, &recipe.source)?;
    let services = services::open(args, &config)?;
    let kit = kit(&args.networks, &config)?;
    let kit = match &services.hub {
        Some(hub) => kit.with_hub(hub.clone()),
        None => kit,
    };
    let metrics = scoring::metrics(args, &config)?;
    let plan = plan::build_with(&recipe, &root, &kit, &|made| scoring::stage(&metrics, made))?;
    if args.graph == Some(GraphFormat::Mermaid) {
        output::line(plan.mermaid().trim_end())?;
        return Ok(Code::Done);
    }
    let options = options(args, &config, &recipe, root, &plan)?;
    if args.dry_run {
        dry_run(&plan, &options)?;
        return services.estimate(&plan, &options);
    }
    check_networks(&plan, &kit, &args.only)?;
    let worked = work(&plan, &options);
    services.report()?;
    let summary = worked?;
    pending(&summary)?;
    Ok(code(&summary))
}

fn recipe(args: &CurateArgs, config: &Config) -> anyhow::Result<Recipe> {
    let recipe = match (&args.recipe, &args.source) {
        (Some(path), _) => Recipe::open(path, &args.set)?,
        (None, Some(source)) => Recipe::built_in(source, &args.set)?,
        (None, None) => match config.roots.keys().collect::<Vec<_>>().as_slice() {
            [only] => Recipe::built_in(only, &args.set)?,
            _ => {
                return Err(usage(
                    "no source: give --source (openhumanvid, opens2v, emilia, folder) or --recipe FILE",
                ));
            }
        },
    };
    match &args.source {
        Some(source) if *source != recipe.source => Err(usage(format!(
            "--source {source} contradicts `source = \"{}\"` of {}; leave out --source, or change the recipe",
            recipe.source,
            recipe.origin()
        ))),
        _ => Ok(recipe),
    }
}

fn root(args: &CurateArgs, config: &Config, source: &str) -> anyhow::Result<PathBuf> {
    let root = args.root.clone().or_else(|| config.roots.get(source).cloned());
    let root = root.ok_or_else(|| {
        usage(format!(
            "no corpus: give --root DIR, or `roots.{source}` in omni.toml \
             (`omni init --source {source} --root DIR` writes one)"
        ))
    })?;
    if !root.is_dir() {
        let what = if root.exists() {
            "is not a folder"
        } else {
            "does not exist"
        };
        return Err(missing(format!(
            "the corpus {} {what}; it comes from --root or `roots.{source}`",
            root.display()
        )));
    }
    Ok(root)
}

fn options(
    args: &CurateArgs,
    config: &Config,
    recipe: &Recipe,
    root: PathBuf,
    plan: &Plan,
) -> anyhow::Result<RunOptions> {
    if args.world == 0 {
        return Err(usage("--world must be at least 1"));
    }
    if args.rank >= args.world {
        return Err(usage(format!(
            "--rank {} must be below --world {}: ranks count from 0, so the last is {}",
            args.rank,
            args.world,
            args.world - 1
        )));
    }
    if args.limit == Some(0) {
        return Err(usage("--limit must be at least 1; leave it out for all clips"));
    }
    if args.threads == Some(0) {
        return Err(usage("--threads must be at least 1"));
    }
    for name in &args.only {
        let mut stages = plan.steps().iter().map(|step| step.stage);
        if !stages.clone().any(|stage| stage == name) {
            let hint = omni_pipeline::nearest(name, stages.clone());
            let hint = hint
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            let known = stages.by_ref().collect::<Vec<_>>().join(", ");
            return Err(usage(format!(
                "--only {name}: this recipe has no such stage{hint}; it has {known}"
            )));
        }
    }
    let verify = match recipe.run.verify.as_str() {
        "full" => Verify::Full,
        "size" => Verify::Size,
        other => return Err(usage(format!("run.verify = \"{other}\": must be full or size"))),
    };
    check_run(recipe)?;
    let mut options = RunOptions {
        out: out_dir(args.out.as_deref(), config, "--out DIR")?,
        root,
        rank: args.rank,
        world: args.world,
        only: args.only.clone(),
        limit: args.limit,
        seed: args.seed,
        shard_clips: recipe.run.shard_clips,
        max_drop_rate: recipe.run.max_drop_rate,
        verify,
        stuck_after: (recipe.run.stuck_after > 0.0).then(|| Duration::from_secs_f64(recipe.run.stuck_after)),
        recipe: serde_json::json!({ "name": recipe.name, "set": args.set }),
        ..RunOptions::default()
    };
    options.threads = args.threads.unwrap_or(options.threads);
    Ok(options)
}

/// Values of the `run` table that no run can be made with.
fn check_run(recipe: &Recipe) -> anyhow::Result<()> {
    let run = &recipe.run;
    let wrong =
        |key: &str, value: String, must: &str| Err(usage(format!("run.{key} = {value}: must {must}")));
    if run.shard_clips == 0 {
        return wrong("shard_clips", "0".into(), "be at least 1");
    }
    if !(0.0..=1.0).contains(&run.max_drop_rate) {
        return wrong("max_drop_rate", run.max_drop_rate.to_string(), "lie in 0..=1");
    }
    // A year is as good as never, and a larger number would not fit a duration.
    if !(0.0..=31_536_000.0).contains(&run.stuck_after) {
        return wrong(
            "stuck_after",
            run.stuck_after.to_string(),
            "be seconds, 0 (never) to 31536000 (a year)",
        );
    }
    Ok(())
}

/// Says at once what would otherwise stop the run in its middle: a network or library that is not here.
fn check_networks(plan: &Plan, kit: &Kit, only: &[String]) -> anyhow::Result<()> {
    let wanted = |stage: &str| only.is_empty() || only.iter().any(|name| name == stage);
    let stages: Vec<&str> = plan
        .steps()
        .iter()
        .map(|step| step.stage)
        .filter(|stage| wanted(stage))
        .collect();
    Ok(kit.check(&stages)?)
}

fn dry_run(plan: &Plan, options: &RunOptions) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = omni_pipeline::status(plan, options)?
        .into_iter()
        .map(|step| {
            vec![
                step.stage.to_string(),
                step.dir.to_string(),
                step.done.to_string(),
                known(step.total),
            ]
        })
        .collect();
    output::line(&table::layout(&["stage", "folder", "done", "of shards"], &rows))
}

/// The number of shards is known once the corpus was listed.
fn known(total: Option<usize>) -> String {
    total.map_or_else(|| "? (not listed yet)".into(), |total| total.to_string())
}

fn work(plan: &Plan, options: &RunOptions) -> anyhow::Result<Summary> {
    let summary = runner::execute(plan, options)?;
    report(&summary, options)?;
    agreement(options)?;
    Ok(summary)
}

fn code(summary: &Summary) -> Code {
    match summary.outcome {
        _ if signals::was_interrupted() => Code::Interrupted,
        Outcome::Complete | Outcome::ShareComplete => Code::Done,
        Outcome::Waiting => Code::Pending,
        _ => Code::Failed,
    }
}

/// The closing lines when clips wait: how many, where, for what, and what to do.
fn pending(summary: &Summary) -> anyhow::Result<()> {
    if summary.waiting.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let mut waiting = 0;
    for some in &summary.waiting {
        waiting += some.clips;
        output::line(&format!(
            "{} pending in {}, for {} ({}): {}",
            clips(some.clips),
            some.stage,
            some.wait.on,
            some.wait.why,
            some.wait.what
        ))?;
    }
    output::line(&format!(
        "pending: {} ({} waiting, the rest in the same shards); nothing is lost and no answer is asked for twice: put \
         that right and give the same command again (exit code {})",
        clips(summary.pending),
        waiting,
        Code::Pending.number()
    ))
}

fn clips(number: u64) -> String {
    match number {
        1 => "1 clip".to_owned(),
        number => format!("{number} clips"),
    }
}

/// How far the evidence agrees with the bindings, by route, where a stage held them against each other: a table, and
/// `agreement` in the summary.
fn agreement(options: &RunOptions) -> anyhow::Result<()> {
    let rates = omni_curate::agreement::rates(&options.out)?;
    if rates.is_empty() {
        return Ok(());
    }
    let path = options.out.join("summary.json");
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let mut summary: serde_json::Value = serde_json::from_slice(&text)?;
    summary["agreement"] = serde_json::to_value(&rates)?;
    let mut text = serde_json::to_vec_pretty(&summary)?;
    text.push(b'\n');
    omni_manifests::write_file(&path, &text)?;
    let row = |(route, rate): (&String, &omni_curate::agreement::Rate)| {
        vec![
            route.clone(),
            rate.clips.to_string(),
            rate.compared.to_string(),
            rate.rate
                .map_or_else(|| "-".into(), |rate| format!("{:.1} %", 100.0 * rate)),
        ]
    };
    let rows: Vec<Vec<String>> = rates.iter().map(row).collect();
    let head = ["bound by", "clips", "speakers compared", "evidence agrees"];
    output::line(&format!("\n{}", table::layout(&head, &rows)))
}

fn report(summary: &Summary, options: &RunOptions) -> anyhow::Result<()> {
    let mut rows = vec![vec!["kept".to_owned(), summary.kept.to_string()]];
    rows.extend(
        summary
            .dropped
            .iter()
            .map(|(reason, count)| vec![format!("dropped: {reason}"), count.to_string()]),
    );
    if summary.pending > 0 {
        rows.push(vec!["pending".to_owned(), summary.pending.to_string()]);
    }
    rows.push(vec!["listed".to_owned(), summary.listed.to_string()]);
    output::line(&table::layout(&["what", "clips"], &rows))?;
    let seconds: Vec<Vec<String>> = summary
        .seconds
        .iter()
        .map(|(stage, seconds)| vec![stage.clone(), format!("{seconds:.1}")])
        .collect();
    output::line(&format!("\n{}", table::layout(&["stage", "seconds"], &seconds)))?;
    let out = options.out.display();
    output::line(&format!(
        "\nthe result lies in {out} (numbers: {out}/summary.json); look at it with"
    ))?;
    output::line(&format!("  omni show {out} omni_caption"))?;
    output::line(&format!("  omni explain {out} CLIP"))
}
