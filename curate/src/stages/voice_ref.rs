//! One reference voice per speaker: the longest continuous stretch of speech and its words (paper, section 3). Without
//! a synthesis service the stretch itself is the reference, marked `source_segment`.

use super::Entry;
use crate::{
    clip_media,
    kit::{Loaded, media_fault, network_fault, settings_json, unit},
};
use omni_media::Waveform;
use omni_perception::{
    Error,
    audio::{embedding::SpeakerEmbedder, pitch::median_pitch},
};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Segment, Transcript, VoiceRef};
use serde::{Deserialize, Serialize};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Segments of one speaker closer than this are one stretch, seconds, if nobody else speaks between them.
    pub join_gap: f64,
    /// Longer stretches are cut to this, seconds (CosyVoice takes at most 30).
    pub max_seconds: f64,
    /// Shorter stretches give no reference, seconds.
    pub min_seconds: f64,
    /// Samples a second of the wave file: 24000 (CosyVoice3) or 16000.
    pub rate: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            join_gap: 0.3,
            max_seconds: 30.0,
            min_seconds: 0.3,
            rate: 24_000,
        }
    }
}

/// Listed as `voice_ref`.
pub const ENTRY: Entry = Entry {
    name: PickVoice::NAME,
    about: "one reference voice per speaker: the longest continuous stretch",
    build: |table, kit| {
        let settings: Settings = table.read()?;
        if ![16_000, 24_000].contains(&settings.rate) {
            return Err(table.error("rate", "must be 16000 or 24000").into());
        }
        Ok(Box::new(PickVoice {
            settings,
            embedder: kit.speaker_embedder()?,
        }))
    },
};

struct PickVoice {
    settings: Settings,
    embedder: Loaded<SpeakerEmbedder>,
}

/// Consecutive segments of one speaker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) language: String,
}

impl Stage for PickVoice {
    type In = (One<Clip>, One<Transcript>);
    type Out = VoiceRef;
    const NAME: &'static str = "voice_ref";
    const VERSION: u32 = 1;

    fn settings(&self) -> serde_json::Value {
        let mut settings = settings_json(&self.settings);
        settings["embedder"] = self.embedder.network.tag().into();
        settings
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, (One(clip), One(transcript)): Self::In, cx: &Cx<'_>) -> Result<Vec<VoiceRef>, Fault> {
        let speakers = speakers(&transcript.segments);
        if speakers.is_empty() {
            return Ok(Vec::new());
        }
        let full = clip_media::sound(&clip, cx)?.mono();
        let narrow = clip_media::speech(&clip, cx)?;
        let mut refs = Vec::new();
        for speaker in speakers {
            let Settings {
                join_gap,
                min_seconds,
                ..
            } = self.settings;
            if let Some(stretch) = longest(&transcript.segments, speaker, join_gap, min_seconds) {
                refs.push(self.voice(
                    &clip,
                    speaker,
                    &stretch,
                    &transcript.segments,
                    (&full, &narrow),
                    cx,
                )?);
            }
        }
        Ok(refs)
    }
}

impl PickVoice {
    fn voice(
        &self,
        clip: &Clip,
        speaker: &str,
        stretch: &Stretch,
        segments: &[Segment],
        (full, narrow): (&Waveform, &Waveform),
        cx: &Cx<'_>,
    ) -> Result<VoiceRef, Fault> {
        let end = stretch.end.min(stretch.start + self.settings.max_seconds);
        let cut = omni_media::cut(full, stretch.start, end);
        let wave = omni_media::resample(&cut, self.settings.rate).map_err(media_fault)?;
        let name = format!("{}/{speaker}.wav", clip.clip);
        let speech = speech_of(narrow, segments, speaker);
        let vector = match self.embedder.get()?.embed(&speech) {
            Ok(vector) => unit(vector.into_iter().map(f64::from).collect()),
            // Too little speech for a vector: the reference stands, without one.
            Err(Error::Input(_)) => Vec::new(),
            Err(error) => return Err(network_fault(error)),
        };
        Ok(VoiceRef {
            clip: clip.clip.clone(),
            speaker: speaker.to_owned(),
            start: stretch.start,
            end,
            text: stretch.text.clone(),
            language: stretch.language.clone(),
            origin: "source_segment".into(),
            rate: i64::from(self.settings.rate),
            vector,
            embedder: self.embedder.network.tag(),
            pitch_hz: median_pitch(&speech).map(f64::from),
            rate_per_second: speaking_rate(segments, speaker),
            similarity: None,
            word_errors: None,
            audio: cx.pack.put(&name, "audio/wav", omni_media::wav_s16(&wave)),
        })
    }
}

