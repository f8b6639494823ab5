//! Writes the structured omni-caption (paper, equation 2) from what was measured and given, or from what the model that
//! bound the clip said of it; it calls no model itself and makes nothing up: no sex, age, clothes or mood.

use super::Entry;
use crate::{
    clean::clean_given,
    prompt::{Line, Parts, Subject, render},
};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{
    Binding, Caption, Claim, ClaimedDescriptor, Clip, OmniCaption, Track, Transcript, VoiceRef,
};
use std::collections::BTreeMap;

/// Listed as `compose`.
pub const ENTRY: Entry = Entry {
    name: Compose::NAME,
    about: "the structured prompt, with the place of every descriptor and utterance",
    build: |table, _kit| {
        let Settings {} = table.read()?;
        Ok(Box::new(Compose))
    },
};

/// There is nothing to set: the form of the prompt is the paper's.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Compose;

impl Stage for Compose {
    type In = (
        One<Clip>,
        One<Caption>,
        Many<Track>,
        One<Transcript>,
        Many<VoiceRef>,
        One<Binding>,
    );
    type Out = OmniCaption;
    const NAME: &'static str = "compose";
    const VERSION: u32 = 2;

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    fn run(&self, input: Self::In, _cx: &Cx<'_>) -> Result<Vec<OmniCaption>, Fault> {
        let (One(clip), One(caption), Many(tracks), One(transcript), Many(voices), One(binding)) = input;
        let view = View {
            clip: &clip,
            tracks: &tracks,
            voices: &voices,
            binding: &binding,
        };
        let anchors = view.anchors();
        let anchor = |speaker: &str| anchors.get(speaker).cloned();
        let lines: Vec<Line> = transcript
            .segments
            .iter()
            .enumerate()
            .filter_map(|(at, said)| {
                let text = clean_given(&said.text);
                let lead = view.claim().and_then(|claim| claim.leads.get(at));
                Some(Line {
                    anchor: anchor(&said.speaker)?,
                    lead: lead.cloned().unwrap_or_default(),
                    text,
                    language: said.language.clone(),
                })
            })
            .collect();
        let audio = caption.audio_caption.or(transcript.audio_caption);
        // A claim's texts were cleaned and checked when it was taken; their anchors must stay.
        let (scene, acts) = match view.claim() {
            Some(claim) => (claim.scene.clone(), claim.actions.clone()),
            None => {
                let given = caption.caption.as_deref();
                (given.map(clean_given).unwrap_or_default(), actions(&lines))
            }
        };
        let parts = Parts {
            subjects: view.subjects(&anchors),
            scene,
            actions: acts,
            lines,
            audio: audio.as_deref().map(clean_given).unwrap_or_default(),
        };
        Ok(vec![render(&clip.clip, &parts)])
    }
}

struct View<'a> {
    clip: &'a Clip,
    tracks: &'a [Track],
    voices: &'a [VoiceRef],
    binding: &'a Binding,
}

/// Where a person is seen, as a share of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    /// Mean horizontal centre of the face, 0 (left) to 1.
    x: f64,
    /// Mean height of the face, 0..=1.
    height: f64,
}

