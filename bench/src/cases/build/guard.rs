//! The people of a training selection, whom no case may show or let speak.

use super::{BuildError, candidate::Candidate, candidate::Vector};
use omni_manifests::read_part;
use omni_perception::registry::Registry;
use omni_pipeline::readers::Run;
use omni_schemas::{Record, Selection, Track, VoiceRef};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Vectors of one kind, all of one network, and the cosine from which two are one person.
#[derive(Debug)]
struct Known {
    kind: &'static str,
    network: String,
    threshold: f32,
    vectors: Vec<Vec<f32>>,
    /// The clips that they come from.
    seen: BTreeSet<String>,
}

/// The faces and voices of a training selection: of its clips and of the references it draws.
#[derive(Debug)]
pub struct Guard {
    faces: Known,
    voices: Known,
    check: String,
    unguarded: usize,
}

impl Guard {
    /// Reads what `omni select` wrote (its folder, or the file in it) and the vectors of its people from the run that
    /// it was made from: one of `runs`, tried in order.
    ///
    /// # Errors
    /// [`BuildError::Selection`] when none of the runs holds the selection's clips, or nobody in it has a vector: a
    /// guard that guards nothing must not pass for one.
    pub fn read(selection: &Path, runs: &[PathBuf]) -> Result<Guard, BuildError> {
        let refuse = |what: String| BuildError::Selection {
            selection: selection.to_owned(),
            what,
        };
        let file = match selection.is_dir() {
            true => selection.join(format!("{}.parquet", Selection::NAME)),
            false => selection.to_owned(),
        };
        if !file.is_file() {
            return Err(refuse(
                "there is no selection; `omni select` writes one".to_owned(),
            ));
        }
        let (rows, receipt) = read_part::<Selection>(&file)?;
        let people = People::of(&rows);
        let mut told = Vec::new();
        for folder in runs {
            let Ok(run) = Run::open(folder) else {
                told.push(format!("{} is no run", folder.display()));
                continue;
            };
            let (faces, voices, found) = people.vectors(&run)?;
            if let Some(lost) = rows.iter().find(|row| !found.contains(&row.clip)) {
                told.push(format!("{} has no clip `{}`", folder.display(), lost.clip));
                continue;
            }
            let faces = Known::new("face", faces)?;
            let voices = Known::new("voice", voices)?;
            if faces.vectors.is_empty() && voices.vectors.is_empty() {
                return Err(refuse(
                    "nobody in it has a face or voice vector: nothing could be guarded".to_owned(),
                ));
            }
            let bare = people.clips.iter().filter(|clip| !faces.seen.contains(*clip));
            return Ok(Guard {
                unguarded: bare.count(),
                faces,
                voices,
                check: receipt.check,
            });
        }
        Err(refuse(format!(
            "the run it was made from was not found ({}); name it with --training-run DIR",
            told.join("; ")
        )))
    }

    /// Number of faces and of voices that are guarded.
    pub fn len(&self) -> (usize, usize) {
        (self.faces.vectors.len(), self.voices.vectors.len())
    }

    /// Clips of the selection in which nobody has a face vector; their people are guarded by voice alone.
    pub fn unguarded(&self) -> usize {
        self.unguarded
    }

    /// The check of the selection's file.
    pub(super) fn check(&self) -> &str {
        &self.check
    }

    /// Why the clip's people may be people of the selection: one is, or cannot be compared.
    pub(super) fn meets(&self, candidate: &Candidate) -> Result<Option<&'static str>, BuildError> {
        for tracks in &candidate.face_vectors {
            if tracks.is_empty() && !self.faces.vectors.is_empty() {
                return Ok(Some("unknown_face"));
            }
            for vector in tracks {
                if self.faces.holds(vector, &candidate.clip)? {
                    return Ok(Some("known_face"));
                }
            }
        }
        for vector in &candidate.voice_vectors {
            if vector.values.is_empty() && !self.voices.vectors.is_empty() {
                return Ok(Some("unknown_voice"));
            }
            if self.voices.holds(vector, &candidate.clip)? {
                return Ok(Some("known_voice"));
            }
        }
        Ok(None)
    }
}

