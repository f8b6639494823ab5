//! Curated clips as cases: the prompt of each, and the references that its selection names, written out as files so that
//! `omni bench` can open them too.

use super::jobs::{Job, Spans, split, spoken};
use crate::{
    clip_name::clip_name,
    exit::{missing, usage},
};
use anyhow::Context;
use omni_curate::finished;
use omni_manifests::{ListingReader, read_blob, read_part, write_file};
use omni_pipeline::readers::Run;
use omni_schemas::{Case, CaseSubject, CaseUtterance, OmniCaption, Selection};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Whose picture or voice: record, clip, subject or speaker.
type Place = (&'static str, String, String);

/// What is read of a run.
#[derive(Default)]
struct Found {
    captions: BTreeMap<String, OmniCaption>,
    files: BTreeMap<Place, Vec<u8>>,
}

/// The clips of `SELECTION[:CLIP]`; references go to `folder`, and `from` is the run's output folder if it is not the one the
/// selection lies in.
pub fn jobs(data: &str, from: Option<&Path>, folder: &Path) -> anyhow::Result<Vec<Job>> {
    let (path, clip) = split(data);
    let file = path.join("selection.parquet");
    if !file.is_file() {
        return Err(missing(format!(
            "--data {data}: no selection.parquet in {}; give the folder that `omni select` wrote",
            path.display()
        )));
    }
    let out = match from {
        Some(from) => from.to_owned(),
        None => std::path::absolute(&path)?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    let run = Run::open(&out).map_err(|error| {
        missing(format!(
            "{}: {error}; name the run's output folder with --from DIR",
            out.display()
        ))
    })?;
    let (mut rows, _) = read_part::<Selection>(&file)?;
    rows.retain(|row| clip.is_none_or(|clip| clip == row.clip));
    if rows.is_empty() {
        let what = clip.map_or("nothing".to_owned(), |clip| format!("no clip `{clip}`"));
        return Err(usage(format!("{} holds {what}", path.display())));
    }
    let found = read(&run, &rows)?;
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    rows.iter().map(|row| job(row, &found, folder)).collect()
}

/// Captions, pictures and voices that the rows name.
fn read(run: &Run, rows: &[Selection]) -> anyhow::Result<Found> {
    let clips: BTreeSet<&str> = rows.iter().map(|row| row.clip.as_str()).collect();
    let mut wanted: BTreeSet<Place> = BTreeSet::new();
    for reference in rows.iter().flat_map(|row| &row.references) {
        wanted.insert((
            "face_ref",
            reference.face_clip.clone(),
            reference.face_subject.to_string(),
        ));
        if let (Some(clip), Some(speaker)) = (&reference.voice_clip, &reference.voice_speaker) {
            wanted.insert(("voice_ref", clip.clone(), speaker.clone()));
        }
    }
    let mut found = Found::default();
    let mut listing = ListingReader::open(&run.listing())?;
    for number in 0..run.shards().count() {
        let receipts = finished::receipts(run, number)?;
        let shard = finished::shard(run, &mut listing, number, &receipts)?;
        for known in &shard.clips {
            let clip = &known.listing.clip;
            if let Some(caption) = known
                .one("omni_caption")
                .filter(|_| clips.contains(clip.as_str()))
            {
                found
                    .captions
                    .insert(clip.clone(), serde_json::from_value(caption.clone())?);
            }
            for (record, who, column) in [
                ("face_ref", "subject", "image"),
                ("voice_ref", "speaker", "audio"),
            ] {
                for row in known.all(record) {
                    let name = match &row[who] {
                        Value::String(name) => name.clone(),
                        other => other.to_string(),
                    };
                    let place = (record, clip.clone(), name);
                    let blob = finished::as_blob(&row[column]).zip(shard.tars.get(record));
                    if let Some((blob, tar)) = blob.filter(|_| wanted.contains(&place)) {
                        found.files.entry(place).or_insert(read_blob(tar, &blob)?);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// A clip's key as the name of a file.
fn stem(clip: &str) -> String {
    clip_name(clip, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn job(row: &Selection, found: &Found, folder: &Path) -> anyhow::Result<Job> {
    let stem = stem(&row.clip);
    let write = |place: &Place, anchor: &str, ending: &str| -> anyhow::Result<Option<String>> {
        let Some(bytes) = found.files.get(place) else {
            return Ok(None);
        };
        let path = folder.join(format!("{stem}.{}.{ending}", anchor.trim_matches(['<', '>'])));
        write_file(&path, bytes)?;
        Ok(Some(path.to_string_lossy().into_owned()))
    };
    let caption = found
        .captions
        .get(&row.clip)
        .filter(|caption| caption.prompt == row.prompt);
    let anchors: Vec<String> = match caption {
        Some(caption) => caption.descriptors.iter().map(|one| one.anchor.clone()).collect(),
        None => super::jobs::anchors(&row.prompt)
            .iter()
            .map(|number| format!("<sub{number}>"))
            .collect(),
    };
    let mut subjects = Vec::new();
    for anchor in &anchors {
        let own = row
            .references
            .iter()
            .find(|reference| format!("<sub{}>", reference.subject) == *anchor);
        let mut subject = CaseSubject {
            anchor: anchor.clone(),
            visible: own.is_some(),
            speaks: true,
            ..CaseSubject::default()
        };
        if let Some(own) = own {
            let face = ("face_ref", own.face_clip.clone(), own.face_subject.to_string());
            subject.face = write(&face, anchor, "png")?;
            if let (Some(clip), Some(speaker)) = (&own.voice_clip, &own.voice_speaker) {
                subject.voice = write(&("voice_ref", clip.clone(), speaker.clone()), anchor, "wav")?;
            }
            subject.speaks = own.speaker.is_some();
        }
        subjects.push(subject);
    }
    let utterances = match caption {
        Some(caption) => {
            let one = |said: &omni_schemas::Utterance| CaseUtterance {
                anchor: said.anchor.clone(),
                text: said.text.trim().to_owned(),
                language: said.language.clone(),
            };
            caption.utterances.iter().map(one).collect()
        }
        None => spoken(&row.prompt),
    };
    let place = |at: i64| usize::try_from(at).unwrap_or_default();
    let spans = caption.map(|caption| Spans {
        descriptors: caption
            .descriptors
            .iter()
            .map(|one| (place(one.start), place(one.end)))
            .collect(),
        utterances: caption
            .utterances
            .iter()
            .map(|one| (place(one.start), place(one.end)))
            .collect(),
    });
    Ok(Job {
        case: Case {
            case: stem,
            subset: match subjects.len() {
                0 | 1 => 1,
                2 => 2,
                _ => 3,
            },
            prompt: row.prompt.clone(),
            audio_caption: None,
            first_frame: None,
            subjects,
            utterances,
        },
        spans,
    })
}
