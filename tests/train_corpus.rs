//! A curated run made of drawn pictures and tones, by stages of its own: two clips with pictures, two utterances.

use crate::{
    common::{Scratch, ffmpeg},
    train::select,
};
use omni_media::{Image, Waveform};
use omni_model::{
    checkpoint::{Config, Preset, init},
    generate::Precision,
};
use omni_pipeline::{
    AnyStage, Cancel, Cx, Fault, ListingSink, One, Plan, RunOptions, Silent, Source, SourceError, Stage,
};
use omni_schemas::{
    Clip, Descriptor, FaceRef, Listing, OmniCaption, Segment, Transcript, Utterance, VoiceRef,
};
use serde_json::Value;

pub const CLIPS: [&str; 4] = ["a.mp4", "b.mp4", "c.wav", "d.wav"];

struct Corpus;

impl Source for Corpus {
    fn name(&self) -> &'static str {
        "made"
    }

    fn settings(&self) -> Value {
        Value::Null
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        for clip in CLIPS {
            sink.keep(Listing {
                clip: clip.to_owned(),
                path: clip.to_owned(),
                ..Listing::default()
            })?;
        }
        Ok(())
    }
}

/// A stage that gives what a function makes of a clip.
macro_rules! stage {
    ($stage:ident, $record:ty, $name:literal, $make:path) => {
        struct $stage;
        impl Stage for $stage {
            type In = One<Listing>;
            type Out = $record;
            const NAME: &'static str = $name;
            const VERSION: u32 = 1;
            fn settings(&self) -> Value {
                Value::Null
            }
            fn run(&self, One(listing): Self::In, cx: &Cx<'_>) -> Result<Vec<$record>, Fault> {
                Ok($make(&listing.clip, cx))
            }
        }
    };
}

stage!(Probe, Clip, "probe", probe);
stage!(Compose, OmniCaption, "compose", compose);
stage!(Transcribe, Transcript, "transcribe", transcribe);
stage!(Faces, FaceRef, "face_ref", face);
stage!(Voices, VoiceRef, "voice_ref", voice);

pub fn seen(clip: &str) -> bool {
    clip.ends_with(".mp4")
}

fn probe(clip: &str, cx: &Cx<'_>) -> Vec<Clip> {
    let frames = if seen(clip) { 30 } else { 0 };
    vec![Clip {
        clip: clip.to_owned(),
        path: clip.to_owned(),
        start: None,
        end: None,
        width: 96,
        height: 64,
        fps: 25.0,
        fps_num: 25,
        fps_den: 1,
        frames,
        seconds: 1.2,
        rotation: 0,
        video_codec: "h264".to_owned(),
        audio_codec: "aac".to_owned(),
        audio_rate: 16_000,
        audio_channels: 1,
        audio_seconds: 1.2,
        loudness: None,
        peak: 0.5,
        bytes: std::fs::metadata(cx.root.join(clip)).unwrap().len() as i64,
        identity: clip.to_owned(),
        source_video: None,
        caption: None,
        scores: Vec::new(),
        licence: None,
    }]
}

fn compose(clip: &str, _: &Cx<'_>) -> Vec<OmniCaption> {
    if !seen(clip) {
        return Vec::new();
    }
    let (who, said) = ("A tall man <sub1> sits", "Good morning");
    let prompt = format!("{who} and says, <S>{said}<E>");
    let start = prompt.find("<S>").unwrap() as i64 + 3;
    vec![OmniCaption {
        clip: clip.to_owned(),
        descriptors: vec![Descriptor {
            anchor: "<sub1>".to_owned(),
            start: 0,
            end: who.len() as i64,
            descriptor_source: "given".to_owned(),
        }],
        utterances: vec![Utterance {
            anchor: "<sub1>".to_owned(),
            text: said.to_owned(),
            start,
            end: start + said.len() as i64,
            language: "en".to_owned(),
        }],
        prompt,
    }]
}

