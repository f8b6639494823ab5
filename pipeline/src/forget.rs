//! Taking clips out of a finished run (`omni forget`).
//!
//! The list of forgotten clips is written first, so that whatever happens afterwards no run brings a clip back. Then
//! listing, parts and tars are written anew, each under a temporary name, in the order of the stages, so that every
//! receipt names the checks of the parts that lie there then. The result is byte for byte what a run makes that knew of
//! the list from the start. A process killed on the way leaves parts that the same command, or the next run, puts right.

use crate::{
    Error, files,
    forgotten::{Forgotten, REASON},
    listing::{self, Index},
    readers::{Run, StageEntry},
    worker::Worker,
};
use omni_manifests::{ListingReader, ListingWriter, Receipt, Removed, read_receipt, rewrite_part};
use omni_schemas::{ALL, Column, Listing};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// What was, or would be, taken out of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgot {
    /// Rows by record; `listing` rows are left as bare keys.
    pub rows: BTreeMap<String, u64>,
    /// Members of tars: faces, voices, raw answers.
    pub members: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whole parts removed, because an older step made them or because they were not sound; a run that needs one makes
    /// it again, without the clips.
    pub parts: Vec<PathBuf>,
    /// Lines of the log.
    pub log: u64,
    /// Ids of the shards the clips lay in.
    pub shards: BTreeSet<String>,
    /// Clips that no listing of this folder names.
    pub unknown: BTreeSet<String>,
}

/// Takes clips out of everything the run in `out` made. With `write` false nothing is written and the counts are those
/// that would be; with unknown clips nothing is written either.
///
/// # Errors
/// When a run is at work in the folder, or a file cannot be read or written.
pub fn forget(out: &Path, clips: &BTreeSet<String>, write: bool) -> Result<Forgot, Error> {
    at_rest(out)?;
    let run = Run::open(out)?;
    let mut forgot = Forgot {
        unknown: clips.clone(),
        ..Forgot::default()
    };
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let listings = listings(out)?;
    for folder in &listings {
        find(folder, clips, &mut held)?;
    }
    held.values().flatten().for_each(|key| {
        forgot.unknown.remove(key);
    });
    if !forgot.unknown.is_empty() {
        return Ok(forgot);
    }
    forgot.shards = held.keys().cloned().collect();
    if write {
        note(out, clips, &held)?;
    }
    let current = out.join(&run.file().listing);
    for folder in &listings {
        blank(folder, clips, write, (*folder == current).then_some(&mut forgot))?;
    }
    let shards: Vec<String> = run.shards().map(|(id, _)| id.to_owned()).collect();
    let mut reader = ListingReader::open(&run.listing())?;
    for (number, id) in shards.iter().enumerate() {
        if held.contains_key(id) {
            let keys: Vec<String> = reader
                .group::<Listing>(number)?
                .into_iter()
                .map(|row| row.clip)
                .collect();
            shard(&run, number, &keys, clips, write, &mut forgot)?;
        }
    }
    older(out, &run, &shards, clips, write, &mut forgot)?;
    log(out, clips, write, &mut forgot)?;
    Ok(forgot)
}

/// Refuses while a run is at work: it might write rows of a clip after they were taken out.
pub(crate) fn at_rest(out: &Path) -> Result<(), Error> {
    for name in files::names(&out.join("log"))? {
        let mark = name
            .strip_prefix("crash-")
            .or_else(|| name.strip_prefix("inflight-")?.strip_suffix(".log"));
        if mark
            .and_then(Worker::parse)
            .is_some_and(|worker| !worker.is_dead())
        {
            let what = format!(
                "a run is at work in {} (log/{name}); wait for its end",
                out.display()
            );
            return Err(Error::Option(what));
        }
    }
    Ok(())
}

/// Every folder with a listing.
fn listings(out: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = files::names(out)?;
    let folders = names
        .iter()
        .filter(|name| name.starts_with("listing-"))
        .map(|name| out.join(name));
    Ok(folders
        .filter(|folder| folder.join(listing::INDEX).is_file())
        .collect())
}

fn index(folder: &Path) -> Result<Option<Index>, Error> {
    files::read_json(&folder.join(listing::INDEX))
}

/// Which shards of a listing hold which of the clips.
fn find(
    folder: &Path,
    clips: &BTreeSet<String>,
    held: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), Error> {
    let Some(index) = index(folder)? else {
        return Ok(());
    };
    let mut reader = ListingReader::open(&folder.join(listing::ROWS))?;
    for (number, entry) in index.shards.iter().enumerate().take(reader.groups()) {
        let rows: Vec<Listing> = reader.group(number)?;
        let keys = rows
            .into_iter()
            .map(|row| row.clip)
            .filter(|key| clips.contains(key));
        let keys: Vec<String> = keys.collect();
        if !keys.is_empty() {
            held.entry(entry.id.clone()).or_default().extend(keys);
        }
    }
    Ok(())
}

