//! Who says what, when, by a service (paper, section 3): Qwen3-Omni over vLLM's chat API, which also says how the clip
//! sounds, or any OpenAI-compatible transcription endpoint, whose words are given to the speakers that the local
//! diariser hears.

use super::{Entry, hub};
use crate::{
    clip_media,
    kit::{Loaded, network_fault, settings_json},
    services::{
        Endpoint, Hub, Line,
        ask::{self, Route},
        hearing::Hearing,
        question::{Part, Question},
        qwen, transcript, whisper,
    },
};
use omni_media::Waveform;
use omni_net::service::Transport;
use omni_perception::audio::diarize::{Diarizer, Turn};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Segment, Transcript};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// Name and words of the prompt.
const PROMPT: (&str, &str) = ("transcribe@1", include_str!("../../prompts/transcribe.v1.txt"));
/// A dry run does not know how long the clips are, and says so.
const EXPECTED_SECONDS: f64 = 10.0;

/// What changes the result, but for `endpoint` and `probe_sound`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `chat`: Qwen3-Omni over vLLM's chat API. `transcription`: an OpenAI-compatible `/v1/audio/transcriptions`.
    pub api: String,
    /// The model, as the service calls it.
    pub model: String,
    /// Asked once when two answers of `model` could not be used; empty: none. `chat` only.
    pub fallback_model: String,
    /// ISO 639-1 code of the whole corpus; empty: the service tells. `transcription` only.
    pub language: String,
    /// Most tokens of an answer. `chat` only.
    pub max_tokens: u64,
    /// Seed of the sampling. `chat` only.
    pub seed: u64,
    /// Whether two sounds are sent first in each run, to see that the server hears. `chat` only; changes no result.
    pub probe_sound: bool,
    /// Address, key, rates and prices.
    pub endpoint: Endpoint,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api: "chat".into(),
            model: "Qwen/Qwen3-Omni-30B-A3B-Instruct".into(),
            fallback_model: String::new(),
            language: String::new(),
            max_tokens: 2048,
            seed: 7,
            probe_sound: true,
            endpoint: Endpoint::default(),
        }
    }
}

/// Listed as `transcribe_service`.
pub const ENTRY: Entry = Entry {
    name: TranscribeService::NAME,
    about: "speakers, words and times, by Qwen3-Omni or a transcription endpoint",
    build: |table, kit| {
        let settings: Settings = table.read()?;
        let chat = match settings.api.as_str() {
            "chat" => true,
            "transcription" => false,
            _ => return Err(table.error("api", "must be chat or transcription").into()),
        };
        if settings.model.is_empty() {
            return Err(table.error("model", "must name a model").into());
        }
        if let Some((key, message)) = settings.endpoint.wrong() {
            return Err(table.error(&format!("endpoint.{key}"), message).into());
        }
        let hub = hub(TranscribeService::NAME, kit)?;
        let speakers = if chat { None } else { Some(kit.diarizer()?) };
        let stage = TranscribeService {
            hearing: Hearing::new(settings.probe_sound),
            settings,
            speakers,
            hub,
            transport: OnceLock::new(),
        };
        stage.announce();
        Ok(Box::new(stage))
    },
};

struct TranscribeService {
    settings: Settings,
    /// For a service that does not tell speakers apart.
    speakers: Option<(Loaded<Diarizer>, Vec<String>)>,
    hub: Arc<Hub>,
    hearing: Hearing,
    transport: OnceLock<Arc<dyn Transport>>,
}

