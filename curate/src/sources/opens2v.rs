//! OpenS2V-5M as users have it on disk: `Jsons/**/total_partN.json` (one JSON object a part, up to 66 GB) beside
//! `Videos/total_partN/`, which holds the tar in numbered pieces, the joined tar, or unpacked videos.
//!
//! Records are streamed, never loaded; an index beside them (`opens2v/index.rs`) makes the second listing cheap and
//! lets an interrupted one go on. Videos are opened where they lie in the tar's pieces (`omni_media::Window`).
//!
//! Every record ends in exactly one state, asked in this order: `bad_row`, `duplicate_id`, `filtered:<rule>`,
//! `missing_media`, ok. A video no record names is `orphan_media`. A JSON that is cut gives its whole records and one
//! `truncated_index`; a cut tar one `truncated_shard`, a damaged one `damaged_shard`, a gap in the numbers of its
//! pieces `missing_piece`. What is no JSON object is an error with the byte.
//!
//! A clip is the half-open cut of its video: from a quarter of a picture before the first to a quarter before the one
//! that is no longer in it, so that rounding of the given rate moves no picture over an edge.

mod index;
mod record;

use super::{
    Counts, Error, SourceEntry,
    media_index::hash128,
    openhumanvid::Limits,
    tar::{End, Tar},
    walk::{Found, walk},
};
use index::{Ended, PartIndex};
use omni_pipeline::{ListingSink, Source, SourceError};
use omni_schemas::{Listing, NamedScore, Partner};
use record::Indexed;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    path::{Path, PathBuf},
};

/// This source, for the list.
pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "opens2v",
    about: "OpenS2V-5M: Jsons/**/total_partN.json and Videos/total_partN/*.tar.split.NNN",
    build: |root, settings| {
        Ok(Box::new(OpenS2V::new(
            root,
            super::read_settings("opens2v", settings)?,
        )?))
    },
};

/// Extensions of videos.
const VIDEOS: [&str; 4] = [".mp4", ".webm", ".mkv", ".mov"];
/// The folder of the pairs, inside `Jsons`.
const PAIRS: &str = "cross_video_pairs";
/// The largest file of pairs, bytes.
const MOST_PAIRS: u64 = 1 << 30;

/// What is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Limits by name: the given `aesthetic`, `motion` and `tech`, and `seconds` and `short_side` of the clip.
    pub filters: BTreeMap<String, Limits>,
    /// Whether the human-centred stretch of a cut is taken where the corpus gives one.
    pub face_cut: bool,
    /// Whether captions are kept.
    pub captions: bool,
    /// Pairs below this likeness of words are not kept.
    pub text_similarity: f64,
    /// Pairs at or below this likeness of pictures are not kept.
    pub image_similarity: f64,
    /// At most so many partners of a clip are kept, the most alike.
    pub most_partners: usize,
    /// Where the index lies; absent: `.omni/opens2v` below the root.
    pub index: Option<PathBuf>,
    /// Licence text written on every clip (the corpus' own, as published).
    pub licence: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            filters: BTreeMap::new(),
            face_cut: true,
            captions: true,
            text_similarity: 0.6,
            image_similarity: 0.6,
            most_partners: 8,
            index: None,
            licence: Some("CC-BY-4.0".into()),
        }
    }
}

/// The source.
#[derive(Debug)]
pub struct OpenS2V {
    root: PathBuf,
    settings: Settings,
    /// Path of each part's JSON below the root, by part.
    parts: BTreeMap<String, String>,
}

/// Where a video lies below the root, and whether a record named it.
struct Video {
    place: String,
    claimed: bool,
}

/// The videos of a part by the hash of their file names.
#[derive(Default)]
struct Videos {
    by_name: HashMap<u128, Video>,
    /// Places of videos whose name another one has: records name files only, so nothing can name these.
    twice: Vec<String>,
}

/// The partners of each clip, by the hash of its key.
type Pairs = HashMap<u128, Vec<Partner>>;

/// What one pass carries along.
struct Pass<'a> {
    seen: HashSet<u128>,
    pairs: Pairs,
    counts: Counts,
    sink: &'a mut dyn ListingSink,
}

