//! Everything known of one clip, as the rules see it.

use omni_schemas::{
    Binding, Clip, CrossCheck, FaceRef, OmniCaption, Reference, Score, Selection, Track, Transcript, VoiceRef,
};
use std::collections::{BTreeMap, BTreeSet};

/// The scores every clip has beside those of its corpus. A corpus' score of the same name is hidden by them.
pub const SCORES: &[(&str, &str)] = &[
    (
        "agreement",
        "share of the speakers on whom binding and evidence agree, 0..1",
    ),
    (
        "agreement_margin",
        "smallest evidence for a claimed voice less that for its best rival, grey levels",
    ),
    ("audio_seconds", "length of the sound, seconds"),
    (
        "binding_margin",
        "smallest margin of a voice bound by the local binder that had a rival, grey levels",
    ),
    (
        "face_confidence",
        "smallest detection confidence of a reference picture, 0..1",
    ),
    ("face_side", "smallest shorter side of a reference face, pixels"),
    ("fps", "pictures a second"),
    ("height", "pixels as shown"),
    ("loudness", "LUFS"),
    ("peak", "largest absolute sample"),
    ("seconds", "length of the pictures, seconds"),
    ("voice_seconds", "shortest reference voice, seconds"),
    ("width", "pixels as shown"),
];

/// A face of the clip: one per track.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceVector {
    /// The person, from 1.
    pub subject: i64,
    /// The track's mean vector; empty when none could be made.
    pub vector: Vec<f64>,
}

/// The records of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The clip.
    pub clip: Clip,
    /// Its faces.
    pub faces: Vec<FaceVector>,
    /// Its reference pictures.
    pub face_refs: Vec<FaceRef>,
    /// What is said.
    pub transcript: Option<Transcript>,
    /// Its reference voices.
    pub voice_refs: Vec<VoiceRef>,
    /// Which face is which voice.
    pub binding: Option<Binding>,
    /// What the evidence says of that.
    pub cross_check: Option<CrossCheck>,
    /// The prompt.
    pub prompt: Option<String>,
    /// The readings of metrics that were run on the clip, by full name; `None` where one could not be made.
    pub readings: BTreeMap<String, Option<f64>>,
}

impl Candidate {
    /// A clip of which nothing but its file is known yet.
    pub fn new(clip: Clip) -> Candidate {
        Candidate {
            clip,
            faces: Vec::new(),
            face_refs: Vec::new(),
            transcript: None,
            voice_refs: Vec::new(),
            binding: None,
            cross_check: None,
            prompt: None,
            readings: BTreeMap::new(),
        }
    }

    /// Adds the clip's tracks; only person and vector are kept.
    pub fn with_tracks(mut self, tracks: &[Track]) -> Candidate {
        let face = |track: &Track| FaceVector {
            subject: track.subject,
            vector: track.vector.clone(),
        };
        self.faces.extend(tracks.iter().map(face));
        self
    }

    /// Adds the clip's reference pictures.
    pub fn with_face_refs(mut self, face_refs: Vec<FaceRef>) -> Candidate {
        self.face_refs = face_refs;
        self
    }

    /// Adds what is said.
    pub fn with_transcript(mut self, transcript: Option<Transcript>) -> Candidate {
        self.transcript = transcript;
        self
    }

    /// Adds the clip's reference voices.
    pub fn with_voice_refs(mut self, voice_refs: Vec<VoiceRef>) -> Candidate {
        self.voice_refs = voice_refs;
        self
    }

    /// Adds which face is which voice.
    pub fn with_binding(mut self, binding: Option<Binding>) -> Candidate {
        self.binding = binding;
        self
    }

    /// Adds what the evidence says of the binding.
    pub fn with_cross_check(mut self, cross_check: Option<CrossCheck>) -> Candidate {
        self.cross_check = cross_check;
        self
    }

    /// Adds the prompt.
    pub fn with_caption(mut self, caption: Option<OmniCaption>) -> Candidate {
        self.prompt = caption.map(|caption| caption.prompt);
        self
    }

    /// Adds the readings of metrics (`omni curate --score`).
    pub fn with_scores(mut self, scores: Vec<Score>) -> Candidate {
        let scores = scores.into_iter().map(|score| (score.reading, score.value));
        self.readings.extend(scores);
        self
    }

    /// The people in the picture.
    pub fn subjects(&self) -> BTreeSet<i64> {
        self.faces.iter().map(|face| face.subject).collect()
    }

    /// The voices of the transcript.
    pub fn speakers(&self) -> BTreeSet<&str> {
        let segments = self.transcript.iter().flat_map(|transcript| &transcript.segments);
        segments.map(|segment| segment.speaker.as_str()).collect()
    }

    /// The languages spoken, sorted.
    pub fn languages(&self) -> Vec<String> {
        let segments = self.transcript.iter().flat_map(|transcript| &transcript.segments);
        let languages: BTreeSet<&String> = segments.map(|segment| &segment.language).collect();
        languages.into_iter().cloned().collect()
    }

    /// The face of a voice, when it is bound to one.
    pub fn face_of(&self, speaker: &str) -> Option<i64> {
        let mut bound = self.binding.iter().flat_map(|binding| &binding.subjects);
        bound
            .find(|subject| subject.speaker.as_deref() == Some(speaker))
            .map(|subject| subject.subject)
    }

