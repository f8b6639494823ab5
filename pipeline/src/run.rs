//! A whole run: list, take the shards of this worker through every step, count.

use crate::{
    Cancel, Error, Event, Forgotten, Outcome, Plan, Progress, RunOptions, Summary, Verify,
    budget::Budget,
    files,
    journal::{self, Journal},
    listing::{self, Index},
    readers::{RunFile, StageEntry},
    schedule::Schedule,
    shard::{self, ClipLog, Shared},
    tally::Tally,
    worker::Worker,
};
use std::{sync::Mutex, time::Instant};

/// Runs a plan: everything of this worker's shards that is not on disk yet. A second run finds all parts and makes
/// none; an unsound part is made again.
///
/// # Errors
/// When a stage stops, drops more than allowed, or the output cannot be written. What was done stays done.
pub fn run(
    plan: &Plan,
    options: &RunOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Summary, Error> {
    check(plan, options)?;
    files::folder(&options.out.join("log"))?;
    sweep(plan, options)?;
    let suspects = journal::settle(&options.out)?;
    let began = Instant::now();
    let mut tally = Tally::default();
    let Some(index) = listing::prepare(plan, options, cancel, progress)? else {
        tally.summary.outcome = Outcome::Stopped;
        return Ok(tally.summary);
    };
    tally
        .summary
        .seconds
        .insert("listing".into(), began.elapsed().as_secs_f64());
    write_run_file(plan, options, &index)?;
    ready(plan, options, &index, progress);
    let journal = Journal::new(&options.out);
    let log = ClipLog::new(&options.out);
    let stop = cancel.below();
    let forgotten = Forgotten::read(&options.out)?;
    let shared = Shared {
        forgotten: &forgotten,
        plan,
        options,
        cancel: &stop,
        progress,
        journal: &journal,
        suspects: &suspects,
        log: &log,
        budget: &Budget::new(options.threads),
        listing: Mutex::default(),
    };
    let mine = (0..index.shards.len()).filter(|number| is_mine(options, *number));
    let (tally, ended) = Schedule::new(&shared, &index, mine.collect(), tally).run();
    files::remove(&options.out.join("log").join(format!("scratch-{}", Worker::me())))?;
    finish(plan, options, &index, cancel, tally, ended)
}

/// Counts the shards that this run did not see, and writes the summary, whether the run went well or not.
fn finish(
    plan: &Plan,
    options: &RunOptions,
    index: &Index,
    cancel: &Cancel,
    mut tally: Tally,
    ended: Result<(), Error>,
) -> Result<Summary, Error> {
    let forgotten = Forgotten::read(&options.out)?;
    for (number, shard) in index.shards.iter().enumerate() {
        if !tally.seen.contains(&number) {
            let receipts = shard::glance(plan, &options.out, &shard.id, Verify::Size, &forgotten)?;
            tally.add(shard.rows, &receipts, is_mine(options, number));
        }
    }
    let mut summary = tally.close(index);
    summary.outcome = match &ended {
        Err(_) => Outcome::Failed,
        Ok(()) if cancel.is_cancelled() => Outcome::Stopped,
        Ok(()) if summary.pending == 0 => Outcome::Complete,
        Ok(()) if !summary.waiting.is_empty() => Outcome::Waiting,
        Ok(()) if summary.pending == summary.elsewhere => Outcome::ShareComplete,
        Ok(()) => Outcome::Pending,
    };
    let written = files::write_json(&options.out.join("summary.json"), &summary);
    ended?;
    written?;
    write_run_file(plan, options, index)?;
    Ok(summary)
}

fn is_mine(options: &RunOptions, shard: usize) -> bool {
    shard % options.world == options.rank
}

fn check(plan: &Plan, options: &RunOptions) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Option(what.to_owned()));
    if options.world == 0 || options.rank >= options.world {
        return wrong("rank must lie below world (`--rank 0 --world 1` for one worker)");
    }
    if options.shard_clips == 0 {
        return wrong("shard_clips must be at least 1");
    }
    if !(0.0..=1.0).contains(&options.max_drop_rate) {
        return wrong("max_drop_rate must lie in 0..=1");
    }
    let names: Vec<_> = plan.steps().iter().map(|step| step.stage).collect();
    match options.only.iter().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(Error::UnknownStage {
            name: name.clone(),
            known: names.join(", "),
        }),
        None => Ok(()),
    }
}

