//! Hashes of settings that do not depend on the order keys were written in.

use serde_json::Value;

/// BLAKE3 (64 hex digits) of the canonical JSON text: no spaces, keys sorted by their bytes at every level.
pub fn fingerprint(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            between(out, '{', '}', entries, |out, (key, value)| {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
            });
        }
        Value::Array(items) => between(out, '[', ']', items, |out, item| canonical(item, out)),
        plain => out.push_str(&plain.to_string()),
    }
}

fn between<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_does_not_matter_and_everything_else_does() {
        let parse = |text: &str| fingerprint(&serde_json::from_str(text).unwrap());
        let base = parse(r#"{"b":[1,{"y":null,"x":"é"}],"a":1.5}"#);
        assert_eq!(base, parse(r#"{ "a": 1.5, "b": [1, {"x": "é", "y": null}] }"#));
        // `printf '{"a":1.5,"b":[1,{"x":"é","y":null}]}' | b3sum`
        assert_eq!(
            base,
            blake3::hash(r#"{"a":1.5,"b":[1,{"x":"é","y":null}]}"#.as_bytes())
                .to_hex()
                .to_string()
        );
        for other in [
            r#"{"b":[{"y":null,"x":"é"},1],"a":1.5}"#,
            r#"{"b":[1,{"y":null,"x":"é"}],"a":"1.5"}"#,
            "{}",
        ] {
            assert_ne!(base, parse(other));
        }
    }
}
