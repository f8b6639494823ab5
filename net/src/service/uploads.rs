//! Gemini's Files API: media that are too large for a request are uploaded in pieces, waited for, named in the request,
//! and deleted when it is answered. Uploads cost nothing, so none is booked or recorded.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::fault::FILE_GONE;
use super::{Body, Call, Media, Method, Reply, ServiceError, Transport};
use crate::Clock;

/// How often a piece is sent whose answer does not say how the upload stands.
const MOST_TRIES: u32 = 6;
/// How often a wait looks up.
const LOOK: Duration = Duration::from_millis(100);

/// How files are sent and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadSettings {
    /// Bytes in one piece.
    pub chunk: usize,
    /// Time between two looks at a file that is being processed.
    pub poll: Duration,
    /// Time after which such a file is given up.
    pub patience: Duration,
}

impl Default for UploadSettings {
    fn default() -> Self {
        UploadSettings {
            chunk: 8 << 20,
            poll: Duration::from_secs(2),
            patience: Duration::from_secs(300),
        }
    }
}

/// A transport that uploads a call's media before it sends the call. `inner` sends the call (and records it), `files`
/// speaks with the Files API.
pub struct Uploads<T, F> {
    inner: T,
    files: F,
    settings: UploadSettings,
    clock: Arc<dyn Clock>,
    interrupted: Option<fn() -> bool>,
}

/// A file at the service.
struct Uploaded {
    /// `files/abc`.
    name: String,
    uri: String,
}

impl<T: Transport, F: Transport> Uploads<T, F> {
    /// Wraps two transports to one endpoint.
    pub fn new(
        inner: T,
        files: F,
        settings: UploadSettings,
        clock: Arc<dyn Clock>,
        interrupted: Option<fn() -> bool>,
    ) -> Uploads<T, F> {
        Uploads {
            inner,
            files,
            settings,
            clock,
            interrupted,
        }
    }

    fn with_files(&self, call: &Call) -> Result<Reply, ServiceError> {
        let mut uploaded = Vec::new();
        let ready = self.all(call, &mut uploaded);
        let result = ready.and_then(|call| self.inner.send(&call));
        for file in &uploaded {
            // One that stays expires by itself, and the answer must not be lost over it.
            let _ = self.files.send(&about(call, Method::Delete, file));
        }
        result
    }

    /// The call with addresses in the place of its media.
    fn all(&self, call: &Call, uploaded: &mut Vec<Uploaded>) -> Result<Call, ServiceError> {
        let mut ready = Call {
            known_as: Some(call.key()),
            names_file: true,
            ..call.clone()
        };
        for media in &call.media {
            let (file, active) = self.upload(call, media)?;
            let uri = Value::from(file.uri.as_str()).to_string();
            uploaded.push(file);
            if let (false, Some(file)) = (active, uploaded.last()) {
                self.wait(call, file)?;
            }
            if let Body::Json(text) = &ready.body {
                let text = String::from_utf8_lossy(text);
                let text = text.replace(&format!("\"{}\"", media.placeholder()), &uri);
                ready.body = Body::Json(text.into_bytes());
            }
        }
        Ok(ready)
    }

    /// Sends a medium, with a second session when the first one is refused in its middle: a piece whose answer was lost
    /// does not fit any more.
    fn upload(&self, call: &Call, media: &Media) -> Result<(Uploaded, bool), ServiceError> {
        match self.session(call, media) {
            Err(ServiceError::Refused { .. }) => self.session(call, media),
            other => other,
        }
    }

