//! Who speaks when, over a whole recording.
//!
//! Voice activity AND local segmentation say when some voice is on; one vector per local voice, from the
//! sound where it is alone, says whose. A second speaker needs evidence: short sounds join the nearest
//! voice unless they are very unlike it, so that a cough or a held vowel does not become a person.

use super::embedding::{SpeakerEmbedder, cosine, unit};
use super::segmentation::{Activity, FRAME_STEP, SpeakerSegmentation};
use super::vad::Vad;
use super::{Stretch, seconds};
use crate::Error;

/// One speaker speaking, in seconds. Turns of different speakers may overlap.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Turn {
    /// Speakers are numbered from 0 in the order in which they begin.
    pub speaker: usize,
    /// First moment.
    pub start: f64,
    /// Last moment.
    pub end: f64,
}

impl Turn {
    /// When.
    pub fn stretch(&self) -> Stretch {
        Stretch {
            start: self.start,
            end: self.end,
        }
    }
}

/// When two voices are one, and how turns are cleaned.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct DiarizeSettings {
    /// Mean cosine at which groups of voices are joined.
    pub join: f32,
    /// Voices heard alone for less than this do not open a speaker easily, in seconds.
    pub solid: f64,
    /// A short voice opens a speaker below this cosine to every other.
    pub strange: f32,
    /// Voices heard alone for less than this never open a speaker, in seconds.
    pub shortest: f64,
    /// Pauses within one turn, in seconds.
    pub pause: f64,
    /// Shorter turns are dropped, in seconds.
    pub min_turn: f64,
}

impl Default for DiarizeSettings {
    fn default() -> Self {
        DiarizeSettings {
            join: 0.3,
            solid: 1.5,
            strange: 0.1,
            shortest: 0.6,
            pause: 0.5,
            min_turn: 0.15,
        }
    }
}

/// Voice activity, segmentation and embedding together.
pub struct Diarizer {
    vad: Vad,
    segmentation: SpeakerSegmentation,
    embedder: SpeakerEmbedder,
    settings: DiarizeSettings,
}

impl Diarizer {
    /// Joins three loaded networks.
    pub fn new(
        vad: Vad,
        segmentation: SpeakerSegmentation,
        embedder: SpeakerEmbedder,
        settings: DiarizeSettings,
    ) -> Self {
        Diarizer {
            vad,
            segmentation,
            embedder,
            settings,
        }
    }

    /// The embedder, for vectors of whole speakers.
    pub fn embedder(&self) -> &SpeakerEmbedder {
        &self.embedder
    }

    /// The voice activity detector.
    pub fn vad(&self) -> &Vad {
        &self.vad
    }

    /// Turns of a 16 kHz wave in order of their starts; none without speech.
    ///
    /// # Errors
    /// [`Error::Network`] when a network fails.
    pub fn turns(&self, wave: &[f32]) -> Result<Vec<Turn>, Error> {
        let speech = self.vad.speech(wave)?;
        if speech.is_empty() {
            return Ok(Vec::new());
        }
        let windows = self.segmentation.activity(wave)?;
        let locals = local_voices(&windows, &speech);
        let mut voices = Vec::with_capacity(locals.len());
        for local in &locals {
            voices.push(self.voice(wave, local)?);
        }
        let speakers = cluster(&voices, &self.settings);
        let marked = locals.iter().zip(speakers).flat_map(|(local, speaker)| {
            local.shown.iter().map(move |s| Turn {
                speaker,
                start: s.start,
                end: s.end,
            })
        });
        Ok(tidy(marked.collect(), &speech, seconds(wave), &self.settings))
    }

    fn voice(&self, wave: &[f32], local: &Local) -> Result<Voice, Error> {
        let alone: Vec<f32> = local.alone.iter().flat_map(|s| s.of(wave)).copied().collect();
        let vector = if alone.len() < 4800 {
            None
        } else {
            Some(self.embedder.embed(&alone)?)
        };
        Ok(Voice {
            vector,
            seconds: seconds(&alone),
        })
    }
}

