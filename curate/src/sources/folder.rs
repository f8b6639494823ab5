//! Any tree of videos. A clip's key is its path below the root, with `/`. Files without a media extension are not
//! listed; hidden files and folders are skipped; a name that is no text, or that no path may hold, is `bad_name`.
//!
//! Beside `a/b.mp4` may lie `a/b.caption.txt` or `a/b.txt` (caption) and `a/b.transcript.txt` (what is said). A side
//! file that is no UTF-8 or larger than a MiB drops the clip as `bad_side_file`, so that it is noticed.
//!
//! A table (CSV, JSON lines or Parquet; [`Settings::table`]) may say more of the clips; it wins over side files. Its rows end
//! as the clip they name, or dropped: `bad_row`, `duplicate_row`, `missing_media`. A clip without a row is kept. The
//! table is held in memory, about the size of its text.

use super::{
    Error, SourceEntry,
    rows::{Number, is_below, number, text},
    walk::walk,
};
use omni_manifests::{TableRow, TableScan};
use omni_pipeline::{ListingSink, Source, SourceError};
use omni_schemas::{Listing, NamedScore};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// This source, for the list.
pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "folder",
    about: "any tree of videos, with captions and transcripts in side files or a table",
    build: |root, settings| {
        Ok(Box::new(Folder::new(
            root,
            super::read_settings("folder", settings)?,
        )?))
    },
};

/// The largest side file, bytes.
const LARGEST: u64 = 1 << 20;

/// What is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Extensions of media files, lower case; any case is found.
    pub extensions: Vec<String>,
    /// Whether captions and transcripts beside the media are read.
    pub side_files: bool,
    /// A table that says more of the clips: `.csv`, `.tsv`, `.jsonl` or `.parquet`, absolute or below the root.
    pub table: Option<PathBuf>,
    /// What the table's columns are called.
    pub columns: TableColumns,
    /// Licence text written on every clip whose row gives none.
    pub licence: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let extensions = [
            "3gp", "avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "webm", "wmv",
        ];
        Settings {
            extensions: extensions.map(str::to_owned).to_vec(),
            side_files: true,
            table: None,
            columns: TableColumns::default(),
            licence: None,
        }
    }
}

/// The columns of the table; one it does not have says nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableColumns {
    /// The clip's path below the root. The table must have it.
    pub path: String,
    /// The caption.
    pub caption: String,
    /// What is said, as plain text.
    pub transcript: String,
    /// The video the clip was cut from.
    pub source_video: String,
    /// The clip's licence.
    pub licence: String,
    /// Columns of numbers that are kept as scores.
    pub scores: Vec<String>,
}

impl Default for TableColumns {
    fn default() -> Self {
        TableColumns {
            path: "path".into(),
            caption: "caption".into(),
            transcript: "transcript".into(),
            source_video: "source_video".into(),
            licence: "licence".into(),
            scores: Vec::new(),
        }
    }
}

/// The source.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    settings: Settings,
}

/// What a row of the table says of a clip.
#[derive(Debug, Clone, Default, PartialEq)]
struct Given {
    caption: Option<String>,
    transcript: Option<String>,
    source_video: Option<String>,
    licence: Option<String>,
    scores: Vec<NamedScore>,
}

/// The rows of the table by path, and those that say nothing: key and reason.
#[derive(Debug, Default)]
struct Rows {
    given: BTreeMap<String, Given>,
    dropped: Vec<(String, &'static str)>,
}

impl Folder {
    /// Checks that there is at least one media file below `root`.
    ///
    /// # Errors
    /// [`Error::NoRoot`], [`Error::List`]; [`Error::Nothing`] when there is no media file.
    pub fn new(root: &Path, settings: Settings) -> Result<Folder, Error> {
        super::check_root(root)?;
        let source = Folder {
            root: root.to_owned(),
            settings,
        };
        // The walk ends at the first one; listing walks the whole tree, once.
        let mut any = false;
        let nothing = || Error::Nothing {
            path: root.to_owned(),
            wanted: format!("media file (.{})", source.settings.extensions.join(", .")),
        };
        let walked = walk(root, &mut |file| source.is_media(&file.path), &mut |_| {
            any = true;
            Err(nothing())
        });
        match (any, walked) {
            (true, _) => Ok(source),
            (false, walked) => Err(walked.err().unwrap_or_else(nothing)),
        }
    }

