//! A small copy of a clip for a model that looks and listens: few pictures, all of the sound.

use super::sound::read_audio_16k;
use super::video::read_frames;
use crate::{Error, Image, Limits, Span, Waveform};
use ff::codec::{Context, Flags, Id};
use ff::format::context::{Output, StreamIo};
use ff::format::sample::Type::Planar;
use ff::format::{Pixel, Sample};
use ff::software::scaling;
use ff::{ChannelLayout, Dictionary, Packet, Rational, encoder, frame};
use ffmpeg_next as ff;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The H.264 encoder that is used; another one makes other bytes.
const ENCODER: &str = "libx264";
/// Without it x264's look-ahead (`mbtree`, its vector code) reads memory that nobody has written, and about one clip in a
/// hundred comes out with other bytes: `MALLOC_PERTURB_=1` against `=2` shows it.
pub(super) const STEADY: (&str, &str) = ("x264-params", "mbtree=0");
/// Ticks a second of the pictures' clock.
const TICKS: i32 = 1000;
/// Bits a second of the sound.
const SOUND_BITS: usize = 64_000;

/// How small a proxy is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxyForm {
    /// The shorter side, pixels; smaller pictures keep their size.
    pub short_side: usize,
    /// Pictures a second; a clip with fewer repeats them.
    pub fps: f64,
    /// Quality of x264, 0 (best) to 51.
    pub crf: u32,
}

/// A proxy and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// MP4: H.264 and AAC (mono, 16 kHz).
    pub mp4: Vec<u8>,
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Number of pictures.
    pub pictures: u64,
    /// The sound that is in it.
    pub sound: Waveform,
}

/// Whether this FFmpeg can make proxies.
///
/// # Errors
/// [`Error::Invalid`] when it has no `libx264`, or no AAC encoder.
pub fn can_make_proxies() -> Result<(), Error> {
    match (encoder::find_by_name(ENCODER), encoder::find(Id::AAC)) {
        (Some(_), Some(_)) => Ok(()),
        (None, _) => Err(Error::invalid(
            "proxy",
            "this FFmpeg has no encoder libx264; install one that has it",
        )),
        (_, None) => Err(Error::invalid("proxy", "this FFmpeg has no AAC encoder")),
    }
}

