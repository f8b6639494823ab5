//! One face followed through one shot.

use crate::{
    Record,
    column::{Column, Kind, integer, list, real, text},
};
use serde::{Deserialize, Serialize};

/// One face on one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackFrame {
    /// Frame number in the clip, from 0.
    pub frame: i64,
    /// `[x0, y0, x1, y1]` in pixels; may reach over the picture's edge.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// Detection confidence, 0..=1.
    pub score: f64,
    /// Five points `x, y` in pixels: left eye, right eye, nose, left and right mouth corner (as seen).
    pub points: [f64; 10],
    /// Mean change (grey levels) of the aligned mouth patch since the face's previous frame; null on the first.
    pub mouth_motion: Option<f64>,
    /// The same for the upper half of the face.
    pub upper_motion: Option<f64>,
}

/// A face track: never crosses a shot cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The clip.
    pub clip: String,
    /// Number of the track in the clip, from 0, by first appearance.
    pub track: i64,
    /// Number of the person in the clip, from 1 (`<sub1>`); tracks of one person share it.
    pub subject: i64,
    /// Number of the shot, from 0.
    pub shot: i64,
    /// The frames the face was detected on, rising.
    pub frames: Vec<TrackFrame>,
    /// Mean of the unit face vectors, normalised; empty when no face of the track could be embedded.
    pub vector: Vec<f64>,
    /// The network that made the vector, with the first 12 digits of its hash.
    pub embedder: String,
}

impl Record for Track {
    const NAME: &'static str = "track";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let frame = vec![
            integer("frame", "frame number in the clip, from 0"),
            list("box", Kind::F64, "x0, y0, x1, y1 in pixels"),
            real("score", "detection confidence, 0..1"),
            list("points", Kind::F64, "five points x, y: eyes, nose, mouth corners"),
            real(
                "mouth_motion",
                "mean grey-level change of the aligned mouth patch since the previous frame",
            ),
            real("upper_motion", "the same for the upper half of the face"),
        ];
        vec![
            text("clip", "key of the clip"),
            integer("track", "number of the track in the clip, from 0"),
            integer("subject", "number of the person in the clip, from 1"),
            integer("shot", "number of the shot in the clip, from 0"),
            list(
                "frames",
                Kind::Struct(frame),
                "the frames the face was detected on",
            ),
            list(
                "vector",
                Kind::F64,
                "mean face vector, unit length; empty when none could be made",
            ),
            text("embedder", "the network that made the vector"),
        ]
    }
}
