//! One reference voice per speaker, spoken anew (paper, section 3): the longest continuous stretch and its words condition
//! a random other sentence of the same language, by CosyVoice3. A sound is taken only when it arrived whole, is plausible
//! for its text, and sounds like the speaker; after some sentences without one, the stretch itself is the reference,
//! marked `source_segment`.

use super::{
    Entry, hub,
    voice_ref::{Stretch, longest, speakers, speaking_rate, speech_of},
};
use crate::{
    clip_media,
    kit::{Loaded, media_fault, network_fault, settings_json, unit},
    services::{
        Endpoint, Hub, Line,
        ask::{self, Route},
        cosyvoice, sentences,
    },
};
use omni_media::Waveform;
use omni_net::service::{Call, Transport};
use omni_perception::{
    Error,
    audio::{
        diarize::Turn, embedding::SpeakerEmbedder, pieces::transcribe_turns, pitch::median_pitch,
        whisper::Recognizer,
    },
    text,
};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Segment, Transcript, VoiceRef};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// What changes the result, but for `endpoint`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The model, for the records; the server is started with one.
    pub model: String,
    /// Samples a second of the model: 24000 (CosyVoice2 and 3) or 22050 (the first).
    pub rate: u32,
    /// What stands before the words of the prompt: CosyVoice3 wants this, the older models nothing.
    pub prefix: String,
    /// Segments of one speaker closer than this are one stretch, seconds, if nobody else speaks between them.
    pub join_gap: f64,
    /// Longer stretches are cut to this, seconds; at most 30.
    pub max_seconds: f64,
    /// Shorter stretches give no reference, seconds.
    pub min_seconds: f64,
    /// Sentences that are tried.
    pub tries: usize,
    /// Cosine to the speaker's voice below which a sound is not taken.
    pub min_similarity: f64,
    /// Languages in which the recogniser decides; in others its errors are only stored.
    pub trusted: Vec<String>,
    /// Most errors a word in a trusted language.
    pub max_word_errors: f64,
    /// Address, key, rates and prices.
    pub endpoint: Endpoint,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "CosyVoice3".into(),
            rate: 24_000,
            prefix: "You are a helpful assistant.<|endofprompt|>".into(),
            join_gap: 0.3,
            max_seconds: 30.0,
            min_seconds: 0.3,
            tries: 3,
            min_similarity: 0.5,
            trusted: vec!["en".into()],
            max_word_errors: 0.2,
            endpoint: Endpoint::default(),
        }
    }
}

/// Listed as `voice_resynth`.
pub const ENTRY: Entry = Entry {
    name: VoiceResynth::NAME,
    about: "one reference voice per speaker: another sentence in that voice, by CosyVoice3",
    build: |table, kit| {
        let settings: Settings = table.read()?;
        if ![22_050, 24_000].contains(&settings.rate) {
            return Err(table.error("rate", "must be 22050 or 24000").into());
        }
        if !(0.0..=cosyvoice::MOST_PROMPT).contains(&settings.max_seconds) {
            return Err(table.error("max_seconds", "must lie in 0..=30").into());
        }
        if let Some((key, message)) = settings.endpoint.wrong() {
            return Err(table.error(&format!("endpoint.{key}"), message).into());
        }
        let stage = VoiceResynth {
            settings,
            embedder: kit.speaker_embedder()?,
            recognizer: kit.recognizer()?,
            hub: hub(VoiceResynth::NAME, kit)?,
            transport: OnceLock::new(),
        };
        stage.announce();
        Ok(Box::new(stage))
    },
};

struct VoiceResynth {
    settings: Settings,
    embedder: Loaded<SpeakerEmbedder>,
    recognizer: Loaded<Recognizer>,
    hub: Arc<Hub>,
    transport: OnceLock<Arc<dyn Transport>>,
}

/// A clip's sound, and a speaker's part of it.
struct Heard<'a> {
    clip: &'a Clip,
    segments: &'a [Segment],
    full: &'a Waveform,
    narrow: &'a Waveform,
}

/// A sound that was taken.
struct Spoken {
    text: String,
    wave: Waveform,
    similarity: f64,
    word_errors: f64,
}