/// Makes the proxy of a clip. Equal files, forms and FFmpeg libraries give equal bytes: one thread, no dates, no names.
///
/// # Errors
/// Those of reading pictures and sound; [`Error::Invalid`] when the encoders fail.
pub fn proxy(path: &Path, span: &Span, limits: &Limits, form: &ProxyForm) -> Result<Proxy, Error> {
    let sound = read_audio_16k(path, span, limits)?;
    let mut writer: Option<Writer> = None;
    let mut failed = None;
    read_frames(path, span, limits, &mut |shown| {
        let taken = match &mut writer {
            Some(writer) => writer.picture(shown.image, shown.seconds),
            None => Writer::open(shown.image, form)
                .and_then(|opened| writer.insert(opened).picture(shown.image, shown.seconds)),
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    let invalid = |error: ff::Error| Error::invalid("proxy", error);
    if let Some(error) = failed {
        return Err(invalid(error));
    }
    // A file without pictures was refused above.
    let writer = writer.ok_or_else(|| Error::NoVideo { path: path.into() })?;
    writer.finish(&sound).map_err(invalid)
}

/// Memory that stays reachable while FFmpeg writes into it.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Memory {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Cursor<Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.with(|cursor| cursor.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.with(|cursor| cursor.seek(to))
    }
}

struct Writer {
    memory: Memory,
    output: Output,
    video: encoder::Video,
    audio: encoder::Audio,
    scaler: scaling::Context,
    size: (usize, usize),
    /// Seconds between two pictures.
    step: f64,
    pictures: u64,
    packets: Vec<(f64, Packet)>,
}

impl Writer {
    fn open(image: &Image, form: &ProxyForm) -> Result<Writer, ff::Error> {
        let size = small(image, form.short_side);
        let memory = Memory::default();
        let stream = StreamIo::from_write_seek(memory.clone())?;
        let mut output = ff::format::output_to_stream(stream, None, Some("mp4"))?;
        let (video, audio) = (video_encoder(size, form)?, audio_encoder()?);
        output.add_stream_with(video.as_ref())?;
        output.add_stream_with(audio.as_ref())?;
        let flags = scaling::Flags::AREA | scaling::Flags::ACCURATE_RND | scaling::Flags::BITEXACT;
        let scaler = scaling::Context::get(
            Pixel::RGB24,
            image.width as u32,
            image.height as u32,
            Pixel::YUV420P,
            size.0 as u32,
            size.1 as u32,
            flags,
        )?;
        Ok(Writer {
            memory,
            output,
            video,
            audio,
            scaler,
            size,
            step: 1.0 / form.fps,
            pictures: 0,
            packets: Vec::new(),
        })
    }

    /// Takes a picture of the clip for every time of the proxy that it is the first one at or after.
    fn picture(&mut self, image: &Image, seconds: f64) -> Result<(), ff::Error> {
        if seconds + 1e-6 < self.pictures as f64 * self.step {
            return Ok(());
        }
        let mut rgb = frame::Video::new(Pixel::RGB24, image.width as u32, image.height as u32);
        let stride = rgb.stride(0);
        for (to, from) in rgb
            .data_mut(0)
            .chunks_mut(stride)
            .zip(image.data.chunks(image.width * 3))
        {
            to[..from.len()].copy_from_slice(from);
        }
        let mut small = frame::Video::empty();
        self.scaler.run(&rgb, &mut small)?;
        while self.pictures as f64 * self.step <= seconds + 1e-6 {
            small.set_pts(Some(
                (self.pictures as f64 * self.step * f64::from(TICKS)).round() as i64,
            ));
            self.video.send_frame(&small)?;
            self.pictures += 1;
            self.take_pictures()?;
        }
        Ok(())
    }

    fn take_pictures(&mut self) -> Result<(), ff::Error> {
        let duration = (self.step * f64::from(TICKS)).round() as i64;
        let mut packet = Packet::empty();
        while taken(self.video.receive_packet(&mut packet))? {
            packet.set_duration(duration);
            keep(&mut self.packets, &mut packet, 0, TICKS);
        }
        Ok(())
    }

    fn sound(&mut self, wave: &Waveform) -> Result<(), ff::Error> {
        let rate = wave.rate as i32;
        let block = (self.audio.frame_size() as usize).max(1);
        let mut packet = Packet::empty();
        for (number, samples) in wave.samples.chunks(block).enumerate() {
            let mut frame = frame::Audio::new(Sample::F32(Planar), samples.len(), ChannelLayout::MONO);
            frame.set_rate(wave.rate);
            frame.set_pts(Some((number * block) as i64));
            frame.plane_mut::<f32>(0)[..samples.len()].copy_from_slice(samples);
            self.audio.send_frame(&frame)?;
            while taken(self.audio.receive_packet(&mut packet))? {
                keep(&mut self.packets, &mut packet, 1, rate);
            }
        }
        self.audio.send_eof()?;
        while taken(self.audio.receive_packet(&mut packet))? {
            keep(&mut self.packets, &mut packet, 1, rate);
        }
        Ok(())
    }

    fn finish(mut self, wave: &Waveform) -> Result<Proxy, ff::Error> {
        self.video.send_eof()?;
        self.take_pictures()?;
        self.sound(wave)?;
        // The muxer must name neither a date nor a program.
        let options = Dictionary::from_iter([("fflags", "+bitexact")]);
        drop(self.output.write_header_with(options)?);
        self.packets.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, packet) in &mut self.packets {
            let index = packet.stream();
            let from = if index == 0 { TICKS } else { wave.rate as i32 };
            let to = self
                .output
                .stream(index)
                .ok_or(ff::Error::StreamNotFound)?
                .time_base();
            packet.rescale_ts(Rational(1, from), to);
            packet.write_interleaved(&mut self.output)?;
        }
        self.output.write_trailer()?;
        let (memory, (width, height), pictures) = (self.memory, self.size, self.pictures);
        // What the context still holds is written when it goes.
        drop(self.output);
        Ok(Proxy {
            mp4: memory.with(|cursor| std::mem::take(cursor.get_mut())),
            width,
            height,
            pictures,
            sound: wave.clone(),
        })
    }
}

