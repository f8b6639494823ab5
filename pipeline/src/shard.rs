//! One shard through every step of a plan.

use crate::{
    Cancel, Error, Event, Forgotten, Plan, Progress, RunOptions, Step, Tables, Verify, Waiting,
    budget::Budget,
    files,
    journal::{Journal, Suspects},
    lanes::{StepEnd, Work},
    listing::{self, ShardEntry},
    stage::locked,
    worker::Worker,
};
use omni_manifests::{ListingReader, Receipt};
use omni_schemas::{Listing, Record};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

/// `OUT/log/clips-<worker>.jsonl`: seconds and counters of every clip; appears with the first clip.
pub(crate) struct ClipLog {
    path: PathBuf,
    file: Mutex<Option<BufWriter<File>>>,
}

impl ClipLog {
    pub(crate) fn new(out: &Path) -> Self {
        let path = out.join("log").join(format!("clips-{}.jsonl", Worker::me()));
        ClipLog {
            path,
            file: Mutex::default(),
        }
    }

    pub(crate) fn write(&self, event: &Event) -> Result<(), Error> {
        let line = match event {
            Event::ClipDone {
                stage,
                key,
                dropped,
                seconds,
                counts,
            } => {
                json!({ "stage": stage, "clip": key, "dropped": dropped, "seconds": seconds, "counts": counts })
            }
            Event::ClipWaits { stage, key, wait } => {
                json!({ "stage": stage, "clip": key, "waits": wait.why, "on": wait.on })
            }
            _ => return Ok(()),
        };
        let mut file = locked(&self.file);
        if file.is_none() {
            let open = File::options().create(true).append(true).open(&self.path);
            *file = Some(BufWriter::new(open.map_err(Error::io(&self.path))?));
        }
        match file.as_mut() {
            Some(file) => writeln!(file, "{line}").map_err(Error::io(&self.path)),
            None => Ok(()),
        }
    }

    fn flush(&self) -> Result<(), Error> {
        match locked(&self.file).as_mut() {
            Some(file) => file.flush().map_err(Error::io(&self.path)),
            None => Ok(()),
        }
    }
}

/// What is on disk of a shard: one receipt for every step that is done.
pub(crate) type Receipts = Vec<Option<Receipt>>;

/// What all shards of a run share.
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a RunOptions,
    /// Raised by the user or by the first fault.
    pub(crate) cancel: &'a Cancel,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) journal: &'a Journal,
    pub(crate) suspects: &'a Suspects,
    pub(crate) log: &'a ClipLog,
    pub(crate) budget: &'a Budget,
    pub(crate) forgotten: &'a Forgotten,
    /// Opened when the first shard needs its rows.
    pub(crate) listing: Mutex<Option<ListingReader>>,
}

impl Shared<'_> {
    /// The listing's rows of a shard.
    fn listed(&self, shard: usize) -> Result<Vec<Listing>, Error> {
        let mut listing = locked(&self.listing);
        let reader = match listing.take() {
            Some(reader) => listing.insert(reader),
            None => {
                let dir = listing::dir(self.plan, self.options);
                listing.insert(ListingReader::open(
                    &self.options.out.join(dir).join(listing::ROWS),
                )?)
            }
        };
        Ok(reader.group(shard)?)
    }
}

/// One shard on its way.
pub(crate) struct Shard<'a> {
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) id: &'a str,
    pub(crate) number: usize,
    pub(crate) clips: u64,
    rows: Mutex<Rows>,
}

/// How a step of a shard stands after its turn.
pub(crate) struct Settled {
    /// The part's receipt, if there is a part.
    pub(crate) receipt: Option<Receipt>,
    /// Whether this run worked on it.
    pub(crate) made: bool,
    /// Seconds its clips took together.
    pub(crate) seconds: f64,
    /// Clips that wait.
    pub(crate) waiting: Vec<Waiting>,
}