impl Stage for VoiceResynth {
    type In = (One<Clip>, One<Transcript>);
    type Out = VoiceRef;
    const NAME: &'static str = "voice_resynth";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let mut settings = settings_json(&self.settings);
        if let Some(fields) = settings.as_object_mut() {
            fields.shift_remove("endpoint");
        }
        settings["embedder"] = self.embedder.network.tag().into();
        settings["recognizer"] = self.recognizer.network.tag().into();
        settings["sentences"] = sentences::fingerprint().into();
        self.hub.mark(&mut settings);
        settings
    }

    fn lanes(&self, cores: usize) -> usize {
        self.settings.endpoint.in_flight.max(cores)
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, (One(clip), One(transcript)): Self::In, cx: &Cx<'_>) -> Result<Vec<VoiceRef>, Fault> {
        let names = speakers(&transcript.segments);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let full = clip_media::sound(&clip, cx)?.mono();
        let narrow = clip_media::speech(&clip, cx)?;
        let heard = Heard {
            clip: &clip,
            segments: &transcript.segments,
            full: &full,
            narrow: &narrow,
        };
        let Settings {
            join_gap,
            min_seconds,
            ..
        } = self.settings;
        let mut refs = Vec::new();
        for speaker in names {
            if let Some(stretch) = longest(&transcript.segments, speaker, join_gap, min_seconds) {
                refs.push(self.voice(&heard, speaker, &stretch, cx)?);
            }
        }
        Ok(refs)
    }
}

impl VoiceResynth {
    /// For the estimate of a dry run: one speaker, the first sentence taken.
    fn announce(&self) {
        let most = omni_net::service::Usage {
            seconds: 10.0,
            ..Default::default()
        };
        self.hub.announce(Line {
            stage: Self::NAME,
            service: cosyvoice::SERVICE,
            calls: 1.0,
            most,
            price: self.settings.endpoint.price(most, |_| None).largest(),
        });
    }

    fn voice(
        &self,
        heard: &Heard<'_>,
        speaker: &str,
        stretch: &Stretch,
        cx: &Cx<'_>,
    ) -> Result<VoiceRef, Fault> {
        let settings = &self.settings;
        let end = stretch.end.min(stretch.start + settings.max_seconds);
        let cut = omni_media::cut(heard.full, stretch.start, end);
        let source = omni_media::resample(&cut, settings.rate).map_err(media_fault)?;
        let speech = speech_of(heard.narrow, heard.segments, speaker);
        let vector = self.vector(&speech)?;
        let spoken = match vector.is_empty() {
            // Too little speech to tell the voice: nothing could be compared with it.
            true => None,
            false => self.speak(heard, speaker, (stretch, end), &source, &vector, cx)?,
        };
        cx.count(
            if spoken.is_some() {
                "resynthesised"
            } else {
                "kept_source"
            },
            1,
        );
        let name = format!("{}/{speaker}.wav", heard.clip.clip);
        let wave = spoken.as_ref().map_or(&source, |spoken| &spoken.wave);
        Ok(VoiceRef {
            clip: heard.clip.clip.clone(),
            speaker: speaker.to_owned(),
            start: stretch.start,
            end,
            text: spoken
                .as_ref()
                .map_or(&stretch.text, |spoken| &spoken.text)
                .clone(),
            language: stretch.language.clone(),
            origin: if spoken.is_some() {
                "resynthesised"
            } else {
                "source_segment"
            }
            .into(),
            rate: i64::from(settings.rate),
            vector,
            embedder: self.embedder.network.tag(),
            pitch_hz: median_pitch(&speech).map(f64::from),
            rate_per_second: speaking_rate(heard.segments, speaker),
            similarity: spoken.as_ref().map(|spoken| spoken.similarity),
            word_errors: spoken.as_ref().map(|spoken| spoken.word_errors),
            audio: cx.pack.put(&name, "audio/wav", omni_media::wav_s16(wave)),
        })
    }

