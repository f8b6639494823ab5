//! An OpenAI-compatible transcription endpoint.

use serde_json::{Value, json};

use super::vllm::error;
use crate::Request;
use crate::answer::Answer;

pub(crate) fn answer(request: &Request, content: Option<&str>, canned: Option<&str>) -> Answer {
    if request.method != "POST" || request.path != "/v1/audio/transcriptions" {
        return error(404, "NotFoundError", "Not Found", Value::Null);
    }
    let form = request.form().unwrap_or_default();
    let field = |name: &str| {
        let part = form.iter().find(|part| part.name == name)?;
        Some(String::from_utf8_lossy(&part.bytes).into_owned())
    };
    match form.iter().find(|part| part.name == "file") {
        None => return error(422, "missing", "Field required", "body.file".into()),
        Some(part) if !part.is_file => {
            let message = "Expected 'file' to be a file-like object, not 'str'.";
            return error(422, "value_error", message, "body.file".into());
        }
        Some(part) if !part.bytes.starts_with(b"RIFF") => {
            return error(
                400,
                "BadRequestError",
                "Invalid or unsupported audio file.",
                Value::Null,
            );
        }
        Some(part) if part.bytes.len() > 25 << 20 => {
            let message = "Maximum file size exceeded (parameter=audio_filesize_mb, value=26)";
            return error(400, "BadRequestError", message, "audio_filesize_mb".into());
        }
        Some(_) => {}
    }
    let format = field("response_format").unwrap_or_else(|| "json".into());
    if ["srt", "vtt"].contains(&format.as_str()) {
        let message = "Currently only support response_format: `text`, `json` or `verbose_json`";
        return error(400, "BadRequestError", message, "response_format".into());
    }
    let text = content.unwrap_or("Come in. Sit down.");
    let language = field("language").unwrap_or_else(|| "en".into());
    match (canned.unwrap_or_default(), format.as_str()) {
        ("plain_text", _) => Answer {
            status: 200,
            headers: vec![("Content-Type".into(), "text/plain".into())],
            body: text.as_bytes().to_vec(),
            ..Answer::default()
        },
        (name, "verbose_json") if name != "no_times" => verbose(text, &language, name),
        _ => Answer::value(
            200,
            &json!({"text": text, "usage": {"type": "duration", "seconds": 1}}),
        ),
    }
}

fn verbose(text: &str, language: &str, name: &str) -> Answer {
    let (start, end) = if name == "reversed_times" {
        (0.6, 0.1)
    } else {
        (0.1, 0.6)
    };
    let null = name == "null_fields";
    let segment = json!({
        "id": 0, "seek": 0, "start": start, "end": end, "text": format!(" {text}"), "tokens": [50364],
        "temperature": 0.0, "avg_logprob": if null { Value::Null } else { json!(-0.21) }, "compression_ratio": 0.9,
        "no_speech_prob": null
    });
    let segments = if text.is_empty() {
        json!([])
    } else {
        json!([segment])
    };
    Answer::value(
        200,
        &json!({"text": format!(" {text}"), "language": language, "duration": 0.7, "words": null, "segments": segments}),
    )
}
