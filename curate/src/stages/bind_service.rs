//! Which face is which voice, and how the clip is described, by a routed ensemble (paper, section 3): clips with several
//! people or voices go to Gemini, the rest to Qwen3-Omni. Each sees a small copy of the clip with all of its sound, the
//! transcript, the candidate faces and the candidate voices, and no claim is taken that breaks a rule of `services::binding`.

use super::{Entry, hub};
use crate::{
    clip_media,
    kit::{media_fault, settings_json},
    services::{
        Endpoint, Hub, Line,
        ask::{self, Complaint, Route, Taken},
        binding::{self, Asked, Checked},
        gemini,
        hearing::Hearing,
        question::{Part, Question, Video},
        qwen,
        routes::{Settings, Small},
    },
};
use omni_media::{Limits, ProxyForm, Waveform};
use omni_net::service::{Call, Reply, Transport};
use omni_pipeline::{Cx, Fault, Many, One, Stage};
use omni_schemas::{Binding, BoundSubject, Claim, Clip, FaceRef, Record, Track, Transcript, VoiceRef};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Name and words of the prompt.
const PROMPT: (&str, &str) = ("bind@1", include_str!("../../prompts/bind.v1.txt"));
/// A dry run does not know the clips: their length, people and voices, and says so.
const EXPECTED: (f64, usize) = (10.0, 2);
/// Bytes before the samples of a WAV file of ours.
const WAV_HEAD: usize = 44;

/// Listed as `bind_service`.
pub const ENTRY: Entry = Entry {
    name: BindService::NAME,
    about: "faces to voices and a structured caption, by Gemini for several people and Qwen3-Omni for the rest",
    build: |table, kit| {
        let settings: Settings = table.read()?;
        if let Some((key, message)) = settings.wrong() {
            return Err(table.error(&key, message).into());
        }
        let stage = BindService {
            hub: hub(BindService::NAME, kit)?,
            hearing: Hearing::new(settings.qwen.probe_sound),
            settings,
        };
        stage.announce();
        Ok(Box::new(stage))
    },
};

struct BindService {
    settings: Settings,
    hub: Arc<Hub>,
    hearing: Hearing,
}

/// What is asked with.
type Inputs = (
    One<Clip>,
    Many<Track>,
    Many<FaceRef>,
    One<Transcript>,
    Many<VoiceRef>,
);

impl Stage for BindService {
    type In = Inputs;
    type Out = Binding;
    const NAME: &'static str = "bind_service";
    const VERSION: u32 = 2;

    fn settings(&self) -> Value {
        let mut settings = settings_json(&self.settings);
        for service in ["gemini", "qwen"] {
            if let Some(fields) = settings[service].as_object_mut() {
                fields.shift_remove("endpoint");
                fields.shift_remove("probe_sound");
            }
        }
        settings["voice_seconds"] = self.settings.voice_seconds().into();
        settings["seed"] = self.settings.seed().into();
        let words = blake3::hash(PROMPT.1.as_bytes()).to_hex();
        settings["prompt"] = format!("{}#{}", PROMPT.0, &words[..12]).into();
        self.hub.mark(&mut settings);
        settings
    }

    fn lanes(&self, _cores: usize) -> usize {
        self.settings.gemini.endpoint.in_flight + self.settings.qwen.endpoint.in_flight
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, input: Self::In, cx: &Cx<'_>) -> Result<Vec<Binding>, Fault> {
        let (One(clip), Many(tracks), Many(faces), One(transcript), Many(voices)) = input;
        let people: BTreeSet<i64> = tracks.iter().map(|track| track.subject).collect();
        let shown: BTreeSet<i64> = faces.iter().map(|face| face.subject).collect();
        let speakers: BTreeSet<&String> = transcript.segments.iter().map(|said| &said.speaker).collect();
        let asked = Asked {
            faces: shown.iter().copied().collect(),
            last: people.union(&shown).max().copied().unwrap_or(0),
            speakers: speakers.into_iter().cloned().collect(),
            segments: &transcript.segments,
            seconds: clip.seconds,
        };
        let complex = asked.faces.len().max(asked.speakers.len()) >= self.settings.route.complex_from;
        let question = self.question(&clip, &asked, &faces, &voices, cx)?;
        let taken = self.ask(complex, &question, &asked, cx)?;
        let service = |complex| if complex { gemini::SERVICE } else { qwen::SERVICE };
        Ok(vec![claimed(&asked, &people, service(complex), taken, cx)])
    }
}

