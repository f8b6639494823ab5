//! The clips of a method: which file answers which case.
//!
//! `<case>.mp4`, or `<case>.<seed>.mp4` where a case was generated several times. Where some cases have seeds, every case is
//! expected to have all of them: what is not there is listed all the same, so that it is counted and never averaged away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use omni_pipeline::{ListingSink, Source, SourceError};
use omni_schemas::{Case, Generation, Listing};
use serde_json::{Value, json};

use super::{mark::mark, paradigm::Paradigm};

/// Ending of a clip's name.
const ENDING: &str = ".mp4";

/// Who made the clips, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// As the report calls it.
    pub name: String,
    /// How its clips are made.
    pub paradigm: Paradigm,
}

/// What a folder of outputs holds for some cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// A row for each clip that is there or should be, in the order of the cases, then of the seeds.
    pub generations: Vec<Generation>,
    /// Keys of those whose file is not there.
    pub missing: Vec<String>,
    /// Clips (`.mp4`) that belong to no case of the whole file, by name.
    pub unclaimed: Vec<String>,
    /// The seeds that occur, rising.
    pub seeds: Vec<i64>,
}

impl Found {
    /// Looks for the clips of `chosen` in `folder`; `all` are the names of every case of the file, so that a clip of another
    /// subset is not taken for a stranger.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn look(
        folder: &Path,
        method: &Method,
        chosen: &[Case],
        all: &BTreeSet<String>,
    ) -> io::Result<Found> {
        let mut claimed: BTreeMap<String, BTreeSet<Option<i64>>> = BTreeMap::new();
        let mut found = Found::default();
        for name in clips(folder)? {
            match claim(&name, all) {
                Some((case, seed)) => drop(claimed.entry(case).or_default().insert(seed)),
                None => found.unclaimed.push(name),
            }
        }
        let chosen_names: BTreeSet<&str> = chosen.iter().map(|case| case.case.as_str()).collect();
        let of_chosen = claimed
            .iter()
            .filter(|(case, _)| chosen_names.contains(case.as_str()));
        let seeds: BTreeSet<i64> = of_chosen
            .flat_map(|(_, seeds)| seeds.iter().copied().flatten())
            .collect();
        for case in chosen {
            let there = claimed.remove(&case.case).unwrap_or_default();
            for seed in expected(&there, &seeds) {
                let row = generation(method, case, seed);
                if !there.contains(&seed) {
                    found.missing.push(row.generation.clone());
                }
                found.generations.push(row);
            }
        }
        found.seeds = seeds.into_iter().collect();
        Ok(found)
    }
}

/// Names of the clips in a folder, in order.
fn clips(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Follows a link, so that a linked clip counts.
        if name.ends_with(ENDING) && fs::metadata(entry.path()).is_ok_and(|data| data.is_file()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The case and seed of a clip's name. A case whose name itself ends in a number comes before a seed.
fn claim(name: &str, all: &BTreeSet<String>) -> Option<(String, Option<i64>)> {
    let stem = name.strip_suffix(ENDING)?;
    if all.contains(stem) {
        return Some((stem.to_owned(), None));
    }
    let (case, seed) = stem.rsplit_once('.')?;
    // Digits only, and as they are written back: else `01` and `1` would be one seed with two files.
    let number: i64 = seed.parse().ok()?;
    (all.contains(case) && number.to_string() == seed && number >= 0).then(|| (case.to_owned(), Some(number)))
}

/// The clips that a case should have: a single one, or one for each seed that occurs; and all that it has.
fn expected(there: &BTreeSet<Option<i64>>, seeds: &BTreeSet<i64>) -> BTreeSet<Option<i64>> {
    let mut out = there.clone();
    let single = there.contains(&None) && there.len() == 1;
    if !single {
        out.extend(seeds.iter().copied().map(Some));
    }
    if out.is_empty() {
        out.insert(None);
    }
    out
}

fn generation(method: &Method, case: &Case, seed: Option<i64>) -> Generation {
    let suffix = seed.map(|seed| format!(".{seed}")).unwrap_or_default();
    Generation {
        generation: format!("{}/{}{suffix}", method.name, case.case),
        method: method.name.clone(),
        paradigm: method.paradigm.name().to_owned(),
        case: case.case.clone(),
        seed,
        media: format!("{}{suffix}{ENDING}", case.case),
        given: case.clone(),
    }
}

/// The source of a run: the clips of a method, each with its mark.
pub struct Answers {
    folder: PathBuf,
    rows: Vec<Generation>,
    method: Method,
}

impl Answers {
    /// Of the clips that were found in a folder.
    pub fn new(folder: &Path, method: &Method, found: &Found) -> Answers {
        Answers {
            folder: folder.to_owned(),
            rows: found.generations.clone(),
            method: method.clone(),
        }
    }
}

impl Source for Answers {
    fn name(&self) -> &'static str {
        "generations"
    }

    fn settings(&self) -> Value {
        json!({ "method": self.method.name, "paradigm": self.method.paradigm.name() })
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        for row in &self.rows {
            sink.keep(Listing {
                clip: row.generation.clone(),
                path: row.media.clone(),
                annotation: Some(mark(&self.folder.join(&row.media), row)),
                ..Listing::default()
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str) -> Case {
        Case {
            case: name.into(),
            subset: 1,
            ..Case::default()
        }
    }

    fn look(files: &[&str], chosen: &[&str], others: &[&str]) -> Found {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "x").unwrap();
        }
        let cases: Vec<Case> = chosen.iter().map(|name| case(name)).collect();
        let all = chosen
            .iter()
            .chain(others)
            .map(|name| (*name).to_owned())
            .collect();
        let method = Method {
            name: "ours".into(),
            paradigm: Paradigm::Joint,
        };
        Found::look(folder.path(), &method, &cases, &all).unwrap()
    }

    fn media(found: &Found) -> Vec<&str> {
        found.generations.iter().map(|row| row.media.as_str()).collect()
    }

    #[test]
    fn one_clip_a_case_and_what_lacks_is_listed() {
        let found = look(&["a.mp4", "c.mp4", "z.mp4", "notes.txt"], &["b", "a"], &["c"]);
        assert_eq!(media(&found), ["b.mp4", "a.mp4"]);
        assert_eq!(found.missing, ["ours/b"]);
        assert_eq!(found.unclaimed, ["z.mp4"]);
        assert_eq!(found.seeds, Vec::<i64>::new());
        assert_eq!(found.generations[1].paradigm, "joint");
    }

    #[test]
    fn every_case_is_expected_to_have_every_seed() {
        let found = look(
            &["a.1.mp4", "a.2.mp4", "b.2.mp4", "d.mp4"],
            &["a", "b", "c", "d"],
            &[],
        );
        assert_eq!(
            media(&found),
            [
                "a.1.mp4", "a.2.mp4", "b.1.mp4", "b.2.mp4", "c.1.mp4", "c.2.mp4", "d.mp4"
            ]
        );
        assert_eq!(found.missing, ["ours/b.1", "ours/c.1", "ours/c.2"]);
        assert_eq!(found.seeds, [1, 2]);
    }

    #[test]
    fn a_case_whose_name_ends_in_a_number_is_no_seed() {
        let found = look(&["a.1.mp4", "a.01.mp4", "a.-1.mp4", "a.mp4"], &["a", "a.1"], &[]);
        assert_eq!(media(&found), ["a.mp4", "a.1.mp4"]);
        assert_eq!(found.unclaimed, ["a.-1.mp4", "a.01.mp4"]);
        assert!(found.missing.is_empty());
    }
}
