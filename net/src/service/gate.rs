//! The gate before one endpoint, shared by all threads of a process: closed for good, open circuit, rates, calls in
//! flight.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::bucket::Bucket;
use super::{Call, ServiceError, locked};
use crate::Clock;

/// Failures in a row that open the circuit.
const BROKEN: u32 = 10;
/// How long it stays open.
const OPEN: Duration = Duration::from_secs(30);
/// How often a wait looks up.
const LOOK: Duration = Duration::from_millis(100);

/// Bounds of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls a minute; 0: no bound.
    pub requests_per_minute: f64,
    /// Tokens a minute; 0: no bound.
    pub tokens_per_minute: f64,
    /// An endpoint whose circuit opens when nobody was answered for so long is given up for this run.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            in_flight: 16,
            requests_per_minute: 0.0,
            tokens_per_minute: 0.0,
            patience: Duration::from_secs(180),
        }
    }
}

#[derive(Default)]
struct State {
    closed: Option<String>,
    in_flight: usize,
    /// Failures in a row, and when the first of them was.
    failures: u32,
    failing_since: Option<SystemTime>,
    open_until: Option<SystemTime>,
    /// The one call that tries a half-open circuit is out.
    probing: bool,
    /// The server asked everyone to wait until then.
    held_until: Option<SystemTime>,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Successes so far: how a caller learns that the endpoint lives.
    successes: u64,
}

/// See the module.
pub struct Gate {
    service: &'static str,
    limits: Limits,
    clock: Arc<dyn Clock>,
    interrupted: Option<fn() -> bool>,
    state: Mutex<State>,
    left: Condvar,
}

/// A place in flight; whoever holds it says how the call ended.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    probe: bool,
}

/// How a call ended, for the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// The server spoke, and refused.
    Spoke,
    /// The server is not there, or not well.
    Badly,
}

impl Gate {
    /// A gate for an endpoint.
    pub fn new(
        service: &'static str,
        limits: Limits,
        clock: Arc<dyn Clock>,
        interrupted: Option<fn() -> bool>,
    ) -> Gate {
        let bucket = |rate: f64| (rate > 0.0).then(|| Bucket::per_minute(rate));
        Gate {
            service,
            limits,
            clock,
            interrupted,
            state: Mutex::new(State {
                requests: bucket(limits.requests_per_minute),
                tokens: bucket(limits.tokens_per_minute),
                ..State::default()
            }),
            left: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(crate) fn enter(&self, call: &Call) -> Result<Pass<'_>, ServiceError> {
        loop {
            if self.interrupted.is_some_and(|interrupted| interrupted()) {
                return Err(ServiceError::Stopped);
            }
            let mut state = locked(&self.state);
            if let Some(why) = &state.closed {
                return Err(ServiceError::Closed {
                    service: self.service,
                    why: why.clone(),
                });
            }
            if state.in_flight >= self.limits.in_flight.max(1) {
                // Others are in real calls, so this wait is one on the machine's clock.
                let (_state, _) = self
                    .left
                    .wait_timeout(state, LOOK)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let wait = self.due(&mut state, call);
            if wait.is_zero() {
                let probe = state.open_until.is_some();
                state.probing |= probe;
                state.in_flight += 1;
                return Ok(Pass { gate: self, probe });
            }
            drop(state);
            self.sleep(wait)?;
        }
    }

    /// Time until this call may go; takes its tokens when that is now.
    fn due(&self, state: &mut State, call: &Call) -> Duration {
        let now = self.clock.now();
        if let Some(until) = state.open_until {
            // A clock that was set back must not keep the circuit open for longer.
            let left = until.duration_since(now).unwrap_or_default().min(OPEN);
            if !left.is_zero() {
                return left;
            }
            if state.probing {
                return LOOK;
            }
        }
        if let Some(until) = state.held_until {
            match until.duration_since(now) {
                Ok(left) if !left.is_zero() => return left,
                _ => state.held_until = None,
            }
        }
        let tokens = call.tokens as f64;
        let wait = |bucket: &mut Option<Bucket>, amount| {
            bucket.as_mut().map_or(Duration::ZERO, |b| b.wait(amount, now))
        };
        let due = wait(&mut state.requests, 1.0).max(wait(&mut state.tokens, tokens));
        if due.is_zero() {
            state.requests.iter_mut().for_each(|bucket| bucket.take(1.0));
            state.tokens.iter_mut().for_each(|bucket| bucket.take(tokens));
        }
        due
    }

    /// Sleeps on the gate's clock, and looks up now and then whether the caller wants to stop.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), ServiceError> {
        let Some(interrupted) = self.interrupted else {
            self.clock.sleep(duration);
            return Ok(());
        };
        let mut left = duration;
        while !left.is_zero() {
            if interrupted() {
                return Err(ServiceError::Stopped);
            }
            let slice = left.min(LOOK);
            self.clock.sleep(slice);
            left -= slice;
        }
        Ok(())
    }

    /// Nobody asks this endpoint again in this run.
    pub(crate) fn close(&self, why: &str) {
        locked(&self.state).closed.get_or_insert_with(|| why.to_owned());
    }

    /// Everyone waits as long as the server asked.
    pub(crate) fn hold(&self, duration: Duration) {
        let until = self.clock.now().checked_add(duration);
        let mut state = locked(&self.state);
        state.held_until = state.held_until.max(until);
    }

    pub(crate) fn successes(&self) -> u64 {
        locked(&self.state).successes
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

impl Pass<'_> {
    pub(crate) fn ended(self, how: Ended) {
        let now = self.gate.clock.now();
        let mut state = locked(&self.gate.state);
        match how {
            Ended::Well | Ended::Spoke => {
                (state.failures, state.failing_since, state.open_until) = (0, None, None);
                state.successes += u64::from(how == Ended::Well);
            }
            Ended::Badly => {
                state.failures += 1;
                let since = *state.failing_since.get_or_insert(now);
                if self.probe || state.failures >= BROKEN {
                    state.open_until = now.checked_add(OPEN);
                    let silent = now.duration_since(since).unwrap_or_default();
                    if silent >= self.gate.limits.patience {
                        let why = format!(
                            "nobody was answered for {:.0} s ({} failures in a row), so it is given up for this run; is \
                             it running?",
                            silent.as_secs_f64(),
                            state.failures
                        );
                        state.closed.get_or_insert(why);
                    }
                }
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.gate.state);
        state.in_flight -= 1;
        state.probing &= !self.probe;
        drop(state);
        self.gate.left.notify_all();
    }
}
