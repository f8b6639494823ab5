//! Which clips can be cases, and of which subset.

use super::BuildError;
use crate::cases::faults;
use omni_manifests::read_part;
use omni_pipeline::readers::{Run, StageEntry};
use omni_schemas::{
    Binding, Blob, Case, CaseSubject, CaseUtterance, FaceRef, OmniCaption, Record, Track, Transcript,
    VoiceRef,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A subset of the benchmark (paper, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subset {
    /// One person, seen and heard, in one language.
    Single,
    /// Two people who are seen and both speak, in one language.
    Dialogue,
    /// Two or more people, and at least one [`Trait`].
    Complex,
}

impl Subset {
    /// All, in order.
    pub const ALL: [Subset; 3] = [Subset::Single, Subset::Dialogue, Subset::Complex];

    /// 1, 2 or 3.
    pub fn number(self) -> i64 {
        self as i64 + 1
    }

    /// What it is.
    pub fn about(self) -> &'static str {
        match self {
            Subset::Single => "one person who speaks",
            Subset::Dialogue => "a dialogue of two who are seen",
            Subset::Complex => "several people; an off-screen speaker, a silent person or two languages",
        }
    }
}

/// What makes a case complex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// Somebody is heard who is not seen.
    OffScreen,
    /// Somebody is seen who says nothing.
    Silent,
    /// More than one language is spoken.
    Multilingual,
}

impl Trait {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Trait::OffScreen => "off_screen",
            Trait::Silent => "silent",
            Trait::Multilingual => "multilingual",
        }
    }
}

/// Bytes in a tar beside a part.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The tar.
    pub tar: PathBuf,
    /// Where in it.
    pub blob: Blob,
}

/// A vector and the network that made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// The network.
    pub network: String,
    /// Unit length; empty when none could be made.
    pub values: Vec<f32>,
}

/// A clip that can be a case.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The clip.
    pub clip: String,
    /// The case, still without a name and with the names of files to be.
    pub case: Case,
    /// Its subset.
    pub subset: Subset,
    /// The languages spoken, sorted.
    pub languages: Vec<String>,
    /// What makes it complex; empty in the first two subsets.
    pub traits: Vec<Trait>,
    /// Pictures and voices by the anchors of their subjects.
    pub faces: BTreeMap<String, Packed>,
    /// Voices by the anchors of their subjects.
    pub voices: BTreeMap<String, Packed>,
    /// The face vectors of each person to be seen: one per track that has one.
    pub face_vectors: Vec<Vec<Vector>>,
    /// The voice vector of everybody to be heard.
    pub voice_vectors: Vec<Vector>,
}

/// A clip that can be a case, or why it cannot.
type Judged = Result<Candidate, &'static str>;

/// Every clip of the run that has a prompt, in the order of the listing.
pub(super) fn of_run(
    run: &Run,
    on: &mut dyn FnMut(Judged) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let stages = Stages::of(run)?;
    for shard in 0..run.shards().count() {
        let path = |stage: &StageEntry| run.shard_part(stage, shard);
        if !stages.all().iter().all(|stage| path(stage).exists()) {
            continue;
        }
        let mut tables = Tables::read(&stages, &path)?;
        for caption in std::mem::take(&mut tables.captions) {
            on(tables.judge(&caption))?;
        }
    }
    Ok(())
}

/// The stages whose records make a case.
struct Stages<'a> {
    track: &'a StageEntry,
    face: &'a StageEntry,
    transcript: &'a StageEntry,
    voice: &'a StageEntry,
    binding: &'a StageEntry,
    caption: &'a StageEntry,
}

impl<'a> Stages<'a> {
    fn of(run: &'a Run) -> Result<Stages<'a>, BuildError> {
        let stage = |record: &'static str| {
            let found = run.file().stages.iter().find(|stage| stage.record == record);
            found.ok_or_else(|| BuildError::Lacks {
                run: run.out().to_owned(),
                lacks: record,
            })
        };
        Ok(Stages {
            track: stage(Track::NAME)?,
            face: stage(FaceRef::NAME)?,
            transcript: stage(Transcript::NAME)?,
            voice: stage(VoiceRef::NAME)?,
            binding: stage(Binding::NAME)?,
            caption: stage(OmniCaption::NAME)?,
        })
    }

