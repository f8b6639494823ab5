//! One step of one shard: clips side by side, results in the order of the listing, one part at the end.

use crate::{
    Cancel, Cx, Error, Event, Fault, Forgotten, Inputs, Pack, Progress, RunOptions, Stage, Tables, Wait,
    Waiting,
    budget::{Budget, Place},
    forgotten,
    journal::{self, Faults, Journal},
    shard::ClipLog,
    stage::locked,
    wait::Waits,
    watch::{Pulses, watch},
};
use omni_manifests::{PackWriter, Receipt};
use omni_schemas::{Blob, Record};
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Results that may wait for their turn, for each lane: bounds memory when one clip takes long.
const AHEAD: usize = 4;

/// One part to be made.
pub struct Work<'a> {
    pub(crate) stage: &'static str,
    /// The step's folder name, by which suspects are known.
    pub(crate) dir: &'a str,
    pub(crate) shard: &'a str,
    pub(crate) keys: &'a [String],
    pub(crate) tables: &'a Tables,
    pub(crate) part: PathBuf,
    /// All of the receipt but drops and tar.
    pub(crate) receipt: Receipt,
    pub(crate) options: &'a RunOptions,
    pub(crate) cancel: &'a Cancel,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) journal: &'a Journal,
    /// Whether clips are noted in the journal before and after.
    pub(crate) guarded: bool,
    pub(crate) suspects: &'a BTreeMap<String, Faults>,
    pub(crate) scratch: PathBuf,
    /// Tars of the records that are read.
    pub(crate) tars: BTreeMap<&'static str, PathBuf>,
    pub(crate) log: &'a ClipLog,
    pub(crate) budget: &'a Budget,
    pub(crate) forgotten: &'a Forgotten,
    /// Numbers of the shard and the step: who comes first when clips wait for a slot.
    pub(crate) order: (usize, usize),
    /// Takes the seconds of all clips together.
    pub(crate) spent: &'a Mutex<f64>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// The part is there.
    Done {
        /// Its rows.
        rows: u64,
        /// Clips dropped.
        dropped: u64,
    },
    /// Clips wait for what could not be had; there is no part.
    Waits(Vec<Waiting>),
    /// The run was cancelled; there is no part.
    Cancelled,
}

type Stopped = Box<dyn std::error::Error + Send + Sync>;

/// What a stage made of a clip.
struct Made<R> {
    rows: Vec<R>,
    dropped: Option<String>,
    wait: Option<Wait>,
    blobs: Vec<(Blob, Vec<u8>)>,
}

impl<R> Made<R> {
    /// Nothing, for a reason.
    fn dropped(reason: &str) -> Self {
        Made {
            rows: Vec::new(),
            dropped: Some(reason.to_owned()),
            wait: None,
            blobs: Vec::new(),
        }
    }
}

pub(crate) fn run_step<S: Stage>(stage: &S, work: &Work<'_>) -> Result<StepEnd, Error> {
    let pulses = Pulses::default();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let watched = &pulses;
        scope.spawn(move || watch(work, watched, &stopped));
        let end = run_watched(stage, work, &pulses);
        drop(stop);
        end
    })
}

fn run_watched<S: Stage>(stage: &S, work: &Work<'_>, pulses: &Pulses) -> Result<StepEnd, Error> {
    let turns = Turns {
        work,
        state: Mutex::new(State::default()),
        moved: Condvar::new(),
        pulses,
        alone: run_suspects(stage, work, pulses)?,
    };
    run_lanes(stage, &turns)?;
    if work.cancel.is_cancelled() {
        return Ok(StepEnd::Cancelled);
    }
    let state = turns.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    publish(state, work)
}

