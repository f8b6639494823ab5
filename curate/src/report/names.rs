//! Names of the report's data files: what a file holds, of which shard, made from what.

use crate::finished::{Error, Receipts, media_stamp};
use omni_pipeline::readers::Run;
use omni_schemas::Listing;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Raised when the page wants other data.
const VERSION: u32 = 1;
/// Clips whose details lie in one file.
pub(super) const CLIPS: usize = 48;
/// The file that names all others.
pub(super) const INDEX: &str = "index.js";

/// The data files of one shard: `rows-`, `thumbs-` and `cards-<shard>-<key>[-<n>].js`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) shard: String,
    pub(super) key: String,
    pub(super) clips: usize,
}

impl Names {
    /// The names of what a shard will become. Media are known by size and time of change.
    pub(super) fn new(run: &Run, shard: &str, listed: &[Listing], receipts: &Receipts, root: &Path) -> Names {
        let checks: Vec<_> = receipts
            .iter()
            .map(|(stage, receipt)| (stage, &receipt.check))
            .collect();
        let mut hasher = blake3::Hasher::new();
        let about = json!({ "version": VERSION, "shard": shard, "checks": checks, "from": place(run, root) });
        hasher.update(about.to_string().as_bytes());
        for row in listed {
            hasher.update(row.clip.as_bytes()).update(&[0]);
            hasher.update(format!("{:?}", media_stamp(&root.join(&row.path))).as_bytes());
        }
        Names {
            shard: shard.to_owned(),
            key: hasher.finalize().to_hex()[..12].to_owned(),
            clips: listed.len(),
        }
    }

    pub(super) fn rows(&self) -> String {
        format!("rows-{}-{}.js", self.shard, self.key)
    }

    pub(super) fn thumbs(&self, chunk: usize) -> String {
        format!("thumbs-{}-{}-{chunk}.js", self.shard, self.key)
    }

    pub(super) fn cards(&self, chunk: usize) -> String {
        format!("cards-{}-{}-{chunk}.js", self.shard, self.key)
    }

    /// A voice that is nowhere in the clip, so that it needs a file of its own.
    pub(super) fn voice(&self, clip: usize, number: usize) -> String {
        format!("voice-{}-{}-{clip}-{number}.wav", self.shard, self.key)
    }

    pub(super) fn chunks(&self) -> usize {
        self.clips.div_ceil(CLIPS)
    }

    /// Whether a file belongs to these.
    fn owns(&self, name: &str) -> bool {
        let middle = format!("-{}-{}", self.shard, self.key);
        name.split_once(&middle)
            .is_some_and(|(_, rest)| rest.starts_with(['-', '.']))
    }

    /// The rows are written last.
    pub(super) fn done(&self, data: &Path) -> bool {
        let chunks = (0..self.chunks()).flat_map(|chunk| [self.thumbs(chunk), self.cards(chunk)]);
        chunks.chain([self.rows()]).all(|name| data.join(name).is_file())
    }
}

/// Where the clips lie as seen from the report: part of the data, since cards name their video.
fn place(run: &Run, root: &Path) -> String {
    super::place::relative(&folder(run.out()), root)
}

/// `OUT/report`.
pub(super) fn folder(out: &Path) -> PathBuf {
    out.join("report")
}

/// The data files of a report that none of `shards` owns.
pub(super) fn strangers(data: &Path, shards: &[Names]) -> Result<Vec<PathBuf>, Error> {
    let ours = |name: &str| {
        ["rows-", "thumbs-", "cards-", "voice-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let mut strangers = Vec::new();
    for entry in fs::read_dir(data).map_err(Error::io(data))? {
        let entry = entry.map_err(Error::io(data))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if ours(&name) && !shards.iter().any(|shard| shard.owns(&name)) {
            strangers.push(entry.path());
        }
    }
    strangers.sort();
    Ok(strangers)
}

/// The data files of some shards, and the index with them: without it the page says that it wants to be made again.
/// None without a report.
///
/// # Errors
/// When the report's folder cannot be read.
pub fn files_of(out: &Path, shards: &BTreeSet<String>) -> Result<Vec<PathBuf>, Error> {
    let data = folder(out).join("data");
    let mut found = Vec::new();
    for entry in fs::read_dir(&data).into_iter().flatten() {
        let entry = entry.map_err(Error::io(&data))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if shards.iter().any(|shard| name.contains(&format!("-{shard}-"))) {
            found.push(entry.path());
        }
    }
    found.sort();
    if !found.is_empty() {
        found.push(data.join(INDEX));
    }
    Ok(found)
}

/// The data files that the report's own index does not name: left by a report that was killed. None without a report.
///
/// # Errors
/// When the report's folder cannot be read.
pub fn orphans(out: &Path) -> Result<Vec<PathBuf>, Error> {
    let data = folder(out).join("data");
    let Ok(index) = fs::read_to_string(data.join(INDEX)) else {
        return Ok(Vec::new());
    };
    // The index names each shard's rows; what they are made from is in that name.
    let named: BTreeSet<&str> = index
        .split('"')
        .filter(|word| word.starts_with("rows-"))
        .collect();
    let owners = named.iter().filter_map(|name| {
        let (shard, key) = name.strip_prefix("rows-")?.strip_suffix(".js")?.split_once('-')?;
        Some(Names {
            shard: shard.to_owned(),
            key: key.to_owned(),
            clips: 0,
        })
    });
    strangers(&data, &owners.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(key: &str) -> Names {
        Names {
            shard: "0123456789abcdef".into(),
            key: key.into(),
            clips: 100,
        }
    }

    #[test]
    fn a_file_belongs_to_one_shard_and_one_state_of_it() {
        let ours = names("aaaaaaaaaaaa");
        assert_eq!(ours.chunks(), 3);
        for name in [ours.rows(), ours.thumbs(2), ours.cards(0), ours.voice(3, 1)] {
            assert!(ours.owns(&name), "{name}");
            assert!(!names("aaaaaaaaaaab").owns(&name), "{name}");
        }
    }

    #[test]
    fn orphans_are_what_the_index_does_not_name() {
        let out = tempfile::tempdir().unwrap();
        let data = folder(out.path()).join("data");
        assert!(orphans(out.path()).unwrap().is_empty());
        fs::create_dir_all(&data).unwrap();
        let (new, old) = (names("aaaaaaaaaaaa"), names("bbbbbbbbbbbb"));
        for name in [
            new.rows(),
            new.cards(0),
            old.rows(),
            old.thumbs(1),
            "notes.js".into(),
        ] {
            fs::write(data.join(name), "x").unwrap();
        }
        assert!(
            orphans(out.path()).unwrap().is_empty(),
            "no index, nothing is known"
        );
        fs::write(
            data.join(INDEX),
            format!("omniIndex({{\"shards\":[\"{}\"]}})", new.rows()),
        )
        .unwrap();
        let found: Vec<_> = orphans(out.path()).unwrap();
        assert_eq!(found, [data.join(old.rows()), data.join(old.thumbs(1))]);
    }
}
