//! The dataset file of the LTX trainer (`scripts/process_dataset.py`): a JSON list of `caption` and `video`.
//!
//! The trainer knows its columns by name and leaves others alone, so `clip`, `licence` and `source` go along; none of
//! its own names (`audio`, `reference_video`, `reference_audio`, `video_mask`, `audio_mask`) is used for anything else.

use super::{Item, Writer, folder::Staging};
use crate::finished::Error;
use serde_json::{Value, json};

/// `dataset.json`, `videos/`.
#[derive(Default)]
pub(super) struct Ltx {
    rows: Vec<Value>,
}

impl Writer for Ltx {
    /// The trainer reads whole files.
    fn tells_stretches(&self) -> bool {
        false
    }

    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error> {
        let video = staging
            .media(item)?
            .map_or_else(|| json!(item.media), Value::from);
        self.rows.push(json!({
            "caption": item.prompt, "video": video, "clip": item.row["clip"], "licence": item.licence,
            "source": item.row["source"], "source_video": item.row["source_video"],
        }));
        Ok(())
    }

    fn finish(&mut self, staging: &Staging) -> Result<(), Error> {
        let text = format!("{:#}\n", Value::Array(std::mem::take(&mut self.rows)));
        staging.write("dataset.json", text.as_bytes())
    }
}