impl BindService {
    /// For the estimate of a dry run. Nobody knows yet which clips go where, so each route is told for all of them.
    fn announce(&self) {
        let (seconds, people) = EXPECTED;
        let pictures = (seconds * self.settings.proxy.fps).ceil() as u64;
        let pixels = (self.settings.proxy.short_side.pow(2) * 16 / 9) as u64;
        let video = Video {
            mp4: Arc::default(),
            wav: Arc::default(),
            seconds,
            fps: self.settings.proxy.fps,
            pictures,
            pixels,
        };
        let mut parts = vec![Part::Video(video)];
        for _ in 0..people {
            parts.push(Part::Picture {
                png: Arc::default(),
                pixels: 384 * 384,
            });
            parts.push(Part::Sound {
                wav: Arc::default(),
                seconds: self.settings.voice_seconds(),
            });
        }
        let question = |max_tokens| Question {
            parts: parts.clone(),
            ..self.empty(max_tokens)
        };
        let (gemini, qwen) = (&self.settings.gemini, &self.settings.qwen);
        let rows = [
            (
                gemini::SERVICE,
                gemini::most(&question(gemini.max_tokens), None),
                &gemini.endpoint,
            ),
            (
                qwen::SERVICE,
                qwen::most(&question(qwen.max_tokens), None),
                &qwen.endpoint,
            ),
        ];
        for (service, most, endpoint) in rows {
            self.hub.announce(Line {
                stage: Self::NAME,
                service,
                calls: 1.0,
                most,
                price: endpoint.price(most, |_| None).largest(),
            });
        }
    }

    fn empty(&self, max_tokens: u64) -> Question<'static> {
        Question {
            prompt: PROMPT.0,
            words: PROMPT.1,
            schema: ("binding", binding::schema()),
            parts: Vec::new(),
            seed: self.settings.seed(),
            max_tokens,
        }
    }

    /// Everything that is shown and played, in order; the limit of tokens is each route's own.
    fn question(
        &self,
        clip: &Clip,
        asked: &Asked<'_>,
        faces: &[FaceRef],
        voices: &[VoiceRef],
        cx: &Cx<'_>,
    ) -> Result<Question<'static>, Fault> {
        let mut parts = vec![Part::Text("The clip:".into()), self.video(clip, cx)?];
        for face in faces {
            let number = face.subject;
            parts.push(Part::Text(format!("Face {number}, {}:", binding::anchor(number))));
            let [x0, y0, x1, y1] = face.crop;
            parts.push(Part::Picture {
                png: Arc::new(cx.bytes(FaceRef::NAME, &face.image)?),
                pixels: ((x1 - x0) * (y1 - y0)).max(1.0) as u64,
            });
        }
        for voice in voices.iter().filter(|_| self.settings.voice_seconds() > 0.0) {
            parts.push(Part::Text(format!("A sample of the voice {}:", voice.speaker)));
            parts.push(self.sample(voice, cx)?);
        }
        parts.push(Part::Text(asked.task()));
        Ok(Question {
            parts,
            ..self.empty(0)
        })
    }

    fn video(&self, clip: &Clip, cx: &Cx<'_>) -> Result<Part, Fault> {
        omni_media::can_make_proxies().map_err(Fault::stop)?;
        let Small { short_side, fps, crf } = self.settings.proxy;
        let form = ProxyForm { short_side, fps, crf };
        let path = cx.root.join(&clip.path);
        let proxy = omni_media::proxy(&path, &clip_media::span(clip), &Limits::default(), &form);
        let proxy = proxy.map_err(media_fault)?;
        cx.alive();
        cx.count("proxy_bytes", proxy.mp4.len() as u64);
        Ok(Part::Video(Video {
            wav: Arc::new(omni_media::wav_s16(&proxy.sound)),
            seconds: clip.seconds,
            fps,
            pictures: proxy.pictures,
            pixels: (proxy.width * proxy.height) as u64,
            mp4: Arc::new(proxy.mp4),
        }))
    }

    /// The beginning of a reference voice, as the networks hear it.
    fn sample(&self, voice: &VoiceRef, cx: &Cx<'_>) -> Result<Part, Fault> {
        let bytes = cx.bytes(VoiceRef::NAME, &voice.audio)?;
        let rate = u32::try_from(voice.rate).unwrap_or(0).max(1);
        let most = (self.settings.voice_seconds() * f64::from(rate)) as usize;
        let samples = bytes
            .get(WAV_HEAD..)
            .unwrap_or_default()
            .chunks_exact(2)
            .take(most);
        let samples = samples.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0);
        let wave = Waveform {
            rate,
            samples: samples.collect(),
        };
        let wave = omni_media::resample(&wave, 16_000).map_err(media_fault)?;
        Ok(Part::Sound {
            seconds: wave.samples.len() as f64 / 16_000.0,
            wav: Arc::new(omni_media::wav_s16(&wave)),
        })
    }

    fn ask(
        &self,
        complex: bool,
        question: &Question<'static>,
        asked: &Asked<'_>,
        cx: &Cx<'_>,
    ) -> Result<Taken<Checked>, Fault> {
        let transport = |gemini: bool| {
            let (service, endpoint) = self.endpoint(gemini);
            self.hub.transport(service, endpoint).map_err(Fault::stop)
        };
        let first = transport(complex)?;
        // At once, not when the first answer fails: an address that is missing is said before money is spent.
        let second = self
            .settings
            .route
            .fallback
            .then(|| transport(!complex))
            .transpose()?;
        let first = self.route(complex, first.as_ref());
        let second = second.as_deref().map(|transport| self.route(!complex, transport));
        ask::ask(
            (&first, second.as_ref()),
            cx,
            |route| match route.service {
                qwen::SERVICE => self
                    .hearing
                    .check(&self.hub, route, &self.settings.qwen.endpoint, cx),
                _ => Ok(()),
            },
            |route, complaint| self.call(route, question, complaint),
            |route, reply, _| binding::check(read(route, reply)?, asked),
        )
    }

    fn endpoint(&self, gemini: bool) -> (&'static str, &Endpoint) {
        match gemini {
            true => (gemini::SERVICE, &self.settings.gemini.endpoint),
            false => (qwen::SERVICE, &self.settings.qwen.endpoint),
        }
    }

    fn route<'a>(&'a self, gemini: bool, transport: &'a dyn Transport) -> Route<'a> {
        let (service, _) = self.endpoint(gemini);
        let model = match gemini {
            true => &self.settings.gemini.model,
            false => &self.settings.qwen.model,
        };
        Route {
            service,
            transport,
            model,
        }
    }

    fn call(&self, route: &Route<'_>, question: &Question<'static>, complaint: Option<&Complaint>) -> Call {
        let with = |max_tokens| Question {
            parts: question.parts.clone(),
            ..self.empty(max_tokens)
        };
        let (gemini, qwen) = (&self.settings.gemini, &self.settings.qwen);
        match route.service {
            gemini::SERVICE => {
                let question = with(gemini.max_tokens);
                gemini::call(
                    &question,
                    route.model,
                    &gemini.options,
                    &gemini.endpoint,
                    complaint,
                )
            }
            _ => qwen::call(&with(qwen.max_tokens), route.model, &qwen.endpoint, complaint),
        }
    }
}

