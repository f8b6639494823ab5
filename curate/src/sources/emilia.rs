//! Emilia and Emilia-YODAS: speech without pictures, in WebDataset tars or folders.
//!
//! Two forms are told from the content of each `.json`: an object is one utterance, its sound is `<same name>.mp3` (the
//! published form); a list is one recording, its sounds are `<same name>_<number>.mp3` from 0 in the list's order (as
//! Emilia-Pipe writes it). Members of a tar need not stand beside each other. Both forms lie in tars and in folders.
//!
//! Every row ends in exactly one state, asked in this order: `bad_row`, `duplicate_id`, `filtered:<rule>`,
//! `missing_media`, ok; a sound without a row is `orphan_media`. A tar that is cut gives every complete pair and one
//! `truncated_shard`; one with a damaged header, what stands before it and one `damaged_shard`.
//!
//! The two halves have different licences: a row is Emilia-YODAS (CC-BY-4.0) when it has the field `_id` or its path
//! says `yodas`, and Emilia (CC-BY-NC-4.0) else. The length that the corpus gives is kept as the score `duration`, so
//! that `probe` can compare it with what is decoded.

use super::{
    Counts, Error, SourceEntry,
    media_index::hash128,
    openhumanvid::{Limits, check_limits},
    rows::{is_below, is_key},
    tar::{End, Member, Tar},
    walk::{Found, walk},
};
use omni_pipeline::{ListingSink, Source, SourceError};
use omni_schemas::{Listing, NamedScore};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

/// This source, for the list.
pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "emilia",
    about: "Emilia and Emilia-YODAS: tars or folders of .json and .mp3, sound alone",
    build: |root, settings| {
        Ok(Box::new(Emilia::new(
            root,
            super::read_settings("emilia", settings)?,
        )?))
    },
};

/// The largest JSON of a row or a recording, bytes.
const MOST_JSON: u64 = 64 << 20;

/// What is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Limits by name: `dnsmos`, `duration` (seconds), `phone_count`.
    pub filters: BTreeMap<String, Limits>,
    /// Languages that are listed; empty: all.
    pub languages: Vec<String>,
    /// Licence of Emilia's rows, as published.
    pub licence: String,
    /// Licence of Emilia-YODAS' rows, as published.
    pub licence_yodas: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            filters: BTreeMap::new(),
            languages: Vec::new(),
            licence: "CC-BY-NC-4.0".into(),
            licence_yodas: "CC-BY-4.0".into(),
        }
    }
}

/// The source.
#[derive(Debug)]
pub struct Emilia {
    root: PathBuf,
    settings: Settings,
    /// Tars below the root, sorted.
    tars: Vec<String>,
    /// Loose files below the root by folder, sorted.
    folders: BTreeMap<String, Vec<String>>,
}

/// A row whose sound may not have been seen yet.
struct Row {
    clip: String,
    /// Name of its sound without extension, as it stands in its tar or folder.
    sound: String,
    language: Option<String>,
    listing: Listing,
}

/// The rows and sounds of one tar or one folder.
#[derive(Default)]
struct Shelf {
    rows: Vec<Result<Row, String>>,
    /// Name without extension -> path below the root.
    sounds: BTreeMap<String, String>,
}

/// What one pass carries along.
struct Pass<'a> {
    seen: HashSet<u128>,
    counts: Counts,
    sink: &'a mut dyn ListingSink,
}

impl Emilia {
    /// Finds the tars and loose files below `root`.
    ///
    /// # Errors
    /// [`Error::NoRoot`], [`Error::List`]; [`Error::Nothing`] without a tar or a sound.
    pub fn new(root: &Path, settings: Settings) -> Result<Emilia, Error> {
        super::check_root(root)?;
        check_limits(ENTRY.name, &settings.filters)?;
        let (mut tars, mut folders) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        let wanted = |path: &str| [".tar", ".json", ".mp3"].iter().any(|end| path.ends_with(end));
        let mut sounds = false;
        walk(
            root,
            &mut |file: &Found| file.readable && wanted(&file.path),
            &mut |file| {
                sounds |= file.path.ends_with(".mp3");
                match file.path.ends_with(".tar") {
                    true => tars.push(file.path.clone()),
                    false => folders
                        .entry(folder_of(&file.path).to_owned())
                        .or_default()
                        .push(file.path.clone()),
                }
                Ok(())
            },
        )?;
        if tars.is_empty() && !sounds {
            return Err(Error::Nothing {
                path: root.to_owned(),
                wanted: ".tar, nor .json with .mp3".into(),
            });
        }
        tars.sort_unstable();
        Ok(Emilia {
            root: root.to_owned(),
            settings,
            tars,
            folders,
        })
    }

