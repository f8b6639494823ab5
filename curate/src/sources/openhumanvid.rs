//! OpenHumanVid as users have it on disk: one table per part, `OpenHumanVid_part_NNN.csv` (or `.parquet`, with the
//! same columns), and media below `part_NNN/<ab>/<cd>/<clip_id>.mp4` (readers of the corpus: "path" has a leading `clips/` and lacks the extension).
//!
//! Every row ends in exactly one state, asked in this order: `bad_row` (damaged, no usable id or path, text where a
//! known score should be), `duplicate_id`, `filtered:<rule>` (the first failing filter by column name:
//! `aesthetic.min`, `aesthetic.max`, `aesthetic:absent`), `missing_media`, ok. Every media file no row of any state
//! names is `orphan_media`. The counts add up to rows + orphans.
//!
//! Columns are known by name, whatever their order. Known ones are in `KNOWN`; of others, numbers are kept as scores
//! under their own name and text is not kept. Memory: 16 bytes a media file, about 20 a row (duplicates), one row.
//! The caption of a row that is not kept is never copied out of the read buffer.
//!
//! The filters are asked here and not in the scan of the table: a row that fails one is counted under that filter, and
//! only if it is neither damaged nor a duplicate; the scan would let it vanish.

use super::{
    Error, SourceEntry,
    media_index::{MediaIndex, hash128},
    rows::{Number, column, is_below, is_key, number, text},
    walk::Found,
};
use omni_manifests::{TableRow, TableScan};
use omni_pipeline::{ListingSink, Source, SourceError};
use omni_schemas::{Listing, NamedScore};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

/// This source, for the list.
pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "openhumanvid",
    about: "OpenHumanVid: OpenHumanVid_part_NNN.csv and part_NNN/ab/cd/<clip_id>.mp4",
    build: |root, settings| {
        Ok(Box::new(OpenHumanVid::new(
            root,
            super::read_settings("openhumanvid", settings)?,
        )?))
    },
};

/// Scores whose cells must be numbers or absent.
const KNOWN: [&str; 7] = [
    "luminance_min",
    "luminance_max",
    "blur_min",
    "blur_max",
    "aesthetic",
    "technical_score",
    "global_motion",
];

/// How a part's table is called, before its number.
const TABLE: &str = "OpenHumanVid_part_";

/// What is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Limits on given scores, by column name, for example `aesthetic = { min = 4.5 }`.
    pub filters: BTreeMap<String, Limits>,
    /// Whether captions are kept.
    pub captions: bool,
    /// Further header names: theirs to ours.
    pub aliases: BTreeMap<String, String>,
    /// Licence text written on every clip. The corpus is given out by form under a non-commercial licence (its
    /// README of February 2025).
    pub licence: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            filters: BTreeMap::new(),
            captions: true,
            aliases: BTreeMap::new(),
            licence: Some("non-commercial (OpenHumanVid)".into()),
        }
    }
}

/// Limits on one score, both included. A clip whose cell is absent fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The least that is kept.
    pub min: Option<f64>,
    /// The most that is kept.
    pub max: Option<f64>,
}

impl Limits {
    /// The rule that a value fails: `name:absent`, `name.min` or `name.max`.
    pub(super) fn failed(&self, name: &str, value: Option<f64>) -> Option<String> {
        let Some(value) = value else {
            return Some(format!("{name}:absent"));
        };
        if self.min.is_some_and(|min| value < min) {
            return Some(format!("{name}.min"));
        }
        self.max
            .is_some_and(|max| value > max)
            .then(|| format!("{name}.max"))
    }
}

/// What a listing found; `states` adds up to `rows + orphans`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Rows of all tables, damaged ones included.
    pub rows: u64,
    /// Media files without a row.
    pub orphans: u64,
    /// Rows and orphans by state.
    pub states: BTreeMap<String, u64>,
    /// Absent cells by score column, over the rows that are not `bad_row`.
    pub absent: BTreeMap<String, u64>,
}

