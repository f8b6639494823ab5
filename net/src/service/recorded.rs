//! Books a try, sends it, and writes its end down before anybody sees it.

use std::sync::Arc;

use super::{Budget, Call, Money, Reply, ReplyLog, ServiceError, Transport};

/// A transport whose every try is in the log.
pub struct Recorded<T> {
    inner: T,
    log: Arc<ReplyLog>,
    budget: Arc<Budget>,
}

impl<T: Transport> Recorded<T> {
    /// Wraps a transport.
    pub fn new(inner: T, log: Arc<ReplyLog>, budget: Arc<Budget>) -> Recorded<T> {
        Recorded { inner, log, budget }
    }
}

impl<T: Transport> Transport for Recorded<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let booked = call.price.largest();
        self.budget.book(call.service, booked)?;
        let sent = self.log.sent(call.key(), call.service, booked)?;
        match self.inner.send(call) {
            Ok(reply) => {
                self.log.answered(sent, &reply)?;
                // Only now is the answer read, and only for what it cost.
                if let Some(price) = call.price.actual(&reply.body) {
                    self.budget.correct(booked, price);
                    self.log.paid(sent, price)?;
                }
                Ok(reply)
            }
            Err(error) => {
                if !error.maybe_paid() {
                    self.budget.correct(booked, Money(0));
                }
                self.log.failed(sent, &error)?;
                Err(error)
            }
        }
    }
}