/// Moves a packet into the list, with its time in seconds.
pub(super) fn keep(packets: &mut Vec<(f64, Packet)>, packet: &mut Packet, stream: usize, ticks: i32) {
    let mut packet = std::mem::replace(packet, Packet::empty());
    packet.set_stream(stream);
    let time = packet.dts().or(packet.pts()).unwrap_or(0) as f64 / f64::from(ticks);
    packets.push((time, packet));
}

/// Whether a packet came; none yet, and none any more, are no errors.
pub(super) fn taken(result: Result<(), ff::Error>) -> Result<bool, ff::Error> {
    match result {
        Ok(()) => Ok(true),
        Err(ff::Error::Eof) => Ok(false),
        Err(ff::Error::Other { errno }) if errno == ff::util::error::EAGAIN => Ok(false),
        Err(error) => Err(error),
    }
}

/// Even sides, the shorter one at most `side`.
fn small(image: &Image, side: usize) -> (usize, usize) {
    let shorter = image.width.min(image.height).max(1);
    let scaled = |n: usize| match shorter > side {
        true => (n * side).div_ceil(shorter),
        false => n,
    };
    let even = |n: usize| (n + n % 2).max(2);
    (even(scaled(image.width)), even(scaled(image.height)))
}

fn video_encoder((width, height): (usize, usize), form: &ProxyForm) -> Result<encoder::Video, ff::Error> {
    let codec = encoder::find_by_name(ENCODER).ok_or(ff::Error::EncoderNotFound)?;
    let mut video = Context::new_with_codec(codec).encoder().video()?;
    video.set_width(width as u32);
    video.set_height(height as u32);
    video.set_format(Pixel::YUV420P);
    video.set_time_base(Rational(1, TICKS));
    video.set_max_b_frames(0);
    video.set_gop(32);
    video.set_flags(Flags::GLOBAL_HEADER | Flags::BITEXACT);
    let crf = form.crf.to_string();
    let options = [
        ("preset", "veryfast"),
        ("threads", "1"),
        ("crf", crf.as_str()),
        STEADY,
    ];
    video.open_as_with(codec, Dictionary::from_iter(options))
}

fn audio_encoder() -> Result<encoder::Audio, ff::Error> {
    let codec = encoder::find(Id::AAC).ok_or(ff::Error::EncoderNotFound)?;
    let mut audio = Context::new_with_codec(codec).encoder().audio()?;
    audio.set_rate(16_000);
    audio.set_format(Sample::F32(Planar));
    audio.set_channel_layout(ChannelLayout::MONO);
    audio.set_time_base(Rational(1, 16_000));
    audio.set_bit_rate(SOUND_BITS);
    audio.set_flags(Flags::GLOBAL_HEADER | Flags::BITEXACT);
    audio.open_as_with(codec, Dictionary::from_iter([("threads", "1")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_even_and_small_pictures_keep_their_size() {
        let image = |width, height| Image {
            width,
            height,
            data: Vec::new(),
        };
        assert_eq!(small(&image(1920, 1080), 480), (854, 480));
        assert_eq!(small(&image(1080, 1920), 480), (480, 854));
        assert_eq!(small(&image(321, 243), 480), (322, 244));
        assert_eq!(small(&image(1, 1), 480), (2, 2));
    }
}
