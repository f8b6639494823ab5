//! Which step of which shard runs next, so that no core waits for the last clip of a step.
//!
//! A few workers take steps: always the first that is ready in the oldest open shard, and a new shard is opened only
//! when no open one has a step that is ready. So at most as many shards are open, and in memory, as there are workers.
//! How many clips are in flight is not decided here but in [`Budget`](crate::budget::Budget). One worker takes all
//! steps of a shard in order, then those of the next.

use crate::{
    Error, Event,
    listing::Index,
    shard::{Receipts, Settled, Shard, Shared},
    stage::locked,
    tally::Tally,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// Steps side by side, whatever the number of threads: each holds the rows of its shard in memory.
const MOST_STEPS: usize = 4;

/// The shards of a run, waiting and open.
pub(crate) struct Schedule<'a> {
    shared: &'a Shared<'a>,
    index: &'a Index,
    state: Mutex<State<'a>>,
    moved: Condvar,
}

struct State<'a> {
    waiting: VecDeque<usize>,
    /// Oldest first.
    open: Vec<Open<'a>>,
    tally: Tally,
    fault: Option<Error>,
}

struct Open<'a> {
    shard: Arc<Shard<'a>>,
    turns: Vec<Turn>,
    receipts: Receipts,
    made: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waiting,
    Taken,
    Settled,
}

/// One step of one shard, and what is known of the shard's other steps.
type Job<'a> = (Arc<Shard<'a>>, usize, Receipts);

impl<'a> Schedule<'a> {
    pub(crate) fn new(
        shared: &'a Shared<'a>,
        index: &'a Index,
        shards: VecDeque<usize>,
        tally: Tally,
    ) -> Self {
        let state = State {
            waiting: shards,
            open: Vec::new(),
            tally,
            fault: None,
        };
        Schedule {
            shared,
            index,
            state: Mutex::new(state),
            moved: Condvar::new(),
        }
    }

    /// Takes every shard through every step; what was counted, and why it ended early if it did. The first fault
    /// raises the flag of `shared`, so that clips in flight elsewhere end and no step begins.
    pub(crate) fn run(self) -> (Tally, Result<(), Error>) {
        let workers = self.shared.options.threads.clamp(1, MOST_STEPS);
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let thread = std::thread::Builder::new()
                    .name(format!("steps-{worker}"))
                    .stack_size(8 << 20);
                if let Err(error) = thread.spawn_scoped(scope, || self.work()) {
                    self.fail(Error::Option(format!("cannot start a thread: {error}")));
                }
            }
        });
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.tally, state.fault.map_or(Ok(()), Err))
    }

    fn work(&self) {
        let _alarm = Alarm(self);
        while let Some((shard, number, receipts)) = self.next() {
            match shard.settle(number, &receipts) {
                Ok(settled) => self.done(&shard, number, settled),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Waits for a step that is ready; `None` when nothing is left or the run ends.
    fn next(&self) -> Option<Job<'a>> {
        let mut state = locked(&self.state);
        loop {
            if self.shared.cancel.is_cancelled() {
                return None;
            }
            if let Some(job) = state.open.iter_mut().find_map(Open::take) {
                return Some(job);
            }
            if let Some(number) = state.waiting.pop_front() {
                state.open.push(Open::new(self.shared, self.index, number));
                self.close(&mut state); // a plan without steps
            } else if state.open.is_empty() {
                return None;
            } else {
                state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn done(&self, shard: &Shard<'a>, number: usize, settled: Settled) {
        let stage = self.shared.plan.steps()[number].stage;
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        let effort = match settled.made {
            true => &mut state.tally.computed,
            false => &mut state.tally.skipped,
        };
        *effort.entry(stage).or_default() += u64::from(settled.receipt.is_some());
        if settled.seconds > 0.0 {
            *state.tally.seconds.entry(stage).or_default() += settled.seconds;
        }
        for open in state
            .open
            .iter_mut()
            .filter(|open| open.shard.number == shard.number)
        {
            open.made += u64::from(settled.made);
            open.turns[number] = Turn::Settled;
            open.receipts[number].clone_from(&settled.receipt);
        }
        state.tally.waits.extend(settled.waiting);
        self.close(state);
        drop(guard);
        self.moved.notify_all();
    }

    /// Counts the shards whose steps are all settled.
    fn close(&self, state: &mut State<'a>) {
        let over = |open: &Open<'_>| open.turns.iter().all(|turn| *turn == Turn::Settled);
        for open in state.open.extract_if(.., |open| over(open)) {
            let clips = open.shard.clips;
            if open.made == 0 && open.receipts.iter().all(Option::is_some) {
                let shard = open.shard.id.to_owned();
                self.shared.progress.on(&Event::ShardSkipped { shard, clips });
            }
            state.tally.add(clips, &open.receipts, true);
            state.tally.seen.insert(open.shard.number);
        }
    }

    fn fail(&self, error: Error) {
        let mut state = locked(&self.state);
        state.fault.get_or_insert(error);
        self.shared.cancel.cancel();
        drop(state);
        self.moved.notify_all();
    }
}

/// A worker that panics (a bug of ours) must not leave the others waiting for its step.
struct Alarm<'s, 'a>(&'s Schedule<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = locked(&self.0.state);
            self.0.shared.cancel.cancel();
            drop(state);
            self.0.moved.notify_all();
        }
    }
}

impl<'a> Open<'a> {
    fn new(shared: &'a Shared<'a>, index: &'a Index, number: usize) -> Self {
        let steps = shared.plan.steps().len();
        Open {
            shard: Arc::new(Shard::new(shared, number, &index.shards[number])),
            turns: vec![Turn::Waiting; steps],
            receipts: vec![None; steps],
            made: 0,
        }
    }

    /// The first step whose ancestors are all settled.
    fn take(&mut self) -> Option<Job<'a>> {
        let settled = |number: &usize| self.turns[*number] == Turn::Settled;
        let ready = |number: &usize| {
            let step = &self.shard.shared.plan.steps()[*number];
            self.turns[*number] == Turn::Waiting && step.ancestors.iter().all(settled)
        };
        let number = (0..self.turns.len()).find(ready)?;
        self.turns[number] = Turn::Taken;
        Some((self.shard.clone(), number, self.receipts.clone()))
    }
}
