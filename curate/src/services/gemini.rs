//! Gemini's own REST API. It hears the sound of a video, thinks before it answers, refuses some clips with status 200,
//! and takes large media as files.

use super::{
    Endpoint,
    ask::{self, Complaint, Unusable},
    json,
    question::{Part, Question, Video, again},
};
use omni_net::service::{Body, Call, Media, Reply, Usage, base64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Name of the service.
pub const SERVICE: &str = "gemini";
/// The reason of an answer that the limit of tokens cut.
pub const TRUNCATED: &str = "mllm_truncated";
/// Tokens of a picture (of a tile of a large one) and of a second of sound.
const PICTURE: u64 = 258;
const SOUND: f64 = 32.0;
/// Pixels of a tile.
const TILE: u64 = 384 * 384;
/// Reasons to end that are about what is shown: the same clip ends the same way.
const BLOCKED: &[&str] = &[
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
];
/// What may be shown: talking people of any corpus.
const HARMS: &[&str] = &[
    "HARASSMENT",
    "HATE_SPEECH",
    "SEXUALLY_EXPLICIT",
    "DANGEROUS_CONTENT",
    "CIVIC_INTEGRITY",
];

/// What is asked of the model beside the question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Most tokens of thinking; -1: the model's own choice.
    pub thinking_budget: i64,
    /// `MEDIA_RESOLUTION_LOW`, `_MEDIUM` or `_HIGH`; empty: the model's own.
    pub media_resolution: String,
    /// Threshold of the safety filters: `BLOCK_NONE`, `BLOCK_ONLY_HIGH`, ...; empty: the service's own.
    pub safety: String,
    /// A request that would be larger is sent with its clip uploaded as a file, bytes.
    pub inline_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            thinking_budget: -1,
            media_resolution: String::new(),
            safety: "BLOCK_NONE".into(),
            inline_bytes: 18 << 20,
        }
    }
}

/// The most that a call can use. Thinking counts against the answer's limit.
pub fn most(question: &Question<'_>, complaint: Option<&Complaint>) -> Usage {
    let media = question.parts.iter().map(|part| match part {
        Part::Text(_) => 0,
        Part::Video(video) => (video.seconds * SOUND).ceil() as u64 + video.pictures * PICTURE,
        Part::Sound { seconds, .. } => (seconds * SOUND).ceil() as u64,
        Part::Picture { pixels, .. } => pixels.div_ceil(TILE).max(1) * PICTURE,
    });
    Usage {
        input: question.words(complaint) + media.sum::<u64>(),
        output: limit(question, complaint),
        seconds: 0.0,
    }
}

/// An answer that was cut gets twice the tokens.
fn limit(question: &Question<'_>, complaint: Option<&Complaint>) -> u64 {
    match cut(complaint) {
        true => question.max_tokens * 2,
        false => question.max_tokens,
    }
}

fn cut(complaint: Option<&Complaint>) -> bool {
    complaint.is_some_and(|complaint| complaint.why.reason == TRUNCATED)
}

/// The request.
pub fn call(
    question: &Question<'_>,
    model: &str,
    options: &Options,
    endpoint: &Endpoint,
    complaint: Option<&Complaint>,
) -> Call {
    let uploads = inline(&question.parts) > options.inline_bytes;
    let mut media = Vec::new();
    let parts = question
        .parts
        .iter()
        .map(|part| encoded(part, uploads, &mut media));
    let mut contents = vec![json!({"role": "user", "parts": parts.collect::<Vec<_>>()})];
    if let Some(complaint) = complaint.filter(|complaint| !cut(Some(complaint))) {
        let (answer, words) = again(complaint, &said(&complaint.answer));
        contents.push(json!({"role": "model", "parts": [{"text": answer}]}));
        contents.push(json!({"role": "user", "parts": [{"text": words}]}));
    }
    let mut config = json!({"temperature": 0, "seed": question.seed, "maxOutputTokens": limit(question, complaint),
        "responseMimeType": "application/json", "responseSchema": schema(&question.schema.1)});
    if options.thinking_budget >= 0 {
        config["thinkingConfig"] = json!({"thinkingBudget": options.thinking_budget});
    }
    if !options.media_resolution.is_empty() {
        config["mediaResolution"] = options.media_resolution.as_str().into();
    }
    let mut body = json!({"systemInstruction": {"parts": [{"text": question.words}]}, "contents": contents,
        "generationConfig": config});
    if !options.safety.is_empty() {
        let setting =
            |harm: &&str| json!({"category": format!("HARM_CATEGORY_{harm}"), "threshold": options.safety});
        body["safetySettings"] = HARMS.iter().map(setting).collect();
    }
    let most = most(question, complaint);
    Call {
        tokens: most.input + most.output,
        price: endpoint.price(most, used),
        media,
        ..Call::post(
            SERVICE,
            question.prompt,
            &format!("/v1beta/models/{model}:generateContent"),
            Body::Json(body.to_string().into_bytes()),
        )
    }
}

