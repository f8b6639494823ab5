//! Face-Sim and Face-Cons: do the people look like their references, and like themselves from frame to frame?
//!
//! Formulas in docs/metrics.md. Reference for detection, alignment and vectors: insightface; the sampling of frames is
//! NumPy's `linspace`, the assignment SciPy's.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use omni_media::{Frame, Image, linspace_frames, read_window};
use omni_perception::vision::{Face, FaceDetector, FaceEmbedder, cosine, hungarian::assign_max};
use omni_pipeline::Fault;
use serde_json::{Value, json};

use super::finite;
use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::TakeInfo,
};

/// Frames that are looked at.
const FRAMES: usize = 32;
/// Grey of the border around a picture in which no face was found.
const BORDER: u8 = 128;
/// Largest reference picture, bytes.
const MOST: u64 = 256 << 20;
/// The paper's networks.
const PAPER: &str = "buffalo_l_det_10g+buffalo_l_w600k_r50";

/// Likeness of faces.
pub struct Faces {
    detector: Arc<dyn FaceDetector>,
    embedder: Arc<dyn FaceEmbedder>,
    networks: String,
}

impl Faces {
    /// With a detector and an embedder.
    pub fn new(detector: Arc<dyn FaceDetector>, embedder: Arc<dyn FaceEmbedder>) -> Faces {
        let networks = format!("{}+{}", detector.network().id, embedder.network().id);
        Faces {
            detector,
            embedder,
            networks,
        }
    }

    /// Ids of detector and embedder.
    pub(super) fn networks(&self) -> &str {
        &self.networks
    }

    /// The detector.
    pub(super) fn detector(&self) -> &dyn FaceDetector {
        self.detector.as_ref()
    }

    /// The embedder.
    pub(super) fn embedder(&self) -> &dyn FaceEmbedder {
        self.embedder.as_ref()
    }

    /// The vector of the largest face of a reference picture; looked for again with a border when there is none.
    pub(super) fn reference(&self, path: &Path) -> Result<Vec<f32>, Fault> {
        let bytes = read_window(path, MOST).map_err(|_| Fault::drop("no_reference_picture"))?;
        let image = omni_media::decode_picture(&bytes).map_err(|_| Fault::drop("no_reference_picture"))?;
        let mut found = (self.detector.detect(&image).map_err(Fault::stop)?, image);
        if found.0.is_empty() {
            let wider = bordered(&found.1);
            found = (self.detector.detect(&wider).map_err(Fault::stop)?, wider);
        }
        let largest = found.0.iter().max_by(|a, b| a.area().total_cmp(&b.area()));
        let largest = largest.ok_or_else(|| Fault::drop("no_reference_face"))?;
        let vector = self.embedder.embed(&found.1, &largest.points);
        finite(vector.map_err(Fault::stop)?)
    }
}

impl Metric for Faces {
    fn name(&self) -> &'static str {
        "face"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let other = (self.networks != PAPER).then_some(self.networks.as_str());
        let names = ["face_sim", "face_cons", "face_cons_first", "face_coverage"];
        names
            .map(|name| Reading::plain(name, other, Better::Higher))
            .to_vec()
    }

    fn settings(&self) -> Value {
        json!({
            "detector": self.detector.network().tag(),
            "embedder": self.embedder.network().tag(),
            "frames": FRAMES,
        })
    }

    fn sees(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref().ok_or_else(|| Fault::drop("no_video"))?;
        let subjects = take.case.subjects.iter().filter(|subject| subject.visible);
        let pictures: Vec<(&String, &String)> = subjects
            .filter_map(|subject| Some((&subject.anchor, subject.face.as_ref()?)))
            .collect();
        if pictures.is_empty() {
            return Err(Fault::drop("no_reference"));
        }
        let references: Result<Vec<Vec<f32>>, Fault> = pictures
            .iter()
            .map(|(_, path)| self.reference(Path::new(path)))
            .collect();
        let total = usize::try_from(video.frames).map_err(Fault::stop)?;
        let wanted: BTreeSet<u64> = linspace_frames(total, FRAMES)
            .into_iter()
            .map(|i| i as u64)
            .collect();
        Ok(Box::new(Looking {
            faces: self,
            anchors: pictures.into_iter().map(|(anchor, _)| anchor.as_str()).collect(),
            likeness: Likeness::new(references?),
            wanted,
            seen: Vec::new(),
        }))
    }
}

struct Looking<'a> {
    faces: &'a Faces,
    anchors: Vec<&'a str>,
    likeness: Likeness,
    wanted: BTreeSet<u64>,
    /// What was seen in each frame, for whoever asks why.
    seen: Vec<Value>,
}

