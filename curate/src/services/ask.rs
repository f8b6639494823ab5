//! What happens to an answer that cannot be used: one more question with the reason in it, then the fallback, then the
//! clip is dropped `rejected:<reason>`.

use omni_net::service::{Call, Key, Reply, ServiceError, Transport};
use omni_pipeline::{Cx, Fault};

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// A fixed word.
    pub reason: &'static str,
    /// What is wrong, in words that the model can act on.
    pub detail: String,
    /// Whether the same model may do better when it is told.
    pub again: bool,
}

impl Unusable {
    /// A reason with its words.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            again: true,
        }
    }

    /// A reason that the same model would give again.
    pub fn for_good(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            again: false,
            ..Self::new(reason, detail)
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
    /// The service, whose wire format is spoken.
    pub service: &'static str,
    /// Where.
    pub transport: &'a dyn Transport,
    /// The model, as the request names it.
    pub model: &'a str,
}

/// An answer that was taken.
#[derive(Debug)]
pub struct Taken<A> {
    /// What it says.
    pub answer: A,
    /// Whose it is.
    pub service: &'static str,
    /// Which model's.
    pub model: String,
    /// Its key in the reply log.
    pub key: Key,
    /// Questions that were asked, this answer's own included.
    pub asked: i64,
    /// The answer as it came.
    pub body: Vec<u8>,
}

/// Asks the first route, once more with the reason if the answer cannot be used, then the fallback once. A fallback at
/// another service is asked afresh.
///
/// # Errors
/// Drops the clip when no answer can be used or the service refuses the request; stops the run when the endpoint is
/// closed, dead or over budget, so that the clip stays pending.
pub fn ask<A>(
    (first, fallback): (&Route<'_>, Option<&Route<'_>>),
    cx: &Cx<'_>,
    make: impl Fn(&Route<'_>, Option<&Complaint>) -> Call,
    read: impl Fn(&Route<'_>, &Reply, Option<&Complaint>) -> Result<A, Unusable>,
) -> Result<Taken<A>, Fault> {
    let mut complaint: Option<Complaint> = None;
    let mut asked = 0;
    let routes = [(Some(first), false), (Some(first), true), (fallback, false)];
    for (route, repeated) in routes {
        let told = complaint.as_ref().is_none_or(|complaint| complaint.why.again);
        let Some(route) = route.filter(|_| told || !repeated) else {
            continue;
        };
        let known = complaint.as_ref().filter(|_| route.service == first.service);
        let call = make(route, known);
        let reply = send(route, &call, cx)?;
        asked += 1;
        match read(route, &reply, known) {
            Ok(answer) => {
                return Ok(Taken {
                    answer,
                    service: route.service,
                    model: route.model.to_owned(),
                    key: call.key(),
                    asked,
                    body: reply.body,
                });
            }
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
