//! Sync-C and Sync-D: how surely, and how closely, lips and sound belong together (SyncNet v2).
//!
//! Reference: joonson/syncnet_python and LatentSync: 25 pictures a second, faces followed inside each shot, cut out with a
//! margin, five pictures against 0.2 s of sound, every shift of up to 15 pictures. The formula of a clip is in
//! docs/metrics.md. The first pass over the clip finds the tracks, a second one cuts the faces out and feeds them to the
//! network in pieces, so that no track is ever held.

mod passes;

use std::{ops::Range, sync::Arc};

use omni_media::{Frame, Image};
use omni_perception::{
    Error, Network,
    syncnet::{
        FPS, PICTURES, SHIFT, SyncNet,
        mfcc::{COEFFICIENTS, mfcc},
        offset::{self, Offsets},
    },
    vision::{FaceDetector, FaceEmbedder, assign::ShotOptions},
};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use self::passes::{Shots, Track};
use super::face::Faces;
use crate::{
    grid::Grid,
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// The paper's networks.
const PAPER: &str = "syncnet_v2+buffalo_l_det_10g";
/// Samples of sound a picture.
const SAMPLES: usize = 640;
/// Change of content (PySceneDetect's) above which a shot begins.
const CONTENT: f32 = 27.0;
/// Pictures a shot has at least.
const SHOT: usize = 15;
/// Longest gap in a track, fewest detections, least size.
const TRACKS: ShotOptions = ShotOptions {
    num_failed_det: 25,
    min_track: 50,
    min_face_size: 100.0,
};
/// Every so many pictures a face's vector is taken.
const VECTORS: usize = 5;
/// Cosine from which a track is a subject.
const SAME: f64 = 0.25;
/// Faces that are held before the network sees them.
const HELD: usize = 20 + PICTURES - 1;

/// The two towers, so that a test can do without weights.
pub trait Lips: Send + Sync {
    /// The network.
    fn network(&self) -> &Network;
    /// One vector per window of consecutive faces.
    ///
    /// # Errors
    /// As [`SyncNet::lips`].
    fn lips(&self, faces: &[Image], count: usize) -> Result<Vec<f32>, Error>;
    /// One vector per window of sound.
    ///
    /// # Errors
    /// As [`SyncNet::sound`].
    fn sound(&self, cepstra: &[[f64; COEFFICIENTS]], count: usize) -> Result<Vec<f32>, Error>;
}

impl Lips for SyncNet {
    fn network(&self) -> &Network {
        self.network()
    }

    fn lips(&self, faces: &[Image], count: usize) -> Result<Vec<f32>, Error> {
        self.lips(faces, count)
    }

    fn sound(&self, cepstra: &[[f64; COEFFICIENTS]], count: usize) -> Result<Vec<f32>, Error> {
        self.sound(cepstra, count)
    }
}

/// Which tracks stand for a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those of the people who are to be seen speaking: `sync_c`, `sync_d`.
    #[default]
    Speaking,
    /// All of them alike, as LatentSync counts: `sync_c_all`.
    AllTracks,
}

impl Mode {
    /// Both.
    pub const ALL: [Mode; 2] = [Mode::Speaking, Mode::AllTracks];

    /// Its name on the command line and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Speaking => "speaking",
            Mode::AllTracks => "all-tracks",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Lips and sound.
pub struct LipSync {
    lips: Arc<dyn Lips>,
    faces: Faces,
    networks: String,
    mode: Mode,
}

impl LipSync {
    /// With SyncNet, a detector, and an embedder that tells whose track is whose.
    pub fn new(
        lips: Arc<dyn Lips>,
        detector: Arc<dyn FaceDetector>,
        embedder: Arc<dyn FaceEmbedder>,
    ) -> LipSync {
        let networks = format!("{}+{}", lips.network().id, detector.network().id);
        LipSync {
            lips,
            faces: Faces::new(detector, embedder),
            networks,
            mode: Mode::default(),
        }
    }

    /// With other tracks than those of the speakers.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> LipSync {
        self.mode = mode;
        self
    }
}

impl Metric for LipSync {
    fn name(&self) -> &'static str {
        "sync"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let other = (self.networks != PAPER).then_some(self.networks.as_str());
        match self.mode {
            Mode::Speaking => vec![
                Reading::plain("sync_c", other, Better::Higher),
                Reading::plain("sync_d", other, Better::Lower),
            ],
            Mode::AllTracks => vec![Reading::plain("sync_c_all", other, Better::Higher)],
        }
    }

    fn settings(&self) -> Value {
        json!({
            "network": self.lips.network().tag(),
            "faces": self.faces.settings(),
            "content": CONTENT,
            "min_track": TRACKS.min_track,
            "min_face": TRACKS.min_face_size,
            "same": SAME,
            "mode": self.mode.name(),
        })
    }

    fn sees(&self) -> bool {
        true
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref().ok_or_else(|| Fault::drop("no_video"))?;
        if take.audio.is_none() {
            return Err(Fault::drop("no_audio"));
        }
        let speakers = take
            .case
            .subjects
            .iter()
            .filter(|subject| subject.visible && subject.speaks);
        let mut subjects = Vec::new();
        for subject in speakers {
            // A subject without a usable picture binds no track; the clip is scored all the same.
            if let Some(path) = &subject.face
                && let Ok(vector) = self.faces.reference(path.as_ref())
            {
                subjects.push(vector);
            }
        }
        Ok(Box::new(Syncing {
            metric: self,
            grid: Grid::new(video, FPS),
            subjects,
            sound: Vec::new(),
            shots: Shots::new(),
            tracks: None,
        }))
    }
}