/// A voice of one window: where it is on within the window's own share of the recording, and where in the
/// whole window it is the only one.
#[derive(Debug, Clone, PartialEq)]
struct Local {
    shown: Vec<Stretch>,
    alone: Vec<Stretch>,
}

/// The voices of all windows. Overlapping windows meet in the middle of what they share.
fn local_voices(windows: &[Activity], speech: &[Stretch]) -> Vec<Local> {
    let mut out = Vec::new();
    for (w, window) in windows.iter().enumerate() {
        let quarter = windows.get(1).map_or(0.0, |second| second.start / 2.0);
        let from = if w == 0 {
            f64::NEG_INFINITY
        } else {
            window.start + quarter
        };
        let to = if w + 1 == windows.len() {
            f64::INFINITY
        } else {
            window.start + 3.0 * quarter
        };
        for voice in 0..3 {
            let on = |i: usize| window.frames[i][voice] && inside(speech, window.time(i));
            let only = |i: usize| on(i) && window.frames[i].iter().filter(|on| **on).count() == 1;
            let shown = runs(window, |i| on(i) && (from..to).contains(&window.time(i)));
            let alone = runs(window, only);
            if !shown.is_empty() {
                out.push(Local { shown, alone });
            }
        }
    }
    out
}

fn inside(speech: &[Stretch], t: f64) -> bool {
    let next = speech.partition_point(|s| s.end < t);
    speech.get(next).is_some_and(|s| s.start <= t)
}

/// Stretches of neighbouring frames for which `on` holds.
fn runs(window: &Activity, on: impl Fn(usize) -> bool) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    for i in (0..window.frames.len()).filter(|i| on(*i)) {
        let (start, end) = (
            window.time(i) - FRAME_STEP / 2.0,
            window.time(i) + FRAME_STEP / 2.0,
        );
        match out.last_mut() {
            Some(last) if start - last.end < FRAME_STEP / 2.0 => last.end = end,
            _ => out.push(Stretch {
                start: start.max(0.0),
                end,
            }),
        }
    }
    out
}

/// A voice to be told from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// Unit vector; `None` when there was too little sound.
    pub vector: Option<Vec<f32>>,
    /// Seconds of sound behind the vector.
    pub seconds: f64,
}

/// More groups than this are not compared pairwise; later voices join what there is.
const MOST: usize = 400;

/// A number per voice, equal for the same speaker.
///
/// Voices with enough sound are grouped by mean cosine until no two groups reach `join`; the others go to
/// the nearest group, or open one when they are strange to all.
pub fn cluster(voices: &[Voice], settings: &DiarizeSettings) -> Vec<usize> {
    let vectors: Vec<(usize, &[f32])> = voices
        .iter()
        .enumerate()
        .filter_map(|(i, v)| Some((i, v.vector.as_deref()?)))
        .collect();
    let longest = vectors
        .iter()
        .map(|(i, _)| *i)
        .max_by(|a, b| voices[*a].seconds.total_cmp(&voices[*b].seconds));
    let is_solid = |i: usize| voices[i].seconds >= settings.solid || Some(i) == longest;
    let solid: Vec<(usize, &[f32])> = vectors
        .iter()
        .copied()
        .filter(|(i, _)| is_solid(*i))
        .take(MOST)
        .collect();
    let mut groups = agglomerate(&solid, settings.join);
    for (i, vector) in vectors.iter().filter(|(i, _)| !solid.iter().any(|(s, _)| s == i)) {
        let nearest = groups
            .iter()
            .enumerate()
            .map(|(g, group)| (group.likeness(vector), g));
        let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0));
        let limit = if is_solid(*i) {
            settings.join
        } else {
            settings.strange
        };
        match nearest {
            Some((likeness, g)) if likeness >= limit || voices[*i].seconds < settings.shortest => {
                groups[g].add(*i, vector)
            }
            _ => groups.push(Group::of(*i, vector)),
        }
    }
    label(voices.len(), &groups)
}

