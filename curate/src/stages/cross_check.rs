//! Holds what was measured against what the binder claims: agreement and margin as columns. The claim stays as it is;
//! `select` decides what is too little.

use super::Entry;
use crate::{
    evidence::{self, Weights},
    kit::settings_json,
    vector::{cosine, unit},
};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{AvEvidence, Binding, CheckedSpeaker, CrossCheck, Track, Transcript, VoiceRef};
use std::collections::{BTreeMap, BTreeSet};

/// Listed as `cross_check`.
pub const ENTRY: Entry = Entry {
    name: Check::NAME,
    about: "whether mouths and vectors speak for the binding that is claimed",
    build: |table, _kit| {
        Ok(Box::new(Check {
            settings: table.read()?,
        }))
    },
};

struct Check {
    settings: Weights,
}

impl Stage for Check {
    type In = (
        One<Binding>,
        One<Transcript>,
        Many<AvEvidence>,
        Many<Track>,
        Many<VoiceRef>,
    );
    type Out = CrossCheck;
    const NAME: &'static str = "cross_check";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn run(&self, input: Self::In, _cx: &Cx<'_>) -> Result<Vec<CrossCheck>, Fault> {
        let (One(binding), One(transcript), Many(evidence), Many(tracks), Many(voices)) = input;
        let weights = &self.settings;
        let measured = evidence::bind(&binding.clip, &evidence, &transcript.segments, weights);
        let names: BTreeSet<&String> = transcript.segments.iter().map(|said| &said.speaker).collect();
        let speakers: Vec<CheckedSpeaker> = names
            .into_iter()
            .map(|name| speaker(name, &binding, &measured, &evidence, weights))
            .collect();
        let told: Vec<bool> = speakers.iter().filter_map(|row| row.agrees).collect();
        let agreed = told.iter().filter(|agrees| **agrees).count();
        let margins = speakers.iter().filter_map(|row| row.margin);
        let route = binding
            .claim
            .as_ref()
            .map_or("local", |claim| claim.route.as_str());
        Ok(vec![CrossCheck {
            route: route.to_owned(),
            agreement: (!told.is_empty()).then(|| agreed as f64 / told.len() as f64),
            margin: margins.min_by(f64::total_cmp),
            faces_alike: faces_alike(&tracks),
            voices_alike: alike(
                &voices
                    .iter()
                    .map(|voice| (voice.speaker.as_str(), voice.vector.as_slice()))
                    .collect::<Vec<_>>(),
            ),
            speakers,
            clip: binding.clip,
        }])
    }
}

/// The person that a binding gives a voice to.
fn face_of(binding: &Binding, name: &str) -> Option<i64> {
    let mut bound = binding.subjects.iter();
    let row = bound.find(|row| row.speaker.as_deref() == Some(name))?;
    Some(row.subject)
}

fn speaker(
    name: &str,
    claim: &Binding,
    measured: &Binding,
    evidence: &[AvEvidence],
    weights: &Weights,
) -> CheckedSpeaker {
    let (claimed, measured) = (face_of(claim, name), face_of(measured, name));
    let strengths: BTreeMap<i64, f64> = evidence
        .iter()
        .filter_map(|row| Some((row.subject, evidence::strength_of(row, name, weights)?)))
        .collect();
    // A person who is never seen during the voice cannot be told from one who is silent.
    let known = match claimed {
        Some(person) => strengths.contains_key(&person),
        None => !strengths.is_empty(),
    };
    let own = match claimed {
        Some(person) => strengths.get(&person).copied().unwrap_or_default(),
        None => weights.min_motion,
    };
    let nobody = claimed.map(|_| weights.min_motion);
    let others = strengths
        .iter()
        .filter(|(person, _)| Some(**person) != claimed)
        .map(|(_, strength)| *strength);
    let rival = others.chain(nobody).max_by(f64::total_cmp);
    CheckedSpeaker {
        speaker: name.to_owned(),
        claimed,
        measured,
        agrees: known.then_some(claimed == measured),
        margin: rival.filter(|_| known).map(|rival| own - rival),
    }
}

fn faces_alike(tracks: &[Track]) -> Option<f64> {
    let vectors: Vec<(i64, &[f64])> = tracks
        .iter()
        .map(|track| (track.subject, track.vector.as_slice()))
        .collect();
    alike(&vectors)
}

