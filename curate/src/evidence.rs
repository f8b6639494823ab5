//! From mouth motion and a transcript to who speaks: the arithmetic behind `av_evidence` and the `local` binder.
//!
//! A mouth that moves while a voice is on, more than the rest of its face does, is evidence that the voice is its own.
//! Nothing here opens media; both functions are pure.

use omni_perception::vision::hungarian;
use omni_schemas::{
    AvEvidence, Binding, BoundSubject, SOURCE_LOCAL, Segment, Track, TrackFrame, VoiceMotion,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Loudness of the sound over time: `values[i]` covers `[i, i + 1) * step` seconds.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// Seconds per value.
    pub step: f64,
    /// Root-mean-square amplitude.
    pub values: Vec<f64>,
}

impl Envelope {
    /// Cuts `samples` (mono, `rate` a second) into pieces of `step` seconds.
    pub fn of(samples: &[f32], rate: u32, step: f64) -> Self {
        let length = ((f64::from(rate) * step) as usize).max(1);
        let rms = |piece: &[f32]| {
            (piece.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / piece.len() as f64).sqrt()
        };
        Self {
            step,
            values: samples.chunks(length).map(rms).collect(),
        }
    }

    fn at(&self, seconds: f64) -> Option<f64> {
        (self.step > 0.0)
            .then(|| self.values.get((seconds / self.step) as usize).copied())
            .flatten()
    }
}

/// One reading of a face: when, and how much more its mouth moved than its upper half, grey levels.
type Reading = (f64, f64);

/// What each subject's mouth does while each speaker is heard; one row per subject, by number.
pub fn measure(
    clip: &str,
    fps: f64,
    tracks: &[Track],
    segments: &[Segment],
    sound: &Envelope,
) -> Vec<AvEvidence> {
    let mut readings: BTreeMap<i64, Vec<Reading>> = BTreeMap::new();
    for track in tracks {
        let subject = readings.entry(track.subject).or_default();
        subject.extend(track.frames.iter().filter_map(|frame| reading(frame, fps)));
    }
    let mut speakers: Vec<&str> = segments.iter().map(|segment| segment.speaker.as_str()).collect();
    speakers.sort_unstable();
    speakers.dedup();
    let row = |(subject, readings): (&i64, &Vec<Reading>)| AvEvidence {
        clip: clip.to_owned(),
        subject: *subject,
        voices: speakers
            .iter()
            .map(|speaker| voice(speaker, readings, segments, sound, fps))
            .collect(),
        kind: "mouth_patch".into(),
    };
    readings.iter().map(row).collect()
}

fn reading(frame: &TrackFrame, fps: f64) -> Option<Reading> {
    Some((
        frame.frame as f64 / fps,
        frame.mouth_motion? - frame.upper_motion?,
    ))
}

fn voice(
    speaker: &str,
    readings: &[Reading],
    segments: &[Segment],
    sound: &Envelope,
    fps: f64,
) -> VoiceMotion {
    let covers = |segment: &Segment, time: f64| segment.start <= time && time < segment.end;
    let is_on = |time: f64| segments.iter().any(|s| s.speaker == speaker && covers(s, time));
    let other_on = |time: f64| segments.iter().any(|s| s.speaker != speaker && covers(s, time));
    let pick = |keep: &dyn Fn(f64) -> bool| -> Vec<Reading> {
        readings.iter().copied().filter(|(time, _)| keep(*time)).collect()
    };
    let on = pick(&|time| is_on(time));
    // The loudness that belongs to this voice: what is heard while it is on, nothing while it is off.
    let heard: Vec<(f64, f64)> = readings
        .iter()
        .filter_map(|(time, motion)| Some((*motion, if is_on(*time) { sound.at(*time)? } else { 0.0 })))
        .collect();
    VoiceMotion {
        speaker: speaker.to_owned(),
        seen: on.len() as f64 / fps,
        on: mean(&on),
        others: mean(&pick(&|time| other_on(time) && !is_on(time))),
        silence: mean(&pick(&|time| !other_on(time) && !is_on(time))),
        correlation: correlation(&heard),
    }
}

fn mean(readings: &[Reading]) -> Option<f64> {
    (!readings.is_empty())
        .then(|| readings.iter().map(|(_, motion)| motion).sum::<f64>() / readings.len() as f64)
}

