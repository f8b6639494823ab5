//! What happens to an answer that cannot be used: one more question with the reason in it, then the fallback, then the
//! clip is dropped `rejected:<reason>`.

use omni_net::service::{Call, Key, Reply, ServiceError, Transport};
use omni_pipeline::{Cx, Fault, Wait};

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

/// No service is asked for a compressed answer, and none is unpacked.
///
/// # Errors
/// `encoding`.
pub(super) fn uncompressed(reply: &Reply) -> Result<(), Unusable> {
    match &reply.encoding {
        None => Ok(()),
        Some(encoding) => Err(Unusable::new(
            "encoding",
            format!("the answer is compressed ({encoding})"),
        )),
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
/// another service is asked afresh. `ready` is heard before each question: whether the route may be asked at all.
///
/// # Errors
/// Drops the clip when no answer can be used or the service refuses the request; leaves it pending when the endpoint is
/// closed, dead or over budget; stops the run when answers cannot be read or written. And what `ready` says.
pub fn ask<A>(
    (first, fallback): (&Route<'_>, Option<&Route<'_>>),
    cx: &Cx<'_>,
    ready: impl Fn(&Route<'_>) -> Result<(), Fault>,
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
        ready(route)?;
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

/// One call; what it ends in for the clip. A call that does not say so is noted as being about the clip.
///
/// # Errors
/// As [`ask`].
pub fn send(route: &Route<'_>, call: &Call, cx: &Cx<'_>) -> Result<Reply, Fault> {
    cx.count("service_calls", 1);
    let sent = match call.clips.is_empty() {
        true => route.transport.send(&Call {
            clips: vec![cx.key.to_owned()],
            ..call.clone()
        }),
        false => route.transport.send(call),
    };
    cx.alive();
    sent.map_err(fault)
}

/// What follows for a clip whose call has no answer.
pub fn fault(error: ServiceError) -> Fault {
    match error {
        error if error.leaves_pending() => Fault::Wait(Wait {
            on: error.service().unwrap_or("a service").to_owned(),
            why: error.reason(),
            what: match error {
                ServiceError::Exhausted { .. } => format!("{error}; is it running?"),
                _ => error.to_string(),
            },
        }),
        error if error.is_pending() => Fault::stop(error),
        error => Fault::drop(format!("rejected:{}", error.reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(alive: bool) -> ServiceError {
        ServiceError::Exhausted {
            tries: 6,
            alive,
            last: Box::new(ServiceError::Transient {
                service: "qwen",
                reason: "cut",
                message: "cut".into(),
                retry_after: None,
                maybe_paid: true,
            }),
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_asked_leaves_the_clip_pending_and_a_sick_clip_is_dropped() {
        let closed = ServiceError::Closed {
            service: "qwen",
            why: "is the key right?".into(),
        };
        for (error, why) in [(closed, "closed"), (cut(false), "cut")] {
            match fault(error) {
                Fault::Wait(wait) => assert_eq!((wait.on.as_str(), wait.why.as_str()), ("qwen", why)),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(fault(cut(true)), Fault::Drop(reason) if reason == "rejected:cut"));
        assert!(matches!(fault(ServiceError::Stopped), Fault::Stop(_)));
    }
}