/// The source.
#[derive(Debug)]
pub struct OpenHumanVid {
    root: PathBuf,
    settings: Settings,
    tables: Vec<Table>,
}

/// One CSV or Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    /// Number of the part, where the name tells.
    number: Option<u64>,
    /// Path below the root.
    name: String,
    /// The part's number as it is spelt, for the folder's name.
    digits: Option<String>,
}

/// What a table's header says.
struct Columns {
    id: usize,
    path: Option<usize>,
    caption: Option<usize>,
    video: Option<usize>,
    /// Cell, name, and whether it must be a number; sorted by name.
    scores: Vec<(usize, String, bool)>,
    /// The last cell with a name, plus one: a row with fewer is damaged.
    least: usize,
    /// Cells of the header: a row with more, unless empty, is damaged.
    most: usize,
}

/// What a row says once it is known to be sound.
struct Judged {
    id: String,
    path: String,
    scores: Vec<NamedScore>,
    filtered: Option<String>,
}

/// What one pass over the corpus carries along.
struct Pass<'a> {
    index: MediaIndex,
    seen: HashSet<u128>,
    counts: Counts,
    sink: &'a mut dyn ListingSink,
}

impl OpenHumanVid {
    /// Finds the tables of the corpus at `root`.
    ///
    /// # Errors
    /// [`Error::NoRoot`], [`Error::Nothing`] when there is no CSV, [`Error::Settings`] for limits that exclude all.
    pub fn new(root: &Path, settings: Settings) -> Result<OpenHumanVid, Error> {
        super::check_root(root)?;
        check_limits(ENTRY.name, &settings.filters)?;
        let tables = tables(root)?;
        if tables.is_empty() {
            let wanted = format!("{TABLE}*.csv (nor any other .csv, there or one folder below)");
            return Err(Error::Nothing {
                path: root.to_owned(),
                wanted,
            });
        }
        Ok(OpenHumanVid {
            root: root.to_owned(),
            settings,
            tables,
        })
    }

    /// Lists the corpus and says what was found.
    ///
    /// # Errors
    /// [`Error::List`] and [`Error::Table`] when a folder or table cannot be read, [`Error::Sink`] from the sink.
    pub fn scan(&self, sink: &mut dyn ListingSink) -> Result<Counts, Error> {
        let index = MediaIndex::read(&self.root)?;
        let mut pass = Pass {
            index,
            seen: HashSet::new(),
            counts: Counts::default(),
            sink,
        };
        for table in &self.tables {
            self.read_table(table, &mut pass)?;
        }
        let Pass {
            index,
            mut counts,
            sink,
            ..
        } = pass;
        index.orphans(&self.root, &mut |file: &Found| {
            counts.orphans += 1;
            Ok(sink.drop(&file.path, "orphan_media")?)
        })?;
        if counts.orphans > 0 {
            counts.states.insert("orphan_media".into(), counts.orphans);
        }
        Ok(counts)
    }

    fn read_table(&self, table: &Table, pass: &mut Pass<'_>) -> Result<(), Error> {
        let path = self.root.join(&table.name);
        let scan = TableScan::open(&path)?;
        let columns = self
            .columns(scan.columns())
            .map_err(|what| Error::Table { path, what })?;
        scan.for_each(|row| self.read_row(table, &columns, row, pass))
    }