struct Group {
    members: Vec<usize>,
    sum: Vec<f32>,
}

impl Group {
    fn of(member: usize, vector: &[f32]) -> Self {
        Group {
            members: vec![member],
            sum: vector.to_vec(),
        }
    }

    fn add(&mut self, member: usize, vector: &[f32]) {
        self.members.push(member);
        self.sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v);
    }

    /// Cosine of a vector with the group's middle.
    fn likeness(&self, vector: &[f32]) -> f32 {
        unit(self.sum.clone()).map_or(-1.0, |middle| cosine(&middle, vector))
    }

    /// Mean cosine over all pairs of members.
    fn mean_cosine(&self, other: &Group) -> f32 {
        cosine(&self.sum, &other.sum) / (self.members.len() * other.members.len()) as f32
    }
}

/// Joins the two most alike groups until none reach `join`.
fn agglomerate(vectors: &[(usize, &[f32])], join: f32) -> Vec<Group> {
    let mut groups: Vec<Group> = vectors.iter().map(|(i, v)| Group::of(*i, v)).collect();
    let mut likeness: Vec<Vec<f32>> = groups
        .iter()
        .enumerate()
        .map(|(i, a)| groups[..i].iter().map(|b| a.mean_cosine(b)).collect())
        .collect();
    loop {
        let pairs = likeness
            .iter()
            .enumerate()
            .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, c)| (*c, i, j)));
        let best = pairs.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
        let Some((_, i, j)) = best.filter(|(c, ..)| *c >= join) else {
            return groups;
        };
        let gone = groups.remove(i);
        groups[j].members.extend(&gone.members);
        groups[j].sum.iter_mut().zip(&gone.sum).for_each(|(a, b)| *a += b);
        likeness.remove(i);
        likeness.iter_mut().skip(i).for_each(|row| {
            row.remove(i);
        });
        for other in (0..groups.len()).filter(|other| *other != j) {
            likeness[j.max(other)][j.min(other)] = groups[j].mean_cosine(&groups[other]);
        }
    }
}

/// Numbers of the voices; those without a vector go to the largest group.
fn label(voices: usize, groups: &[Group]) -> Vec<usize> {
    let largest = (0..groups.len())
        .rev()
        .max_by_key(|g| groups[*g].members.len())
        .unwrap_or(0);
    let mut out = vec![largest; voices];
    for (g, group) in groups.iter().enumerate() {
        group.members.iter().for_each(|member| out[*member] = g);
    }
    out
}

/// Joins the marks of each speaker, gives unmarked speech to the nearest speaker, numbers speakers by
/// their first turn.
fn tidy(marks: Vec<Turn>, speech: &[Stretch], length: f64, settings: &DiarizeSettings) -> Vec<Turn> {
    let mut turns = join_marks(marks, settings);
    if turns.is_empty() {
        turns.extend(speech.first().map(|s| Turn {
            speaker: 0,
            start: s.start,
            end: s.end,
        }));
    }
    let known = turns.clone();
    for missed in speech
        .iter()
        .filter(|s| known.iter().all(|turn| turn.stretch().overlap(s) == 0.0))
    {
        let apart = |turn: &Turn| (turn.start - missed.end).max(missed.start - turn.end);
        let nearest = known.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        turns.extend(nearest.map(|turn| Turn {
            speaker: turn.speaker,
            start: missed.start,
            end: missed.end,
        }));
    }
    let mut turns = join_marks(turns, settings);
    turns.iter_mut().for_each(|turn| turn.end = turn.end.min(length));
    turns.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.speaker.cmp(&b.speaker)));
    renumber(&mut turns);
    turns
}

