//! T-Sim: does each speaker sound like his reference?
//!
//! Formula in docs/metrics.md. One speaker is heard in the whole clip; several are told apart by their words: each
//! recognised segment goes to the speaker whose script it matches best.

use std::{path::Path, sync::Arc};

use omni_media::{Limits, Span, read_audio, resample_sinc};
use omni_perception::{
    Network,
    audio::{
        embedding::SpeakerEmbedder,
        wavlm::WavLm,
        whisper::{Recognizer, TranscribeOptions},
    },
    text::{jiwer_words, score},
    vision::{cosine, hungarian::assign_max},
};
use omni_pipeline::Fault;
use omni_schemas::{Case, CaseSubject};
use serde_json::{Value, json};

use super::{finite, wer::main_language};
use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

/// Less sound than this is no voice: half a second.
const SHORTEST: usize = 8000;
/// The paper's network.
const PAPER: &str = "wavlm_large_sv";

/// Turns a voice into a vector.
pub enum Voice {
    /// From the wave itself.
    WavLm(WavLm),
    /// From filter banks (WeSpeaker).
    Bank(SpeakerEmbedder),
}

impl Voice {
    /// The network.
    pub fn network(&self) -> &Network {
        match self {
            Voice::WavLm(network) => network.network(),
            Voice::Bank(network) => network.network(),
        }
    }

    fn embed(&self, wave: &[f32]) -> Result<Vec<f32>, Fault> {
        match self {
            Voice::WavLm(network) => finite(network.embed(wave).map_err(Fault::stop)?),
            Voice::Bank(network) => finite(network.embed(wave).map_err(Fault::stop)?),
        }
    }
}

/// Likeness of voices.
pub struct Voices {
    voice: Arc<Voice>,
    recognizer: Arc<Recognizer>,
}

impl Voices {
    /// With a speaker network, and a recogniser for clips with several speakers.
    pub fn new(voice: Arc<Voice>, recognizer: Arc<Recognizer>) -> Voices {
        Voices { voice, recognizer }
    }
}

impl Metric for Voices {
    fn name(&self) -> &'static str {
        "t_sim"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.voice.network().id.as_str();
        let other = (id != PAPER).then_some(id);
        ["t_sim", "t_sim_matched"]
            .map(|name| Reading::plain(name, other, Better::Higher))
            .to_vec()
    }

    fn settings(&self) -> Value {
        json!({ "voice": self.voice.network().tag(), "recognizer": self.recognizer.network().tag() })
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let speakers: Vec<&CaseSubject> = speakers(&take.case);
        let voices: Option<Vec<&String>> = speakers.iter().map(|speaker| speaker.voice.as_ref()).collect();
        let voices = voices
            .filter(|voices| !voices.is_empty())
            .ok_or_else(|| Fault::drop("no_reference"))?;
        let mut references = Vec::new();
        for path in voices {
            let wave = reference(Path::new(path))?;
            references.push(self.voice.embed(&wave)?);
        }
        Ok(Box::new(Hearing {
            metric: self,
            case: &take.case,
            anchors: speakers.iter().map(|speaker| speaker.anchor.as_str()).collect(),
            references,
            voices: None,
            heard: Vec::new(),
            seconds: Vec::new(),
        }))
    }
}

/// The subjects that are to speak: by the script, or, without one, by their own flag.
fn speakers(case: &Case) -> Vec<&CaseSubject> {
    let speaks = |subject: &&CaseSubject| match case.utterances.is_empty() {
        true => subject.speaks,
        false => case
            .utterances
            .iter()
            .any(|utterance| utterance.anchor == subject.anchor),
    };
    case.subjects.iter().filter(speaks).collect()
}