/// Bytes of a request with everything in it.
fn inline(parts: &[Part]) -> usize {
    let bytes = parts.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Video(video) => video.mp4.len().div_ceil(3) * 4,
        Part::Sound { wav, .. } => wav.len().div_ceil(3) * 4,
        Part::Picture { png, .. } => png.len().div_ceil(3) * 4,
    });
    bytes.sum()
}

fn encoded(part: &Part, uploads: bool, media: &mut Vec<Media>) -> Value {
    let inline = |kind: &str, bytes: &[u8]| json!({"inlineData": {"mimeType": kind, "data": base64(bytes)}});
    match part {
        Part::Text(text) => json!({"text": text}),
        Part::Sound { wav, .. } => inline("audio/wav", wav),
        Part::Picture { png, .. } => inline("image/png", png),
        Part::Video(video) => {
            let mut part = match uploads {
                true => uploaded(video, media),
                false => inline("video/mp4", &video.mp4),
            };
            part["videoMetadata"] = json!({"fps": video.fps});
            part
        }
    }
}

fn uploaded(video: &Video, media: &mut Vec<Media>) -> Value {
    let file = Media {
        media_type: "video/mp4".into(),
        bytes: video.mp4.clone(),
    };
    let part = json!({"fileData": {"mimeType": file.media_type, "fileUri": file.placeholder()}});
    media.push(file);
    part
}

