//! Follows every face through a clip in one decode pass (paper, section 3: InsightFace tracking on every clip), and
//! measures the motion of each mouth on the way, so that no later stage has to decode for it.

use super::Entry;
use crate::{
    clip_media,
    kit::{Loaded, media_fault, network_fault, settings_json},
};
use omni_media::{Frame, Image, Limits};
use omni_perception::{
    runtime::thread_seconds,
    vision::{
        DetectSettings, Face, FaceDetector, FaceEmbedder, iou,
        motion::MotionMeter,
        shots::{ShotDetector, ShotSettings},
        tracker::{RawTrack, TrackSettings, Tracker, join},
    },
};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Track, TrackFrame};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::ControlFlow};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Faces are looked for on every k-th picture.
    pub every: u64,
    /// Detections below this confidence are ignored, 0..=1; absent: the network's own.
    pub min_score: Option<f32>,
    /// Faces whose shorter side is below this many pixels are ignored.
    pub min_side: f32,
    /// Tracks seen on fewer pictures are dropped as chance detections.
    pub min_frames: usize,
    /// Tracks whose mean confidence is lower are dropped as chance detections; absent: the network's own.
    pub min_mean_score: Option<f32>,
    /// Seconds a face may be hidden before its track ends.
    pub max_gap: f64,
    /// Cosine above which two tracks are one person; absent: the network's own.
    pub same_person: Option<f32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: 1,
            min_score: None,
            min_side: 20.0,
            min_frames: 8,
            min_mean_score: None,
            max_gap: 1.0,
            same_person: None,
        }
    }
}

/// Listed as `track`.
pub const ENTRY: Entry = Entry {
    name: TrackFaces::NAME,
    about: "detect, follow and embed every face; measure its mouth; join tracks of one person",
    build: |table, kit| {
        let settings: Settings = table.read()?;
        if settings.every == 0 {
            return Err(table.error("every", "must be at least 1").into());
        }
        let detect = DetectSettings {
            threshold: settings.min_score,
            ..DetectSettings::default()
        };
        Ok(Box::new(TrackFaces {
            detector: kit.face_detector(detect)?,
            embedder: kit.face_embedder()?,
            settings,
        }))
    },
};

struct TrackFaces {
    settings: Settings,
    detector: Loaded<dyn FaceDetector>,
    embedder: Loaded<dyn FaceEmbedder>,
}

impl Stage for TrackFaces {
    type In = One<Clip>;
    type Out = Track;
    const NAME: &'static str = "track";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let mut settings = settings_json(&self.settings);
        settings["detector"] = self.detector.network.tag().into();
        settings["embedder"] = self.embedder.network.tag().into();
        settings
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(clip): Self::In, cx: &Cx<'_>) -> Result<Vec<Track>, Fault> {
        let (detector, embedder) = (self.detector.get()?, self.embedder.get()?);
        let inside = thread_seconds();
        let mut pass = Pass::new(self, &clip, detector, embedder);
        let mut failed = None;
        let result = omni_media::read_frames(
            &cx.root.join(&clip.path),
            &clip_media::span(&clip),
            &Limits::default(),
            &mut |frame| match pass.push(&frame) {
                Ok(()) if !cx.cancel.is_cancelled() => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        match failed {
            Some(error) => return Err(network_fault(error)),
            None => result.map_err(media_fault)?,
        };
        if cx.cancel.is_cancelled() {
            return Err(Fault::stop("cancelled"));
        }
        for (what, count) in ["frames", "detector_calls", "embedder_calls"]
            .into_iter()
            .zip(pass.counts)
        {
            cx.count(what, count);
        }
        cx.count("network_us", ((thread_seconds() - inside) * 1e6) as u64);
        let threshold = self.settings.same_person.unwrap_or_else(|| embedder.threshold());
        let tracks = pass.finish(threshold);
        if tracks.is_empty() {
            Err(Fault::Drop("no_face".into()))
        } else {
            Ok(tracks)
        }
    }
}

/// Motion of the mouth and of the upper face since the face's previous picture.
type Motion = (Option<f32>, Option<f32>);

/// The state of one decode pass.
struct Pass<'a> {
    stage: &'a TrackFaces,
    clip: &'a Clip,
    detector: &'a dyn FaceDetector,
    embedder: &'a dyn FaceEmbedder,
    shots: ShotDetector,
    tracker: Tracker,
    meters: Meters,
    /// Motion by frame and by the face's own box, to be joined to the tracks at the end.
    motion: HashMap<(u64, [u32; 4]), Motion>,
    /// Pictures decoded, and calls of detector and embedder, for the log.
    counts: [u64; 3],
}