/// A reference voice: channels averaged, torchaudio's resampler.
fn reference(path: &Path) -> Result<Vec<f32>, Fault> {
    let sound = read_audio(path, &Span::default(), &Limits::default())
        .map_err(|_| Fault::drop("no_reference_voice"))?;
    let wave = resample_sinc(&sound.mono().samples, sound.rate, 16_000);
    if wave.len() < SHORTEST {
        return Err(Fault::drop("short_reference_voice"));
    }
    if !wave.iter().all(|x| x.is_finite()) {
        return Err(Fault::drop("nan"));
    }
    Ok(wave)
}

struct Hearing<'a> {
    metric: &'a Voices,
    case: &'a Case,
    anchors: Vec<&'a str>,
    references: Vec<Vec<f32>>,
    /// The vector of each speaker; `None` for one who is not heard.
    voices: Option<Vec<Option<Vec<f32>>>>,
    /// What was said when, and by whom, for whoever asks why.
    heard: Vec<Value>,
    /// How long each speaker is heard.
    seconds: Vec<f64>,
}

impl Scoring for Hearing<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        let waves = match self.anchors.len() {
            1 => vec![sound.sinc().to_vec()],
            _ => self.split(sound)?,
        };
        let mut voices = Vec::new();
        self.seconds = waves.iter().map(|wave| wave.len() as f64 / 16e3).collect();
        for wave in waves {
            let heard = wave.len() >= SHORTEST && wave.iter().any(|x| *x != 0.0);
            voices.push(if heard {
                Some(self.metric.voice.embed(&wave)?)
            } else {
                None
            });
        }
        self.voices = Some(voices);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let Some(voices) = &self.voices else {
            return Ok(vec![Outcome::Absent("no_audio"); 2].into());
        };
        let similar = |reference: usize, voice: usize| match &voices[voice] {
            Some(voice) => f64::from(cosine(&self.references[reference], voice)),
            None => 0.0,
        };
        let count = self.references.len();
        let bound = (0..count).map(|i| similar(i, i)).sum::<f64>() / count as f64;
        let pairs = assign_max(count, count, similar);
        let matched = pairs.into_iter().map(|(a, b)| similar(a, b)).sum::<f64>() / count as f64;
        let outcomes = vec![Outcome::of(Some(bound), "nan"), Outcome::of(Some(matched), "nan")];
        let speaker = |i: usize| {
            json!({
                "anchor": self.anchors[i],
                "seconds": self.seconds.get(i),
                "cosine": similar(i, i),
                "flag": voices[i].is_none().then_some("no_speech"),
            })
        };
        let speakers: Vec<Value> = (0..count).map(speaker).collect();
        let detail = json!({ "speakers": speakers, "segments": self.heard });
        Ok(Measured::with(outcomes, detail))
    }
}

impl Hearing<'_> {
    /// The sound of each speaker: the segments whose words are his.
    fn split(&mut self, sound: &Sound) -> Result<Vec<Vec<f32>>, Fault> {
        let language = main_language(self.case);
        let options = TranscribeOptions {
            language: language.clone(),
            timestamps: true,
        };
        let heard = self
            .metric
            .recognizer
            .transcribe(sound.speech(), &options, &|| true)
            .map_err(Fault::stop)?;
        let language = language.unwrap_or(heard.language);
        let words = |text: &str| jiwer_words(&score(&language, text, "").reference);
        let segments: Vec<Vec<String>> = heard
            .segments
            .iter()
            .map(|segment| words(&segment.text))
            .collect();
        let number = |anchor: &str| self.anchors.iter().position(|known| *known == anchor);
        let script: Vec<(usize, Vec<String>)> = self
            .case
            .utterances
            .iter()
            .filter_map(|utterance| Some((number(&utterance.anchor)?, words(&utterance.text))))
            .collect();
        let wave = sound.sinc();
        let mut out = vec![Vec::new(); self.anchors.len()];
        for (segment, owner) in heard.segments.iter().zip(owners(&segments, &script)) {
            self.heard.push(json!({
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "anchor": owner.map(|owner| self.anchors[owner]),
            }));
            let at = |seconds: f64| ((seconds * 16e3).max(0.0) as usize).min(wave.len());
            if let Some(owner) = owner {
                out[owner]
                    .extend_from_slice(&wave[at(segment.start)..at(segment.end).max(at(segment.start))]);
            }
        }
        Ok(out)
    }
}