fn run_lanes<S: Stage>(stage: &S, turns: &Turns<'_, S::Out>) -> Result<(), Error> {
    let work = turns.work;
    let wanted = stage.lanes(work.options.threads.max(1)).max(1);
    let lanes = wanted.min(work.keys.len().max(1));
    let (shard, step) = work.order;
    let place = Place {
        shard,
        step,
        lanes: wanted,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(lanes)
        .stack_size(8 << 20)
        .thread_name(|lane| format!("{}-{lane}", S::NAME))
        .build()
        .map_err(|error| Error::Option(format!("cannot start {lanes} threads: {error}")))?;
    pool.broadcast(|_| turns.lane(stage, lanes, place));
    Ok(())
}

/// Clips that were in flight in a crash, or stuck, go first and alone, so that a second crash names the culprit.
fn run_suspects<S: Stage>(
    stage: &S,
    work: &Work<'_>,
    pulses: &Pulses,
) -> Result<BTreeMap<usize, Made<S::Out>>, Error> {
    let mut alone = BTreeMap::new();
    let over = || work.cancel.is_cancelled();
    for (number, key) in work.keys.iter().enumerate() {
        let suspect = work.suspects.get(key).filter(|_| !work.forgotten.has(key));
        let Some(faults) = suspect else {
            continue;
        };
        work.progress.on(&Event::Suspect {
            stage: S::NAME,
            key: key.clone(),
            crashes: faults.crashes,
            stuck: faults.stuck,
        });
        if let Some(reason) = faults.verdict() {
            alone.insert(number, Made::dropped(reason));
        } else if let Some(_alone) = work.budget.alone(over) {
            let made = run_clip(stage, work, key, pulses).map_err(|source| Error::Stage {
                stage: S::NAME.to_owned(),
                key: key.clone(),
                source,
            });
            if over() {
                break; // ended early, so it is still a suspect
            }
            let made = made?;
            journal::clear(&work.options.out, work.dir, key)?;
            alone.insert(number, made);
        }
    }
    Ok(alone)
}

/// Runs the stage on one clip, with everything around it; a panic is a bug of ours and stops the run.
fn run_clip<S: Stage>(
    stage: &S,
    work: &Work<'_>,
    key: &str,
    pulses: &Pulses,
) -> Result<Made<S::Out>, Stopped> {
    if work.forgotten.has(key) {
        return Ok(Made::dropped(forgotten::REASON));
    }
    work.progress.on(&Event::ClipStarted {
        stage: S::NAME,
        key: key.to_owned(),
    });
    if work.guarded {
        work.journal.begin(work.dir, key)?;
    }
    let pack = Pack::new();
    let scratch = work.scratch.join(&blake3::hash(key.as_bytes()).to_hex()[..16]);
    let cx = Cx::new(key, &work.options.root, &pack, work.cancel)
        .with_scratch(scratch)
        .with_tars(work.tars.clone());
    locked(pulses).push(cx.pulse().clone());
    let run = || S::In::gather(key, work.tables).and_then(|input| stage.run(input, &cx));
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(bug(panic.as_ref())));
    locked(pulses).retain(|pulse| !Arc::ptr_eq(pulse, cx.pulse()));
    if work.guarded {
        work.journal.end(work.dir, key)?;
    }
    let (rows, dropped, wait) = match result {
        Ok(rows) => (rows, None, None),
        Err(Fault::Drop(reason)) => (Vec::new(), Some(reason), None),
        Err(Fault::Wait(wait)) => (Vec::new(), None, Some(wait)),
        Err(Fault::Stop(error)) => return Err(error),
    };
    if let Some(row) = rows.iter().find(|row| row.key() != key) {
        return Err(format!("bug: made a row of the clip `{}`", row.key()).into());
    }
    tell::<S>(work, &cx, dropped.clone(), wait.clone())?;
    drop(cx);
    Ok(Made {
        rows,
        dropped,
        wait,
        blobs: pack.into_entries(),
    })
}