    fn is_media(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|one| {
            self.settings
                .extensions
                .iter()
                .any(|known| known.eq_ignore_ascii_case(one))
        })
    }

    fn scan(&self, sink: &mut dyn ListingSink) -> Result<(), Error> {
        let mut rows = match &self.settings.table {
            Some(table) => self.read_table(&self.root.join(table))?,
            None => Rows::default(),
        };
        walk(&self.root, &mut |file| self.is_media(&file.path), &mut |file| {
            if !file.readable || !is_below(&file.path) {
                return Ok(sink.drop(&file.path, "bad_name")?);
            }
            let given = rows.given.remove(&file.path).unwrap_or_default();
            match self.listing(&file.path, given) {
                Some(row) => Ok(sink.keep(row)?),
                None => Ok(sink.drop(&file.path, "bad_side_file")?),
            }
        })?;
        for path in rows.given.keys() {
            sink.drop(path, "missing_media")?;
        }
        for (key, reason) in &rows.dropped {
            sink.drop(key, reason)?;
        }
        Ok(())
    }

    /// The clip at `path`; nothing when a side file cannot be used.
    fn listing(&self, path: &str, given: Given) -> Option<Listing> {
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        let side = |given: Option<String>, endings: &[&str]| {
            if given.is_some() || !self.settings.side_files {
                return Some(given);
            }
            for ending in endings {
                if let Some(text) = side_file(&self.root.join(format!("{stem}{ending}")))? {
                    return Some(Some(text));
                }
            }
            Some(None)
        };
        Some(Listing {
            clip: path.to_owned(),
            path: path.to_owned(),
            start: None,
            end: None,
            source_video: given.source_video,
            caption: side(given.caption, &[".caption.txt", ".txt"])?,
            transcript: side(given.transcript, &[".transcript.txt"])?,
            scores: given.scores,
            licence: given.licence.or_else(|| self.settings.licence.clone()),
            ..Listing::default()
        })
    }

    fn read_table(&self, path: &Path) -> Result<Rows, Error> {
        let columns = &self.settings.columns;
        let scan = TableScan::open(path)?;
        if !scan.has(&columns.path) {
            let there = scan.columns().join(", ");
            return Err(Error::Table {
                path: path.to_owned(),
                what: format!("has no column `{}`; it has: {there}", columns.path),
            });
        }
        let mut names = vec![
            &columns.path,
            &columns.caption,
            &columns.transcript,
            &columns.source_video,
            &columns.licence,
        ];
        names.extend(&columns.scores);
        let mut rows = Rows::default();
        scan.select(&names).for_each(|row| {
            self.add(&mut rows, row);
            Ok::<(), Error>(())
        })?;
        Ok(rows)
    }

    /// Takes one row, whose cells come as `read_table` named them.
    fn add(&self, rows: &mut Rows, row: &TableRow<'_>) {
        let line = row.line();
        let cell = |number: usize| text(&row.text(number)).map(str::to_owned);
        let Some(path) = cell(0).filter(|path| is_below(path)) else {
            return rows.dropped.push((format!("table:{line}"), "bad_row"));
        };
        let mut scores = Vec::new();
        for (place, name) in self.settings.columns.scores.iter().enumerate() {
            match number(&row.text(5 + place)) {
                Number::Given(value) => scores.push(NamedScore {
                    name: name.clone(),
                    value,
                }),
                Number::Absent => {}
                Number::Text => return rows.dropped.push((format!("table:{line}"), "bad_row")),
            }
        }
        scores.sort_by(|a, b| a.name.cmp(&b.name));
        let given = Given {
            caption: cell(1),
            transcript: cell(2),
            source_video: cell(3),
            licence: cell(4),
            scores,
        };
        match rows.given.entry(path) {
            Entry::Vacant(place) => _ = place.insert(given),
            Entry::Occupied(place) => {
                rows.dropped
                    .push((format!("{} (table:{line})", place.key()), "duplicate_row"));
            }
        }
    }
}