impl OpenS2V {
    /// Finds the parts of the corpus at `root`.
    ///
    /// # Errors
    /// [`Error::NoRoot`]; [`Error::Nothing`] without a part; [`Error::Table`] for two JSONs of one part.
    pub fn new(root: &Path, settings: Settings) -> Result<OpenS2V, Error> {
        super::check_root(root)?;
        super::openhumanvid::check_limits(ENTRY.name, &settings.filters)?;
        let mut parts = BTreeMap::new();
        for path in files(root, &|path| is_part(path))? {
            let name = stem(&path).to_owned();
            if let Some(other) = parts.insert(name, path.clone()) {
                let what = format!("{path} is of the same part; keep one of the two");
                return Err(Error::Table {
                    path: root.join(other),
                    what,
                });
            }
        }
        if parts.is_empty() {
            return Err(Error::Nothing {
                path: root.to_owned(),
                wanted: "Jsons/**/total_part*.json".into(),
            });
        }
        Ok(OpenS2V {
            root: root.to_owned(),
            settings,
            parts,
        })
    }

    /// Lists the corpus and says what was found.
    ///
    /// # Errors
    /// [`Error::List`] and [`Error::Table`] when a file cannot be read, [`Error::Sink`] from the sink.
    pub fn scan(&self, sink: &mut dyn ListingSink) -> Result<Counts, Error> {
        let mut pass = Pass {
            seen: HashSet::new(),
            pairs: self.pairs()?,
            counts: Counts::default(),
            sink,
        };
        for (part, json) in &self.parts {
            let mut videos = self.videos(part, &mut pass)?;
            let ended = self
                .index(part, json)?
                .for_each(&mut |row| self.row(row, json, &mut videos, &mut pass))?;
            if let Ended::Truncated(byte) = ended {
                pass.event(&format!("{json}:byte {byte}"), "truncated_index")?;
            }
            videos
                .orphans()
                .iter()
                .try_for_each(|place| pass.event(place, "orphan_media"))?;
        }
        Ok(pass.counts)
    }

    fn index(&self, part: &str, json: &str) -> Result<PartIndex, Error> {
        let below = || self.root.join(".omni/opens2v");
        let folder = self.settings.index.clone().unwrap_or_else(below);
        PartIndex::open(&self.root.join(json), &folder.join(part))
    }

    fn row(&self, row: Indexed, json: &str, videos: &mut Videos, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.counts.rows += 1;
        let place = format!("{json}:byte {}", row.offset);
        if row.fault.is_some() {
            return pass.state(&format!("{} ({place})", row.clip), "bad_row");
        }
        let name = row.path.rsplit('/').next().unwrap_or(&row.path);
        let video = videos.by_name.get_mut(&hash128(name)).map(|video| {
            video.claimed = true;
            video.place.clone()
        });
        if !pass.seen.insert(hash128(&row.clip)) {
            return pass.state(&format!("{} ({place})", row.clip), "duplicate_id");
        }
        let cut = match (self.settings.face_cut, row.face_cut.as_slice()) {
            (true, [from, to]) => [*from, *to],
            _ => [row.cut[0], row.cut[1]],
        };
        if let Some(rule) = self.failed(&row, cut) {
            return pass.state(&row.clip, &format!("filtered:{rule}"));
        }
        let Some(video) = video else {
            return pass.state(&row.clip, "missing_media");
        };
        let mut partners = pass.pairs.remove(&hash128(&row.clip)).unwrap_or_default();
        partners.sort_by(|a, b| {
            b.image_similarity
                .total_cmp(&a.image_similarity)
                .then(a.clip.cmp(&b.clip))
        });
        partners.truncate(self.settings.most_partners);
        let listing = self.listing(row, json, video, cut, partners);
        pass.counts.kept();
        Ok(pass.sink.keep(listing)?)
    }