fn tell<S: Stage>(
    work: &Work<'_>,
    cx: &Cx<'_>,
    dropped: Option<String>,
    wait: Option<Wait>,
) -> Result<(), Error> {
    let (key, counts) = (cx.key.to_owned(), cx.counts());
    let seconds = cx.pulse().began.elapsed().as_secs_f64();
    *locked(work.spent) += seconds;
    let stage = S::NAME;
    let event = match wait {
        Some(wait) => Event::ClipWaits { stage, key, wait },
        None => Event::ClipDone {
            stage,
            key,
            dropped,
            seconds,
            counts,
        },
    };
    work.log.write(&event)?;
    work.progress.on(&event);
    Ok(())
}

fn bug(panic: &(dyn std::any::Any + Send)) -> Fault {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Fault::stop(format!("bug: {text}"))
}

/// What the lanes of a step share.
struct Turns<'a, R> {
    work: &'a Work<'a>,
    state: Mutex<State<R>>,
    moved: Condvar,
    pulses: &'a Pulses,
    /// Results of clips that ran before, by number.
    alone: BTreeMap<usize, Made<R>>,
}

struct State<R> {
    /// The next clip to be taken.
    take: usize,
    /// The clip whose result comes next.
    turn: usize,
    waiting: BTreeMap<usize, Made<R>>,
    rows: Vec<R>,
    drops: BTreeMap<String, String>,
    tar: Option<PackWriter>,
    waits: Waits,
    fault: Option<Error>,
}

impl<R> Default for State<R> {
    fn default() -> Self {
        State {
            take: 0,
            turn: 0,
            waiting: BTreeMap::new(),
            rows: Vec::new(),
            drops: BTreeMap::new(),
            tar: None,
            waits: Waits::default(),
            fault: None,
        }
    }
}

