//! What curation knows of the clips of a selection: caption, media, pictures and voices, by clip.

use anyhow::Context;
use omni_manifests::read_part;
use omni_pipeline::readers::Run;
use omni_schemas::{Blob, Clip, FaceRef, OmniCaption, Record, Selection, Transcript, VoiceRef};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

/// A row and the tar that its artifacts lie in.
pub struct Placed<R> {
    pub row: R,
    tar: PathBuf,
}

impl<R> Placed<R> {
    /// The bytes of one of the row's artifacts.
    pub fn bytes(&self, blob: &Blob) -> Result<Vec<u8>, omni_manifests::Error> {
        omni_manifests::read_blob(&self.tar, blob)
    }
}

/// A selection, and what it points at.
pub struct Curated {
    pub selection: HashMap<String, Selection>,
    /// The selection's own check.
    pub check: String,
    pub root: PathBuf,
    pub clips: HashMap<String, Clip>,
    captions: HashMap<String, OmniCaption>,
    transcripts: HashMap<String, Transcript>,
    faces: HashMap<(String, i64), Placed<FaceRef>>,
    voices: HashMap<(String, String), Placed<VoiceRef>>,
}

impl Curated {
    /// Reads a selection (its folder, or its file) made from the run in `from`.
    pub fn open(from: &Path, selection: &Path) -> anyhow::Result<Self> {
        let run =
            Run::open(from).with_context(|| format!("{} is no output folder of a run", from.display()))?;
        let file = if selection.is_dir() {
            selection.join(format!("{}.parquet", Selection::NAME))
        } else {
            selection.to_owned()
        };
        let (rows, receipt) = read_part::<Selection>(&file).with_context(|| format!("{}", file.display()))?;
        let mut wanted: HashSet<String> = rows.iter().map(|row| row.clip.clone()).collect();
        for reference in rows.iter().flat_map(|row| &row.references) {
            wanted.insert(reference.face_clip.clone());
            wanted.extend(reference.voice_clip.clone());
        }
        let by_clip = |key: &str| key.to_owned();
        Ok(Self {
            check: receipt.check,
            root: run.file().root.clone(),
            clips: plain(&run, &wanted, |row: &Clip| by_clip(&row.clip))?,
            captions: plain(&run, &wanted, |row: &OmniCaption| by_clip(&row.clip))?,
            transcripts: plain(&run, &wanted, |row: &Transcript| by_clip(&row.clip))?,
            faces: placed(&run, &wanted, |row: &FaceRef| (row.clip.clone(), row.subject))?,
            voices: placed(&run, &wanted, |row: &VoiceRef| {
                (row.clip.clone(), row.speaker.clone())
            })?,
            selection: rows.into_iter().map(|row| (row.clip.clone(), row)).collect(),
        })
    }

    pub fn caption(&self, clip: &str) -> Option<&OmniCaption> {
        self.captions.get(clip)
    }

    pub fn transcript(&self, clip: &str) -> Option<&Transcript> {
        self.transcripts.get(clip)
    }

    pub fn face(&self, clip: &str, subject: i64) -> Option<&Placed<FaceRef>> {
        self.faces.get(&(clip.to_owned(), subject))
    }

    pub fn voice(&self, clip: &str, speaker: &str) -> Option<&Placed<VoiceRef>> {
        self.voices.get(&(clip.to_owned(), speaker.to_owned()))
    }
}

fn placed<R: Record, K: std::hash::Hash + Eq>(
    run: &Run,
    wanted: &HashSet<String>,
    key: impl Fn(&R) -> K,
) -> anyhow::Result<HashMap<K, Placed<R>>> {
    let mut all = HashMap::new();
    if !run.file().stages.iter().any(|stage| stage.record == R::NAME) {
        return Ok(all);
    }
    for part in run.record_parts(R::NAME)? {
        let tar = part.with_extension("tar");
        let (rows, _) = read_part::<R>(&part)?;
        for row in rows.into_iter().filter(|row| wanted.contains(row.key())) {
            let tar = tar.clone();
            all.insert(key(&row), Placed { row, tar });
        }
    }
    Ok(all)
}

fn plain<R: Record>(
    run: &Run,
    wanted: &HashSet<String>,
    key: impl Fn(&R) -> String,
) -> anyhow::Result<HashMap<String, R>> {
    let all = placed(run, wanted, key)?;
    Ok(all.into_iter().map(|(key, placed)| (key, placed.row)).collect())
}
