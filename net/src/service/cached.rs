//! An answer that is on disk is never asked for again.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::log::Recorded;
use super::{Call, Key, Reply, ReplyLog, ServiceError, Transport, locked};

/// A transport that looks into the log first. Two equal calls at once are one: the second waits for the first.
pub struct Cached<T> {
    inner: T,
    log: Arc<ReplyLog>,
    out: Mutex<HashSet<Key>>,
    back: Condvar,
}

impl<T: Transport> Cached<T> {
    /// Wraps a transport.
    pub fn new(inner: T, log: Arc<ReplyLog>) -> Cached<T> {
        Cached {
            inner,
            log,
            out: Mutex::default(),
            back: Condvar::new(),
        }
    }

    fn claim(&self, key: Key) -> Claim<'_, T> {
        let mut out = locked(&self.out);
        while !out.insert(key) {
            out = self.back.wait(out).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { cached: self, key }
    }
}

struct Claim<'a, T> {
    cached: &'a Cached<T>,
    key: Key,
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        locked(&self.cached.out).remove(&self.key);
        self.cached.back.notify_all();
    }
}

impl<T: Transport> Transport for Cached<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let key = call.key();
        let _claim = self.claim(key);
        match self.log.find(key)? {
            Some(Recorded::Answer(reply)) => {
                self.log.about(key, &call.clips)?;
                Ok(reply)
            }
            // A refusal cost nothing, and the server may have been set right since.
            Some(Recorded::Refused { .. }) | None => self.inner.send(call),
        }
    }
}
