//! The trackers of two reference code bases, kept as they behave, quirks included: SyncNet's `track_shot`
//! (syncnet_python `run_pipeline.py`) and OpenS2V's embedding tracker (`step1_get_bbox.py`).
//! `curate` follows faces with [`super::tracker`] instead.

use super::cosine;

/// A face for [`track_shot`].
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Frame number.
    pub frame: i64,
    /// Left, top, right, bottom.
    pub bbox: [f64; 4],
}

/// Limits of [`track_shot`].
#[derive(Clone, Copy, Debug)]
pub struct ShotOptions {
    /// Frames a face may be missing (25 in the reference).
    pub num_failed_det: i64,
    /// A track needs more detections than this.
    pub min_track: usize,
    /// The greater of mean width and mean height must exceed this, in pixels.
    pub min_face_size: f64,
}

/// A track with a box for every frame from `first_frame` on; gaps are filled on straight lines.
#[derive(Clone, Debug, PartialEq)]
pub struct ShotTrack {
    /// Number of the first frame.
    pub first_frame: i64,
    /// One box per frame.
    pub bbox: Vec<[f64; 4]>,
}

/// SyncNet's tracker inside one shot: grows one track at a time by overlap above one half.
///
/// The reference removes faces from the list it walks, so after a match the next face of that frame is not looked
/// at in that round. That is kept.
pub fn track_shot(mut frames: Vec<Vec<Detection>>, options: &ShotOptions) -> Vec<ShotTrack> {
    let mut tracks = Vec::new();
    loop {
        let track = grow(&mut frames, options.num_failed_det);
        if track.is_empty() {
            return tracks;
        }
        if track.len() > options.min_track {
            let filled = interpolate(&track);
            let count = filled.bbox.len() as f64;
            let mean = |a: usize, b: usize| filled.bbox.iter().map(|r| r[b] - r[a]).sum::<f64>() / count;
            if mean(0, 2).max(mean(1, 3)) > options.min_face_size {
                tracks.push(filled);
            }
        }
    }
}

fn grow(frames: &mut [Vec<Detection>], gap: i64) -> Vec<Detection> {
    let mut track: Vec<Detection> = Vec::new();
    for faces in frames {
        let mut i = 0;
        while i < faces.len() {
            let joins = match track.last() {
                None => true,
                Some(last) if faces[i].frame - last.frame > gap => break,
                Some(last) => overlap(&faces[i].bbox, &last.bbox) > 0.5,
            };
            if joins {
                track.push(faces.remove(i));
            }
            // Also after a removal: the walk over the shortened list skips one.
            i += 1;
        }
    }
    track
}

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let shared = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |r: &[f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    shared / (area(a) + area(b) - shared)
}

/// A box for every frame between the detections, which come by rising frame.
fn interpolate(track: &[Detection]) -> ShotTrack {
    let mut bbox = Vec::new();
    for pair in track.windows(2) {
        let steps = (pair[1].frame - pair[0].frame).max(0);
        for step in 0..steps {
            let share = step as f64 / steps as f64;
            bbox.push(std::array::from_fn(|k| {
                pair[0].bbox[k] + (pair[1].bbox[k] - pair[0].bbox[k]) * share
            }));
        }
    }
    bbox.extend(track.last().map(|last| last.bbox));
    ShotTrack {
        first_frame: track.first().map_or(0, |first| first.frame),
        bbox,
    }
}

/// A face for [`embedding_tracker`].
#[derive(Clone, Debug)]
pub struct Seen {
    /// The detector's score.
    pub score: f32,
    /// The face's vector, of any length.
    pub embedding: Vec<f32>,
}

/// OpenS2V's tracker: an identity number per face, or -1 for faces at or below score 0.65.
///
/// The frame with the most faces (ties: higher mean score) names the identities; two sweeps from it give every face
/// the most similar identity seen last, or a new one below cosine 0.1. Two faces of a frame may share a number.
pub fn embedding_tracker(frames: &[Vec<Seen>]) -> Vec<Vec<i64>> {
    let mut ids: Vec<Vec<i64>> = frames.iter().map(|faces| vec![-1; faces.len()]).collect();
    let mean = |faces: &[Seen]| faces.iter().map(|face| face.score).sum::<f32>() / faces.len().max(1) as f32;
    let Some(anchor) = (0..frames.len()).max_by(|&a, &b| {
        let (x, y) = (&frames[a], &frames[b]);
        // The earliest of equals wins.
        x.len()
            .cmp(&y.len())
            .then(mean(x).total_cmp(&mean(y)))
            .then(b.cmp(&a))
    }) else {
        return ids;
    };
    let mut last: Vec<(i64, &[f32])> = frames[anchor]
        .iter()
        .enumerate()
        .map(|(i, face)| (i as i64, face.embedding.as_slice()))
        .collect();
    // The reference counts from 0 but goes on after the count, so one number stays unused.
    let mut highest = last.len() as i64;
    for t in (0..=anchor).rev().chain(anchor..frames.len()) {
        sweep(&frames[t], &mut ids[t], &mut last, &mut highest);
    }
    ids
}

