//! Writing the page: shard by shard, what is there already left alone, the index last.

use super::{
    card,
    media::{self, Look},
    names::{self, CLIPS, INDEX, Names},
    place,
};
use crate::finished::{self, Error, Known, Receipts, Shard};
use omni_manifests::{ListingReader, sweep_temporaries, write_file};
use omni_media::Span;
use omni_pipeline::{Cancel, readers::Run};
use omni_schemas::Listing;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The page's own files.
const ASSETS: &[(&str, &str)] = &[
    ("index.html", include_str!("assets/index.html")),
    ("gallery.css", include_str!("assets/gallery.css")),
    ("data.js", include_str!("assets/data.js")),
    ("list.js", include_str!("assets/list.js")),
    ("charts.js", include_str!("assets/charts.js")),
    ("player.js", include_str!("assets/player.js")),
    ("card.js", include_str!("assets/card.js")),
    ("gallery.js", include_str!("assets/gallery.js")),
];
/// Clips dropped by the source that are listed one by one; all of them are counted.
const SOURCE_DROPS: usize = 2000;

/// How a report is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder the clips lie in, absolute.
    pub root: PathBuf,
    /// Media files that are opened side by side.
    pub threads: usize,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The page.
    pub page: PathBuf,
    /// Clips shown.
    pub clips: u64,
    /// Shards whose data were written, and those that were there.
    pub written: usize,
    /// Shards whose data were there already.
    pub kept: usize,
    /// Clips whose media file is not where it should be.
    pub absent: u64,
}

/// Writes or brings up to date `OUT/report`. `on` hears of every shard: shards done and shards in all.
/// When cancelled, the data made so far stay and are found by the next report; the page still shows the last one.
///
/// # Errors
/// When the run cannot be read or the report cannot be written. A media file that cannot be read is no error; its card
/// says so.
pub fn make(
    run: &Run,
    options: &Options,
    cancel: &Cancel,
    on: &dyn Fn(usize, usize),
) -> Result<Option<Made>, Error> {
    let folder = names::folder(&canonical(run.out())?);
    let data = folder.join("data");
    fs::create_dir_all(&data).map_err(Error::io(&data))?;
    sweep_temporaries(&data)?;
    sweep_temporaries(&folder)?;
    let mut listing = ListingReader::open(&run.listing())?;
    let shards: Vec<(String, u64)> = run.shards().map(|(id, rows)| (id.to_owned(), rows)).collect();
    let (mut all, mut stages) = (Vec::new(), BTreeMap::new());
    let (mut written, mut absent) = (0, 0);
    for (number, (id, _)) in shards.iter().enumerate() {
        on(number, shards.len());
        let receipts = finished::receipts(run, number)?;
        let listed: Vec<Listing> = listing.group(number)?;
        absent += listed
            .iter()
            .filter(|row| !row.path.is_empty() && !finished::is_there(&options.root.join(&row.path)))
            .count() as u64;
        let names = Names::new(run, id, &listed, &receipts, &options.root);
        if !names.done(&data) {
            let shard = finished::shard(run, &mut listing, number, &receipts)?;
            let Some(looks) = looks(&shard, options, cancel) else {
                return Ok(None);
            };
            write_shard(&data, &names, &shard, &looks, options)?;
            written += 1;
        }
        describe(&mut stages, &receipts);
        all.push(names);
    }
    for (name, text) in ASSETS {
        write_new(&folder.join(name), text.as_bytes())?;
    }
    let index = index(run, &folder, options, &all, &stages)?;
    write_new(&data.join(INDEX), script("omniIndex", &index).as_bytes())?;
    for stranger in names::strangers(&data, &all)? {
        fs::remove_file(&stranger).map_err(Error::io(&stranger))?;
    }
    on(shards.len(), shards.len());
    Ok(Some(Made {
        page: folder.join("index.html"),
        clips: shards.iter().map(|(_, rows)| rows).sum(),
        written,
        kept: shards.len() - written,
        absent,
    }))
}

fn canonical(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(Error::io(path))
}

/// A file that holds the same bytes already keeps its time of change.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    Ok(write_file(path, bytes)?)
}

/// A data file: one call of one function. JSON is JavaScript, and in a file of its own no text can end the script.
fn script(function: &str, value: &Value) -> String {
    format!("{function}({value});\n")
}

