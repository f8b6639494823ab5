//! Manifests the user has (JSON lines, CSV, Parquet), fields mapped by the recipe, for the `*_ingest` stages.
//!
//! A stage is handed single clips, so a manifest is read through once and an index is kept: 16 bytes a row, the hash
//! of its clip and the row's place in the file. Rows themselves stay in the file. A row of a Parquet file has no place
//! of its own: the wanted fields are copied, as JSON lines, to an unnamed file in the system's temporary folder.

use omni_manifests::{RowReader, TableRow, TableScan};
use serde_json::{Map, Value};
use std::{
    fs::{File, Metadata},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A row cannot be understood.
    #[error("{path}, row {row}: {message}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row: the line it begins on, from 1; in Parquet its number.
        row: u64,
        /// What is wrong.
        message: String,
    },
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] omni_manifests::Error),
    /// The file is not the one the run began with.
    #[error("{path} changed while it was read; start again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl IngestError {
    fn io(path: &Path) -> impl Fn(std::io::Error) -> IngestError {
        let path = path.to_owned();
        move |source| IngestError::Io {
            path: path.clone(),
            source,
        }
    }
}

/// A manifest whose rows can be asked for by clip.
#[derive(Debug)]
pub struct Manifest {
    path: PathBuf,
    clip_field: String,
    hash: String,
    seen: Seen,
    /// Hash of the clip and place of the row, sorted.
    index: Vec<(u64, u64)>,
    rows: Mutex<RowReader>,
    /// Holds the copy's name until the manifest goes.
    _copy: Option<Copy>,
}

/// What tells that a file was written to.
type Seen = (u64, Option<SystemTime>);

