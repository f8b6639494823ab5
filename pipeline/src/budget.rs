//! How many clips are in flight over all steps and shards of a run, and who comes next.

use crate::stage::locked;
use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// How long a waiter sleeps before it looks whether its step is over.
const PAUSE: Duration = Duration::from_millis(200);

/// The clip slots of a run. The older shard comes first, and in it the earlier step; another gets a slot only when
/// nobody before it can use it.
pub(crate) struct Budget {
    threads: usize,
    state: Mutex<State>,
    moved: Condvar,
}

/// Who asks for a slot. The order of the fields is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Number of the shard.
    pub(crate) shard: usize,
    /// Number of the step.
    pub(crate) step: usize,
    /// Clips of this step that may be in flight over all shards. A stage that wants more than there are threads waits
    /// for something else than a core, so its clips do not count against the threads.
    pub(crate) lanes: usize,
}

#[derive(Default)]
struct State {
    flying: usize,
    /// Those of `flying` that count against the threads.
    on_cores: usize,
    by_step: BTreeMap<usize, usize>,
    waiting: BTreeMap<Place, usize>,
    /// Who waits for an empty run, or has it.
    alone: usize,
}

/// The right to have one clip in flight; it ends with the value.
pub(crate) struct Slot<'a> {
    budget: &'a Budget,
    place: Place,
}

/// The right to be the only one; it ends with the value.
pub(crate) struct Alone<'a>(&'a Budget);

impl Budget {
    pub(crate) fn new(threads: usize) -> Self {
        Budget {
            threads: threads.max(1),
            state: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// Waits for a slot; `None` once `over` holds.
    pub(crate) fn slot(&self, place: Place, over: impl Fn() -> bool) -> Option<Slot<'_>> {
        let mut state = locked(&self.state);
        *state.waiting.entry(place).or_default() += 1;
        let granted = loop {
            if over() {
                break false;
            }
            if state.is_next(place, self.threads) {
                break true;
            }
            state = self.wait(state);
        };
        state.leave_line(place);
        if granted {
            state.flying += 1;
            state.on_cores += usize::from(place.lanes <= self.threads);
            *state.by_step.entry(place.step).or_default() += 1;
        }
        drop(state);
        self.moved.notify_all(); // whoever stood behind may be next now
        granted.then(|| Slot { budget: self, place })
    }

    /// Waits until nothing is in flight and keeps it so; `None` once `over` holds.
    pub(crate) fn alone(&self, over: impl Fn() -> bool) -> Option<Alone<'_>> {
        let mut state = locked(&self.state);
        state.alone += 1;
        while state.flying > 0 {
            if over() {
                state.alone -= 1;
                drop(state);
                self.moved.notify_all();
                return None;
            }
            state = self.wait(state);
        }
        state.flying += 1;
        Some(Alone(self))
    }

    fn wait<'a>(&self, state: std::sync::MutexGuard<'a, State>) -> std::sync::MutexGuard<'a, State> {
        let waited = self.moved.wait_timeout(state, PAUSE);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn has_room(&self, place: Place, threads: usize) -> bool {
        let same = self.by_step.get(&place.step).copied().unwrap_or_default();
        self.alone == 0 && same < place.lanes && (place.lanes > threads || self.on_cores < threads)
    }

    fn is_next(&self, place: Place, threads: usize) -> bool {
        let first = self.waiting.keys().find(|other| self.has_room(**other, threads));
        first == Some(&place)
    }

    fn leave_line(&mut self, place: Place) {
        if let Some(count) = self.waiting.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&place);
            }
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.budget.state);
        state.flying -= 1;
        state.on_cores -= usize::from(self.place.lanes <= self.budget.threads);
        if let Some(count) = state.by_step.get_mut(&self.place.step) {
            *count -= 1;
        }
        drop(state);
        self.budget.moved.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.flying -= 1;
        state.alone -= 1;
        drop(state);
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const OVER: fn() -> bool = || true;

    fn place(shard: usize, step: usize, lanes: usize) -> Place {
        Place { shard, step, lanes }
    }

    /// A slot if it is free now.
    fn now(budget: &Budget, place: Place) -> Option<Slot<'_>> {
        let asked = AtomicBool::new(false);
        budget.slot(place, || asked.swap(true, Ordering::Relaxed))
    }

    #[test]
    fn threads_and_lanes_are_limits_over_all_shards() {
        let budget = Budget::new(2);
        let first = now(&budget, place(0, 0, 1)).unwrap();
        assert!(
            now(&budget, place(1, 0, 1)).is_none(),
            "one lane is one lane in all shards"
        );
        let second = now(&budget, place(1, 1, 2)).unwrap();
        assert!(
            now(&budget, place(0, 2, 2)).is_none(),
            "two threads are two clips"
        );
        let service = now(&budget, place(0, 3, 9)).unwrap();
        drop(second);
        assert!(now(&budget, place(0, 2, 2)).is_some(), "a service takes no core");
        drop((first, service));
        assert_eq!(locked(&budget.state).flying, 0);
    }

    #[test]
    fn the_older_shard_comes_first() {
        let budget = Budget::new(1);
        let held = now(&budget, place(0, 0, 1)).unwrap();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (line, who) in [place(2, 0, 1), place(1, 1, 1), place(1, 0, 1)]
                .into_iter()
                .enumerate()
            {
                let (budget, order) = (&budget, &order);
                scope.spawn(move || {
                    let slot = budget.slot(who, || false).unwrap();
                    locked(order).push((who.shard, who.step));
                    drop(slot);
                });
                while locked(&budget.state).waiting.len() <= line {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(*locked(&order), [(1, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn alone_is_alone() {
        let budget = Budget::new(4);
        let slot = now(&budget, place(0, 0, 4)).unwrap();
        assert!(budget.alone(OVER).is_none(), "something is in flight");
        drop(slot);
        let alone = budget.alone(OVER).unwrap();
        assert!(now(&budget, place(0, 0, 4)).is_none());
        assert!(budget.alone(OVER).is_none());
        drop(alone);
        assert!(now(&budget, place(0, 0, 4)).is_some());
    }
}