impl Scoring for Looking<'_> {
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        if !self.wanted.contains(&frame.index) {
            return Ok(());
        }
        let found: Vec<Face> = self.faces.detector.detect(frame.image).map_err(Fault::stop)?;
        let (mut kept, mut vectors) = (Vec::new(), Vec::new());
        for face in &found {
            match self.faces.embedder.embed(frame.image, &face.points) {
                Ok(vector) => {
                    kept.push(face);
                    vectors.push(finite(vector)?);
                }
                // Points that span nothing: no face to compare.
                Err(omni_perception::Error::Input(_)) => {}
                Err(error) => return Err(Fault::stop(error)),
            }
        }
        let assigned = self.likeness.push(vectors);
        self.seen.push(seen(frame, &kept, &assigned));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let sims = self.likeness.similarities();
        let subjects = self.anchors.iter().zip(sims);
        let subjects: Vec<Value> = subjects
            .map(|(anchor, sim)| json!({ "anchor": anchor, "sim": sim }))
            .collect();
        let detail = json!({ "subjects": subjects, "frames": self.seen });
        Ok(Measured::with(self.likeness.readings(), detail))
    }
}

/// The faces of a frame: box (left, top, width, height; pixels), confidence, and to whom each was assigned.
fn seen(frame: &Frame<'_>, faces: &[&Face], assigned: &[Assigned]) -> Value {
    let face = |(number, face): (usize, &&Face)| {
        let [left, top, right, bottom] = face.bbox;
        let to = assigned.iter().find(|assigned| assigned.face == number);
        let place = [left, top, right - left, bottom - top].map(|x| (f64::from(x) * 10.0).round() / 10.0);
        json!({
            "box": place,
            "score": f64::from(face.score),
            "subject": to.map(|to| to.reference),
            "cosine": to.map(|to| to.cosine),
        })
    };
    let faces: Vec<Value> = faces.iter().enumerate().map(face).collect();
    json!({ "frame": frame.index, "seconds": frame.seconds, "faces": faces })
}

/// A face of a frame and the reference it was assigned to, both by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assigned {
    /// The reference.
    pub reference: usize,
    /// The face.
    pub face: usize,
    /// How alike the two are.
    pub cosine: f64,
}

/// A face that was assigned to a reference: how alike the two are, and its vector.
#[derive(Clone, Debug)]
struct Sighting {
    cosine: f64,
    vector: Vec<f32>,
}

/// A number made of a face of a subject and those before it.
type Step<'a> = &'a dyn Fn(&[Sighting], usize) -> f64;

/// The faces that were assigned to each reference so far.
#[derive(Clone, Debug)]
pub struct Likeness {
    references: Vec<Vec<f32>>,
    assigned: Vec<Vec<Sighting>>,
    frames: usize,
}

impl Likeness {
    /// For the vectors of the references.
    pub fn new(references: Vec<Vec<f32>>) -> Likeness {
        Likeness {
            assigned: vec![Vec::new(); references.len()],
            references,
            frames: 0,
        }
    }

    /// Takes the vectors of one frame's faces; says which went to whom.
    pub fn push(&mut self, faces: Vec<Vec<f32>>) -> Vec<Assigned> {
        self.frames += 1;
        let similar =
            |reference: usize, face: usize| f64::from(cosine(&self.references[reference], &faces[face]));
        let pairs = assign_max(self.references.len(), faces.len(), similar);
        let assigned: Vec<Assigned> = pairs
            .into_iter()
            .map(|(reference, face)| Assigned {
                reference,
                face,
                cosine: similar(reference, face),
            })
            .collect();
        for to in &assigned {
            self.assigned[to.reference].push(Sighting {
                cosine: to.cosine,
                vector: faces[to.face].clone(),
            });
        }
        assigned
    }

    /// For each reference the mean of its faces' likeness, 0 when it was never assigned one.
    pub fn similarities(&self) -> Vec<f64> {
        let similarity =
            |faces: &Vec<Sighting>| mean(faces.iter().map(|face| positive(face.cosine))).unwrap_or(0.0);
        self.assigned.iter().map(similarity).collect()
    }

