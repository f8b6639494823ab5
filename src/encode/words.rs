//! The prompt of a clip with the places of descriptors and utterances in bytes.

use omni_model::train::MaterialSubject;
use omni_pipeline::Fault;
use omni_schemas::{OmniCaption, Transcript};
use std::ops::Range;

/// A prompt and what is where in it.
#[derive(Debug)]
pub struct Words {
    pub prompt: String,
    /// Anchor and descriptor of everybody, references still to come.
    pub subjects: Vec<(String, MaterialSubject)>,
    pub utterances: Vec<Range<usize>>,
}

/// The words of a clip: its caption's where it has one; otherwise, for sound alone, what its transcript says between `<S>` and
/// `<E>`, spoken by `<sub1>`.
pub fn of(caption: Option<&OmniCaption>, transcript: Option<&Transcript>) -> Result<Words, Fault> {
    if let Some(caption) = caption {
        return captioned(caption);
    }
    let said = transcript.map(|transcript| {
        let texts = transcript.segments.iter().map(|segment| segment.text.trim());
        texts
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    let said = said
        .filter(|said| !said.is_empty())
        .ok_or_else(|| Fault::drop("no_words"))?;
    let before = "<sub1> says, <S>";
    let subject = MaterialSubject {
        descriptor: Some(0.."<sub1> says,".len()),
        ..MaterialSubject::default()
    };
    Ok(Words {
        prompt: format!("{before}{said}<E>"),
        subjects: vec![("<sub1>".to_owned(), subject)],
        utterances: vec![before.len()..before.len() + said.len()],
    })
}

fn captioned(caption: &OmniCaption) -> Result<Words, Fault> {
    let starts: Vec<usize> = caption
        .prompt
        .char_indices()
        .map(|(at, _)| at)
        .chain([caption.prompt.len()])
        .collect();
    let bytes = |start: i64, end: i64| {
        let at = |place: i64| {
            usize::try_from(place)
                .ok()
                .and_then(|place| starts.get(place))
                .copied()
        };
        let span = at(start).zip(at(end)).filter(|(start, end)| start <= end);
        span.map(|(start, end)| start..end)
            .ok_or_else(|| Fault::drop("bad_caption"))
    };
    let subject = |descriptor: &omni_schemas::Descriptor| {
        let subject = MaterialSubject {
            descriptor: Some(bytes(descriptor.start, descriptor.end)?),
            ..MaterialSubject::default()
        };
        Ok((descriptor.anchor.clone(), subject))
    };
    let utterance = |said: &omni_schemas::Utterance| bytes(said.start, said.end);
    Ok(Words {
        subjects: caption
            .descriptors
            .iter()
            .map(subject)
            .collect::<Result<_, Fault>>()?,
        utterances: caption
            .utterances
            .iter()
            .map(utterance)
            .collect::<Result<_, Fault>>()?,
        prompt: caption.prompt.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::{Descriptor, Utterance};

    #[test]
    fn places_count_characters_and_become_bytes() {
        let prompt = "Zwölf: <sub1> sagt, <S>schön<E>".to_owned();
        let caption = OmniCaption {
            clip: "a".to_owned(),
            descriptors: vec![Descriptor {
                anchor: "<sub1>".to_owned(),
                start: 7,
                end: 13,
                descriptor_source: "measured".to_owned(),
            }],
            utterances: vec![Utterance {
                anchor: "<sub1>".to_owned(),
                text: "schön".to_owned(),
                start: 23,
                end: 28,
                language: "de".to_owned(),
            }],
            prompt,
        };
        let words = captioned(&caption).unwrap();
        assert_eq!(
            &words.prompt[words.subjects[0].1.descriptor.clone().unwrap()],
            "<sub1>"
        );
        assert_eq!(&words.prompt[words.utterances[0].clone()], "schön");
        let mut beyond = caption;
        beyond.utterances[0].end = 99;
        assert!(matches!(captioned(&beyond), Err(Fault::Drop(reason)) if reason == "bad_caption"));
    }
}
