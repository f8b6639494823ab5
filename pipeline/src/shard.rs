//! One shard through every step of a plan.

use crate::{
    Cancel, Description, Error, Event, Plan, Progress, RunOptions, Step, Tables, Verify, files,
    journal::{Journal, Suspects},
    lanes::{StepEnd, Work},
    stage::locked,
    worker::Worker,
};
use omni_manifests::{ListingReader, Receipt};
use omni_schemas::{Listing, Record};
use serde_json::json;
use std::{
    collections::BTreeMap,
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
        let Event::ClipDone {
            stage,
            key,
            dropped,
            seconds,
            counts,
        } = event
        else {
            return Ok(());
        };
        let line =
            json!({ "stage": stage, "clip": key, "dropped": dropped, "seconds": seconds, "counts": counts });
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

/// What a run of one shard needs.
pub(crate) struct Shard<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a RunOptions,
    pub(crate) cancel: &'a Cancel,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) journal: &'a Journal,
    pub(crate) suspects: &'a Suspects,
    pub(crate) log: &'a ClipLog,
    pub(crate) id: &'a str,
    pub(crate) number: usize,
    pub(crate) clips: u64,
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
    } else {
        return Ok(Ok(receipt));
    };
    Ok(Err(why.to_owned()))
}

/// What is done of a shard, without repairing anything.
pub(crate) fn glance(plan: &Plan, out: &Path, shard: &str, verify: Verify) -> Result<Receipts, Error> {
    let mut receipts: Receipts = Vec::new();
    for (number, step) in plan.steps().iter().enumerate() {
        let seen = check(
            plan,
            number,
            shard,
            &part_path(out, step, shard),
            &receipts,
            verify,
        )?;
        receipts.push(seen.ok());
    }
    Ok(receipts)
}

/// Parts made and found, and seconds, by stage.
#[derive(Default)]
pub(crate) struct Effort {
    pub(crate) computed: BTreeMap<&'static str, u64>,
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    pub(crate) seconds: BTreeMap<&'static str, f64>,
}

