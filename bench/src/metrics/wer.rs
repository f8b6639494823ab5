//! WER of the transcript against the script, and `caption_leak`.
//!
//! The recogniser is told the case's language and decodes greedily. Reference for the text: Whisper's normalisers and
//! jiwer. A script without a letter or digit has nothing to be measured by: `unscripted`.

use std::sync::Arc;

use omni_perception::{
    audio::whisper::{Recognizer, TranscribeOptions},
    text::{Scored, has_words, jiwer_words, score, score_seedtts},
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

/// By which rules texts are made comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Whisper's normalisers and jiwer: `wer`.
    #[default]
    Whisper,
    /// seed-tts-eval's: `wer_seedtts`, for English and Chinese.
    SeedTts,
}

impl Protocol {
    /// Both.
    pub const ALL: [Protocol; 2] = [Protocol::Whisper, Protocol::SeedTts];

    /// Its name on the command line and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Whisper => "whisper",
            Protocol::SeedTts => "seedtts",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    fn reading(self) -> &'static str {
        match self {
            Protocol::Whisper => "wer",
            Protocol::SeedTts => "wer_seedtts",
        }
    }

    /// `None` where the protocol has no rule for the language.
    fn score(self, language: &str, script: &str, spoken: &str) -> Option<Scored> {
        match self {
            Protocol::Whisper => Some(score(language, script, spoken)),
            Protocol::SeedTts => score_seedtts(language, script, spoken),
        }
    }
}

/// Errors of what is said.
pub struct Wer {
    recognizer: Arc<Recognizer>,
    protocol: Protocol,
}

impl Wer {
    /// With a recogniser.
    pub fn new(recognizer: Arc<Recognizer>) -> Wer {
        Wer {
            recognizer,
            protocol: Protocol::default(),
        }
    }

    /// By other rules than Whisper's.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Wer {
        self.protocol = protocol;
        self
    }
}

impl Metric for Wer {
    fn name(&self) -> &'static str {
        "wer"
    }

    fn version(&self) -> u32 {
        2
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.recognizer.network().id.as_str();
        let other = (id != PAPER).then_some(id);
        [self.protocol.reading(), "caption_leak"]
            .map(|name| Reading::plain(name, other, Better::Lower))
            .to_vec()
    }

    fn settings(&self) -> Value {
        json!({ "network": self.recognizer.network().tag(), "protocol": self.protocol.name() })
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        Ok(Box::new(Listening {
            recognizer: &self.recognizer,
            protocol: self.protocol,
            case: &take.case,
            heard: None,
        }))
    }
}

struct Listening<'a> {
    recognizer: &'a Recognizer,
    protocol: Protocol,
    case: &'a Case,
    heard: Option<(String, String)>,
}

impl Scoring for Listening<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let options = TranscribeOptions {
            language: main_language(self.case),
            timestamps: false,
        };
        // A recogniser hears words even in digital silence ("you"); where nothing sounds, nothing is said.
        if sound.is_silent() {
            let language = options.language.unwrap_or_else(|| "en".to_owned());
            self.heard = Some((language, String::new()));
            return Ok(());
        }
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
        let said = script.join(" ");
        let prompt = self.case.prompt.as_str();
        let leak = (!prompt.is_empty()).then(|| caption_leak(&language, spoken, prompt, &script));
        let leak = Outcome::of(leak, "no_prompt");
        let compared = self.protocol.score(&language, &said, spoken);
        Ok(match compared.filter(|_| has_words(&said)) {
            Some(compared) => {
                let rate = Outcome::of(Some(compared.errors.rate()), "unscripted");
                Measured::with(vec![rate, leak], detail(&language, spoken, &compared))
            }
            None if has_words(&said) => vec![Outcome::Absent("no_protocol"), leak].into(),
            None => {
                let heard = score(&language, &said, spoken);
                Measured::with(
                    vec![Outcome::Absent("unscripted"), leak],
                    detail(&language, spoken, &heard),
                )
            }
        })
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
    fn each_protocol_has_its_own_name_and_rules() {
        assert_eq!(Protocol::of("seedtts"), Some(Protocol::SeedTts));
        assert_eq!(Protocol::of("jiwer"), None);
        assert_ne!(Protocol::SeedTts.reading(), Protocol::Whisper.reading());
        let rate = |protocol: Protocol, language: &str, script: &str, spoken: &str| {
            let compared = protocol.score(language, script, spoken);
            compared.map(|compared| compared.errors.rate())
        };
        // Whisper's normaliser writes numbers and spellings alike, seed-tts-eval's does not.
        let (script, spoken) = ("Twenty colours.", "20 colors");
        assert_eq!(rate(Protocol::Whisper, "en", script, spoken), Some(0.0));
        assert_eq!(rate(Protocol::SeedTts, "en", script, spoken), Some(1.0));
        assert_eq!(
            rate(Protocol::SeedTts, "zh", "你好，世界。", "你好世"),
            Some(0.25)
        );
        assert_eq!(rate(Protocol::SeedTts, "de", "ja", "ja"), None);
    }

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
