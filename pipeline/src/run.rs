//! A whole run: list, take the shards of this worker one after another, count.

use crate::{
    Cancel, Error, Event, Outcome, Plan, Progress, RunOptions, Summary, Verify, files,
    journal::{self, Journal},
    listing::{self, Index},
    readers::{RunFile, StageEntry},
    shard::{self, ClipLog, Effort, Receipts, Shard},
    worker::Worker,
};
use omni_manifests::ListingReader;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

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
    let shard = |number: usize| Shard {
        plan,
        options,
        cancel,
        progress,
        journal: &journal,
        suspects: &suspects,
        log: &log,
        id: &index.shards[number].id,
        number,
        clips: index.shards[number].rows,
    };
    let ended = shards(options, &index, cancel, &mut tally, shard);
    files::remove(&options.out.join("log").join(format!("scratch-{}", Worker::me())))?;
    finish(plan, options, &index, cancel, tally, ended)
}

fn shards<'a>(
    options: &RunOptions,
    index: &Index,
    cancel: &Cancel,
    tally: &mut Tally,
    shard: impl Fn(usize) -> Shard<'a>,
) -> Result<(), Error> {
    let mut listing: Option<ListingReader> = None;
    for number in (0..index.shards.len()).filter(|number| is_mine(options, *number)) {
        if cancel.is_cancelled() {
            break;
        }
        let shard = shard(number);
        let reader = match listing.take() {
            Some(reader) => listing.insert(reader),
            None => {
                let dir = listing::dir(shard.plan, options);
                listing.insert(ListingReader::open(&options.out.join(dir).join(listing::ROWS))?)
            }
        };
        let receipts = shard.run(reader, &mut tally.effort)?;
        tally.add(index.shards[number].rows, &receipts, true);
        tally.seen.insert(number);
    }
    Ok(())
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
    for (number, shard) in index.shards.iter().enumerate() {
        if !tally.seen.contains(&number) {
            let receipts = shard::glance(plan, &options.out, &shard.id, Verify::Size)?;
            tally.add(shard.rows, &receipts, is_mine(options, number));
        }
    }
    let mut summary = tally.close(index);
    summary.outcome = match &ended {
        Err(_) => Outcome::Failed,
        Ok(()) if cancel.is_cancelled() => Outcome::Stopped,
        Ok(()) if summary.pending == 0 => Outcome::Complete,
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
fn writer_of(name: &str) -> Option<Worker> {
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

/// Counts clips.
#[derive(Default)]
struct Tally {
    summary: Summary,
    effort: Effort,
    seen: BTreeSet<usize>,
}

impl Tally {
    fn add(&mut self, clips: u64, receipts: &Receipts, mine: bool) {
        let mut dropped: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, reason) in receipts.iter().flatten().flat_map(|receipt| &receipt.drops) {
            dropped.entry(key).or_insert(reason);
        }
        for reason in dropped.values() {
            *self.summary.dropped.entry((*reason).to_owned()).or_default() += 1;
        }
        let left = clips.saturating_sub(dropped.len() as u64);
        if receipts.iter().all(Option::is_some) {
            self.summary.kept += left;
        } else {
            self.summary.pending += left;
            self.summary.elsewhere += if mine { 0 } else { left };
        }
    }

    fn close(self, index: &Index) -> Summary {
        let mut summary = self.summary;
        summary.listed = index.rows + index.dropped.values().sum::<u64>();
        summary.beyond_limit = index.beyond_limit;
        for (reason, count) in &index.dropped {
            *summary.dropped.entry(reason.clone()).or_default() += count;
        }
        for (stage, seconds) in self.effort.seconds {
            summary.seconds.insert(stage.to_owned(), seconds);
        }
        for (stage, count) in self.effort.computed {
            summary.shards.entry(stage.to_owned()).or_default().computed = count;
        }
        for (stage, count) in self.effort.skipped {
            summary.shards.entry(stage.to_owned()).or_default().skipped = count;
        }
        summary
    }
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
}

/// What a run would find done. Reads, never writes, and does not read the corpus.
///
/// # Errors
/// When the output folder cannot be read.
pub fn status(plan: &Plan, options: &RunOptions) -> Result<Vec<StepStatus>, Error> {
    let index = listing::load(&options.out.join(listing::dir(plan, options)), Verify::Size).ok();
    let mut done = vec![0; plan.steps().len()];
    for shard in index.iter().flat_map(|index| &index.shards) {
        let receipts = shard::glance(plan, &options.out, &shard.id, Verify::Size)?;
        done.iter_mut()
            .zip(&receipts)
            .for_each(|(done, receipt)| *done += usize::from(receipt.is_some()));
    }
    let total = index.map(|index| index.shards.len());
    let line = |(step, done): (&crate::Step, usize)| StepStatus {
        stage: step.stage,
        record: step.record,
        dir: step.dir.clone(),
        done,
        total,
    };
    Ok(plan.steps().iter().zip(done).map(line).collect())
}