/// Removes what dead processes left under temporary names.
fn sweep(plan: &Plan, options: &RunOptions) -> Result<(), Error> {
    for step in plan.steps() {
        omni_manifests::sweep_temporaries(&options.out.join(&step.dir))?;
    }
    for folder in [
        options.out.clone(),
        options.out.join("log"),
        options.out.join(listing::dir(plan, options)),
    ] {
        for name in files::names(&folder)? {
            let scratch = name.strip_prefix("scratch-").and_then(Worker::parse);
            let worker = scratch.or_else(|| writer_of(&name));
            if worker.is_some_and(|worker| worker.is_dead()) {
                files::remove(&folder.join(name))?;
            }
        }
    }
    Ok(())
}

/// Who wrote `.<name>.<worker>-<number>.part`.
pub(crate) fn writer_of(name: &str) -> Option<Worker> {
    let (_, tag) = name.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    Worker::parse(tag.rsplit_once('-')?.0)
}

fn write_run_file(plan: &Plan, options: &RunOptions, index: &Index) -> Result<(), Error> {
    let stage = |step: &crate::Step| StageEntry {
        stage: step.stage.to_owned(),
        record: step.record.to_owned(),
        dir: step.dir.clone(),
        fingerprint: step.fingerprint.clone(),
    };
    let file = RunFile {
        omni_version: env!("CARGO_PKG_VERSION").to_owned(),
        source: plan.source.name().to_owned(),
        root: options.root.clone(),
        recipe: options.recipe.clone(),
        listing: listing::dir(plan, options),
        shards: index.shards.len(),
        stages: plan.steps().iter().map(stage).collect(),
    };
    files::write_json(&options.out.join("run.json"), &file)
}

fn ready(plan: &Plan, options: &RunOptions, index: &Index, progress: &dyn Progress) {
    let mine: Vec<_> = index
        .shards
        .iter()
        .enumerate()
        .filter(|(number, _)| is_mine(options, *number))
        .collect();
    progress.on(&Event::PlanReady {
        stages: plan.steps().iter().map(|step| step.stage).collect(),
        shards: index.shards.len(),
        mine: mine.len(),
        clips: index.rows,
        my_clips: mine.iter().map(|(_, shard)| shard.rows).sum(),
    });
}

/// One line of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// The stage.
    pub stage: &'static str,
    /// The record it makes.
    pub record: &'static str,
    /// Its folder below the output folder.
    pub dir: String,
    /// Shards whose part is there and fits what it was made from (sizes are compared, nothing is hashed).
    pub done: usize,
    /// All shards; `None` as long as the corpus was never listed.
    pub total: Option<usize>,
    /// Listed clips of the shards that are not done; `None` as long as the corpus was never listed.
    pub clips_to_do: Option<u64>,
}

/// What a run would find done. Reads, never writes, and does not read the corpus.
///
/// # Errors
/// When the output folder cannot be read.
pub fn status(plan: &Plan, options: &RunOptions) -> Result<Vec<StepStatus>, Error> {
    let index = listing::load(&options.out.join(listing::dir(plan, options)), Verify::Size).ok();
    let forgotten = Forgotten::read(&options.out)?;
    let mut done = vec![0; plan.steps().len()];
    let mut clips = vec![0; plan.steps().len()];
    for shard in index.iter().flat_map(|index| &index.shards) {
        let receipts = shard::glance(plan, &options.out, &shard.id, Verify::Size, &forgotten)?;
        done.iter_mut()
            .zip(&receipts)
            .for_each(|(done, receipt)| *done += usize::from(receipt.is_some()));
        clips
            .iter_mut()
            .zip(&receipts)
            .filter(|(_, receipt)| receipt.is_none())
            .for_each(|(clips, _)| *clips += shard.rows);
    }
    let total = index.map(|index| index.shards.len());
    let line = |((step, done), clips): ((&crate::Step, usize), u64)| StepStatus {
        stage: step.stage,
        record: step.record,
        dir: step.dir.clone(),
        done,
        total,
        clips_to_do: total.map(|_| clips),
    };
    Ok(plan.steps().iter().zip(done).zip(clips).map(line).collect())
}