/// Where the part of a step and shard lies.
pub(crate) fn part_path(out: &Path, step: &Step, shard: &str) -> PathBuf {
    out.join(&step.dir).join(format!("part-{shard}.parquet"))
}

/// The checks of the parts that a step reads; `None` when one is missing.
fn inputs(plan: &Plan, step: &Step, receipts: &Receipts) -> Option<BTreeMap<String, String>> {
    let of = |input: &usize| {
        Some((
            plan.steps()[*input].stage.to_owned(),
            receipts[*input].as_ref()?.check.clone(),
        ))
    };
    step.inputs.iter().map(of).collect()
}

/// Looks at a part: `Err` is why it does not count, empty when it is not there.
fn look(path: &Path, verify: Verify) -> Result<Result<Receipt, String>, Error> {
    if !path.exists() {
        return Ok(Err(String::new()));
    }
    let read = match verify {
        Verify::Full => omni_manifests::verify_part(path),
        Verify::Size => omni_manifests::read_receipt(path),
    };
    let receipt = match read {
        Ok(receipt) => receipt,
        Err(error @ omni_manifests::Error::Io { .. }) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let size = |seal: &omni_manifests::TarSeal| {
        fs::metadata(path.with_extension("tar")).is_ok_and(|data| data.len() == seal.bytes)
    };
    Ok(if receipt.tar.as_ref().is_none_or(size) {
        Ok(receipt)
    } else {
        Err("its tar is missing or cut".into())
    })
}

/// As `look`, and whether the part belongs to this step, shard, and the inputs that are there now.
fn check(
    plan: &Plan,
    number: usize,
    shard: &str,
    path: &Path,
    receipts: &Receipts,
    verify: Verify,
    forgotten: &Forgotten,
) -> Result<Result<Receipt, String>, Error> {
    let step = &plan.steps()[number];
    let receipt = match look(path, verify)? {
        Ok(receipt) => receipt,
        Err(why) => return Ok(Err(why)),
    };
    let why = if receipt.fingerprint != step.fingerprint || receipt.shard != shard {
        "it belongs to another step or shard"
    } else if receipt.record != step.record {
        "it holds another record"
    } else if inputs(plan, step, receipts).as_ref() != Some(&receipt.inputs) {
        "what it was made from has changed"
    } else if step.ancestors.is_empty() && !forgotten.kept_out(shard, &receipt.drops) {
        "it holds a clip that was forgotten"
    } else {
        return Ok(Ok(receipt));
    };
    Ok(Err(why.to_owned()))
}

/// What is done of a shard, without repairing anything.
pub(crate) fn glance(
    plan: &Plan,
    out: &Path,
    shard: &str,
    verify: Verify,
    forgotten: &Forgotten,
) -> Result<Receipts, Error> {
    let mut receipts: Receipts = Vec::new();
    for (number, step) in plan.steps().iter().enumerate() {
        let seen = check(
            plan,
            number,
            shard,
            &part_path(out, step, shard),
            &receipts,
            verify,
            forgotten,
        )?;
        receipts.push(seen.ok());
    }
    Ok(receipts)
}

impl<'a> Shard<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, number: usize, entry: &'a ShardEntry) -> Self {
        let rows = Rows {
            tables: Tables::default(),
            keys: None,
            left: (0..shared.plan.steps().len()).collect(),
        };
        Shard {
            shared,
            id: &entry.id,
            number,
            clips: entry.rows,
            rows: Mutex::new(rows),
        }
    }

    /// Finds the part of a step, or makes it when it is wanted; `receipts` holds at least those of its ancestors.
    pub(crate) fn settle(&self, number: usize, receipts: &Receipts) -> Result<Settled, Error> {
        let step = &self.shared.plan.steps()[number];
        let found = self.find(number, receipts)?;
        if found.is_some() {
            self.shared.progress.on(&Event::StepSkipped {
                stage: step.stage,
                shard: self.id.to_owned(),
                clips: self.clips,
            });
        }
        let wanted = found.is_none() && self.is_wanted(step) && !self.shared.cancel.is_cancelled();
        let settled = if wanted && self.is_ready(step, receipts) {
            self.step(number, receipts)?
        } else {
            Settled {
                receipt: found,
                made: false,
                seconds: 0.0,
                waiting: Vec::new(),
            }
        };
        locked(&self.rows).forget(self.shared.plan, number);
        Ok(settled)
    }

    fn is_wanted(&self, step: &Step) -> bool {
        let only = &self.shared.options.only;
        only.is_empty() || only.iter().any(|name| name == step.stage)
    }

    fn is_ready(&self, step: &Step, receipts: &Receipts) -> bool {
        let missing = step
            .ancestors
            .iter()
            .find(|ancestor| receipts[**ancestor].is_none());
        if let Some(missing) = missing {
            let (stage, on) = (step.stage, self.shared.plan.steps()[*missing].stage);
            self.shared.progress.on(&Event::StepWaits {
                stage,
                shard: self.id.to_owned(),
                on,
            });
        }
        missing.is_none()
    }

    /// The sound part of a step, if there is one; an unsound one goes when the step is about to run.
    fn find(&self, number: usize, receipts: &Receipts) -> Result<Option<Receipt>, Error> {
        let (plan, options) = (self.shared.plan, self.shared.options);
        let step = &plan.steps()[number];
        if inputs(plan, step, receipts).is_none() {
            return Ok(None); // nothing to compare it with yet; it may be sound
        }
        let path = part_path(&options.out, step, self.id);
        let forgotten = self.shared.forgotten;
        match check(plan, number, self.id, &path, receipts, options.verify, forgotten)? {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(why) if !why.is_empty() && self.is_wanted(step) => {
                files::remove(&path)?;
                self.shared.progress.on(&Event::Repair { path, why });
            }
            Err(_) => {}
        }
        Ok(None)
    }

    /// Makes one part and returns its receipt as it stands on disk; none when cancelled or when clips wait.
    fn step(&self, number: usize, receipts: &Receipts) -> Result<Settled, Error> {
        let (plan, progress) = (self.shared.plan, self.shared.progress);
        let step = &plan.steps()[number];
        let began = Instant::now();
        let (tables, keys) = locked(&self.rows).load(self, number, receipts)?;
        let clips = keys.len() as u64;
        let (stage, shard) = (step.stage, self.id.to_owned());
        progress.on(&Event::StepStarted {
            stage,
            shard: shard.clone(),
            clips,
            listed: self.clips,
        });
        let spent = Mutex::default();
        let end = self.process(number, receipts, (&tables, &keys), &spent);
        self.shared.log.flush()?;
        let mut settled = Settled {
            receipt: None,
            made: true,
            seconds: *locked(&spent),
            waiting: Vec::new(),
        };
        let (rows, dropped) = match end? {
            StepEnd::Done { rows, dropped } => (rows, dropped),
            StepEnd::Cancelled => return Ok(settled),
            StepEnd::Waits(waiting) => {
                progress.on(&Event::StepPending {
                    stage,
                    shard,
                    clips,
                    waiting: waiting.iter().map(|some| some.clips).sum(),
                });
                settled.waiting = waiting;
                return Ok(settled);
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        progress.on(&Event::StepDone {
            stage,
            shard,
            clips,
            dropped,
            rows,
            seconds,
        });
        let path = part_path(&self.shared.options.out, step, self.id);
        settled.receipt = Some(omni_manifests::read_receipt(&path)?);
        Ok(settled)
    }

    /// Where the artifacts of the records that a step reads lie.
    fn tars(&self, number: usize) -> BTreeMap<&'static str, PathBuf> {
        let (plan, out) = (self.shared.plan, &self.shared.options.out);
        let tar = |input: &usize| {
            let step = &plan.steps()[*input];
            (step.record, part_path(out, step, self.id).with_extension("tar"))
        };
        plan.steps()[number].inputs.iter().map(tar).collect()
    }

    fn process(
        &self,
        number: usize,
        receipts: &Receipts,
        (tables, keys): (&Tables, &[String]),
        spent: &Mutex<f64>,
    ) -> Result<StepEnd, Error> {
        let shared = self.shared;
        let (step, about) = (&shared.plan.steps()[number], &shared.plan.described[number]);
        let none = BTreeMap::new();
        let receipt = Receipt {
            stage: step.stage.to_owned(),
            stage_version: about.version,
            fingerprint: step.fingerprint.clone(),
            shard: self.id.to_owned(),
            inputs: inputs(shared.plan, step, receipts).unwrap_or_default(),
            settings: about.settings.clone(),
            ..Receipt::default()
        };
        let log = shared.options.out.join("log");
        // By shard too: a clip that is listed in two shards may be in flight twice.
        let scratch = log
            .join(format!("scratch-{}", Worker::me()))
            .join(&step.dir)
            .join(self.id);
        shared.plan.stages[number].process(&Work {
            stage: step.stage,
            dir: &step.dir,
            shard: self.id,
            keys,
            tables,
            part: part_path(&shared.options.out, step, self.id),
            receipt,
            options: shared.options,
            cancel: shared.cancel,
            progress: shared.progress,
            journal: shared.journal,
            guarded: about.guarded,
            suspects: shared.suspects.get(&step.dir).unwrap_or(&none),
            scratch,
            tars: self.tars(number),
            log: shared.log,
            budget: shared.budget,
            forgotten: shared.forgotten,
            order: (self.number, number),
            spent,
        })
    }
}

