//! Opens a clip, measures its streams, and drops what cannot be used for joint audio-video training (paper, section
//! 3: "we first remove clips lacking audio"). It reads no pictures but the first.

use super::Entry;
use crate::kit::{media_fault, settings_json};
use omni_media::{AudioInfo, Limits, MediaInfo, Span, VideoInfo};
use omni_pipeline::{Cx, Fault, One, Stage};
use omni_schemas::{Clip, Listing};
use serde::{Deserialize, Serialize};

/// What changes the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Shorter clips are dropped as `too_short`, seconds.
    pub min_seconds: f64,
    /// Longer clips are dropped as `too_long`, seconds; bounds the memory of every later stage.
    pub max_seconds: f64,
    /// Sound whose loudest sample stays below this is dropped as `silent`, dB of full scale.
    pub silence_db: f64,
    /// Pictures with more pixels are dropped as `too_large`.
    pub max_pixels: u64,
    /// Whether sound without pictures is a clip; else it is dropped as `no_video`.
    pub sound_only: bool,
    /// Sound whose length differs from the given one (the score `duration`) by more seconds, or that cannot be
    /// decoded, is dropped as `bad_audio`; absent: not compared.
    pub length_tolerance: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_seconds: 1.0,
            max_seconds: 300.0,
            silence_db: -60.0,
            max_pixels: 8192 * 4320,
            sound_only: false,
            length_tolerance: None,
        }
    }
}

/// Listed as `probe`.
pub const ENTRY: Entry = Entry {
    name: Probe::NAME,
    about: "streams, size, exact rate, length, loudness; drops what has no usable sound or pictures",
    build: |table, _kit| {
        Ok(Box::new(Probe {
            settings: table.read()?,
        }))
    },
};

struct Probe {
    settings: Settings,
}

impl Stage for Probe {
    type In = One<Listing>;
    type Out = Clip;
    const NAME: &'static str = "probe";
    const VERSION: u32 = 2;

    fn settings(&self) -> serde_json::Value {
        settings_json(&self.settings)
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(listing): Self::In, cx: &Cx<'_>) -> Result<Vec<Clip>, Fault> {
        let span = Span {
            start: listing.start,
            end: listing.end,
        };
        let limits = Limits {
            max_pixels: self.settings.max_pixels,
            max_seconds: self.settings.max_seconds,
            ..Limits::default()
        };
        let info = omni_media::probe(&cx.root.join(&listing.path), &span, &limits);
        let info = info.map_err(|error| self.refused(error))?;
        let (video, audio) = self.accept(&info)?;
        self.check_length(&listing, audio)?;
        Ok(vec![clip(listing, &info, video, audio)])
    }
}

impl Probe {
    fn accept<'a>(&self, info: &'a MediaInfo) -> Result<(Option<&'a VideoInfo>, &'a AudioInfo), Fault> {
        let drop = |reason: &str| Err(Fault::Drop(reason.into()));
        let video = info.video.as_ref();
        if video.is_none() && !self.settings.sound_only {
            return drop("no_video");
        }
        let Some(audio) = &info.audio else {
            return drop("no_audio");
        };
        let seconds = video.map_or(audio.seconds, |video| video.seconds);
        if seconds < self.settings.min_seconds || audio.seconds < self.settings.min_seconds.min(seconds) / 2.0
        {
            return drop("too_short");
        }
        if seconds > self.settings.max_seconds {
            return drop("too_long");
        }
        if audio.peak < 10f64.powf(self.settings.silence_db / 20.0) {
            return drop("silent");
        }
        Ok((video, audio))
    }

    fn refused(&self, error: omni_media::Error) -> Fault {
        match error.reason() {
            "unreadable" | "unsupported" if self.settings.length_tolerance.is_some() => {
                Fault::drop("bad_audio")
            }
            _ => media_fault(error),
        }
    }

    fn check_length(&self, listing: &Listing, audio: &AudioInfo) -> Result<(), Fault> {
        let given = listing.scores.iter().find(|score| score.name == "duration");
        match (given, self.settings.length_tolerance) {
            (Some(given), Some(most)) if (audio.seconds - given.value).abs() > most => {
                Err(Fault::drop("bad_audio"))
            }
            _ => Ok(()),
        }
    }
}

