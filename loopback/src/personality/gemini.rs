//! Gemini's own REST API.

use serde_json::{Value, json};

use super::{Files, binding};
use crate::Request;
use crate::answer::Answer;

pub(crate) fn answer(
    request: &Request,
    files: &Files,
    content: Option<&str>,
    canned: Option<&str>,
) -> Answer {
    let canned = canned.unwrap_or_default();
    if let Some(answer) = files.answer(request, canned) {
        return answer;
    }
    if request.method != "POST" || !request.path.ends_with(":generateContent") {
        return error(
            404,
            "NOT_FOUND",
            "models/x is not found for API version v1beta",
            json!([]),
        );
    }
    let body = request.json().unwrap_or_default();
    if !body["contents"].is_array() {
        return error(400, "INVALID_ARGUMENT", "contents is not specified", json!([]));
    }
    if request.body_holds(b"additionalProperties") {
        let message = "Invalid JSON payload received. Unknown name \"additionalProperties\" at 'generation_config.response_schema'";
        return error(400, "INVALID_ARGUMENT", message, json!([]));
    }
    if canned == "expired" {
        files.expire();
    }
    if let Some(refused) = files.refuses(&body) {
        return refused;
    }
    match content {
        Some(text) => said(&[json!({"text": text})], "STOP"),
        None => by_name(&body, canned),
    }
}

pub(crate) fn error(code: u16, status: &str, message: &str, details: Value) -> Answer {
    Answer::value(
        code,
        &json!({"error": {"code": code, "message": message, "status": status, "details": details}}),
    )
}

pub(crate) fn bad_key() -> Answer {
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    error(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        details,
    )
}

fn usage(thoughts: u64) -> Value {
    json!({"promptTokenCount": 1702, "candidatesTokenCount": 24, "thoughtsTokenCount": thoughts,
        "totalTokenCount": 1726 + thoughts,
        "promptTokensDetails": [{"modality": "VIDEO", "tokenCount": 1290}, {"modality": "AUDIO", "tokenCount": 160}]})
}

fn said(parts: &[Value], finish: &str) -> Answer {
    Answer::value(
        200,
        &json!({"candidates": [{"index": 0, "finishReason": finish, "content": {"role": "model", "parts": parts}}],
            "usageMetadata": usage(311), "modelVersion": "gemini-2.5-pro", "responseId": "r-1"}),
    )
}

fn by_name(body: &Value, name: &str) -> Answer {
    let good = match binding::task(&body["contents"]) {
        Some(task) => binding::answer(&task, name),
        None => r#"{"bindings":[{"face":1,"speaker":"S1","confidence":0.93}]}"#.into(),
    };
    let good = good.as_str();
    let text = |text: &str| json!({"text": text});
    let thought = json!({"text": "The mouth moves at 0.5 s.", "thought": true});
    match name {
        "blocked" => Answer::value(
            200,
            &json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {"promptTokenCount": 1702, "totalTokenCount": 1702},
                "modelVersion": "gemini-2.5-pro", "responseId": "r-2"}),
        ),
        "max_tokens" => Answer::value(
            200,
            &json!({"candidates": [{"index": 0, "finishReason": "MAX_TOKENS", "content": {"role": "model"}}],
                "usageMetadata": usage(8191), "modelVersion": "gemini-2.5-pro", "responseId": "r-3"}),
        ),
        "cut" => said(&[text(&good[..good.len() / 2])], "STOP"),
        "no_candidates" => Answer::value(
            200,
            &json!({"usageMetadata": usage(0), "modelVersion": "gemini-2.5-pro"}),
        ),
        "safety" => Answer::value(
            200,
            &json!({"candidates": [{"index": 0, "finishReason": "SAFETY",
                "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": true}]}],
                "usageMetadata": usage(0), "modelVersion": "gemini-2.5-pro"}),
        ),
        "unknown_finish" => said(&[text(good)], "SOMETHING_NEW"),
        "thought_only" => said(&[thought], "STOP"),
        "split_parts" => said(&[thought, text(&good[..20]), text(&good[20..])], "STOP"),
        "missing_field" => said(&[text(r#"{"bindings":[{"face":1}]}"#)], "STOP"),
        "not_json" => said(&[text("I am sorry, I cannot help with that.")], "STOP"),
        _ => said(&[thought, text(good)], "STOP"),
    }
}
