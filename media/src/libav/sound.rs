//! The sound of a file, in time with its pictures.

use super::open::{Media, Track};
use super::swr::{Converter, Form};
use super::video::{check_truncated, decoder, packet_end};
use crate::{Error, Limits, Pcm, Span, Waveform};
use ffmpeg_next as ff;
use std::path::Path;

/// Decoding starts this long before a span, so that codecs and filters have settled.
const PREROLL: f64 = 0.5;
/// Most samples (all channels) that are kept: 1 GiB of them.
const MAX_SAMPLES: usize = 1 << 28;

/// The sound as 16 kHz mono: the samples of `ffmpeg -ac 1 -ar 16000 -c:a pcm_s16le`, divided by 32768.
///
/// The first sample belongs to the clip's first picture (plus `Span::start`): sound that starts later is preceded by
/// zeros, sound that starts earlier is cut; a file without pictures starts with its sound. Pauses in the file's
/// timestamps are not filled. A part of a file is decoded from half a second before it.
pub fn read_audio_16k(path: &Path, span: &Span, limits: &Limits) -> Result<Waveform, Error> {
    let pcm = read(path, span, limits, Some(Form::Speech))?;
    Ok(Waveform {
        rate: pcm.rate,
        samples: pcm.samples,
    })
}

/// The sound with its own rate and channels (those of its first frame), placed as in [`read_audio_16k`].
pub fn read_audio(path: &Path, span: &Span, limits: &Limits) -> Result<Pcm, Error> {
    read(path, span, limits, None)
}

fn read(path: &Path, span: &Span, limits: &Limits, form: Option<Form>) -> Result<Pcm, Error> {
    let mut media = Media::open(path, span, limits)?;
    let track = media
        .audio()
        .ok_or_else(|| Error::NoAudio { path: path.into() })?;
    let mut sound = Sound::open(&media, track, span, form)?;
    let start = span.start.unwrap_or(0.0);
    if start > PREROLL {
        media.seek(media.origin() + start - PREROLL);
    }
    let mut pcm = Pcm::default();
    let mut packets_end = f64::NEG_INFINITY;
    while let Some(packet) = media.next()? {
        packets_end = packets_end.max(packet_end(&media, &packet));
        if packet.stream() != track.index {
            continue;
        }
        sound.push(&media, Some(&packet), &mut |_, block| {
            keep(&media, &mut pcm.samples, block)
        })?;
        media.clock.touch();
        if sound.over() {
            break;
        }
    }
    sound.push(&media, None, &mut |_, block| {
        keep(&media, &mut pcm.samples, block)
    })?;
    if span.end.is_none() {
        check_truncated(&media, packets_end)?;
    }
    let form = sound.check(&media)?;
    (pcm.rate, pcm.channels) = (form.rate(), form.channels().into());
    Ok(pcm)
}

fn keep(media: &Media, samples: &mut Vec<f32>, block: &[f32]) -> Result<(), Error> {
    if samples.len() + block.len() > MAX_SAMPLES {
        let message = format!("has more than {MAX_SAMPLES} samples of sound");
        return Err(Error::TooLarge {
            path: media.path.clone(),
            message,
        });
    }
    samples.extend_from_slice(block);
    Ok(())
}

/// Frames of one block of silence.
const SILENCE: u64 = 4096;

/// Takes blocks of interleaved samples.
pub(super) type Sink<'a> = dyn FnMut(Form, &[f32]) -> Result<(), Error> + 'a;

/// The decoder of sound: converts, cuts to the span, counts.
pub(super) struct Sound {
    decoder: ff::decoder::Audio,
    frame: ff::frame::Audio,
    wanted: Option<Form>,
    converter: Option<(Form, Converter)>,
    track: Track,
    /// Start and end of the clip on the file's own clock.
    zero: f64,
    end: Option<f64>,
    /// Frames still to leave out, and still to take.
    skip: u64,
    left: u64,
    pub(super) given: u64,
    sent: u64,
    lost: u64,
}

impl Sound {
    pub(super) fn open(
        media: &Media,
        track: Track,
        span: &Span,
        wanted: Option<Form>,
    ) -> Result<Self, Error> {
        let stream = media.input.stream(track.index).ok_or_else(|| Error::NoAudio {
            path: media.path.clone(),
        })?;
        let decoder = decoder(media, &stream)?.audio();
        let decoder = decoder.map_err(|error| Error::unreadable(&media.path, format!("sound: {error}")))?;
        let origin = media.origin();
        Ok(Self {
            decoder,
            frame: ff::frame::Audio::empty(),
            wanted,
            converter: None,
            track,
            zero: origin + span.start.unwrap_or(0.0).max(0.0),
            end: span.end.map(|end| origin + end),
            skip: 0,
            left: u64::MAX,
            given: 0,
            sent: 0,
            lost: 0,
        })
    }