    fn listing(
        &self,
        row: Indexed,
        json: &str,
        video: String,
        [from, to]: [i64; 2],
        partners: Vec<Partner>,
    ) -> Listing {
        let seconds = |picture: i64| (picture as f64 - 0.25) / row.fps;
        let bytes = (row.offset as u64, row.length as u64);
        let annotation = || omni_media::window_path(json, bytes.0, bytes.1, &row.clip);
        Listing {
            path: video,
            start: (from > 0).then(|| seconds(from)),
            end: Some(seconds(to)),
            source_video: Some(source_video(&row.clip).to_owned()),
            annotation: row.frame.map(|_| annotation()),
            crop: <[f64; 4]>::try_from(row.crop).ok(),
            first_frame: Some(from),
            caption: row.caption.filter(|_| self.settings.captions),
            transcript: None,
            scores: row.scores,
            licence: self.settings.licence.clone(),
            partners,
            clip: row.clip,
        }
    }

    /// The first filter that the record fails.
    fn failed(&self, row: &Indexed, [from, to]: [i64; 2]) -> Option<String> {
        let side = match row.crop.as_slice() {
            [x0, y0, x1, y1] => Some((x1 - x0).min(y1 - y0)),
            _ => None,
        };
        let given = |name: &str| match name {
            "seconds" => Some((to - from) as f64 / row.fps),
            "short_side" => side,
            _ => row
                .scores
                .iter()
                .find(|score| score.name == name)
                .map(|score: &NamedScore| score.value),
        };
        self.settings
            .filters
            .iter()
            .find_map(|(name, limits)| limits.failed(name, given(name)))
    }

    /// The videos of a part by the hash of their file names.
    fn videos(&self, part: &str, pass: &mut Pass<'_>) -> Result<Videos, Error> {
        let folder = self.root.join("Videos").join(part);
        let mut videos = Videos::default();
        let mut tars: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if !folder.is_dir() {
            return Ok(videos);
        }
        for path in files(&folder, &|_| true)? {
            let place = format!("Videos/{part}/{path}");
            match tar_of(&path) {
                Some(tar) => tars.entry(tar.to_owned()).or_default().push(place),
                None if is_video(&path) => videos.add(&path, place),
                None => {}
            }
        }
        for pieces in tars.into_values() {
            self.tar(pieces, &mut videos, pass)?;
        }
        Ok(videos)
    }

    fn tar(&self, mut pieces: Vec<String>, videos: &mut Videos, pass: &mut Pass<'_>) -> Result<(), Error> {
        pieces.sort_by_key(|piece| number(piece));
        let whole = unbroken(&pieces);
        if let Some(gap) = pieces.get(whole) {
            pass.event(&format!("before {gap}"), "missing_piece")?;
            pieces.truncate(whole);
        }
        if pieces.is_empty() {
            return Ok(());
        }
        let mut tar = Tar::open(&self.root, &pieces)?;
        let end = tar.members(&mut |tar, member| {
            if is_video(&member.name) {
                videos.add(&member.name, tar.path_of(&member));
            }
            Ok(())
        })?;
        let last = pieces.last().map_or("", String::as_str);
        match end {
            End::Whole => Ok(()),
            // The missing piece was told already.
            End::Truncated(_) if pass.counts.states.contains_key("missing_piece") => Ok(()),
            End::Truncated(byte) => pass.event(&format!("{last}:byte {byte} of the tar"), "truncated_shard"),
            End::Damaged(byte) => pass.event(&format!("{last}:byte {byte} of the tar"), "damaged_shard"),
        }
    }

    /// Reads the pairs that the corpus found, both ways.
    fn pairs(&self) -> Result<Pairs, Error> {
        let mut pairs = Pairs::new();
        let below = |path: &str| path.split('/').any(|folder| folder == PAIRS) && path.ends_with(".json");
        for path in files(&self.root, &below)? {
            let full = self.root.join(&path);
            let wrong = |what: String| Error::Table {
                path: full.clone(),
                what,
            };
            let bytes =
                omni_media::read_window(&full, MOST_PAIRS).map_err(|error| wrong(error.to_string()))?;
            let rows: Vec<Pair> = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            for pair in rows.iter().filter(|pair| self.is_alike(pair)) {
                for (of, other) in [(&pair.cur_id, &pair.aft_id), (&pair.aft_id, &pair.cur_id)] {
                    join(pairs.entry(hash128(of)).or_default(), other, pair);
                }
            }
        }
        Ok(pairs)
    }