struct Syncing<'a> {
    metric: &'a LipSync,
    grid: Grid,
    /// The vectors of those who are to be seen speaking.
    subjects: Vec<Vec<f32>>,
    /// 16 kHz, integers.
    sound: Vec<i16>,
    /// What the first pass has found.
    shots: Shots,
    /// The second pass; `None` in the first.
    tracks: Option<Vec<Track>>,
}

impl Scoring for Syncing<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        self.sound = sound.speech().iter().map(|x| (x * 32768.0) as i16).collect();
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let Syncing {
            metric,
            grid,
            shots,
            tracks,
            ..
        } = self;
        grid.push(frame, &mut |slots, image| {
            metric.look(shots, tracks.as_deref_mut(), slots, image)
        })
    }

    fn again(&mut self) -> Result<bool, Fault> {
        if self.tracks.is_some() {
            return Ok(false);
        }
        let Syncing {
            metric, grid, shots, ..
        } = self;
        grid.end(&mut |slots, image| metric.look(shots, None, slots, image))?;
        let tracks = shots.tracks(&self.subjects, self.sound.len());
        let any = !tracks.is_empty();
        self.tracks = Some(tracks);
        Ok(any)
    }

    fn finish(mut self: Box<Self>) -> Result<Measured, Fault> {
        let Syncing {
            metric,
            grid,
            shots,
            tracks,
            ..
        } = self.as_mut();
        grid.end(&mut |slots, image| metric.look(shots, tracks.as_deref_mut(), slots, image))?;
        let mut found = Vec::new();
        for track in self.tracks.take().unwrap_or_default() {
            if let Some(offsets) = self.metric.compare(&track, &self.sound)? {
                found.push((track, offsets));
            }
        }
        Ok(match self.metric.mode {
            Mode::Speaking => outcome(&found, self.subjects.len()),
            Mode::AllTracks => all_tracks(&found),
        })
    }
}

impl LipSync {
    /// One output picture: in the first pass its faces are found, in the second those of the tracks are cut out.
    fn look(
        &self,
        shots: &mut Shots,
        tracks: Option<&mut [Track]>,
        slots: Range<usize>,
        image: &Image,
    ) -> Result<(), Fault> {
        match tracks {
            None => shots.look(&self.faces, slots, image),
            Some(tracks) => {
                for track in tracks {
                    for slot in slots.clone() {
                        track.look(self.lips.as_ref(), slot, image)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Compares a track with the sound under it; `None` when there is too little of either.
    fn compare(&self, track: &Track, sound: &[i16]) -> Result<Option<Offsets>, Fault> {
        let count = track.count;
        if count == 0 || track.vectors.is_empty() {
            return Ok(None);
        }
        let under = track.under(sound);
        let heard = self.lips.sound(&mfcc(under), count).map_err(Fault::stop)?;
        Ok(offset::compare(
            &track.vectors,
            &heard,
            track.vectors.len() / count,
            SHIFT,
        ))
    }
}

/// The readings of a clip from its tracks. Of those who are to be seen speaking, each subject has the mean of its tracks by
/// their length; without any such track, the one with the highest Sync-C stands for the clip.
fn outcome(found: &[(Track, Offsets)], subjects: usize) -> Measured {
    let of_subject = |subject: usize| -> Vec<usize> {
        (0..found.len())
            .filter(|&i| found[i].0.subject == Some(subject))
            .collect()
    };
    let mut groups: Vec<Vec<usize>> = (0..subjects)
        .map(of_subject)
        .filter(|group| !group.is_empty())
        .collect();
    if groups.is_empty() {
        let sure = |&a: &usize, &b: &usize| found[a].1.confidence.total_cmp(&found[b].1.confidence);
        groups.extend((0..found.len()).max_by(sure).map(|best| vec![best]));
    }
    let mean = |of: &dyn Fn(&Offsets) -> f32| {
        let subject = |group: &Vec<usize>| {
            let length = |i: &usize| found[*i].0.places.len() as f64;
            let sum: f64 = group
                .iter()
                .map(|i| length(i) * f64::from(of(&found[*i].1)))
                .sum();
            sum / group.iter().map(length).sum::<f64>()
        };
        (!groups.is_empty()).then(|| groups.iter().map(subject).sum::<f64>() / groups.len() as f64)
    };
    let outcomes = vec![
        Outcome::of(mean(&|offsets| offsets.confidence), "no_track"),
        Outcome::of(mean(&|offsets| offsets.distance), "no_track"),
    ];
    Measured::with(
        outcomes,
        detail(found, groups.first().and_then(|group| group.first()).copied()),
    )
}

/// The mean confidence of all tracks, each alike; LatentSync reports nothing else.
fn all_tracks(found: &[(Track, Offsets)]) -> Measured {
    let sum: f64 = found
        .iter()
        .map(|(_, offsets)| f64::from(offsets.confidence))
        .sum();
    let mean = (!found.is_empty()).then(|| sum / found.len() as f64);
    let shown = (!found.is_empty()).then_some(0);
    Measured::with(vec![Outcome::of(mean, "no_track")], detail(found, shown))
}

fn detail(found: &[(Track, Offsets)], shown: Option<usize>) -> Value {
    let track = |(track, offsets): &(Track, Offsets)| {
        json!({
            "subject": track.subject,
            "start": track.first,
            "end": (track.first + track.places.len()).saturating_sub(1),
            "offset": offsets.offset,
            "confidence": f64::from(offsets.confidence),
            "distance": f64::from(offsets.distance),
        })
    };
    let curve = shown.map(|shown| &found[shown].1.mean);
    json!({ "tracks": found.iter().map(track).collect::<Vec<_>>(), "curve": curve })
}

#[cfg(test)]
mod tests;