/// The largest cosine between vectors of two different owners.
fn alike<O: PartialEq>(vectors: &[(O, &[f64])]) -> Option<f64> {
    let units: Vec<(&O, Vec<f32>)> = vectors
        .iter()
        .filter_map(|(owner, vector)| Some((owner, unit(vector)?)))
        .collect();
    let pairs = units
        .iter()
        .enumerate()
        .flat_map(|(at, a)| units.iter().skip(at + 1).map(move |b| (a, b)));
    let others = pairs.filter(|(a, b)| a.0 != b.0 && a.1.len() == b.1.len());
    others
        .map(|(a, b)| f64::from(cosine(&a.1, &b.1)))
        .max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_pipeline::{Cancel, Pack};
    use omni_schemas::{BoundSubject, Claim, Segment, VoiceMotion};

    fn evidence(subject: i64, on: &[(&str, Option<f64>)]) -> AvEvidence {
        let voice = |(speaker, on): &(&str, Option<f64>)| VoiceMotion {
            speaker: (*speaker).into(),
            seen: 1.0,
            on: *on,
            others: None,
            silence: None,
            correlation: None,
        };
        AvEvidence {
            clip: "c".into(),
            subject,
            voices: on.iter().map(voice).collect(),
            kind: "mouth_patch".into(),
        }
    }

    fn claim(pairs: &[(i64, Option<&str>)]) -> Binding {
        let bound = |(subject, speaker): &(i64, Option<&str>)| BoundSubject {
            subject: *subject,
            speaker: speaker.map(Into::into),
            ..BoundSubject::default()
        };
        Binding {
            clip: "c".into(),
            subjects: pairs.iter().map(bound).collect(),
            claim: Some(Claim {
                route: "gemini".into(),
                ..Claim::default()
            }),
            ..Binding::default()
        }
    }

    fn check(binding: &Binding, evidence: &[AvEvidence], speakers: &[&str]) -> CrossCheck {
        let segment = |speaker: &&str| Segment {
            speaker: (*speaker).into(),
            text: "x".into(),
            start: 0.0,
            end: 1.0,
            language: "en".into(),
        };
        let transcript = Transcript {
            clip: "c".into(),
            segments: speakers.iter().map(segment).collect(),
            audio_caption: None,
            origin: "t".into(),
        };
        let stage = Check {
            settings: Weights::default(),
        };
        let (pack, cancel) = (Pack::new(), Cancel::default());
        let cx = Cx::new("c", std::path::Path::new("."), &pack, &cancel);
        let input = (
            One(binding.clone()),
            One(transcript),
            Many(evidence.to_vec()),
            Many(Vec::new()),
            Many(Vec::new()),
        );
        stage.run(input, &cx).unwrap().remove(0)
    }

    #[test]
    fn a_right_claim_agrees_and_a_swapped_one_does_not() {
        let seen = [
            evidence(1, &[("S1", Some(4.0)), ("S2", Some(0.1))]),
            evidence(2, &[("S1", Some(0.2)), ("S2", Some(3.0))]),
        ];
        let right = check(&claim(&[(1, Some("S1")), (2, Some("S2"))]), &seen, &["S1", "S2"]);
        assert_eq!((right.agreement, right.route.as_str()), (Some(1.0), "gemini"));
        assert!((right.margin.unwrap() - 2.75).abs() < 1e-9, "{right:?}");
        let swapped = check(&claim(&[(1, Some("S2")), (2, Some("S1"))]), &seen, &["S1", "S2"]);
        assert_eq!(swapped.agreement, Some(0.0));
        assert!((swapped.margin.unwrap() + 3.8).abs() < 1e-9, "{swapped:?}");
        assert_eq!(
            (swapped.speakers[0].claimed, swapped.speakers[0].measured),
            (Some(2), Some(1))
        );
    }

    #[test]
    fn an_unseen_voice_agrees_when_no_mouth_moves_and_else_not() {
        let still = [evidence(1, &[("S1", Some(0.05))])];
        let off = check(&claim(&[(1, None)]), &still, &["S1"]);
        assert_eq!(off.agreement, Some(1.0));
        assert!((off.margin.unwrap() - 0.2).abs() < 1e-9);
        let moving = [evidence(1, &[("S1", Some(2.0))])];
        let off = check(&claim(&[(1, None)]), &moving, &["S1"]);
        assert_eq!(off.agreement, Some(0.0));
        assert!(off.margin.unwrap() < 0.0);
    }

    #[test]
    fn what_cannot_be_seen_is_neither_right_nor_wrong() {
        let hidden = [evidence(1, &[("S1", None)])];
        let row = check(&claim(&[(1, Some("S1"))]), &hidden, &["S1"]);
        assert_eq!(
            (row.agreement, row.margin, row.speakers[0].agrees),
            (None, None, None)
        );
        let silent = check(&claim(&[(1, None)]), &hidden, &[]);
        assert_eq!((silent.agreement, silent.speakers.len()), (None, 0));
    }

    #[test]
    fn likeness_is_between_two_owners() {
        let vectors = [(1, &[1.0, 0.0][..]), (1, &[1.0, 0.0]), (2, &[0.6, 0.8]), (3, &[])];
        assert!((alike(&vectors).unwrap() - 0.6).abs() < 1e-6);
        assert_eq!(alike(&vectors[..2]), None);
    }
}