/// Opens the media of a shard, a few at a time; nothing when cancelled.
fn looks(shard: &Shard, options: &Options, cancel: &Cancel) -> Option<Vec<Look>> {
    let next = AtomicUsize::new(0);
    let looks = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(known) = shard.clips.get(number).filter(|_| !cancel.is_cancelled()) else {
                return;
            };
            let look = look(known, &options.root);
            looks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(number, look);
        }
    };
    std::thread::scope(|scope| {
        (0..options.threads.max(1)).for_each(|_| {
            scope.spawn(work);
        });
    });
    let looks = looks.into_inner().unwrap_or_else(PoisonError::into_inner);
    (!cancel.is_cancelled()).then(|| looks.into_values().collect())
}

/// A clip that `probe` refused is not opened: it may be what takes a decoder down.
fn look(known: &Known, root: &Path) -> Look {
    let path = root.join(&known.listing.path);
    if !known.rows.contains_key("clip") || !finished::is_there(&path) {
        return Look::default();
    }
    let span = Span {
        start: known.listing.start,
        end: known.listing.end,
    };
    media::look(&path, &span)
}

fn write_shard(
    data: &Path,
    names: &Names,
    shard: &Shard,
    looks: &[Look],
    options: &Options,
) -> Result<(), Error> {
    let both: Vec<(&Known, &Look)> = shard.clips.iter().zip(looks).collect();
    for (chunk, clips) in both.chunks(CLIPS).enumerate() {
        let mut cards = Vec::new();
        for (place, (known, look)) in clips.iter().enumerate() {
            let present = finished::is_there(&options.root.join(&known.listing.path));
            let (mut card, voices) = card::card(known, shard, look, present);
            for voice in voices {
                let name = names.voice(chunk * CLIPS + place, voice.number);
                write_new(&data.join(&name), &voice.bytes)?;
                card["voices"][voice.number]["file"] = json!(name);
            }
            cards.push(card);
        }
        let posters: Vec<_> = clips.iter().map(|(_, look)| &look.poster).collect();
        let chunk_of = |value: Value| json!({ "shard": names.shard, "chunk": chunk, "clips": value });
        write_file(
            &data.join(names.cards(chunk)),
            script("omniCards", &chunk_of(json!(cards))).as_bytes(),
        )?;
        write_file(
            &data.join(names.thumbs(chunk)),
            script("omniThumbs", &chunk_of(json!(posters))).as_bytes(),
        )?;
    }
    let rows: Vec<Value> = both.iter().map(|(known, look)| card::row(known, look)).collect();
    let rows = json!({ "shard": names.shard, "clips": rows });
    Ok(write_file(
        &data.join(names.rows()),
        script("omniRows", &rows).as_bytes(),
    )?)
}

/// Versions and settings of each stage, from the first part of it.
fn describe(stages: &mut BTreeMap<String, Value>, receipts: &Receipts) {
    for (stage, receipt) in receipts {
        stages.entry(stage.clone()).or_insert_with(|| {
            json!({ "version": receipt.stage_version, "record_version": receipt.record_version,
                    "settings": receipt.settings })
        });
    }
}

fn index(
    run: &Run,
    folder: &Path,
    options: &Options,
    shards: &[Names],
    about: &BTreeMap<String, Value>,
) -> Result<Value, Error> {
    let file = run.file();
    let stages = file.stages.iter().map(|entry| {
        json!({ "stage": entry.stage, "record": entry.record, "dir": entry.dir, "fingerprint": entry.fingerprint,
                "about": about.get(&entry.stage) })
    });
    let shards = shards.iter().map(|names| {
        let chunks = 0..names.chunks();
        json!({
            "id": names.shard, "clips": names.clips, "chunk": CLIPS, "rows": names.rows(),
            "cards": chunks.clone().map(|chunk| names.cards(chunk)).collect::<Vec<_>>(),
            "thumbs": chunks.map(|chunk| names.thumbs(chunk)).collect::<Vec<_>>(),
        })
    });
    Ok(json!({
        "version": file.omni_version,
        "source": file.source,
        "recipe": file.recipe.get("name"),
        "media": place::relative(folder, &options.root),
        "root": options.root,
        "stages": stages.collect::<Vec<_>>(),
        "shards": shards.collect::<Vec<_>>(),
        "columns": media::COLUMNS,
        "sourceDrops": run.source_drops(),
        "sourceDropped": run.dropped_by_source(SOURCE_DROPS)?,
    }))
}
