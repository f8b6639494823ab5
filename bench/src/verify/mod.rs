//! `omni verify`: this build against golden files, the numbers of the reference implementations.
//!
//! A golden file is known by its place (the folder it lies in) and its name; which cases it holds, how large they are
//! and where their inputs lie is read from it. So any folder with the same names and keys can be checked. Inputs are
//! fed and outputs compared; an output of the reference is never the input of the step that should produce it.
//!
//! Nothing passes silently: a file, or a tensor in a file, that no check looked at is named, and so is a check that
//! could not be made. A folder may hold a part of a set: what is missing beside others of its kind is named, too, and whoever
//! asks for the whole set takes that for a failure.

mod desk;
mod files;

mod face;
mod imagebind;
mod pictures;
mod sampling;
mod sound;
mod syncnet;
mod text;
mod tracks;
mod vbench;
mod whisper;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use omni_perception::{
    Network,
    runtime::{Device, Runtime},
};
use serde::Serialize;

pub use desk::Desk;
pub use files::Problem;

/// How one comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the tolerance.
    Pass,
    /// Outside, or not comparable.
    Fail,
    /// Not compared, because it takes published weights that are not part of the golden files.
    NeedsWeights,
    /// Not compared, because the file is not here, and others of its folder are.
    NotHere,
}

/// One quantity of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The file, from the folder that was given.
    pub file: String,
    /// What was compared.
    pub quantity: String,
    /// The largest difference; `null` when there is none to give.
    pub error: Option<f64>,
    /// The largest difference allowed; 0 is bit equality.
    pub tolerance: f64,
    /// How it ended.
    pub verdict: Verdict,
    /// Why nothing could be compared, or what was found.
    pub note: Option<String>,
}

/// What a folder of golden files gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Every comparison, by file.
    pub checks: Vec<Checked>,
    /// Files, and tensors in files, that nothing looked at.
    pub unread: Vec<String>,
}

impl Report {
    /// Whether something was compared, all of it within its tolerance, and nothing was left unread.
    pub fn holds(&self) -> bool {
        let compared = self.checks.iter().any(|check| check.verdict == Verdict::Pass);
        compared && self.unread.is_empty() && self.count(Verdict::Fail) == 0
    }

    /// Comparisons that ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    }
}

/// A folder that cannot be walked.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct WalkError {
    /// The folder or file.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Where golden graphs run.
pub struct Verifier {
    library: PathBuf,
    device: Device,
}

/// A check: the folder and the file that it is for, and what it does with them.
struct Entry {
    folder: &'static str,
    file: &'static str,
    run: fn(&mut Desk<'_>) -> Result<(), Problem>,
}

/// Every kind of golden file there is. A file that is no entry's own may be read by one beside it.
const ENTRIES: &[&[Entry]] = &[
    face::ENTRIES,
    imagebind::ENTRIES,
    pictures::ENTRIES,
    sampling::ENTRIES,
    sound::ENTRIES,
    syncnet::ENTRIES,
    text::ENTRIES,
    tracks::ENTRIES,
    vbench::ENTRIES,
    whisper::ENTRIES,
];

impl Verifier {
    /// Graphs run with the ONNX Runtime in `library`, which is opened when the first one is met.
    pub fn new(library: impl Into<PathBuf>, device: Device) -> Verifier {
        Verifier {
            library: library.into(),
            device,
        }
    }

    /// Walks a folder and checks all in it. Links are followed no further than to files.
    ///
    /// # Errors
    /// [`WalkError`] when a folder cannot be listed. What is wrong with a file is in the report.
    pub fn verify(&self, dir: &Path) -> Result<Report, WalkError> {
        let fail = |source| WalkError {
            path: dir.to_owned(),
            source,
        };
        let root = dir.canonicalize().map_err(fail)?;
        let mut report = Report::default();
        let mut folders = vec![root.clone()];
        let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
        let mut read: BTreeSet<PathBuf> = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            let (inner, files) = list(&folder)?;
            folders.extend(inner);
            self.folder(&root, &folder, &files, &mut read, &mut report);
            seen.extend(files);
        }
        let unread = seen.difference(&read).filter(|path| !is_prose(path));
        report.unread.extend(unread.map(|path| files::shown(&root, path)));
        report.unread.sort();
        report.checks.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(report)
    }

    fn folder(
        &self,
        root: &Path,
        folder: &Path,
        files: &[PathBuf],
        read: &mut BTreeSet<PathBuf>,
        report: &mut Report,
    ) {
        let name = folder.file_name().unwrap_or_default();
        let entries: Vec<&Entry> = ENTRIES
            .iter()
            .copied()
            .flatten()
            .filter(|entry| name == entry.folder)
            .collect();
        let here = |entry: &&Entry| files.contains(&folder.join(entry.file));
        if !entries.iter().any(here) {
            return;
        }
        for entry in entries {
            let mut desk = Desk::new(self, root, folder, entry.file);
            if !here(&entry) {
                desk.absent(report);
                continue;
            }
            let outcome = (entry.run)(&mut desk);
            desk.finish(outcome, read, report);
        }
    }

    fn runtime(&self) -> Result<Runtime, Problem> {
        Runtime::open(&self.library, self.device.clone()).map_err(Problem::Network)
    }

    /// The name of a golden graph in errors.
    fn network(file: &str) -> Network {
        Network {
            id: file.to_owned(),
            hash: String::new(),
        }
    }
}