    /// Whether the span is complete.
    pub(super) fn over(&self) -> bool {
        self.left == 0
    }

    /// Decodes a packet (none: the rest) and hands on what belongs to the clip.
    pub(super) fn push(
        &mut self,
        media: &Media,
        packet: Option<&ff::Packet>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        if packet.is_some() {
            self.sent += 1;
            self.lost += u64::from(sent.is_err());
        }
        loop {
            match self.decoder.receive_frame(&mut self.frame) {
                Ok(()) => self.take(media, sink)?,
                Err(
                    ff::Error::Eof
                    | ff::Error::Other {
                        errno: ff::util::error::EAGAIN,
                    },
                ) => break,
                Err(_) => {
                    self.lost += 1;
                    break;
                }
            }
        }
        media.check_clock()?;
        let Some((form, mut converter)) = self.converter.take_if(|_| packet.is_none()) else {
            return Ok(());
        };
        let rest = converter.flush().map_err(|error| sound_error(media, error))?;
        self.hand(media, form, rest, sink)?;
        self.converter = Some((form, converter));
        Ok(())
    }

    fn take(&mut self, media: &Media, sink: &mut Sink<'_>) -> Result<(), Error> {
        let (form, mut converter) = match self.converter.take() {
            Some(known) => known,
            None => self.begin(media, sink)?,
        };
        match converter.convert(&self.frame) {
            Ok(block) => self.hand(media, form, block, sink)?,
            Err(_) => self.lost += 1,
        }
        self.converter = Some((form, converter));
        Ok(())
    }

    /// The first frame decides the form and where the sound lies against the clip's start.
    fn begin(&mut self, media: &Media, sink: &mut Sink<'_>) -> Result<(Form, Converter), Error> {
        let full = Form::Full {
            rate: self.frame.rate().max(1),
            channels: self.frame.channels().max(1),
        };
        let form = self.wanted.unwrap_or(full);
        let ticks = self.frame.timestamp().map(|ticks| ticks as f64 * self.track.tick);
        let first = ticks.or(self.track.start).unwrap_or(self.zero);
        let rate = f64::from(form.rate());
        if let Some(end) = self.end {
            self.left = ((end - self.zero) * rate).round().max(0.0) as u64;
        }
        let lead = first - self.zero;
        media.check_seconds(lead)?;
        self.skip = (-lead * rate).round().max(0.0) as u64;
        self.silence(media, form, (lead * rate).round().max(0.0) as u64, sink)?;
        Ok((form, Converter::new(form)))
    }

    /// Hands on so many frames of zeros, in small blocks.
    fn silence(
        &mut self,
        media: &Media,
        form: Form,
        mut frames: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        let channels = usize::from(form.channels());
        let block = vec![0.0; SILENCE as usize * channels];
        while frames > 0 && !self.over() {
            let take = frames.min(SILENCE);
            self.hand(media, form, &block[..take as usize * channels], sink)?;
            frames -= take;
        }
        Ok(())
    }

    fn hand(&mut self, media: &Media, form: Form, block: &[f32], sink: &mut Sink<'_>) -> Result<(), Error> {
        let channels = usize::from(form.channels());
        let frames = (block.len() / channels) as u64;
        let skip = self.skip.min(frames);
        self.skip -= skip;
        let take = (frames - skip).min(self.left);
        self.left -= take;
        self.given += take;
        media.check_seconds(self.given as f64 / f64::from(form.rate()))?;
        if take == 0 {
            return Ok(());
        }
        sink(
            form,
            &block[skip as usize * channels..(skip + take) as usize * channels],
        )
    }

    /// The form of what was handed on; fails when nothing could be decoded or too much was lost
    /// (over 5 % of the packets and more than two).
    pub(super) fn check(&self, media: &Media) -> Result<Form, Error> {
        let share = self.lost > 2 && self.lost * 20 > self.sent;
        match &self.converter {
            Some((form, _)) if !share => Ok(*form),
            None if self.sent == 0 => Err(Error::NoAudio {
                path: media.path.clone(),
            }),
            _ => {
                let message = format!("{} of {} packets of sound are damaged", self.lost, self.sent);
                Err(Error::unreadable(&media.path, message))
            }
        }
    }
}

fn sound_error(media: &Media, error: ff::Error) -> Error {
    Error::unreadable(&media.path, format!("sound: {error}"))
}
