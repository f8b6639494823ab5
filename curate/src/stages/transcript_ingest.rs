//! Transcripts the user has: those of a manifest (one row per clip with a list of segments, or one row per segment),
//! and for clips it does not name the text that came with the clip itself (a side file, a column of its table).
//!
//! Such text is a list of segments as JSON, or plain words. Plain words tell neither who speaks nor when: they make
//! one segment of one speaker, as long as the clip.

use super::{BuildError, Entry};
use crate::ingest::{Manifest, number, text};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Listing, Segment, Transcript};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What changes the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The manifest (JSONL, CSV or Parquet); absent: the transcript of the clip's own row.
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

impl Fields {
    /// All but the clip's key.
    fn of_a_row(&self) -> [&str; 7] {
        [
            &self.segments,
            &self.speaker,
            &self.text,
            &self.start,
            &self.end,
            &self.language,
            &self.audio_caption,
        ]
    }
}

/// Listed as `transcript_ingest`.
pub const ENTRY: Entry = Entry {
    name: Ingest::NAME,
    about: "transcripts from a manifest the user has or beside the clips, in place of `transcribe`",
    build: |table, _kit| {
        let settings: Settings = table.read()?;
        if settings
            .file
            .as_ref()
            .is_some_and(|file| file.as_os_str().is_empty())
        {
            return Err(table.error("file", "must name the manifest").into());
        }
        let fields = &settings.fields;
        let read = |file: &PathBuf| Manifest::open(file, &fields.clip, &fields.of_a_row());
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
    type In = (One<Clip>, One<Listing>);
    type Out = Transcript;
    const NAME: &'static str = "transcript_ingest";
    const VERSION: u32 = 2;

    fn settings(&self) -> Value {
        serde_json::json!({ "fields": self.fields, "file": self.manifest.as_ref().map(Manifest::hash) })
    }

    fn run(&self, (One(clip), One(listing)): Self::In, _cx: &Cx<'_>) -> Result<Vec<Transcript>, Fault> {
        let rows = self.manifest.as_ref().map(|manifest| manifest.rows(&clip.clip));
        let rows = rows.transpose().map_err(|error| Fault::Stop(error.into()))?;
        let rows = rows.filter(|rows| !rows.is_empty());
        let transcript = match (rows, listing.transcript) {
            (Some(rows), _) => self.of_rows(clip.clip, clip.seconds, &rows),
            (None, Some(words)) => self.of_words(clip.clip, clip.seconds, words),
            (None, None) => Err(Fault::drop("no_transcript")),
        };
        Ok(vec![transcript?])
    }
}

impl Ingest {
    fn of_rows(&self, clip: String, seconds: f64, rows: &[Map<String, Value>]) -> Result<Transcript, Fault> {
        let mut segments = Vec::new();
        for row in rows {
            self.collect(row, seconds, &mut segments)?;
        }
        segments
            .sort_by(|a: &Segment, b: &Segment| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
        Ok(Transcript {
            clip,
            segments,
            audio_caption: rows.iter().find_map(|row| text(row, &self.fields.audio_caption)),
            origin: "ingest".into(),
        })
    }

    fn of_words(&self, clip: String, seconds: f64, words: String) -> Result<Transcript, Fault> {
        let origin = "row".into();
        if let Ok(list @ Value::Array(_)) = serde_json::from_str(&words) {
            let row = Map::from_iter([(self.fields.segments.clone(), list)]);
            let transcript = self.of_rows(clip, seconds, &[row])?;
            return Ok(Transcript { origin, ..transcript });
        }
        let segment = Segment {
            speaker: "S1".into(),
            text: words,
            start: 0.0,
            end: seconds,
            language: "und".into(),
        };
        Ok(Transcript {
            clip,
            segments: vec![segment],
            audio_caption: None,
            origin,
        })
    }

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

    fn ingest() -> Ingest {
        Ingest {
            fields: Fields::default(),
            manifest: None,
        }
    }

    fn collect(row: Value) -> Result<Vec<Segment>, String> {
        let ingest = ingest();
        let mut out = Vec::new();
        match ingest.collect(row.as_object().unwrap(), 3.0, &mut out) {
            Ok(()) => Ok(out),
            Err(Fault::Drop(reason)) => Err(reason),
            Err(other) => panic!("{other:?}"),
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

    #[test]
    fn words_that_came_with_the_clip_are_used_where_no_row_names_it() {
        let of = |words: &str| ingest().of_words("a.mp4".into(), 3.0, words.to_owned());
        let plain = of("[laughs] hello there").unwrap();
        let segment = &plain.segments[0];
        assert_eq!((segment.start, segment.end, plain.segments.len()), (0.0, 3.0, 1));
        assert_eq!(
            (segment.text.as_str(), segment.language.as_str()),
            ("[laughs] hello there", "und")
        );
        assert_eq!(plain.origin, "row");
        let listed =
            of(r#"[{"speaker":"A","text":"two","start":1,"end":2},{"text":"one","start":0,"end":1}]"#)
                .unwrap();
        let texts: Vec<&str> = listed
            .segments
            .iter()
            .map(|segment| segment.text.as_str())
            .collect();
        assert_eq!((texts, listed.origin.as_str()), (vec!["one", "two"], "row"));
        assert!(matches!(of("[1]"), Err(Fault::Drop(reason)) if reason == "bad_transcript"));
    }
}
