//! Reading a finished or running output folder: which folders belong to its last run, and what became of a clip.

use crate::{Error, files, listing, listing::Index};
use omni_manifests::ListingReader;
use omni_schemas::{Listing, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// `OUT/run.json`: what the last run in this folder was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// Version of the program.
    pub omni_version: String,
    /// The source's name.
    pub source: String,
    /// The corpus root.
    pub root: PathBuf,
    /// The recipe, as the program gave it.
    pub recipe: Value,
    /// The listing's folder.
    pub listing: String,
    /// Number of shards.
    pub shards: usize,
    /// The stages, in order.
    pub stages: Vec<StageEntry>,
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEntry {
    /// The stage.
    pub stage: String,
    /// The record it makes.
    pub record: String,
    /// Its folder.
    pub dir: String,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// What one stage says about a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageView {
    /// The stage; `source` for the listing.
    pub stage: String,
    /// The record.
    pub record: String,
    /// The clip's rows.
    pub rows: Vec<Value>,
    /// Why the clip was dropped here.
    pub drop: Option<String>,
    /// Whether the part is there; when not, the stage has yet to run.
    pub done: bool,
    /// The part (or listing) this was read from.
    pub part: PathBuf,
}

/// An output folder, open for reading.
#[derive(Debug, Clone)]
pub struct Run {
    out: PathBuf,
    file: RunFile,
    index: Index,
}

impl Run {
    /// Opens the run in an output folder.
    ///
    /// # Errors
    /// When the folder holds no run, or its listing is missing.
    pub fn open(out: &Path) -> Result<Run, Error> {
        let file: RunFile =
            files::read_json(&out.join("run.json"))?.ok_or_else(|| Error::NoRun(out.to_owned()))?;
        let path = out.join(&file.listing).join(listing::INDEX);
        let missing = || Error::Broken {
            path: path.clone(),
            what: "missing; run `omni curate` again".into(),
        };
        let index = files::read_json(&path)?.ok_or_else(missing)?;
        Ok(Run {
            out: out.to_owned(),
            file,
            index,
        })
    }

    /// What the run was.
    pub fn file(&self) -> &RunFile {
        &self.file
    }

    /// The output folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Id and number of clips of every shard, in the order of the listing.
    pub fn shards(&self) -> impl Iterator<Item = (&str, u64)> {
        let shards = self.index.shards.iter();
        shards.map(|shard| (shard.id.as_str(), shard.rows))
    }

    /// How many clips the source dropped, by reason.
    pub fn source_drops(&self) -> &BTreeMap<String, u64> {
        &self.index.dropped
    }

    /// The first clips the source dropped, each with its reason, at most `most` of them.
    ///
    /// # Errors
    /// When the file of dropped clips cannot be read.
    pub fn dropped_by_source(&self, most: usize) -> Result<Vec<(String, String)>, Error> {
        let path = self.out.join(&self.file.listing).join(listing::DROPPED);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let mut drops = Vec::new();
        for line in BufReader::new(file).lines().take(most) {
            let row: Value = serde_json::from_str(&line.map_err(Error::io(&path))?).unwrap_or_default();
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            drops.push((text("clip"), text("reason")));
        }
        Ok(drops)
    }

    /// Where the part of a stage and a shard (by number, below the number of [`Run::shards`]) lies, whether it is
    /// there or not.
    pub fn shard_part(&self, stage: &StageEntry, shard: usize) -> PathBuf {
        self.part(stage, shard)
    }

    /// The Parquet file of the listing.
    pub fn listing(&self) -> PathBuf {
        self.out.join(&self.file.listing).join(listing::ROWS)
    }

    /// The parts of a record that are there, in shard order; for `listing` its one file.
    ///
    /// # Errors
    /// When no stage of the run makes the record.
    pub fn record_parts(&self, record: &str) -> Result<Vec<PathBuf>, Error> {
        if record == Listing::NAME {
            return Ok(vec![self.listing()]);
        }
        let stage = self.file.stages.iter().find(|stage| stage.record == record);
        let stage = stage.ok_or_else(|| self.unknown(record))?;
        let parts = (0..self.index.shards.len()).map(|shard| self.part(stage, shard));
        Ok(parts.filter(|part| part.exists()).collect())
    }

    fn unknown(&self, record: &str) -> Error {
        let names = self.file.stages.iter().map(|stage| stage.record.as_str());
        let known: Vec<_> = std::iter::once(Listing::NAME).chain(names).collect();
        Error::UnknownRecord {
            record: record.to_owned(),
            known: known.join(", "),
        }
    }

    fn part(&self, stage: &StageEntry, shard: usize) -> PathBuf {
        self.out
            .join(&stage.dir)
            .join(format!("part-{}.parquet", self.index.shards[shard].id))
    }

    /// Every row of a record, part by part, in the order of the listing. Parts are verified as they are read.
    ///
    /// # Errors
    /// When no stage makes the record; each part that cannot be read is one error in the stream.
    pub fn table<R: Record>(&self) -> Result<impl Iterator<Item = Result<R, Error>> + use<R>, Error> {
        let read = |part: PathBuf| match omni_manifests::read_part::<R>(&part) {
            Ok((rows, _)) => rows.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(Error::from(error))],
        };
        Ok(self.record_parts(R::NAME)?.into_iter().flat_map(read))
    }

    /// What the source and every stage say about a clip; empty when the corpus never listed it. Scans the listing.
    ///
    /// # Errors
    /// When a file of the run cannot be read.
    pub fn explain(&self, key: &str) -> Result<Vec<StageView>, Error> {
        let mut views = Vec::new();
        if let Some((shard, row)) = self.find(key)? {
            views.push(self.source_view(vec![row], None, listing::ROWS));
            for stage in &self.file.stages {
                views.push(view(stage, self.part(stage, shard), key)?);
            }
        } else if let Some(reason) = self.source_drop(key)? {
            views.push(self.source_view(Vec::new(), Some(reason), listing::DROPPED));
        }
        Ok(views)
    }

    fn source_view(&self, rows: Vec<Value>, drop: Option<String>, file: &str) -> StageView {
        let part = self.out.join(&self.file.listing).join(file);
        StageView {
            stage: "source".into(),
            record: Listing::NAME.into(),
            rows,
            drop,
            done: true,
            part,
        }
    }

    /// The shard and the row of a clip.
    fn find(&self, key: &str) -> Result<Option<(usize, Value)>, Error> {
        let mut reader = ListingReader::open(&self.listing())?;
        for shard in 0..reader.groups() {
            let rows: Vec<Listing> = reader.group(shard)?;
            if let Some(row) = rows.into_iter().find(|row| row.clip == key) {
                return Ok(serde_json::to_value(row).ok().map(|row| (shard, row)));
            }
        }
        Ok(None)
    }

    fn source_drop(&self, key: &str) -> Result<Option<String>, Error> {
        let path = self.out.join(&self.file.listing).join(listing::DROPPED);
        let file = File::open(&path).map_err(Error::io(&path))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(Error::io(&path))?;
            let row: Value = serde_json::from_str(&line).unwrap_or_default();
            if row["clip"] == key {
                return Ok(row["reason"].as_str().map(str::to_owned));
            }
        }
        Ok(None)
    }
}

fn view(stage: &StageEntry, part: PathBuf, key: &str) -> Result<StageView, Error> {
    let (name, record) = (stage.stage.clone(), stage.record.clone());
    let mut view = StageView {
        stage: name,
        record,
        rows: Vec::new(),
        drop: None,
        done: part.exists(),
        part,
    };
    if view.done {
        view.drop = omni_manifests::read_receipt(&view.part)?.drops.remove(key);
        let mut rows = Vec::new();
        let mut take = |row: Map<String, Value>| {
            if row_key(&row) == Some(key) {
                rows.push(Value::Object(row));
            }
            ControlFlow::Continue(())
        };
        omni_manifests::for_each_row(&view.part, &mut take)?;
        view.rows = rows;
    }
    Ok(view)
}

/// Every record's key column comes first.
fn row_key(row: &Map<String, Value>) -> Option<&str> {
    row.get("clip").or_else(|| row.values().next())?.as_str()
}