/// The longest stretch of a speaker, the first among equals, if it is long enough.
pub(super) fn longest(segments: &[Segment], speaker: &str, join_gap: f64, least: f64) -> Option<Stretch> {
    let mut longest: Option<Stretch> = None;
    for stretch in stretches(segments, speaker, join_gap) {
        if longest
            .as_ref()
            .is_none_or(|known| stretch.end - stretch.start > known.end - known.start)
        {
            longest = Some(stretch);
        }
    }
    longest.filter(|stretch| stretch.end - stretch.start >= least)
}

pub(super) fn speakers(segments: &[Segment]) -> Vec<&str> {
    let mut names: Vec<&str> = segments.iter().map(|segment| segment.speaker.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Joins a speaker's neighbouring segments; another voice in between, or a gap, ends a stretch.
fn stretches(segments: &[Segment], speaker: &str, gap: f64) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    let mut open = false;
    for segment in segments {
        if segment.speaker != speaker {
            open = false;
            continue;
        }
        match out
            .last_mut()
            .filter(|last| open && segment.start - last.end <= gap && last.language == segment.language)
        {
            Some(last) => {
                last.end = last.end.max(segment.end);
                last.text = format!("{} {}", last.text, segment.text);
            }
            None => out.push(Stretch {
                start: segment.start,
                end: segment.end,
                text: segment.text.clone(),
                language: segment.language.clone(),
            }),
        }
        open = true;
    }
    out
}

pub(super) fn speech_of(wave: &Waveform, segments: &[Segment], speaker: &str) -> Vec<f32> {
    let at = |seconds: f64| ((seconds * f64::from(wave.rate)) as usize).min(wave.samples.len());
    let own = segments.iter().filter(|segment| segment.speaker == speaker);
    own.flat_map(|segment| &wave.samples[at(segment.start)..at(segment.end).max(at(segment.start))])
        .copied()
        .collect()
}

/// Words a second; characters a second for languages written without blanks.
pub(super) fn speaking_rate(segments: &[Segment], speaker: &str) -> Option<f64> {
    let own = || segments.iter().filter(|segment| segment.speaker == speaker);
    let seconds: f64 = own().map(|segment| segment.end - segment.start).sum();
    let unspaced = |language: &str| ["zh", "yue", "ja", "th", "lo", "my", "km"].contains(&language);
    let units: usize = own()
        .map(|segment| match unspaced(&segment.language) {
            true => segment
                .text
                .chars()
                .filter(|letter| letter.is_alphanumeric())
                .count(),
            false => segment.text.split_whitespace().count(),
        })
        .sum();
    (seconds > 0.0).then(|| units as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(speaker: &str, start: f64, end: f64, text: &str) -> Segment {
        Segment {
            speaker: speaker.into(),
            text: text.into(),
            start,
            end,
            language: "en".into(),
        }
    }

    #[test]
    fn neighbouring_segments_join_unless_someone_speaks_between() {
        let segments = [
            segment("S1", 0.0, 1.0, "a"),
            segment("S1", 1.2, 2.0, "b"),
            segment("S1", 3.0, 4.0, "c"),
            segment("S2", 4.0, 4.1, "x"),
            segment("S1", 4.1, 5.0, "d"),
        ];
        let joined: Vec<_> = stretches(&segments, "S1", 0.3)
            .into_iter()
            .map(|s| (s.start, s.end, s.text))
            .collect();
        assert_eq!(
            joined,
            [
                (0.0, 2.0, "a b".into()),
                (3.0, 4.0, "c".into()),
                (4.1, 5.0, "d".into())
            ]
        );
    }

    #[test]
    fn speaking_rate_counts_words_or_characters() {
        let mut said = segment("S1", 0.0, 2.0, "one two three four");
        assert_eq!(speaking_rate(&[said.clone()], "S1"), Some(2.0));
        said.language = "zh".into();
        said.text = "希望你以后，".into();
        assert_eq!(speaking_rate(&[said], "S1"), Some(2.5));
    }

    #[test]
    fn only_a_speakers_own_speech_is_embedded() {
        let wave = Waveform {
            rate: 10,
            samples: (0..40).map(|i| i as f32).collect(),
        };
        let segments = [
            segment("S1", 0.5, 1.0, ""),
            segment("S2", 1.0, 2.0, ""),
            segment("S1", 3.9, 9.0, ""),
        ];
        assert_eq!(speech_of(&wave, &segments, "S1"), [5.0, 6.0, 7.0, 8.0, 9.0, 39.0]);
    }
}
