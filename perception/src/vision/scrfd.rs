//! SCRFD, the detector of InsightFace (insightface `model_zoo/retinaface.py`, `scrfd.py`).

use omni_media::Image;

use super::canvas::{Canvases, Pixels};
use super::detect::Graph;
use super::{DetectSettings, Face, FaceDetector};
use crate::runtime::{Calls, Output, Session};
use crate::{Error, Network};

/// RGB, (x - 127.5) / 128.
const PIXELS: Pixels = Pixels {
    mean: 127.5,
    scale: 1.0 / 128.0,
    bgr: false,
};

const STRIDES: [usize; 3] = [8, 16, 32];

/// Raw outputs at one stride: scores `[n]`, boxes `[n, 4]`, points `[n, 10]`; two anchors per cell.
pub struct Level<'a> {
    /// Pixels per cell.
    pub stride: usize,
    /// Confidence per anchor.
    pub scores: &'a [f32],
    /// Distances to the four sides, in strides.
    pub boxes: &'a [f32],
    /// Offsets of the five points, in strides.
    pub points: &'a [f32],
}

/// How several faces are ranked when only the first few are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Box area less twice the squared distance from the picture's centre.
    AreaAndCentre,
    /// Box area alone.
    Area,
}

/// Faces at or above `threshold` on a canvas of `width` pixels, divided by `scale`, by falling score; no suppression yet.
/// Levels whose lengths do not fit the canvas are skipped.
pub fn decode(levels: &[Level<'_>], width: usize, height: usize, scale: f32, threshold: f32) -> Vec<Face> {
    let mut faces = Vec::new();
    for level in levels {
        let (columns, rows) = (width / level.stride, height / level.stride);
        let anchors = columns * rows * 2;
        let lengths = (level.scores.len(), level.boxes.len(), level.points.len());
        if lengths != (anchors, anchors * 4, anchors * 10) {
            continue;
        }
        let stride = level.stride as f32;
        for (i, &score) in level
            .scores
            .iter()
            .enumerate()
            .filter(|(_, score)| **score >= threshold)
        {
            let (x, y) = (
                ((i / 2) % columns) as f32 * stride,
                ((i / 2) / columns) as f32 * stride,
            );
            let side = |k: usize| level.boxes[i * 4 + k] * stride;
            let bbox = [x - side(0), y - side(1), x + side(2), y + side(3)].map(|v| v / scale);
            let point = |k: usize, from: f32| (from + level.points[i * 10 + k] * stride) / scale;
            let points = std::array::from_fn(|k| [point(2 * k, x), point(2 * k + 1, y)]);
            faces.push(Face { bbox, score, points });
        }
    }
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    faces
}

/// Greedy suppression of faces given by falling score, with the pixel-inclusive areas of the reference.
pub fn suppress(faces: Vec<Face>, overlap: f32) -> Vec<Face> {
    let area = |b: &[f32; 4]| (b[2] - b[0] + 1.0) * (b[3] - b[1] + 1.0);
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        let hidden = kept.iter().any(|other| {
            let (a, b) = (&other.bbox, &face.bbox);
            let width = (a[2].min(b[2]) - a[0].max(b[0]) + 1.0).max(0.0);
            let height = (a[3].min(b[3]) - a[1].max(b[1]) + 1.0).max(0.0);
            let shared = width * height;
            shared / (area(a) + area(b) - shared) > overlap
        });
        if !hidden {
            kept.push(face);
        }
    }
    kept
}

/// The first `count` faces of a `width` x `height` picture by `rank`.
pub fn best(mut faces: Vec<Face>, count: usize, rank: Rank, width: usize, height: usize) -> Vec<Face> {
    let (cx, cy) = ((width / 2) as f32, (height / 2) as f32);
    let value = |face: &Face| {
        let b = &face.bbox;
        let (dx, dy) = ((b[0] + b[2]) / 2.0 - cx, (b[1] + b[3]) / 2.0 - cy);
        let area = (b[2] - b[0]) * (b[3] - b[1]);
        if rank == Rank::Area {
            area
        } else {
            area - 2.0 * (dx * dx + dy * dy)
        }
    };
    faces.sort_by(|a, b| value(b).total_cmp(&value(a)));
    faces.truncate(count);
    faces
}

/// The input `[1, 3, size, size]` for a picture, which stands at the top left of black, and the scale it was given.
///
/// # Errors
/// [`Error::Input`] for a picture without pixels.
pub fn blob(image: &Image, size: usize) -> Result<(Vec<f32>, f32), Error> {
    Canvases::new((size, size), PIXELS).with(image, |tensor, scale| Ok((tensor.to_vec(), scale)))
}

/// SCRFD behind [`FaceDetector`].
pub(super) struct Scrfd {
    graph: Graph,
    threshold: f32,
    overlap: f32,
}

