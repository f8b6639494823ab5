//! Names a status that is no success, from the shapes in which the services say what is wrong.
//!
//! vLLM: `{"error": {"message", "type", "param", "code"}}`, the same keys at the top with `"object": "error"` (older), or
//! `{"error": "Unauthorized"}`. Gemini: `{"error": {"code", "message", "status", "details": [..]}}`, at times inside a
//! list of one. FastAPI: `{"detail": [{"type", "loc", "msg"}]}`. Anything else is text.

use std::time::Duration;

use serde_json::Value;

use super::ServiceError;

/// Most characters of a service's message that are kept.
const MESSAGE: usize = 300;

/// What a failing answer says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) kind: String,
    pub(crate) message: String,
    param: String,
    retry_delay: Option<Duration>,
    per_day: bool,
    bad_key: bool,
}

/// Reads a failing answer's body.
pub(crate) fn read(body: &[u8]) -> Said {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Said {
            message: short(&String::from_utf8_lossy(body)),
            ..Said::default()
        };
    };
    let value = match &value {
        Value::Array(list) if list.len() == 1 => &list[0],
        value => value,
    };
    let error = match value.get("error") {
        Some(Value::String(text)) => {
            return Said {
                message: short(text),
                ..Said::default()
            };
        }
        Some(error) => error,
        None => value,
    };
    if let Some(detail) = error.get("detail").and_then(Value::as_array) {
        return validation(detail);
    }
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let details = error.get("details").and_then(Value::as_array);
    let details: &[Value] = details.map_or(&[], Vec::as_slice);
    Said {
        kind: match text("type") {
            "" => text("status").to_owned(),
            kind => kind.to_owned(),
        },
        message: short(text("message")),
        param: text("param").to_owned(),
        retry_delay: retry_delay(details, text("message")),
        per_day: details.iter().any(names_a_daily_quota),
        bad_key: details
            .iter()
            .any(|detail| detail.get("reason").and_then(Value::as_str) == Some("API_KEY_INVALID")),
    }
}

/// FastAPI's list of fields that are wrong.
fn validation(detail: &[Value]) -> Said {
    let field = |entry: &Value| {
        let text = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let place = entry.get("loc").and_then(Value::as_array);
        let place = place.and_then(|loc| loc.last()).and_then(Value::as_str);
        (
            text("type"),
            format!("{}: {}", place.unwrap_or("body"), text("msg")),
        )
    };
    let fields: Vec<_> = detail.iter().map(field).collect();
    let words: Vec<&str> = fields.iter().map(|(_, words)| words.as_str()).collect();
    Said {
        kind: fields.first().map(|(kind, _)| kind.clone()).unwrap_or_default(),
        message: short(&words.join("; ")),
        ..Said::default()
    }
}