    fn is_alike(&self, pair: &Pair) -> bool {
        pair.cur_id != pair.aft_id
            && pair.text_similarity >= self.settings.text_similarity
            && pair.image_similarity > self.settings.image_similarity
    }
}

/// One row of a file of pairs. It names no mask, only words: who is meant is found again by face.
#[derive(Deserialize)]
struct Pair {
    cur_id: String,
    aft_id: String,
    text_similarity: f64,
    image_similarity: f64,
}

/// Two clips may share several things; the most alike stands for them. Given likeness can exceed 1.
fn join(partners: &mut Vec<Partner>, other: &str, pair: &Pair) {
    let (words, picture) = (pair.text_similarity.min(1.0), pair.image_similarity.min(1.0));
    match partners.iter_mut().find(|partner| partner.clip == other) {
        Some(known) => {
            known.text_similarity = known.text_similarity.max(words);
            known.image_similarity = known.image_similarity.max(picture);
        }
        None => partners.push(Partner {
            clip: other.to_owned(),
            text_similarity: words,
            image_similarity: picture,
        }),
    }
}

impl Videos {
    fn add(&mut self, path: &str, place: String) {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self.by_name.entry(hash128(name)) {
            Entry::Vacant(free) => {
                _ = free.insert(Video {
                    place,
                    claimed: false,
                })
            }
            Entry::Occupied(_) => self.twice.push(place),
        }
    }

    /// What no record named, sorted.
    fn orphans(self) -> Vec<String> {
        let unclaimed = self
            .by_name
            .into_values()
            .filter(|video| !video.claimed)
            .map(|video| video.place);
        let mut orphans: Vec<String> = unclaimed.chain(self.twice).collect();
        orphans.sort_unstable();
        orphans
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

impl Source for OpenS2V {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn settings(&self) -> serde_json::Value {
        let mut settings = self.settings.clone();
        settings.index = None; // a path, and no row depends on it
        serde_json::json!({ "version": 1, "settings": settings })
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        self.scan(sink).map(drop).map_err(super::into_source_error)
    }
}

/// Paths below a folder that are wanted, sorted.
fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    walk(
        folder,
        &mut |file: &Found| file.readable && wanted(&file.path),
        &mut |file| {
            found.push(file.path.clone());
            Ok(())
        },
    )?;
    found.sort_unstable();
    Ok(found)
}

fn is_part(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("total_part")
        && name.ends_with(".json")
        && !path.split('/').any(|folder| folder == PAIRS)
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".json").unwrap_or(name)
}

fn is_video(path: &str) -> bool {
    VIDEOS
        .iter()
        .any(|extension| path.to_ascii_lowercase().ends_with(extension))
}

/// The tar that a file is or is a piece of.
fn tar_of(path: &str) -> Option<&str> {
    let whole = path
        .split_once(".tar.split.")
        .filter(|(_, digits)| digits.bytes().all(|byte| byte.is_ascii_digit()));
    whole.map(|(tar, _)| tar).or_else(|| path.strip_suffix(".tar"))
}

/// The number of a piece; none for a tar in one file.
fn number(path: &str) -> Option<u64> {
    path.rsplit_once(".tar.split.")?.1.parse().ok()
}

/// How many pieces follow each other from the first one (0 or 1) on.
fn unbroken(pieces: &[String]) -> usize {
    let first = match pieces.first().map(|piece| number(piece)) {
        Some(None) => return 1,
        Some(Some(first)) if first <= 1 => first,
        _ => return 0,
    };
    let follows = |(at, piece): &(usize, &String)| number(piece) == Some(first + *at as u64);
    pieces.iter().enumerate().take_while(follows).count()
}

/// The video a clip was cut from: the key before `_segment`, else before `_part`.
fn source_video(key: &str) -> &str {
    let before = |word: &str| {
        key.split_once(word)
            .map(|(video, _)| video)
            .filter(|video| !video.is_empty())
    };
    before("_segment").or_else(|| before("_part")).unwrap_or(key)
}

#[cfg(test)]
#[path = "opens2v_tests.rs"]
mod tests;