fn clip(listing: Listing, info: &MediaInfo, video: Option<&VideoInfo>, audio: &AudioInfo) -> Clip {
    let number = |of: fn(&VideoInfo) -> i64| video.map_or(0, of);
    Clip {
        clip: listing.clip,
        path: listing.path,
        start: listing.start,
        end: listing.end,
        width: number(|video| i64::from(video.width)),
        height: number(|video| i64::from(video.height)),
        fps: video.map_or(0.0, |video| video.fps_num as f64 / video.fps_den.max(1) as f64),
        fps_num: number(|video| video.fps_num),
        fps_den: number(|video| video.fps_den),
        frames: number(|video| video.frames as i64),
        seconds: video.map_or(audio.seconds, |video| video.seconds),
        rotation: number(|video| i64::from(video.rotation)),
        video_codec: video.map_or_else(String::new, |video| video.codec.clone()),
        audio_codec: audio.codec.clone(),
        audio_rate: i64::from(audio.rate),
        audio_channels: i64::from(audio.channels),
        audio_seconds: audio.seconds,
        loudness: audio.loudness,
        peak: audio.peak,
        bytes: info.bytes as i64,
        identity: info.identity.clone(),
        source_video: listing.source_video,
        caption: listing.caption,
        scores: listing.scores,
        licence: listing.licence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(seconds: f64, audio: Option<(f64, f64)>) -> MediaInfo {
        let video = VideoInfo {
            width: 64,
            height: 48,
            fps_num: 25,
            fps_den: 1,
            frames: (seconds * 25.0) as u64,
            seconds,
            rotation: 0,
            codec: "h264".into(),
            variable_rate: false,
        };
        let audio = audio.map(|(seconds, peak)| AudioInfo {
            codec: "aac".into(),
            rate: 44100,
            channels: 2,
            seconds,
            loudness: None,
            peak,
        });
        MediaInfo {
            video: Some(video),
            audio,
            bytes: 1,
            identity: "x".into(),
        }
    }

    fn verdict(info: &MediaInfo) -> String {
        match (Probe {
            settings: Settings::default(),
        })
        .accept(info)
        {
            Ok(_) => "kept".into(),
            Err(Fault::Drop(reason)) => reason,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_reason_has_its_boundary() {
        assert_eq!(verdict(&info(3.0, Some((3.0, 0.5)))), "kept");
        assert_eq!(verdict(&info(3.0, None)), "no_audio");
        assert_eq!(verdict(&info(3.0, Some((3.0, 0.0009)))), "silent");
        assert_eq!(verdict(&info(3.0, Some((3.0, 0.0011)))), "kept");
        assert_eq!(verdict(&info(0.96, Some((0.96, 0.5)))), "too_short");
        assert_eq!(verdict(&info(3.0, Some((0.2, 0.5)))), "too_short");
        assert_eq!(verdict(&info(300.5, Some((300.5, 0.5)))), "too_long");
        let sound = MediaInfo {
            video: None,
            ..info(3.0, Some((3.0, 0.5)))
        };
        assert_eq!(verdict(&sound), "no_video");
    }

    #[test]
    fn sound_alone_is_a_clip_where_the_recipe_says_so_and_its_length_is_compared() {
        let probe = Probe {
            settings: Settings {
                sound_only: true,
                length_tolerance: Some(0.3),
                ..Settings::default()
            },
        };
        let sound = MediaInfo {
            video: None,
            ..info(3.0, Some((3.0, 0.5)))
        };
        let (video, audio) = probe.accept(&sound).unwrap();
        let listing = |seconds: f64| Listing {
            scores: vec![omni_schemas::NamedScore {
                name: "duration".into(),
                value: seconds,
            }],
            ..Listing::default()
        };
        assert!(video.is_none());
        let row = clip(listing(3.2), &sound, video, audio);
        assert_eq!((row.frames, row.width, row.seconds), (0, 0, 3.0));
        assert!(probe.check_length(&listing(3.29), audio).is_ok());
        for wrong in [3.31, 2.69] {
            let fault = probe.check_length(&listing(wrong), audio);
            assert!(matches!(fault, Err(Fault::Drop(reason)) if reason == "bad_audio"));
        }
        assert!(probe.check_length(&Listing::default(), audio).is_ok());
    }
}