impl Scrfd {
    pub(super) fn new(session: Session, settings: &DetectSettings) -> Result<Scrfd, Error> {
        session.expect_outputs(9)?;
        let threshold = settings.threshold.unwrap_or(0.5);
        Ok(Scrfd {
            graph: Graph::new(session, settings, PIXELS)?,
            threshold,
            overlap: settings.overlap.unwrap_or(0.4),
        })
    }
}

impl FaceDetector for Scrfd {
    /// SCRFD gives half-hidden faces a little above its own threshold of 0.5.
    fn track_score(&self) -> f32 {
        0.5
    }

    fn network(&self) -> &Network {
        self.graph.session.network()
    }

    fn detect(&self, image: &Image) -> Result<Vec<Face>, Error> {
        let (width, height) = self.graph.size();
        let (outputs, scale) = self.graph.run(image)?;
        let data: Vec<&[f32]> = outputs.iter().filter_map(Output::f32s).collect();
        if data.len() != 9 {
            return Err(self.graph.session.error("its outputs are not nine float tensors"));
        }
        let levels: Vec<Level<'_>> = (0..3)
            .map(|i| Level {
                stride: STRIDES[i],
                scores: data[i],
                boxes: data[i + 3],
                points: data[i + 6],
            })
            .collect();
        Ok(suppress(
            decode(&levels, width, height, scale, self.threshold),
            self.overlap,
        ))
    }

    fn calls(&self) -> Calls {
        self.graph.session.calls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    fn floats(tensors: &safetensors::SafeTensors<'_>, name: &str) -> Vec<f32> {
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }

    /// Compares as sets: the order of equal scores is free.
    fn same(got: &[Face], boxes: &[f32], points: Option<&[f32]>) {
        assert_eq!(got.len(), boxes.len() / 5);
        for (i, want) in boxes.chunks_exact(5).enumerate() {
            let close = |face: &&Face| {
                let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
                let boxed =
                    face.bbox.iter().zip(want).all(|(a, b)| near(*a, *b)) && near(face.score, want[4]);
                let flat = face.points.iter().flatten();
                boxed && points.is_none_or(|p| flat.zip(&p[i * 10..]).all(|(a, b)| near(*a, *b)))
            };
            assert!(
                got.iter().any(|face| close(&face)),
                "{want:?} is missing in {got:?}"
            );
        }
    }

    #[test]
    fn the_reference_gives_the_same_faces() {
        let Some(file) = shared("golden/metrics/face/scrfd_maps.safetensors") else {
            return;
        };
        let bytes = std::fs::read(file).unwrap();
        let golden = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let maps: Vec<[Vec<f32>; 3]> = STRIDES
            .iter()
            .map(|s| ["score", "bbox", "kps"].map(|name| floats(&golden, &format!("{name}_{s}"))))
            .collect();
        let levels: Vec<Level<'_>> = STRIDES
            .iter()
            .zip(&maps)
            .map(|(&stride, [scores, boxes, points])| Level {
                stride,
                scores,
                boxes,
                points,
            })
            .collect();
        let faces = suppress(decode(&levels, 640, 640, 0.5, 0.5), 0.4);
        same(&faces, &floats(&golden, "det"), Some(&floats(&golden, "kps")));
        for (rank, name) in [(Rank::AreaAndCentre, "default"), (Rank::Area, "max")] {
            let one = best(faces.clone(), 1, rank, 1280, 704);
            let points = floats(&golden, &format!("kps_max1_{name}"));
            same(&one, &floats(&golden, &format!("det_max1_{name}")), Some(&points));
        }
        let strict = suppress(decode(&levels, 640, 640, 0.5, 0.65), 0.2);
        same(&strict, &floats(&golden, "det_thr065_nms02"), None);
    }

    #[test]
    fn a_synthetic_map_gives_its_one_face() {
        let (mut scores, mut boxes, mut points) = (vec![0.0; 32], vec![0.0; 128], vec![0.0; 320]);
        // Cell (column 1, row 2), second anchor, on a 32 x 32 canvas with stride 8.
        let anchor = (2 * 4 + 1) * 2 + 1;
        scores[anchor] = 0.9;
        boxes[anchor * 4..anchor * 4 + 4].copy_from_slice(&[1.0, 2.0, 0.5, 0.25]);
        points[anchor * 10] = 0.5;
        let level = Level {
            stride: 8,
            scores: &scores,
            boxes: &boxes,
            points: &points,
        };
        let faces = decode(&[level], 32, 32, 0.5, 0.5);
        assert_eq!(faces.len(), 1);
        assert_eq!(faces[0].bbox, [0.0, 0.0, 24.0, 36.0]);
        assert_eq!(faces[0].points[0], [24.0, 32.0]);
        let short = Level {
            stride: 8,
            scores: &scores,
            boxes: &[],
            points: &points,
        };
        assert!(decode(&[short], 32, 32, 1.0, 0.5).is_empty());
    }
}