/// Pearson's r; absent below 8 points or where one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    if pairs.len() < 8 {
        return None;
    }
    let (mean_x, mean_y) = (
        pairs.iter().map(|p| p.0).sum::<f64>() / n,
        pairs.iter().map(|p| p.1).sum::<f64>() / n,
    );
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    let (xx, yy) = (sum(&|x, _| x * x), sum(&|_, y| y * y));
    (xx > 1e-12 && yy > 1e-12).then(|| (sum(&|x, y| x * y) / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

/// How the local binder weighs evidence: the settings of `bind` and of `cross_check`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Mouth motion below which a face counts as silent, grey levels.
    pub min_motion: f64,
    /// How many grey levels a correlation of 1 with the loudness is worth.
    pub correlation: f64,
    /// Share of the motion while others speak (or nobody does) that is taken off: chewing, laughing, camera shake.
    pub baseline: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            min_motion: 0.25,
            correlation: 0.5,
            baseline: 0.5,
        }
    }
}

/// Chooses the one-to-one binding with the largest sum of evidence; a pair below `min_motion` is no pair.
pub fn bind(clip: &str, evidence: &[AvEvidence], segments: &[Segment], weights: &Weights) -> Binding {
    let mut speakers: Vec<&str> = segments.iter().map(|segment| segment.speaker.as_str()).collect();
    speakers.sort_unstable();
    speakers.dedup();
    let score = |row: &AvEvidence, speaker: &str| strength_of(row, speaker, weights).unwrap_or(0.0);
    let scores: Vec<Vec<f64>> = evidence
        .iter()
        .map(|row| speakers.iter().map(|speaker| score(row, speaker)).collect())
        .collect();
    let gains: Vec<Vec<f64>> = scores
        .iter()
        .map(|row| {
            row.iter()
                .map(|score| (score - weights.min_motion).max(0.0))
                .collect()
        })
        .collect();
    let mut bound: BTreeMap<usize, usize> = BTreeMap::new();
    for (face, voice) in
        hungarian::assign_max(evidence.len(), speakers.len(), |face, voice| gains[face][voice])
    {
        if gains[face][voice] > 0.0 {
            bound.insert(face, voice);
        }
    }
    let subjects = evidence.iter().enumerate().map(|(face, row)| BoundSubject {
        subject: row.subject,
        speaker: bound.get(&face).map(|voice| speakers[*voice].to_owned()),
        margin: bound
            .get(&face)
            .map(|voice| margin(&scores, face, *voice, weights.min_motion)),
        confidence: None,
    });
    let subjects = subjects.collect();
    let heard = |voice: &usize| !bound.values().any(|taken| taken == voice);
    let offscreen = (0..speakers.len())
        .filter(heard)
        .map(|voice| speakers[voice].to_owned())
        .collect();
    Binding {
        clip: clip.to_owned(),
        subjects,
        offscreen,
        source: SOURCE_LOCAL.into(),
        faces: evidence.len() as i64,
        speakers: speakers.len() as i64,
        claim: None,
        raw: None,
    }
}

/// How strongly the evidence of one person speaks for a voice, grey levels; nothing when the person was never seen
/// during it.
pub fn strength_of(evidence: &AvEvidence, speaker: &str, weights: &Weights) -> Option<f64> {
    let voice = evidence.voices.iter().find(|voice| voice.speaker == speaker);
    voice.and_then(|voice| strength(voice, weights))
}

fn strength(voice: &VoiceMotion, weights: &Weights) -> Option<f64> {
    let baseline = [voice.others, voice.silence]
        .into_iter()
        .flatten()
        .fold(0.0, f64::max);
    Some(voice.on? - weights.baseline * baseline + weights.correlation * voice.correlation.unwrap_or(0.0))
}

