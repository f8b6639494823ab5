//! The transcript a model claims, checked rule by rule. One reason for each rule.

use super::ask::Unusable;
use omni_schemas::Segment;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Seconds that an end may lie beyond the clip: models round.
const SLACK: f64 = 0.5;
/// More words a second than anyone speaks.
const MOST_WORDS: f64 = 12.0;
/// More characters a second than anyone speaks, for languages written without blanks.
const MOST_CHARACTERS: f64 = 25.0;

/// What the model must answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Claim {
    segments: Vec<ClaimedSegment>,
    audio_caption: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ClaimedSegment {
    speaker: String,
    text: String,
    start: f64,
    end: f64,
    language: String,
}

/// What was found sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The utterances, by start.
    pub segments: Vec<Segment>,
    /// The sentence on the sound; absent when the model gave none.
    pub audio_caption: Option<String>,
}

/// The JSON Schema that is sent along.
pub fn schema() -> Value {
    let text = serde_json::json!({"type": "string"});
    let number = serde_json::json!({"type": "number"});
    serde_json::json!({"type": "object", "required": ["segments", "audio_caption"], "properties": {
        "audio_caption": text,
        "segments": {"type": "array", "items": {"type": "object",
            "required": ["speaker", "text", "start", "end", "language"],
            "properties": {"speaker": text, "text": text, "start": number, "end": number, "language": text}}}}})
}

/// Checks an answer against a clip of so many seconds. An answer without speech is believed the second time only.
///
/// # Errors
/// The first rule that does not hold.
pub fn check(answer: Map<String, Value>, seconds: f64, asked_before: bool) -> Result<Checked, Unusable> {
    let claim: Claim = serde_json::from_value(Value::Object(answer))
        .map_err(|error| Unusable::new("schema", format!("the answer breaks the schema: {error}")))?;
    if claim.segments.is_empty() && !asked_before {
        return Err(Unusable::new(
            "empty",
            "there are no segments; listen again, and answer the same only if nobody speaks",
        ));
    }
    let caption = claim.audio_caption.trim().to_owned();
    let segments = segments(claim.segments, seconds)?;
    Ok(Checked {
        segments,
        audio_caption: (!caption.is_empty()).then_some(caption),
    })
}

fn segments(claimed: Vec<ClaimedSegment>, seconds: f64) -> Result<Vec<Segment>, Unusable> {
    let mut segments = Vec::with_capacity(claimed.len());
    for said in claimed {
        segments.push(segment(said, seconds)?);
    }
    segments.sort_by(|a, b| a.start.total_cmp(&b.start));
    one_name_each(&segments)?;
    no_overlap(&segments)?;
    Ok(segments)
}

fn segment(said: ClaimedSegment, seconds: f64) -> Result<Segment, Unusable> {
    let text = said.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let speaker = said.speaker.trim().to_owned();
    if text.is_empty() || speaker.is_empty() {
        return Err(Unusable::new(
            "empty_field",
            "every segment needs a speaker and a text",
        ));
    }
    if text.contains("<S>") || text.contains("<E>") || text.contains("<sub") {
        return Err(Unusable::new(
            "markup",
            "a text holds marks of the caption format",
        ));
    }
    let (start, end) = (said.start, said.end);
    if !start.is_finite() || !end.is_finite() || start < 0.0 || end <= start {
        return Err(Unusable::new(
            "times_reversed",
            format!("a segment goes from {start} to {end}"),
        ));
    }
    if end > seconds + SLACK || start >= seconds {
        return Err(Unusable::new(
            "beyond_clip",
            format!("a segment ends at {end}, the clip at {seconds:.2} seconds"),
        ));
    }
    let language = said.language.trim().to_lowercase();
    if !(2..=3).contains(&language.len()) || !language.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return Err(Unusable::new(
            "language",
            format!("`{language}` is no ISO 639-1 code"),
        ));
    }
    not_too_fast(&text, &language, end - start)?;
    Ok(Segment {
        speaker,
        text,
        start: millis(start),
        end: millis(end.min(seconds)),
        language,
    })
}

/// Models that loop say one thing hundreds of times.
fn not_too_fast(text: &str, language: &str, seconds: f64) -> Result<(), Unusable> {
    let (count, most) = match ["zh", "yue", "ja", "th", "lo", "my", "km"].contains(&language) {
        true => (
            text.chars().filter(|letter| letter.is_alphanumeric()).count(),
            MOST_CHARACTERS,
        ),
        false => (text.split(' ').count(), MOST_WORDS),
    };
    // A short word may be cut close.
    match count as f64 > 3.0 + most * seconds {
        true => Err(Unusable::new(
            "repetition",
            format!("{count} words or characters in {seconds:.2} seconds"),
        )),
        false => Ok(()),
    }
}