    fn columns(&self, names: &[String]) -> Result<Columns, String> {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut least = 0;
        for (place, name) in names.iter().enumerate() {
            let Some(name) = column(name, &self.settings.aliases) else {
                continue;
            };
            least = place + 1;
            if places.contains_key(&name) {
                return Err(format!("has two columns `{name}`"));
            }
            places.insert(name, place);
        }
        let video = places.remove("source_video").or_else(|| {
            places
                .contains_key("clip_id")
                .then(|| places.remove("video_id"))
                .flatten()
        });
        let id = places.remove("clip_id").or_else(|| places.remove("video_id"));
        let id = id.ok_or_else(|| {
            format!(
                "has no column `clip_id` (or `id`); its columns are: {}",
                names.join(", ")
            )
        })?;
        if let Some(name) = self
            .settings
            .filters
            .keys()
            .find(|name| !places.contains_key(*name))
        {
            let there: Vec<&str> = places.keys().map(String::as_str).collect();
            return Err(format!(
                "has no column `{name}`, which a filter names; it has: {}",
                there.join(", ")
            ));
        }
        let (path, caption) = (places.remove("path"), places.remove("caption"));
        let score = |(name, place): (String, usize)| {
            let known = KNOWN.contains(&name.as_str()) || self.settings.filters.contains_key(&name);
            (place, name, known)
        };
        let scores = places.into_iter().map(score).collect();
        Ok(Columns {
            id,
            path,
            caption,
            video,
            scores,
            least,
            most: names.len(),
        })
    }

    fn read_row(
        &self,
        table: &Table,
        columns: &Columns,
        row: &TableRow<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Error> {
        pass.counts.rows += 1;
        let place = format!("{}:{}", table.name, row.line());
        let judged = match row.fault() {
            None => self.judge(table, columns, row, &mut pass.counts.absent),
            Some(_) => None,
        };
        let Some(judged) = judged else {
            return pass.drop(&place, "bad_row");
        };
        let media = pass.index.claim(&judged.path);
        if !pass.seen.insert(hash128(&judged.id)) {
            return pass.drop(&format!("{} ({place})", judged.id), "duplicate_id");
        }
        if let Some(rule) = &judged.filtered {
            return pass.drop(&judged.id, &format!("filtered:{rule}"));
        }
        let Some(media) = media else {
            return pass.drop(&judged.id, "missing_media");
        };
        let cell =
            |number: Option<usize>| number.and_then(|number| text(&row.text(number)).map(str::to_owned));
        let row = Listing {
            source_video: cell(columns.video).or_else(|| video_of(&judged.id).map(str::to_owned)),
            clip: judged.id,
            path: media,
            start: None,
            end: None,
            caption: cell(columns.caption.filter(|_| self.settings.captions)),
            transcript: None,
            scores: judged.scores,
            licence: self.settings.licence.clone(),
            ..Listing::default()
        };
        *pass.counts.states.entry("ok".into()).or_default() += 1;
        Ok(pass.sink.keep(row)?)
    }

    /// Reads all of a row but its caption; nothing for a bad row.
    fn judge(
        &self,
        table: &Table,
        columns: &Columns,
        row: &TableRow<'_>,
        absent: &mut BTreeMap<String, u64>,
    ) -> Option<Judged> {
        if row.len() < columns.least
            || (columns.most..row.len()).any(|more| !row.text(more).trim().is_empty())
        {
            return None;
        }
        let cell = row.text(columns.id);
        let id = text(&cell).filter(|id| is_key(id))?.to_owned();
        let given = columns.path.map(|number| row.text(number));
        let path = match given.as_deref().and_then(text) {
            Some(path) => path.to_owned(),
            None => derived_path(table.digits.as_deref()?, &id)?,
        };
        if !is_below(&path) {
            return None;
        }
        let mut scores = Vec::with_capacity(columns.scores.len());
        let mut missing = Vec::new();
        for (place, name, known) in &columns.scores {
            match number(&row.text(*place)) {
                Number::Given(value) => scores.push(NamedScore {
                    name: name.clone(),
                    value,
                }),
                Number::Absent => missing.push(name),
                Number::Text if *known => return None,
                Number::Text => {}
            }
        }
        for name in missing {
            match absent.get_mut(name) {
                Some(count) => *count += 1,
                None => _ = absent.insert(name.clone(), 1),
            }
        }
        let filtered = self.failed_filter(&scores);
        Some(Judged {
            id,
            path,
            scores,
            filtered,
        })
    }

    fn failed_filter(&self, scores: &[NamedScore]) -> Option<String> {
        self.settings.filters.iter().find_map(|(name, limits)| {
            let at = scores
                .binary_search_by(|score| score.name.as_str().cmp(name))
                .ok();
            limits.failed(name, at.map(|at| scores[at].value))
        })
    }
}

impl Pass<'_> {
    fn drop(&mut self, key: &str, state: &str) -> Result<(), Error> {
        match self.counts.states.get_mut(state) {
            Some(count) => *count += 1,
            None => _ = self.counts.states.insert(state.to_owned(), 1),
        }
        Ok(self.sink.drop(key, state)?)
    }
}