impl<'a> Pass<'a> {
    fn new(
        stage: &'a TrackFaces,
        clip: &'a Clip,
        detector: &'a dyn FaceDetector,
        embedder: &'a dyn FaceEmbedder,
    ) -> Self {
        let settings = TrackSettings {
            fps: clip.fps,
            max_gap: stage.settings.max_gap,
            min_frames: stage.settings.min_frames,
            min_score: stage
                .settings
                .min_mean_score
                .unwrap_or_else(|| detector.track_score()),
            threshold: stage.settings.same_person.unwrap_or_else(|| embedder.threshold()),
            ..TrackSettings::default()
        };
        Self {
            stage,
            clip,
            detector,
            embedder,
            shots: ShotDetector::new(ShotSettings::default()),
            tracker: Tracker::new(settings),
            meters: Meters::default(),
            motion: HashMap::new(),
            counts: [0; 3],
        }
    }

    fn push(&mut self, frame: &Frame<'_>) -> Result<(), omni_perception::Error> {
        self.counts[0] += 1;
        let cut = self.shots.push(frame.image);
        if !cut && !frame.index.is_multiple_of(self.stage.settings.every) {
            return Ok(());
        }
        if cut {
            self.meters.restart();
        }
        let side = |face: &Face| (face.bbox[2] - face.bbox[0]).min(face.bbox[3] - face.bbox[1]);
        self.counts[1] += 1;
        let mut faces = self.detector.detect(frame.image)?;
        faces.retain(|face| side(face) >= self.stage.settings.min_side);
        for (face, motion) in faces.iter().zip(self.meters.push(frame.image, &faces)) {
            self.motion.insert((frame.index, key(face)), motion);
        }
        let (embedder, calls) = (self.embedder, &mut self.counts[2]);
        let mut embed = |face: &Face| {
            *calls += 1;
            embedder.embed(frame.image, &face.points).map(Some)
        };
        self.tracker.push(frame.index, faces, &mut embed, cut)
    }

    fn finish(mut self, threshold: f32) -> Vec<Track> {
        let raw = std::mem::replace(&mut self.tracker, Tracker::new(TrackSettings::default())).finish();
        let subjects = join(&raw, threshold);
        let embedder = self.embedder.network().tag();
        raw.iter()
            .zip(subjects)
            .enumerate()
            .map(|(number, (track, subject))| Track {
                clip: self.clip.clip.clone(),
                track: number as i64,
                subject: subject as i64,
                shot: track.shot as i64,
                frames: track
                    .frames
                    .iter()
                    .map(|(index, face)| self.frame(*index, face))
                    .collect(),
                vector: mean_vector(track),
                embedder: embedder.clone(),
            })
            .collect()
    }

    fn frame(&self, index: u64, face: &Face) -> TrackFrame {
        let (mouth, upper) = self.motion.get(&(index, key(face))).copied().unwrap_or_default();
        let mut points = [0.0; 10];
        for (slot, value) in points.iter_mut().zip(face.points.iter().flatten()) {
            *slot = f64::from(*value);
        }
        TrackFrame {
            frame: index as i64,
            bbox: face.bbox.map(f64::from),
            score: f64::from(face.score),
            points,
            mouth_motion: mouth.map(f64::from),
            upper_motion: upper.map(f64::from),
        }
    }
}

/// One motion meter per face of the last picture; a face takes over the meter of the one it overlaps most.
#[derive(Default)]
struct Meters(Vec<(Face, MotionMeter)>);

impl Meters {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn push(&mut self, image: &Image, faces: &[Face]) -> Vec<Motion> {
        let before = std::mem::take(&mut self.0);
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (now, face) in faces.iter().enumerate() {
            let overlaps = before
                .iter()
                .enumerate()
                .map(|(then, (old, _))| (iou(&face.bbox, &old.bbox), then, now));
            pairs.extend(overlaps.filter(|(overlap, ..)| *overlap > 0.3));
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut meters: Vec<Option<MotionMeter>> = vec![None; faces.len()];
        let mut taken = vec![false; before.len()];
        for (_, then, now) in pairs {
            if meters[now].is_none() && !taken[then] {
                taken[then] = true;
                meters[now] = Some(before[then].1.clone());
            }
        }
        let mut motions = Vec::with_capacity(faces.len());
        for (face, meter) in faces.iter().zip(meters) {
            let mut meter = meter.unwrap_or_default();
            motions.push(meter.push(image, face));
            self.0.push((face.clone(), meter));
        }
        motions
    }
}

/// A detection's box, bit for bit: two faces of one picture never have the same.
fn key(face: &Face) -> [u32; 4] {
    face.bbox.map(f32::to_bits)
}

/// The mean of the unit vectors, normalised; empty when there is none.
fn mean_vector(track: &RawTrack) -> Vec<f64> {
    let Some((_, first)) = track.vectors.first() else {
        return Vec::new();
    };
    let mut sum = vec![0.0f64; first.len()];
    for (_, vector) in &track.vectors {
        for (total, value) in sum.iter_mut().zip(vector) {
            *total += f64::from(*value);
        }
    }
    crate::kit::unit(sum)
}
