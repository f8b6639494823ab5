//! Picks one reference picture per person: the frame with the largest detection confidence x box area (paper,
//! section 3, in-pair data).
//!
//! Where the corpus gives pictures of people (masks on one annotated frame, OpenS2V), a person whose face on that frame
//! lies in a mask gets what the mask shows instead, on black, marked `cross_pair` with the overlap of mask and face box
//! (cross-pair data). People who are not on that frame, or in no mask, keep the picture picked above, marked `in_pair`.

use super::Entry;
use crate::{
    clip_media,
    given::{Given, cut_out},
    kit::{media_fault, settings_json},
    masks::Mask,
};
use omni_media::{Image, Limits};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{Blob, Clip, FaceRef, Listing, Track, TrackFrame};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::ControlFlow};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The crop reaches this share of the face's longer side beyond the box, on every side.
    pub margin: f64,
    /// Given masks that overlap more than this (intersection over union) are one thing.
    pub same_mask: f64,
    /// A mask shows a face when at least this share of the face's box lies in it.
    pub inside: f64,
}

/// A face this many pictures from the annotated one stands for it, where detection skipped that one.
const NEAR: i64 = 2;

impl Default for Settings {
    fn default() -> Self {
        Self {
            margin: 0.5,
            same_mask: 0.8,
            inside: 0.5,
        }
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

/// What is to be cut for one person: a crop around the face, or what a given mask shows.
struct Wanted<'a> {
    view: Best<'a>,
    /// The frame of the clip the picture is taken from.
    frame: i64,
    given: Option<(&'a Mask, f64)>,
}

impl Stage for PickFace {
    type In = (One<Clip>, One<Listing>, Many<Track>);
    type Out = FaceRef;
    const NAME: &'static str = "face_ref";
    const VERSION: u32 = 2;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(
        &self,
        (One(clip), One(listing), Many(tracks)): Self::In,
        cx: &Cx<'_>,
    ) -> Result<Vec<FaceRef>, Fault> {
        let given = self.given(&listing, cx)?;
        let origin = origin(&listing);
        let best = self.wanted(&tracks, &listing, given.as_ref());
        let Some(last) = best.iter().map(|wanted| wanted.frame).max() else {
            return Err(Fault::Drop("no_face".into()));
        };
        let mut found: BTreeMap<i64, FaceRef> = BTreeMap::new();
        let mut failed = None;
        let read = omni_media::read_frames(
            &cx.root.join(&clip.path),
            &clip_media::span(&clip),
            &Limits::default(),
            &mut |frame| {
                for wanted in best.iter().filter(|wanted| wanted.frame == frame.index as i64) {
                    match self.picture(&clip.clip, frame.image, wanted, origin, cx) {
                        Ok(face) => drop(found.insert(wanted.view.subject, face)),
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
    /// What the corpus gives with the clip; nothing when it gives nothing.
    fn given(&self, listing: &Listing, cx: &Cx<'_>) -> Result<Option<Given>, Fault> {
        let Some(path) = &listing.annotation else {
            return Ok(None);
        };
        let given = Given::read(&cx.root.join(path), self.settings.same_mask);
        let given = given.map_err(|_| Fault::drop("bad_annotation"))?;
        cx.count("masks", given.masks.len() as u64);
        cx.count("damaged_masks", given.damaged as u64);
        Ok(Some(given))
    }

    /// For every person the picture that is to be cut.
    fn wanted<'a>(
        &self,
        tracks: &'a [Track],
        listing: &Listing,
        given: Option<&'a Given>,
    ) -> Vec<Wanted<'a>> {
        let mut out: Vec<Wanted<'a>> = best_views(tracks)
            .into_iter()
            .map(|view| Wanted {
                frame: view.frame.frame,
                view,
                given: None,
            })
            .collect();
        let Some(given) = given else { return out };
        let at = given.frame - listing.first_frame.unwrap_or(0);
        let seen = views_at(tracks, at);
        let (left, top) = origin(listing);
        let box_of = |view: &Best<'_>| {
            let [x0, y0, x1, y1] = view.frame.bbox;
            [
                x0 - left as f64,
                y0 - top as f64,
                x1 - left as f64,
                y1 - top as f64,
            ]
        };
        let boxes: Vec<[f64; 4]> = seen.iter().map(box_of).collect();
        for found in given.matches(&boxes, self.settings.inside) {
            let view = seen[found.face];
            if let Some(wanted) = out.iter_mut().find(|wanted| wanted.view.subject == view.subject) {
                let given = Some((&given.masks[found.mask], found.iou));
                *wanted = Wanted {
                    view,
                    frame: at,
                    given,
                };
            }
        }
        out
    }

    fn picture(
        &self,
        clip: &str,
        image: &Image,
        wanted: &Wanted<'_>,
        origin: (usize, usize),
        cx: &Cx<'_>,
    ) -> Result<FaceRef, omni_media::Error> {
        let shown = wanted
            .given
            .and_then(|(mask, iou)| Some((cut_out(image, mask, origin)?, iou)));
        let Some(((picture, place), iou)) = shown else {
            // A mask that reaches beyond the picture shows nothing: the frame itself does.
            return self.cut(clip, image, &wanted.view, cx);
        };
        let name = format!("{clip}/sub{}.png", wanted.view.subject);
        let bytes = omni_media::png(&picture)?;
        Ok(FaceRef {
            origin: "cross_pair".into(),
            iou: Some(iou),
            frame: wanted.frame,
            ..face_ref(clip, &wanted.view, place, cx.pack.put(&name, "image/png", bytes))
        })
    }

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

/// Where the corpus' picture begins in the frame: left, top.
fn origin(listing: &Listing) -> (usize, usize) {
    let [x, y, ..] = listing.crop.unwrap_or_default();
    (x.max(0.0) as usize, y.max(0.0) as usize)
}

/// Every person's face on a frame, or at most [`NEAR`] pictures from it: the nearest, then the surest.
fn views_at(tracks: &[Track], at: i64) -> Vec<Best<'_>> {
    let mut seen: BTreeMap<i64, Best<'_>> = BTreeMap::new();
    let far = |frame: &TrackFrame| (frame.frame - at).abs();
    for track in tracks {
        for frame in track.frames.iter().filter(|frame| far(frame) <= NEAR) {
            let view = Best {
                subject: track.subject,
                track: track.track,
                frame,
            };
            match seen.get(&track.subject) {
                Some(known) if (far(known.frame), -known.frame.score) <= (far(frame), -frame.score) => {}
                _ => drop(seen.insert(track.subject, view)),
            }
        }
    }
    seen.into_values().collect()
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

    /// Two people; the annotated picture 42 is the clip's 12, and its picture begins at (10, 20).
    #[test]
    fn a_given_mask_replaces_the_picture_of_the_person_it_shows() {
        let near = frame(11, [40.0, 50.0, 60.0, 70.0], 0.9);
        let on = frame(12, [42.0, 50.0, 62.0, 70.0], 0.7);
        let large = frame(30, [0.0, 0.0, 90.0, 90.0], 0.9);
        let tracks = [
            track(0, 1, vec![near, on, large.clone()]),
            track(1, 2, vec![large, frame(20, [5.0, 5.0, 9.0, 9.0], 0.9)]),
        ];
        let listing = Listing {
            crop: Some([10.0, 20.0, 110.0, 120.0]),
            first_frame: Some(30),
            ..Listing::default()
        };
        let given = Given {
            frame: 42,
            masks: vec![
                Mask::of_box(100, 100, &[25.0, 20.0, 60.0, 90.0]),
                Mask::of_box(100, 100, &[70.0, 0.0, 99.0, 99.0]),
            ],
            damaged: 0,
        };
        let stage = PickFace {
            settings: Settings::default(),
        };
        let wanted = stage.wanted(&tracks, &listing, Some(&given));
        assert_eq!(wanted.len(), 2);
        let (mask, iou) = wanted[0].given.unwrap();
        assert_eq!(
            (mask, wanted[0].frame, wanted[0].view.frame.frame),
            (&given.masks[0], 12, 12)
        );
        assert!((iou - 400.0 / 2450.0).abs() < 1e-12, "{iou}");
        assert!(wanted[1].given.is_none() && wanted[1].frame == 30);
        assert!(
            stage
                .wanted(&tracks, &listing, None)
                .iter()
                .all(|one| one.given.is_none())
        );
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
