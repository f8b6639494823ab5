//! The binding and the caption a model claims, checked rule by rule. One reason for each rule.

use super::ask::Unusable;
use crate::clean::{clean, clean_given};
use omni_schemas::{BoundSubject, ClaimedDescriptor, Segment};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization;

/// What a silent person's voice is called.
const NONE: &str = "none";
/// Most characters of a label or of the words before a speech.
const MOST_LABEL: usize = 120;
/// Most characters of what is seen or heard of one person.
const MOST_DESCRIPTION: usize = 500;
/// Most characters of the scene, or of the actions.
const MOST_SCENE: usize = 1500;

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<'a> {
    /// The people who can be shown, by number.
    pub faces: Vec<i64>,
    /// Number of the last person of the clip, shown or not; anchors of unseen voices come behind it.
    pub last: i64,
    /// The voices, by name.
    pub speakers: Vec<String>,
    /// Who says what.
    pub segments: &'a [Segment],
    /// Length of the clip, seconds.
    pub seconds: f64,
}

/// What was found sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The faces that were asked about, by number.
    pub subjects: Vec<BoundSubject>,
    /// Voices without a face, by name.
    pub offscreen: Vec<String>,
    /// One for each face and unseen voice, in that order.
    pub descriptors: Vec<ClaimedDescriptor>,
    /// The surroundings.
    pub scene: String,
    /// What happens.
    pub actions: String,
    /// The words between anchor and speech, one for each segment.
    pub leads: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    bindings: Vec<Bound>,
    descriptors: Vec<ClaimedDescriptor>,
    scene: String,
    actions: String,
    utterances: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bound {
    face: i64,
    speaker: String,
    confidence: f64,
}

/// The anchor of a person or of a voice behind the last person.
pub fn anchor(number: i64) -> String {
    format!("<sub{number}>")
}

impl Asked<'_> {
    /// The question as JSON, as the prompt describes it.
    pub fn task(&self) -> String {
        let faces = self
            .faces
            .iter()
            .map(|face| json!({"face": face, "anchor": anchor(*face)}));
        let unseen = (1..=self.speakers.len() as i64).map(|more| anchor(self.last + more));
        let segments = self.segments.iter().map(|said| {
            json!({"speaker": said.speaker, "start": said.start, "end": said.end, "language": said.language,
                "text": clean_given(&said.text)})
        });
        json!({"seconds": (self.seconds * 100.0).round() / 100.0, "faces": faces.collect::<Vec<_>>(),
            "speakers": self.speakers, "unseen_anchors": unseen.collect::<Vec<_>>(),
            "segments": segments.collect::<Vec<_>>()})
        .to_string()
    }
}

/// The JSON Schema that is sent along; no more in it than every server understands.
pub fn schema() -> Value {
    let text = json!({"type": "string"});
    let number = json!({"type": "number"});
    let object = |fields: Value| {
        let required: Vec<&String> = fields
            .as_object()
            .map(|fields| fields.keys().collect())
            .unwrap_or_default();
        json!({"type": "object", "required": required, "properties": fields})
    };
    let bound = object(json!({"face": {"type": "integer"}, "speaker": text, "confidence": number}));
    let described = object(json!({"anchor": text, "label": text, "visual": text, "acoustic": text}));
    object(json!({
        "bindings": {"type": "array", "items": bound},
        "descriptors": {"type": "array", "items": described},
        "scene": text, "actions": text,
        "utterances": {"type": "array", "items": text},
    }))
}

/// Checks an answer against what was asked.
///
/// # Errors
/// The first rule that does not hold.
pub fn check(answer: Map<String, Value>, asked: &Asked<'_>) -> Result<Checked, Unusable> {
    let answer: Answer = serde_json::from_value(Value::Object(answer))
        .map_err(|error| Unusable::new("schema", format!("the answer breaks the schema: {error}")))?;
    let subjects = subjects(&answer.bindings, asked)?;
    let bound: BTreeSet<&str> = subjects.iter().filter_map(|row| row.speaker.as_deref()).collect();
    let offscreen: Vec<String> = asked
        .speakers
        .iter()
        .filter(|speaker| !bound.contains(speaker.as_str()))
        .cloned()
        .collect();
    let anchors = Anchors::of(asked, &subjects, &offscreen);
    let descriptors = descriptors(answer.descriptors, &anchors)?;
    let leads = leads(&answer.utterances, asked.segments, &anchors)?;
    Ok(Checked {
        scene: prose("scene", &answer.scene, &anchors)?,
        actions: prose("actions", &answer.actions, &anchors)?,
        subjects,
        offscreen,
        descriptors,
        leads,
    })
}