impl Known {
    fn new(kind: &'static str, from: Gathered) -> Result<Known, BuildError> {
        let id = from.network.split('#').next().unwrap_or_default();
        let threshold = match from.vectors.is_empty() {
            true => 1.0,
            false => {
                let threshold = Registry::builtin().spec(id)?.threshold;
                threshold.ok_or_else(|| BuildError::NoThreshold(id.to_owned()))?
            }
        };
        Ok(Known {
            kind,
            threshold,
            network: from.network,
            vectors: from.vectors,
            seen: from.seen,
        })
    }

    fn holds(&self, vector: &Vector, clip: &str) -> Result<bool, BuildError> {
        if self.vectors.is_empty() {
            return Ok(false);
        }
        if vector.network != self.network {
            return Err(BuildError::OtherNetwork {
                kind: self.kind,
                training: self.network.clone(),
                found: vector.network.clone(),
                clip: clip.to_owned(),
            });
        }
        let near = |other: &Vec<f32>| {
            let cosine: f32 = other.iter().zip(&vector.values).map(|(a, b)| a * b).sum();
            cosine >= self.threshold
        };
        Ok(self.vectors.iter().any(near))
    }
}

/// Vectors with the clips they come from.
#[derive(Default)]
struct Gathered {
    network: String,
    vectors: Vec<Vec<f32>>,
    seen: BTreeSet<String>,
}

/// Who is in a selection.
struct People {
    clips: BTreeSet<String>,
    faces: BTreeSet<(String, i64)>,
    voices: BTreeSet<(String, String)>,
}

impl People {
    fn of(rows: &[Selection]) -> People {
        let drawn = || rows.iter().flat_map(|row| &row.references);
        let voices = drawn().filter_map(|one| Some((one.voice_clip.clone()?, one.voice_speaker.clone()?)));
        People {
            clips: rows.iter().map(|row| row.clip.clone()).collect(),
            faces: drawn()
                .map(|one| (one.face_clip.clone(), one.face_subject))
                .collect(),
            voices: voices.collect(),
        }
    }

    /// Faces, voices, and which of the clips the run has at all.
    fn vectors(&self, run: &Run) -> Result<(Gathered, Gathered, BTreeSet<String>), BuildError> {
        let (mut faces, mut voices) = (Gathered::default(), Gathered::default());
        let mut found = BTreeSet::new();
        let makes = |record: &str| run.file().stages.iter().any(|stage| stage.record == record);
        for clip in run.table::<omni_schemas::Clip>()? {
            let clip = clip?.clip;
            if self.clips.contains(&clip) {
                found.insert(clip);
            }
        }
        if makes(Track::NAME) {
            for track in run.table::<Track>()? {
                let track = track?;
                let own = self.clips.contains(&track.clip)
                    || self.faces.contains(&(track.clip.clone(), track.subject));
                if own {
                    faces.add("face", &track.clip, &track.embedder, &track.vector)?;
                }
            }
        }
        if makes(VoiceRef::NAME) {
            for voice in run.table::<VoiceRef>()? {
                let voice = voice?;
                let own = self.clips.contains(&voice.clip)
                    || self.voices.contains(&(voice.clip.clone(), voice.speaker.clone()));
                if own {
                    voices.add("voice", &voice.clip, &voice.embedder, &voice.vector)?;
                }
            }
        }
        Ok((faces, voices, found))
    }
}

impl Gathered {
    fn add(
        &mut self,
        kind: &'static str,
        clip: &str,
        network: &str,
        vector: &[f64],
    ) -> Result<(), BuildError> {
        let Some(vector) = super::candidate::vector(network, vector) else {
            return Ok(());
        };
        if self.network.is_empty() {
            network.clone_into(&mut self.network);
        } else if self.network != network {
            return Err(BuildError::OtherNetwork {
                kind,
                training: self.network.clone(),
                found: network.to_owned(),
                clip: clip.to_owned(),
            });
        }
        self.vectors.push(vector.values);
        self.seen.insert(clip.to_owned());
        Ok(())
    }
}