/// The speaker of each segment: who owns most of the script's words that its words are aligned with. Of equals the one
/// whose utterance comes first; nobody when none of its words is aligned.
pub fn owners(segments: &[Vec<String>], script: &[(usize, Vec<String>)]) -> Vec<Option<usize>> {
    let spoken: Vec<&String> = segments.iter().flatten().collect();
    let written: Vec<(&String, usize)> = script
        .iter()
        .enumerate()
        .flat_map(|(i, (_, words))| words.iter().map(move |word| (word, i)))
        .collect();
    let words: Vec<&String> = written.iter().map(|(word, _)| *word).collect();
    let partners = align(&words, &spoken);
    let mut at = 0;
    segments
        .iter()
        .map(|segment| {
            let own = partners[at..at + segment.len()]
                .iter()
                .flatten()
                .map(|word| written[*word].1);
            at += segment.len();
            let mut counts: Vec<(usize, usize, usize)> = Vec::new();
            for utterance in own {
                let speaker = script[utterance].0;
                match counts.iter_mut().find(|(known, ..)| *known == speaker) {
                    Some((_, first, count)) => {
                        *first = (*first).min(utterance);
                        *count += 1;
                    }
                    None => counts.push((speaker, utterance, 1)),
                }
            }
            counts
                .into_iter()
                .max_by_key(|(_, first, count)| (*count, usize::MAX - first))
                .map(|(speaker, ..)| speaker)
        })
        .collect()
}

/// For each hypothesis word the reference word it is equal to or stands for, by one shortest alignment: from the end,
/// equal before substituted before deleted before inserted.
fn align<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Vec<Option<usize>> {
    let (n, m) = (reference.len(), hypothesis.len());
    let mut cost = vec![vec![0usize; m + 1]; n + 1];
    for i in 0..=n {
        for j in 0..=m {
            cost[i][j] = match (i, j) {
                (0, j) => j,
                (i, 0) => i,
                _ => {
                    let change = usize::from(reference[i - 1] != hypothesis[j - 1]);
                    (cost[i - 1][j - 1] + change)
                        .min(cost[i - 1][j] + 1)
                        .min(cost[i][j - 1] + 1)
                }
            };
        }
    }
    let mut partners = vec![None; m];
    let (mut i, mut j) = (n, m);
    while i > 0 && j > 0 {
        let change = usize::from(reference[i - 1] != hypothesis[j - 1]);
        if cost[i][j] == cost[i - 1][j - 1] + change {
            partners[j - 1] = Some(i - 1);
            (i, j) = (i - 1, j - 1);
        } else if cost[i][j] == cost[i - 1][j] + 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    partners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn segments_go_to_whose_words_they_are() {
        let script = [
            (0, words("come in and sit down")),
            (1, words("no thank you sir")),
            (0, words("as you wish")),
        ];
        let heard = ["come in and sit town", "no thank you", "as you wish", ""].map(words);
        assert_eq!(owners(&heard, &script), [Some(0), Some(1), Some(0), None]);
        assert_eq!(owners(&[words("hello there")], &[]), [None]);
    }

    #[test]
    fn a_tie_goes_to_the_earlier_utterance() {
        let script = [(1, words("a b")), (0, words("c d"))];
        assert_eq!(owners(&[words("b c")], &script), [Some(1)]);
    }

    #[test]
    fn alignments_are_shortest_and_prefer_equals() {
        assert_eq!(
            align(&words("a b c"), &words("a x c")),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(align(&words("a b"), &words("a z b")), [Some(0), None, Some(1)]);
        assert_eq!(align(&words("a b"), &words("b")), [Some(1)]);
    }
}