/// `RetryInfo` of the details, or "Please retry in 8.94s." at the end of the message.
fn retry_delay(details: &[Value], message: &str) -> Option<Duration> {
    let told = details
        .iter()
        .find_map(|detail| detail.get("retryDelay").and_then(Value::as_str));
    let told = told.or_else(|| {
        let (_, rest) = message.rsplit_once("Please retry in ")?;
        rest.split_whitespace()
            .next()
            .map(|word| word.trim_end_matches('.'))
    })?;
    let seconds: f64 = told.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn names_a_daily_quota(detail: &Value) -> bool {
    let violations = detail.get("violations").and_then(Value::as_array);
    violations.into_iter().flatten().any(|violation| {
        let id = violation
            .get("quotaId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let id = id.to_lowercase();
        id.contains("perday") || id.contains("per_day") || id.contains("daily")
    })
}

/// One line of at most [`MESSAGE`] characters.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE).collect()
}

/// Kind of a refusal that is about an uploaded file: it is gone, somebody else's, or not ready. Uploading it again may help.
pub(crate) const FILE_GONE: &str = "file_gone";

/// A status that is about an uploaded file, in a request that names one. The service uses the codes of a wrong key and of an
/// unknown model for it, so the message decides.
pub(crate) fn file_gone(service: &'static str, status: u16, said: &Said) -> Option<ServiceError> {
    let message = said.message.to_lowercase();
    let about_a_file = match status {
        403 | 404 => message.contains("file"),
        400 => message.contains("file") && message.contains("active"),
        _ => false,
    };
    about_a_file.then(|| ServiceError::Refused {
        service,
        status,
        kind: FILE_GONE.into(),
        message: said.message.clone(),
    })
}

/// What follows from a status that is no success.
pub(crate) fn error(
    service: &'static str,
    status: u16,
    said: Said,
    retry_after: Option<Duration>,
) -> ServiceError {
    let closed = |why: String| ServiceError::Closed { service, why };
    let Said { kind, message, .. } = said;
    match status {
        401 | 403 => closed(format!(
            "not allowed (status {status} {message}); is the key right?"
        )),
        400 if said.bad_key => closed(format!("not allowed ({message}); is the key right?")),
        400 if kind == "FAILED_PRECONDITION" => {
            closed(format!("refused for this account or region: {message}"))
        }
        404 if kind == "NOT_FOUND" || said.param == "model" => closed(format!("no such model: {message}")),
        // What web frameworks and proxies say of a path that nobody serves.
        404 if kind.is_empty() || message == "Not Found" => closed(format!(
            "status 404, nothing is served under this path; is the address right? {message}"
        )),
        429 if said.per_day => closed(format!("the quota of the day is used up: {message}")),
        300..=399 => closed(format!(
            "status {status}: the address is another one; calls follow no redirect"
        )),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => ServiceError::Transient {
            service,
            reason: word(status),
            message: format!("status {status} {kind}: {message}"),
            retry_after: retry_after.max(said.retry_delay),
            maybe_paid: false,
        },
        _ => ServiceError::Refused {
            service,
            status,
            kind,
            message,
        },
    }
}

fn word(status: u16) -> &'static str {
    match status {
        408 => "status_408",
        425 => "status_425",
        429 => "status_429",
        500 => "status_500",
        502 => "status_502",
        503 => "status_503",
        _ => "status_504",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Said {
        read(text.as_bytes())
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        let new = said(
            r#"{"error": {"message": "too long", "type": "BadRequestError", "param": "input_tokens", "code": 400}}"#,
        );
        let old = said(
            r#"{"object": "error", "message": "too long", "type": "BadRequestError", "param": "input_tokens", "code": 400}"#,
        );
        assert_eq!(new, old);
        assert_eq!(
            (new.kind.as_str(), new.message.as_str()),
            ("BadRequestError", "too long")
        );
        assert_eq!(said(r#"{"error": "Unauthorized"}"#).message, "Unauthorized");
        let list = said(r#"[{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}]"#);
        assert_eq!(
            (list.kind.as_str(), list.message.as_str()),
            ("UNAVAILABLE", "busy")
        );
        let fields = said(
            r#"{"detail":[{"type":"missing","loc":["body","prompt_wav"],"msg":"Field required","input":null}]}"#,
        );
        assert_eq!(fields.message, "prompt_wav: Field required");
        assert_eq!(said("Internal Server Error\n").message, "Internal Server Error");
        assert_eq!(said(&"x".repeat(1000)).message.len(), 300);
    }

    #[test]
    fn geminis_delay_stands_in_the_details_or_in_the_message() {
        let details =
            r#"{"error": {"message": "m", "details": [{"@type": "Help"}, {"retryDelay": "10.5s"}]}}"#;
        assert_eq!(said(details).retry_delay, Some(Duration::from_millis(10_500)));
        let message = r#"{"error": {"message": "Quota. Please retry in 8.94s."}}"#;
        assert_eq!(said(message).retry_delay, Some(Duration::from_millis(8_940)));
        assert_eq!(
            said(r#"{"error": {"message": "Please retry in -1s."}}"#).retry_delay,
            None
        );
    }

    #[test]
    fn a_quota_of_the_day_closes_and_one_of_the_minute_waits() {
        let quota = |id: &str| {
            let text = format!(
                r#"{{"error": {{"status": "RESOURCE_EXHAUSTED", "details": [{{"violations": [{{"quotaId": "{id}"}}]}}]}}}}"#
            );
            error("gemini", 429, said(&text), None)
        };
        assert!(matches!(
            quota("GenerateRequestsPerDayPerProjectPerModel"),
            ServiceError::Closed { .. }
        ));
        assert!(quota("GenerateRequestsPerMinutePerProjectPerModel").is_transient());
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            let _ = read(&bytes);
            let _ = said(&format!(r#"{{"error": {{"message": {}}}}}"#, serde_json::Value::from(text)));
        }
    }
}
