//! The two passes over a clip: faces followed shot by shot, then each track's faces through the network.

use std::ops::Range;

use omni_media::Image;
use omni_perception::{
    syncnet::{
        PICTURES,
        crop::{Place, crop, places},
        windows,
    },
    vision::{
        Face,
        assign::{Detection, ShotTrack, track_shot},
        cosine,
        hungarian::assign_max,
        iou,
        shots::{ShotDetector, ShotSettings},
    },
};
use omni_pipeline::Fault;

use super::{CONTENT, HELD, Lips, SAME, SAMPLES, SHOT, TRACKS, VECTORS};
use crate::metrics::face::Faces;

/// The first pass: faces, shot by shot.
pub(super) struct Shots {
    detector: ShotDetector,
    /// The first picture of the present shot.
    began: usize,
    /// Faces of each picture of the present shot.
    faces: Vec<Vec<Detection>>,
    /// Vectors of some faces of the present shot.
    vectors: Vec<(Detection, Vec<f32>)>,
    /// Tracks of the shots that are over, each with its vector, by shot.
    done: Vec<Vec<(ShotTrack, Option<Vec<f32>>)>>,
}

impl Shots {
    pub(super) fn new() -> Shots {
        Shots {
            detector: ShotDetector::new(ShotSettings::default()),
            began: 0,
            faces: Vec::new(),
            vectors: Vec::new(),
            done: Vec::new(),
        }
    }

    pub(super) fn look(&mut self, faces: &Faces, slots: Range<usize>, image: &Image) -> Result<(), Fault> {
        let change = self.detector.measure(image);
        if change.is_some_and(|change| change.content > CONTENT) && slots.start >= self.began + SHOT {
            self.end_shot(slots.start);
        }
        let found = faces.detector().detect(image).map_err(Fault::stop)?;
        let vectors = slots.clone().any(|slot| slot.is_multiple_of(VECTORS));
        for face in &found {
            let detection = Detection {
                frame: slots.start as i64,
                bbox: face.bbox.map(f64::from),
            };
            if vectors && let Ok(vector) = faces.embedder().embed(image, &face.points) {
                self.vectors.push((detection, vector));
            }
        }
        for slot in slots {
            let at = |face: &Face| Detection {
                frame: slot as i64,
                bbox: face.bbox.map(f64::from),
            };
            self.faces.push(found.iter().map(at).collect());
        }
        Ok(())
    }

    fn end_shot(&mut self, next: usize) {
        let tracks = track_shot(std::mem::take(&mut self.faces), &TRACKS);
        let vectors = std::mem::take(&mut self.vectors);
        let with = |track: ShotTrack| {
            let vector = mean_vector(&track, &vectors);
            (track, vector)
        };
        self.done.push(tracks.into_iter().map(with).collect());
        self.began = next;
    }

    /// All tracks, each with the subject that it is. In each shot the subjects are assigned one to one.
    pub(super) fn tracks(&mut self, subjects: &[Vec<f32>], samples: usize) -> Vec<Track> {
        self.end_shot(self.began);
        let mut out = Vec::new();
        for shot in std::mem::take(&mut self.done) {
            let alike = |subject: usize, track: usize| {
                shot[track]
                    .1
                    .as_ref()
                    .map_or(-1.0, |vector| f64::from(cosine(&subjects[subject], vector)))
            };
            let pairs = assign_max(subjects.len(), shot.len(), alike);
            let owner = |track: usize| {
                let pair = pairs.iter().find(|(_, found)| *found == track)?;
                (alike(pair.0, track) >= SAME).then_some(pair.0)
            };
            let owners: Vec<Option<usize>> = (0..shot.len()).map(owner).collect();
            for ((track, _), owner) in shot.into_iter().zip(owners) {
                out.push(Track::new(&track, owner, samples));
            }
        }
        out
    }
}

/// The mean of the unit vectors of a track's faces.
fn mean_vector(track: &ShotTrack, vectors: &[(Detection, Vec<f32>)]) -> Option<Vec<f32>> {
    let mut sum: Option<Vec<f32>> = None;
    for (face, vector) in vectors {
        let Ok(at) = usize::try_from(face.frame - track.first_frame) else {
            continue;
        };
        let inside = track
            .bbox
            .get(at)
            .is_some_and(|bbox| iou(&small(bbox), &small(&face.bbox)) > 0.5);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if inside && length > 0.0 {
            let sum = sum.get_or_insert_with(|| vec![0.0; vector.len()]);
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x / length);
        }
    }
    sum
}

fn small(bbox: &[f64; 4]) -> [f32; 4] {
    bbox.map(|x| x as f32)
}

/// The second pass: one track on its way through the network.
pub(super) struct Track {
    pub(super) first: usize,
    pub(super) places: Vec<Place>,
    /// Number of the subject it is.
    pub(super) subject: Option<usize>,
    /// Windows it has.
    pub(super) count: usize,
    /// Faces that the network has not seen as the first of a window.
    pub(super) faces: Vec<Image>,
    /// Windows that are done.
    done: usize,
    /// Their vectors, one after the other.
    pub(super) vectors: Vec<f32>,
}

impl Track {
    pub(super) fn new(track: &ShotTrack, subject: Option<usize>, samples: usize) -> Track {
        let first = usize::try_from(track.first_frame).unwrap_or(0);
        let under = samples
            .saturating_sub(first * SAMPLES)
            .min(track.bbox.len() * SAMPLES);
        Track {
            first,
            places: places(&track.bbox),
            subject,
            count: windows(track.bbox.len(), under),
            faces: Vec::new(),
            done: 0,
            vectors: Vec::new(),
        }
    }

    /// The sound of the track's own span.
    pub(super) fn under<'a>(&self, sound: &'a [i16]) -> &'a [i16] {
        let at = |picture: usize| (picture * SAMPLES).min(sound.len());
        &sound[at(self.first)..at(self.first + self.places.len())]
    }

    pub(super) fn look(&mut self, lips: &dyn Lips, slot: usize, image: &Image) -> Result<(), Fault> {
        let place = slot.checked_sub(self.first).and_then(|at| self.places.get(at));
        let (Some(place), true) = (place, self.done < self.count) else {
            return Ok(());
        };
        self.faces.push(crop(image, place));
        let ready = (self.faces.len() + 1)
            .saturating_sub(PICTURES)
            .min(self.count - self.done);
        let last = self.done + ready == self.count;
        if ready > 0 && (self.faces.len() >= HELD || last) {
            self.vectors
                .extend(lips.lips(&self.faces, ready).map_err(Fault::stop)?);
            self.faces.drain(..ready);
            self.done += ready;
        }
        Ok(())
    }
}
