//! Subject-aware multimodal rotary positions (paper, equations 3 and 4): where each token of the joint context lies.
//!
//! Points are (time, a, b). Text token k of the prompt lies at (tau_k, 0, 0). The slot right after a subject's descriptor
//! is left free: its pictures and voice lie in that slot, spread along a and b, and the text resumes after it. Phonemes lie
//! along the text of their utterance. The paper's symbols are lost in its text; this is the project's reading of it.

use crate::{Error, Result};
use std::ops::Range;

/// What is open in the paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Added to rows, columns and audio places of references; 1 keeps them apart from text and phonemes, 0 is the literal
    /// reading.
    pub ref_spatial_offset: f64,
    /// Whether the text leaves a slot free for each subject.
    pub anchor_shift: bool,
    /// Which end of the descriptor references lie at.
    pub anchor: Anchor,
}

/// An end of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Right before it.
    Start,
    /// Right after it.
    End,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ref_spatial_offset: 1.0,
            anchor_shift: true,
            anchor: Anchor::End,
        }
    }
}

/// A subject: where the prompt describes it, and how large its references are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Text tokens of its first description; `None` if the prompt was cut before it, then it anchors at the text's end.
    pub descriptor: Option<Range<usize>>,
    /// Rows and columns of the patches of its picture; zero for none.
    pub picture: (usize, usize),
    /// Latents of its voice; zero for none.
    pub voice: usize,
}

/// What somebody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utterance {
    /// Text tokens strictly between `<S>` and `<E>`.
    pub span: Range<usize>,
    /// Phonemes.
    pub phonemes: usize,
}

/// A prompt with its subjects and utterances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Text tokens, pads not counted.
    pub text: usize,
    /// In the order of their references.
    pub subjects: Vec<Subject>,
    /// In the order of their phonemes.
    pub utterances: Vec<Utterance>,
}

/// Points of all tokens, (time, a, b) each.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Text.
    pub text: Vec<[f64; 3]>,
    /// Patches of pictures, subject after subject, rows first.
    pub video: Vec<[f64; 3]>,
    /// Latents of voices, subject after subject.
    pub audio: Vec<[f64; 3]>,
    /// Phonemes, utterance after utterance.
    pub tts: Vec<[f64; 3]>,
    /// The time of each subject's references.
    pub anchors: Vec<f64>,
}

impl Points {
    /// All points in the order of the joint context.
    pub fn joint(&self) -> Vec<[f64; 3]> {
        [&self.text, &self.video, &self.audio, &self.tts]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

fn at(place: usize) -> f64 {
    place as f64
}

impl Prompt {
    /// Places every token. Fails on spans that reach beyond the text, on utterances that overlap, and on phonemes of an
    /// utterance without visible text.
    pub fn points(&self, settings: &Settings) -> Result<Points> {
        self.check()?;
        let edges: Vec<usize> = self
            .subjects
            .iter()
            .map(|subject| self.edge(subject, settings))
            .collect();
        let passed = |place: usize| {
            let slots = edges.iter().filter(|edge| **edge <= place).count();
            if settings.anchor_shift { slots } else { 0 }
        };
        let tau = |place: usize| at(place + passed(place));
        // two subjects cut off with the text, or described by one span, still get a slot each
        let slot = |(index, edge): (usize, &usize)| {
            let before = edges
                .iter()
                .enumerate()
                .filter(|(other, at)| (**at, *other) < (*edge, index))
                .count();
            at(edge + if settings.anchor_shift { before } else { 0 })
        };
        let anchors: Vec<f64> = edges.iter().enumerate().map(slot).collect();
        let offset = settings.ref_spatial_offset;
        let (mut video, mut audio, mut tts) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, anchor) in self.subjects.iter().zip(&anchors) {
            let (rows, columns) = subject.picture;
            for row in 0..rows {
                video.extend((0..columns).map(|column| [*anchor, at(row) + offset, at(column) + offset]));
            }
            audio.extend((0..subject.voice).map(|place| [*anchor, at(place) + offset, 0.0]));
        }
        for Utterance { span, phonemes } in &self.utterances {
            let (first, last) = (tau(span.start), tau(span.end.saturating_sub(1)));
            let share = |m: usize| {
                if *phonemes > 1 {
                    at(m) / at(phonemes - 1)
                } else {
                    0.5
                }
            };
            tts.extend((0..*phonemes).map(|m| [first + (last - first) * share(m), 0.0, 1.0]));
        }
        Ok(Points {
            text: (0..self.text).map(|place| [tau(place), 0.0, 0.0]).collect(),
            video,
            audio,
            tts,
            anchors,
        })
    }

    fn edge(&self, subject: &Subject, settings: &Settings) -> usize {
        match (&subject.descriptor, settings.anchor) {
            (Some(span), Anchor::End) => span.end,
            (Some(span), Anchor::Start) => span.start,
            (None, _) => self.text,
        }
    }

    fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Input(why));
        for span in self
            .subjects
            .iter()
            .filter_map(|subject| subject.descriptor.as_ref())
        {
            if span.start >= span.end || span.end > self.text {
                return refuse(format!(
                    "descriptor {span:?} is not within {} text tokens",
                    self.text
                ));
            }
        }
        let mut end = 0;
        for Utterance { span, phonemes } in &self.utterances {
            if span.start < end || span.start > span.end || span.end > self.text {
                let text = self.text;
                return refuse(format!(
                    "utterance {span:?} overlaps the one before or leaves {text} text tokens"
                ));
            }
            if span.is_empty() && *phonemes > 0 {
                return refuse(format!(
                    "utterance {span:?} has no visible text for its {phonemes} phonemes"
                ));
            }
            end = span.end;
        }
        Ok(())
    }

    /// Which phonemes each text token sees, text by phonemes.
    pub fn mask(&self) -> Vec<Vec<bool>> {
        let total = self.utterances.iter().map(|utterance| utterance.phonemes).sum();
        let mut mask = vec![vec![false; total]; self.text];
        let mut first = 0;
        for Utterance { span, phonemes } in &self.utterances {
            for row in &mut mask[span.clone()] {
                row[first..first + phonemes].fill(true);
            }
            first += phonemes;
        }
        mask
    }
}
