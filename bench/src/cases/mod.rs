//! Case files: JSON lines or Parquet, checked before anything is run with them.

pub mod build;
mod check;
mod export;
mod import;
mod schema;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use omni_manifests::{TableRow, TableScan};
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use check::faults;
pub use export::{Exported, export};
pub use import::{Format, Imported, import};
pub use schema::json_schema;

/// Something wrong with a case file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CaseFault {
    /// Line of the file (row of a Parquet file), from 1.
    pub line: u64,
    /// The case's name, where the row could be read.
    pub case: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for CaseFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let case = self
            .case
            .as_ref()
            .map(|case| format!(" ({case})"))
            .unwrap_or_default();
        write!(f, "line {}{case}: {}", self.line, self.message)
    }
}

/// A case file as it was read.
#[derive(Clone, Debug, Default)]
pub struct CaseFile {
    /// The sound cases, in the file's order; their paths can be opened as they are.
    pub cases: Vec<Case>,
    /// Everything that is wrong, in the file's order.
    pub faults: Vec<CaseFault>,
}

/// A case file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file is missing or cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The Parquet file is damaged.
    #[error(transparent)]
    Table(#[from] omni_manifests::Error),
    /// It is neither JSON lines nor Parquet.
    #[error("{0}: a case file ends in .jsonl or .parquet")]
    Format(PathBuf),
}

/// Reads and checks a `.jsonl` or `.parquet` file.
///
/// # Errors
/// [`CaseError`]; what is wrong with a row is in the result.
pub fn read(path: &Path) -> Result<CaseFile, CaseError> {
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let mut reading = Reading {
        folder,
        names: BTreeMap::new(),
        out: CaseFile::default(),
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => lines(path, &mut reading)?,
        Some("parquet") => {
            TableScan::open(path)?.for_each(|row: &TableRow<'_>| -> Result<(), CaseError> {
                let case = match row.fault() {
                    Some(fault) => Err(fault.to_owned()),
                    None => parse(Value::Object(row.object())),
                };
                reading.take(row.line(), case);
                Ok(())
            })?
        }
        _ => return Err(CaseError::Format(path.to_owned())),
    }
    Ok(reading.out)
}

/// Lines of JSON; empty ones are passed over, and a byte order mark and Windows line ends are no part of a line.
fn lines(path: &Path, reading: &mut Reading) -> Result<(), CaseError> {
    let fail = |source| CaseError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(fail)? == 0 {
            break;
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| format!("no UTF-8: {error}"));
        let text = text.map(|text| text.trim_start_matches('\u{FEFF}').trim());
        if text == Ok("") {
            continue;
        }
        let value = text.and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()));
        reading.take(number, value.and_then(parse));
    }
    Ok(())
}

/// A file on its way in.
struct Reading {
    folder: PathBuf,
    names: BTreeMap<String, u64>,
    out: CaseFile,
}

impl Reading {
    fn take(&mut self, line: u64, case: Result<Case, String>) {
        let fault = |case: Option<String>, message: String| CaseFault { line, case, message };
        match case {
            Err(message) => self.out.faults.push(fault(None, message)),
            Ok(mut case) => {
                let mut found = faults(&case, &self.folder);
                match self.names.get(&case.case) {
                    Some(first) => found.push(format!("`{}` is also the case of line {first}", case.case)),
                    None => drop(self.names.insert(case.case.clone(), line)),
                }
                place(&mut case, &self.folder);
                let name = Some(case.case.clone());
                if found.is_empty() {
                    self.out.cases.push(case);
                }
                self.out
                    .faults
                    .extend(found.into_iter().map(|message| fault(name.clone(), message)));
            }
        }
    }
}

/// A case from JSON; a null is a field that is not there (Parquet holds every column).
fn parse(value: Value) -> Result<Case, String> {
    let value = without_nulls(value);
    serde_json::from_value(value.clone()).map_err(|error: serde_json::Error| {
        let (key, why) = culprit(&value).unwrap_or_default();
        match key.is_empty() {
            true => error.to_string(),
            false => format!("`{key}`: {why}"),
        }
    })
}

/// The key whose value cannot be read, and why; of a list of subjects or utterances the key inside it.
fn culprit(value: &Value) -> Option<(String, String)> {
    let (key, why) = wrong::<Case>(value)?;
    let inside = value[&key].as_array().into_iter().flatten().enumerate();
    let inner = |(i, one): (usize, &Value)| {
        let (inner, why) = match key.as_str() {
            "subjects" => wrong::<CaseSubject>(one)?,
            "utterances" => wrong::<CaseUtterance>(one)?,
            _ => return None,
        };
        Some((format!("{key}[{i}].{inner}"), why))
    };
    let found = inside.into_iter().find_map(inner);
    Some(found.unwrap_or((key, why)))
}