impl Stage for TranscribeService {
    type In = One<Clip>;
    type Out = Transcript;
    const NAME: &'static str = "transcribe_service";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let mut settings = settings_json(&self.settings);
        if let Some(fields) = settings.as_object_mut() {
            fields.shift_remove("endpoint");
            fields.shift_remove("probe_sound");
        }
        settings["prompt"] = format!(
            "{}#{}",
            PROMPT.0,
            &blake3::hash(PROMPT.1.as_bytes()).to_hex()[..12]
        )
        .into();
        if let Some((_, tags)) = &self.speakers {
            settings["speakers"] = tags.clone().into();
        }
        self.hub.mark(&mut settings);
        settings
    }

    fn lanes(&self, _cores: usize) -> usize {
        self.settings.endpoint.in_flight
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(clip): Self::In, cx: &Cx<'_>) -> Result<Vec<Transcript>, Fault> {
        let wave = clip_media::speech(&clip, cx)?;
        let transcript = match &self.speakers {
            None => self.by_chat(&clip, &wave, cx)?,
            Some((diarizer, _)) => self.by_transcription(&clip, &wave, diarizer, cx)?,
        };
        Ok(vec![transcript])
    }
}

impl TranscribeService {
    /// For the estimate of a dry run.
    fn announce(&self) {
        let (service, most, price) = match self.speakers {
            None => {
                let question = self.question(Vec::new(), EXPECTED_SECONDS);
                let call = qwen::call(&question, "", &self.settings.endpoint, None);
                (qwen::SERVICE, call.price.most, call.price.largest())
            }
            Some(_) => {
                let call = whisper::call("", &self.settings.endpoint, Vec::new(), EXPECTED_SECONDS, None);
                (whisper::SERVICE, call.price.most, call.price.largest())
            }
        };
        self.hub.announce(Line {
            stage: Self::NAME,
            service,
            calls: 1.0,
            most,
            price,
        });
    }

    fn transport(&self, service: &'static str) -> Result<&dyn Transport, Fault> {
        if self.transport.get().is_none() {
            let made = self
                .hub
                .transport(service, &self.settings.endpoint)
                .map_err(Fault::stop)?;
            // Another thread's is the same one.
            let _ = self.transport.set(made);
        }
        match self.transport.get() {
            Some(transport) => Ok(transport.as_ref()),
            None => Err(Fault::stop("a transport was made and lost")),
        }
    }

    fn question(&self, wav: Vec<u8>, seconds: f64) -> Question<'static> {
        let wav = Arc::new(wav);
        Question {
            prompt: PROMPT.0,
            words: PROMPT.1,
            schema: ("transcript", transcript::schema()),
            parts: vec![
                Part::Sound { wav, seconds },
                Part::Text(format!("The clip is {seconds:.2} seconds long.")),
            ],
            seed: self.settings.seed,
            max_tokens: self.settings.max_tokens,
        }
    }

    fn by_chat(&self, clip: &Clip, wave: &Waveform, cx: &Cx<'_>) -> Result<Transcript, Fault> {
        let seconds = length(wave);
        let question = self.question(omni_media::wav_s16(wave), seconds);
        let transport = self.transport(qwen::SERVICE)?;
        let route = |model| Route {
            service: qwen::SERVICE,
            transport,
            model,
        };
        let first = route(&self.settings.model);
        let fallback = Some(self.settings.fallback_model.as_str()).filter(|model| !model.is_empty());
        let fallback = fallback.map(route);
        let taken = ask::ask(
            (&first, fallback.as_ref()),
            cx,
            |route| self.hearing.check(&self.hub, route, &self.settings.endpoint, cx),
            |route, complaint| qwen::call(&question, route.model, &self.settings.endpoint, complaint),
            |_, reply, complaint| transcript::check(qwen::read(reply)?, seconds, complaint.is_some()),
        )?;
        Ok(Transcript {
            clip: clip.clip.clone(),
            segments: taken.answer.segments,
            audio_caption: taken.answer.audio_caption,
            origin: format!("qwen:{}#{}", taken.model, PROMPT.0),
        })
    }

    fn by_transcription(
        &self,
        clip: &Clip,
        wave: &Waveform,
        diarizer: &Loaded<Diarizer>,
        cx: &Cx<'_>,
    ) -> Result<Transcript, Fault> {
        let turns = diarizer.get()?.turns(&wave.samples).map_err(network_fault)?;
        let seconds = length(wave);
        let mut segments = Vec::new();
        // Nothing is paid for a clip in which nobody speaks.
        if !turns.is_empty() {
            let language = Some(self.settings.language.as_str()).filter(|language| !language.is_empty());
            let wav = omni_media::wav_s16(wave);
            let call = whisper::call(
                &self.settings.model,
                &self.settings.endpoint,
                wav,
                seconds,
                language,
            );
            let route = Route {
                service: whisper::SERVICE,
                transport: self.transport(whisper::SERVICE)?,
                model: &self.settings.model,
            };
            let reply = ask::send(&route, &call, cx)?;
            // A recogniser takes no complaint: the same question would bring the same answer.
            let answer = whisper::read(&reply, seconds)
                .map_err(|unusable| Fault::drop(format!("rejected:{}", unusable.reason)))?;
            segments = spoken(answer, &turns, seconds);
        }
        Ok(Transcript {
            clip: clip.clip.clone(),
            segments,
            audio_caption: None,
            origin: format!("whisper:{}", self.settings.model),
        })
    }
}