fn subjects(bindings: &[Bound], asked: &Asked<'_>) -> Result<Vec<BoundSubject>, Unusable> {
    let mut rows: BTreeMap<i64, BoundSubject> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for said in bindings {
        if !asked.faces.contains(&said.face) {
            let detail = format!("there is no face {}; the faces are {:?}", said.face, asked.faces);
            return Err(Unusable::new("unknown_face", detail));
        }
        let speaker = Some(said.speaker.trim()).filter(|name| *name != NONE);
        if let Some(name) = speaker {
            if !asked.speakers.iter().any(|known| known == name) {
                let detail = format!(
                    "there is no speaker `{name}`; the speakers are {:?}, or none",
                    asked.speakers
                );
                return Err(Unusable::new("unknown_speaker", detail));
            }
            if !taken.insert(name) && !rows.contains_key(&said.face) {
                return Err(Unusable::new(
                    "speaker_twice",
                    format!("the voice {name} has two faces"),
                ));
            }
        }
        if !(0.0..=1.0).contains(&said.confidence) {
            let detail = format!("the confidence {} lies outside 0 to 1", said.confidence);
            return Err(Unusable::new("confidence", detail));
        }
        let row = BoundSubject {
            subject: said.face,
            speaker: speaker.map(str::to_owned),
            margin: None,
            confidence: Some(said.confidence),
        };
        if rows.insert(said.face, row).is_some() {
            return Err(Unusable::new(
                "face_twice",
                format!("face {} stands there twice", said.face),
            ));
        }
    }
    match asked.faces.iter().find(|face| !rows.contains_key(face)) {
        Some(face) => Err(Unusable::new(
            "face_missing",
            format!("face {face} has no entry in bindings"),
        )),
        None => Ok(rows.into_values().collect()),
    }
}

/// Who may be named, and by whose voice.
struct Anchors {
    /// Every anchor, in order; and whether it is seen, and whether it is heard.
    all: Vec<(String, bool, bool)>,
    of_speaker: BTreeMap<String, String>,
}

impl Anchors {
    fn of(asked: &Asked<'_>, subjects: &[BoundSubject], offscreen: &[String]) -> Anchors {
        let seen = subjects
            .iter()
            .map(|row| (anchor(row.subject), true, row.speaker.is_some()));
        let unseen = (asked.last + 1..).zip(offscreen);
        let unseen_anchors = unseen.clone().map(|(number, _)| (anchor(number), false, true));
        let bound = subjects
            .iter()
            .filter_map(|row| Some((row.speaker.clone()?, anchor(row.subject))));
        let heard = unseen.map(|(number, speaker)| (speaker.clone(), anchor(number)));
        Anchors {
            all: seen.chain(unseen_anchors).collect(),
            of_speaker: bound.chain(heard).collect(),
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.all.iter().any(|(known, ..)| known == name)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|(name, ..)| name.as_str()).collect();
        names.join(", ")
    }
}

/// Anchors in a text, in order, and the text without them.
fn taken_out(text: &str) -> (Vec<&str>, String) {
    let (mut found, mut rest, mut plain) = (Vec::new(), text, String::new());
    while let Some(at) = rest.find("<sub") {
        plain.push_str(&rest[..at]);
        let tail = &rest[at..];
        let digits = tail[4..].bytes().take_while(u8::is_ascii_digit).count();
        let end = 4 + digits;
        match digits > 0 && tail[end..].starts_with('>') {
            true => {
                found.push(&tail[..=end]);
                rest = &tail[end + 1..];
            }
            false => {
                plain.push_str(&tail[..4]);
                rest = &tail[4..];
            }
        }
    }
    plain.push_str(rest);
    (found, plain)
}

/// A text that may hold anchors, cleaned as the prompt will be. Nothing that reads as another mark may be left.
fn anchored(what: &str, text: &str, most: usize, anchors: &Anchors) -> Result<String, Unusable> {
    let text = clean(text);
    let (named, plain) = taken_out(&text);
    if let Some(unknown) = named.iter().find(|name| !anchors.knows(name)) {
        let detail = format!("{what} names {unknown}; there are {}", anchors.names());
        return Err(Unusable::new("unknown_anchor", detail));
    }
    unmarked(what, &plain)?;
    short(what, &text, most)?;
    Ok(text)
}

fn unmarked(what: &str, text: &str) -> Result<(), Unusable> {
    // Comparing with the blanks gone: taking an anchor out leaves two of them.
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match squeezed(&clean_given(text)) == squeezed(text) {
        true => Ok(()),
        false => Err(Unusable::new(
            "markup",
            format!("{what} holds marks of the caption format"),
        )),
    }
}

