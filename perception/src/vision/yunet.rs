//! YuNet with the post-processing of OpenCV's FaceDetectorYN (`objdetect/src/face_detect.cpp`, `dnn/nms.inl.hpp`).

use omni_media::Image;

use super::canvas::Pixels;
use super::detect::Graph;
use super::{DetectSettings, Face, FaceDetector};
use crate::runtime::{Calls, Session};
use crate::{Error, Network};

/// BGR as it is.
const PIXELS: Pixels = Pixels {
    mean: 0.0,
    scale: 1.0,
    bgr: true,
};

const STRIDES: [usize; 3] = [8, 16, 32];

/// As many candidates enter suppression at most; OpenCV's default.
const TOP: usize = 5000;

/// Raw outputs at one stride, one anchor per cell: class and object scores `[n]`, boxes `[n, 4]`, points `[n, 10]`.
pub struct Level<'a> {
    /// Pixels per cell.
    pub stride: usize,
    /// Class score.
    pub class: &'a [f32],
    /// Object score.
    pub object: &'a [f32],
    /// Centre offset in strides and logarithm of the size in strides.
    pub boxes: &'a [f32],
    /// Offsets of the five points, in strides.
    pub points: &'a [f32],
}

/// Faces at or above `threshold` on a canvas of `width` x `height`, in network order.
/// Levels whose lengths do not fit the canvas are skipped.
pub fn decode(levels: &[Level<'_>], width: usize, height: usize, threshold: f32) -> Vec<Face> {
    let mut faces = Vec::new();
    for level in levels {
        let (columns, rows) = (width / level.stride, height / level.stride);
        let cells = columns * rows;
        let lengths = (
            level.class.len(),
            level.object.len(),
            level.boxes.len(),
            level.points.len(),
        );
        if lengths != (cells, cells, cells * 4, cells * 10) {
            continue;
        }
        let stride = level.stride as f32;
        for i in 0..cells {
            let score = (level.class[i].clamp(0.0, 1.0) * level.object[i].clamp(0.0, 1.0)).sqrt();
            // Written so that a score that is not a number is left out.
            if score >= threshold {
                let (column, row) = ((i % columns) as f32, (i / columns) as f32);
                let b = &level.boxes[i * 4..i * 4 + 4];
                let (x, y) = ((column + b[0]) * stride, (row + b[1]) * stride);
                let (w, h) = (b[2].exp() * stride, b[3].exp() * stride);
                let (left, top) = (x - w / 2.0, y - h / 2.0);
                let point = |k: usize, cell: f32| (level.points[i * 10 + k] + cell) * stride;
                let points = std::array::from_fn(|k| [point(2 * k, column), point(2 * k + 1, row)]);
                faces.push(Face {
                    bbox: [left, top, left + w, top + h],
                    score,
                    points,
                });
            }
        }
    }
    faces
}

/// `cv::dnn::NMSBoxes` on boxes cut to whole pixels: by falling score, the first `TOP`, strictly above the threshold.
pub fn suppress(mut faces: Vec<Face>, threshold: f32, overlap: f32) -> Vec<Face> {
    if faces.len() < 2 {
        return faces;
    }
    faces.retain(|face| face.score > threshold);
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    faces.truncate(TOP);
    let mut kept: Vec<(Face, [i64; 4])> = Vec::new();
    for face in faces {
        let [left, top, right, bottom] = face.bbox;
        let whole = [left, top, right - left, bottom - top].map(|v| v as i64);
        if kept
            .iter()
            .all(|(_, other)| whole_overlap(other, &whole) <= overlap)
        {
            kept.push((face, whole));
        }
    }
    kept.into_iter().map(|(face, _)| face).collect()
}

/// Overlap of two rectangles (left, top, width, height); two empty ones overlap fully, as in OpenCV.
fn whole_overlap(a: &[i64; 4], b: &[i64; 4]) -> f32 {
    let areas = a[2]
        .saturating_mul(a[3])
        .saturating_add(b[2].saturating_mul(b[3]));
    if areas <= 0 {
        return 1.0;
    }
    let side = |axis: usize| {
        let end = a[axis]
            .saturating_add(a[axis + 2])
            .min(b[axis].saturating_add(b[axis + 2]));
        end.saturating_sub(a[axis].max(b[axis])).max(0)
    };
    let shared = side(0).saturating_mul(side(1)) as f64;
    (shared / (areas as f64 - shared)) as f32
}

/// YuNet behind [`FaceDetector`].
pub(super) struct Yunet {
    graph: Graph,
    threshold: f32,
    overlap: f32,
}

impl Yunet {
    /// Whether the graph's outputs are YuNet's.
    pub(super) fn fits(session: &Session) -> bool {
        names()
            .iter()
            .all(|name| session.outputs().iter().any(|port| port.name == *name))
    }

    pub(super) fn new(session: Session, settings: &DetectSettings) -> Result<Yunet, Error> {
        let threshold = settings.threshold.unwrap_or(0.6);
        Ok(Yunet {
            graph: Graph::new(session, settings, PIXELS)?,
            threshold,
            overlap: settings.overlap.unwrap_or(0.3),
        })
    }
}

/// `cls_8 .. cls_32, obj_8 ..`, in the order OpenCV asks for them.
fn names() -> Vec<String> {
    let kinds = ["cls", "obj", "bbox", "kps"];
    kinds
        .iter()
        .flat_map(|kind| STRIDES.map(|stride| format!("{kind}_{stride}")))
        .collect()
}

impl FaceDetector for Yunet {
    /// YuNet gives real faces, also in profile, 0.75 and more over a track; a cat's stays below 0.7.
    fn track_score(&self) -> f32 {
        0.7
    }

    fn network(&self) -> &Network {
        self.graph.session.network()
    }

    fn detect(&self, image: &Image) -> Result<Vec<Face>, Error> {
        let (width, height) = self.graph.size();
        let (outputs, scale) = self.graph.run(image)?;
        let mut data: Vec<&[f32]> = Vec::with_capacity(12);
        for name in names() {
            let found = outputs
                .iter()
                .find(|output| output.name == name)
                .and_then(|output| output.f32s());
            data.push(found.ok_or_else(|| self.graph.session.error(format!("it gave no `{name}`")))?);
        }
        let levels: Vec<Level<'_>> = (0..3)
            .map(|i| Level {
                stride: STRIDES[i],
                class: data[i],
                object: data[i + 3],
                boxes: data[i + 6],
                points: data[i + 9],
            })
            .collect();
        let mut faces = suppress(
            decode(&levels, width, height, self.threshold),
            self.threshold,
            self.overlap,
        );
        for face in &mut faces {
            face.bbox = face.bbox.map(|v| v / scale);
            face.points = face.points.map(|point| point.map(|v| v / scale));
        }
        Ok(faces)
    }

    fn calls(&self) -> Calls {
        self.graph.session.calls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(bbox: [f32; 4], score: f32) -> Face {
        Face {
            bbox,
            score,
            points: [[0.0; 2]; 5],
        }
    }

    #[test]
    fn a_synthetic_map_gives_its_one_face() {
        let (mut class, mut object, mut boxes, mut points) =
            (vec![0.0; 16], vec![1.0; 16], vec![0.0; 64], vec![0.0; 160]);
        // Cell (column 1, row 2); class above one is clamped, score = sqrt(1 * 0.81).
        (class[9], object[9]) = (1.5, 0.81);
        boxes[36..40].copy_from_slice(&[0.5, 0.25, 2.0f32.ln(), 4.0f32.ln()]);
        points[90] = -0.5;
        object[3] = f32::NAN;
        let level = Level {
            stride: 8,
            class: &class,
            object: &object,
            boxes: &boxes,
            points: &points,
        };
        let faces = decode(&[level], 32, 32, 0.6);
        assert_eq!(faces.len(), 1);
        assert!((faces[0].score - 0.9).abs() < 1e-6);
        let want = [4.0, 2.0, 20.0, 34.0];
        assert!(
            faces[0].bbox.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4),
            "{:?}",
            faces[0].bbox
        );
        assert_eq!(faces[0].points[0], [4.0, 16.0]);
    }

    #[test]
    fn suppression_cuts_boxes_to_whole_pixels() {
        let a = face([0.9, 0.9, 11.8, 11.8], 0.9);
        // Cut to (0,0,10,10) and (5,0,10,10): overlap 50/150 is above 0.3.
        let b = face([5.9, 0.9, 16.8, 11.8], 0.8);
        let far = face([40.0, 40.0, 50.0, 50.0], 0.7);
        assert_eq!(
            suppress(vec![b.clone(), far.clone(), a.clone()], 0.6, 0.3),
            [a.clone(), far]
        );
        assert_eq!(suppress(vec![b.clone(), a.clone()], 0.6, 0.34).len(), 2);
        // A single candidate passes untouched, even exactly at the threshold.
        assert_eq!(suppress(vec![face([0.0; 4], 0.6)], 0.6, 0.3).len(), 1);
        let wild = face([f32::NEG_INFINITY, 0.0, f32::INFINITY, f32::NAN], 0.9);
        let _ = suppress(vec![wild.clone(), wild, a], 0.6, 0.3);
    }
}