fn sweep<'a>(faces: &'a [Seen], ids: &mut [i64], last: &mut Vec<(i64, &'a [f32])>, highest: &mut i64) {
    let mut updates: Vec<(i64, &[f32])> = Vec::new();
    for (face, id) in faces.iter().zip(ids.iter_mut()) {
        *id = -1;
        if face.score <= 0.65 {
            continue;
        }
        let mut best: Option<(i64, f32)> = None;
        for (number, vector) in last.iter() {
            let similar = cosine(&face.embedding, vector);
            if best.is_none_or(|(_, most)| similar > most) {
                best = Some((*number, similar));
            }
        }
        *id = match best {
            Some((number, similar)) if similar >= 0.1 => number,
            _ => {
                *highest += 1;
                *highest
            }
        };
        updates.push((*id, &face.embedding));
    }
    for (number, vector) in updates {
        match last.iter_mut().find(|(known, _)| *known == number) {
            Some(entry) => entry.1 = vector,
            None => last.push((number, vector)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    fn golden(path: &str) -> Option<Vec<serde_json::Value>> {
        let file = shared(&format!("golden/metrics/{path}"))?;
        Some(serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
    }

    #[test]
    fn syncnet_gives_the_same_tracks() {
        for case in golden("syncnet/track_shot_cases.json").unwrap_or_default() {
            let options = ShotOptions {
                num_failed_det: case["options"]["num_failed_det"].as_i64().unwrap(),
                min_track: case["options"]["min_track"].as_u64().unwrap() as usize,
                min_face_size: case["options"]["min_face_size"].as_f64().unwrap(),
            };
            let detection = |value: &serde_json::Value| Detection {
                frame: value["frame"].as_i64().unwrap(),
                bbox: serde_json::from_value(value["bbox"].clone()).unwrap(),
            };
            let list = case["detections"].as_array().unwrap();
            let frames = list
                .iter()
                .map(|f| f.as_array().unwrap().iter().map(detection).collect())
                .collect();
            let tracks = track_shot(frames, &options);
            let want = case["tracks"].as_array().unwrap();
            assert_eq!(tracks.len(), want.len());
            for (got, want) in tracks.iter().zip(want) {
                let boxes: Vec<[f64; 4]> = serde_json::from_value(want["bbox"].clone()).unwrap();
                assert_eq!(got.first_frame, want["first_frame"].as_i64().unwrap());
                assert_eq!(got.bbox.len(), boxes.len());
                assert!(
                    got.bbox
                        .iter()
                        .flatten()
                        .zip(boxes.iter().flatten())
                        .all(|(a, b)| (a - b).abs() < 1e-5)
                );
            }
        }
    }

    #[test]
    fn opens2v_gives_the_same_identities() {
        for (i, case) in golden("face/embedding_tracker_cases.json")
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let seen = |value: &serde_json::Value| Seen {
                score: value["det_score"].as_f64().unwrap() as f32,
                embedding: serde_json::from_value(value["embedding"].clone()).unwrap(),
            };
            let frames = case["frames"].as_array().unwrap();
            let frames: Vec<Vec<Seen>> = frames
                .iter()
                .map(|f| f.as_array().unwrap().iter().map(seen).collect())
                .collect();
            let want: Vec<Vec<i64>> = serde_json::from_value(case["track_ids"].clone()).unwrap();
            assert_eq!(embedding_tracker(&frames), want, "case {i}");
        }
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        let options = ShotOptions {
            num_failed_det: 25,
            min_track: 0,
            min_face_size: 0.0,
        };
        assert!(track_shot(vec![vec![], vec![]], &options).is_empty());
        assert!(embedding_tracker(&[]).is_empty());
    }
}
