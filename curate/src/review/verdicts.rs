//! What was said of claims: `OUT/review/<worker>.jsonl`, a line for each verdict, on the disk before the page is told.
//!
//! Each process writes a file of its own, so a line that a kill cut off never joins with the next. Of two verdicts on one
//! claim the later one counts.

use super::Claim;
use crate::finished::Error;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Folder below the output folder.
const FOLDER: &str = "review";

/// A person's word on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The face is the voice's.
    Right,
    /// It is not.
    Wrong,
    /// It cannot be told.
    Unsure,
}

/// A verdict as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Of the claim.
    pub id: String,
    /// The clip.
    pub clip: String,
    /// The person in the picture.
    pub subject: i64,
    /// The voice.
    pub speaker: String,
    /// Who claimed it.
    pub route: String,
    /// Fingerprint of the step that made the claim.
    pub bind: String,
    /// The word.
    pub verdict: Verdict,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// The verdicts of an output folder.
#[derive(Debug)]
pub struct Verdicts {
    path: PathBuf,
    file: Option<File>,
    /// The last word on each claim, by step and claim.
    last: BTreeMap<(String, String), Said>,
}

impl Verdicts {
    /// Reads what was said so far; a line that a kill cut off was never answered for and is passed over. `worker` is a
    /// name that no other process has.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn open(out: &Path, worker: &str) -> Result<Verdicts, Error> {
        let mut last: BTreeMap<(String, String), Said> = BTreeMap::new();
        for path in files(out)? {
            let text = fs::read(&path).map_err(Error::io(&path))?;
            let lines = text.split(|byte| *byte == b'\n');
            for said in lines.filter_map(|line| serde_json::from_slice::<Said>(line).ok()) {
                let known = last.entry((said.bind.clone(), said.id.clone()));
                known
                    .and_modify(|known| {
                        if said.at >= known.at {
                            known.clone_from(&said);
                        }
                    })
                    .or_insert(said);
            }
        }
        Ok(Verdicts {
            path: out.join(FOLDER).join(format!("{worker}.jsonl")),
            file: None,
            last,
        })
    }

    /// The last word on each claim of a step.
    pub fn of<'a>(&'a self, bind: &'a str) -> impl Iterator<Item = &'a Said> {
        self.last.values().filter(move |said| said.bind == bind)
    }

    /// How many claims of other steps were judged.
    pub fn elsewhere(&self, bind: &str) -> u64 {
        self.last.values().filter(|said| said.bind != bind).count() as u64
    }

    /// Takes a verdict; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then it does not count.
    pub fn say(&mut self, claim: &Claim, bind: &str, verdict: Verdict) -> Result<(), Error> {
        let known = self.last.get(&(bind.to_owned(), claim.id.clone()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let said = Said {
            id: claim.id.clone(),
            clip: claim.clip.clone(),
            subject: claim.subject,
            speaker: claim.speaker.clone(),
            route: claim.route.clone(),
            bind: bind.to_owned(),
            verdict,
            // A clock that was set back must not revive the word before.
            at: u64::try_from(now.as_millis())
                .unwrap_or(u64::MAX)
                .max(known.map_or(0, |known| known.at)),
        };
        self.append(&said).map_err(Error::io(&self.path))?;
        self.last.insert((said.bind.clone(), said.id.clone()), said);
        Ok(())
    }

    fn append(&mut self, said: &Said) -> std::io::Result<()> {
        if self.file.is_none() {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            self.file = Some(File::options().create(true).append(true).open(&self.path)?);
            File::open(folder)?.sync_all()?;
        }
        let mut line = serde_json::to_vec(said).map_err(std::io::Error::other)?;
        line.push(b'\n');
        match &mut self.file {
            Some(file) => file.write_all(&line).and_then(|()| file.sync_data()),
            None => Ok(()),
        }
    }
}

fn files(out: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = out.join(FOLDER);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.map_err(Error::io(&folder))?.path();
        if path.extension().is_some_and(|kind| kind == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes the verdicts on clips out; how many there are. What cannot be read goes too.
///
/// # Errors
/// When a file cannot be read or written.
pub fn forget(out: &Path, clips: &BTreeSet<String>, write: bool) -> Result<u64, Error> {
    let mut gone = 0;
    for path in files(out)? {
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let stays =
            |line: &&[u8]| serde_json::from_slice::<Said>(line).is_ok_and(|said| !clips.contains(&said.clip));
        let (kept, lost): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(stays);
        gone += lost.len() as u64;
        if write && !lost.is_empty() {
            let kept: Vec<u8> = kept.into_iter().flat_map(|line| [line, b"\n"].concat()).collect();
            omni_manifests::write_file(&path, &kept)?;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(clip: &str) -> Claim {
        Claim {
            id: format!("id-{clip}"),
            clip: clip.into(),
            subject: 1,
            speaker: "S1".into(),
            route: "local".into(),
            shard: 0,
        }
    }

    fn words(out: &Path, bind: &str) -> Vec<(String, Verdict)> {
        let verdicts = Verdicts::open(out, "reader").unwrap();
        verdicts
            .of(bind)
            .map(|said| (said.clip.clone(), said.verdict))
            .collect()
    }

    #[test]
    fn the_last_word_counts_a_torn_line_does_not_and_other_steps_are_apart() {
        let out = tempfile::tempdir().unwrap();
        let mut first = Verdicts::open(out.path(), "a").unwrap();
        first.say(&claim("x"), "bind", Verdict::Right).unwrap();
        first.say(&claim("y"), "bind", Verdict::Unsure).unwrap();
        first.say(&claim("x"), "bind", Verdict::Wrong).unwrap();
        first.say(&claim("x"), "other", Verdict::Right).unwrap();
        let path = out.path().join("review/a.jsonl");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"id\":\"id-z\",\"clip\":\"z").unwrap();
        let mut second = Verdicts::open(out.path(), "b").unwrap();
        assert_eq!(second.elsewhere("bind"), 1);
        second.say(&claim("y"), "bind", Verdict::Right).unwrap();
        assert_eq!(
            words(out.path(), "bind"),
            [("x".into(), Verdict::Wrong), ("y".into(), Verdict::Right)]
        );
        let x = BTreeSet::from(["x".to_owned()]);
        assert_eq!(
            forget(out.path(), &x, false).unwrap(),
            4,
            "three, and the torn one"
        );
        assert_eq!(forget(out.path(), &x, true).unwrap(), 4);
        assert_eq!(words(out.path(), "bind"), [("y".into(), Verdict::Right)]);
        assert_eq!(forget(out.path(), &x, true).unwrap(), 0);
    }
}
