//! `binding_acc`: is the right mouth moving for the right voice, utterance by utterance? Formula in docs/metrics.md.
//!
//! Ours, and no reading of the paper's. A recogniser says when each utterance of the script is heard, mouth motion says
//! whose mouth moves most just then, and face vectors say who that is.

use std::{ops::Range, path::Path, sync::Arc};

use omni_media::Frame;
use omni_perception::{
    audio::whisper::{Recognizer, TranscribeOptions},
    text::{jiwer_words, score},
    vision::{FaceDetector, FaceEmbedder, cosine, hungarian::assign_max},
};
use omni_pipeline::Fault;
use omni_schemas::Case;
use serde_json::{Value, json};

use super::{face::Faces, finite, mouths::Mouths, t_sim::owners, wer::main_language};
use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// Every so many looked-at frames a face's vector is taken.
const VECTORS: usize = 5;
/// Share of an utterance's time in which a mouth must be known.
const KNOWN: f64 = 0.5;

/// Whether mouths and voices belong to each other.
pub struct Binding {
    faces: Faces,
    recognizer: Arc<Recognizer>,
}

impl Binding {
    /// With a detector, an embedder and a recogniser.
    pub fn new(
        detector: Arc<dyn FaceDetector>,
        embedder: Arc<dyn FaceEmbedder>,
        recognizer: Arc<Recognizer>,
    ) -> Binding {
        Binding {
            faces: Faces::new(detector, embedder),
            recognizer,
        }
    }
}

impl Metric for Binding {
    fn name(&self) -> &'static str {
        "binding"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let networks = format!("{}+{}", self.faces.networks(), self.recognizer.network().id);
        vec![Reading::plain("binding_acc", Some(&networks), Better::Higher)]
    }

    fn settings(&self) -> Value {
        json!({ "faces": self.faces.settings(), "recognizer": self.recognizer.network().tag(), "known": KNOWN })
    }

    fn sees(&self) -> bool {
        true
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref().ok_or_else(|| Fault::drop("no_video"))?;
        if take.audio.is_none() {
            return Err(Fault::drop("no_audio"));
        }
        let seen = take.case.subjects.iter().filter(|subject| subject.visible);
        let seen: Vec<(&str, &String)> = seen
            .filter_map(|subject| Some((subject.anchor.as_str(), subject.face.as_ref()?)))
            .collect();
        if seen.len() < 2 {
            return Err(Fault::drop("one_subject"));
        }
        let references: Result<Vec<Vec<f32>>, Fault> = seen
            .iter()
            .map(|(_, path)| self.faces.reference(Path::new(path)))
            .collect();
        Ok(Box::new(Watching {
            metric: self,
            case: &take.case,
            anchors: seen.into_iter().map(|(anchor, _)| anchor).collect(),
            references: references?,
            spans: Vec::new(),
            mouths: Mouths::new(video),
            sums: Vec::new(),
            looked: 0,
        }))
    }
}

struct Watching<'a> {
    metric: &'a Binding,
    case: &'a Case,
    /// Those who are to be seen and have a picture.
    anchors: Vec<&'a str>,
    references: Vec<Vec<f32>>,
    /// When each utterance of the script is heard, seconds; `None` where it is not.
    spans: Vec<Option<Range<f64>>>,
    mouths: Mouths,
    /// The sum of the unit vectors of each mouth's face; empty while there is none.
    sums: Vec<Vec<f32>>,
    looked: usize,
}

impl Scoring for Watching<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        self.spans = self.heard(sound)?;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let Some(slot) = self.mouths.slot(frame) else {
            return Ok(());
        };
        let faces = self
            .metric
            .faces
            .detector()
            .detect(frame.image)
            .map_err(Fault::stop)?;
        let numbers = self.mouths.look(frame, &faces, slot);
        let wanted = self.looked.is_multiple_of(VECTORS);
        self.looked += 1;
        for (face, number) in faces.iter().zip(numbers) {
            self.sums.resize(self.sums.len().max(number + 1), Vec::new());
            // Points that span nothing, or a face that is already well known, have no vector here.
            if (wanted || self.sums[number].is_empty())
                && let Ok(vector) = self.metric.faces.embedder().embed(frame.image, &face.points)
            {
                add(&mut self.sums[number], &finite(vector)?);
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let verdicts: Vec<Verdict> = (0..self.spans.len()).map(|i| self.verdict(i)).collect();
        let judged: Vec<bool> = verdicts.iter().filter_map(|verdict| verdict.right).collect();
        let right = judged.iter().filter(|right| **right).count() as f64;
        let share = (!judged.is_empty()).then(|| right / judged.len() as f64);
        let utterance = |(verdict, utterance): (&Verdict, &omni_schemas::CaseUtterance)| {
            json!({
                "anchor": utterance.anchor,
                "start": verdict.span.as_ref().map(|span| span.start),
                "end": verdict.span.as_ref().map(|span| span.end),
                "moves": verdict.moves.map(|subject| self.anchors[subject]),
                "right": verdict.right,
            })
        };
        let utterances: Vec<Value> = verdicts
            .iter()
            .zip(&self.case.utterances)
            .map(utterance)
            .collect();
        Ok(Measured::with(
            vec![Outcome::of(share, "no_utterance")],
            json!({ "utterances": utterances }),
        ))
    }
}

