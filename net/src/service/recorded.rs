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

/// What is booked for a call that is out; it ends with the value, at the full price unless another is known.
struct Booking<'a> {
    budget: &'a Budget,
    booked: Money,
    paid: Money,
}

impl Drop for Booking<'_> {
    fn drop(&mut self) {
        self.budget.correct(self.booked, self.paid);
    }
}

impl<T: Transport> Transport for Recorded<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let price = call.price.largest();
        self.budget.book(call.service, price)?;
        let mut booking = Booking {
            budget: &self.budget,
            booked: price,
            paid: price,
        };
        let sent = match self.log.sent(call.key(), call.service, price, &call.clips) {
            Ok(sent) => sent,
            Err(error) => {
                booking.paid = Money(0);
                return Err(error);
            }
        };
        match self.inner.send(call) {
            Ok(reply) => {
                self.log.answered(sent, &reply)?;
                // Only now is the answer read, and only for what it cost.
                if let Some(price) = call.price.actual(&reply.body) {
                    booking.paid = price;
                    self.log.paid(sent, price)?;
                }
                Ok(reply)
            }
            Err(error) => {
                if !error.maybe_paid() {
                    booking.paid = Money(0);
                }
                self.log.failed(sent, &error)?;
                Err(error)
            }
        }
    }
}
