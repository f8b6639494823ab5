//! A clip out: pictures and sound that were made, not taken, as MP4.

use super::proxy::{Memory, STEADY, keep, taken};
use crate::{Error, Image, Waveform, resample};
use ff::codec::{Context, Flags, Id};
use ff::format::context::{Output, StreamIo};
use ff::format::sample::Type::Planar;
use ff::format::{Pixel, Sample};
use ff::software::scaling;
use ff::{ChannelLayout, Dictionary, Packet, Rational, encoder, frame};
use ffmpeg_next as ff;
use std::path::Path;

/// The H.264 encoder; another one makes other bytes.
const ENCODER: &str = "libx264";
/// Constant quality of x264, 0 (best) to 51.
const QUALITY: &str = "17";
/// Sound samples a second in the file: what players take everywhere.
const SOUND_RATE: u32 = 44_100;
/// Bits a second of the sound.
const SOUND_BITS: usize = 128_000;

/// Writes an MP4 in memory, H.264 and AAC: picture after picture, then the sound.
///
/// Equal pictures, sound and FFmpeg libraries give equal bytes: one thread, no dates, no names but the mark.
pub struct ClipWriter {
    memory: Memory,
    output: Output,
    video: encoder::Video,
    audio: encoder::Audio,
    scaler: scaling::Context,
    size: (usize, usize),
    fps: u32,
    pictures: u64,
    packets: Vec<(f64, Packet)>,
}

fn invalid(error: ff::Error) -> Error {
    Error::invalid("mp4", error)
}

impl ClipWriter {
    /// For pictures of `width` by `height` pixels, `fps` a second.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sides that are zero or odd, for no pictures a second, and when this FFmpeg has no `libx264` or
    /// no AAC encoder.
    pub fn new(width: usize, height: usize, fps: u32) -> Result<Self, Error> {
        let side = |n: usize| u32::try_from(n).ok().filter(|n| *n > 0 && n.is_multiple_of(2));
        let (Some(wide), Some(high), 1..=1000) = (side(width), side(height), fps) else {
            let message = format!("{width}x{height} at {fps} pictures a second: sides are even numbers");
            return Err(Error::invalid("mp4", message));
        };
        super::can_make_proxies()?;
        // encoders tell the terminal about themselves
        ff::log::set_level(ff::log::Level::Quiet);
        let open = || -> Result<Self, ff::Error> {
            let memory = Memory::default();
            let stream = StreamIo::from_write_seek(memory.clone())?;
            let mut output = ff::format::output_to_stream(stream, None, Some("mp4"))?;
            let (video, audio) = (video_encoder((wide, high), fps)?, audio_encoder()?);
            output.add_stream_with(video.as_ref())?;
            output.add_stream_with(audio.as_ref())?;
            let flags = scaling::Flags::BICUBIC | scaling::Flags::ACCURATE_RND | scaling::Flags::BITEXACT;
            let formats = (Pixel::RGB24, Pixel::YUV420P);
            let scaler = scaling::Context::get(formats.0, wide, high, formats.1, wide, high, flags)?;
            Ok(Self {
                memory,
                output,
                video,
                audio,
                scaler,
                size: (width, height),
                fps,
                pictures: 0,
                packets: Vec::new(),
            })
        };
        open().map_err(invalid)
    }

    /// The next picture.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it has another size, or the encoder fails.
    pub fn picture(&mut self, image: &Image) -> Result<(), Error> {
        let (width, height) = self.size;
        if (image.width, image.height) != self.size || image.data.len() != width * height * 3 {
            let message = format!(
                "a picture of {}x{} in a clip of {width}x{height}",
                image.width, image.height
            );
            return Err(Error::invalid("mp4", message));
        }
        self.encode(image).map_err(invalid)
    }

    fn encode(&mut self, image: &Image) -> Result<(), ff::Error> {
        let mut rgb = frame::Video::new(Pixel::RGB24, image.width as u32, image.height as u32);
        let stride = rgb.stride(0);
        let rows = image.data.chunks(image.width * 3);
        for (to, from) in rgb.data_mut(0).chunks_mut(stride).zip(rows) {
            to[..from.len()].copy_from_slice(from);
        }
        let mut picture = frame::Video::empty();
        self.scaler.run(&rgb, &mut picture)?;
        picture.set_pts(Some(self.pictures as i64));
        self.pictures += 1;
        self.video.send_frame(&picture)?;
        self.take_pictures()
    }

