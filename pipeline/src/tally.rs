//! Counting clips, parts and seconds while shards come and go.

use crate::{Summary, listing::Index, shard::Receipts, wait::Waits};
use std::collections::{BTreeMap, BTreeSet};

/// What a run has counted so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) summary: Summary,
    /// Parts made and found, and seconds, by stage.
    pub(crate) computed: BTreeMap<&'static str, u64>,
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    pub(crate) seconds: BTreeMap<&'static str, f64>,
    /// Clips that wait.
    pub(crate) waits: Waits,
    /// Shards whose clips are counted.
    pub(crate) seen: BTreeSet<usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, clips: u64, receipts: &Receipts, mine: bool) {
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

    pub(crate) fn close(self, index: &Index) -> Summary {
        let mut summary = self.summary;
        summary.listed = index.rows + index.dropped.values().sum::<u64>();
        summary.beyond_limit = index.beyond_limit;
        summary.waiting = self.waits.list();
        for (reason, count) in &index.dropped {
            *summary.dropped.entry(reason.clone()).or_default() += count;
        }
        for (stage, seconds) in self.seconds {
            summary.seconds.insert(stage.to_owned(), seconds);
        }
        for (stage, count) in self.computed {
            summary.shards.entry(stage.to_owned()).or_default().computed = count;
        }
        for (stage, count) in self.skipped {
            summary.shards.entry(stage.to_owned()).or_default().skipped = count;
        }
        summary
    }
}
