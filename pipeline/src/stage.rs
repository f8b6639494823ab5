//! The one trait that the work is written in, and what a stage is handed.

use crate::{Cancel, Inputs, Wait};
use omni_schemas::{Blob, Record};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Turns the records of one clip into rows of one other record.
///
/// `run` is a function of its input and the settings: no clock, no global, no unseeded random number. Equal runs
/// then give equal bytes.
pub trait Stage: Send + Sync + 'static {
    /// What is read, for example `(One<Clip>, Many<Track>)`.
    type In: Inputs;
    /// What is made.
    type Out: Record;
    /// The stage's name in recipes, folders and reports.
    const NAME: &'static str;
    /// Raised when the same input should now give other rows.
    const VERSION: u32;

    /// All that changes the result, including hashes of networks; nothing else (no threads, no paths).
    fn settings(&self) -> Value;

    /// How many clips may be in flight: fewer than `cores` for a network on one device, more for a service.
    fn lanes(&self, cores: usize) -> usize {
        cores
    }

    /// Whether a clip may take the process down (decoders in C). Such clips are journalled, and one that was in
    /// flight in two crashes is dropped `crashes_decoder`.
    fn guarded(&self) -> bool {
        false
    }

    /// The rows of one clip, in a fixed order; each row's key is the clip.
    ///
    /// # Errors
    /// [`Fault::Drop`] when the clip is unusable, [`Fault::Wait`] when what it needs cannot be had in this run,
    /// [`Fault::Stop`] when the run cannot go on.
    fn run(&self, input: Self::In, cx: &Cx<'_>) -> Result<Vec<Self::Out>, Fault>;
}

/// Why a stage has no rows for a clip.
#[derive(Debug)]
pub enum Fault {
    /// This clip is unusable, for a reason of one short fixed word (`no_face`); the run goes on.
    Drop(String),
    /// Nothing is wrong with this clip, but what it needs cannot be had in this run: it stays pending. The run goes on;
    /// the step leaves no part.
    Wait(Wait),
    /// The run cannot go on; the step leaves no part.
    Stop(Box<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    /// Drops the clip.
    pub fn drop(reason: impl Into<String>) -> Self {
        Fault::Drop(reason.into())
    }

    /// Stops the run with an error or a message.
    pub fn stop(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Fault::Stop(error.into())
    }
}

/// What a stage has at hand while it works on a clip.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The clip.
    pub key: &'a str,
    /// Takes the artifacts of this clip.
    pub pack: &'a Pack,
    /// The corpus root, below which `Clip::path` lies.
    pub root: &'a Path,
    /// Raised when the run should end soon.
    pub cancel: Cancel,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    pulse: Arc<Pulse>,
    scratch: Option<PathBuf>,
    tars: BTreeMap<&'static str, PathBuf>,
}

impl<'a> Cx<'a> {
    /// For tests and callers outside a run: no scratch folder.
    pub fn new(key: &'a str, root: &'a Path, pack: &'a Pack, cancel: &Cancel) -> Self {
        let pulse = Arc::new(Pulse::new(key));
        Cx {
            key,
            pack,
            root,
            cancel: cancel.heard_by(pulse.clone()),
            counts: Mutex::default(),
            pulse,
            scratch: None,
            tars: BTreeMap::new(),
        }
    }

    /// The same with the tars of the records that the stage reads.
    #[must_use]
    pub fn with_tars(mut self, tars: BTreeMap<&'static str, PathBuf>) -> Self {
        self.tars = tars;
        self
    }

    /// The bytes that a row of a record the stage reads points at.
    ///
    /// # Errors
    /// [`Fault::Stop`] when the record has no tar, or the bytes are not those of the row.
    pub fn bytes(&self, record: &str, blob: &Blob) -> Result<Vec<u8>, Fault> {
        let tar = self.tars.get(record);
        let tar = tar.ok_or_else(|| Fault::stop(format!("the record `{record}` has no tar here")))?;
        omni_manifests::read_blob(tar, blob).map_err(Fault::stop)
    }

    pub(crate) fn with_scratch(mut self, folder: PathBuf) -> Self {
        self.scratch = Some(folder);
        self
    }

    /// Says that work goes on. A clip that is silent for long is reported, and after `RunOptions::stuck_after` taken
    /// for stuck. Asking `cancel` says the same.
    pub fn alive(&self) {
        self.pulse.alive();
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Adds to a counter of this clip, for the log (network calls, frames decoded).
    pub fn count(&self, what: &'static str, by: u64) {
        *locked(&self.counts).entry(what).or_default() += by;
    }

    /// What was counted so far.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.counts).clone()
    }

    /// A folder for temporary files of this clip, made on first use and removed when the clip is done.
    ///
    /// # Errors
    /// When it cannot be made, and outside a run.
    pub fn scratch(&self) -> std::io::Result<&Path> {
        let folder = self
            .scratch
            .as_deref()
            .ok_or_else(|| std::io::Error::other("no scratch folder outside a run"))?;
        std::fs::create_dir_all(folder)?;
        Ok(folder)
    }
}

impl Drop for Cx<'_> {
    fn drop(&mut self) {
        if let Some(folder) = &self.scratch {
            let _ = std::fs::remove_dir_all(folder); // mostly never made
        }
    }
}

/// The signs of life of a clip in flight.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) key: String,
    pub(crate) began: Instant,
    heard: AtomicU64,
    /// Whether the present silence was reported.
    pub(crate) told: AtomicBool,
    /// Whether the clip was given up.
    pub(crate) stuck: AtomicBool,
}

impl Pulse {
    fn new(key: &str) -> Self {
        Pulse {
            key: key.to_owned(),
            began: Instant::now(),
            heard: AtomicU64::new(0),
            told: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        }
    }

    /// A sign of life.
    pub(crate) fn alive(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(millis, Ordering::Relaxed);
        self.told.store(false, Ordering::Relaxed);
    }

    /// Does not count this time as silence.
    pub(crate) fn excuse(&self, time: Duration) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let away = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let heard = self.heard.load(Ordering::Relaxed).saturating_add(away);
        self.heard.store(heard.min(now), Ordering::Relaxed);
    }

    /// Seconds since the clip began or last said [`Cx::alive`].
    pub(crate) fn silence(&self) -> f64 {
        self.began.elapsed().as_secs_f64() - self.heard.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

/// The artifacts of one clip, held until the clip's turn in the part's tar comes.
#[derive(Debug, Default)]
pub struct Pack(Mutex<Vec<(Blob, Vec<u8>)>>);

impl Pack {
    /// An empty pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes under a name that is unique in the part (`<clip>/sub1.png`). The blob goes into a row of this clip;
    /// the runner fills in its offset. Bytes that no row points at are kept too, also for a dropped clip.
    pub fn put(&self, name: &str, media_type: &str, bytes: Vec<u8>) -> Blob {
        let blob = Blob {
            name: name.to_owned(),
            offset: 0,
            length: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            media_type: media_type.to_owned(),
        };
        locked(&self.0).push((blob.clone(), bytes));
        blob
    }

    /// The bytes added under a name.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        locked(&self.0)
            .iter()
            .find(|(blob, _)| blob.name == name)
            .map(|(_, bytes)| bytes.clone())
    }

    /// Everything added, in order.
    pub(crate) fn into_entries(self) -> Vec<(Blob, Vec<u8>)> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks; a panic elsewhere while holding it leaves data that is still sound for our uses.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
