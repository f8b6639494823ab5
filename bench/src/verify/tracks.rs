//! Trackers: `face/embedding_tracker_cases.json` and `syncnet/track_shot_cases.json`.

use omni_perception::vision::assign::{Detection, Seen, ShotOptions, embedding_tracker, track_shot};
use serde_json::Value;

use super::{
    Desk, Entry,
    files::{Json, Problem, listed},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "face",
        file: "embedding_tracker_cases.json",
        run: embedding,
    },
    Entry {
        folder: "syncnet",
        file: "track_shot_cases.json",
        run: shot,
    },
];

fn embedding(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let mut pairs = Vec::new();
    let cases = listed(&desk.json("embedding_tracker_cases.json")?)?;
    for (i, case) in cases.iter().enumerate() {
        let seen = |face: &Value| -> Result<Seen, Problem> {
            Ok(Seen {
                score: face.number("det_score")? as f32,
                embedding: face.read("embedding")?,
            })
        };
        let frames: Vec<Vec<Value>> = case.read("frames")?;
        let frames: Result<Vec<Vec<Seen>>, Problem> = frames
            .iter()
            .map(|faces| faces.iter().map(seen).collect())
            .collect();
        pairs.push((
            format!("case {i}"),
            embedding_tracker(&frames?),
            case.read("track_ids")?,
        ));
    }
    desk.all_equal("identity of every face", &pairs);
    Ok(())
}

fn shot(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let cases = listed(&desk.json("track_shot_cases.json")?)?;
    for (i, case) in cases.iter().enumerate() {
        let options = case.at("options")?;
        let options = ShotOptions {
            num_failed_det: options.count("num_failed_det")? as i64,
            min_track: options.count("min_track")?,
            min_face_size: options.number("min_face_size")?,
        };
        let detection = |face: &Value| -> Result<Detection, Problem> {
            Ok(Detection {
                frame: face.count("frame")? as i64,
                bbox: face.read("bbox")?,
            })
        };
        let frames: Vec<Vec<Value>> = case.read("detections")?;
        let frames: Result<Vec<Vec<Detection>>, Problem> = frames
            .iter()
            .map(|faces| faces.iter().map(detection).collect())
            .collect();
        let tracks = track_shot(frames?, &options);
        let spans: Vec<(i64, i64)> = tracks
            .iter()
            .map(|track| (track.first_frame, track.first_frame + track.bbox.len() as i64 - 1))
            .collect();
        let wanted = case.list("tracks")?;
        let mut expected = Vec::new();
        let mut boxes: Vec<f64> = Vec::new();
        for track in wanted {
            expected.push((
                track.count("first_frame")? as i64,
                track.count("last_frame")? as i64,
            ));
            boxes.extend(track.read::<Vec<[f64; 4]>>("bbox")?.as_flattened());
        }
        desk.equal(&format!("case {i}: frames of the tracks"), &spans, &expected);
        let got: Vec<f64> = tracks
            .iter()
            .flat_map(|track| track.bbox.as_flattened())
            .copied()
            .collect();
        desk.close(&format!("case {i}: boxes"), &got, &boxes, 1e-5);
    }
    Ok(())
}
