//! The reference picture of a person in a clip.

use crate::{
    Blob, Record,
    column::{Column, Kind, integer, list, real, record, text},
};
use serde::{Deserialize, Serialize};

/// The frame that stands for a subject: largest detection confidence x box area (paper, section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaceRef {
    /// The clip.
    pub clip: String,
    /// The person, from 1.
    pub subject: i64,
    /// The track the frame was taken from.
    pub track: i64,
    /// The frame.
    pub frame: i64,
    /// The face in that frame, `[x0, y0, x1, y1]` pixels.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// The part of the frame that was cut out, `[x0, y0, x1, y1]` pixels, inside the picture.
    pub crop: [f64; 4],
    /// Detection confidence of the face.
    pub score: f64,
    /// `in_pair`: a frame of this clip. `cross_pair`: a picture given by the corpus.
    pub origin: String,
    /// Mask overlap with the track for cross-pair pictures; null for in-pair.
    pub iou: Option<f64>,
    /// The picture (PNG).
    pub image: Blob,
}

impl Record for FaceRef {
    const NAME: &'static str = "face_ref";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            integer("subject", "number of the person in the clip, from 1"),
            integer("track", "the track the frame was taken from"),
            integer("frame", "the frame"),
            list("box", Kind::F64, "the face: x0, y0, x1, y1 in pixels"),
            list("crop", Kind::F64, "what was cut out: x0, y0, x1, y1 in pixels"),
            real("score", "detection confidence of the face"),
            text("origin", "in_pair or cross_pair"),
            real("iou", "mask overlap with the track; null for in_pair"),
            record("image", Blob::columns(), "the picture, PNG"),
        ]
    }

    fn blobs_mut(&mut self) -> Vec<&mut Blob> {
        vec![&mut self.image]
    }
}