impl Source for OpenHumanVid {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "version": 1, "settings": self.settings })
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        self.scan(sink).map(drop).map_err(super::into_source_error)
    }
}

/// Whether every filter can be met by some value.
///
/// # Errors
/// [`Error::Settings`] for the first that cannot.
pub(super) fn check_limits(
    source_name: &'static str,
    filters: &BTreeMap<String, Limits>,
) -> Result<(), Error> {
    let bad = |limits: &Limits| {
        let (min, max) = (
            limits.min.unwrap_or(f64::NEG_INFINITY),
            limits.max.unwrap_or(f64::INFINITY),
        );
        let ordered = min.partial_cmp(&max).is_some_and(|order| order.is_le());
        !ordered || (limits.min.is_none() && limits.max.is_none())
    };
    match filters.iter().find(|(_, limits)| bad(limits)) {
        Some((name, _)) => Err(Error::Settings {
            source_name,
            what: format!("filter `{name}` needs `min`, `max` or both, with min at most max"),
        }),
        None => Ok(()),
    }
}

/// The tables at the root and one folder below, by part number, then by name. Tables that are called as the corpus
/// calls them hide others.
fn tables(root: &Path) -> Result<Vec<Table>, Error> {
    let mut found = Vec::new();
    for name in visible(root)? {
        let path = root.join(&name);
        if path.is_dir() {
            let below = visible(&path)?.into_iter().map(|file| format!("{name}/{file}"));
            found.extend(below.filter_map(|file| table(root, &file)));
        } else {
            found.extend(table(root, &name));
        }
    }
    if found.iter().any(|table| table.digits.is_some()) {
        found.retain(|table| table.digits.is_some());
    }
    found.sort();
    Ok(found)
}

fn visible(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(|source| Error::list(folder, source))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| Error::list(folder, source))?.file_name();
        names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
    }
    Ok(names)
}

fn table(root: &Path, name: &str) -> Option<Table> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let (stem, extension) = file.rsplit_once('.')?;
    let columnar = extension.eq_ignore_ascii_case("parquet");
    if !(columnar || extension.eq_ignore_ascii_case("csv")) || !root.join(name).is_file() {
        return None;
    }
    let digits = stem
        .strip_prefix(TABLE)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.filter(|digits| !digits.is_empty()).map(str::to_owned);
    // A Parquet file of another name may be anything; the corpus itself comes as CSV.
    if columnar && digits.is_none() {
        return None;
    }
    let number = digits.as_ref().and_then(|digits| digits.parse().ok());
    Some(Table {
        number,
        name: name.to_owned(),
        digits,
    })
}

/// `part_NNN/ab/cd/abcd…`: where the media of an id lies.
fn derived_path(digits: &str, id: &str) -> Option<String> {
    Some(format!("part_{digits}/{}/{}/{id}", id.get(..2)?, id.get(2..4)?))
}

/// The upstream video of an id of the full release: 64 hex digits, `_`, first frame, `_`, last frame.
fn video_of(id: &str) -> Option<&str> {
    let (video, frames) = id.split_once('_')?;
    let hex = video.len() == 64 && video.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (first, last) = frames.split_once('_')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (hex && digits(first) && digits(last)).then_some(video)
}

#[cfg(test)]
#[path = "openhumanvid_tests.rs"]
mod tests;