    fn all(&self) -> [&'a StageEntry; 6] {
        [
            self.track,
            self.face,
            self.transcript,
            self.voice,
            self.binding,
            self.caption,
        ]
    }
}

/// The rows of one shard by clip.
struct Tables {
    captions: Vec<OmniCaption>,
    tracks: BTreeMap<String, Vec<Track>>,
    faces: BTreeMap<String, Vec<FaceRef>>,
    transcripts: BTreeMap<String, Vec<Transcript>>,
    voices: BTreeMap<String, Vec<VoiceRef>>,
    bindings: BTreeMap<String, Vec<Binding>>,
    face_tar: PathBuf,
    voice_tar: PathBuf,
}

impl Tables {
    fn read(stages: &Stages<'_>, path: &dyn Fn(&StageEntry) -> PathBuf) -> Result<Tables, BuildError> {
        Ok(Tables {
            captions: read_part(&path(stages.caption))?.0,
            tracks: by_clip(&path(stages.track))?,
            faces: by_clip(&path(stages.face))?,
            transcripts: by_clip(&path(stages.transcript))?,
            voices: by_clip(&path(stages.voice))?,
            bindings: by_clip(&path(stages.binding))?,
            face_tar: path(stages.face).with_extension("tar"),
            voice_tar: path(stages.voice).with_extension("tar"),
        })
    }

    fn judge(&self, caption: &OmniCaption) -> Judged {
        let clip = &caption.clip;
        let binding = first(&self.bindings, clip).ok_or("no_binding")?;
        let transcript = first(&self.transcripts, clip).ok_or("no_transcript")?;
        let mut out = Candidate {
            clip: clip.clone(),
            case: Case {
                prompt: caption.prompt.clone(),
                audio_caption: transcript.audio_caption.clone(),
                utterances: caption.utterances.iter().map(utterance).collect(),
                ..Case::default()
            },
            subset: Subset::Complex,
            languages: Vec::new(),
            traits: Vec::new(),
            faces: BTreeMap::new(),
            voices: BTreeMap::new(),
            face_vectors: Vec::new(),
            voice_vectors: Vec::new(),
        };
        self.people(binding, &mut out)?;
        place(&mut out)?;
        sound(&out)?;
        Ok(out)
    }

    /// The people by number, then the voices whose face is not in the picture, as the prompt numbers them.
    fn people(&self, binding: &Binding, out: &mut Candidate) -> Result<(), &'static str> {
        let last = binding.subjects.iter().map(|one| one.subject).max().unwrap_or(0);
        for bound in &binding.subjects {
            let anchor = format!("<sub{}>", bound.subject);
            self.face(bound.subject, &anchor, out)?;
            let speaks = out.says(&anchor);
            match (&bound.speaker, speaks) {
                (Some(speaker), true) => self.voice(speaker, &anchor, out)?,
                (Some(_), false) => return Err("speaker_without_words"),
                (None, true) => return Err("words_without_speaker"),
                (None, false) => {}
            }
            out.case.subjects.push(CaseSubject {
                anchor,
                visible: true,
                speaks,
                ..CaseSubject::default()
            });
        }
        for (speaker, number) in binding.offscreen.iter().zip(last + 1..) {
            let anchor = format!("<sub{number}>");
            if !out.says(&anchor) {
                return Err("speaker_without_words");
            }
            self.voice(speaker, &anchor, out)?;
            out.case.subjects.push(CaseSubject {
                anchor,
                visible: false,
                speaks: true,
                ..CaseSubject::default()
            });
        }
        Ok(())
    }

    fn face(&self, subject: i64, anchor: &str, out: &mut Candidate) -> Result<(), &'static str> {
        let mut own = self.faces.get(&out.clip).into_iter().flatten();
        let face = own.find(|face| face.subject == subject).ok_or("no_picture")?;
        out.faces.insert(
            anchor.to_owned(),
            Packed {
                tar: self.face_tar.clone(),
                blob: face.image.clone(),
            },
        );
        let tracks = self.tracks.get(&out.clip).into_iter().flatten();
        let own = tracks.filter(|track| track.subject == subject);
        let vectors = own.filter_map(|track| vector(&track.embedder, &track.vector));
        out.face_vectors.push(vectors.collect());
        Ok(())
    }

    fn voice(&self, speaker: &str, anchor: &str, out: &mut Candidate) -> Result<(), &'static str> {
        let mut own = self.voices.get(&out.clip).into_iter().flatten();
        let voice = own.find(|voice| voice.speaker == *speaker).ok_or("no_voice")?;
        out.voices.insert(
            anchor.to_owned(),
            Packed {
                tar: self.voice_tar.clone(),
                blob: voice.audio.clone(),
            },
        );
        let nothing = Vector {
            network: voice.embedder.clone(),
            values: Vec::new(),
        };
        out.voice_vectors
            .push(vector(&voice.embedder, &voice.vector).unwrap_or(nothing));
        Ok(())
    }
}