    /// Lists the corpus and says what was found.
    ///
    /// # Errors
    /// [`Error::List`] when a file cannot be read, [`Error::Sink`] from the sink.
    pub fn scan(&self, sink: &mut dyn ListingSink) -> Result<Counts, Error> {
        let mut pass = Pass {
            seen: HashSet::new(),
            counts: Counts::default(),
            sink,
        };
        for tar in &self.tars {
            self.tar(tar, &mut pass)?;
        }
        for files in self.folders.values() {
            let mut shelf = Shelf::default();
            for path in files {
                self.loose(path, &mut shelf)?;
            }
            self.emit(shelf, &mut pass)?;
        }
        Ok(pass.counts)
    }

    fn tar(&self, path: &str, pass: &mut Pass<'_>) -> Result<(), Error> {
        let mut tar = Tar::open(&self.root, &[path.to_owned()])?;
        let mut shelf = Shelf::default();
        let end = tar.members(&mut |tar, member| self.member(path, tar, &member, &mut shelf))?;
        self.emit(shelf, pass)?;
        match end {
            End::Whole => Ok(()),
            End::Truncated(byte) => pass.event(&format!("{path}:byte {byte}"), "truncated_shard"),
            End::Damaged(byte) => pass.event(&format!("{path}:byte {byte}"), "damaged_shard"),
        }
    }

    fn member(&self, path: &str, tar: &mut Tar<'_>, member: &Member, shelf: &mut Shelf) -> Result<(), Error> {
        if let Some(name) = member.name.strip_suffix(".mp3") {
            shelf.sounds.insert(name.to_owned(), tar.path_of(member));
        } else if let Some(name) = member.name.strip_suffix(".json") {
            let bytes = match member.length <= MOST_JSON {
                true => tar.read(member)?,
                false => Vec::new(),
            };
            self.rows(&format!("{path}!/{name}"), name, &bytes, shelf);
        }
        Ok(())
    }

    fn loose(&self, path: &str, shelf: &mut Shelf) -> Result<(), Error> {
        if let Some(name) = path.strip_suffix(".mp3") {
            shelf.sounds.insert(name.to_owned(), path.to_owned());
        } else if let Some(name) = path.strip_suffix(".json") {
            let bytes = omni_media::read_window(&self.root.join(path), MOST_JSON).unwrap_or_default();
            self.rows(name, name, &bytes, shelf);
        }
        Ok(())
    }

