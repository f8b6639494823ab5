//! The one JSON object in what a model says: bare, inside a Markdown fence, or behind some prose.

use super::ask::Unusable;
use serde_json::{Map, Value};

/// Most bytes of an answer that are looked at.
const MAX: usize = 1 << 20;

/// The object.
///
/// # Errors
/// `not_json` without one, `two_objects` with several, `truncated` when it is cut.
pub fn object(text: &str) -> Result<Map<String, Value>, Unusable> {
    if text.len() > MAX {
        return Err(Unusable::new("too_long", "the answer is longer than a megabyte"));
    }
    let mut found: Option<Map<String, Value>> = None;
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let tail = rest.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(tail).into_iter::<Value>();
        match values.next() {
            Some(Ok(Value::Object(object))) => {
                if found.is_some() {
                    return Err(Unusable::new(
                        "two_objects",
                        "there must be one JSON object, not several",
                    ));
                }
                found = Some(object);
                rest = tail.get(values.byte_offset()..).unwrap_or_default();
            }
            Some(Err(error)) if error.is_eof() && found.is_none() => {
                return Err(Unusable::new("truncated", "the JSON object has no end"));
            }
            _ => rest = tail.get(1..).unwrap_or_default(),
        }
    }
    found.ok_or_else(|| Unusable::new("not_json", "there is no JSON object in the answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(text: &str) -> &'static str {
        object(text).map_or_else(|error| error.reason, |_| "good")
    }

    #[test]
    fn bare_fenced_and_behind_prose_are_read_and_nothing_else() {
        for good in [
            r#"{"a": 1}"#,
            "```json\n{\"a\": {\"b\": []}}\n```",
            "Here it is {as you asked}: {\"a\": 1} Bye.",
        ] {
            assert_eq!(reason(good), "good", "{good}");
        }
        assert_eq!(reason("I cannot help."), "not_json");
        assert_eq!(reason(""), "not_json");
        assert_eq!(reason("[1, 2]"), "not_json");
        assert_eq!(reason(r#"{"a": 1}{"b": 2}"#), "two_objects");
        assert_eq!(reason(r#"{"a": [1, 2"#), "truncated");
        assert_eq!(reason(&" ".repeat(2 << 20)), "too_long");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[\\{\\}\"a:,\\[\\]é ]{0,60}") {
            let _ = object(&text);
        }
    }
}
