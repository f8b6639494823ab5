//! How a run is to be made; none of it is in a fingerprint.

use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// How closely parts that are there are looked at before they are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Every byte of the part and of its tar is hashed.
    #[default]
    Full,
    /// The footer is read and the tar's size compared.
    Size,
}

/// Options of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The output folder.
    pub out: PathBuf,
    /// The corpus root.
    pub root: PathBuf,
    /// This worker's number, from 0.
    pub rank: usize,
    /// How many workers there are.
    pub world: usize,
    /// Stages to run; empty: all.
    pub only: Vec<String>,
    /// Clips in flight, unless a stage asks for another number.
    pub threads: usize,
    /// Take only this many clips, those whose hash with the seed is smallest.
    pub limit: Option<usize>,
    /// Seed of `limit`.
    pub seed: u64,
    /// Clips in a shard, on average; a shard has at most four times as many.
    pub shard_clips: usize,
    /// Share of a shard's clips, 0..=1, that one stage may drop before the run stops; 1 never stops.
    pub max_drop_rate: f64,
    /// Drops below this number never stop a run, whatever their share.
    pub min_drops: u64,
    /// How closely existing parts are checked.
    pub verify: Verify,
    /// After how long a silence a clip is reported as slow.
    pub slow_after: Duration,
    /// After how long a silence a clip is taken for stuck: it is noted, told with `Event::ClipStuck`, and the listener
    /// should end the process, since nothing can end a thread that hangs in a decoder. `None`: never.
    pub stuck_after: Option<Duration>,
    /// The recipe, kept as it is in `run.json` for readers.
    pub recipe: Value,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            out: PathBuf::new(),
            root: PathBuf::new(),
            rank: 0,
            world: 1,
            only: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            limit: None,
            seed: 0,
            shard_clips: 256,
            max_drop_rate: 1.0,
            min_drops: 20,
            verify: Verify::Full,
            slow_after: Duration::from_secs(60),
            stuck_after: None,
            recipe: Value::Null,
        }
    }
}
