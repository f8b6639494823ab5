//! vLLM's chat API.

use serde_json::{Value, json};

use super::binding;
use crate::Request;
use crate::answer::Answer;

const MODEL: &str = "Qwen/Qwen3-Omni-30B-A3B-Instruct";

pub(crate) fn answer(request: &Request, content: Option<&str>, canned: Option<&str>) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => Answer {
            status: 200,
            ..Answer::default()
        },
        ("GET", "/v1/models") => Answer::value(
            200,
            &json!({"object": "list", "data": [{"id": MODEL, "max_model_len": 32768}]}),
        ),
        ("POST", "/v1/chat/completions") => chat(request, content, canned),
        _ => error(404, "NotFoundError", "Not Found", Value::Null),
    }
}

pub(crate) fn error(status: u16, kind: &str, message: &str, param: Value) -> Answer {
    Answer::value(
        status,
        &json!({"error": {"message": message, "type": kind, "param": param, "code": status}}),
    )
}

fn chat(request: &Request, content: Option<&str>, canned: Option<&str>) -> Answer {
    let Some(body) = request.json() else {
        return error(
            400,
            "Bad Request",
            "1 validation error:\n  {'type': 'json_invalid'}",
            "body".into(),
        );
    };
    if !body["messages"].is_array() {
        return error(
            400,
            "Bad Request",
            "1 validation error:\n  {'type': 'missing'}",
            "body.messages".into(),
        );
    }
    if body.get("mm_processor_kwargs").is_some() {
        let message = "Per-request mm_processor_kwargs are disabled by default";
        return error(400, "BadRequestError", message, "mm_processor_kwargs".into());
    }
    let heard = request.body_holds(b"audio_url") || request.body_holds(b"input_audio");
    match content {
        Some(text) => envelope(text, "stop", heard),
        None => by_name(&body, canned.unwrap_or_default(), heard),
    }
}

/// The envelope around what the model said.
fn envelope(text: &str, finish: &str, heard: bool) -> Answer {
    let audio = if heard { 96 } else { 0 };
    Answer::value(
        200,
        &json!({
            "id": "chatcmpl-0f3a", "object": "chat.completion", "created": 1_790_000_000, "model": MODEL,
            "choices": [{"index": 0, "finish_reason": finish, "logprobs": null,
                "message": {"role": "assistant", "refusal": null, "tool_calls": [], "content": text}}],
            "usage": {"prompt_tokens": 812, "completion_tokens": 58, "total_tokens": 870,
                "prompt_tokens_details": {"multimodal_tokens": {"video": 640, "audio": audio}}}
        }),
    )
}

fn segment(speaker: &str, text: &str, start: Value, end: Value, language: &str) -> Value {
    json!({"speaker": speaker, "text": text, "start": start, "end": end, "language": language})
}

fn transcript(segments: &[Value]) -> String {
    json!({"segments": segments, "audio_caption": "A calm voice in a small room."}).to_string()
}

/// A sound answer, or one of the faults such models have.
fn by_name(body: &Value, name: &str, heard: bool) -> Answer {
    let s1 = |text: &str, start: f64, end: f64| segment("S1", text, start.into(), end.into(), "en");
    let stop = |text: &str| envelope(text, "stop", heard);
    let task = binding::task(&body["messages"]);
    let good = match &task {
        Some(task) => binding::answer(task, name),
        None => transcript(&[s1("Come in.", 0.1, 0.6)]),
    };
    match name {
        "missing_field" if task.is_some() => stop(&good),
        "fence" => stop(&format!("```json\n{good}\n```")),
        "prose" => stop(&format!("Here is the transcript you asked for:\n{good}")),
        "two_objects" => stop(&format!("{good}\n{good}")),
        "cut" => envelope(&good[..good.len() / 2], "length", heard),
        "not_json" => stop("I am sorry, I cannot help with that."),
        "missing_field" => stop(r#"{"segments": [{"speaker": "S1", "text": "Come in."}]}"#),
        "reversed_times" => stop(&transcript(&[s1("Come in.", 0.6, 0.1)])),
        "beyond_clip" => stop(&transcript(&[s1("Come in.", 0.1, 9000.0)])),
        "overlap" => stop(&transcript(&[
            s1("Come in.", 0.1, 0.6),
            s1("Sit down.", 0.2, 0.7),
        ])),
        "clock_times" => stop(&transcript(&[segment(
            "S1",
            "Come in.",
            "00:00.1".into(),
            "00:00.6".into(),
            "en",
        )])),
        "empty_segments" => stop(&transcript(&[])),
        "language_word" => stop(&transcript(&[segment(
            "S1",
            "Come in.",
            0.1.into(),
            0.6.into(),
            "English",
        )])),
        "two_names" => stop(&transcript(&[
            s1("Come in.", 0.1, 0.3),
            segment("speaker 1", "Sit.", 0.3.into(), 0.6.into(), "en"),
        ])),
        "repeated" => stop(&transcript(&[s1(&"no ".repeat(400), 0.1, 0.6)])),
        "null_content" => edited(stop(&good), |answer| {
            answer["choices"][0]["message"]["content"] = Value::Null
        }),
        "no_choices" => edited(stop(&good), |answer| answer["choices"] = json!([])),
        "two_choices" => edited(stop(&good), |answer| {
            let spoken = json!({"index": 1, "message": {"role": "assistant", "audio": {"data": "UklGRg=="}}});
            if let Some(choices) = answer["choices"].as_array_mut() {
                choices.push(spoken);
            }
        }),
        "deaf" => envelope(&good, "stop", false),
        _ => stop(&wanted(body, good)),
    }
}

/// The answer to the schema that was asked for: what was made ready, unless two sounds are to be told apart.
fn wanted(body: &Value, ready: String) -> String {
    match body["response_format"]["json_schema"]["name"].as_str() {
        // As many as a longer sound would have: whoever hears tells two sounds apart.
        Some("tones") => json!({"tones": sound_bytes(body) / 16_000}).to_string(),
        _ => ready,
    }
}

/// Bytes of the sound in a request, as they stand there.
fn sound_bytes(body: &Value) -> usize {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let parts = messages
        .iter()
        .filter_map(|message| message["content"].as_array())
        .flatten();
    parts
        .filter_map(|part| part["audio_url"]["url"].as_str())
        .map(str::len)
        .sum()
}

fn edited(answer: Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    let mut value = serde_json::from_slice(&answer.body).unwrap_or_default();
    edit(&mut value);
    Answer::value(answer.status, &value)
}