/// The first key of an object that its record does not take, everything else being as it should. A key that the record
/// does not know names itself.
fn wrong<T: Default + Serialize + DeserializeOwned>(value: &Value) -> Option<(String, String)> {
    let base = serde_json::to_value(T::default()).ok()?;
    let known = base.as_object()?.clone();
    let own = value
        .as_object()?
        .iter()
        .filter(|(key, _)| known.contains_key(*key));
    let fault = |(key, own): (&String, &Value)| {
        let mut one = base.clone();
        one[key] = own.clone();
        let error = serde_json::from_value::<T>(without_nulls(one)).err()?;
        Some((key.clone(), error.to_string()))
    };
    own.into_iter().find_map(fault)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Cases as JSON lines for a file in `folder`: paths below it are written relative to it, others stay as they are.
///
/// # Errors
/// Never for cases that came from [`read`] or [`import`].
pub fn to_lines(cases: &[Case], folder: &Path) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for case in cases {
        let mut case = case.clone();
        for path in paths(&mut case) {
            if let Ok(below) = Path::new(&*path).strip_prefix(folder) {
                *path = below.to_string_lossy().into_owned();
            }
        }
        out.push_str(&serde_json::to_string(&case)?);
        out.push('\n');
    }
    Ok(out)
}

/// Every path of a case.
fn paths(case: &mut Case) -> impl Iterator<Item = &mut String> {
    let own = case
        .subjects
        .iter_mut()
        .flat_map(|subject| [&mut subject.face, &mut subject.voice]);
    own.chain([&mut case.first_frame]).flatten()
}

/// Makes the case's paths ones that can be opened.
fn place(case: &mut Case, folder: &Path) {
    let faces = case
        .subjects
        .iter_mut()
        .flat_map(|subject| [&mut subject.face, &mut subject.voice]);
    for path in faces.chain([&mut case.first_frame]).flatten() {
        *path = folder.join(&*path).to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &str) -> Value {
        serde_json::json!({
            "case": case, "subset": 1, "prompt": "A man <sub1> says, <S>Hello there.<E>",
            "subjects": [{"anchor": "<sub1>", "face": "face.png"}],
            "utterances": [{"anchor": "<sub1>", "text": "Hello there.", "language": "en"}],
        })
    }

    fn read_lines(lines: &[String], ending: &str) -> CaseFile {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("face.png"), "x").unwrap();
        let path = folder.path().join("cases.jsonl");
        std::fs::write(&path, lines.join(ending)).unwrap();
        read(&path).unwrap()
    }

    #[test]
    fn sound_cases_come_with_paths_that_open_also_with_windows_line_ends() {
        for ending in ["\n", "\r\n"] {
            let file = read_lines(&[line("a").to_string(), line("b").to_string()], ending);
            assert!(file.faults.is_empty(), "{:?}", file.faults);
            assert_eq!(file.cases.len(), 2);
            let face = file.cases[1].subjects[0].face.as_ref().unwrap();
            assert!(
                Path::new(face).is_absolute() && face.ends_with("face.png"),
                "{face}"
            );
        }
    }

    #[test]
    fn every_fault_has_its_line() {
        let mut missing = line("c");
        missing["subjects"][0]["voice"] = "gone.wav".into();
        let mut unknown = line("d");
        unknown["subsett"] = 1.into();
        let mut number = line("e");
        number["prompt"] = 5.into();
        let mut inner = line("f");
        inner["subjects"][0]["speaks"] = "yes".into();
        let lines = [
            line("a").to_string(),
            line("a").to_string(),
            missing.to_string(),
            unknown.to_string(),
            "{\"case\": ".to_owned(),
            number.to_string(),
            inner.to_string(),
        ];
        let file = read_lines(&lines, "\n");
        let said: Vec<String> = file.faults.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        for (fault, words) in said.iter().zip([
            ["line 2 (a)", "also the case of line 1"],
            ["line 3 (c)", "gone.wav"],
            ["line 4", "subsett"],
            ["line 5", ""],
            ["line 6", "`prompt`: invalid type: integer `5`"],
            ["line 7", "`subjects[0].speaks`: invalid type: string"],
        ]) {
            assert!(words.iter().all(|word| fault.contains(word)), "{fault}");
        }
        assert_eq!(file.cases.len(), 1);
    }

    #[test]
    fn a_line_may_leave_out_what_is_usual_and_nothing_else() {
        let case: Case = serde_json::from_value(line("a")).unwrap();
        assert!(case.subjects[0].visible && case.subjects[0].speaks && case.first_frame.is_none());
        let mut wrong = line("a");
        wrong["subjects"][0]["fce"] = "x".into();
        assert!(serde_json::from_value::<Case>(wrong).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("face.png"), "x").unwrap();
        let mut case: Case = serde_json::from_value(line("a")).unwrap();
        place(&mut case, folder.path());
        let text = to_lines(std::slice::from_ref(&case), folder.path()).unwrap();
        assert!(text.contains("\"face\":\"face.png\""), "{text}");
        let path = folder.path().join("cases.jsonl");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().cases, [case]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(read(Path::new("/nowhere/cases.jsonl")).is_err());
    }
}
