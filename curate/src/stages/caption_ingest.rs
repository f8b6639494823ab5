//! The captions a clip comes with: those of its own row, or of a manifest the user has.

use super::{BuildError, Entry};
use crate::ingest::{Manifest, text};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Caption, Clip};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What changes the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The manifest (JSONL, CSV or Parquet); absent: the caption of the clip's own row.
    pub file: Option<PathBuf>,
    /// Names of its fields.
    pub fields: Fields,
}

/// Names of the fields in the user's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// The clip's key.
    pub clip: String,
    /// What is seen.
    pub caption: String,
    /// What is heard.
    pub audio_caption: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            clip: "clip".into(),
            caption: "caption".into(),
            audio_caption: "audio_caption".into(),
        }
    }
}

/// Listed as `caption_ingest`.
pub const ENTRY: Entry = Entry {
    name: Ingest::NAME,
    about: "captions of the clip's own row, or of a manifest the user has",
    build: |table, _kit| {
        let settings: Settings = table.read()?;
        let fields = &settings.fields;
        let read =
            |file: &PathBuf| Manifest::open(file, &fields.clip, &[&fields.caption, &fields.audio_caption]);
        let manifest = settings.file.as_ref().map(read).transpose();
        Ok(Box::new(Ingest {
            manifest: manifest.map_err(|error| BuildError::Input(error.to_string()))?,
            fields: settings.fields,
        }))
    },
};

struct Ingest {
    fields: Fields,
    manifest: Option<Manifest>,
}

impl Stage for Ingest {
    type In = One<Clip>;
    type Out = Caption;
    const NAME: &'static str = "caption_ingest";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let file = self.manifest.as_ref().map(Manifest::hash);
        serde_json::json!({ "fields": self.fields, "file": file })
    }

    fn run(&self, One(clip): Self::In, _cx: &Cx<'_>) -> Result<Vec<Caption>, Fault> {
        let rows = self.manifest.as_ref().map(|manifest| manifest.rows(&clip.clip));
        let rows = rows.transpose().map_err(|error| Fault::Stop(error.into()))?;
        Ok(vec![match rows.iter().flatten().next() {
            Some(row) => Caption {
                caption: text(row, &self.fields.caption),
                audio_caption: text(row, &self.fields.audio_caption),
                origin: "ingest".into(),
                clip: clip.clip,
            },
            None => Caption {
                caption: clip.caption,
                audio_caption: None,
                origin: "row".into(),
                clip: clip.clip,
            },
        }])
    }
}
