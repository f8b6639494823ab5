//! A request as it came over the wire.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use serde_json::Value;

use crate::decode;

/// The longest body taken.
const MAX_BODY: usize = 256 << 20;

/// One part of a form.
#[derive(Debug, Clone)]
pub(crate) struct FormPart {
    pub(crate) name: String,
    pub(crate) is_file: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// GET or POST.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names (lower case) and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one; `None` when the client has closed the connection between two requests.
    pub(crate) fn read(from: &mut impl BufRead) -> Result<Option<Request>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let bad = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
        let mut words = line.split_whitespace();
        let mut word = || {
            words
                .next()
                .map(str::to_owned)
                .ok_or_else(|| bad("no request line"))
        };
        let mut request = Request {
            method: word()?,
            path: word()?,
            ..Request::default()
        };
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| bad("a header without a colon"))?;
            request
                .headers
                .push((name.to_lowercase(), value.trim().to_owned()));
        }
        request.read_body(from)?;
        Ok(Some(request))
    }

    fn read_body(&mut self, from: &mut impl BufRead) -> Result<()> {
        if let Some(length) = self.header("content-length") {
            let length = length.parse::<usize>().ok().filter(|length| *length <= MAX_BODY);
            let length = length.ok_or_else(|| Error::new(ErrorKind::InvalidData, "a bad length"))?;
            self.body.resize(length, 0);
            return from.read_exact(&mut self.body);
        }
        if self.header("transfer-encoding") != Some("chunked") {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16);
            let length = length.map_err(|_| Error::new(ErrorKind::InvalidData, "a bad chunk"))?;
            let start = self.body.len();
            self.body.resize(start + length.min(MAX_BODY), 0);
            from.read_exact(&mut self.body[start..])?;
            from.read_exact(&mut [0; 2])?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// A header's value, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn body_holds(&self, words: &[u8]) -> bool {
        words.is_empty() || self.body.windows(words.len()).any(|window| window == words)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The parts of a form; `None` when the body is none.
    pub(crate) fn form(&self) -> Option<Vec<FormPart>> {
        let kind = self.header("content-type")?;
        let boundary = kind
            .strip_prefix("multipart/form-data")?
            .split_once("boundary=")?
            .1;
        let mark = format!("--{}", boundary.trim_matches('"')).into_bytes();
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some(found) = find(&self.body[at..], &mark) {
            starts.push(at + found);
            at += found + mark.len();
        }
        let between = starts
            .windows(2)
            .map(|pair| &self.body[pair[0] + mark.len()..pair[1]]);
        Some(between.filter_map(form_part).collect())
    }

    /// Hashes of the body, of a form's parts and of media inside JSON.
    pub(crate) fn hashes(&self) -> Vec<String> {
        let mut hashes = vec![decode::sha256(&self.body)];
        hashes.extend(
            self.form()
                .into_iter()
                .flatten()
                .map(|part| decode::sha256(&part.bytes)),
        );
        if let Some(json) = self.json() {
            media(&json, &mut |bytes| hashes.push(decode::sha256(bytes)));
        }
        hashes
    }

    /// Names of a form's parts, in order.
    pub(crate) fn part_names(&self) -> Vec<String> {
        self.form().into_iter().flatten().map(|part| part.name).collect()
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

fn form_part(bytes: &[u8]) -> Option<FormPart> {
    let split = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let body = bytes.get(split + 4..bytes.len().checked_sub(2)?)?;
    let (_, name) = head.split_once("name=\"")?;
    Some(FormPart {
        name: name.split('"').next()?.to_owned(),
        is_file: head.contains("filename="),
        bytes: body.to_vec(),
    })
}

/// Every medium inside JSON: `data:` addresses, and `data` beside a type or format.
pub(crate) fn media(value: &Value, each: &mut dyn FnMut(&[u8])) {
    match value {
        Value::String(text) => {
            let coded = text
                .strip_prefix("data:")
                .and_then(|rest| rest.split_once(";base64,"));
            if let Some(bytes) = coded.and_then(|(_, coded)| decode::base64(coded)) {
                each(&bytes);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| media(value, each)),
        Value::Object(fields) => {
            let typed = fields.contains_key("mimeType") || fields.contains_key("format");
            if let (true, Some(Value::String(coded))) = (typed, fields.get("data"))
                && let Some(bytes) = decode::base64(coded)
            {
                each(&bytes);
            }
            fields.values().for_each(|value| media(value, each));
        }
        _ => {}
    }
}

/// Reads what is left of a connection, so that closing it does not reset what was sent.
pub(crate) fn drain(from: &mut impl Read) {
    let mut buffer = [0; 4096];
    while matches!(from.read(&mut buffer), Ok(n) if n > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart_and_media_in_json_are_hashed() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"p.wav\"\r\nContent-Type: audio/wav\r\n\r\nRI\r\nFF\r\n--XX--\r\n";
        let text = format!(
            "POST /x HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let request = Request::read(&mut text.as_bytes()).unwrap().unwrap();
        let form = request.form().unwrap();
        assert_eq!(request.part_names(), ["a", "f"]);
        assert_eq!((form[0].bytes.as_slice(), form[0].is_file), (&b"one"[..], false));
        assert_eq!(
            (form[1].bytes.as_slice(), form[1].is_file),
            (&b"RI\r\nFF"[..], true)
        );
        let json = Request {
            body: br#"{"a": [{"url": "data:audio/wav;base64,Zm9v"}, {"mimeType": "x", "data": "YmFy"}]}"#
                .to_vec(),
            ..Request::default()
        };
        let hashes = json.hashes();
        assert!(hashes.contains(&decode::sha256(b"foo")) && hashes.contains(&decode::sha256(b"bar")));
    }
}