impl Candidate {
    fn says(&self, anchor: &str) -> bool {
        self.case.utterances.iter().any(|said| said.anchor == anchor)
    }
}

fn utterance(said: &omni_schemas::Utterance) -> CaseUtterance {
    CaseUtterance {
        anchor: said.anchor.clone(),
        text: said.text.clone(),
        language: said.language.clone(),
    }
}

/// Languages, traits and subset.
fn place(out: &mut Candidate) -> Result<(), &'static str> {
    let languages: BTreeSet<&String> = out.case.utterances.iter().map(|said| &said.language).collect();
    if languages.is_empty() {
        return Err("nobody_speaks");
    }
    if languages.contains(&"und".to_owned()) {
        return Err("language_not_told");
    }
    out.languages = languages.into_iter().cloned().collect();
    let people = &out.case.subjects;
    let (seen, heard) = (
        people.iter().filter(|one| one.visible).count(),
        people.iter().filter(|one| one.speaks).count(),
    );
    let mut traits = Vec::new();
    traits.extend((people.len() > seen).then_some(Trait::OffScreen));
    traits.extend((people.len() > heard).then_some(Trait::Silent));
    traits.extend((out.languages.len() > 1).then_some(Trait::Multilingual));
    out.subset = match (people.len(), traits.is_empty()) {
        (1, true) => Subset::Single,
        (2, true) => Subset::Dialogue,
        (0 | 1, _) => return Err("one_person_in_no_subset"),
        (_, true) => return Err("more_than_two_without_a_trait"),
        (_, false) => Subset::Complex,
    };
    out.traits = traits;
    Ok(())
}

/// Whether `omni bench cases check` will find nothing wrong but the name and files that are still to come.
fn sound(out: &Candidate) -> Result<(), &'static str> {
    let case = Case {
        case: "case".to_owned(),
        subset: out.subset.number(),
        ..out.case.clone()
    };
    match faults(&case, Path::new("/")).is_empty() {
        true => Ok(()),
        false => Err("prompt_and_words_differ"),
    }
}

pub(super) fn vector(network: &str, values: &[f64]) -> Option<Vector> {
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    (length.is_finite() && length > 1e-9).then(|| Vector {
        network: network.to_owned(),
        values: values.iter().map(|value| (value / length) as f32).collect(),
    })
}

fn by_clip<R: Record>(part: &Path) -> Result<BTreeMap<String, Vec<R>>, BuildError> {
    let mut out: BTreeMap<String, Vec<R>> = BTreeMap::new();
    for row in read_part::<R>(part)?.0 {
        out.entry(row.key().to_owned()).or_default().push(row);
    }
    Ok(out)
}

fn first<'a, R>(rows: &'a BTreeMap<String, Vec<R>>, clip: &str) -> Option<&'a R> {
    rows.get(clip)?.first()
}