impl Manifest {
    /// Reads a manifest through; the format is told from its extension. Only `fields` and the clip's are kept.
    ///
    /// # Errors
    /// All of [`IngestError`]. A damaged row, or one without a clip, is an error: a transcript that is silently one
    /// row short is worse than none.
    pub fn open(path: &Path, clip_field: &str, fields: &[&str]) -> Result<Manifest, IngestError> {
        let seen = seen(path)?;
        let hash = hash(path)?;
        let mut names = vec![clip_field];
        names.extend(fields);
        let mut scan = TableScan::open(path)?.select(&names);
        let mut copy = None;
        if scan.reader()?.is_none() {
            let made = Copy::of(&scan)?;
            scan = TableScan::open(&made.path)?.select(&names);
            copy = Some(made);
        }
        let mut index = Vec::new();
        scan.for_each(|row| {
            let clip = clip_of(path, row, clip_field)?;
            index.push((key(&clip), row.place().unwrap_or_default()));
            Ok::<(), IngestError>(())
        })?;
        index.sort_unstable();
        let rows = scan.reader()?.ok_or_else(|| changed(path))?;
        let manifest = Manifest {
            path: path.to_owned(),
            clip_field: clip_field.to_owned(),
            hash,
            seen,
            index,
            rows: Mutex::new(rows),
            _copy: copy,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// BLAKE3 of the file, so that a changed manifest is another fingerprint.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The rows of a clip, in file order.
    ///
    /// # Errors
    /// [`IngestError::Changed`], [`IngestError::Table`].
    pub fn rows(&self, clip: &str) -> Result<Vec<Map<String, Value>>, IngestError> {
        let wanted = key(clip);
        let first = self.index.partition_point(|(hash, _)| *hash < wanted);
        let places = self.index[first..].iter().take_while(|(hash, _)| *hash == wanted);
        let mut found = Vec::new();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, place) in places {
            let row = rows.read(*place, |row| row.object())?;
            // Two clips may have one hash.
            if clip_in(&row, &self.clip_field).as_deref() == Some(clip) {
                found.push(row);
            }
        }
        drop(rows);
        self.check()?;
        Ok(found)
    }

    fn check(&self) -> Result<(), IngestError> {
        match seen(&self.path)? == self.seen {
            true => Ok(()),
            false => Err(changed(&self.path)),
        }
    }
}

fn changed(path: &Path) -> IngestError {
    IngestError::Changed {
        path: path.to_owned(),
    }
}

fn seen(path: &Path) -> Result<Seen, IngestError> {
    let data: Metadata = std::fs::metadata(path).map_err(IngestError::io(path))?;
    Ok((data.len(), data.modified().ok()))
}

/// The first eight bytes of BLAKE3.
fn key(clip: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(clip.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

fn clip_of(path: &Path, row: &TableRow<'_>, field: &str) -> Result<String, IngestError> {
    let wrong = |message: String| IngestError::Row {
        path: path.to_owned(),
        row: row.line(),
        message,
    };
    match row.fault() {
        Some(fault) => Err(wrong(fault.to_owned())),
        // The clip is the first field asked for; only a row that seems to lack it is looked at as a whole.
        None => match row.text(0) {
            clip if !clip.is_empty() => Ok(clip.into_owned()),
            _ => clip_in(&row.object(), field).ok_or_else(|| wrong(format!("no field `{field}`"))),
        },
    }
}

fn clip_in(row: &Map<String, Value>, field: &str) -> Option<String> {
    match row.get(field)? {
        Value::String(clip) => Some(clip.clone()),
        Value::Number(clip) => Some(clip.to_string()),
        _ => None,
    }
}

/// A table as JSON lines, gone with the value.
#[derive(Debug)]
struct Copy {
    path: PathBuf,
}

impl Copy {
    fn of(scan: &TableScan) -> Result<Copy, IngestError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("omni-ingest-{}-{number}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let io = IngestError::io(&path);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(&io)?;
        let copy = Copy { path: path.clone() };
        let mut out = BufWriter::new(file);
        scan.for_each(|row| {
            serde_json::to_writer(&mut out, &row.object()).map_err(|error| io(error.into()))?;
            out.write_all(b"\n").map_err(&io)
        })?;
        out.flush().map_err(&io)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a leftover in the temporary folder harms nobody
    }
}

/// Text of a field; blank text is absent.
pub fn text(row: &Map<String, Value>, field: &str) -> Option<String> {
    match row.get(field)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A finite number, also from text.
pub fn number(row: &Map<String, Value>, field: &str) -> Option<f64> {
    match row.get(field)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|value: &f64| value.is_finite())
}

fn hash(path: &Path) -> Result<String, IngestError> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).map_err(IngestError::io(path))?;
    std::io::copy(&mut file, &mut hasher).map_err(IngestError::io(path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn json_lines_and_csv_give_the_same_rows() {
        let (_a, lines) = written(
            "t.jsonl",
            "{\"id\":\"b\",\"text\":\"no\"}\n{\"id\":\"a\",\"text\":\"hi, \\\"you\\\"\",\"start\":\"0.5\"}\n\n{\"id\":\"a\",\"text\":\"2\"}\n",
        );
        let (_b, csv) = written(
            "t.csv",
            "id,text,start\r\nb,no\r\na,\"hi, \"\"you\"\"\",0.5\r\na,2\r\n",
        );
        let (_c, tabs) = written(
            "t.TSV",
            "id\ttext\tstart\nb\tno\na\t\"hi, \"\"you\"\"\"\t0.5\na\t2\n",
        );
        for path in [lines, csv, tabs] {
            let manifest = Manifest::open(&path, "id", &["text", "start"]).unwrap();
            let rows = manifest.rows("a").unwrap();
            assert_eq!(text(&rows[0], "text").as_deref(), Some("hi, \"you\""));
            assert_eq!(number(&rows[0], "start"), Some(0.5));
            assert_eq!(text(&rows[1], "text").as_deref(), Some("2"));
            assert_eq!((rows.len(), manifest.rows("c").unwrap().len()), (2, 0));
        }
    }

    #[test]
    fn parquet_gives_nested_rows_and_leaves_no_copy() {
        use omni_schemas::{Segment, Transcript};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let transcript = |number: usize| Transcript {
            clip: format!("c{number}"),
            segments: vec![Segment {
                speaker: "S1".into(),
                text: format!("word {number}"),
                start: 0.0,
                end: 1.0,
                language: "en".into(),
            }],
            audio_caption: None,
            origin: "ingest".into(),
        };
        let rows: Vec<Transcript> = (0..100).map(transcript).collect();
        omni_manifests::write_part(&path, &rows, &omni_manifests::Receipt::default()).unwrap();
        let manifest = Manifest::open(&path, "clip", &["segments"]).unwrap();
        let copy = manifest._copy.as_ref().unwrap().path.clone();
        for number in [99, 0, 50] {
            let found = manifest.rows(&format!("c{number}")).unwrap();
            let text = &found[0]["segments"][0]["text"];
            assert_eq!(text, &Value::from(format!("word {number}")));
            assert!(found[0].get("origin").is_none());
        }
        assert!(copy.is_file());
        drop(manifest);
        assert!(!copy.exists());
    }

    #[test]
    fn a_manifest_that_changes_meanwhile_is_noticed() {
        let (_folder, path) = written("t.jsonl", "{\"id\":\"a\"}\n");
        let manifest = Manifest::open(&path, "id", &[]).unwrap();
        assert_eq!(manifest.rows("a").unwrap().len(), 1);
        std::fs::write(&path, "{\"id\":\"a\"}\n{\"id\":\"a\"}\n").unwrap();
        assert!(matches!(manifest.rows("a"), Err(IngestError::Changed { .. })));
    }

    #[test]
    fn a_bad_row_is_named() {
        let said = |name: &str, text: &str| {
            let (_folder, path) = written(name, text);
            Manifest::open(&path, "id", &[]).unwrap_err().to_string()
        };
        assert!(said("t.jsonl", "{\"id\":\"a\"}\n{\"id\":\n").contains("row 2"));
        assert!(said("t.csv", "id,x\na,1\nb,\"open\n").contains("row 3"));
        assert!(said("t.jsonl", "{\"name\":\"a\"}\n").contains("no field `id`"));
        assert!(said("t.xlsx", "").contains("t.xlsx"));
    }
}
