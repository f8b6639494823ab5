//! Builds the structured omni-caption (paper, equation 2) and knows the place of every part while it writes it.

use omni_schemas::{Descriptor, OmniCaption, Utterance};

/// A person or an off-screen voice of the prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The anchor, for example `<sub1>`.
    pub anchor: String,
    /// A natural label that comes before the anchor, for example `the person on the left`.
    pub label: String,
    /// What is seen, for example `face in close-up`; empty for an off-screen voice.
    pub visual: String,
    /// What is heard, for example `voice at about 120 Hz`; empty for a silent face.
    pub acoustic: String,
    /// Where these words come from.
    pub source: String,
}

/// One utterance to be attributed.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Who speaks.
    pub anchor: String,
    /// The words between the anchor and the speech, for example `says,`; may hold other anchors.
    pub lead: String,
    /// The words.
    pub text: String,
    /// ISO 639-1 code.
    pub language: String,
}

/// Everything a prompt says. All text must be cleaned already.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// The people, by number, then off-screen voices.
    pub subjects: Vec<Subject>,
    /// The scene as a sentence; empty when nothing is known.
    pub scene: String,
    /// The actions as sentences; empty when nothing is known.
    pub actions: String,
    /// The utterances, by time.
    pub lines: Vec<Line>,
    /// The audio caption; empty when there is none.
    pub audio: String,
}

/// Text that counts its characters while it grows; never begins or ends with white space, never doubles it.
#[derive(Default)]
struct Writer {
    text: String,
    characters: i64,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.characters += text.chars().count() as i64;
        self.text.push_str(text);
    }

    /// A sentence of its own: separated by one blank, closed by a full stop where it has no end mark.
    fn sentence(&mut self, text: &str) -> (i64, i64) {
        if !self.text.is_empty() {
            self.push(" ");
        }
        let start = self.characters;
        self.push(text);
        let end = self.characters;
        // A closing quote or bracket may stand behind the end mark: `"Come in."`.
        if !text
            .trim_end_matches(['"', '\'', ')', '”'])
            .ends_with(['.', '!', '?', '。', '！', '？'])
        {
            self.push(".");
        }
        (start, end)
    }
}

/// Renders the prompt: descriptors, scene, actions, then every utterance as `<S>...<E>` behind its anchor.
pub fn render(clip: &str, parts: &Parts) -> OmniCaption {
    let mut writer = Writer::default();
    let descriptors = parts
        .subjects
        .iter()
        .map(|subject| descriptor(&mut writer, subject))
        .collect();
    for text in [&parts.scene, &parts.actions] {
        if !text.is_empty() {
            writer.sentence(text);
        }
    }
    let utterances = parts
        .lines
        .iter()
        .filter_map(|line| utterance(&mut writer, line))
        .collect();
    if !parts.audio.is_empty() {
        let audio = format!("<AUDCAP>{}<ENDAUDCAP>", parts.audio);
        writer.push(if writer.text.is_empty() { "" } else { " " });
        writer.push(&audio);
    }
    OmniCaption {
        clip: clip.to_owned(),
        prompt: writer.text,
        descriptors,
        utterances,
    }
}

fn descriptor(writer: &mut Writer, subject: &Subject) -> Descriptor {
    let words: Vec<&str> = [&subject.visual, &subject.acoustic]
        .into_iter()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    let text = match words.as_slice() {
        [] => format!("{} {}", capital(&subject.label), subject.anchor),
        words => format!(
            "{} {}: {}",
            capital(&subject.label),
            subject.anchor,
            words.join(", ")
        ),
    };
    let (start, end) = writer.sentence(&text);
    Descriptor {
        anchor: subject.anchor.clone(),
        start,
        end,
        descriptor_source: subject.source.clone(),
    }
}

fn utterance(writer: &mut Writer, line: &Line) -> Option<Utterance> {
    if line.text.is_empty() {
        return None;
    }
    writer.push(if writer.text.is_empty() { "" } else { " " });
    let lead = if line.lead.is_empty() { "says," } else { &line.lead };
    writer.push(&format!("{} {lead} <S>", line.anchor));
    let start = writer.characters;
    writer.push(&line.text);
    let end = writer.characters;
    writer.push("<E>.");
    Some(Utterance {
        anchor: line.anchor.clone(),
        text: line.text.clone(),
        start,
        end,
        language: line.language.clone(),
    })
}

fn capital(label: &str) -> String {
    let mut letters = label.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::{clean, clean_given};
    use proptest::prelude::*;

    fn cut(prompt: &str, start: i64, end: i64) -> String {
        prompt
            .chars()
            .skip(start as usize)
            .take((end - start) as usize)
            .collect()
    }

    #[test]
    fn reads_as_a_person_would_write_it() {
        let parts = Parts {
            subjects: vec![
                Subject {
                    anchor: "<sub1>".into(),
                    label: "the person on the left".into(),
                    visual: "face in close-up".into(),
                    acoustic: "voice at about 120 Hz".into(),
                    source: "measured".into(),
                },
                Subject {
                    anchor: "<sub2>".into(),
                    label: "an off-screen voice".into(),
                    visual: String::new(),
                    acoustic: String::new(),
                    source: "measured".into(),
                },
            ],
            scene: "Two men in a kitchen.".into(),
            actions: "<sub1> speaks".into(),
            lines: vec![Line {
                anchor: "<sub1>".into(),
                lead: String::new(),
                text: "Come in.".into(),
                language: "en".into(),
            }],
            audio: "A calm voice.".into(),
        };
        let caption = render("c", &parts);
        assert_eq!(
            caption.prompt,
            "The person on the left <sub1>: face in close-up, voice at about 120 Hz. An off-screen voice <sub2>. \
             Two men in a kitchen. <sub1> speaks. <sub1> says, <S>Come in.<E>. <AUDCAP>A calm voice.<ENDAUDCAP>"
        );
        let first = &caption.descriptors[0];
        assert_eq!(
            cut(&caption.prompt, first.start, first.end),
            "The person on the left <sub1>: face in close-up, voice at about 120 Hz"
        );
    }

    proptest! {
        #[test]
        fn spans_cut_out_what_they_name_and_cleaning_changes_nothing(
            scene in "\\PC{0,40}", texts in proptest::collection::vec("\\PC{0,30}", 0..4), label in "[a-zé ]{1,12}",
        ) {
            let anchor = "<sub1>".to_owned();
            let lines = texts.iter()
                .map(|text| Line { anchor: anchor.clone(), lead: String::new(), text: clean_given(text), language: "en".into() })
                .collect();
            let label = format!("x{}", clean_given(&label));
            let subject = Subject { anchor, label, visual: "near".into(), acoustic: String::new(), source: "measured".into() };
            let parts = Parts { subjects: vec![subject], scene: clean_given(&scene), lines, ..Parts::default() };
            let caption = render("c", &parts);
            prop_assert_eq!(clean(&caption.prompt), caption.prompt.clone());
            for utterance in &caption.utterances {
                prop_assert_eq!(cut(&caption.prompt, utterance.start, utterance.end), utterance.text.clone());
                prop_assert!(caption.prompt.chars().skip((utterance.start - 3) as usize).collect::<String>().starts_with("<S>"));
                prop_assert!(caption.prompt.chars().skip(utterance.end as usize).collect::<String>().starts_with("<E>"));
            }
            for descriptor in &caption.descriptors {
                prop_assert!(cut(&caption.prompt, descriptor.start, descriptor.end).contains(&descriptor.anchor));
            }
        }
    }
}
