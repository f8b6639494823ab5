//! What `probe` measures of a clip's file: streams, size, exact rate, length, loudness.

use crate::{
    NamedScore, Record,
    column::{Column, Kind, integer, list, real, text},
};
use serde::{Deserialize, Serialize};

/// A usable clip: audible sound, and pictures unless the recipe takes sound alone. Sound alone has 0 `frames`, and its
/// `width`, `height` and rate say nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// The key of the clip.
    pub clip: String,
    /// The media file, relative to the corpus root.
    pub path: String,
    /// Start inside the file, seconds; null: its beginning.
    pub start: Option<f64>,
    /// End inside the file, seconds; null: its end.
    pub end: Option<f64>,
    /// Width in pixels as shown (after rotation).
    pub width: i64,
    /// Height in pixels as shown (after rotation).
    pub height: i64,
    /// Pictures a second: `fps_num / fps_den`.
    pub fps: f64,
    /// Numerator of the exact rate.
    pub fps_num: i64,
    /// Denominator of the exact rate.
    pub fps_den: i64,
    /// Number of pictures decoded.
    pub frames: i64,
    /// Length in seconds: of the pictures, from the first to the end of the last; of the sound when there are none.
    pub seconds: f64,
    /// Degrees (0, 90, 180, 270) the stored pictures are turned for showing.
    pub rotation: i64,
    /// Video codec name, for example `h264`.
    pub video_codec: String,
    /// Audio codec name, for example `aac`.
    pub audio_codec: String,
    /// Sound samples a second, as stored.
    pub audio_rate: i64,
    /// Sound channels, as stored.
    pub audio_channels: i64,
    /// Length of the sound, seconds.
    pub audio_seconds: f64,
    /// Integrated loudness, LUFS (EBU R128); null when the gate leaves nothing.
    pub loudness: Option<f64>,
    /// Largest absolute sample, 0..=1 (above 1 when the codec overshoots).
    pub peak: f64,
    /// File size in bytes.
    pub bytes: i64,
    /// BLAKE3 over the size and the first and last MiB of the file.
    pub identity: String,
    /// The upstream video, where the corpus tells.
    pub source_video: Option<String>,
    /// The caption that came with the clip.
    pub caption: Option<String>,
    /// Scores that came with the clip.
    pub scores: Vec<NamedScore>,
    /// Licence of the clip, where the corpus tells.
    pub licence: Option<String>,
}

impl Record for Clip {
    const NAME: &'static str = "clip";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            text("path", "media file below the corpus root"),
            real("start", "start inside the file, seconds; null: its beginning"),
            real("end", "end inside the file, seconds; null: its end"),
            integer("width", "pixels, after rotation"),
            integer("height", "pixels, after rotation"),
            real("fps", "pictures a second"),
            integer("fps_num", "numerator of the exact rate"),
            integer("fps_den", "denominator of the exact rate"),
            integer(
                "frames",
                "pictures decoded; 0: sound alone, and width, height and rate say nothing",
            ),
            real(
                "seconds",
                "length of the pictures (of the sound, when there are none), seconds",
            ),
            integer("rotation", "degrees the stored pictures are turned for showing"),
            text("video_codec", "video codec"),
            text("audio_codec", "audio codec"),
            integer("audio_rate", "samples a second as stored"),
            integer("audio_channels", "channels as stored"),
            real("audio_seconds", "length of the sound, seconds"),
            real(
                "loudness",
                "integrated loudness, LUFS (EBU R128); null: gated away",
            ),
            real("peak", "largest absolute sample, full scale 1"),
            integer("bytes", "file size"),
            text("identity", "BLAKE3 of size, first MiB, last MiB"),
            text(
                "source_video",
                "the video the clip was cut from, where the corpus tells",
            ),
            text("caption", "caption that came with the clip"),
            list(
                "scores",
                Kind::Struct(NamedScore::columns()),
                "scores that came with the clip",
            ),
            text("licence", "licence of the clip, where the corpus tells"),
        ]
    }
}
