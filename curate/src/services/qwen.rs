//! Qwen3-Omni behind vLLM's chat API. Sound is sent as a part of its own, because the sound of a video is not heard by
//! default, and an answer whose usage says that none was heard is refused.

use super::{
    Endpoint,
    ask::{Complaint, Unusable},
    json,
};
use omni_net::service::{Body, Call, Reply, Usage, data_url};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Name of the service.
pub const SERVICE: &str = "qwen";
/// Most characters of a refused answer that are sent back.
const MOST_ECHO: usize = 4000;

/// A question with sound.
pub struct Question<'a> {
    /// Name and version of the prompt.
    pub prompt: &'a str,
    /// Its words.
    pub words: &'a str,
    /// Name of the schema and the schema.
    pub schema: (&'a str, Value),
    /// A WAV file.
    pub wav: &'a [u8],
    /// Its length.
    pub seconds: f64,
    /// Seed of the sampling.
    pub seed: u64,
    /// Most tokens that the answer may have.
    pub max_tokens: u64,
}

impl Question<'_> {
    /// The most that the call can use: the prompt at three bytes a token, 25 tokens a second of sound, a full answer.
    pub fn most(&self, complaint: bool) -> Usage {
        let words =
            self.words.len() + self.schema.1.to_string().len() + if complaint { MOST_ECHO } else { 0 };
        Usage {
            input: (words as u64).div_ceil(3) + (self.seconds * 25.0).ceil() as u64 + 64,
            output: self.max_tokens,
            seconds: 0.0,
        }
    }

    /// The request.
    pub fn call(&self, model: &str, endpoint: &Endpoint, complaint: Option<&Complaint>) -> Call {
        let (name, schema) = &self.schema;
        let mut messages = vec![
            serde_json::json!({"role": "system", "content": self.words}),
            serde_json::json!({"role": "user", "content": [
                {"type": "audio_url", "audio_url": {"url": data_url("audio/wav", self.wav)}},
                {"type": "text", "text": format!("The clip is {:.2} seconds long.", self.seconds)}]}),
        ];
        if let Some(complaint) = complaint {
            let said: String = said(&complaint.answer).chars().take(MOST_ECHO).collect();
            messages.push(serde_json::json!({"role": "assistant", "content": said}));
            let words = format!(
                "That cannot be used: {}. Answer again, with the JSON object alone.",
                complaint.why.detail
            );
            messages.push(serde_json::json!({"role": "user", "content": words}));
        }
        let body = serde_json::json!({
            "model": model, "temperature": 0, "seed": self.seed, "max_completion_tokens": self.max_tokens,
            "modalities": ["text"], "messages": messages,
            "response_format": {"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}},
        });
        let most = self.most(complaint.is_some());
        Call {
            tokens: most.input + most.output,
            price: endpoint.price(most, used),
            ..Call::post(
                SERVICE,
                self.prompt,
                "/v1/chat/completions",
                Body::Json(body.to_string().into_bytes()),
            )
        }
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
    if let Some(encoding) = &reply.encoding {
        return Err(Unusable::new(
            "encoding",
            format!("the answer is compressed ({encoding})"),
        ));
    }
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
