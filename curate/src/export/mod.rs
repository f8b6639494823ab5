//! Kept clips in the formats of others (`omni export`).
//!
//! Every format is one file with one `impl Writer`; [`export`] reads the run, and puts the finished folder in its place
//! with one rename. What is exported is a function of the run, the selection and the options, so a second export finds
//! the first.

mod croissant;
mod folder;
mod item;
mod jsonl;
mod ltx;
mod musubi;
mod webdataset;

pub use item::Item;

use crate::finished::{self, Error, Fate};
use folder::Staging;
use omni_manifests::ListingReader;
use omni_pipeline::{Cancel, readers::Run};
use omni_schemas::Selection;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Raised when the same run should now be exported differently.
const VERSION: u32 = 1;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tars of `KEY.mp4`, `KEY.json`, `KEY.txt`, faces and voices.
    Webdataset,
    /// `dataset.json` of the LTX trainer.
    Ltx,
    /// `dataset.toml` and metadata lines of musubi-tuner.
    Musubi,
    /// `data.jsonl`: everything, one clip a line.
    Jsonl,
    /// The same with a Croissant 1.0 description.
    Croissant,
}

impl Format {
    /// As `--format` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Webdataset => "webdataset",
            Format::Ltx => "ltx",
            Format::Musubi => "musubi",
            Format::Jsonl => "jsonl",
            Format::Croissant => "croissant",
        }
    }

    fn writer(self) -> Box<dyn Writer> {
        match self {
            Format::Webdataset => Box::new(webdataset::Webdataset::default()),
            Format::Ltx => Box::new(ltx::Ltx::default()),
            Format::Musubi => Box::new(musubi::Musubi::default()),
            Format::Jsonl => Box::new(jsonl::Jsonl::default()),
            Format::Croissant => Box::new(croissant::Croissant::default()),
        }
    }
}

/// What happens to the media files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Hard links; copies where the file system has none to give.
    Link,
    /// Copies.
    Copy,
    /// Left where they are; rows name them by their full path.
    None,
}

impl Media {
    /// As `--media` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Media::Link => "link",
            Media::Copy => "copy",
            Media::None => "none",
        }
    }
}

/// An export to be made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The format.
    pub format: Format,
    /// The folder that will hold it.
    pub to: PathBuf,
    /// What happens to the media files.
    pub media: Media,
    /// The folder of a selection; absent: every kept clip.
    pub selection: Option<PathBuf>,
    /// The folder the clips lie in, absolute.
    pub root: PathBuf,
}

/// What became of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Clips exported.
    pub clips: u64,
    /// Kept (and selected) clips that the export leaves out, by reason.
    pub left: BTreeMap<String, u64>,
    /// Whether the folder held this very export already.
    pub was_there: bool,
}

/// Writes one format into a folder that is not in its place yet.
trait Writer {
    /// Whether the format can tell where a clip lies in a longer file.
    fn tells_stretches(&self) -> bool {
        true
    }

    /// Adds a clip.
    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error>;

    /// Writes what is written last.
    fn finish(&mut self, staging: &Staging) -> Result<(), Error>;
}

/// Exports a run. Nothing appears under the folder's name before all of it is there; nothing at all when cancelled.
///
/// # Errors
/// When the run, the selection or a media file cannot be read, or the folder holds something else than an export.
pub fn export(run: &Run, options: &Options, cancel: &Cancel) -> Result<Option<Done>, Error> {
    let fingerprint = fingerprint(run, options)?;
    if let Some(done) = folder::find(&options.to, &fingerprint)? {
        return Ok(Some(done));
    }
    let chosen = options.selection.as_deref().map(selected).transpose()?;
    let staging = Staging::new(options)?;
    let mut writer = options.format.writer();
    let mut done = Done {
        clips: 0,
        left: BTreeMap::new(),
        was_there: false,
    };
    let mut listing = ListingReader::open(&run.listing())?;
    for number in 0..run.shards().count() {
        let receipts = finished::receipts(run, number)?;
        let shard = finished::shard(run, &mut listing, number, &receipts)?;
        let wanted = |known: &&finished::Known| {
            known.fate == Fate::Kept
                && chosen
                    .as_ref()
                    .is_none_or(|chosen| chosen.contains(&known.listing.clip))
        };
        for known in shard.clips.iter().filter(wanted) {
            if cancel.is_cancelled() {
                return Ok(None);
            }
            match leave(known, options, writer.as_ref()) {
                Some(reason) => *done.left.entry(reason.to_owned()).or_default() += 1,
                None => {
                    writer.add(&Item::new(known, &shard, run, options)?, &staging)?;
                    done.clips += 1;
                }
            }
        }
    }
    writer.finish(&staging)?;
    let about = json!({
        "format": options.format.name(), "media": options.media.name(), "clips": done.clips, "left": done.left,
        "fingerprint": fingerprint,
    });
    staging.publish(about)?;
    Ok(Some(done))
}

/// Why a clip cannot be exported.
fn leave(known: &finished::Known, options: &Options, writer: &dyn Writer) -> Option<&'static str> {
    let stretch = known.listing.start.is_some() || known.listing.end.is_some();
    if known.one("omni_caption").is_none() {
        Some("no_prompt")
    } else if stretch && !writer.tells_stretches() {
        Some("stretch_of_a_longer_file")
    } else if !finished::is_there(&options.root.join(&known.listing.path)) {
        Some("no_media")
    } else {
        None
    }
}

/// The clips of a selection.
fn selected(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let (rows, _) = omni_manifests::read_part::<Selection>(&selection_file(folder))?;
    Ok(rows.into_iter().map(|row| row.clip).collect())
}

fn selection_file(folder: &Path) -> PathBuf {
    folder.join("selection.parquet")
}

/// All that decides what the export holds; media files by size and time of change.
fn fingerprint(run: &Run, options: &Options) -> Result<String, Error> {
    let mut parts: Vec<Value> = Vec::new();
    let mut listing = ListingReader::open(&run.listing())?;
    for (number, (id, _)) in run.shards().enumerate() {
        let receipts = finished::receipts(run, number)?;
        let checks: BTreeMap<_, _> = receipts
            .iter()
            .map(|(stage, receipt)| (stage, &receipt.check))
            .collect();
        let stamps: Vec<Value> = listing
            .group::<omni_schemas::Listing>(number)?
            .iter()
            .map(|row| json!(finished::media_stamp(&options.root.join(&row.path))))
            .collect();
        parts.push(json!({ "shard": id, "checks": checks, "media": stamps }));
    }
    let selection = match &options.selection {
        Some(folder) => Some(omni_manifests::read_receipt(&selection_file(folder))?.check),
        None => None,
    };
    Ok(omni_manifests::fingerprint(&json!({
        "version": VERSION, "format": options.format.name(), "media": options.media.name(), "selection": selection,
        "root": options.root, "to": options.to, "parts": parts, "source": run.file().source,
    })))
}
