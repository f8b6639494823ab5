//! WER of the transcript against the script, and `caption_leak`.
//!
//! The recogniser is told the case's language and decodes greedily. Reference for the text: Whisper's normalisers and
//! jiwer. A script without a letter or digit has nothing to be measured by: `unscripted`.

use std::sync::Arc;

use omni_perception::{
    audio::whisper::{Recognizer, TranscribeOptions},
    text::{Scored, has_words, jiwer_words, score},
};
use omni_pipeline::Fault;
use omni_schemas::Case;
use serde_json::{Value, json};

use super::{caption_leak::caption_leak, diff::pieces};
use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// The paper's recogniser.
const PAPER: &str = "whisper_large_v3";

/// Errors of what is said.
pub struct Wer {
    recognizer: Arc<Recognizer>,
}

impl Wer {
    /// With a recogniser.
    pub fn new(recognizer: Arc<Recognizer>) -> Wer {
        Wer { recognizer }
    }
}

impl Metric for Wer {
    fn name(&self) -> &'static str {
        "wer"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.recognizer.network().id.as_str();
        let other = (id != PAPER).then_some(id);
        ["wer", "caption_leak"]
            .map(|name| Reading::plain(name, other, Better::Lower))
            .to_vec()
    }

    fn settings(&self) -> Value {
        json!({ "network": self.recognizer.network().tag() })
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        Ok(Box::new(Listening {
            recognizer: &self.recognizer,
            case: &take.case,
            heard: None,
        }))
    }
}

struct Listening<'a> {
    recognizer: &'a Recognizer,
    case: &'a Case,
    heard: Option<(String, String)>,
}

impl Scoring for Listening<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let options = TranscribeOptions {
            language: main_language(self.case),
            timestamps: false,
        };
        let heard = self
            .recognizer
            .transcribe(sound.speech(), &options, &|| true)
            .map_err(Fault::stop)?;
        let text = heard.text();
        self.heard = Some((heard.language, text));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let Some((heard, spoken)) = &self.heard else {
            return Ok(vec![Outcome::Absent("no_audio"); 2].into());
        };
        let language = main_language(self.case).unwrap_or_else(|| heard.clone());
        let script: Vec<&str> = self.case.utterances.iter().map(|u| u.text.as_str()).collect();
        let compared = score(&language, &script.join(" "), spoken);
        let rate = has_words(&script.join(" ")).then(|| compared.errors.rate());
        let prompt = self.case.prompt.as_str();
        let leak = (!prompt.is_empty()).then(|| caption_leak(&language, spoken, prompt, &script));
        let outcomes = vec![Outcome::of(rate, "unscripted"), Outcome::of(leak, "no_prompt")];
        Ok(Measured::with(outcomes, detail(&language, spoken, &compared)))
    }
}

/// What the rate was made from: both texts as they were compared, and where they differ.
fn detail(language: &str, spoken: &str, compared: &Scored) -> Value {
    let (reference, hypothesis) = (
        jiwer_words(&compared.reference),
        jiwer_words(&compared.hypothesis),
    );
    let errors = &compared.errors;
    json!({
        "language": language,
        "heard": spoken,
        "reference": compared.reference,
        "hypothesis": compared.hypothesis,
        "pieces": pieces(&reference, &hypothesis),
        "errors": {
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            "of": errors.reference(),
        },
    })
}

/// The language in which most characters of the script are to be said; `None` without a script. Of equals, the one
/// that comes first.
pub fn main_language(case: &Case) -> Option<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for utterance in &case.utterances {
        let length = utterance.text.chars().count();
        match counts
            .iter_mut()
            .find(|(language, _)| *language == utterance.language)
        {
            Some((_, count)) => *count += length,
            None => counts.push((&utterance.language, length)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .iter()
        .find(|(_, count)| *count == most)
        .map(|(language, _)| (*language).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::CaseUtterance;

    #[test]
    fn the_language_of_most_of_the_script_counts() {
        let say = |language: &str, text: &str| CaseUtterance {
            anchor: "<sub1>".into(),
            text: text.into(),
            language: language.into(),
        };
        let mut case = Case::default();
        assert_eq!(main_language(&case), None);
        case.utterances = vec![say("de", "ja"), say("en", "certainly"), say("de", "nein")];
        assert_eq!(main_language(&case).as_deref(), Some("en"));
        case.utterances.push(say("de", "oja"));
        assert_eq!(
            main_language(&case).as_deref(),
            Some("de"),
            "nine each: the first"
        );
    }
}
