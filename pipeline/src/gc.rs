//! What an output folder holds that its last run does not use (`omni gc`).

use crate::{Error, files, forget, readers::Run, run, worker::Worker};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders on their way out.
const LEAVING: &str = ".gc-";

/// Something nobody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The file or folder.
    pub path: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
    /// Why nobody needs it.
    pub why: &'static str,
}

impl Garbage {
    /// Something with the bytes it has now.
    pub fn new(path: PathBuf, why: &'static str) -> Garbage {
        let bytes = size(&path);
        Garbage { path, bytes, why }
    }
}

/// Finds what `run.json` does not name: steps of other settings, older listings, parts of shards that are gone, tars
/// without a part, files that dead processes left, and what a killed `omni gc` left.
///
/// # Errors
/// When there is no sound run, or a run is at work: then nothing is known to be garbage.
pub fn garbage(out: &Path) -> Result<Vec<Garbage>, Error> {
    forget::at_rest(out)?;
    let run = Run::open(out)?;
    let used: BTreeSet<&str> = run.file().stages.iter().map(|entry| entry.dir.as_str()).collect();
    let shards: BTreeSet<&str> = run.shards().map(|(id, _)| id).collect();
    let mut found = Vec::new();
    let mut put = |path: PathBuf, why| found.push(Garbage::new(path, why));
    for name in files::names(out)? {
        let path = out.join(&name);
        if !path.is_dir() {
            continue;
        }
        if name.starts_with(LEAVING) {
            put(path, "left by a killed gc");
        } else if used.contains(name.as_str()) {
            step(&path, &shards, &mut put)?;
        } else if name == run.file().listing || !forget::is_step(&name) {
            temporaries(&path, &mut put)?;
        } else if is_ours(&path)? {
            let listing = name.starts_with("listing-");
            put(
                path,
                if listing {
                    "an older listing"
                } else {
                    "a step of other settings"
                },
            );
        }
    }
    let data = out.join("report").join("data");
    for folder in [out, data.as_path()] {
        temporaries(folder, &mut put)?;
    }
    Ok(found)
}

/// A folder that holds nothing but what runs write; anything else in it is somebody's, and the folder stays.
fn is_ours(folder: &Path) -> Result<bool, Error> {
    let known = |name: &String| {
        let part = name.starts_with("part-") && (name.ends_with(".parquet") || name.ends_with(".tar"));
        let listing = matches!(
            name.as_str(),
            "listing.json" | "listing.parquet" | "dropped.jsonl"
        );
        part || listing
            || name.starts_with("staging.")
            || (name.starts_with('.') && (name.ends_with(".tmp") || name.ends_with(".part")))
    };
    Ok(files::names(folder)?.iter().all(known))
}

fn step(
    folder: &Path,
    shards: &BTreeSet<&str>,
    put: &mut dyn FnMut(PathBuf, &'static str),
) -> Result<(), Error> {
    for name in files::names(folder)? {
        let path = folder.join(&name);
        let stem = name.strip_prefix("part-").and_then(|rest| rest.rsplit_once('.'));
        let Some((shard, kind)) = stem.filter(|(_, kind)| matches!(*kind, "parquet" | "tar")) else {
            continue;
        };
        if !shards.contains(shard) {
            put(path, "a part of a shard that is gone");
        } else if kind == "tar" && !path.with_extension("parquet").exists() {
            put(path, "a tar without its part");
        }
    }
    temporaries(folder, put)
}

/// Files and folders under temporary names whose process is gone.
fn temporaries(folder: &Path, put: &mut dyn FnMut(PathBuf, &'static str)) -> Result<(), Error> {
    const WHY: &str = "left by a dead process";
    if !folder.is_dir() {
        return Ok(());
    }
    omni_manifests::orphans(folder)?
        .into_iter()
        .for_each(|path| put(path, WHY));
    for name in files::names(folder)? {
        let staging = || Worker::parse(name.strip_prefix("staging.")?.split_once('.')?.1);
        let scratch = || name.strip_prefix("scratch-").and_then(Worker::parse);
        let writer = run::writer_of(&name).or_else(staging).or_else(scratch);
        if writer.is_some_and(|writer| writer.is_dead()) {
            put(folder.join(&name), WHY);
        }
    }
    Ok(())
}

/// Removes what was found. A step's folder is renamed first, so that no half of it is ever taken for a step.
///
/// # Errors
/// When something cannot be removed; what is gone stays gone.
pub fn sweep(garbage: &[Garbage]) -> Result<(), Error> {
    for one in garbage {
        let name = one.path.file_name().unwrap_or_default().to_string_lossy();
        if one.path.is_dir() && forget::is_step(&name) {
            let leaving = one.path.with_file_name(format!("{LEAVING}{name}"));
            files::remove(&leaving)?;
            fs::rename(&one.path, &leaving).map_err(Error::io(&one.path))?;
            files::remove(&leaving)?;
        } else {
            files::remove(&one.path)?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> u64 {
    let Ok(data) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !data.is_dir() {
        return data.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn temporaries_of_dead_processes_are_found_and_those_of_living_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let me = Worker::me().to_string();
        let dead = format!("{me}0"); // the same process id, started at another time
        for worker in [&me, &dead] {
            fs::write(folder.path().join(format!(".run.json.{worker}-3.part")), "x").unwrap();
            fs::create_dir(folder.path().join(format!("staging.0.{worker}"))).unwrap();
            fs::create_dir(folder.path().join(format!("scratch-{worker}"))).unwrap();
        }
        let mut found = Vec::new();
        temporaries(folder.path(), &mut |path, _| found.push(path)).unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let names: Vec<String> = found.iter().map(name).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.iter().all(|name| name.contains(&dead)), "{names:?}");
    }
}
