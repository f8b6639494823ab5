//! Picks one reference picture per person: the frame with the largest detection confidence x box area (paper,
//! section 3, in-pair data).

use super::Entry;
use crate::kit::{media_fault, settings_json};
use omni_media::{Image, Limits, Span};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{Blob, Clip, FaceRef, Track, TrackFrame};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::ControlFlow};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The crop reaches this share of the face's longer side beyond the box, on every side.
    pub margin: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { margin: 0.5 }
    }
}

/// Listed as `face_ref`.
pub const ENTRY: Entry = Entry {
    name: PickFace::NAME,
    about: "one reference picture per person: largest confidence x box area",
    build: |table, _kit| {
        Ok(Box::new(PickFace {
            settings: table.read()?,
        }))
    },
};

struct PickFace {
    settings: Settings,
}

/// The best view of one person.
#[derive(Clone, Copy)]
struct Best<'a> {
    subject: i64,
    track: i64,
    frame: &'a TrackFrame,
}

impl Stage for PickFace {
    type In = (One<Clip>, Many<Track>);
    type Out = FaceRef;
    const NAME: &'static str = "face_ref";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, (One(clip), Many(tracks)): Self::In, cx: &Cx<'_>) -> Result<Vec<FaceRef>, Fault> {
        let best = best_views(&tracks);
        let Some(last) = best.iter().map(|view| view.frame.frame).max() else {
            return Err(Fault::Drop("no_face".into()));
        };
        let span = Span {
            start: clip.start,
            end: clip.end,
        };
        let mut found: BTreeMap<i64, FaceRef> = BTreeMap::new();
        let mut failed = None;
        let read = omni_media::read_frames(
            &cx.root.join(&clip.path),
            &span,
            &Limits::default(),
            &mut |frame| {
                for view in best.iter().filter(|view| view.frame.frame == frame.index as i64) {
                    match self.cut(&clip.clip, frame.image, view, cx) {
                        Ok(face) => drop(found.insert(view.subject, face)),
                        Err(error) => failed = Some(error),
                    }
                }
                if frame.index as i64 >= last || failed.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        match failed {
            Some(error) => return Err(media_fault(error)),
            None => read.map_err(media_fault)?,
        };
        if found.len() < best.len() {
            return Err(Fault::Drop("unreadable".into()));
        }
        Ok(found.into_values().collect())
    }
}

impl PickFace {
    fn cut(
        &self,
        clip: &str,
        image: &Image,
        view: &Best<'_>,
        cx: &Cx<'_>,
    ) -> Result<FaceRef, omni_media::Error> {
        let crop = region(&view.frame.bbox, self.settings.margin, image.width, image.height);
        let bytes = omni_media::png(&sub_image(image, crop))?;
        let image = cx
            .pack
            .put(&format!("{clip}/sub{}.png", view.subject), "image/png", bytes);
        Ok(face_ref(clip, view, crop, image))
    }
}

fn face_ref(clip: &str, view: &Best<'_>, crop: [usize; 4], image: Blob) -> FaceRef {
    FaceRef {
        clip: clip.to_owned(),
        subject: view.subject,
        track: view.track,
        frame: view.frame.frame,
        bbox: view.frame.bbox,
        crop: crop.map(|edge| edge as f64),
        score: view.frame.score,
        origin: "in_pair".into(),
        iou: None,
        image,
    }
}

/// Per person the frame with the largest confidence x area; the earliest of equals.
fn best_views(tracks: &[Track]) -> Vec<Best<'_>> {
    let mut best: BTreeMap<i64, Best<'_>> = BTreeMap::new();
    for track in tracks {
        for frame in &track.frames {
            let view = Best {
                subject: track.subject,
                track: track.track,
                frame,
            };
            match best.get(&track.subject) {
                Some(known) if merit(known.frame) >= merit(frame) => {}
                _ => drop(best.insert(track.subject, view)),
            }
        }
    }
    best.into_values().collect()
}

fn merit(frame: &TrackFrame) -> f64 {
    let [x0, y0, x1, y1] = frame.bbox;
    frame.score * (x1 - x0).max(0.0) * (y1 - y0).max(0.0)
}

/// The box with its margin, in whole pixels inside the picture; at least one pixel.
fn region(bbox: &[f64; 4], margin: f64, width: usize, height: usize) -> [usize; 4] {
    let [x0, y0, x1, y1] = *bbox;
    let extra = margin * (x1 - x0).max(y1 - y0);
    let low = |edge: f64, limit: usize| ((edge - extra).floor().max(0.0) as usize).min(limit - 1);
    let high = |edge: f64, from: usize, limit: usize| {
        ((edge + extra).ceil().max(0.0) as usize).clamp(from + 1, limit)
    };
    let (left, top) = (low(x0, width), low(y0, height));
    [left, top, high(x1, left, width), high(y1, top, height)]
}

fn sub_image(image: &Image, [x0, y0, x1, y1]: [usize; 4]) -> Image {
    let row = |y: usize| &image.data[(y * image.width + x0) * 3..(y * image.width + x1) * 3];
    Image {
        width: x1 - x0,
        height: y1 - y0,
        data: (y0..y1).flat_map(row).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(frame: i64, bbox: [f64; 4], score: f64) -> TrackFrame {
        TrackFrame {
            frame,
            bbox,
            score,
            points: [0.0; 10],
            mouth_motion: None,
            upper_motion: None,
        }
    }

    fn track(track: i64, subject: i64, frames: Vec<TrackFrame>) -> Track {
        Track {
            clip: "c".into(),
            track,
            subject,
            shot: 0,
            frames,
            vector: vec![],
            embedder: String::new(),
        }
    }

    #[test]
    fn the_best_view_weighs_confidence_and_area_over_all_tracks_of_a_person() {
        let small = frame(1, [0.0, 0.0, 10.0, 10.0], 0.99);
        let large_unsure = frame(5, [0.0, 0.0, 20.0, 20.0], 0.2);
        let large = frame(9, [0.0, 0.0, 15.0, 15.0], 0.8);
        let tracks = [track(0, 1, vec![small, large_unsure]), track(1, 1, vec![large])];
        let best = best_views(&tracks);
        assert_eq!(best.len(), 1);
        assert_eq!((best[0].frame.frame, best[0].track), (9, 1));
    }

    proptest! {
        #[test]
        fn a_crop_lies_inside_the_picture(x in -50.0..500.0, y in -50.0..500.0, w in 0.0..400.0, h in 0.0..400.0,
                                          width in 1usize..300, height in 1usize..300) {
            let [x0, y0, x1, y1] = region(&[x, y, x + w, y + h], 0.5, width, height);
            prop_assert!(x0 < x1 && x1 <= width && y0 < y1 && y1 <= height);
            let image = Image { width, height, data: vec![7; width * height * 3] };
            prop_assert_eq!(sub_image(&image, [x0, y0, x1, y1]).data.len(), (x1 - x0) * (y1 - y0) * 3);
        }
    }
}