fn short(what: &str, text: &str, most: usize) -> Result<(), Unusable> {
    match text.chars().count() > most {
        true => Err(Unusable::new(
            "too_long",
            format!("{what} has more than {most} characters"),
        )),
        false => Ok(()),
    }
}

fn prose(what: &str, text: &str, anchors: &Anchors) -> Result<String, Unusable> {
    let text = anchored(what, text, MOST_SCENE, anchors)?;
    match text.is_empty() {
        true => Err(Unusable::new("empty_field", format!("{what} is empty"))),
        false => Ok(text),
    }
}

fn descriptors(given: Vec<ClaimedDescriptor>, anchors: &Anchors) -> Result<Vec<ClaimedDescriptor>, Unusable> {
    let mut found: BTreeMap<String, ClaimedDescriptor> = BTreeMap::new();
    for said in given {
        let name = said.anchor.trim().to_owned();
        let Some((_, seen, heard)) = anchors.all.iter().find(|(known, ..)| *known == name) else {
            let detail = format!("a descriptor is for {name}; there are {}", anchors.names());
            return Err(Unusable::new("unknown_anchor", detail));
        };
        let field = |what: &str, text: &str, most, needed: bool| {
            let what = format!("{what} of {name}");
            let text = clean(text.trim_end_matches(['.', ' ', '\n']));
            unmarked(&what, &text)?;
            short(&what, &text, most)?;
            match needed && text.is_empty() {
                true => Err(Unusable::new("empty_field", format!("{what} is empty"))),
                false => Ok(text),
            }
        };
        let row = ClaimedDescriptor {
            label: field("label", &said.label, MOST_LABEL, true)?,
            visual: field("visual", &said.visual, MOST_DESCRIPTION, *seen)?,
            acoustic: field("acoustic", &said.acoustic, MOST_DESCRIPTION, *heard)?,
            anchor: name.clone(),
        };
        if found.insert(name.clone(), row).is_some() {
            return Err(Unusable::new(
                "anchor_twice",
                format!("{name} has two descriptors"),
            ));
        }
    }
    let missing = anchors.all.iter().find(|(name, ..)| !found.contains_key(name));
    if let Some((name, ..)) = missing {
        return Err(Unusable::new(
            "anchor_missing",
            format!("{name} has no descriptor"),
        ));
    }
    Ok(anchors
        .all
        .iter()
        .filter_map(|(name, ..)| found.remove(name))
        .collect())
}

fn leads(utterances: &[String], segments: &[Segment], anchors: &Anchors) -> Result<Vec<String>, Unusable> {
    if utterances.len() != segments.len() {
        let detail = format!(
            "there are {} utterances for {} segments",
            utterances.len(),
            segments.len()
        );
        return Err(Unusable::new("utterance_count", detail));
    }
    let pairs = utterances.iter().zip(segments).enumerate();
    pairs
        .map(|(at, (text, said))| lead(&format!("utterance {}", at + 1), text, said, anchors))
        .collect()
}

/// The words between anchor and speech.
fn lead(what: &str, text: &str, said: &Segment, anchors: &Anchors) -> Result<String, Unusable> {
    let text = clean(text);
    let unbalanced = || {
        Unusable::new(
            "unbalanced",
            format!("{what} must hold one <S> and behind it one <E>, and end there"),
        )
    };
    let (before, rest) = text.split_once("<S>").ok_or_else(unbalanced)?;
    let (spoken, after) = rest.split_once("<E>").ok_or_else(unbalanced)?;
    let marks = [before, spoken, after].concat();
    if marks.contains("<S>") || marks.contains("<E>") || after.chars().any(char::is_alphanumeric) {
        return Err(unbalanced());
    }
    let before = anchored(what, before, MOST_LABEL, anchors)?;
    let (named, _) = taken_out(&before);
    let first = named.first().filter(|name| before.starts_with(**name));
    let Some(first) = first else {
        return Err(Unusable::new(
            "no_anchor",
            format!("{what} does not begin with an anchor"),
        ));
    };
    let wanted = anchors.of_speaker.get(&said.speaker);
    if wanted.map(String::as_str) != Some(*first) {
        let detail = format!(
            "{what} is given to {first}, but the voice {} is {}",
            said.speaker,
            wanted.map_or("nobody's", String::as_str)
        );
        return Err(Unusable::new("wrong_anchor", detail));
    }
    if plain(spoken) != plain(&clean_given(&said.text)) {
        let detail = format!(
            "{what} says other words than the segment, which are: {}",
            said.text
        );
        return Err(Unusable::new("words_differ", detail));
    }
    Ok(before[first.len()..].trim().to_owned())
}

/// A text for comparing: letters and digits alone, in one form and one case.
fn plain(text: &str) -> String {
    let letters = text.nfkc().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