/// Adds to the list, and sees to it that no run takes an old listing for a new one.
fn note(out: &Path, clips: &BTreeSet<String>, held: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
    let mut list = Forgotten::read(out)?;
    for key in clips {
        let shards = list.clips.entry(key.clone()).or_default();
        shards.extend(
            held.iter()
                .filter(|(_, keys)| keys.contains(key))
                .map(|(shard, _)| shard.clone()),
        );
        shards.sort();
        shards.dedup();
    }
    list.write(out)?;
    let log = out.join("log");
    for name in files::names(&log)?.iter().filter(|name| name.ends_with(".stamp")) {
        files::remove(&log.join(name))?;
    }
    Ok(())
}

/// A listing's row of which only the key is left.
pub(crate) fn bare(row: &Listing) -> Listing {
    Listing {
        clip: row.clip.clone(),
        ..Listing::default()
    }
}

/// Leaves bare keys in a listing, and seals it anew.
fn blank(
    folder: &Path,
    clips: &BTreeSet<String>,
    write: bool,
    count: Option<&mut Forgot>,
) -> Result<(), Error> {
    let path = folder.join(listing::ROWS);
    let mut reader = ListingReader::open(&path)?;
    let (mut groups, mut changed) = (Vec::new(), 0);
    for number in 0..reader.groups() {
        let mut rows: Vec<Listing> = reader.group(number)?;
        for row in rows.iter_mut().filter(|row| clips.contains(&row.clip)) {
            let left = bare(row);
            changed += u64::from(left != *row);
            *row = left;
        }
        groups.push(rows);
    }
    if let Some(forgot) = count.filter(|_| changed > 0) {
        forgot.rows.insert("listing".to_owned(), changed);
    }
    if !write {
        return Ok(());
    }
    if changed > 0 {
        let mut writer = ListingWriter::create(&path, &reader.meta())?;
        for rows in &groups {
            writer.push_group(rows)?;
        }
        writer.finish()?;
    }
    let Some(mut index) = index(folder)? else {
        return Ok(());
    };
    index.seal(folder)?;
    files::write_json(&folder.join(listing::INDEX), &index)
}

fn columns(record: &str, version: u32) -> Option<Vec<Column>> {
    let entry = ALL
        .iter()
        .find(|(name, known, _)| *name == record && *known == version);
    entry.map(|(.., columns)| columns())
}

/// Every part of a shard, in the order of the stages.
fn shard(
    run: &Run,
    number: usize,
    keys: &[String],
    clips: &BTreeSet<String>,
    write: bool,
    forgot: &mut Forgot,
) -> Result<(), Error> {
    let mut checks: BTreeMap<String, String> = BTreeMap::new();
    for entry in &run.file().stages {
        let path = run.shard_part(entry, number);
        if !path.exists() {
            continue;
        }
        match part(entry, &path, keys, clips, write, &checks)? {
            Some(removed) => {
                *forgot.rows.entry(entry.record.clone()).or_default() += removed.rows;
                forgot.members += removed.members;
                forgot.bytes += removed.bytes;
                checks.insert(entry.stage.clone(), read_receipt(&path)?.check);
            }
            None => remove(&path, write, forgot)?,
        }
    }
    Ok(())
}

/// One part; nothing when it is not sound, of another version of its record, or made from a part that is gone.
fn part(
    entry: &StageEntry,
    path: &Path,
    keys: &[String],
    clips: &BTreeSet<String>,
    write: bool,
    checks: &BTreeMap<String, String>,
) -> Result<Option<Removed>, Error> {
    let receipt = match omni_manifests::verify_part(path) {
        Ok(receipt) => receipt,
        Err(omni_manifests::Error::Io { path, source, .. })
            if source.kind() != std::io::ErrorKind::NotFound =>
        {
            return Err(Error::Io { path, source });
        }
        Err(_) => return Ok(None),
    };
    let Some(columns) = columns(&entry.record, receipt.record_version) else {
        return Ok(None);
    };
    if receipt.inputs.keys().any(|stage| !checks.contains_key(stage)) {
        return Ok(None);
    }
    let amend = |receipt: &mut Receipt| {
        receipt.drops.retain(|key, _| !clips.contains(key));
        if receipt.inputs.is_empty() {
            let here = keys.iter().filter(|key| clips.contains(*key));
            receipt
                .drops
                .extend(here.map(|key| (key.clone(), REASON.to_owned())));
        }
        for (stage, check) in &mut receipt.inputs {
            check.clone_from(&checks[stage]);
        }
    };
    Ok(Some(rewrite_part(path, &columns, keys, clips, amend, write)?))
}