    /// The first sound that passes every check.
    fn speak(
        &self,
        heard: &Heard<'_>,
        speaker: &str,
        (stretch, end): (&Stretch, f64),
        source: &Waveform,
        voice: &[f64],
        cx: &Cx<'_>,
    ) -> Result<Option<Spoken>, Fault> {
        let settings = &self.settings;
        // The words of a cut stretch are not known, and a prompt must be said in full.
        if end < stretch.end {
            return Ok(None);
        }
        let texts = sentences::draw(
            &stretch.language,
            &heard.clip.clip,
            speaker,
            &stretch.text,
            settings.tries,
        );
        for text in texts {
            let wanted = cosyvoice::Wanted {
                text,
                language: &stretch.language,
                prompt_text: &stretch.text,
                prefix: &settings.prefix,
                prompt_wav: omni_media::wav_s16(source),
                rate: settings.rate,
            };
            let route = Route {
                service: cosyvoice::SERVICE,
                transport: self.transport()?,
                model: &settings.model,
            };
            let call = Call {
                clips: vec![cx.key.to_owned()],
                ..cosyvoice::call(&wanted, &settings.endpoint)
            };
            let reply = ask::send(&route, &call, cx)?;
            match cosyvoice::read(&reply, &wanted) {
                Err(_) => cx.count("unusable_answers", 1),
                Ok(wave) => {
                    if let Some(spoken) = self.accept(text, &stretch.language, wave, voice, cx)? {
                        return Ok(Some(spoken));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether a sound is the speaker's voice and says the text.
    fn accept(
        &self,
        text: &str,
        language: &str,
        wave: Waveform,
        voice: &[f64],
        cx: &Cx<'_>,
    ) -> Result<Option<Spoken>, Fault> {
        let settings = &self.settings;
        let narrow = omni_media::resample(&wave, 16_000).map_err(media_fault)?;
        let own = self.vector(&narrow.samples)?;
        if own.len() != voice.len() {
            return Ok(None);
        }
        let similarity: f64 = own.iter().zip(voice).map(|(a, b)| a * b).sum();
        if similarity < settings.min_similarity {
            cx.count("other_voice", 1);
            return Ok(None);
        }
        cx.alive();
        let word_errors = self.word_errors(text, language, &narrow, cx)?;
        if settings.trusted.iter().any(|trusted| trusted == language)
            && word_errors > settings.max_word_errors
        {
            cx.count("other_words", 1);
            return Ok(None);
        }
        Ok(Some(Spoken {
            text: text.to_owned(),
            wave,
            similarity,
            word_errors,
        }))
    }

    fn word_errors(&self, said: &str, language: &str, narrow: &Waveform, cx: &Cx<'_>) -> Result<f64, Fault> {
        let turn = Turn {
            speaker: 0,
            start: 0.0,
            end: narrow.samples.len() as f64 / f64::from(narrow.rate.max(1)),
        };
        let go_on = || !cx.cancel.is_cancelled();
        let heard = transcribe_turns(
            self.recognizer.get()?,
            &narrow.samples,
            &[turn],
            Some(language),
            &go_on,
        )
        .map_err(network_fault)?;
        let heard: Vec<String> = heard.into_iter().map(|turn| turn.text).collect();
        Ok(text::score(language, said, &heard.join(" ")).errors.rate())
    }

    /// The voice vector of a sound, of length 1; empty when it is too short for one.
    fn vector(&self, samples: &[f32]) -> Result<Vec<f64>, Fault> {
        match self.embedder.get()?.embed(samples) {
            Ok(vector) => Ok(unit(vector.into_iter().map(f64::from).collect())),
            Err(Error::Input(_)) => Ok(Vec::new()),
            Err(error) => Err(network_fault(error)),
        }
    }

    fn transport(&self) -> Result<&dyn Transport, Fault> {
        if self.transport.get().is_none() {
            let made = self
                .hub
                .transport(cosyvoice::SERVICE, &self.settings.endpoint)
                .map_err(Fault::stop)?;
            let _ = self.transport.set(made);
        }
        match self.transport.get() {
            Some(transport) => Ok(transport.as_ref()),
            None => Err(Fault::stop("a transport was made and lost")),
        }
    }
}