impl<R: Record> Turns<'_, R> {
    /// One lane: take a clip, run it, put its result in line.
    fn lane<S: Stage<Out = R>>(&self, stage: &S, lanes: usize, place: Place) {
        let over = || self.work.cancel.is_cancelled() || locked(&self.state).fault.is_some();
        while let Some(number) = self.take(lanes) {
            let key = &self.work.keys[number];
            if self.alone.contains_key(&number) {
                self.advance(locked(&self.state));
                continue;
            }
            let Some(slot) = self.work.budget.slot(place, over) else {
                return;
            };
            let made = run_clip(stage, self.work, key, self.pulses);
            drop(slot); // what follows is short, and another clip may begin
            let mut state = locked(&self.state);
            match made {
                Ok(made) => {
                    state.waiting.insert(number, made);
                }
                Err(source) => {
                    let stage = self.work.stage.to_owned();
                    state.fault.get_or_insert(Error::Stage {
                        stage,
                        key: key.clone(),
                        source,
                    });
                }
            }
            self.advance(state);
        }
    }

    /// The next clip, once it is not too far ahead of the turn; `None` when the step is over.
    fn take(&self, lanes: usize) -> Option<usize> {
        let mut state = locked(&self.state);
        loop {
            let over = state.take >= self.work.keys.len() || state.fault.is_some();
            if over || self.work.cancel.is_cancelled() {
                return None;
            }
            if state.take < state.turn + AHEAD * lanes {
                state.take += 1;
                return Some(state.take - 1);
            }
            let waited = self.moved.wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Appends every result whose turn has come.
    fn advance(&self, mut guard: std::sync::MutexGuard<'_, State<R>>) {
        let state = &mut *guard;
        while state.fault.is_none() && state.turn < state.take {
            let made = match self.alone.get(&state.turn) {
                Some(made) => Made {
                    rows: made.rows.clone(),
                    dropped: made.dropped.clone(),
                    wait: made.wait.clone(),
                    blobs: made.blobs.clone(),
                },
                None => match state.waiting.remove(&state.turn) {
                    Some(made) => made,
                    None => break,
                },
            };
            let key = &self.work.keys[state.turn];
            if let Err(error) = append(state, key, made, self.work) {
                state.fault = Some(error);
            }
            state.turn += 1;
        }
        self.moved.notify_all();
    }
}

/// Puts a clip's blobs into the tar and its rows into the part.
fn append<R: Record>(state: &mut State<R>, key: &str, made: Made<R>, work: &Work<'_>) -> Result<(), Error> {
    if let Some(reason) = made.dropped {
        state.drops.insert(key.to_owned(), reason);
    }
    if let Some(wait) = made.wait {
        state.waits.add(work.stage, wait);
    }
    // There will be no part, so nothing of it is held; the temporary tar goes with its writer.
    if !state.waits.is_empty() {
        (state.rows, state.tar) = (Vec::new(), None);
        return Ok(());
    }
    let mut placed: BTreeMap<String, Blob> = BTreeMap::new();
    for (mut blob, bytes) in made.blobs {
        let name = blob.name.clone();
        if state.tar.is_none() {
            state.tar = Some(PackWriter::create(&work.part.with_extension("tar"))?);
        }
        if let Some(tar) = &mut state.tar {
            tar.append(&mut blob, &bytes)?;
        }
        placed.insert(name, blob);
    }
    for mut row in made.rows {
        for blob in row.blobs_mut() {
            match placed.get(&blob.name) {
                Some(known) => blob.clone_from(known),
                None if *blob == Blob::default() => {}
                None => {
                    let source = format!("bug: no artifact `{}` was put into the pack", blob.name).into();
                    return Err(Error::Stage {
                        stage: work.stage.to_owned(),
                        key: key.to_owned(),
                        source,
                    });
                }
            }
        }
        state.rows.push(row);
    }
    Ok(())
}

/// Writes tar and part, unless something is wrong with the step.
fn publish<R: Record>(state: State<R>, work: &Work<'_>) -> Result<StepEnd, Error> {
    if let Some(fault) = state.fault {
        return Err(fault);
    }
    check_drops(&state.drops, work)?;
    if let Some(end) = made_by_another(work) {
        return Ok(end);
    }
    if !state.waits.is_empty() {
        return Ok(StepEnd::Waits(state.waits.list()));
    }
    let end = StepEnd::Done {
        rows: state.rows.len() as u64,
        dropped: state.drops.len() as u64,
    };
    let tar = work.part.with_extension("tar");
    let seal = state.tar.map(PackWriter::finish).transpose()?;
    if seal.is_none() && tar.exists() {
        fs::remove_file(&tar).map_err(Error::io(&tar))?;
    }
    let receipt = Receipt {
        drops: state.drops,
        tar: seal,
        ..work.receipt.clone()
    };
    omni_manifests::write_part(&work.part, &state.rows, &receipt)?;
    Ok(end)
}

/// Another worker was faster: its part stays, so that nothing that was read from it changes.
fn made_by_another(work: &Work<'_>) -> Option<StepEnd> {
    let there = omni_manifests::verify_part(&work.part).ok()?;
    let ours = &work.receipt;
    let same =
        (&there.fingerprint, &there.shard, &there.inputs) == (&ours.fingerprint, &ours.shard, &ours.inputs);
    same.then_some(StepEnd::Done {
        rows: there.rows,
        dropped: there.drops.len() as u64,
    })
}

/// A dead service or a broken decoder must not look like bad data.
fn check_drops(drops: &BTreeMap<String, String>, work: &Work<'_>) -> Result<(), Error> {
    let forgotten = drops
        .values()
        .filter(|reason| *reason == forgotten::REASON)
        .count() as u64;
    let (dropped, clips) = (drops.len() as u64 - forgotten, work.keys.len() as u64);
    let limit = work.options.max_drop_rate;
    if dropped < work.options.min_drops || dropped as f64 <= limit * clips as f64 {
        return Ok(());
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    drops
        .values()
        .for_each(|reason| *counts.entry(reason).or_default() += 1);
    let (reason, count) = counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .unwrap_or_default();
    let (stage, shard, reason) = (work.stage.to_owned(), work.shard.to_owned(), reason.to_owned());
    Err(Error::DropRate {
        stage,
        shard,
        dropped,
        clips,
        limit,
        reason,
        count,
    })
}