    fn session(&self, call: &Call, media: &Media) -> Result<(Uploaded, bool), ServiceError> {
        let start = Call {
            headers: vec![
                ("x-goog-upload-protocol", "resumable".into()),
                ("x-goog-upload-command", "start".into()),
                (
                    "x-goog-upload-header-content-length",
                    media.bytes.len().to_string(),
                ),
                ("x-goog-upload-header-content-type", media.media_type.clone()),
            ],
            ..Call::post(
                call.service,
                "",
                "/upload/v1beta/files",
                Body::Json(br#"{"file": {"displayName": "clip"}}"#.to_vec()),
            )
        };
        let begun = self.files.send(&start)?;
        let path = begun
            .upload
            .path
            .ok_or_else(|| unusable(call, "no address for the upload came"))?;
        let mut offset = 0;
        loop {
            let end = media.bytes.len().min(offset + self.settings.chunk.max(1));
            let last = end == media.bytes.len();
            let reply = self.piece(call, &path, media.bytes.get(offset..end), (offset, last))?;
            match (reply.upload.status.as_deref(), last) {
                (Some("active"), false) => offset = end,
                (Some("final"), true) => return file(call, &reply.body),
                _ => return Err(unusable(call, "the upload ended too early or not at all")),
            }
        }
    }

    /// One piece; sent again as long as the answer does not say how the upload stands.
    fn piece(
        &self,
        call: &Call,
        path: &str,
        bytes: Option<&[u8]>,
        (offset, last): (usize, bool),
    ) -> Result<Reply, ServiceError> {
        let command = if last { "upload, finalize" } else { "upload" };
        let piece = Call {
            headers: vec![
                ("x-goog-upload-offset", offset.to_string()),
                ("x-goog-upload-command", command.into()),
            ],
            ..Call::post(
                call.service,
                "",
                path,
                Body::Bytes(bytes.unwrap_or_default().to_vec()),
            )
        };
        for _ in 0..MOST_TRIES {
            let reply = self.files.send(&piece)?;
            if reply.upload.status.is_some() {
                return Ok(reply);
            }
            self.sleep(self.settings.poll)?;
        }
        Err(exhausted(
            call,
            "upload",
            "no answer says how the upload stands",
            MOST_TRIES,
        ))
    }

    /// Until the service has processed the file.
    fn wait(&self, call: &Call, file: &Uploaded) -> Result<(), ServiceError> {
        let poll = self.settings.poll.max(Duration::from_millis(1));
        let most = (self.settings.patience.as_secs_f64() / poll.as_secs_f64()).ceil() as u32;
        for _ in 0..most.max(1) {
            let reply = self.files.send(&about(call, Method::Get, file))?;
            if state(call, &reply.body)? {
                return Ok(());
            }
            self.sleep(poll)?;
        }
        Err(exhausted(
            call,
            "processing",
            "the uploaded file stays in processing",
            most,
        ))
    }

    fn sleep(&self, duration: Duration) -> Result<(), ServiceError> {
        let mut left = duration;
        while !left.is_zero() {
            if self.interrupted.is_some_and(|interrupted| interrupted()) {
                return Err(ServiceError::Stopped);
            }
            let slice = if self.interrupted.is_some() {
                left.min(LOOK)
            } else {
                left
            };
            self.clock.sleep(slice);
            left -= slice;
        }
        Ok(())
    }
}

impl<T: Transport, F: Transport> Transport for Uploads<T, F> {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        if call.media.is_empty() {
            return self.inner.send(call);
        }
        match self.with_files(call) {
            Err(ServiceError::Refused { kind, .. }) if kind == FILE_GONE => self.with_files(call),
            other => other,
        }
    }
}

/// A call about a file.
fn about(call: &Call, method: Method, file: &Uploaded) -> Call {
    Call {
        method,
        names_file: true,
        ..Call::get(call.service, &format!("/v1beta/{}", file.name))
    }
}

/// The file that an upload made, and whether it is ready.
fn file(call: &Call, body: &[u8]) -> Result<(Uploaded, bool), ServiceError> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| value["file"][name].as_str().unwrap_or_default().to_owned();
    let (name, uri) = (text("name"), text("uri"));
    // It becomes a part of a path.
    let id = name.strip_prefix("files/").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || !id.bytes().all(plain) || uri.is_empty() {
        return Err(unusable(call, "the uploaded file has no name or address"));
    }
    let active = state_of(call, &value["file"])?;
    Ok((Uploaded { name, uri }, active))
}

fn state(call: &Call, body: &[u8]) -> Result<bool, ServiceError> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    state_of(call, &value)
}

/// Whether a file is ready.
fn state_of(call: &Call, file: &Value) -> Result<bool, ServiceError> {
    match file["state"].as_str() {
        Some("ACTIVE") => Ok(true),
        Some("FAILED") => {
            let why = file["error"]["message"].as_str().unwrap_or("no reason is given");
            Err(ServiceError::Refused {
                service: call.service,
                status: 422,
                kind: "file_failed".into(),
                message: why.chars().take(300).collect(),
            })
        }
        _ => Ok(false),
    }
}

fn unusable(call: &Call, message: &str) -> ServiceError {
    ServiceError::Refused {
        service: call.service,
        status: 200,
        kind: "upload".into(),
        message: message.into(),
    }
}

/// Nobody is answered as long as files cannot be sent, so the item waits.
fn exhausted(call: &Call, reason: &'static str, message: &str, tries: u32) -> ServiceError {
    ServiceError::Exhausted {
        tries,
        alive: false,
        last: Box::new(ServiceError::Transient {
            service: call.service,
            reason,
            message: message.into(),
            retry_after: None,
            maybe_paid: false,
        }),
    }
}