impl Shard<'_> {
    /// Runs every step that is wanted and not done; returns what is done at the end.
    pub(crate) fn run(&self, listing: &mut ListingReader, effort: &mut Effort) -> Result<Receipts, Error> {
        let mut receipts: Receipts = Vec::new();
        let mut rows = Rows {
            tables: Tables::default(),
            keys: None,
        };
        let mut made = 0;
        for (number, step) in self.plan.steps().iter().enumerate() {
            let found = self.find(number, &receipts)?;
            if found.is_some() {
                *effort.skipped.entry(step.stage).or_default() += 1;
                let (stage, shard) = (step.stage, self.id.to_owned());
                self.progress.on(&Event::StepSkipped {
                    stage,
                    shard,
                    clips: self.clips,
                });
            }
            let wanted = found.is_none() && self.is_wanted(step) && !self.cancel.is_cancelled();
            let receipt = if wanted && self.is_ready(step, &receipts) {
                made += 1;
                self.step(number, &receipts, &mut rows, listing, effort)?
            } else {
                found
            };
            receipts.push(receipt);
            rows.forget(self.plan, number);
        }
        if made == 0 && receipts.iter().all(Option::is_some) {
            self.progress.on(&Event::ShardSkipped {
                shard: self.id.to_owned(),
                clips: self.clips,
            });
        }
        Ok(receipts)
    }

    fn is_wanted(&self, step: &Step) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|name| name == step.stage)
    }

    fn is_ready(&self, step: &Step, receipts: &Receipts) -> bool {
        let missing = step
            .ancestors
            .iter()
            .find(|ancestor| receipts[**ancestor].is_none());
        if let Some(missing) = missing {
            let (stage, on) = (step.stage, self.plan.steps()[*missing].stage);
            self.progress.on(&Event::StepWaits {
                stage,
                shard: self.id.to_owned(),
                on,
            });
        }
        missing.is_none()
    }

    /// The sound part of a step, if there is one; an unsound one goes when the step is about to run.
    fn find(&self, number: usize, receipts: &Receipts) -> Result<Option<Receipt>, Error> {
        let step = &self.plan.steps()[number];
        if inputs(self.plan, step, receipts).is_none() {
            return Ok(None); // nothing to compare it with yet; it may be sound
        }
        let path = part_path(&self.options.out, step, self.id);
        match check(self.plan, number, self.id, &path, receipts, self.options.verify)? {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(why) if !why.is_empty() && self.is_wanted(step) => {
                files::remove(&path)?;
                self.progress.on(&Event::Repair { path, why });
            }
            Err(_) => {}
        }
        Ok(None)
    }

    /// Makes one part and returns its receipt as it stands on disk; `None` when cancelled.
    fn step(
        &self,
        number: usize,
        receipts: &Receipts,
        rows: &mut Rows,
        listing: &mut ListingReader,
        effort: &mut Effort,
    ) -> Result<Option<Receipt>, Error> {
        let (step, about) = (&self.plan.steps()[number], &self.plan.described[number]);
        let began = Instant::now();
        rows.load(self, about, listing)?;
        let keys = rows.keys(step, receipts);
        let clips = keys.len() as u64;
        let (stage, shard) = (step.stage, self.id.to_owned());
        self.progress.on(&Event::StepStarted {
            stage,
            shard: shard.clone(),
            clips,
        });
        let end = self.process(number, receipts, rows, &keys);
        self.log.flush()?;
        let seconds = began.elapsed().as_secs_f64();
        *effort.seconds.entry(stage).or_default() += seconds;
        let StepEnd::Done { rows, dropped } = end? else {
            return Ok(None);
        };
        *effort.computed.entry(stage).or_default() += 1;
        self.progress.on(&Event::StepDone {
            stage,
            shard,
            clips,
            dropped,
            rows,
            seconds,
        });
        let path = part_path(&self.options.out, step, self.id);
        Ok(Some(omni_manifests::read_receipt(&path)?))
    }

    fn process(
        &self,
        number: usize,
        receipts: &Receipts,
        rows: &Rows,
        keys: &[String],
    ) -> Result<StepEnd, Error> {
        let (step, about) = (&self.plan.steps()[number], &self.plan.described[number]);
        let none = BTreeMap::new();
        let receipt = Receipt {
            stage: step.stage.to_owned(),
            stage_version: about.version,
            fingerprint: step.fingerprint.clone(),
            shard: self.id.to_owned(),
            inputs: inputs(self.plan, step, receipts).unwrap_or_default(),
            settings: about.settings.clone(),
            ..Receipt::default()
        };
        let scratch = self
            .options
            .out
            .join("log")
            .join(format!("scratch-{}", Worker::me()))
            .join(&step.dir);
        self.plan.stages[number].process(&Work {
            stage: step.stage,
            dir: &step.dir,
            shard: self.id,
            keys,
            tables: &rows.tables,
            part: part_path(&self.options.out, step, self.id),
            receipt,
            options: self.options,
            cancel: self.cancel,
            progress: self.progress,
            journal: about.guarded.then_some(self.journal),
            suspects: self.suspects.get(&step.dir).unwrap_or(&none),
            scratch,
            log: self.log,
        })
    }
}

/// The rows of a shard that are in memory: each part is read once and forgotten after its last reader.
struct Rows {
    tables: Tables,
    /// The listing's keys, in order.
    keys: Option<Vec<String>>,
}

impl Rows {
    fn load(
        &mut self,
        shard: &Shard<'_>,
        about: &Description,
        listing: &mut ListingReader,
    ) -> Result<(), Error> {
        if self.keys.is_none() {
            let rows: Vec<Listing> = listing.group(shard.number)?;
            self.keys = Some(rows.iter().map(|row| row.clip.clone()).collect());
            self.tables.insert(rows);
        }
        for need in &about.needs {
            let maker = shard.plan.steps().iter().find(|step| step.record == need.record);
            if let Some(maker) = maker
                && !self.tables.holds(need.record)
            {
                need.load(&part_path(&shard.options.out, maker, shard.id), &mut self.tables)?;
            }
        }
        Ok(())
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

    /// Frees what no later step reads.
    fn forget(&mut self, plan: &Plan, done: usize) {
        let later = &plan.described[done + 1..];
        self.tables.retain(|record| {
            record == Listing::NAME
                || later
                    .iter()
                    .any(|stage| stage.needs.iter().any(|need| need.record == record))
        });
    }
}
