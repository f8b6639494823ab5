//! The leak guard: identities that must not be in the result, by face and by voice.

use super::{Candidate, Error};
use crate::vector::{cosine, unit};
use omni_schemas::Identity;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    ops::ControlFlow,
    path::Path,
};

/// A line of a hold-out list may have this many bytes: 64 KiB numbers are far more than a vector has.
const LONGEST_LINE: u64 = 4 << 20;

/// From which cosine two vectors are one person; each network has its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Of the face network.
    pub face: f64,
    /// Of the voice network.
    pub voice: f64,
}

/// The faces and voices of the identities that are held out.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    faces: Vec<Vec<f32>>,
    voices: Vec<Vec<f32>>,
    thresholds: Thresholds,
}

/// What a hold-out list must hold of an identity; further fields are not read.
#[derive(serde::Deserialize)]
struct Vectors {
    #[serde(default)]
    face: Vec<f64>,
    #[serde(default)]
    voice: Vec<f64>,
}

impl HeldOut {
    /// Guards nothing.
    pub fn nobody() -> HeldOut {
        HeldOut {
            faces: Vec::new(),
            voices: Vec::new(),
            thresholds: Thresholds {
                face: 1.0,
                voice: 1.0,
            },
        }
    }

    /// From identities; a face or voice that is empty or all zeros is left out.
    ///
    /// # Errors
    /// [`Error::HoldOut`] when vectors of one kind differ in length, or nobody has a vector.
    pub fn new(
        identities: impl IntoIterator<Item = Identity>,
        thresholds: Thresholds,
    ) -> Result<HeldOut, Error> {
        let vectors = identities.into_iter().map(|one| Vectors {
            face: one.face,
            voice: one.voice,
        });
        HeldOut::collect(vectors, thresholds, "identities")
    }

    /// Reads `omni pool`'s manifest (`.parquet`) or JSON lines that have `face` and `voice` arrays.
    ///
    /// # Errors
    /// [`Error::HoldOut`] when the file cannot be read, a line is no such object, vectors differ in length, or the
    /// list has no vector at all: a guard that guards nothing must not pass for one.
    pub fn read(path: &Path, thresholds: Thresholds) -> Result<HeldOut, Error> {
        let rows = match path.extension().is_some_and(|extension| extension == "parquet") {
            true => from_part(path)?,
            false => from_lines(path)?,
        };
        HeldOut::collect(rows, thresholds, &path.display().to_string())
    }

    /// Number of faces and of voices that are guarded.
    pub fn len(&self) -> (usize, usize) {
        (self.faces.len(), self.voices.len())
    }

    /// Whether nobody is held out.
    pub fn is_empty(&self) -> bool {
        self.faces.is_empty() && self.voices.is_empty()
    }

    fn collect(
        rows: impl IntoIterator<Item = Vectors>,
        thresholds: Thresholds,
        name: &str,
    ) -> Result<HeldOut, Error> {
        let mut held = HeldOut {
            faces: Vec::new(),
            voices: Vec::new(),
            thresholds,
        };
        for row in rows {
            held.faces.extend(unit(&row.face));
            held.voices.extend(unit(&row.voice));
        }
        let what = match (uniform(&held.faces) && uniform(&held.voices), held.is_empty()) {
            (true, false) => return Ok(held),
            (true, true) => "holds no face and no voice vector",
            (false, _) => "its vectors differ in length; make it with one network",
        };
        Err(Error::HoldOut {
            path: name.into(),
            what: what.into(),
        })
    }

    /// The rules the clip fails: a held-out face or voice, or one that cannot be compared for want of a vector.
    /// A voice without a vector is excused when its own face could be compared.
    pub(super) fn matches(&self, clip: &Candidate) -> Result<Vec<&'static str>, Error> {
        let mut failed = Vec::new();
        if !self.faces.is_empty() {
            failed.extend(self.match_faces(clip)?);
        }
        if !self.voices.is_empty() {
            failed.extend(self.match_voices(clip)?);
        }
        Ok(failed)
    }

    fn match_faces(&self, clip: &Candidate) -> Result<Option<&'static str>, Error> {
        let mut known = std::collections::BTreeSet::new();
        for face in &clip.faces {
            let Some(vector) = unit(&face.vector) else {
                continue;
            };
            if self.near("face", &self.faces, &vector, self.thresholds.face, clip)? {
                return Ok(Some("hold_out:face"));
            }
            known.insert(face.subject);
        }
        Ok((known != clip.subjects()).then_some("hold_out:unknown_face"))
    }

    fn match_voices(&self, clip: &Candidate) -> Result<Option<&'static str>, Error> {
        let mut unknown = clip.speakers();
        for voice in &clip.voice_refs {
            let Some(vector) = unit(&voice.vector) else {
                continue;
            };
            if self.near("voice", &self.voices, &vector, self.thresholds.voice, clip)? {
                return Ok(Some("hold_out:voice"));
            }
            unknown.remove(voice.speaker.as_str());
        }
        unknown.retain(|speaker| !self.excused(clip, speaker));
        Ok((!unknown.is_empty()).then_some("hold_out:unknown_voice"))
    }

    fn excused(&self, clip: &Candidate, speaker: &str) -> bool {
        let face = clip.face_of(speaker);
        !self.faces.is_empty()
            && clip
                .faces
                .iter()
                .any(|one| Some(one.subject) == face && unit(&one.vector).is_some())
    }

    fn near(
        &self,
        kind: &'static str,
        held: &[Vec<f32>],
        vector: &[f32],
        threshold: f64,
        clip: &Candidate,
    ) -> Result<bool, Error> {
        if let Some(other) = held.first().filter(|other| other.len() != vector.len()) {
            let (held, found, clip) = (other.len(), vector.len(), clip.clip.clip.clone());
            return Err(Error::OtherNetwork {
                kind,
                held,
                found,
                clip,
            });
        }
        Ok(held
            .iter()
            .any(|other| f64::from(cosine(other, vector)) >= threshold))
    }
}

fn uniform(vectors: &[Vec<f32>]) -> bool {
    vectors.windows(2).all(|pair| pair[0].len() == pair[1].len())
}

fn from_part(path: &Path) -> Result<Vec<Vectors>, Error> {
    let refuse = |what: String| Error::HoldOut {
        path: path.display().to_string(),
        what,
    };
    let mut rows = Vec::new();
    let mut bad = None;
    let mut on = |row: serde_json::Map<String, serde_json::Value>| match serde_json::from_value(row.into()) {
        Ok(row) => {
            rows.push(row);
            ControlFlow::Continue(())
        }
        Err(error) => {
            bad = Some(error);
            ControlFlow::Break(())
        }
    };
    omni_manifests::for_each_row(path, &mut on).map_err(|error| refuse(error.to_string()))?;
    match bad {
        Some(error) => Err(refuse(format!("row {}: {error}", rows.len()))),
        None => Ok(rows),
    }
}

fn from_lines(path: &Path) -> Result<Vec<Vectors>, Error> {
    let refuse = |what: String| Error::HoldOut {
        path: path.display().to_string(),
        what,
    };
    let mut reader = BufReader::new(File::open(path).map_err(|error| refuse(error.to_string()))?);
    let mut rows = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| refuse(error.to_string()))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = serde_json::from_slice(&line).map_err(|error| refuse(format!("line {number}: {error}")))?;
        rows.push(row);
    }
    Ok(rows)
}