    fn take_pictures(&mut self) -> Result<(), ff::Error> {
        let mut packet = Packet::empty();
        while taken(self.video.receive_packet(&mut packet))? {
            packet.set_duration(1);
            keep(&mut self.packets, &mut packet, 0, self.fps as i32);
        }
        Ok(())
    }

    fn sound(&mut self, wave: &Waveform) -> Result<(), ff::Error> {
        let block = (self.audio.frame_size() as usize).max(1);
        let mut packet = Packet::empty();
        for (number, samples) in wave.samples.chunks(block).enumerate() {
            let mut frame = frame::Audio::new(Sample::F32(Planar), samples.len(), ChannelLayout::MONO);
            frame.set_rate(wave.rate);
            frame.set_pts(Some((number * block) as i64));
            frame.plane_mut::<f32>(0)[..samples.len()].copy_from_slice(samples);
            self.audio.send_frame(&frame)?;
            self.take_sound(&mut packet)?;
        }
        self.audio.send_eof()?;
        self.take_sound(&mut packet)
    }

    fn take_sound(&mut self, packet: &mut Packet) -> Result<(), ff::Error> {
        while taken(self.audio.receive_packet(packet))? {
            keep(&mut self.packets, packet, 1, SOUND_RATE as i32);
        }
        Ok(())
    }

    /// Adds the sound (mono, resampled to 44.1 kHz) and gives the file's bytes, with `mark` as its comment. Neither stream is
    /// stretched to the other.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no picture or no sound, or the encoders fail.
    pub fn finish(mut self, sound: &Waveform, mark: &str) -> Result<Vec<u8>, Error> {
        if self.pictures == 0 || sound.samples.is_empty() {
            return Err(Error::invalid("mp4", "a clip needs pictures and sound"));
        }
        let sound = resample(sound, SOUND_RATE)?;
        self.output
            .set_metadata(Dictionary::from_iter([("comment", mark)]));
        self.video.send_eof().map_err(invalid)?;
        self.take_pictures().map_err(invalid)?;
        self.sound(&sound).map_err(invalid)?;
        self.close().map_err(invalid)
    }

    fn close(mut self) -> Result<Vec<u8>, ff::Error> {
        // the muxer must name neither a date nor a program
        drop(
            self.output
                .write_header_with(Dictionary::from_iter([("fflags", "+bitexact")]))?,
        );
        self.packets.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, packet) in &mut self.packets {
            let index = packet.stream();
            let ticks = if index == 0 { self.fps } else { SOUND_RATE };
            let stream = self.output.stream(index).ok_or(ff::Error::StreamNotFound)?;
            packet.rescale_ts(Rational(1, ticks as i32), stream.time_base());
            packet.write_interleaved(&mut self.output)?;
        }
        self.output.write_trailer()?;
        let memory = self.memory;
        // what the context still holds is written when it goes
        drop(self.output);
        Ok(memory.with(|cursor| std::mem::take(cursor.get_mut())))
    }
}

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Label {
    /// Its comment, where [`ClipWriter`] puts its mark.
    pub mark: Option<String>,
    /// The length of each stream as the file declares it, seconds; none where it declares none. Sound may decode to a little
    /// more: AAC comes in blocks of 1024 samples.
    pub seconds: Vec<Option<f64>>,
}

/// Reads what a file says of itself; nothing is decoded.
///
/// # Errors
/// [`Error::NotFound`] and [`Error::Unreadable`] for files that cannot be opened as media.
pub fn read_label(path: &Path) -> Result<Label, Error> {
    std::fs::metadata(path).map_err(|error| Error::not_found(path, &error))?;
    let input = ff::format::input(path).map_err(|error| Error::unreadable(path, error.to_string()))?;
    let seconds = input.streams().map(|stream| {
        let ticks = stream.duration();
        (ticks > 0).then(|| ticks as f64 * f64::from(stream.time_base()))
    });
    Ok(Label {
        mark: input.metadata().get("comment").map(str::to_owned),
        seconds: seconds.collect(),
    })
}