/// What is said of one utterance.
struct Verdict {
    span: Option<Range<f64>>,
    /// The subject whose mouth moves most; `None` when it is nobody known.
    moves: Option<usize>,
    /// Whether that is the speaker; `None` when it cannot be judged.
    right: Option<bool>,
}

impl Watching<'_> {
    /// When each utterance is heard: from the first to the last segment whose words are its.
    fn heard(&self, sound: &Sound) -> Result<Vec<Option<Range<f64>>>, Fault> {
        let options = TranscribeOptions {
            language: main_language(self.case),
            timestamps: true,
        };
        let heard = self
            .metric
            .recognizer
            .transcribe(sound.speech(), &options, &|| true);
        let heard = heard.map_err(Fault::stop)?;
        let language = options.language.unwrap_or(heard.language);
        let words = |text: &str| jiwer_words(&score(&language, text, "").reference);
        let segments: Vec<Vec<String>> = heard
            .segments
            .iter()
            .map(|segment| words(&segment.text))
            .collect();
        let utterances = self.case.utterances.iter().enumerate();
        let script: Vec<(usize, Vec<String>)> = utterances
            .map(|(i, utterance)| (i, words(&utterance.text)))
            .collect();
        let mut spans: Vec<Option<Range<f64>>> = vec![None; self.case.utterances.len()];
        for (segment, owner) in heard.segments.iter().zip(owners(&segments, &script)) {
            if let Some(owner) = owner {
                let span = spans[owner].get_or_insert(segment.start..segment.end);
                *span = span.start.min(segment.start)..span.end.max(segment.end);
            }
        }
        Ok(spans)
    }

    fn verdict(&self, utterance: usize) -> Verdict {
        let span = self.spans[utterance].clone();
        let anchor = &self.case.utterances[utterance].anchor;
        let speaker = self.anchors.iter().position(|known| known == anchor);
        let mut verdict = Verdict {
            span: span.clone(),
            moves: None,
            right: None,
        };
        let (Some(span), Some(speaker)) = (span, speaker) else {
            return verdict;
        };
        let fps = self.mouths.fps();
        let slots = (span.start * fps) as usize..((span.end * fps).ceil() as usize).min(self.mouths.slots());
        let moving = moving(&self.mouths.motions(), slots);
        if moving.len() >= 2 {
            let who = self.identities(&moving);
            let most = (0..moving.len()).max_by(|&a, &b| moving[a].1.total_cmp(&moving[b].1));
            verdict.moves = most.and_then(|most| who[most]);
            verdict.right = Some(verdict.moves == Some(speaker));
        }
        verdict
    }

    /// The subject of each of these mouths, one to one; `None` for a face that is like none of them.
    fn identities(&self, moving: &[(usize, f64)]) -> Vec<Option<usize>> {
        let empty = Vec::new();
        let vector = |i: usize| self.sums.get(moving[i].0).unwrap_or(&empty);
        let alike = |subject: usize, i: usize| match vector(i).is_empty() {
            true => -1.0,
            false => f64::from(cosine(&self.references[subject], vector(i))),
        };
        let least = f64::from(self.metric.faces.embedder().threshold());
        let mut who = vec![None; moving.len()];
        for (subject, i) in assign_max(self.references.len(), moving.len(), alike) {
            if alike(subject, i) >= least {
                who[i] = Some(subject);
            }
        }
        who
    }
}

/// The mouths that are known in at least half of these slots, by number, and how much each moves on average.
fn moving(motions: &[&[Option<f64>]], slots: Range<usize>) -> Vec<(usize, f64)> {
    let least = (KNOWN * slots.len() as f64).max(1.0);
    let mean = |(number, motion): (usize, &&[Option<f64>])| {
        let end = slots.end.min(motion.len());
        let known: Vec<f64> = motion[slots.start.min(end)..end]
            .iter()
            .copied()
            .flatten()
            .collect();
        let enough = known.len() as f64 >= least;
        enough.then(|| (number, known.iter().sum::<f64>() / known.len() as f64))
    };
    motions.iter().enumerate().filter_map(mean).collect()
}

/// Adds a vector at unit length.
fn add(sum: &mut Vec<f32>, vector: &[f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x / length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mouths_that_are_known_for_half_of_the_time_are_compared() {
        let still = vec![Some(0.1); 20];
        let busy = vec![Some(3.0); 20];
        let brief: Vec<Option<f64>> = (0..20).map(|t| (t < 4).then_some(9.0)).collect();
        let early = vec![Some(5.0); 5];
        let motions: Vec<&[Option<f64>]> = vec![&still, &busy, &brief, &early];
        let got = moving(&motions, 0..10);
        let rounded: Vec<(usize, f64)> = got.iter().map(|(i, m)| (*i, (m * 10.0).round() / 10.0)).collect();
        assert_eq!(rounded, [(0, 0.1), (1, 3.0), (3, 5.0)]);
        assert_eq!(moving(&motions, 12..20).len(), 2);
        assert!(moving(&motions, 30..40).is_empty() && moving(&motions, 5..5).is_empty());
    }

    #[test]
    fn long_vectors_count_no_more_than_short_ones() {
        let mut sum = Vec::new();
        add(&mut sum, &[0.0, 0.0]);
        assert!(sum.is_empty());
        add(&mut sum, &[3.0, 4.0]);
        add(&mut sum, &[0.6, 0.8]);
        assert!((sum[0] - 1.2).abs() < 1e-6 && (sum[1] - 1.6).abs() < 1e-6);
    }
}
