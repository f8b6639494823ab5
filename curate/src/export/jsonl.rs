//! One clip a line, with everything known of it: the form to read with anything.

use super::{Item, Writer, folder::Staging};
use crate::finished::Error;
use serde_json::{Value, json};

/// `data.jsonl`, `videos/`, `references/`.
#[derive(Default)]
pub(super) struct Jsonl {
    pub(super) lines: String,
}

impl Writer for Jsonl {
    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error> {
        let mut row = item.row.clone();
        if let Some(name) = staging.media(item)? {
            row.insert("video".into(), json!(name));
        }
        staging.references(item, &mut row)?;
        self.lines += &Value::Object(row).to_string();
        self.lines.push('\n');
        Ok(())
    }

    fn finish(&mut self, staging: &Staging) -> Result<(), Error> {
        staging.write("data.jsonl", self.lines.as_bytes())
    }
}