    /// A score by name: one of [`SCORES`], a reading, or the corpus' own.
    pub fn score(&self, name: &str) -> Option<f64> {
        let value = match name {
            "agreement" => self.cross_check.as_ref().and_then(|check| check.agreement),
            "agreement_margin" => self.cross_check.as_ref().and_then(|check| check.margin),
            "audio_seconds" => Some(self.clip.audio_seconds),
            "binding_margin" => self.binding_margin(),
            "face_confidence" => least(self.face_refs.iter().map(|face| face.score)),
            "face_side" => least(self.face_refs.iter().map(shorter_side)),
            "fps" => self.seen(self.clip.fps),
            "height" => self.seen(self.clip.height as f64),
            "loudness" => self.clip.loudness,
            "peak" => Some(self.clip.peak),
            "seconds" => Some(self.clip.seconds),
            "voice_seconds" => least(self.voice_refs.iter().map(|voice| voice.end - voice.start)),
            "width" => self.seen(self.clip.width as f64),
            other => match self.readings.get(other) {
                Some(reading) => *reading,
                None => self.given(other),
            },
        };
        value.filter(|value| !value.is_nan())
    }

    /// Sound alone has no size and no rate.
    fn seen(&self, value: f64) -> Option<f64> {
        (self.clip.frames > 0).then_some(value)
    }

    /// The names that say something of the clip: those [`Candidate::score`] has a value for, and every reading that was
    /// looked for.
    pub(super) fn score_names(&self) -> impl Iterator<Item = &str> {
        let built_in = SCORES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| self.score(name).is_some());
        let given = self.clip.scores.iter().map(|score| score.name.as_str());
        built_in
            .chain(self.readings.keys().map(String::as_str))
            .chain(given)
    }

    /// Whether every reference picture is of that origin; without pictures only `in_pair` holds.
    pub(super) fn all_from(&self, origin: &str) -> bool {
        match self.face_refs.is_empty() {
            true => origin == "in_pair",
            false => self.face_refs.iter().all(|face| face.origin == origin),
        }
    }

    /// Whether there is a voice and every voice has a face.
    pub(super) fn voices_have_faces(&self) -> bool {
        let speakers = self.speakers();
        !speakers.is_empty() && speakers.iter().all(|speaker| self.face_of(speaker).is_some())
    }

    /// Whether every person has a picture and every bound voice a voice.
    pub(super) fn has_references(&self) -> bool {
        let pictures: BTreeSet<i64> = self.face_refs.iter().map(|face| face.subject).collect();
        let voices: BTreeSet<&str> = self
            .voice_refs
            .iter()
            .map(|voice| voice.speaker.as_str())
            .collect();
        let speakers = self.speakers();
        let mut bound = speakers.iter().filter(|speaker| self.face_of(speaker).is_some());
        self.subjects().is_subset(&pictures) && bound.all(|speaker| voices.contains(speaker))
    }

    pub(super) fn selection(&self) -> Selection {
        let crossed = self.face_refs.iter().any(|face| face.origin == "cross_pair");
        Selection {
            clip: self.clip.clip.clone(),
            path: self.clip.path.clone(),
            subjects: self.subjects().len() as i64,
            speakers: self.speakers().len() as i64,
            languages: self.languages(),
            origin: if crossed { "cross_pair" } else { "in_pair" }.into(),
            prompt: self.prompt.clone().unwrap_or_default(),
            licence: self.clip.licence.clone(),
            references: self
                .subjects()
                .into_iter()
                .map(|subject| self.own(subject))
                .collect(),
        }
    }

    /// A person whose references are those of the clip itself.
    fn own(&self, subject: i64) -> Reference {
        let clip = &self.clip.clip;
        let speaker = self.speaker_of(subject);
        Reference {
            subject,
            face_clip: clip.clone(),
            face_subject: subject,
            voice_clip: speaker.as_ref().map(|_| clip.clone()),
            voice_speaker: speaker.clone(),
            speaker,
        }
    }

    /// The voice of a person, when one is bound to them.
    pub fn speaker_of(&self, subject: i64) -> Option<String> {
        let mut bound = self.binding.iter().flat_map(|binding| &binding.subjects);
        let found = bound.find(|bound| bound.subject == subject)?;
        found.speaker.clone()
    }

    /// A voice whose face had no rival has no margin; when no voice had a rival, nothing limits the clip.
    fn binding_margin(&self) -> Option<f64> {
        // A service's claim has none; `agreement_margin` is what is measured of it.
        let local = self.binding.as_ref().filter(|binding| binding.claim.is_none());
        let subjects = &local?.subjects;
        let mut bound = subjects
            .iter()
            .filter(|subject| subject.speaker.is_some())
            .peekable();
        bound.peek()?;
        Some(least(bound.filter_map(|subject| subject.margin)).unwrap_or(f64::INFINITY))
    }

    fn given(&self, name: &str) -> Option<f64> {
        self.clip
            .scores
            .iter()
            .find(|score| score.name == name)
            .map(|score| score.value)
    }
}

fn shorter_side(face: &FaceRef) -> f64 {
    let [x0, y0, x1, y1] = face.bbox;
    (x1 - x0).min(y1 - y0)
}

fn least(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.min_by(f64::total_cmp)
}