    /// Reads one JSON; `place` names it in messages. What cannot be read is one bad row.
    fn rows(&self, place: &str, name: &str, bytes: &[u8], shelf: &mut Shelf) {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(given)) => {
                let key = name.rsplit('/').next().unwrap_or(name).to_owned();
                shelf.rows.push(
                    self.row(place, name.to_owned(), key, &given)
                        .ok_or_else(|| place.to_owned()),
                );
            }
            Ok(Value::Array(list)) => {
                for (number, given) in list.iter().enumerate() {
                    let sound = format!("{name}_{number}");
                    let row = given
                        .as_object()
                        .and_then(|given| self.row(place, sound.clone(), sound, given));
                    shelf.rows.push(row.ok_or_else(|| format!("{place}[{number}]")));
                }
            }
            _ => shelf.rows.push(Err(place.to_owned())),
        }
    }

    /// Nothing for a row that lacks a text, or whose key or numbers make no sense.
    fn row(&self, place: &str, sound: String, key: String, given: &Map<String, Value>) -> Option<Row> {
        let text = |name: &str| {
            given
                .get(name)
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let clip = text("id").or_else(|| text("_id")).map_or(key, str::to_owned);
        let words = text("text")?;
        if !clip.split('/').all(is_key) || !is_below(&sound) {
            return None;
        }
        let number = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => value.as_f64().filter(|value| value.is_finite()).map(Some),
        };
        let (start, end) = (number("start")?, number("end")?);
        let long = |start: Option<f64>, end: Option<f64>| Some(end? - start?);
        let duration = number("duration")?.or_else(|| long(start, end));
        if duration.is_some_and(|seconds| seconds <= 0.0) {
            return None;
        }
        let scores = [
            ("dnsmos", number("dnsmos")?),
            ("duration", duration),
            ("phone_count", number("phone_count")?),
        ];
        let named = |(name, value): (&str, Option<f64>)| {
            value.map(|value| NamedScore {
                name: name.into(),
                value,
            })
        };
        let language = text("language").map(str::to_lowercase);
        let yodas = given.contains_key("_id") || place.to_lowercase().contains("yodas");
        let segment = json!([{
            "speaker": "S1", "text": words, "start": 0.0, "end": duration, "language": language.as_deref().unwrap_or("und"),
        }]);
        Some(Row {
            listing: Listing {
                clip: clip.clone(),
                // A speaker is known inside one recording only.
                source_video: text("speaker").map(str::to_owned).or_else(|| recording(&sound)),
                transcript: Some(match duration {
                    Some(_) => segment.to_string(),
                    None => words.to_owned(),
                }),
                scores: scores.into_iter().filter_map(named).collect(),
                licence: Some(
                    if yodas {
                        &self.settings.licence_yodas
                    } else {
                        &self.settings.licence
                    }
                    .clone(),
                ),
                ..Listing::default()
            },
            clip,
            sound,
            language,
        })
    }

    /// Joins rows and sounds and tells what became of each.
    fn emit(&self, mut shelf: Shelf, pass: &mut Pass<'_>) -> Result<(), Error> {
        for row in std::mem::take(&mut shelf.rows) {
            pass.counts.rows += 1;
            let row = match row {
                Ok(row) => row,
                Err(place) => {
                    shelf
                        .sounds
                        .remove(place.rsplit_once("!/").map_or(place.as_str(), |(_, name)| name));
                    pass.state(&place, "bad_row")?;
                    continue;
                }
            };
            let path = shelf.sounds.remove(&row.sound);
            if !pass.seen.insert(hash128(&row.clip)) {
                pass.state(&format!("{} ({})", row.clip, row.sound), "duplicate_id")?;
            } else if let Some(rule) = self.failed(&row) {
                pass.state(&row.clip, &format!("filtered:{rule}"))?;
            } else if let Some(path) = path {
                pass.counts.kept();
                pass.sink.keep(Listing { path, ..row.listing })?;
            } else {
                pass.state(&row.clip, "missing_media")?;
            }
        }
        shelf
            .sounds
            .values()
            .try_for_each(|path| pass.event(path, "orphan_media"))
    }

    fn failed(&self, row: &Row) -> Option<String> {
        let languages = &self.settings.languages;
        let known = |language: &String| languages.contains(language);
        if !languages.is_empty() && !row.language.as_ref().is_some_and(known) {
            return Some("language".into());
        }
        let given = |name: &str| {
            row.listing
                .scores
                .iter()
                .find(|score| score.name == name)
                .map(|score| score.value)
        };
        self.settings
            .filters
            .iter()
            .find_map(|(name, limits)| limits.failed(name, given(name)))
    }
}

impl Pass<'_> {
    fn state(&mut self, key: &str, state: &str) -> Result<(), Error> {
        self.counts.dropped(self.sink, key, state)
    }

    fn event(&mut self, key: &str, state: &str) -> Result<(), Error> {
        self.counts.other(self.sink, key, state)
    }
}

impl Source for Emilia {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn settings(&self) -> Value {
        json!({ "version": 1, "settings": self.settings })
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        self.scan(sink).map(drop).map_err(super::into_source_error)
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The recording an utterance is of: its name without the number behind the last `_`.
fn recording(sound: &str) -> Option<String> {
    sound.rsplit_once('_').map(|(name, _)| name.to_owned())
}

#[cfg(test)]
#[path = "emilia_tests.rs"]
mod tests;
