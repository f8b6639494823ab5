//! Any OpenAI-compatible transcription endpoint: words and times; who speaks must come from elsewhere.

use super::{
    Endpoint,
    ask::{self, Unusable},
};
use omni_net::service::{Body, Call, Part, Reply, Usage};
use serde::Deserialize;

/// Name of the service.
pub const SERVICE: &str = "whisper";

/// The request for one WAV file; `language` is ISO 639-1.
pub fn call(model: &str, endpoint: &Endpoint, wav: Vec<u8>, seconds: f64, language: Option<&str>) -> Call {
    let mut parts = vec![
        Part::file("file", "clip.wav", "audio/wav", wav),
        Part::text("model", model),
        Part::text("response_format", "verbose_json"),
        Part::text("timestamp_granularities[]", "segment"),
        Part::text("temperature", "0"),
    ];
    parts.extend(language.map(|language| Part::text("language", language)));
    let most = Usage {
        seconds: seconds.ceil(),
        ..Usage::default()
    };
    Call {
        price: endpoint.price(most, used),
        ..Call::post(
            SERVICE,
            "verbose_json@1",
            "/v1/audio/transcriptions",
            Body::Form(parts),
        )
    }
}

/// What was said, and when.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answer {
    /// ISO 639-1 code, or the language's English name.
    pub language: String,
    /// Seconds of the sound.
    pub duration: f64,
    /// The utterances.
    pub segments: Vec<Said>,
}

/// One utterance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Said {
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    /// The words, often with a blank before them.
    pub text: String,
}

fn used(body: &[u8]) -> Option<Usage> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(Usage {
        seconds: answer.duration.max(0.0),
        ..Usage::default()
    })
}

/// Reads an answer with times.
///
/// # Errors
/// `encoding`, `schema` (an answer without segments has no times), `times_reversed`, `beyond_clip`.
pub fn read(reply: &Reply, seconds: f64) -> Result<Answer, Unusable> {
    ask::uncompressed(reply)?;
    let mut answer: Answer = serde_json::from_slice(&reply.body)
        .map_err(|error| Unusable::new("schema", format!("no verbose_json: {error}")))?;
    for said in &answer.segments {
        if !(said.start >= 0.0 && said.end >= said.start) {
            return Err(Unusable::new(
                "times_reversed",
                format!("a segment goes from {} to {}", said.start, said.end),
            ));
        }
        // Whisper rounds to windows of its own, so a generous bound.
        if said.start > seconds + 1.0 {
            return Err(Unusable::new(
                "beyond_clip",
                format!("a segment begins at {}", said.start),
            ));
        }
    }
    answer
        .segments
        .retain(|said| !said.text.trim().is_empty() && said.start < seconds);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_answer_for_each_rule() {
        let read = |body: &str| read(&Reply::ok(body), 2.0).map_or_else(|error| error.reason, |_| "good");
        let one = |start: f64, end: f64| {
            format!(
                r#"{{"text": "a", "language": "en", "duration": 2.0, "words": null, "segments": [
                    {{"id": 0, "start": {start}, "end": {end}, "text": " a", "no_speech_prob": null}}]}}"#
            )
        };
        assert_eq!(read(&one(0.4, 1.1)), "good");
        assert_eq!(read(&one(1.1, 0.4)), "times_reversed");
        assert_eq!(read(&one(9.0, 9.5)), "beyond_clip");
        assert_eq!(
            read(r#"{"text": "a", "usage": {"type": "duration", "seconds": 1}}"#),
            "schema"
        );
        assert_eq!(read("a"), "schema");
    }
}