fn join_marks(mut marks: Vec<Turn>, settings: &DiarizeSettings) -> Vec<Turn> {
    marks.sort_by(|a, b| a.speaker.cmp(&b.speaker).then(a.start.total_cmp(&b.start)));
    let others = marks.clone();
    let mut out: Vec<Turn> = Vec::new();
    for mark in marks {
        // A pause in which somebody else speaks parts two turns.
        let taken = |from: f64, to: f64| {
            others
                .iter()
                .any(|o| o.speaker != mark.speaker && o.start < to && o.end > from)
        };
        match out.last_mut() {
            Some(last) if last.speaker == mark.speaker && mark.start <= last.end => {
                last.end = last.end.max(mark.end)
            }
            Some(last)
                if last.speaker == mark.speaker
                    && mark.start - last.end < settings.pause
                    && !taken(last.end, mark.start) =>
            {
                last.end = mark.end;
            }
            _ => out.push(mark),
        }
    }
    out.retain(|turn| turn.end - turn.start >= settings.min_turn);
    out
}

fn renumber(turns: &mut [Turn]) {
    let mut order: Vec<usize> = Vec::new();
    for turn in turns {
        let place = order.iter().position(|s| *s == turn.speaker).unwrap_or_else(|| {
            order.push(turn.speaker);
            order.len() - 1
        });
        turn.speaker = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(vector: [f32; 3], seconds: f64) -> Voice {
        Voice {
            vector: unit(vector.to_vec()),
            seconds,
        }
    }

    #[test]
    fn unlike_voices_are_parted_and_like_ones_joined() {
        let voices = [
            voice([1.0, 0.1, 0.0], 3.0),
            voice([0.0, 1.0, 0.1], 3.0),
            voice([1.0, 0.0, 0.2], 2.0),
            voice([0.1, 1.0, 0.0], 2.0),
        ];
        let got = cluster(&voices, &DiarizeSettings::default());
        assert_eq!((got[0], got[1]), (got[2], got[3]));
        assert_ne!(got[0], got[1]);
    }

    #[test]
    fn a_short_voice_needs_more_evidence() {
        let settings = DiarizeSettings::default();
        let long = voice([1.0, 0.0, 0.0], 3.0);
        let somewhat = [0.2, 1.0, 0.0];
        let same = |other: Voice| {
            let got = cluster(&[long.clone(), other], &settings);
            got[0] == got[1]
        };
        assert!(same(voice(somewhat, 0.8)));
        assert!(!same(voice(somewhat, 2.0)));
        assert!(!same(voice([-0.5, 1.0, 0.0], 0.8)));
        assert!(same(voice([-0.5, 1.0, 0.0], 0.3)));
        assert!(same(Voice {
            vector: None,
            seconds: 0.1
        }));
    }

    #[test]
    fn no_voices_have_no_groups() {
        assert!(cluster(&[], &DiarizeSettings::default()).is_empty());
        let silent = vec![
            Voice {
                vector: None,
                seconds: 0.0
            };
            2
        ];
        assert_eq!(cluster(&silent, &DiarizeSettings::default()), [0, 0]);
    }

    #[test]
    fn turns_are_joined_over_pauses_but_not_over_others() {
        let turn = |speaker, start, end| Turn { speaker, start, end };
        let speech = [Stretch { start: 0.0, end: 5.0 }, Stretch { start: 7.0, end: 8.0 }];
        let marks = vec![
            turn(7, 0.0, 1.0),
            turn(7, 1.2, 2.0),
            turn(3, 2.0, 2.3),
            turn(7, 2.3, 3.0),
            turn(3, 2.9, 4.0),
        ];
        let got = tidy(marks, &speech, 10.0, &DiarizeSettings::default());
        let expected = [
            turn(0, 0.0, 2.0),
            turn(1, 2.0, 2.3),
            turn(0, 2.3, 3.0),
            turn(1, 2.9, 4.0),
            turn(1, 7.0, 8.0),
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn speech_without_a_voice_is_one_speaker() {
        let speech = [Stretch { start: 1.0, end: 2.0 }, Stretch { start: 3.0, end: 4.0 }];
        let got = tidy(Vec::new(), &speech, 5.0, &DiarizeSettings::default());
        assert_eq!(got.len(), 2);
        assert!(got.iter().all(|turn| turn.speaker == 0));
    }
}