/// Distance to the next best answer to "whose voice is this": another face, or nobody's.
fn margin(scores: &[Vec<f64>], face: usize, voice: usize, nobody: f64) -> f64 {
    let rivals = scores
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != face)
        .map(|(_, row)| row[voice]);
    scores[face][voice] - rivals.fold(nobody, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS: f64 = 25.0;
    const WEIGHTS: Weights = Weights {
        min_motion: 0.25,
        correlation: 0.0,
        baseline: 0.5,
    };

    fn segment(speaker: &str, start: f64, end: f64) -> Segment {
        Segment {
            speaker: speaker.into(),
            text: "x".into(),
            start,
            end,
            language: "en".into(),
        }
    }

    /// A face whose mouth moves by `motion(t)` grey levels.
    fn track(number: i64, seconds: f64, motion: impl Fn(f64) -> f64) -> Track {
        let frame = |frame: i64| TrackFrame {
            frame,
            bbox: [0.0, 0.0, 9.0, 9.0],
            score: 0.9,
            points: [0.0; 10],
            mouth_motion: (frame > 0).then(|| motion(frame as f64 / FPS) + 1.0),
            upper_motion: (frame > 0).then_some(1.0),
        };
        let frames = (0..(seconds * FPS) as i64).map(frame).collect();
        Track {
            clip: "c".into(),
            track: number,
            subject: number + 1,
            shot: 0,
            frames,
            vector: vec![],
            embedder: "e".into(),
        }
    }

    fn decide(tracks: &[Track], segments: &[Segment]) -> Binding {
        bind(
            "c",
            &measure("c", FPS, tracks, segments, &Envelope::default()),
            segments,
            &WEIGHTS,
        )
    }

    fn speaker_of(binding: &Binding, subject: i64) -> Option<&str> {
        binding
            .subjects
            .iter()
            .find(|row| row.subject == subject)
            .and_then(|row| row.speaker.as_deref())
    }

    #[test]
    fn a_dialogue_binds_each_mouth_to_its_turn() {
        let tracks = [
            track(0, 6.0, |t| if t < 3.0 { 4.0 } else { 0.1 }),
            track(1, 6.0, |t| if t < 3.0 { 0.1 } else { 3.0 }),
        ];
        let binding = decide(&tracks, &[segment("S1", 0.2, 2.8), segment("S2", 3.1, 5.9)]);
        assert_eq!(
            (speaker_of(&binding, 1), speaker_of(&binding, 2)),
            (Some("S1"), Some("S2"))
        );
        assert!(binding.offscreen.is_empty());
        assert!(binding.subjects.iter().all(|row| row.margin.unwrap() > 1.5));
    }

    #[test]
    fn a_voice_without_a_moving_mouth_is_off_screen() {
        let binding = decide(&[track(0, 3.0, |_| 0.05)], &[segment("S1", 0.0, 3.0)]);
        assert_eq!(
            (speaker_of(&binding, 1), binding.offscreen.as_slice()),
            (None, &["S1".to_owned()][..])
        );
        assert_eq!(binding.subjects[0].margin, None);
    }

    #[test]
    fn a_mouth_that_never_rests_gives_a_low_margin() {
        let segments = [segment("S1", 0.0, 3.0)];
        let sure = decide(&[track(0, 3.0, |_| 4.0), track(1, 3.0, |_| 0.2)], &segments);
        let unsure = decide(&[track(0, 3.0, |_| 4.0), track(1, 3.0, |_| 3.8)], &segments);
        assert!(sure.subjects[0].margin.unwrap() > 3.0 && unsure.subjects[0].margin.unwrap() < 0.5);
    }

    #[test]
    fn one_face_takes_one_voice_and_the_other_stays_off_screen() {
        let tracks = [track(0, 6.0, |t| if t < 3.0 { 5.0 } else { 1.5 })];
        let binding = decide(&tracks, &[segment("S1", 0.0, 3.0), segment("S2", 3.0, 6.0)]);
        assert_eq!(
            (speaker_of(&binding, 1), binding.offscreen.as_slice()),
            (Some("S1"), &["S2".to_owned()][..])
        );
    }

    #[test]
    fn no_speech_leaves_every_face_silent() {
        let binding = decide(&[track(0, 3.0, |_| 4.0)], &[]);
        assert_eq!((speaker_of(&binding, 1), binding.offscreen.len()), (None, 0));
    }

    #[test]
    fn loudness_correlates_with_the_mouth_that_makes_it() {
        let loud = |t: f64| 2.0 + 2.0 * (t * 9.0).sin();
        let sound = Envelope {
            step: 1.0 / FPS,
            values: (0..75).map(|i| loud(i as f64 / FPS)).collect(),
        };
        let tracks = [
            track(0, 3.0, loud),
            track(1, 3.0, |t| 2.0 + 2.0 * (t * 23.0).cos()),
        ];
        let rows = measure("c", FPS, &tracks, &[segment("S1", 0.0, 3.0)], &sound);
        assert!(rows[0].voices[0].correlation.unwrap() > 0.95);
        assert!(rows[1].voices[0].correlation.unwrap().abs() < 0.4);
    }
}
