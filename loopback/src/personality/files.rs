//! Gemini's Files API: resumable uploads, files that are processed for a while, and their end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::gemini::error;
use crate::answer::Answer;
use crate::{Request, decode};

/// The files of one server.
#[derive(Default)]
pub(crate) struct Files(Mutex<Held>);

#[derive(Default)]
struct Held {
    count: u64,
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    media_type: String,
    expected: usize,
    bytes: Vec<u8>,
    whole: bool,
    active: bool,
}

impl Files {
    /// The answer to a request about files; `None` when it is about none.
    pub(crate) fn answer(&self, request: &Request, canned: &str) -> Option<Answer> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let held = &mut *self.held();
        match (request.method.as_str(), path) {
            ("POST", "/upload/v1beta/files") => Some(match query.strip_prefix("upload_id=") {
                None => held.start(request, canned),
                Some(id) => held.piece(id, request, canned),
            }),
            ("GET" | "DELETE", path) => {
                let id = path.strip_prefix("/v1beta/files/")?;
                Some(held.about(id, request, canned))
            }
            _ => None,
        }
    }

    /// Why a request that names files is refused, if it is.
    pub(crate) fn refuses(&self, body: &Value) -> Option<Answer> {
        let mut uris = Vec::new();
        uris_of(body, &mut uris);
        let held = self.held();
        uris.into_iter().find_map(|uri| {
            let id = uri.rsplit('/').next().unwrap_or_default();
            match held.files.get(id) {
                Some(file) if file.active => None,
                Some(_) => Some(error(
                    400,
                    "FAILED_PRECONDITION",
                    &format!("The File {id} is not in an ACTIVE state and usage is not allowed."),
                    json!([]),
                )),
                None => Some(gone(id)),
            }
        })
    }

    /// Forgets every file, as the service does after two days.
    pub(crate) fn expire(&self) {
        self.held().files.clear();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(id: &str) -> Answer {
    let message = format!("You do not have permission to access the File {id} or it may not exist.");
    error(403, "PERMISSION_DENIED", &message, json!([]))
}

fn uris_of<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| uris_of(value, found)),
        Value::Object(fields) => {
            found.extend(fields.get("fileUri").and_then(Value::as_str));
            fields.values().for_each(|value| uris_of(value, found));
        }
        _ => {}
    }
}

impl Held {
    fn start(&mut self, request: &Request, canned: &str) -> Answer {
        let header = |name| request.header(name).unwrap_or_default();
        let length = header("x-goog-upload-header-content-length").parse::<usize>();
        let (Ok(expected), "resumable", "start") = (
            length,
            header("x-goog-upload-protocol"),
            header("x-goog-upload-command"),
        ) else {
            return error(400, "INVALID_ARGUMENT", "no start of an upload", json!([]));
        };
        self.count += 1;
        let id = format!("f{}", self.count);
        let host = match canned {
            "elsewhere" => "example.invalid",
            _ => header("host"),
        };
        let url = format!("http://{host}/upload/v1beta/files?upload_id={id}");
        self.files.insert(
            id,
            File {
                media_type: header("x-goog-upload-header-content-type").into(),
                expected,
                ..File::default()
            },
        );
        let mut answer = Answer::json(200, "{}");
        if canned != "no_address" {
            answer.headers.push(("X-Goog-Upload-URL".into(), url));
        }
        answer.headers.push(status("active"));
        answer
    }

    fn piece(&mut self, id: &str, request: &Request, canned: &str) -> Answer {
        if canned == "no_status" {
            return Answer::json(200, "{}");
        }
        let Some(file) = self.files.get_mut(id) else {
            return gone(id);
        };
        let header = |name| request.header(name).unwrap_or_default();
        if header("x-goog-upload-offset") != file.bytes.len().to_string() || file.whole {
            let mut answer = error(400, "INVALID_ARGUMENT", "wrong offset", json!([]));
            answer.headers.push(status("active"));
            return answer;
        }
        file.bytes.extend_from_slice(&request.body);
        if !header("x-goog-upload-command").ends_with("finalize") {
            let mut answer = Answer::json(200, "");
            answer.headers.push(status("active"));
            return answer;
        }
        if file.bytes.len() != file.expected {
            return error(
                400,
                "INVALID_ARGUMENT",
                "fewer bytes than were announced",
                json!([]),
            );
        }
        file.whole = true;
        let mut answer = Answer::value(200, &json!({"file": described(id, file, header("host"), canned)}));
        answer.headers.push(status("final"));
        answer
    }

    /// Each look takes a file one step on, so that the first one finds it in processing.
    fn about(&mut self, id: &str, request: &Request, canned: &str) -> Answer {
        if request.method == "DELETE" {
            return match self.files.remove(id) {
                Some(_) => Answer::json(200, "{}"),
                None => gone(id),
            };
        }
        let Some(file) = self.files.get_mut(id) else {
            return gone(id);
        };
        file.active = file.whole && canned != "processing";
        Answer::value(
            200,
            &described(id, file, request.header("host").unwrap_or_default(), canned),
        )
    }
}

fn status(word: &str) -> (String, String) {
    ("X-Goog-Upload-Status".into(), word.into())
}

fn described(id: &str, file: &File, host: &str, canned: &str) -> Value {
    let state = match canned {
        "failed" => "FAILED",
        _ if file.active => "ACTIVE",
        _ => "PROCESSING",
    };
    let mut told = json!({"name": format!("files/{id}"), "uri": format!("http://{host}/v1beta/files/{id}"),
        "mimeType": file.media_type, "sizeBytes": file.bytes.len().to_string(), "state": state,
        "createTime": "2026-01-01T00:00:00Z", "expirationTime": "2026-01-03T00:00:00Z",
        "sha256Hash": decode::sha256(&file.bytes)});
    match canned {
        "failed" => told["error"] = json!({"code": 13, "message": "The file could not be processed."}),
        "bad_name" => told["name"] = json!("files/../models"),
        _ => {}
    }
    told
}
