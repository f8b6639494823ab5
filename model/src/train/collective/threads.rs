//! Ranks that are threads of one process, for the CPU and for tests.

use super::{Collective, slice_of};
use crate::{Error, Result};
use candle_core::Tensor;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Where threads meet.
struct Room {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

struct State {
    given: Vec<Option<Tensor>>,
    arrived: usize,
    left: usize,
    /// The rank that ended, once one has.
    gone: Option<usize>,
}

/// A rank that is a thread of this process.
pub struct Threads {
    rank: usize,
    world: usize,
    room: Arc<Room>,
}

impl Threads {
    /// `world` ranks that know each other. A rank that waits longer than `patience` for the others stops; one that is dropped
    /// in the middle of a run makes the others stop at once.
    pub fn ranks(world: usize, patience: Duration) -> Vec<Self> {
        let room = Arc::new(Room {
            state: Mutex::new(State {
                given: vec![None; world],
                arrived: 0,
                left: 0,
                gone: None,
            }),
            changed: Condvar::new(),
            patience,
        });
        let rank = |rank| Self {
            rank,
            world,
            room: room.clone(),
        };
        (0..world).map(rank).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.room.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self, why: String) -> Error {
        Error::Rank { rank: self.rank, why }
    }

    /// Waits until `done` holds; fails when a rank is gone or does not come.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        done: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        let pending = |state: &mut State| !done(state) && state.gone.is_none();
        let waited = self
            .room
            .changed
            .wait_timeout_while(state, self.room.patience, pending);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if done(&state) {
            return Ok(state);
        }
        if let Some(rank) = state.gone {
            return Err(self.stops(format!("rank {rank} has ended")));
        }
        debug_assert!(timeout.timed_out());
        let missing: Vec<String> = state
            .given
            .iter()
            .enumerate()
            .filter(|(_, given)| given.is_none())
            .map(|(rank, _)| rank.to_string())
            .collect();
        let seconds = self.room.patience.as_secs_f64();
        Err(self.stops(format!(
            "rank {} did not answer within {seconds} s",
            missing.join(", ")
        )))
    }

    /// What every rank gave, in the order of the ranks.
    fn exchange(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        // those of the round before must have left
        let mut state = self.wait(self.lock(), |state| state.left == 0)?;
        if let Some(rank) = state.gone {
            return Err(self.stops(format!("rank {rank} has ended")));
        }
        state.given[self.rank] = Some(tensor.detach());
        state.arrived += 1;
        self.room.changed.notify_all();
        let world = self.world;
        let mut state = self.wait(state, |state| state.arrived == world)?;
        let all: Vec<Tensor> = state.given.iter().flatten().cloned().collect();
        state.left += 1;
        if state.left == world {
            state.given.fill(None);
            (state.arrived, state.left) = (0, 0);
            self.room.changed.notify_all();
        }
        drop(state);
        if all.len() == world {
            Ok(all)
        } else {
            Err(self.stops("a rank left in the middle of an exchange".to_owned()))
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.lock();
        // who is still owed an answer by this rank must not wait for it
        state.gone.get_or_insert(self.rank);
        self.room.changed.notify_all();
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn reduce_scatter(&self, bucket: &Tensor) -> Result<Tensor> {
        let size = slice_of(bucket, self.world)?;
        let mut sum: Option<Tensor> = None;
        for part in self.exchange(bucket)? {
            let part = part.narrow(0, self.rank * size, size)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| self.stops("nobody gave anything".to_owned()))
    }

    fn all_gather(&self, slice: &Tensor) -> Result<Tensor> {
        Ok(Tensor::cat(&self.exchange(slice)?, 0)?)
    }

    fn broadcast(&self, tensor: &Tensor, from: usize) -> Result<Tensor> {
        let all = self.exchange(tensor)?;
        let found = all.into_iter().nth(from);
        found.ok_or_else(|| Error::Input(format!("there is no rank {from}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn on_each<R: Send>(world: usize, patience: f64, work: impl Fn(Threads) -> R + Sync) -> Vec<R> {
        let ranks = Threads::ranks(world, Duration::from_secs_f64(patience));
        std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = ranks
                .into_iter()
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_slices_and_copies_are_those_of_all_ranks() {
        for world in [1, 2, 4] {
            let out = on_each(world, 20.0, |rank| {
                let own = Tensor::arange(0f32, 8.0, &Device::Cpu).unwrap();
                let own = (own * (rank.rank() + 1) as f64).unwrap();
                let mut sums = Vec::new();
                for _ in 0..50 {
                    sums.push(rank.all_reduce(&own).unwrap().to_vec1::<f32>().unwrap());
                }
                let last = rank.broadcast(&own, world - 1).unwrap();
                (sums, last.to_vec1::<f32>().unwrap())
            });
            let weight = (1..=world).sum::<usize>() as f32;
            let wanted: Vec<f32> = (0..8).map(|value| value as f32 * weight).collect();
            for (sums, last) in out {
                assert!(sums.iter().all(|sum| *sum == wanted));
                assert_eq!(last[7], 7.0 * world as f32);
            }
        }
    }

    #[test]
    fn a_rank_that_ends_or_sleeps_stops_the_others_in_time() {
        let start = std::time::Instant::now();
        let ended = on_each(3, 60.0, |rank| {
            if rank.rank() == 1 {
                return "ended".to_owned();
            }
            let own = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
            rank.all_reduce(&own).unwrap_err().to_string()
        });
        assert!(
            start.elapsed().as_secs() < 20,
            "they waited for their patience to end"
        );
        for (rank, why) in [(0, &ended[0]), (2, &ended[2])] {
            assert!(
                why.contains(&format!("rank {rank} stops: rank")) && why.contains("has ended"),
                "{why}"
            );
        }
        let slept = on_each(2, 0.2, |rank| {
            let own = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap();
            if rank.rank() == 1 {
                std::thread::sleep(Duration::from_secs(2));
            }
            rank.all_reduce(&own)
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        assert!(
            slept[0]
                .as_ref()
                .unwrap_err()
                .contains("rank 1 did not answer within 0.2 s"),
            "{slept:?}"
        );
    }
}