impl Source for Folder {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn settings(&self) -> Value {
        let mut settings = self.settings.clone();
        settings.table = None; // a path; what the rows say is in the listing
        serde_json::json!({ "version": 1, "settings": settings, "table": self.settings.table.is_some() })
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        self.scan(sink).map_err(super::into_source_error)
    }
}

/// The text of a side file: `Some(None)` when there is none or it is empty, nothing when it cannot be used.
fn side_file(path: &Path) -> Option<Option<String>> {
    if !path.is_file() {
        return Some(None);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    if bytes.len() as u64 > LARGEST {
        return None;
    }
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim();
    Some((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Seen, corpus};
    use super::*;

    fn list(dir: &tempfile::TempDir, settings: Value) -> Seen {
        let source = (ENTRY.build)(dir.path(), &settings).unwrap();
        let mut seen = Seen::default();
        source.list(&mut seen).unwrap();
        seen
    }

    #[test]
    fn clips_come_in_order_with_their_side_files() {
        let dir = corpus(&[
            ("b.MP4", ""),
            ("a/x.webm", ""),
            ("a/x.txt", "plain"),
            ("a/x.caption.txt", "\u{feff} A man speaks.\n"),
            ("a/x.transcript.txt", "hello there"),
            ("a/.hidden.mp4", ""),
            ("b.txt", " \n"),
            ("notes.md", ""),
        ]);
        let seen = list(&dir, Value::Null);
        let clips: Vec<&str> = seen.kept.iter().map(|row| row.clip.as_str()).collect();
        assert_eq!(clips, ["a/x.webm", "b.MP4"]);
        assert_eq!(seen.kept[0].caption.as_deref(), Some("A man speaks."));
        assert_eq!(seen.kept[0].transcript.as_deref(), Some("hello there"));
        assert_eq!(seen.kept[1].caption, None);
        assert!(seen.dropped.is_empty());
        let bare = list(&dir, serde_json::json!({ "side_files": false }));
        assert!(bare.kept.iter().all(|row| row.caption.is_none()));
    }

    #[test]
    fn tables_say_more_and_every_row_has_an_end() {
        let csv = "file,caption,beauty,said\na.mp4,\"Two,\nmen\",5.5,hi\nnone.mp4,x,1,\n../a.mp4,x,1,\na.mp4,again,1,\nb.mp4,,bad,\n";
        let lines = r#"{"file":"a.mp4","caption":"Two,\nmen","beauty":5.5,"said":"hi"}
{"file":"none.mp4","beauty":1}
{"file":[7]}
{"file":"a.mp4"}

["#;
        let dir = corpus(&[
            ("a.mp4", ""),
            ("b.mp4", ""),
            ("b.txt", "side"),
            ("t.csv", csv),
            ("t.jsonl", lines),
        ]);
        let settings = |table: &str| {
            let columns = serde_json::json!({ "path": "file", "transcript": "said", "scores": ["beauty"] });
            serde_json::json!({ "table": table, "columns": columns, "licence": "CC BY" })
        };
        for (table, bad) in [
            ("t.csv", ["table:5", "table:7"]),
            ("t.jsonl", ["table:3", "table:6"]),
        ] {
            let seen = list(&dir, settings(table));
            assert_eq!(seen.kept.len(), 2, "{table}");
            let first = &seen.kept[0];
            assert_eq!(first.caption.as_deref(), Some("Two,\nmen"));
            assert_eq!(
                (first.transcript.as_deref(), first.licence.as_deref()),
                (Some("hi"), Some("CC BY"))
            );
            assert_eq!(
                first.scores,
                [NamedScore {
                    name: "beauty".into(),
                    value: 5.5
                }]
            );
            assert_eq!(seen.kept[1].caption.as_deref(), Some("side"));
            let of = |reason: &str| -> Vec<&str> {
                seen.dropped
                    .iter()
                    .filter(|drop| drop.1 == reason)
                    .map(|drop| drop.0.as_str())
                    .collect()
            };
            assert_eq!(of("missing_media"), ["none.mp4"]);
            assert_eq!(of("duplicate_row").len(), 1);
            if table == "t.csv" {
                assert_eq!(of("bad_row"), bad);
            } else {
                assert_eq!(of("bad_row").len(), 2);
            }
        }
    }

    #[test]
    fn a_parquet_table_says_the_same() {
        let dir = corpus(&[("a.mp4", ""), ("b.mp4", "")]);
        let row = |path: &str, caption: Option<&str>| Listing {
            clip: String::new(),
            path: path.to_owned(),
            start: Some(0.25),
            end: None,
            source_video: None,
            caption: caption.map(str::to_owned),
            transcript: Some("hi".into()),
            scores: Vec::new(),
            licence: None,
            ..Listing::default()
        };
        let rows = [
            row("a.mp4", Some("Two,\nmen")),
            row("none.mp4", None),
            row("../x", None),
        ];
        let table = dir.path().join("t.parquet");
        omni_manifests::write_part(&table, &rows, &omni_manifests::Receipt::default()).unwrap();
        let columns = serde_json::json!({ "scores": ["start"] });
        let seen = list(
            &dir,
            serde_json::json!({ "table": "t.parquet", "columns": columns }),
        );
        assert_eq!(seen.kept[0].caption.as_deref(), Some("Two,\nmen"));
        assert_eq!(seen.kept[0].transcript.as_deref(), Some("hi"));
        assert_eq!(seen.kept[0].scores[0].value, 0.25);
        let drop = |key: &str, reason: &str| (key.to_owned(), reason.to_owned());
        assert_eq!(
            seen.dropped,
            [drop("none.mp4", "missing_media"), drop("table:3", "bad_row")]
        );
    }

    #[test]
    fn looking_for_a_media_file_ends_at_the_first() {
        let dir = corpus(&[("a.mp4", ""), ("b/c.mp4", "")]);
        // a folder that cannot be listed is found by the listing, not by the look
        let gone = Folder::new(dir.path(), Settings::default()).unwrap();
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(gone.list(&mut Seen::default()).is_err());
        let empty = corpus(&[("notes.txt", "")]);
        assert!(matches!(
            Folder::new(empty.path(), Settings::default()),
            Err(Error::Nothing { .. })
        ));
    }

    #[test]
    fn a_table_that_is_not_there_is_named() {
        let dir = corpus(&[("a.mp4", ""), ("t.csv", "name\nx\n")]);
        let said = |settings: Value| {
            let source = (ENTRY.build)(dir.path(), &settings).unwrap();
            source.list(&mut Seen::default()).unwrap_err().to_string()
        };
        assert!(said(serde_json::json!({ "table": "u.csv" })).contains("u.csv"));
        assert!(said(serde_json::json!({ "table": "t.csv" })).contains("`path`"));
    }

    #[test]
    fn side_files_that_cannot_be_used_are_noticed() {
        let dir = corpus(&[("a.mp4", ""), ("b.mp4", ""), ("c.mp4", "")]);
        std::fs::write(dir.path().join("a.txt"), b"\xff\xfe").unwrap();
        std::fs::write(dir.path().join("b.txt"), vec![b'x'; LARGEST as usize + 1]).unwrap();
        let seen = list(&dir, Value::Null);
        assert_eq!(seen.kept.len(), 1);
        assert!(seen.dropped.iter().all(|(_, reason)| reason == "bad_side_file"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_text_are_dropped() {
        use std::os::unix::ffi::OsStrExt;
        let dir = corpus(&[("a.mp4", "")]);
        let name = std::ffi::OsStr::from_bytes(b"\xff.mp4");
        std::fs::write(dir.path().join(name), b"").unwrap();
        std::fs::write(dir.path().join("b\nc.mp4"), b"").unwrap();
        let seen = list(&dir, Value::Null);
        assert_eq!(seen.kept.len(), 1);
        assert_eq!(seen.dropped.len(), 2);
        assert!(seen.dropped.iter().all(|(_, reason)| reason == "bad_name"));
    }
}
