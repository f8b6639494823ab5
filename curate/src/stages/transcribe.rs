//! Who says what, when, with local networks: voice activity, speaker segmentation, clustering of speaker vectors, and
//! Whisper over each speaker's joined pieces. The paper asks Qwen3-Omni for the same record (section 3).

use super::Entry;
use crate::{
    clip_media,
    kit::{Loaded, network_fault, settings_json},
};
use omni_perception::audio::{diarize::Diarizer, pieces::transcribe_turns, whisper::Recognizer};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Segment, Transcript};
use serde::{Deserialize, Serialize};

/// What changes the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Language of the whole corpus (ISO 639-1); absent: told from the sound of every speaker.
    pub language: Option<String>,
}

/// Listed as `transcribe`.
pub const ENTRY: Entry = Entry {
    name: Transcribe::NAME,
    about: "speakers, words and times, with local networks",
    build: |table, kit| {
        let (diarizer, tags) = kit.diarizer()?;
        Ok(Box::new(Transcribe {
            settings: table.read()?,
            diarizer,
            tags,
            recognizer: kit.recognizer()?,
        }))
    },
};

struct Transcribe {
    settings: Settings,
    diarizer: Loaded<Diarizer>,
    tags: Vec<String>,
    recognizer: Loaded<Recognizer>,
}

impl Stage for Transcribe {
    type In = One<Clip>;
    type Out = Transcript;
    const NAME: &'static str = "transcribe";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let mut settings = settings_json(&self.settings);
        settings["speakers"] = self.tags.clone().into();
        settings["recognizer"] = self.recognizer.network.tag().into();
        settings
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(clip): Self::In, cx: &Cx<'_>) -> Result<Vec<Transcript>, Fault> {
        let wave = clip_media::speech(&clip, cx)?;
        let turns = self.diarizer.get()?.turns(&wave.samples).map_err(network_fault)?;
        let spoken = if turns.is_empty() {
            Vec::new()
        } else {
            transcribe_turns(
                self.recognizer.get()?,
                &wave.samples,
                &turns,
                self.settings.language.as_deref(),
                &|| !cx.cancel.is_cancelled(),
            )
            .map_err(network_fault)?
        };
        let segments = spoken.into_iter().map(|said| Segment {
            speaker: format!("S{}", said.speaker + 1),
            text: said.text,
            start: millis(said.start),
            end: millis(said.end.min(clip.seconds.max(clip.audio_seconds))),
            language: said.language,
        });
        Ok(vec![Transcript {
            clip: clip.clip.clone(),
            segments: segments
                .filter(|segment| segment.end > segment.start && !segment.text.is_empty())
                .collect(),
            audio_caption: None,
            origin: format!("local:{}", self.recognizer.network.tag()),
        }])
    }
}

/// Times are given to the millisecond: finer than any network here tells.
fn millis(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}