fn remove(path: &Path, write: bool, forgot: &mut Forgot) -> Result<(), Error> {
    forgot.parts.push(path.to_owned());
    if write {
        files::remove(path)?;
        files::remove(&path.with_extension("tar"))?;
    }
    Ok(())
}

/// Whether a folder's name is `<stage>-<12 hex digits>`.
pub(crate) fn is_step(name: &str) -> bool {
    let hex = |tail: &str| {
        tail.len() == 12
            && tail
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    name.rsplit_once('-')
        .is_some_and(|(stage, tail)| !stage.is_empty() && !stage.starts_with('.') && hex(tail))
}

/// Parts that the last run does not use: those that hold a clip go.
fn older(
    out: &Path,
    run: &Run,
    shards: &[String],
    clips: &BTreeSet<String>,
    write: bool,
    forgot: &mut Forgot,
) -> Result<(), Error> {
    for name in files::names(out)?
        .iter()
        .filter(|name| is_step(name) && !name.starts_with("listing-"))
    {
        let used = run.file().stages.iter().any(|entry| entry.dir == *name);
        for file in files::names(&out.join(name))? {
            let Some(shard) = file
                .strip_prefix("part-")
                .and_then(|rest| rest.strip_suffix(".parquet"))
            else {
                continue;
            };
            let path = out.join(name).join(&file);
            if !(used && shards.iter().any(|id| id == shard)) && holds(&path, clips) {
                remove(&path, write, forgot)?;
            }
        }
    }
    Ok(())
}

/// Whether a part has rows or drops of a clip; one that cannot be read is taken to.
fn holds(path: &Path, clips: &BTreeSet<String>) -> bool {
    let Ok(receipt) = read_receipt(path) else {
        return true;
    };
    let mut found = receipt.drops.keys().any(|key| clips.contains(key));
    let wanted = |value: &Value| value.as_str().is_some_and(|key| clips.contains(key));
    // The key of a reading is called `scored`; a part without the column has no rows to look at.
    let mut read = ["clip", "scored"].into_iter().map(|key| {
        omni_manifests::for_each_row_where(path, key, &wanted, &mut |_| {
            found = true;
            ControlFlow::Break(())
        })
    });
    let broken = read.any(|read| read.is_err());
    found || broken
}

/// Lines of the clips' log.
fn log(out: &Path, clips: &BTreeSet<String>, write: bool, forgot: &mut Forgot) -> Result<(), Error> {
    let folder = out.join("log");
    for name in files::names(&folder)?
        .iter()
        .filter(|name| name.starts_with("clips-") && name.ends_with(".jsonl"))
    {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let about = |line: &&str| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["clip"].as_str().is_some_and(|key| clips.contains(key))
        };
        let gone = text.lines().filter(about).count() as u64;
        forgot.log += gone;
        if write && gone > 0 {
            let kept: String = text
                .lines()
                .filter(|line| !about(line))
                .flat_map(|line| [line, "\n"])
                .collect();
            omni_manifests::write_file(&path, kept.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn a_living_run_is_waited_for_and_a_dead_one_is_not() {
        let out = tempfile::tempdir().unwrap();
        let log = out.path().join("log");
        fs::create_dir_all(&log).unwrap();
        assert!(at_rest(out.path()).is_ok());
        let (me, dead) = (Worker::me().to_string(), "00000000-1-1");
        let gone = format!("{}0", me); // the same process id, started at another time
        for name in [format!("crash-{gone}"), format!("inflight-{gone}.log")] {
            fs::write(log.join(name), "").unwrap();
        }
        assert!(at_rest(out.path()).is_ok());
        for name in [
            format!("crash-{me}"),
            format!("inflight-{me}.log"),
            format!("crash-{dead}"),
        ] {
            fs::write(log.join(&name), "").unwrap();
            let error = at_rest(out.path()).unwrap_err().to_string();
            assert!(
                error.contains("a run is at work") && error.contains(&name),
                "{error}"
            );
            fs::remove_file(log.join(&name)).unwrap();
        }
    }

    #[test]
    fn only_names_of_steps_are_steps() {
        for name in [
            "probe-0123456789ab",
            "face_ref-aaaaaaaaaaaa",
            "listing-0123456789ab",
        ] {
            assert!(is_step(name), "{name}");
        }
        for name in [
            "select-stage1",
            "pool",
            "report",
            "log",
            "-0123456789ab",
            ".gc-0123456789ab",
            "x-0123456789AB",
            "x-0123456789abc",
        ] {
            assert!(!is_step(name), "{name}");
        }
    }
}
