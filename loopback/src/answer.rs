//! An answer before it goes on the wire.

use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// In chunks of so many bytes, without a length.
    pub(crate) chunks: Option<usize>,
    /// The connection ends without the final chunk.
    pub(crate) broken_end: bool,
}

impl Answer {
    pub(crate) fn json(status: u16, text: &str) -> Answer {
        Answer {
            status,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: text.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    pub(crate) fn value(status: u16, value: &Value) -> Answer {
        Answer::json(status, &value.to_string())
    }
}
