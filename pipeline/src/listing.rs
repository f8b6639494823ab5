//! The source's rows on disk: `OUT/listing-<12 hex>/`, cut into shards by content.
//!
//! `listing.parquet` holds the rows (one row group per shard), `dropped.jsonl` what the source dropped, and
//! `listing.json`, written last, the shards, the counts and the hashes of the other two.

use crate::{
    Cancel, Error, Event, Forgotten, ListingSink, Plan, Progress, RunOptions, SourceError, Verify, files,
    forget::bare, worker::Worker,
};
use omni_manifests::ListingWriter;
use omni_schemas::{Listing, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BinaryHeap, HashSet},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

pub(crate) const ROWS: &str = "listing.parquet";
pub(crate) const DROPPED: &str = "dropped.jsonl";
pub(crate) const INDEX: &str = "listing.json";
/// A shard has at most this many times the average number of clips.
const LONGEST: usize = 4;

/// `listing.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) source: String,
    pub(crate) settings: Value,
    pub(crate) fingerprint: String,
    pub(crate) rows: u64,
    pub(crate) beyond_limit: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) shards: Vec<ShardEntry>,
    /// File name to size and hash.
    files: BTreeMap<String, Seal>,
}

impl Index {
    /// Takes size and hash of the files as they are now.
    pub(crate) fn seal(&mut self, folder: &Path) -> Result<(), Error> {
        for name in [ROWS, DROPPED] {
            self.files.insert(name.to_owned(), Seal::of(&folder.join(name))?);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardEntry {
    /// 16 hex digits over the rows.
    pub(crate) id: String,
    pub(crate) rows: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seal {
    bytes: u64,
    blake3: String,
}

impl Seal {
    fn of(path: &Path) -> Result<Seal, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(Error::io(path))?;
        Ok(Seal {
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        })
    }

    fn holds(&self, path: &Path, verify: Verify) -> bool {
        match verify {
            Verify::Size => fs::metadata(path).is_ok_and(|data| data.len() == self.bytes),
            Verify::Full => Seal::of(path).is_ok_and(|seal| seal == *self),
        }
    }
}

/// The listing's folder below the output folder. `limit` is part of its name and of no other.
pub(crate) fn dir(plan: &Plan, options: &RunOptions) -> String {
    let limit = options
        .limit
        .map(|clips| json!({ "clips": clips, "seed": options.seed }));
    let value =
        json!({ "source": plan.source_fingerprint(), "shard_clips": options.shard_clips, "limit": limit });
    format!("listing-{}", &omni_manifests::fingerprint(&value)[..12])
}

/// The index, when it is there and the files are what it says; else why not (empty: nothing there).
pub(crate) fn load(folder: &Path, verify: Verify) -> Result<Index, String> {
    let index: Option<Index> = files::read_json(&folder.join(INDEX)).map_err(|error| error.to_string())?;
    let index = index.ok_or_else(String::new)?;
    for name in [ROWS, DROPPED] {
        let sound = index
            .files
            .get(name)
            .is_some_and(|seal| seal.holds(&folder.join(name), verify));
        if !sound {
            return Err(format!("`{name}` is not the file that {INDEX} describes"));
        }
    }
    Ok(index)
}

/// Lists the corpus, unless the source says that nothing changed; `None` when cancelled.
pub(crate) fn prepare(
    plan: &Plan,
    options: &RunOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Option<Index>, Error> {
    let name = dir(plan, options);
    let folder = options.out.join(&name);
    let stamp_path = options.out.join("log").join(format!("{name}.stamp"));
    let stamp = plan.source.stamp();
    let there = load(&folder, options.verify);
    if let Err(why) = &there
        && !why.is_empty()
    {
        progress.on(&Event::Repair {
            path: folder.join(INDEX),
            why: why.clone(),
        });
    }
    if let Ok(index) = &there
        && stamp.is_some()
        && files::read_json::<String>(&stamp_path).ok().flatten() == stamp
    {
        return Ok(Some(index.clone()));
    }
    files::folder(&folder)?;
    sweep(&folder)?;
    let staging = Staging::new(&folder)?;
    let Some(index) = stream(plan, options, cancel, progress, &staging.0)? else {
        return Ok(None);
    };
    if there.as_ref() != Ok(&index) {
        for file in [ROWS, DROPPED] {
            let path = folder.join(file);
            fs::rename(staging.0.join(file), &path).map_err(Error::io(&path))?;
        }
        files::write_json(&folder.join(INDEX), &index)?;
    }
    if let Some(stamp) = stamp {
        files::write_json(&stamp_path, &stamp)?;
    }
    Ok(Some(index))
}

/// A folder for the files to come, gone with the value.
struct Staging(PathBuf);

impl Staging {
    fn new(folder: &Path) -> Result<Staging, Error> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("staging.{number}.{}", Worker::me()));
        files::folder(&path)?;
        Ok(Staging(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // else the next start sweeps it
    }
}

/// Removes the staging folders of processes that are gone.
fn sweep(folder: &Path) -> Result<(), Error> {
    for name in files::names(folder)? {
        let writer = name
            .strip_prefix("staging.")
            .and_then(|rest| Worker::parse(rest.split_once('.')?.1));
        if writer.is_some_and(|writer| writer.is_dead()) {
            files::remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn stream(
    plan: &Plan,
    options: &RunOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
    folder: &Path,
) -> Result<Option<Index>, Error> {
    let mut sink = Sink::new(plan, options, cancel, progress, folder)?;
    let listed = plan.source.list(&mut sink);
    if cancel.is_cancelled() {
        return Ok(None);
    }
    if let Some(failure) = sink.failure.take() {
        return Err(failure);
    }
    let name = || plan.source.name().to_owned();
    listed.map_err(|SourceError(source)| Error::Source { name: name(), source })?;
    sink.finish().map(Some)
}

/// A row of a limited listing: the smallest hashes stay.
struct Picked {
    hash: u64,
    order: u64,
    row: Listing,
}

impl PartialEq for Picked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Picked {}
impl PartialOrd for Picked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Picked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.hash, self.order).cmp(&(other.hash, other.order))
    }
}

struct Sink<'a> {
    options: &'a RunOptions,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    folder: &'a Path,
    rows: ListingWriter<Listing>,
    dropped: BufWriter<File>,
    group: Vec<Listing>,
    picked: BinaryHeap<Picked>,
    seen: u64,
    index: Index,
    forgotten: Forgotten,
    failure: Option<Error>,
}

impl<'a> Sink<'a> {
    fn new(
        plan: &Plan,
        options: &'a RunOptions,
        cancel: &'a Cancel,
        progress: &'a dyn Progress,
        folder: &'a Path,
    ) -> Result<Self, Error> {
        let index = Index {
            source: plan.source.name().to_owned(),
            settings: plan.source.settings(),
            fingerprint: plan.source_fingerprint().to_owned(),
            rows: 0,
            beyond_limit: 0,
            dropped: BTreeMap::new(),
            shards: Vec::new(),
            files: BTreeMap::new(),
        };
        let meta =
            json!({ "source": index.source, "settings": index.settings, "fingerprint": index.fingerprint });
        let dropped = folder.join(DROPPED);
        Ok(Sink {
            options,
            cancel,
            progress,
            folder,
            rows: ListingWriter::create(&folder.join(ROWS), &meta)?,
            dropped: BufWriter::new(File::create(&dropped).map_err(Error::io(&dropped))?),
            group: Vec::new(),
            picked: BinaryHeap::new(),
            seen: 0,
            index,
            forgotten: Forgotten::read(&options.out)?,
            failure: None,
        })
    }

    /// Takes a row into the listing and ends the shard where its content says so.
    fn take(&mut self, row: Listing) -> Result<(), Error> {
        let average = self.options.shard_clips.max(1);
        let cut = hash(&[row.key()]).is_multiple_of(average as u64);
        self.group.push(row);
        if cut || self.group.len() >= LONGEST * average {
            self.end_shard()
        } else {
            Ok(())
        }
    }

    fn end_shard(&mut self) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        let mut keys = HashSet::new();
        for row in &self.group {
            if !keys.insert(row.key()) {
                let (name, key) = (self.index.source.clone(), row.key().to_owned());
                return Err(Error::KeyTwice { name, key });
            }
            let json = serde_json::to_vec(row).map_err(|error| Error::Option(error.to_string()))?;
            hasher.update(&json).update(b"\n");
        }
        let rows = self.group.len() as u64;
        self.index.rows += rows;
        self.index.shards.push(ShardEntry {
            id: hasher.finalize().to_hex()[..16].to_owned(),
            rows,
        });
        // The id is a hash of the full rows, so that a forgotten clip changes no other clip's shard.
        for row in self.group.iter_mut().filter(|row| self.forgotten.has(row.key())) {
            *row = bare(row);
        }
        self.rows.push_group(&self.group)?;
        self.group.clear();
        Ok(())
    }

    fn pick(&mut self, row: Listing, limit: usize) {
        let hash = hash(&[&self.options.seed.to_string(), row.key()]);
        self.picked.push(Picked {
            hash,
            order: self.seen,
            row,
        });
        if self.picked.len() > limit {
            self.picked.pop();
            self.index.beyond_limit += 1;
        }
    }

    fn finish(mut self) -> Result<Index, Error> {
        let mut picked = std::mem::take(&mut self.picked).into_vec();
        picked.sort_by_key(|picked| picked.order);
        for picked in picked {
            self.take(picked.row)?;
        }
        if !self.group.is_empty() {
            self.end_shard()?;
        }
        self.progress.on(&Event::Listing {
            rows: self.seen,
            done: true,
        });
        let dropped = self.folder.join(DROPPED);
        self.dropped
            .flush()
            .and_then(|()| self.dropped.get_ref().sync_all())
            .map_err(Error::io(&dropped))?;
        self.rows.finish()?;
        self.index.seal(self.folder)?;
        Ok(self.index)
    }

    fn tick(&mut self) -> Result<(), SourceError> {
        self.seen += 1;
        if self.seen.is_multiple_of(4096) {
            self.progress.on(&Event::Listing {
                rows: self.seen,
                done: false,
            });
        }
        if self.cancel.is_cancelled() {
            Err(SourceError::new("cancelled"))
        } else {
            Ok(())
        }
    }

    fn failed(&mut self, error: Error) -> SourceError {
        let told = SourceError::new(error.to_string());
        self.failure = Some(error);
        told
    }
}

impl ListingSink for Sink<'_> {
    fn keep(&mut self, row: Listing) -> Result<(), SourceError> {
        self.tick()?;
        match self.options.limit {
            Some(limit) => self.pick(row, limit),
            None => self.take(row).map_err(|error| self.failed(error))?,
        }
        Ok(())
    }

    fn drop(&mut self, key: &str, reason: &str) -> Result<(), SourceError> {
        self.tick()?;
        *self.index.dropped.entry(reason.to_owned()).or_default() += 1;
        let line = json!({ "clip": key, "reason": reason });
        let path = self.folder.join(DROPPED);
        writeln!(self.dropped, "{line}")
            .map_err(Error::io(&path))
            .map_err(|error| self.failed(error))
    }
}

/// The first eight bytes of BLAKE3 over texts, each closed by a zero byte.
fn hash(texts: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    texts.iter().for_each(|text| {
        hasher.update(text.as_bytes()).update(&[0]);
    });
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