fn read(route: &Route<'_>, reply: &Reply) -> Result<serde_json::Map<String, Value>, ask::Unusable> {
    match route.service {
        gemini::SERVICE => gemini::read(reply),
        _ => qwen::read(reply),
    }
}

/// The row: what was claimed, and where it comes from. People without a picture could not be asked about.
fn claimed(
    asked: &Asked<'_>,
    people: &BTreeSet<i64>,
    routed: &str,
    taken: Taken<Checked>,
    cx: &Cx<'_>,
) -> Binding {
    let Checked {
        subjects,
        offscreen,
        descriptors,
        scene,
        actions,
        leads,
    } = taken.answer;
    let mut rows: BTreeMap<i64, BoundSubject> = subjects.into_iter().map(|row| (row.subject, row)).collect();
    for person in people {
        rows.entry(*person).or_insert_with(|| BoundSubject {
            subject: *person,
            ..BoundSubject::default()
        });
    }
    let envelope: Value = serde_json::from_slice(&taken.body).unwrap_or_default();
    let told = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| envelope[*name].as_str().map(str::to_owned))
    };
    let raw = cx.pack.put(
        &format!("{}/binding.json", cx.key),
        "application/json",
        taken.body,
    );
    cx.count(
        if taken.service == gemini::SERVICE {
            "by_gemini"
        } else {
            "by_qwen"
        },
        1,
    );
    Binding {
        clip: cx.key.to_owned(),
        subjects: rows.into_values().collect(),
        offscreen,
        source: format!("{}:{}#{}", taken.service, taken.model, PROMPT.0),
        faces: asked.faces.len() as i64,
        speakers: asked.speakers.len() as i64,
        claim: Some(Claim {
            routed: routed.to_owned(),
            route: taken.service.to_owned(),
            model: taken.model,
            model_version: told(["modelVersion", "model"]),
            response_id: told(["responseId", "id"]),
            prompt: PROMPT.0.to_owned(),
            answer: taken.key.hex(),
            asked: taken.asked,
            descriptors,
            scene,
            actions,
            leads,
        }),
        raw: Some(raw),
    }
}
