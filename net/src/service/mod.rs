//! Calls to paid services: never lose an answer, never pay twice for one that is here.
//!
//! One trait, [`Transport`], and wrappers around it, outermost first:
//!
//! * [`Cached`] looks into the [`ReplyLog`] first, and lets one of two equal calls wait for the other;
//! * [`Retry`] tries again by the policy, behind a [`Gate`]: circuit breaker, rates, calls in flight, closed endpoints;
//! * [`Recorded`] books each try against the [`Budget`] and writes the answer down, flushed, before anyone parses it;
//! * [`Http`] speaks HTTP and names what went wrong.
//!
//! [`Uploads`] stands between [`Cached`] and [`Retry`] where a service takes large media as files.
//!
//! [`Replay`] stands in for all of them and answers from recorded logs only.

mod bucket;
mod budget;
mod cached;
mod call;
mod data_url;
mod error;
mod fault;
mod gate;
mod http;
mod log;
mod recorded;
mod replay;
mod retry;
mod secret;
mod uploads;

pub use budget::{Budget, Money, Price, Rates, ReadUsage, Usage};
pub use cached::Cached;
pub use call::{Body, Call, Key, Media, Method, Part, Reply, UploadState};
pub use data_url::{data_url, encode as base64};
pub use error::ServiceError;
pub use gate::{Gate, Limits};
pub use http::{Auth, Http, HttpSettings};
pub use log::{Counts, ForgotCalls, ReplyLog, Share, forget_calls};
pub use recorded::Recorded;
pub use replay::Replay;
pub use retry::Retry;
pub use secret::Secret;
pub use uploads::{UploadSettings, Uploads};

/// Something that answers calls. Blocking; shared by threads.
pub trait Transport: Send + Sync {
    /// Sends a call and brings the whole answer, whatever its body says.
    ///
    /// # Errors
    /// When there is no answer: [`ServiceError::is_pending`] tells whether the item should be tried in a later run.
    fn send(&self, call: &Call) -> Result<Reply, ServiceError>;
}

impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        self.as_ref().send(call)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        self.as_ref().send(call)
    }
}

/// Locks; nothing here leaves data half-changed when a thread panics.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