/// `S1` and `speaker 1` are one voice under two names.
fn one_name_each(segments: &[Segment]) -> Result<(), Unusable> {
    let number = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    for a in segments {
        let clash = segments.iter().find(|b| {
            a.speaker != b.speaker
                && !number(&a.speaker).is_empty()
                && number(&a.speaker) == number(&b.speaker)
        });
        if let Some(b) = clash {
            let detail = format!(
                "`{}` and `{}` look like one speaker; use one name",
                a.speaker, b.speaker
            );
            return Err(Unusable::new("two_names", detail));
        }
    }
    Ok(())
}

fn no_overlap(segments: &[Segment]) -> Result<(), Unusable> {
    for (at, a) in segments.iter().enumerate() {
        let next = segments.iter().skip(at + 1).find(|b| b.speaker == a.speaker);
        if let Some(b) = next.filter(|b| b.start < a.end - 0.05) {
            let detail = format!("two segments of {} overlap at {} seconds", a.speaker, b.start);
            return Err(Unusable::new("overlap", detail));
        }
    }
    Ok(())
}

fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(speaker: &str, text: &str, start: f64, end: f64, language: &str) -> Value {
        json!({"speaker": speaker, "text": text, "start": start, "end": end, "language": language})
    }

    fn reason(segments: &[Value]) -> &'static str {
        let answer = json!({"segments": segments, "audio_caption": "Quiet."});
        let Value::Object(answer) = answer else { panic!() };
        check(answer, 2.0, false).map_or_else(|error| error.reason, |_| "good")
    }

    #[test]
    fn one_bad_answer_for_each_rule() {
        let good = said("S1", "Come in.", 0.1, 0.6, "en");
        assert_eq!(reason(std::slice::from_ref(&good)), "good");
        assert_eq!(
            reason(&[
                said("S1", "希望你以后", 0.1, 1.6, "zh"),
                said("S2", "Oui.", 1.6, 2.3, "fr")
            ]),
            "good"
        );
        let rows = [
            ("schema", vec![json!({"speaker": "S1", "text": "a"})]),
            (
                "schema",
                vec![
                    json!({"speaker": "S1", "text": "a", "start": "00:00.1", "end": "00:00.6", "language": "en"}),
                ],
            ),
            ("empty", vec![]),
            ("empty_field", vec![said(" ", "a", 0.1, 0.6, "en")]),
            ("empty_field", vec![said("S1", " ", 0.1, 0.6, "en")]),
            ("markup", vec![said("S1", "<S>Come in.<E>", 0.1, 0.6, "en")]),
            ("times_reversed", vec![said("S1", "a", 0.6, 0.1, "en")]),
            ("times_reversed", vec![said("S1", "a", -0.5, 0.1, "en")]),
            ("beyond_clip", vec![said("S1", "a", 0.1, 9.0, "en")]),
            ("beyond_clip", vec![said("S1", "a", 2.1, 2.3, "en")]),
            ("language", vec![said("S1", "a", 0.1, 0.6, "English")]),
            ("repetition", vec![said("S1", &"no ".repeat(400), 0.1, 0.6, "en")]),
            ("repetition", vec![said("S1", &"不".repeat(100), 0.1, 0.6, "zh")]),
            (
                "two_names",
                vec![good.clone(), said("speaker 1", "b", 0.7, 0.9, "en")],
            ),
            ("overlap", vec![good.clone(), said("S1", "b", 0.2, 0.7, "en")]),
        ];
        for (wanted, segments) in rows {
            assert_eq!(reason(&segments), wanted, "{segments:?}");
        }
        assert_eq!(
            reason(&[good, said("S2", "Two at once.", 0.2, 0.7, "en")]),
            "good"
        );
    }

    #[test]
    fn silence_is_believed_the_second_time() {
        let Value::Object(answer) = json!({"segments": [], "audio_caption": " "}) else {
            panic!()
        };
        assert_eq!(check(answer.clone(), 2.0, false).unwrap_err().reason, "empty");
        let checked = check(answer, 2.0, true).unwrap();
        assert_eq!((checked.segments.len(), checked.audio_caption), (0, None));
    }

    #[test]
    fn ends_just_beyond_the_clip_are_drawn_in() {
        let Value::Object(answer) =
            json!({"segments": [said("S1", "a", 1.5, 2.3, "en")], "audio_caption": "x"})
        else {
            panic!()
        };
        assert_eq!(check(answer, 2.0, false).unwrap().segments[0].end, 2.0);
    }
}