fn video_encoder((width, height): (u32, u32), fps: u32) -> Result<encoder::Video, ff::Error> {
    let codec = encoder::find_by_name(ENCODER).ok_or(ff::Error::EncoderNotFound)?;
    let mut video = Context::new_with_codec(codec).encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base(Rational(1, fps as i32));
    video.set_frame_rate(Some(Rational(fps as i32, 1)));
    // none, so that the first picture is shown at 0 by players that know no edit lists
    video.set_max_b_frames(0);
    video.set_gop(fps);
    video.set_flags(Flags::GLOBAL_HEADER | Flags::BITEXACT);
    let options = [("preset", "medium"), ("threads", "1"), ("crf", QUALITY), STEADY];
    video.open_as_with(codec, Dictionary::from_iter(options))
}

fn audio_encoder() -> Result<encoder::Audio, ff::Error> {
    let codec = encoder::find(Id::AAC).ok_or(ff::Error::EncoderNotFound)?;
    let mut audio = Context::new_with_codec(codec).encoder().audio()?;
    audio.set_rate(SOUND_RATE as i32);
    audio.set_format(Sample::F32(Planar));
    audio.set_channel_layout(ChannelLayout::MONO);
    audio.set_time_base(Rational(1, SOUND_RATE as i32));
    audio.set_bit_rate(SOUND_BITS);
    audio.set_flags(Flags::GLOBAL_HEADER | Flags::BITEXACT);
    audio.open_as_with(codec, Dictionary::from_iter([("threads", "1")]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Span, probe, read_audio};

    fn picture(k: usize) -> Image {
        Image {
            width: 64,
            height: 32,
            data: (0..64 * 32 * 3).map(|i| ((i * 7 + k * 11) % 251) as u8).collect(),
        }
    }

    fn clip(pictures: usize, samples: usize) -> Vec<u8> {
        let mut writer = ClipWriter::new(64, 32, 24).unwrap();
        (0..pictures).for_each(|k| writer.picture(&picture(k)).unwrap());
        let tone = |i: usize| (i as f32 * 0.05).sin() * 0.4;
        let samples = (0..samples).map(tone).collect();
        writer
            .finish(
                &Waveform {
                    rate: 16_000,
                    samples,
                },
                "made, not filmed",
            )
            .unwrap()
    }

    #[test]
    fn streams_lengths_and_mark_are_exact_and_bytes_come_again() {
        // the released clip of 5 s: 121 pictures, 157 latents of sound
        let bytes = clip(121, 80_384);
        assert!(bytes == clip(121, 80_384));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, bytes).unwrap();
        let (span, limits) = (Span::default(), Limits::default());
        let info = probe(&path, &span, &limits).unwrap();
        let (video, audio) = (info.video.unwrap(), info.audio.unwrap());
        assert_eq!((video.width, video.height, video.frames), (64, 32, 121));
        assert_eq!((video.codec.as_str(), audio.codec.as_str()), ("h264", "aac"));
        assert!((video.seconds - 121.0 / 24.0).abs() < 1e-3, "{}", video.seconds);
        let heard = read_audio(&path, &span, &limits).unwrap();
        assert_eq!((heard.rate, heard.channels), (44_100, 1));
        // 80384 samples at 16 kHz are 221558.4 at 44.1 kHz; the last block of AAC is decoded whole
        assert!(
            (221_558..221_558 + 1024).contains(&heard.samples.len()),
            "{}",
            heard.samples.len()
        );
        let label = read_label(&path).unwrap();
        assert_eq!(label.mark.as_deref(), Some("made, not filmed"));
        let declared: Vec<f64> = label.seconds.into_iter().flatten().collect();
        assert!((declared[0] - 121.0 / 24.0).abs() < 1e-9, "{declared:?}");
        assert!((declared[1] - 221_558.0 / 44_100.0).abs() < 1e-9, "{declared:?}");
    }

    #[test]
    fn what_makes_no_clip_is_refused() {
        for (width, height, fps) in [(63, 32, 24), (0, 32, 24), (64, 32, 0), (usize::MAX, 2, 24)] {
            let error = ClipWriter::new(width, height, fps).err().unwrap();
            assert_eq!(error.reason(), "invalid");
        }
        let mut writer = ClipWriter::new(32, 32, 24).unwrap();
        assert!(writer.picture(&picture(0)).is_err());
        let silence = Waveform {
            rate: 16_000,
            samples: vec![0.0; 100],
        };
        assert!(writer.finish(&silence, "").is_err());
        assert_eq!(
            read_label(Path::new("nowhere.mp4")).unwrap_err().reason(),
            "not_found"
        );
    }
}