/// Folders and files of a folder, in order of their names.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), WalkError> {
    let fail = |source| WalkError {
        path: folder.to_owned(),
        source,
    };
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        match entry.file_type().map_err(fail)?.is_dir() {
            true => folders.push(entry.path()),
            false => files.push(entry.path()),
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

/// Words about golden files are not golden files.
fn is_prose(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(dir: &Path) -> Report {
        Verifier::new("/nowhere/libonnxruntime.so", Device::Cpu)
            .verify(dir)
            .unwrap()
    }

    #[test]
    fn an_empty_folder_and_prose_alone_prove_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!verify(folder.path()).holds());
        std::fs::write(folder.path().join("README.md"), "words").unwrap();
        let report = verify(folder.path());
        assert!(!report.holds() && report.unread.is_empty());
        assert!(
            Verifier::new("x", Device::Cpu)
                .verify(Path::new("/nowhere/at/all"))
                .is_err()
        );
    }

    fn failed(report: &Report) -> Vec<String> {
        let failed = report
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::Fail);
        failed
            .map(|check| {
                format!(
                    "{} {}: {}",
                    check.file,
                    check.quantity,
                    check.note.as_deref().unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn a_part_of_a_set_is_held_against_and_what_it_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let sampling = folder.path().join("sampling");
        std::fs::create_dir(&sampling).unwrap();
        let maps = r#"{"3": {"linspace2": [0, 2]}}"#;
        std::fs::write(sampling.join("linspace_frames.json"), maps).unwrap();
        let report = verify(folder.path());
        assert!(report.holds(), "{report:?}");
        let lacks = report
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::NotHere);
        let lacks: Vec<&str> = lacks.map(|check| check.quantity.as_str()).collect();
        assert_eq!(lacks, ["fps25_maps.json", "hungarian.json"]);
        // a part of which nothing can be compared is none
        std::fs::remove_file(sampling.join("linspace_frames.json")).unwrap();
        assert!(!verify(folder.path()).holds());
    }

    #[test]
    fn lists_of_no_cases_fail_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let lists = [
            ("sampling", "fps25_maps.json", "[]"),
            ("sampling", "hungarian.json", "[]"),
            ("text", "normalizer.json", "[]"),
            ("text", "normalizer.json", r#"[{"in": "a"}]"#),
            ("text", "wer_pairs.json", r#"{"pairs": []}"#),
            ("vbench", "temporal_flickering.json", "[]"),
            ("syncnet", "track_shot_cases.json", "[]"),
            ("face", "resize.json", r#"{"src": "x.png", "cases": []}"#),
        ];
        for (place, file, text) in lists {
            let place = folder.path().join(place);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(file), text).unwrap();
            let report = verify(folder.path());
            let of_it = |check: &&Checked| check.file.ends_with(file) && check.quantity != file;
            let checks: Vec<_> = report.checks.iter().filter(of_it).collect();
            assert!(!checks.is_empty(), "{file}");
            assert!(
                checks.iter().all(|check| check.verdict == Verdict::Fail),
                "{file}: {checks:?}"
            );
        }
    }

    #[test]
    fn tensors_that_hold_no_number_fail() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/golden/face");
        let folder = tempfile::tempdir().unwrap();
        let face = folder.path().join("face");
        std::fs::create_dir(&face).unwrap();
        for entry in std::fs::read_dir(golden).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), face.join(entry.file_name())).unwrap();
        }
        let sound = verify(folder.path());
        assert!(sound.holds(), "{:?}", failed(&sound));
        let path = face.join("scrfd_maps.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        for name in ["det", "kps", "bbox_8", "score_32"] {
            std::fs::write(&path, without_number(&bytes, name)).unwrap();
            let told = failed(&verify(folder.path())).join("; ");
            assert!(told.contains(&format!("`{name}` holds NaN")), "{name}: {told}");
        }
    }

    /// The file with NaN as the first number of a tensor of f32.
    fn without_number(bytes: &[u8], name: &str) -> Vec<u8> {
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let facts: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        assert_eq!(facts[name]["dtype"], "F32", "{name}");
        let at = 8 + header + facts[name]["data_offsets"][0].as_u64().unwrap() as usize;
        let mut out = bytes.to_vec();
        out[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        out
    }

    #[test]
    fn a_file_that_nothing_reads_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let sampling = folder.path().join("sampling");
        std::fs::create_dir(&sampling).unwrap();
        std::fs::write(
            sampling.join("linspace_frames.json"),
            r#"{"3": {"linspace2": [0, 2]}}"#,
        )
        .unwrap();
        assert!(verify(folder.path()).holds());
        std::fs::write(sampling.join("surprise.json"), "{}").unwrap();
        let report = verify(folder.path());
        assert_eq!(report.unread, ["sampling/surprise.json"]);
        assert!(!report.holds());
    }

    #[test]
    fn a_wrong_number_and_a_broken_file_fail() {
        let folder = tempfile::tempdir().unwrap();
        let sampling = folder.path().join("sampling");
        std::fs::create_dir(&sampling).unwrap();
        for text in [
            r#"{"3": {"linspace2": [0, 1]}}"#,
            "{}",
            "not JSON",
            r#"{"3": {"linspace2": 5}}"#,
        ] {
            std::fs::write(sampling.join("linspace_frames.json"), text).unwrap();
            let report = verify(folder.path());
            assert_eq!(report.count(Verdict::Fail), 1, "{text}: {report:?}");
        }
    }

    #[test]
    fn every_entry_has_its_own_place() {
        let mut places: Vec<_> = ENTRIES
            .iter()
            .copied()
            .flatten()
            .map(|e| (e.folder, e.file))
            .collect();
        let count = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), count);
    }
}
