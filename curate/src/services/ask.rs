//! What happens to an answer that cannot be used: one more question with the reason in it, then the fallback, then the
//! clip is dropped `rejected:<reason>`.

use omni_net::service::{Call, Reply, ServiceError, Transport};
use omni_pipeline::{Cx, Fault};

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// A fixed word.
    pub reason: &'static str,
    /// What is wrong, in words that the model can act on.
    pub detail: String,
}

impl Unusable {
    /// A reason with its words.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// An answer that was refused, for the next question.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// What the service said.
    pub answer: String,
    /// Why that cannot be used.
    pub why: Unusable,
}

/// One who can be asked.
pub struct Route<'a> {
    /// Where.
    pub transport: &'a dyn Transport,
    /// The model, as the request names it.
    pub model: &'a str,
}

/// Asks the first route, once more with the reason if the answer cannot be used, then the fallback once.
///
/// # Errors
/// Drops the clip when no answer can be used or the service refuses the request; stops the run when the endpoint is
/// closed, dead or over budget, so that the clip stays pending.
pub fn ask<A>(
    (first, fallback): (&Route<'_>, Option<&Route<'_>>),
    cx: &Cx<'_>,
    make: impl Fn(&Route<'_>, Option<&Complaint>) -> Call,
    read: impl Fn(&Reply, Option<&Complaint>) -> Result<A, Unusable>,
) -> Result<(A, String), Fault> {
    let mut complaint: Option<Complaint> = None;
    for route in [Some(first), Some(first), fallback].into_iter().flatten() {
        let reply = send(route, &make(route, complaint.as_ref()), cx)?;
        match read(&reply, complaint.as_ref()) {
            Ok(answer) => return Ok((answer, route.model.to_owned())),
            Err(why) => {
                cx.count("unusable_answers", 1);
                let answer = String::from_utf8_lossy(&reply.body).into_owned();
                complaint = Some(Complaint { answer, why });
            }
        }
    }
    let reason = complaint.map_or("no_answer", |complaint| complaint.why.reason);
    Err(Fault::drop(format!("rejected:{reason}")))
}

/// One call; what it ends in for the clip.
///
/// # Errors
/// As [`ask`].
pub fn send(route: &Route<'_>, call: &Call, cx: &Cx<'_>) -> Result<Reply, Fault> {
    cx.count("service_calls", 1);
    let sent = route.transport.send(call);
    cx.alive();
    sent.map_err(|error| match error {
        error if error.is_pending() => Fault::stop(error),
        error => Fault::drop(format!("rejected:{}", refused(&error))),
    })
}

/// The reason of an item that the service will not take.
fn refused(error: &ServiceError) -> String {
    error.reason()
}
