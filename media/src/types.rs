//! The plain values that pass in and out of this crate.

use std::time::Duration;

/// A picture: RGB, 8 bits a channel, rows packed without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes, row by row, red first.
    pub data: Vec<u8>,
}

/// One frame on its way past: the image is reused for the next one, so copy what must stay.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The picture as shown (rotation applied, sample aspect ratio not).
    pub image: &'a Image,
    /// The same picture as OpenCV decodes it: BT.601, limited range, whatever the file's tags say. Only with
    /// [`read_frames_twice`](crate::read_frames_twice).
    pub bt601: Option<&'a Image>,
    /// Position in presentation order, from 0 at the first frame handed out.
    pub index: u64,
    /// Seconds from the start of the clip: the first picture of the file plus `Span::start`.
    pub seconds: f64,
}

/// By which rule YUV becomes RGB.
#[cfg_attr(
    not(feature = "ffmpeg"),
    expect(dead_code, reason = "only pictures have colours")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// The file's own matrix and range; BT.601 limited when it names none.
    Tagged,
    /// BT.601 limited whatever it names.
    Bt601,
}

/// Mono sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waveform {
    /// Samples per second.
    pub rate: u32,
    /// Samples, full scale at 1.0.
    pub samples: Vec<f32>,
}

/// Sound with all its channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pcm {
    /// Frames (one sample per channel) per second.
    pub rate: u32,
    /// Channels.
    pub channels: u32,
    /// Interleaved samples, full scale at 1.0; the length is a multiple of `channels`.
    pub samples: Vec<f32>,
}

impl Pcm {
    /// One channel, the mean of all.
    pub fn mono(&self) -> Waveform {
        let channels = self.channels.max(1) as usize;
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
        Waveform {
            rate: self.rate,
            samples: self.samples.chunks_exact(channels).map(mean).collect(),
        }
    }
}

/// The part of a file that is the clip, in seconds from its first picture (from its first sound when it has no pictures).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// Frames and samples before this are left out; none: from the beginning.
    pub start: Option<f64>,
    /// Frames and samples at or after this are left out; none: to the end.
    pub end: Option<f64>,
}

/// What a file may cost before it is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Largest picture, width x height. Refused before a buffer for it exists. Default 8192 x 4320.
    pub max_pixels: u64,
    /// Longest clip (of the span, when there is one). Default 600 s.
    pub max_seconds: f64,
    /// Longest time without a new packet or picture. Default 30 s.
    ///
    /// Measured between the steps of the demuxer and the decoder and at every read of the file; a
    /// decoder that never returns from one packet can only be ended with its process.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 8192 * 4320,
            max_seconds: 600.0,
            stall: Duration::from_secs(30),
        }
    }
}

/// What [`probe`](crate::probe) found.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaInfo {
    /// The moving pictures, if any.
    pub video: Option<VideoInfo>,
    /// The sound, if any.
    pub audio: Option<AudioInfo>,
    /// Size of the file.
    pub bytes: u64,
    /// BLAKE3 (hex) of the size and of the first and last MiB: cheap, and different for different files.
    pub identity: String,
}

/// The moving pictures of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// Width as shown (after rotation), of the first decoded picture.
    pub width: u32,
    /// Height as shown.
    pub height: u32,
    /// Average frame rate, numerator of the reduced fraction.
    pub fps_num: i64,
    /// Average frame rate, denominator.
    pub fps_den: i64,
    /// Pictures in the span, counted from the packets.
    pub frames: u64,
    /// From the start of the first picture to the end of the last one.
    pub seconds: f64,
    /// How far the stored pictures are turned clockwise to be shown: 0, 90, 180 or 270.
    pub rotation: u32,
    /// FFmpeg's codec name, e.g. `h264`.
    pub codec: String,
    /// Whether the steps between pictures differ (by over 20 % of the usual step and two clock ticks).
    pub variable_rate: bool,
}

/// The sound of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioInfo {
    /// FFmpeg's codec name, e.g. `aac`.
    pub codec: String,
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u32,
    /// Length of the decoded sound within the span.
    pub seconds: f64,
    /// Integrated loudness, LUFS (EBU R128); none when everything is below its gate.
    pub loudness: Option<f64>,
    /// Largest absolute sample, full scale at 1.0.
    pub peak: f64,
}
