//! Which samples a step trains on: a function of the seed, the step and the data, whatever the number of workers.

use super::{draw::mix, samples::Entry};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::HashMap};

/// What a step trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Both streams, fused.
    Joint,
    /// The audio stream alone (the paper's TTS-only steps).
    Speech,
}

impl Kind {
    /// As recipes and logs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Speech => "speech",
        }
    }
}

/// The samples of a kind, in an order that is shuffled anew each time they are through.
struct Pool {
    samples: Vec<usize>,
    batch: usize,
    seed: u64,
    shuffled: RefCell<Option<(u64, Vec<usize>)>>,
}

impl Pool {
    fn at(&self, position: u64) -> usize {
        let count = self.samples.len() as u64;
        let (round, place) = (position / count, (position % count) as usize);
        let mut held = self.shuffled.borrow_mut();
        match &*held {
            Some((known, order)) if *known == round => order[place],
            _ => {
                let order = self.shuffle(round);
                let found = order[place];
                *held = Some((round, order));
                found
            }
        }
    }

    /// Fisher and Yates, from the seed and the round.
    fn shuffle(&self, round: u64) -> Vec<usize> {
        let mut order = self.samples.clone();
        let mut state = mix(self.seed ^ mix(round));
        for last in (1..order.len()).rev() {
            state = mix(state);
            order.swap(last, (state % (last as u64 + 1)) as usize);
        }
        order
    }
}

/// The order of a run.
pub struct Order {
    pattern: Vec<Kind>,
    pools: HashMap<Kind, Pool>,
}

impl Order {
    /// `pattern` repeats, `batch` samples of its kind a step. A kind of the pattern without samples must have been refused.
    pub fn new(
        seed: u64,
        pattern: &[Kind],
        batch: impl Fn(Kind) -> usize,
        of: impl Fn(Kind) -> Vec<usize>,
    ) -> Self {
        let pool = |kind: Kind| Pool {
            samples: of(kind),
            batch: batch(kind),
            seed: mix(seed ^ mix(kind as u64)),
            shuffled: RefCell::new(None),
        };
        Self {
            pattern: pattern.to_vec(),
            pools: pattern.iter().map(|kind| (*kind, pool(*kind))).collect(),
        }
    }

    /// What step `step` (from 0) trains.
    pub fn kind(&self, step: u64) -> Kind {
        self.pattern[(step % self.pattern.len() as u64) as usize]
    }

    /// The samples of step `step`, by number.
    pub fn batch(&self, step: u64) -> Vec<usize> {
        let (kind, length) = (self.kind(step), self.pattern.len() as u64);
        let of_kind = |part: &[Kind]| part.iter().filter(|other| **other == kind).count() as u64;
        let before =
            step / length * of_kind(&self.pattern) + of_kind(&self.pattern[..(step % length) as usize]);
        let Some(pool) = self.pools.get(&kind) else {
            return Vec::new();
        };
        if pool.samples.is_empty() {
            return Vec::new();
        }
        let first = before * pool.batch as u64;
        (first..first + pool.batch as u64)
            .map(|position| pool.at(position))
            .collect()
    }
}

/// Which entries a kind may train on.
pub(super) fn members(entries: &[Entry], keep: impl Fn(&Entry) -> bool) -> Vec<usize> {
    let kept = entries.iter().enumerate().filter(|(_, entry)| keep(entry));
    kept.map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Order {
        Order::new(
            seed,
            &[Kind::Joint, Kind::Speech],
            |kind| if kind == Kind::Joint { 3 } else { 2 },
            |kind| {
                if kind == Kind::Joint {
                    (0..7).collect()
                } else {
                    (7..11).collect()
                }
            },
        )
    }

    #[test]
    fn every_sample_comes_once_a_round_and_steps_alternate() {
        let order = order(5);
        let mut joint: Vec<usize> = (0..14)
            .filter(|step| step % 2 == 0)
            .flat_map(|step| order.batch(step))
            .collect();
        assert_eq!(joint.len(), 21);
        for round in joint.chunks_mut(7) {
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert!(
            (0..14)
                .filter(|step| step % 2 == 1)
                .flat_map(|step| order.batch(step))
                .all(|sample| sample >= 7)
        );
    }

    #[test]
    fn a_step_asked_for_alone_is_the_step_of_the_run() {
        let (run, alone) = (order(5), order(5));
        let all: Vec<Vec<usize>> = (0..40).map(|step| run.batch(step)).collect();
        for step in [39, 0, 17, 16] {
            assert_eq!(alone.batch(step), all[step as usize]);
        }
        assert_ne!((0..40).map(|step| order(6).batch(step)).collect::<Vec<_>>(), all);
    }
}
