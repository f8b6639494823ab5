//! Transcripts from a manifest the user has: one row per clip with a list of segments, or one row per segment.

use super::{BuildError, Entry};
use crate::ingest::{self, ByClip, number, text};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Segment, Transcript};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What changes the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The manifest (JSONL, CSV or Parquet).
    pub file: PathBuf,
    /// Names of its fields.
    pub fields: Fields,
}

/// Names of the fields in the user's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// The clip's key.
    pub clip: String,
    /// A list of segments; rows without it are segments themselves.
    pub segments: String,
    /// The speaker of a segment; `S1` when absent.
    pub speaker: String,
    /// Its words.
    pub text: String,
    /// Its start, seconds.
    pub start: String,
    /// Its end, seconds.
    pub end: String,
    /// Its language; `und` when absent.
    pub language: String,
    /// The audio caption of the clip.
    pub audio_caption: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            clip: "clip".into(),
            segments: "segments".into(),
            speaker: "speaker".into(),
            text: "text".into(),
            start: "start".into(),
            end: "end".into(),
            language: "language".into(),
            audio_caption: "audio_caption".into(),
        }
    }
}

/// Listed as `transcript_ingest`.
pub const ENTRY: Entry = Entry {
    name: Ingest::NAME,
    about: "transcripts from a manifest the user has, in place of `transcribe`",
    build: |table, _kit| {
        let settings: Settings = table.read()?;
        if settings.file.as_os_str().is_empty() {
            return Err(table.error("file", "must name the manifest").into());
        }
        let wrong = |error: ingest::IngestError| BuildError::Input(error.to_string());
        let hash = ingest::hash(&settings.file).map_err(wrong)?;
        let rows = ingest::read(&settings.file, &settings.fields.clip).map_err(wrong)?;
        Ok(Box::new(Ingest {
            fields: settings.fields,
            hash,
            rows,
        }))
    },
};

struct Ingest {
    fields: Fields,
    hash: String,
    rows: ByClip,
}

impl Stage for Ingest {
    type In = One<Clip>;
    type Out = Transcript;
    const NAME: &'static str = "transcript_ingest";
    const VERSION: u32 = 1;

    fn settings(&self) -> Value {
        serde_json::json!({ "fields": self.fields, "file": self.hash })
    }

    fn run(&self, One(clip): Self::In, _cx: &Cx<'_>) -> Result<Vec<Transcript>, Fault> {
        let rows = self
            .rows
            .get(&clip.clip)
            .ok_or_else(|| Fault::Drop("no_transcript".into()))?;
        let mut segments = Vec::new();
        for row in rows {
            self.collect(row, clip.seconds, &mut segments)?;
        }
        segments
            .sort_by(|a: &Segment, b: &Segment| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
        Ok(vec![Transcript {
            clip: clip.clip,
            segments,
            audio_caption: rows.iter().find_map(|row| text(row, &self.fields.audio_caption)),
            origin: "ingest".into(),
        }])
    }
}

impl Ingest {
    fn collect(&self, row: &Map<String, Value>, seconds: f64, out: &mut Vec<Segment>) -> Result<(), Fault> {
        let bad = || Fault::Drop("bad_transcript".into());
        let nested = match row.get(&self.fields.segments) {
            None | Some(Value::Null) => {
                return self
                    .segment(row, seconds)
                    .map(|segment| out.push(segment))
                    .ok_or_else(bad);
            }
            Some(Value::String(json)) => serde_json::from_str(json).map_err(|_| bad())?,
            Some(Value::Array(items)) => items.clone(),
            Some(_) => return Err(bad()),
        };
        for item in nested {
            let segment = item
                .as_object()
                .and_then(|row| self.segment(row, seconds))
                .ok_or_else(bad)?;
            out.push(segment);
        }
        Ok(())
    }

    /// A segment inside the clip; `None` when it has no words or no sound times.
    fn segment(&self, row: &Map<String, Value>, seconds: f64) -> Option<Segment> {
        let fields = &self.fields;
        let (start, end) = (number(row, &fields.start)?, number(row, &fields.end)?);
        // Half a second of slack: transcripts are timed on the sound, which may outlast the pictures.
        (0.0 <= start && start < end && end <= seconds + 0.5).then_some(())?;
        Some(Segment {
            speaker: text(row, &fields.speaker).unwrap_or_else(|| "S1".into()),
            text: text(row, &fields.text)?,
            start,
            end,
            language: text(row, &fields.language).unwrap_or_else(|| "und".into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn collect(row: Value) -> Result<Vec<Segment>, String> {
        let ingest = Ingest {
            fields: Fields::default(),
            hash: String::new(),
            rows: ByClip::new(),
        };
        let mut out = Vec::new();
        match ingest.collect(row.as_object().unwrap(), 3.0, &mut out) {
            Ok(()) => Ok(out),
            Err(Fault::Drop(reason)) => Err(reason),
            Err(Fault::Stop(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn nested_and_flat_rows_are_read() {
        let segment = json!({ "speaker": "A", "text": " hi ", "start": 0.5, "end": "1.5", "language": "en" });
        let flat = collect(segment.clone()).unwrap();
        assert_eq!(flat, collect(json!({ "segments": [segment.clone()] })).unwrap());
        assert_eq!(
            flat,
            collect(json!({ "segments": json!([segment]).to_string() })).unwrap()
        );
        assert_eq!((flat[0].text.as_str(), flat[0].end), ("hi", 1.5));
    }

    #[test]
    fn impossible_times_are_refused() {
        for (start, end) in [(1.0, 1.0), (2.0, 1.0), (-0.1, 1.0), (0.0, 3.6)] {
            assert_eq!(
                collect(json!({ "text": "x", "start": start, "end": end })).unwrap_err(),
                "bad_transcript"
            );
        }
    }
}