/// A JSON Schema in Gemini's spelling: types in upper case.
fn schema(given: &Value) -> Value {
    match given {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("type", Value::String(kind)) => (name.clone(), kind.to_uppercase().into()),
                _ => (name.clone(), schema(value)),
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(list) => list.iter().map(schema).collect(),
        other => other.clone(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Envelope {
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Tokens>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Vec<SaidPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidPart {
    text: Option<String>,
    thought: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tokens {
    prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
    total_token_count: u64,
}

impl Candidate {
    /// The words, without what was thought.
    fn text(&self) -> String {
        let parts = self.content.iter().flat_map(|content| &content.parts);
        let said = parts.filter(|part| !part.thought);
        said.filter_map(|part| part.text.as_deref()).collect()
    }
}

/// The words inside an answer, as far as there are any.
fn said(answer: &str) -> String {
    let envelope: Envelope = serde_json::from_str(answer).unwrap_or_default();
    envelope
        .candidates
        .first()
        .map(Candidate::text)
        .unwrap_or_default()
}

/// What an answer says it used; thinking is paid as output.
pub fn used(body: &[u8]) -> Option<Usage> {
    let tokens = serde_json::from_slice::<Envelope>(body).ok()?.usage_metadata?;
    let made = tokens.candidates_token_count + tokens.thoughts_token_count;
    Some(Usage {
        input: tokens.prompt_token_count,
        output: made.max(tokens.total_token_count.saturating_sub(tokens.prompt_token_count)),
        seconds: 0.0,
    })
}

/// The JSON object that the model said.
///
/// # Errors
/// `encoding`, `no_envelope`, `blocked`, `no_choice`, `mllm_truncated`, `no_content`, and those of [`json::object`].
pub fn read(reply: &Reply) -> Result<Map<String, Value>, Unusable> {
    ask::uncompressed(reply)?;
    let envelope: Envelope = serde_json::from_slice(&reply.body)
        .map_err(|error| Unusable::new("no_envelope", format!("no content was generated: {error}")))?;
    let blocked = envelope
        .prompt_feedback
        .and_then(|feedback| feedback.block_reason);
    if let Some(reason) = blocked {
        return Err(Unusable::for_good(
            "blocked",
            format!("the request was blocked ({reason})"),
        ));
    }
    let candidate = envelope.candidates.first();
    let candidate = candidate.ok_or_else(|| Unusable::new("no_choice", "the answer has no candidates"))?;
    match candidate.finish_reason.as_deref() {
        Some("MAX_TOKENS") => return Err(Unusable::new(TRUNCATED, "the answer was cut; be shorter")),
        Some(reason) if BLOCKED.contains(&reason) => {
            let detail = format!("the answer was withheld ({reason})");
            return Err(Unusable::for_good("blocked", detail));
        }
        // New words appear; what counts is whether there is an answer.
        _ => {}
    }
    let text = candidate.text();
    match text.trim().is_empty() {
        true => Err(Unusable::new("no_content", "the answer has no text")),
        false => json::object(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn reply(body: &str) -> Reply {
        Reply::ok(body)
    }

    fn reason(body: &str) -> (&'static str, bool) {
        read(&reply(body)).map_or_else(|error| (error.reason, error.again), |_| ("good", true))
    }

    fn candidate(finish: &str, parts: &str) -> String {
        format!(
            r#"{{"candidates": [{{"index": 0, "finishReason": "{finish}", "content": {{"role": "model", "parts": [{parts}]}}}}]}}"#
        )
    }

    #[test]
    fn thoughts_are_passed_over_and_parts_are_joined() {
        let parts = r#"{"text": "{\"a\": 0}", "thought": true}, {"text": "{\"a\""}, {"text": ": 1}"}"#;
        let object = read(&reply(&candidate("STOP", parts))).unwrap();
        assert_eq!(object["a"], 1);
        assert_eq!(
            reason(&candidate("SOMETHING_NEW", r#"{"text": "{}"}"#)),
            ("good", true)
        );
    }

    #[test]
    fn one_bad_answer_for_each_rule() {
        let rows = [
            ("not json".to_owned(), ("no_envelope", true)),
            (
                r#"{"promptFeedback": {"blockReason": "OTHER"}}"#.into(),
                ("blocked", false),
            ),
            (r#"{"usageMetadata": {}}"#.into(), ("no_choice", true)),
            (
                r#"{"candidates": [{"finishReason": "MAX_TOKENS", "content": {"role": "model"}}]}"#.into(),
                (TRUNCATED, true),
            ),
            (
                r#"{"candidates": [{"finishReason": "SAFETY"}]}"#.into(),
                ("blocked", false),
            ),
            (
                r#"{"candidates": [{"finishReason": "STOP"}]}"#.into(),
                ("no_content", true),
            ),
            (
                candidate("STOP", r#"{"text": "x", "thought": true}"#),
                ("no_content", true),
            ),
            (candidate("STOP", r#"{"text": "I cannot."}"#), ("not_json", true)),
            (candidate("STOP", r#"{"text": "{\"a\": "}"#), ("truncated", true)),
        ];
        for (body, wanted) in rows {
            assert_eq!(reason(&body), wanted, "{body}");
        }
        let packed = Reply {
            encoding: Some("gzip".into()),
            ..reply("{}")
        };
        assert_eq!(read(&packed).unwrap_err().reason, "encoding");
    }

    #[test]
    fn thinking_is_paid_as_output() {
        let body = r#"{"usageMetadata": {"promptTokenCount": 1702, "candidatesTokenCount": 24, "thoughtsTokenCount": 311, "totalTokenCount": 2037}}"#;
        let usage = used(body.as_bytes()).unwrap();
        assert_eq!((usage.input, usage.output), (1702, 335));
        assert_eq!(used(b"{}"), None);
    }

    fn question() -> Question<'static> {
        let video = Video {
            mp4: Arc::new(vec![7; 3000]),
            wav: Arc::new(vec![8; 30]),
            seconds: 2.0,
            fps: 4.0,
            pictures: 8,
            pixels: 854 * 480,
        };
        Question {
            prompt: "bind@1",
            words: "Bind.",
            schema: (
                "binding",
                json!({"type": "object", "properties": {"type": {"type": "string"}}}),
            ),
            parts: vec![Part::Video(video), Part::Text("Who?".into())],
            seed: 7,
            max_tokens: 100,
        }
    }

    fn body(call: &Call) -> Value {
        match &call.body {
            Body::Json(text) => serde_json::from_slice(text).unwrap(),
            _ => panic!(),
        }
    }

    #[test]
    fn a_clip_is_sent_in_the_request_or_as_a_file() {
        let (question, endpoint) = (question(), Endpoint::default());
        let small = call(&question, "gemini-2.5-pro", &Options::default(), &endpoint, None);
        assert_eq!(small.path, "/v1beta/models/gemini-2.5-pro:generateContent");
        let part = &body(&small)["contents"][0]["parts"][0];
        assert!(
            part["inlineData"]["data"].is_string()
                && part["videoMetadata"]["fps"] == 4.0
                && small.media.is_empty()
        );
        let schema = &body(&small)["generationConfig"]["responseSchema"];
        assert_eq!(
            *schema,
            json!({"type": "OBJECT", "properties": {"type": {"type": "STRING"}}})
        );
        let options = Options {
            inline_bytes: 2000,
            ..Options::default()
        };
        let large = call(&question, "gemini-2.5-pro", &options, &endpoint, None);
        let part = &body(&large)["contents"][0]["parts"][0];
        assert_eq!(part["fileData"]["fileUri"], large.media[0].placeholder());
        assert_ne!(small.key(), large.key());
        assert_eq!(most(&question, None).output, 100);
        assert!(most(&question, None).input >= 8 * 258 + 64);
    }

    #[test]
    fn a_cut_answer_gets_twice_the_tokens_and_another_one_a_reason() {
        let question = question();
        let asked = |reason| {
            let complaint = Complaint {
                answer: candidate("STOP", r#"{"text": "{}"}"#),
                why: Unusable::new(reason, "too long"),
            };
            body(&call(
                &question,
                "m",
                &Options::default(),
                &Endpoint::default(),
                Some(&complaint),
            ))
        };
        let cut = asked(TRUNCATED);
        assert_eq!(cut["generationConfig"]["maxOutputTokens"], 200);
        assert_eq!(cut["contents"].as_array().unwrap().len(), 1);
        let wrong = asked("schema");
        assert_eq!(wrong["generationConfig"]["maxOutputTokens"], 100);
        assert_eq!(wrong["contents"][1]["parts"][0]["text"], "{}");
        assert!(
            wrong["contents"][2]["parts"][0]["text"]
                .as_str()
                .unwrap()
                .contains("too long")
        );
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_harm(text in "[\\{\\}\"a:,\\[\\]candidates ]{0,80}") {
            let _ = (read(&reply(&text)), used(text.as_bytes()));
        }
    }
}