fn transcribe(clip: &str, _: &Cx<'_>) -> Vec<Transcript> {
    vec![Transcript {
        clip: clip.to_owned(),
        segments: vec![Segment {
            speaker: "A".to_owned(),
            text: "hello there".to_owned(),
            start: 0.0,
            end: 1.0,
            language: "en".to_owned(),
        }],
        audio_caption: None,
        origin: "ingest".to_owned(),
    }]
}

fn face(clip: &str, cx: &Cx<'_>) -> Vec<FaceRef> {
    if !seen(clip) {
        return Vec::new();
    }
    let data = (0..40 * 48 * 3).map(|at| (at * 5 % 251) as u8).collect();
    let png = omni_media::png(&Image {
        width: 40,
        height: 48,
        data,
    });
    vec![FaceRef {
        clip: clip.to_owned(),
        subject: 1,
        track: 1,
        frame: 0,
        bbox: [0.0, 0.0, 40.0, 48.0],
        crop: [0.0, 0.0, 40.0, 48.0],
        score: 0.9,
        origin: "in_pair".to_owned(),
        iou: None,
        image: cx
            .pack
            .put(&format!("{clip}/sub1.png"), "image/png", png.unwrap()),
    }]
}

fn voice(clip: &str, cx: &Cx<'_>) -> Vec<VoiceRef> {
    let samples = (0..12_000).map(|at| (at as f32 * 0.07).sin() * 0.4).collect();
    let wave = omni_media::wav_s16(&Waveform {
        rate: 16_000,
        samples,
    });
    vec![VoiceRef {
        clip: clip.to_owned(),
        speaker: "A".to_owned(),
        start: 0.0,
        end: 0.75,
        text: "hello there".to_owned(),
        language: "en".to_owned(),
        origin: "source_segment".to_owned(),
        rate: 16_000,
        vector: Vec::new(),
        embedder: "none".to_owned(),
        pitch_hz: None,
        rate_per_second: None,
        similarity: None,
        word_errors: None,
        audio: cx.pack.put(&format!("{clip}/A.wav"), "audio/wav", wave),
    }]
}

/// A curated run in `out`, a selection in `chosen`, a fresh checkpoint in `base`; `None` without an `ffmpeg` command.
pub fn curated() -> Option<Scratch> {
    let scratch = Scratch::new();
    let media = scratch.join("media");
    std::fs::create_dir_all(&media).unwrap();
    for (number, clip) in CLIPS.into_iter().enumerate() {
        let path = media.join(clip);
        let tone = format!(
            "sine=frequency={}:sample_rate=16000:duration=1.2",
            300 + 100 * number
        );
        let video = "testsrc=size=96x64:rate=25:duration=1.2";
        let path = path.to_str().unwrap();
        let made = if seen(clip) {
            ffmpeg(&[
                "-f",
                "lavfi",
                "-i",
                video,
                "-f",
                "lavfi",
                "-i",
                &tone,
                "-shortest",
                path,
            ])
        } else {
            ffmpeg(&["-f", "lavfi", "-i", &tone, path])
        };
        if !made {
            return None;
        }
    }
    let stages: Vec<Box<dyn AnyStage>> = vec![
        Box::new(Probe),
        Box::new(Compose),
        Box::new(Transcribe),
        Box::new(Faces),
        Box::new(Voices),
    ];
    let options = RunOptions {
        out: scratch.join("out"),
        root: media,
        threads: 1,
        ..RunOptions::default()
    };
    let plan = Plan::new(Box::new(Corpus), stages).unwrap();
    omni_pipeline::run(&plan, &options, &Cancel::default(), &Silent).unwrap();
    select(&scratch, "chosen", |clip| clip.to_owned());
    let tiny = Config::preset(Preset::Tiny, 7).unwrap();
    init(&tiny, Precision::F32, &scratch.join("base")).unwrap();
    Some(scratch)
}