    /// `face_sim`, `face_cons`, `face_cons_first`, `face_coverage`.
    pub fn readings(&self) -> Vec<Outcome> {
        if self.frames == 0 {
            return vec![Outcome::Absent("no_video"); 4];
        }
        let subjects = self.assigned.len() as f64;
        let sim = self.similarities().into_iter().sum::<f64>() / subjects;
        let steps = |of: Step<'_>| {
            let one = |faces: &Vec<Sighting>| mean((1..faces.len()).map(|k| of(faces, k)));
            mean(self.assigned.iter().filter_map(one))
        };
        let like = |a: &Sighting, b: &Sighting| f64::from(cosine(&a.vector, &b.vector));
        let cons = steps(&|faces, k| like(&faces[k], &faces[k - 1]));
        let first = steps(&|faces, k| {
            (positive(like(&faces[k], &faces[k - 1])) + positive(like(&faces[k], &faces[0]))) / 2.0
        });
        let seen = self.assigned.iter().map(Vec::len).sum::<usize>() as f64;
        let alone = match self.frames {
            1 => "too_few_frames",
            _ => "no_face",
        };
        vec![
            Outcome::of(Some(sim), "no_face"),
            Outcome::of(cons, alone),
            Outcome::of(first, alone),
            Outcome::of(Some(seen / (subjects * self.frames as f64)), "no_face"),
        ]
    }
}

/// At least 0; what is no number stays so, which `f64::max` would make 0.
fn positive(x: f64) -> f64 {
    match x.is_nan() {
        true => x,
        false => x.max(0.0),
    }
}

/// `None` for nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// The picture with a quarter of each side of grey around it (OpenS2V's second try).
fn bordered(image: &Image) -> Image {
    let (left, top) = (image.width / 4, image.height / 4);
    let (width, height) = (image.width + 2 * left, image.height + 2 * top);
    let mut data = vec![BORDER; width * height * 3];
    for (row, line) in image.data.chunks_exact((image.width * 3).max(1)).enumerate() {
        let at = ((top + row) * width + left) * 3;
        data[at..at + line.len()].copy_from_slice(line);
    }
    Image { width, height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(likeness: &Likeness) -> Vec<Option<f64>> {
        let value = |outcome| match outcome {
            Outcome::Value(value) => Some(value),
            Outcome::Absent(_) => None,
        };
        likeness.readings().into_iter().map(value).collect()
    }

    #[test]
    fn one_face_cannot_stand_for_two_references() {
        let mut likeness = Likeness::new(vec![vec![1.0, 0.0], vec![0.8, 0.6]]);
        likeness.push(vec![vec![1.0, 0.0]]);
        likeness.push(vec![vec![1.0, 0.0]]);
        assert_eq!(values(&likeness), [Some(0.5), Some(1.0), Some(1.0), Some(0.5)]);
    }

    #[test]
    fn opposite_faces_count_zero_and_nobody_counts_zero_too() {
        let mut likeness = Likeness::new(vec![vec![1.0, 0.0]]);
        likeness.push(vec![vec![-1.0, 0.0]]);
        likeness.push(Vec::new());
        assert_eq!(values(&likeness), [Some(0.0), None, None, Some(0.5)]);
        let mut empty = Likeness::new(vec![vec![1.0, 0.0]]);
        assert_eq!(values(&empty), [None; 4]);
        empty.push(Vec::new());
        assert_eq!(values(&empty), [Some(0.0), None, None, Some(0.0)]);
    }

    #[test]
    fn one_frame_is_too_few_to_compare_frames_and_what_is_no_number_stays_none() {
        let mut likeness = Likeness::new(vec![vec![1.0, 0.0]]);
        likeness.push(vec![vec![1.0, 0.0]]);
        let few = Outcome::Absent("too_few_frames");
        let got = likeness.readings();
        assert_eq!(got, [Outcome::Value(1.0), few.clone(), few, Outcome::Value(1.0)]);
        assert!(positive(f64::NAN).is_nan());
        assert_eq!((positive(-0.5), positive(0.5)), (0.0, 0.5));
        assert!(matches!(finite(vec![0.0, f32::NAN]), Err(Fault::Drop(reason)) if reason == "nan"));
    }

    #[test]
    fn more_faces_than_references_are_left_over() {
        let mut likeness = Likeness::new(vec![vec![1.0, 0.0]]);
        likeness.push(vec![vec![0.0, 1.0], vec![0.6, 0.8]]);
        let got = values(&likeness);
        assert!((got[0].unwrap() - 0.6).abs() < 1e-6 && got[3] == Some(1.0));
    }

    #[test]
    fn a_border_goes_around_all_of_it() {
        let image = Image {
            width: 4,
            height: 8,
            data: vec![7; 96],
        };
        let out = bordered(&image);
        assert_eq!((out.width, out.height, out.data[0]), (6, 12, 128));
        assert_eq!(out.data.iter().filter(|x| **x == 7).count(), 96);
    }
}
