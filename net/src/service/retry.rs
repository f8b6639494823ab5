//! Tries again what may go better the next time.

use super::gate::{Ended, Gate};
use super::{Call, Reply, ServiceError, Transport};

/// A transport that tries again, by [`crate::Retry`], behind a [`Gate`].
pub struct Retry<T> {
    inner: T,
    policy: crate::Retry,
    gate: Gate,
}

impl<T: Transport> Retry<T> {
    /// Wraps a transport.
    pub fn new(inner: T, policy: crate::Retry, gate: Gate) -> Retry<T> {
        Retry { inner, policy, gate }
    }

    fn attempt(&self, call: &Call) -> Result<Reply, ServiceError> {
        let pass = self.gate.enter(call)?;
        let result = self.inner.send(call);
        match &result {
            Ok(_) => pass.ended(Ended::Well),
            Err(ServiceError::Transient { reason, .. }) if !is_busy(reason) => pass.ended(Ended::Badly),
            Err(ServiceError::Transient { .. } | ServiceError::Refused { .. }) => pass.ended(Ended::Spoke),
            Err(ServiceError::Closed { why, .. }) => {
                self.gate.close(why);
                drop(pass);
            }
            Err(_) => drop(pass),
        }
        result
    }
}

/// A server that says it is busy lives.
fn is_busy(reason: &str) -> bool {
    matches!(reason, "status_429" | "status_408" | "status_425")
}

impl<T: Transport> Transport for Retry<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let before = self.gate.successes();
        let mut failed = 0;
        loop {
            let error = match self.attempt(call) {
                Err(error) if error.is_transient() => error,
                other => return other,
            };
            failed += 1;
            let asked = match &error {
                ServiceError::Transient { retry_after, .. } => retry_after.unwrap_or_default(),
                _ => return Err(error),
            };
            let Some(delay) = self.policy.wait(failed, asked, self.gate.clock()) else {
                return Err(ServiceError::Exhausted {
                    tries: failed,
                    alive: self.gate.successes() > before,
                    last: Box::new(error),
                });
            };
            if !asked.is_zero() {
                self.gate.hold(asked);
            }
            self.gate.sleep(delay)?;
        }
    }
}
