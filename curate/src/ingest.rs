//! Reads manifests the user has (JSONL, CSV, Parquet), fields mapped by the recipe, for the `*_ingest` stages.
//!
//! The whole manifest is held in memory, by clip: a stage is handed single clips. Memory therefore grows with the
//! manifest (not with the corpus); a manifest larger than memory should be split along with its corpus.

use crate::sources::csv::Csv;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    io::BufRead,
    ops::ControlFlow,
    path::{Path, PathBuf},
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
        /// The row, from 1.
        row: u64,
        /// What is wrong.
        message: String,
    },
    /// The table cannot be read.
    #[error("{path}: {message}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// The rows of a manifest by the value of their clip field, in file order.
pub type ByClip = BTreeMap<String, Vec<Map<String, Value>>>;

/// Reads a manifest; the format is told from its extension.
pub fn read(path: &Path, clip_field: &str) -> Result<ByClip, IngestError> {
    let mut rows = ByClip::new();
    let mut number = 0;
    let mut take = |row: Map<String, Value>| {
        number += 1;
        let clip = match row.get(clip_field) {
            Some(Value::String(clip)) => clip.clone(),
            Some(Value::Number(clip)) => clip.to_string(),
            _ => {
                let message = format!("no field `{clip_field}`");
                return Err(IngestError::Row {
                    path: path.to_owned(),
                    row: number,
                    message,
                });
            }
        };
        rows.entry(clip).or_default().push(row);
        Ok(())
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl" | "ndjson" | "json") => json_lines(path, &mut take)?,
        Some("parquet") => parquet(path, &mut take)?,
        _ => csv(path, &mut take)?,
    }
    Ok(rows)
}

type Take<'a> = &'a mut dyn FnMut(Map<String, Value>) -> Result<(), IngestError>;

fn json_lines(path: &Path, take: Take<'_>) -> Result<(), IngestError> {
    let io = |source| IngestError::Io {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    for (index, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(io)?;
        let text = line.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let wrong = |message: String| IngestError::Row {
            path: path.to_owned(),
            row: index as u64 + 1,
            message,
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(row)) => take(row)?,
            Ok(_) => return Err(wrong("not an object".into())),
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    Ok(())
}

/// Text stays text; a stage reads numbers from it where it wants them. A damaged row is an error: a transcript that is
/// silently one row short is worse than none.
fn csv(path: &Path, take: Take<'_>) -> Result<(), IngestError> {
    let io = |source| IngestError::Io {
        path: path.to_owned(),
        source,
    };
    let mut table = Csv::new(std::fs::File::open(path).map_err(io)?);
    if table.next_row().map_err(io)?.is_none() {
        return Ok(());
    }
    let names: Vec<String> = (0..table.len())
        .map(|column| table.cell(column).trim().to_owned())
        .collect();
    while let Some(row) = table.next_row().map_err(io)? {
        if !row.sound {
            let message = "its quotes do not close, or it is no UTF-8".into();
            return Err(IngestError::Row {
                path: path.to_owned(),
                row: row.line,
                message,
            });
        }
        let cells = names
            .iter()
            .enumerate()
            .filter(|(column, name)| !name.is_empty() && *column < table.len());
        take(
            cells
                .map(|(column, name)| (name.clone(), Value::from(table.cell(column).as_ref())))
                .collect(),
        )?;
    }
    Ok(())
}

fn parquet(path: &Path, take: Take<'_>) -> Result<(), IngestError> {
    let mut failed = None;
    omni_manifests::for_each_row(path, &mut |row| match take(row) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })
    .map_err(|error| IngestError::Table {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    failed.map_or(Ok(()), Err)
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

/// BLAKE3 of a file, so that a changed manifest is another fingerprint.
pub fn hash(path: &Path) -> Result<String, IngestError> {
    let mut hasher = blake3::Hasher::new();
    let io = |source| IngestError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(io)?;
    std::io::copy(&mut file, &mut hasher).map_err(io)?;
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
            "{\"id\":\"a\",\"text\":\"hi, \\\"you\\\"\",\"start\":\"0.5\"}\n\n",
        );
        let (_b, csv) = written("t.csv", "id,text,start\r\na,\"hi, \"\"you\"\"\",0.5\r\n");
        for path in [lines, csv] {
            let rows = read(&path, "id").unwrap();
            let row = &rows["a"][0];
            assert_eq!(text(row, "text").as_deref(), Some("hi, \"you\""));
            assert_eq!(number(row, "start"), Some(0.5));
        }
    }

    #[test]
    fn a_bad_row_is_named() {
        let (_a, path) = written("t.jsonl", "{\"id\":\"a\"}\n{\"id\":\n");
        assert!(read(&path, "id").unwrap_err().to_string().contains("row 2"));
        let (_b, path) = written("t.jsonl", "{\"name\":\"a\"}\n");
        assert!(
            read(&path, "id")
                .unwrap_err()
                .to_string()
                .contains("no field `id`")
        );
    }
}
