//! Whose face was taken in each frame, out of the details of the metric `face`.

use serde_json::Value;
use std::collections::BTreeMap;

/// Boxes that share less than this part of their union are two faces.
const SAME_FACE: f64 = 0.5;

/// A face of one frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Face {
    /// The subject it was taken for, from 0.
    pub subject: Option<i64>,
    bbox: [f64; 4],
}

/// Faces by frame.
pub(super) fn frames(detail: &Value) -> BTreeMap<i64, Vec<Face>> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let face = |face: &Value| {
        let side = |i: usize| face["box"][i].as_f64();
        Some(Face {
            subject: face["subject"].as_i64(),
            bbox: [side(0)?, side(1)?, side(2)?, side(3)?],
        })
    };
    let own = list(&detail["frames"]).into_iter().filter_map(|frame| {
        let faces = list(&frame["faces"]).iter().filter_map(face).collect();
        Some((frame["frame"].as_i64()?, faces))
    });
    own.collect()
}

/// Frames in which another face, or none, was taken for a subject: frame, A's box, B's box.
pub(super) fn chosen_otherwise(
    subject: i64,
    a: &BTreeMap<i64, Vec<Face>>,
    b: &BTreeMap<i64, Vec<Face>>,
) -> Vec<(i64, String, String)> {
    let of = |faces: &[Face]| faces.iter().find(|face| face.subject == Some(subject)).cloned();
    let told = |face: &Option<Face>| match face {
        Some(face) => {
            let [x, y, w, h] = face.bbox.map(f64::round);
            format!("{w}x{h} pixels at {x},{y}")
        }
        None => "none".to_owned(),
    };
    let both = a
        .iter()
        .filter_map(|(frame, mine)| Some((frame, of(mine), of(b.get(frame)?))));
    both.filter(|(_, mine, theirs)| match (mine, theirs) {
        (Some(mine), Some(theirs)) => overlap(mine.bbox, theirs.bbox) < SAME_FACE,
        (None, None) => false,
        _ => true,
    })
    .map(|(frame, mine, theirs)| (*frame, told(&mine), told(&theirs)))
    .collect()
}

/// Intersection over union of two boxes `x, y, w, h`.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let shared = side(0) * side(1);
    let all = a[2] * a[3] + b[2] * b[3] - shared;
    match all > 0.0 {
        true => shared / all,
        false => 0.0,
    }
}
