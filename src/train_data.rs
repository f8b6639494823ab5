//! The trainer's samples: rows and artifacts that `omni encode` wrote.

use crate::exit::{missing, usage};
use anyhow::Context;
use omni_manifests::{fingerprint, read_blob, read_part};
use omni_model::{
    Error,
    train::{Entry, Sample, Samples},
};
use omni_pipeline::readers::Run;
use omni_schemas::{Latents, Record};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// All samples of some outputs of `omni encode`, in their order.
pub struct Dataset {
    entries: Vec<Entry>,
    rows: Vec<(Latents, PathBuf)>,
    name: String,
}

impl Dataset {
    /// Reads the index of every folder. Fails when an artifact is gone, a clip is there twice, or a folder was encoded with other
    /// networks than `identity` names, and says what differs.
    pub fn open(folders: &[PathBuf], identity: &Value) -> anyhow::Result<Self> {
        let mut rows: Vec<(Latents, PathBuf)> = Vec::new();
        for folder in folders {
            let run = Run::open(folder).map_err(|error| {
                missing(format!(
                    "{}: {error}; `omni encode` makes what --data reads",
                    folder.display()
                ))
            })?;
            let parts = run.record_parts(Latents::NAME)?;
            if parts.len() < run.shards().count() {
                return Err(missing(format!(
                    "{}: {} of {} shards are encoded; give the same `omni encode` again",
                    folder.display(),
                    parts.len(),
                    run.shards().count()
                )));
            }
            for part in parts {
                let tar = part.with_extension("tar");
                let (own, receipt) =
                    read_part::<Latents>(&part).with_context(|| part.display().to_string())?;
                same(folder, &receipt.settings["networks"], identity)?;
                if let Some(row) = own.first()
                    && !tar.is_file()
                {
                    return Err(missing(format!(
                        "{}: the latents of `{}` and {} more are gone ({} is not there); give the same `omni encode` again",
                        folder.display(),
                        row.clip,
                        own.len() - 1,
                        tar.display()
                    )));
                }
                rows.extend(own.into_iter().map(|row| (row, tar.clone())));
            }
        }
        let mut names: Vec<&str> = rows.iter().map(|(row, _)| row.clip.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(usage(format!("--data: the clip `{}` is there twice", twice[0])));
        }
        let hashes: Vec<&str> = rows.iter().map(|(row, _)| row.tensors.blake3.as_str()).collect();
        let name = fingerprint(&json!({ "latents": hashes }))[..12].to_owned();
        Ok(Self {
            entries: rows.iter().map(|(row, _)| entry(row)).collect(),
            name,
            rows,
        })
    }

    /// A name for what is in it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens of the largest clip: video, audio.
    pub fn largest(&self) -> (usize, usize) {
        let number = |value: i64| usize::try_from(value).unwrap_or_default();
        let video =
            |row: &Latents| number((row.frames + row.subjects) * (row.width / 32) * (row.height / 32));
        let rows = || self.rows.iter().map(|(row, _)| row);
        let audio = rows().map(|row| number(row.audio)).max();
        (rows().map(video).max().unwrap_or(0), audio.unwrap_or(0))
    }
}

fn entry(row: &Latents) -> Entry {
    Entry {
        id: row.clip.clone(),
        video: row.video,
        subjects: usize::try_from(row.subjects).unwrap_or_default(),
        own_reference: row.own_reference,
    }
}

/// Fails unless both encode alike, naming the first thing that differs.
fn same(folder: &Path, theirs: &Value, ours: &Value) -> anyhow::Result<()> {
    if theirs == ours {
        return Ok(());
    }
    let mut differs = "nothing is known of what encoded it".to_owned();
    for key in ["codec", "text_rows"] {
        if theirs[key] != ours[key] {
            differs = format!("`{key}` was {}, the checkpoint has {}", theirs[key], ours[key]);
        }
    }
    if let (Some(theirs), Some(ours)) = (theirs["files"].as_object(), ours["files"].as_object()) {
        let names = theirs.keys().chain(ours.keys());
        if let Some(name) = names
            .into_iter()
            .find(|name| theirs.get(*name) != ours.get(*name))
        {
            differs = format!("`{name}` is another file");
        }
    }
    Err(usage(format!(
        "{} was encoded with other networks than this checkpoint's: {differs}; encode again with --checkpoint of the \
         checkpoint that is trained",
        folder.display()
    )))
}

impl Samples for Dataset {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> omni_model::Result<Sample> {
        let bad = |id: &str, why: String| Error::Sample {
            id: id.to_owned(),
            why,
        };
        let (row, tar) = self
            .rows
            .get(index)
            .ok_or_else(|| bad(&index.to_string(), "there is no such row".to_owned()))?;
        let bytes = read_blob(tar, &row.tensors).map_err(|error| {
            bad(
                &row.clip,
                format!("its latents cannot be read: {error}; encode it again"),
            )
        })?;
        Sample::from_bytes(&row.clip, &bytes)
    }
}
