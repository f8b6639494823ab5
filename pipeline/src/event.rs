//! What a run tells its listener: typed facts, not sentences. Steps and shards run side by side, so events of
//! several come mixed; those of one step come in order.

use crate::Wait;
use std::{collections::BTreeMap, path::PathBuf};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The source is being read; sent now and then, and once at the end.
    Listing {
        /// Rows kept and dropped so far.
        rows: u64,
        /// Whether that is all of them.
        done: bool,
    },
    /// The shards are known; work begins.
    PlanReady {
        /// The stages, in order.
        stages: Vec<&'static str>,
        /// All shards of the listing.
        shards: usize,
        /// Shards of this worker.
        mine: usize,
        /// Clips of the listing.
        clips: u64,
        /// Clips of this worker's shards.
        my_clips: u64,
    },
    /// A step's part is there and sound.
    StepSkipped {
        /// The stage.
        stage: &'static str,
        /// The shard.
        shard: String,
        /// Clips the step covers.
        clips: u64,
    },
    /// Every step of a shard is there and sound; each was told with `StepSkipped` before.
    ShardSkipped {
        /// The shard.
        shard: String,
        /// Its clips.
        clips: u64,
    },
    /// A step cannot run yet: the stages in `only` leave out the one that makes its input, or clips of that one wait.
    StepWaits {
        /// The stage.
        stage: &'static str,
        /// The shard.
        shard: String,
        /// The stage whose part is missing.
        on: &'static str,
    },
    /// A step begins.
    StepStarted {
        /// The stage.
        stage: &'static str,
        /// The shard.
        shard: String,
        /// Clips it is given.
        clips: u64,
        /// Clips of the shard; those beyond `clips` were dropped by earlier stages.
        listed: u64,
    },
    /// A clip begins in a stage.
    ClipStarted {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
    },
    /// A stage is done with a clip.
    ClipDone {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
        /// Why the clip was dropped, if it was.
        dropped: Option<String>,
        /// Wall seconds it took.
        seconds: f64,
        /// What the stage counted with `Cx::count`.
        counts: BTreeMap<&'static str, u64>,
    },
    /// A clip waits for what cannot be had in this run; it stays pending.
    ClipWaits {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
        /// What it waits for.
        wait: Wait,
    },
    /// A clip has shown no sign of life for longer than `RunOptions::slow_after`. Sent once per silence.
    ClipSlow {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
        /// Seconds since it began or last called `Cx::alive`.
        seconds: f64,
    },
    /// A clip has shown no sign of life for longer than `RunOptions::stuck_after` and is noted in the journal. Only
    /// the end of the process ends it; the next run then runs it alone, or without it after the second time.
    ClipStuck {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
        /// Seconds since it began or last called `Cx::alive`.
        seconds: f64,
        /// How often it ended a run, this time included.
        times: u32,
        /// Why it could not be noted, if it could not.
        unnoted: Option<String>,
    },
    /// A step's part is written.
    StepDone {
        /// The stage.
        stage: &'static str,
        /// The shard.
        shard: String,
        /// Clips it was given.
        clips: u64,
        /// Clips it dropped.
        dropped: u64,
        /// Rows it made.
        rows: u64,
        /// Wall seconds.
        seconds: f64,
    },
    /// Clips of a step wait, so there is no part.
    StepPending {
        /// The stage.
        stage: &'static str,
        /// The shard.
        shard: String,
        /// Clips it was given.
        clips: u64,
        /// Those that wait.
        waiting: u64,
    },
    /// Something on disk was unsound; it was removed and will be made again.
    Repair {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        why: String,
    },
    /// A clip was being decoded when an earlier run crashed, or was stuck then; it will run alone, or not at all
    /// after the second time.
    Suspect {
        /// The stage.
        stage: &'static str,
        /// The clip.
        key: String,
        /// Crashes of earlier runs in which it was in flight.
        crashes: u32,
        /// Earlier runs that it was stuck in.
        stuck: u32,
    },
}

/// A listener. It is called from many threads and should return quickly.
pub trait Progress: Sync {
    /// Hears of an event.
    fn on(&self, event: &Event);
}

/// The listener that hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _event: &Event) {}
}