fn length(wave: &Waveform) -> f64 {
    wave.samples.len() as f64 / f64::from(wave.rate.max(1))
}

/// Each utterance belongs to the speaker who is heard most during it; without any, to the nearest.
fn spoken(answer: whisper::Answer, turns: &[Turn], seconds: f64) -> Vec<Segment> {
    let language = code(&answer.language);
    let mut segments = Vec::new();
    for said in answer.segments {
        let end = said.end.min(seconds);
        let Some(speaker) = speaker(turns, said.start, end).filter(|_| end > said.start) else {
            continue;
        };
        segments.push(Segment {
            speaker: format!("S{}", speaker + 1),
            text: said.text.trim().to_owned(),
            start: said.start,
            end,
            language: language.clone(),
        });
    }
    segments
}

fn speaker(turns: &[Turn], start: f64, end: f64) -> Option<usize> {
    // Seconds together; negative: how far apart.
    let together = |turn: &Turn| turn.end.min(end) - turn.start.max(start);
    let best = turns.iter().max_by(|a, b| together(a).total_cmp(&together(b)))?;
    if together(best) <= 0.0 {
        return Some(best.speaker);
    }
    let heard = |speaker: usize| -> f64 {
        turns
            .iter()
            .filter(|turn| turn.speaker == speaker)
            .map(|turn| together(turn).max(0.0))
            .sum()
    };
    turns
        .iter()
        .map(|turn| turn.speaker)
        .max_by(|a, b| heard(*a).total_cmp(&heard(*b)).then(b.cmp(a)))
}

/// A language as ISO 639-1: some servers answer with its English name.
fn code(language: &str) -> String {
    let names = [
        ("english", "en"),
        ("chinese", "zh"),
        ("german", "de"),
        ("french", "fr"),
        ("spanish", "es"),
        ("italian", "it"),
        ("portuguese", "pt"),
        ("russian", "ru"),
        ("japanese", "ja"),
        ("korean", "ko"),
        ("dutch", "nl"),
        ("arabic", "ar"),
        ("hindi", "hi"),
        ("turkish", "tr"),
        ("polish", "pl"),
    ];
    let language = language.trim().to_lowercase();
    match names.iter().find(|(name, _)| *name == language) {
        Some((_, code)) => (*code).to_owned(),
        None if (2..=3).contains(&language.len()) => language,
        None => "und".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(speaker: usize, start: f64, end: f64) -> Turn {
        Turn { speaker, start, end }
    }

    #[test]
    fn words_go_to_who_is_heard_most_and_else_to_the_nearest() {
        let turns = [turn(0, 0.0, 1.0), turn(1, 1.0, 3.0), turn(0, 5.0, 6.0)];
        assert_eq!(speaker(&turns, 0.5, 2.5), Some(1));
        assert_eq!(speaker(&turns, 0.0, 1.2), Some(0));
        assert_eq!(speaker(&turns, 4.6, 4.8), Some(0));
        assert_eq!(speaker(&[], 0.0, 1.0), None);
    }

    #[test]
    fn a_language_is_a_code() {
        assert_eq!(
            ["English", "en", " ZH", "Klingon"].map(code),
            ["en", "en", "zh", "und"]
        );
    }
}
