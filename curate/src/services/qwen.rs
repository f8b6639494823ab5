//! Qwen3-Omni behind vLLM's chat API. Sound is sent as a part of its own, because the sound of a video is not heard by
//! default, and an answer whose usage says that none was heard is refused.

use super::{
    Endpoint,
    ask::{self, Complaint, Unusable},
    json,
    question::{Part, Question, again},
};
use omni_net::service::{Body, Call, Reply, Usage, data_url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Name of the service.
pub const SERVICE: &str = "qwen";
/// Tokens of a second of sound.
const SOUND: f64 = 25.0;
/// Pixels of a token: patches of 16, joined two by two, and less where pictures are scaled.
const PATCH: u64 = 784;

/// The most that a call can use.
pub fn most(question: &Question<'_>, complaint: Option<&Complaint>) -> Usage {
    let media = question.parts.iter().map(|part| match part {
        Part::Text(_) => 0,
        Part::Video(video) => {
            (video.seconds * SOUND).ceil() as u64 + video.pictures * (video.pixels.div_ceil(PATCH) + 16)
        }
        Part::Sound { seconds, .. } => (seconds * SOUND).ceil() as u64,
        Part::Picture { pixels, .. } => pixels.div_ceil(PATCH) + 16,
    });
    Usage {
        input: question.words(complaint) + media.sum::<u64>(),
        output: question.max_tokens,
        seconds: 0.0,
    }
}

/// The request.
pub fn call(
    question: &Question<'_>,
    model: &str,
    endpoint: &Endpoint,
    complaint: Option<&Complaint>,
) -> Call {
    let (name, schema) = &question.schema;
    let content: Vec<Value> = question.parts.iter().flat_map(content).collect();
    let mut messages = vec![
        json!({"role": "system", "content": question.words}),
        json!({"role": "user", "content": content}),
    ];
    if let Some(complaint) = complaint {
        let (answer, words) = again(complaint, &said(&complaint.answer));
        messages.push(json!({"role": "assistant", "content": answer}));
        messages.push(json!({"role": "user", "content": words}));
    }
    let body = json!({
        "model": model, "temperature": 0, "seed": question.seed, "max_completion_tokens": question.max_tokens,
        "modalities": ["text"], "messages": messages,
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}},
    });
    let most = most(question, complaint);
    Call {
        tokens: most.input + most.output,
        price: endpoint.price(most, used),
        ..Call::post(
            SERVICE,
            question.prompt,
            "/v1/chat/completions",
            Body::Json(body.to_string().into_bytes()),
        )
    }
}

fn content(part: &Part) -> Vec<Value> {
    let sound = |wav: &[u8]| json!({"type": "audio_url", "audio_url": {"url": data_url("audio/wav", wav)}});
    match part {
        Part::Text(text) => vec![json!({"type": "text", "text": text})],
        Part::Sound { wav, .. } => vec![sound(wav)],
        Part::Picture { png, .. } => {
            vec![json!({"type": "image_url", "image_url": {"url": data_url("image/png", png)}})]
        }
        Part::Video(video) => vec![
            json!({"type": "video_url", "video_url": {"url": data_url("video/mp4", &video.mp4)}}),
            sound(&video.wav),
        ],
    }
}

/// The words inside an answer, as far as there are any.
fn said(answer: &str) -> String {
    let envelope = serde_json::from_str::<Envelope>(answer).ok();
    let choice = envelope.and_then(|envelope| envelope.choices.into_iter().next());
    choice
        .and_then(|choice| choice.message.content)
        .unwrap_or_default()
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default)]
    multimodal_tokens: Option<Map<String, Value>>,
}

/// What an answer says it used.
pub fn used(body: &[u8]) -> Option<Usage> {
    let tokens = serde_json::from_slice::<Envelope>(body).ok()?.usage?;
    Some(Usage {
        input: tokens.prompt_tokens,
        output: tokens.completion_tokens,
        seconds: 0.0,
    })
}

/// The JSON object that the model said.
///
/// # Errors
/// `encoding`, `no_envelope`, `no_choice`, `no_content`, `truncated`, `not_heard`, and those of [`json::object`].
pub fn read(reply: &Reply) -> Result<Map<String, Value>, Unusable> {
    ask::uncompressed(reply)?;
    let envelope: Envelope = serde_json::from_slice(&reply.body)
        .map_err(|error| Unusable::new("no_envelope", format!("no chat completion: {error}")))?;
    // With speech switched on a second choice holds sound; the words are in the first.
    let choice = envelope.choices.first();
    let choice = choice.ok_or_else(|| Unusable::new("no_choice", "the answer has no choices"))?;
    if choice.finish_reason.as_deref() == Some("length") {
        return Err(Unusable::new("truncated", "the answer was cut; be shorter"));
    }
    if deaf(&envelope) {
        return Err(Unusable::new("not_heard", "the sound was not heard"));
    }
    let content = choice.message.content.as_deref();
    let content = content.ok_or_else(|| Unusable::new("no_content", "the answer has no text"))?;
    json::object(content)
}

/// Newer servers count tokens by kind: without any of sound, none was heard.
fn deaf(envelope: &Envelope) -> bool {
    let details = envelope
        .usage
        .as_ref()
        .and_then(|usage| usage.prompt_tokens_details.as_ref());
    let counts = details.and_then(|details| details.multimodal_tokens.as_ref());
    counts.is_some_and(|counts| counts.get("audio").and_then(Value::as_u64).unwrap_or(0) == 0)
}
