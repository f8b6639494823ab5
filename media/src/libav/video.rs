//! Pictures in presentation order, with their times.

use super::open::{Media, Track, coded_pixels, too_large};
use super::pixels::{Painter, plain};
use crate::{Colours, Error, Frame, Image, Limits, Span};
use ff::ffi;
use ffmpeg_next as ff;
use std::ops::ControlFlow;
use std::path::Path;

/// Pictures per second of clip beyond which the timestamps are not believed.
const MAX_RATE: f64 = 1000.0;

/// Decodes every frame of the span in presentation order on one thread and hands each to `on`; returns how many.
///
/// * Colours: swscale (bicubic) with the tagged matrix and range, BT.601 limited when untagged. Rotation is applied;
///   the sample aspect ratio is not. A size that changes on the way is scaled to the first one.
/// * `seconds` count from the file's first picture plus `Span::start`, never fall, and follow variable rates. A frame
///   without a time follows the one before it at the frame rate.
/// * With a start, decoding begins at the key frame before it. Memory does not grow with the length.
/// * A few damaged packets are tolerated. Over half a second, or over 5 % and two pictures lost: `unreadable`, as is a
///   file that ends clearly before its declared length (`truncated`). Both are found after the frames that exist
///   have been handed out. `Break` from `on` ends at once and is no error.
pub fn read_frames(
    path: &Path,
    span: &Span,
    limits: &Limits,
    on: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<u64, Error> {
    read(path, span, limits, false, on)
}

/// As [`read_frames`], with each frame's [`Frame::bt601`] beside it from the same decode.
pub fn read_frames_twice(
    path: &Path,
    span: &Span,
    limits: &Limits,
    on: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<u64, Error> {
    read(path, span, limits, true, on)
}

fn read(
    path: &Path,
    span: &Span,
    limits: &Limits,
    twice: bool,
    on: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<u64, Error> {
    match pass(path, span, limits, (true, twice), on)? {
        Some(frames) => Ok(frames),
        // The index led to a key frame after the start: read from the beginning instead.
        None => Ok(pass(path, span, limits, (false, twice), on)?.unwrap_or(0)),
    }
}

/// One pass over the file, by seeking or not, in one set of colours or two. None: seeking landed too late, nothing
/// was handed out.
fn pass(
    path: &Path,
    span: &Span,
    limits: &Limits,
    (seek, twice): (bool, bool),
    on: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<Option<u64>, Error> {
    let mut media = Media::open(path, span, limits)?;
    let track = media
        .video()
        .ok_or_else(|| Error::NoVideo { path: path.into() })?;
    let mut pictures = Pictures::open(&media, track)?;
    pictures.twice = twice;
    let start = span.start.unwrap_or(0.0).max(0.0);
    let mut clip = Clip {
        zero: media.origin() + start,
        end: span.end.map(|end| end - start),
        index: 0,
        last: None,
    };
    let sought = seek && start > 0.0 && media.seek(clip.zero);
    let mut packets_end: f64 = f64::NEG_INFINITY;
    let mut open = true;
    while open {
        let packet = media.next()?;
        open = packet.is_some();
        if let Some(packet) = packet {
            packets_end = packets_end.max(packet_end(&media, &packet));
            if packet.stream() != track.index {
                continue;
            }
            media.clock.touch();
            pictures.send(Some(&packet));
        } else {
            pictures.send(None);
        }
        while let Some(picture) = pictures.next(&media)? {
            if sought && clip.late(picture.seconds, track.fps) {
                return Ok(None);
            }
            if clip.hand(&media, &picture, on)?.is_break() {
                return Ok(Some(clip.index));
            }
        }
        media.check_clock()?;
        pictures.check_losses(&media, false)?;
        if clip.over(pictures.last) {
            return finish(&media, &pictures, &clip);
        }
    }
    if span.end.is_none() {
        check_truncated(&media, packets_end)?;
    }
    finish(&media, &pictures, &clip)
}

fn finish(media: &Media, pictures: &Pictures, clip: &Clip) -> Result<Option<u64>, Error> {
    pictures.check_losses(media, true)?;
    Ok(Some(clip.index))
}

/// Where the pictures go: the clock and the count of the clip.
struct Clip {
    zero: f64,
    end: Option<f64>,
    index: u64,
    last: Option<f64>,
}

impl Clip {
    /// Whether the first picture after a seek lies clearly behind the start.
    fn late(&self, seconds: f64, fps: (i64, i64)) -> bool {
        self.index == 0 && self.last.is_none() && seconds - self.zero > 1.5 * fps.1 as f64 / fps.0 as f64
    }

    fn over(&self, seconds: Option<f64>) -> bool {
        matches!((self.end, seconds), (Some(end), Some(seconds)) if seconds - self.zero >= end)
    }

    fn hand(
        &mut self,
        media: &Media,
        picture: &Picture<'_>,
        on: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let seconds = picture.seconds;
        let first = self.last.is_none();
        self.last = Some(seconds);
        // Leading pictures may lie before the time that the container names as its start.
        if first && self.end.is_none() && seconds < self.zero && self.zero == media.origin() {
            self.zero = seconds;
        }
        let seconds = seconds - self.zero;
        if seconds < -1e-6 || self.end.is_some_and(|end| seconds >= end) {
            return Ok(ControlFlow::Continue(()));
        }
        media.check_seconds(seconds)?;
        media.check_seconds(self.index as f64 / MAX_RATE)?;
        let flow = on(Frame {
            image: picture.image,
            bt601: picture.bt601,
            index: self.index,
            seconds: seconds.max(0.0),
        });
        media.clock.touch();
        self.index += 1;
        Ok(flow)
    }
}

/// End of a packet on the file's own clock, seconds; minus infinity when it has no time.
pub(super) fn packet_end(media: &Media, packet: &ff::Packet) -> f64 {
    let Some(stream) = media.input.stream(packet.stream()) else {
        return f64::NEG_INFINITY;
    };
    let known = matches!(
        stream.parameters().medium(),
        ff::media::Type::Video | ff::media::Type::Audio
    );
    let time = packet.pts().or_else(|| packet.dts()).filter(|_| known);
    time.map_or(f64::NEG_INFINITY, |time| {
        time.saturating_add(packet.duration().max(0)) as f64 * f64::from(stream.time_base())
    })
}

/// Fails when the packets end clearly (by over 0.5 s and 10 %) before the declared length.
pub(super) fn check_truncated(media: &Media, packets_end: f64) -> Result<(), Error> {
    let Some(declared) = media.declared() else {
        return Ok(());
    };
    // Where the length counts from the clock's zero, a start behind it belongs to the length. A writer that counts from
    // the first packet is given the benefit of the doubt.
    let begin = match media.counts_from_zero() {
        true => media.begin().min(0.0),
        false => media.begin(),
    };
    let seconds = (packets_end - begin).max(0.0);
    if declared - seconds > (declared * 0.1).max(0.5) {
        let message = format!("truncated: ends at {seconds:.2} s of {declared:.2} s");
        return Err(Error::unreadable(&media.path, message));
    }
    Ok(())
}

/// One decoded picture, with its time on the file's own clock.
pub(super) struct Picture<'a> {
    pub(super) image: &'a Image,
    bt601: Option<&'a Image>,
    pub(super) seconds: f64,
}

/// The decoder of pictures and its account of what was lost.
pub(super) struct Pictures {
    decoder: ff::decoder::Video,
    frame: ff::frame::Video,
    painter: Painter,
    /// The painter of the second set of colours, used where `twice` asks for it.
    second: Painter,
    twice: bool,
    track: Track,
    sent: u64,
    lost: u64,
    last: Option<f64>,
    drained: bool,
}

impl Pictures {
    pub(super) fn open(media: &Media, track: Track) -> Result<Self, Error> {
        let stream = media.input.stream(track.index).ok_or_else(|| Error::NoVideo {
            path: media.path.clone(),
        })?;
        let rotation = rotation(&stream);
        let decoder = decoder(media, &stream)?.video();
        let decoder =
            decoder.map_err(|error| Error::unreadable(&media.path, format!("pictures: {error}")))?;
        Ok(Self {
            decoder,
            frame: ff::frame::Video::empty(),
            painter: Painter::new(rotation, Colours::Tagged),
            second: Painter::new(rotation, Colours::Bt601),
            twice: false,
            track,
            sent: 0,
            lost: 0,
            last: None,
            drained: false,
        })
    }

    /// Gives the decoder a packet, or tells it that there are no more.
    pub(super) fn send(&mut self, packet: Option<&ff::Packet>) {
        self.drained = false;
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        if packet.is_some() {
            self.sent += 1;
            self.lost += u64::from(sent.is_err());
        }
    }

    /// The next picture that is ready.
    pub(super) fn next(&mut self, media: &Media) -> Result<Option<Picture<'_>>, Error> {
        if self.drained {
            return Ok(None);
        }
        if let Err(error) = self.decoder.receive_frame(&mut self.frame) {
            let waits = matches!(
                error,
                ff::Error::Eof
                    | ff::Error::Other {
                        errno: ff::util::error::EAGAIN
                    }
            );
            self.lost += u64::from(!waits);
            self.drained = true;
            return Ok(None);
        }
        let pixels = u64::from(self.frame.width()) * u64::from(self.frame.height());
        if pixels > media.limits.max_pixels {
            return Err(too_large(&media.path, pixels));
        }
        let seconds = self.time();
        let failed = |error| Error::unreadable(&media.path, format!("pictures: {error}"));
        let image = self.painter.paint(&self.frame).map_err(failed)?;
        let bt601 = match self.twice {
            true if plain(&self.frame) => Some(image),
            true => Some(self.second.paint(&self.frame).map_err(failed)?),
            false => None,
        };
        Ok(Some(Picture {
            image,
            bt601,
            seconds,
        }))
    }

    /// The frame's own time; else the one before plus a frame. Never falls.
    fn time(&mut self) -> f64 {
        let step = self.track.fps.1 as f64 / self.track.fps.0 as f64;
        let given = self.frame.timestamp().map(|ticks| ticks as f64 * self.track.tick);
        let seconds = match (given, self.last) {
            (Some(given), Some(last)) if given > last => given,
            (Some(given), None) => given,
            (Some(_), Some(last)) => last + step.min(0.001),
            (None, Some(last)) => last + step,
            (None, None) => self.track.start.unwrap_or(0.0),
        };
        self.last = Some(seconds);
        seconds
    }

    /// Fails when too much was lost: half a second at once, or (at the end) 5 % and more than two pictures.
    pub(super) fn check_losses(&self, media: &Media, ended: bool) -> Result<(), Error> {
        let half = (0.5 * self.track.fps.0 as f64 / self.track.fps.1 as f64).max(2.0);
        let share = ended && self.lost > 2 && self.lost * 20 > self.sent;
        if self.lost as f64 > half || share || (ended && self.last.is_none()) {
            let message = format!("{} of {} packets of pictures are damaged", self.lost, self.sent);
            return Err(Error::unreadable(&media.path, message));
        }
        Ok(())
    }
}

/// An opened decoder on one thread that refuses pictures beyond the limit before it allocates them.
pub(super) fn decoder(media: &Media, stream: &ff::Stream<'_>) -> Result<ff::decoder::Opened, Error> {
    let unreadable = |error: ff::Error| Error::unreadable(&media.path, error.to_string());
    let mut context = ff::codec::Context::from_parameters(stream.parameters()).map_err(unreadable)?;
    context.set_threading(ff::threading::Config {
        kind: ff::threading::Type::Frame,
        count: 1,
        ..Default::default()
    });
    let codec = ff::decoder::find(context.id()).ok_or_else(|| Error::Unsupported {
        path: media.path.clone(),
        message: format!("no decoder for {}", context.id().name()),
    })?;
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let pixels = coded_pixels(&media.limits);
    decoder
        .open_as_with(
            codec,
            ff::Dictionary::from_iter([("max_pixels", pixels.as_str())]),
        )
        .map_err(unreadable)
}

/// Clockwise turn of the stored pictures, from the display matrix or the older `rotate` tag.
pub(super) fn rotation(stream: &ff::Stream<'_>) -> u32 {
    let matrix = stream
        .side_data()
        .find(|data| data.kind() == ff::packet::side_data::Type::DisplayMatrix);
    let degrees = match matrix {
        Some(data) => matrix_degrees(data.data()),
        None => stream
            .metadata()
            .get("rotate")
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0),
    };
    let quarter = if degrees.is_finite() {
        (degrees / 90.0).round() as i64
    } else {
        0
    };
    quarter.rem_euclid(4) as u32 * 90
}

/// libavutil/display.c: the angle of the first row (native-endian 16.16 numbers).
fn matrix_degrees(bytes: &[u8]) -> f64 {
    let value = |i: usize| {
        bytes
            .get(i * 4..i * 4 + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, i32::from_ne_bytes)
    };
    f64::from(value(1)).atan2(f64::from(value(0))).to_degrees()
}

impl Media {
    /// Whether the container's length is the end of its last packet on the file's own clock, and not how long its packets
    /// last: a film's edit list and Matroska's `Duration` count what lies before the first packet.
    fn counts_from_zero(&self) -> bool {
        let format = self.input.format();
        let mut names = format.name().split(',');
        names.any(|name| matches!(name, "mov" | "matroska"))
    }

    /// Start of the file on its own clock, seconds.
    fn begin(&self) -> f64 {
        let starts = self
            .input
            .streams()
            .map(|stream| (stream.start_time(), f64::from(stream.time_base())));
        let known = starts
            .filter(|(ticks, _)| *ticks != ffi::AV_NOPTS_VALUE)
            .map(|(ticks, tick)| ticks as f64 * tick);
        let first = known.fold(f64::INFINITY, f64::min);
        if first.is_finite() { first } else { 0.0 }
    }
}