impl View<'_> {
    /// The anchor of every speaker: of the person bound to it, or of an off-screen voice behind the last person.
    fn anchors(&self) -> BTreeMap<String, String> {
        let bound = self
            .binding
            .subjects
            .iter()
            .filter_map(|row| Some((row.speaker.clone()?, row.subject)));
        let last = self
            .binding
            .subjects
            .iter()
            .map(|row| row.subject)
            .max()
            .unwrap_or(0);
        let offscreen = self.binding.offscreen.iter().cloned().zip(last + 1..);
        bound
            .chain(offscreen)
            .map(|(speaker, number)| (speaker, format!("<sub{number}>")))
            .collect()
    }

    fn claim(&self) -> Option<&Claim> {
        self.binding.claim.as_ref()
    }

    /// The model's words for an anchor in the place of the measured ones, where it has any.
    fn worded(&self, measured: Subject, silent: bool) -> Subject {
        let mut claimed = self.claim().into_iter().flat_map(|claim| &claim.descriptors);
        let Some(claimed) = claimed.find(|row| row.anchor == measured.anchor) else {
            return measured;
        };
        let ClaimedDescriptor {
            anchor,
            label,
            visual,
            acoustic,
        } = claimed.clone();
        Subject {
            anchor,
            label,
            visual,
            // Who has no voice is silent, whatever the model says of it.
            acoustic: if silent { measured.acoustic } else { acoustic },
            source: self.binding.source.clone(),
        }
    }

    fn subjects(&self, anchors: &BTreeMap<String, String>) -> Vec<Subject> {
        let places: BTreeMap<i64, Place> = self
            .binding
            .subjects
            .iter()
            .map(|row| (row.subject, self.place(row.subject)))
            .collect();
        let seen = self.binding.subjects.iter().map(|row| {
            let measured = Subject {
                anchor: format!("<sub{}>", row.subject),
                label: label(row.subject, &places),
                visual: visual(places[&row.subject]),
                acoustic: row
                    .speaker
                    .as_deref()
                    .map_or_else(|| "silent".to_owned(), |name| self.acoustic(name)),
                source: "measured".into(),
            };
            self.worded(measured, row.speaker.is_none())
        });
        let heard = self.binding.offscreen.iter().filter_map(|speaker| {
            let measured = Subject {
                anchor: anchors.get(speaker)?.clone(),
                label: "an off-screen voice".into(),
                visual: String::new(),
                acoustic: self.acoustic(speaker),
                source: "measured".into(),
            };
            Some(self.worded(measured, false))
        });
        seen.chain(heard).collect()
    }

    fn place(&self, subject: i64) -> Place {
        let frames = || {
            self.tracks
                .iter()
                .filter(|track| track.subject == subject)
                .flat_map(|track| &track.frames)
        };
        let count = frames().count().max(1) as f64;
        let x = frames()
            .map(|frame| (frame.bbox[0] + frame.bbox[2]) / 2.0)
            .sum::<f64>()
            / count;
        let height = frames().map(|frame| frame.bbox[3] - frame.bbox[1]).sum::<f64>() / count;
        Place {
            x: x / self.clip.width.max(1) as f64,
            height: height / self.clip.height.max(1) as f64,
        }
    }

    fn acoustic(&self, speaker: &str) -> String {
        let Some(voice) = self.voices.iter().find(|voice| voice.speaker == speaker) else {
            return String::new();
        };
        let pitch = voice
            .pitch_hz
            .map(|hertz| format!("a voice at about {:.0} Hz", (hertz / 5.0).round() * 5.0));
        let rate = voice.rate_per_second.map(|rate| match voice.language.as_str() {
            "zh" | "yue" | "ja" | "th" | "lo" | "my" | "km" => format!("{rate:.1} characters a second"),
            _ => format!("{rate:.1} words a second"),
        });
        [pitch, rate].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// "the person on the left": by place among the people of the clip, never by looks.
fn label(subject: i64, places: &BTreeMap<i64, Place>) -> String {
    let mut order: Vec<(&i64, &Place)> = places.iter().collect();
    order.sort_by(|a, b| a.1.x.total_cmp(&b.1.x).then(a.0.cmp(b.0)));
    let rank = order
        .iter()
        .position(|(number, _)| **number == subject)
        .unwrap_or(0);
    match (rank, order.len()) {
        (_, 0 | 1) => "the person".into(),
        (0, _) => "the person on the left".into(),
        (rank, count) if rank + 1 == count => "the person on the right".into(),
        (1, 3) => "the person in the middle".into(),
        (rank, _) => format!("person {} from the left", rank + 1),
    }
}

fn visual(place: Place) -> String {
    let size = match place.height {
        height if height >= 0.5 => "in close-up",
        height if height >= 0.2 => "in a medium shot",
        _ => "seen from afar",
    };
    let side = match place.x {
        x if x < 0.4 => "in the left of the picture",
        x if x > 0.6 => "in the right of the picture",
        _ => "in the centre of the picture",
    };
    format!("{size} {side}")
}

/// Who speaks, in order of first speech.
fn actions(lines: &[Line]) -> String {
    let mut order: Vec<&str> = Vec::new();
    for line in lines {
        if !order.contains(&line.anchor.as_str()) {
            order.push(&line.anchor);
        }
    }
    match order.as_slice() {
        [] => String::new(),
        [only] => format!("{only} speaks"),
        [first, rest @ ..] => format!("{first} speaks, then {}", rest.join(", then ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(xs: &[f64]) -> BTreeMap<i64, Place> {
        xs.iter()
            .enumerate()
            .map(|(i, x)| (i as i64 + 1, Place { x: *x, height: 0.3 }))
            .collect()
    }

    #[test]
    fn people_are_named_by_their_place() {
        assert_eq!(label(1, &places(&[0.5])), "the person");
        let three = places(&[0.8, 0.1, 0.4]);
        assert_eq!(
            [1, 2, 3].map(|n| label(n, &three)),
            [
                "the person on the right",
                "the person on the left",
                "the person in the middle"
            ]
        );
        assert_eq!(label(2, &places(&[0.1, 0.3, 0.5, 0.9])), "person 2 from the left");
    }

    #[test]
    fn actions_follow_the_order_of_speech() {
        let line = |n: i64| Line {
            anchor: format!("<sub{n}>"),
            lead: String::new(),
            text: "x".into(),
            language: "en".into(),
        };
        assert_eq!(
            actions(&[line(2), line(1), line(2)]),
            "<sub2> speaks, then <sub1>"
        );
        assert_eq!(actions(&[]), "");
    }
}