/// The rows of a shard that are in memory: each part is read once and forgotten after its last reader.
struct Rows {
    tables: Tables,
    /// The listing's keys, in order.
    keys: Option<Vec<String>>,
    /// Steps that are not settled yet.
    left: BTreeSet<usize>,
}

impl Rows {
    /// What a step reads, and the clips it is given.
    fn load(
        &mut self,
        shard: &Shard<'_>,
        number: usize,
        receipts: &Receipts,
    ) -> Result<(Tables, Vec<String>), Error> {
        let (shared, plan) = (shard.shared, shard.shared.plan);
        if self.keys.is_none() {
            let rows = shared.listed(shard.number)?;
            self.keys = Some(rows.iter().map(|row| row.clip.clone()).collect());
            self.tables.insert(rows);
        }
        let needs = &plan.described[number].needs;
        for need in needs {
            let maker = plan.steps().iter().find(|step| step.record == need.record);
            if let Some(maker) = maker
                && !self.tables.holds(need.record)
            {
                need.load(&part_path(&shared.options.out, maker, shard.id), &mut self.tables)?;
            }
        }
        Ok((
            self.tables.share(needs),
            self.keys(&plan.steps()[number], receipts),
        ))
    }

    /// The listing's keys less those that an ancestor dropped.
    fn keys(&self, step: &Step, receipts: &Receipts) -> Vec<String> {
        let drops: Vec<_> = step
            .ancestors
            .iter()
            .filter_map(|number| receipts[*number].as_ref())
            .collect();
        let kept = |key: &&String| !drops.iter().any(|receipt| receipt.drops.contains_key(*key));
        self.keys.iter().flatten().filter(kept).cloned().collect()
    }

    /// Frees what no other step will read.
    fn forget(&mut self, plan: &Plan, done: usize) {
        self.left.remove(&done);
        let left = &self.left;
        self.tables.retain(|record| {
            let reads = |number: &usize| {
                plan.described[*number]
                    .needs
                    .iter()
                    .any(|need| need.record == record)
            };
            record == Listing::NAME || left.iter().any(reads)
        });
    }
}
