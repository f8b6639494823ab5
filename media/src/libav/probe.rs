//! Everything worth knowing about a file, from one pass over its packets.

use super::open::{Media, Track};
use super::sound::Sound;
use super::swr::Form;
use super::video::{Pictures, check_truncated, packet_end, rotation};
use crate::{AudioInfo, Error, Limits, MediaInfo, Span, VideoInfo};
use ebur128::{EbuR128, Mode};
use ffmpeg_next as ff;
use std::path::Path;

/// Pictures per second of clip beyond which the timestamps are not believed.
const MAX_RATE: f64 = 1000.0;

/// Demuxes every packet, decodes the first picture and all the sound.
///
/// `NoVideo` and `NoAudio` are no errors here: the field is none. Fails `unreadable` when the first picture or the
/// sound cannot be decoded, or when the packets end clearly before the declared length (`truncated`); `too_long`,
/// `too_large`, `stalled`, `unsupported`, `not_found` as the limits and the disk have it.
pub fn probe(path: &Path, span: &Span, limits: &Limits) -> Result<MediaInfo, Error> {
    let mut media = Media::open(path, span, limits)?;
    let (video, audio) = (media.video(), media.audio());
    let mut count = video.map(|track| Count::open(&media, track, span)).transpose()?;
    let mut meter = Meter::default();
    let mut sound = audio
        .map(|track| Sound::open(&media, track, span, None))
        .transpose()?;
    if let Some(start) = span.start.filter(|&start| start > 1.0) {
        media.seek(media.origin() + start - 1.0);
    }
    let mut packets_end = f64::NEG_INFINITY;
    while let Some(packet) = media.next()? {
        packets_end = packets_end.max(packet_end(&media, &packet));
        if let Some(count) = count
            .as_mut()
            .filter(|count| count.track.index == packet.stream())
        {
            count.take(&media, &packet)?;
            media.clock.touch();
        }
        if let (Some(sound), Some(track)) = (&mut sound, audio)
            && track.index == packet.stream()
        {
            sound.push(&media, Some(&packet), &mut |form, block| meter.add(form, block))?;
            media.clock.touch();
        }
    }
    if span.end.is_none() {
        check_truncated(&media, packets_end)?;
    }
    let video = count.map(|count| count.finish(&media)).transpose()?.flatten();
    let audio = match (sound, audio) {
        (Some(sound), Some(track)) => finish_sound(&media, sound, track, meter)?,
        _ => None,
    };
    Ok(MediaInfo {
        video,
        audio,
        bytes: media.bytes,
        identity: media.identity,
    })
}

fn codec_name(media: &Media, track: Track) -> String {
    media
        .input
        .stream(track.index)
        .map_or_else(String::new, |stream| stream.parameters().id().name().to_string())
}

fn finish_sound(
    media: &Media,
    mut sound: Sound,
    track: Track,
    mut meter: Meter,
) -> Result<Option<AudioInfo>, Error> {
    sound.push(media, None, &mut |form, block| meter.add(form, block))?;
    let form = match sound.check(media) {
        Ok(form) => form,
        Err(Error::NoAudio { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(AudioInfo {
        codec: codec_name(media, track),
        rate: form.rate(),
        channels: form.channels().into(),
        seconds: sound.given as f64 / f64::from(form.rate()),
        loudness: meter.loudness(),
        peak: f64::from(meter.peak),
    }))
}

/// Loudness and peak of everything that passes.
#[derive(Default)]
struct Meter {
    ebu: Option<EbuR128>,
    peak: f32,
}

impl Meter {
    fn add(&mut self, form: Form, block: &[f32]) -> Result<(), Error> {
        let invalid = |error: ebur128::Error| Error::invalid("loudness", error);
        if self.ebu.is_none() {
            let mode = Mode::I | Mode::HISTOGRAM;
            self.ebu = EbuR128::new(form.channels().into(), form.rate(), mode).ok();
        }
        self.peak = block
            .iter()
            .map(|v| v.abs())
            .filter(|v| v.is_finite())
            .fold(self.peak, f32::max);
        self.ebu
            .as_mut()
            .map_or(Ok(()), |ebu| ebu.add_frames_f32(block).map_err(invalid))
    }

    fn loudness(&self) -> Option<f64> {
        self.ebu
            .as_ref()?
            .loudness_global()
            .ok()
            .filter(|loudness| loudness.is_finite())
    }
}

/// Counts pictures from their packets; decodes until the first one is out.
struct Count {
    track: Track,
    pictures: Option<Pictures>,
    size: Option<(u32, u32)>,
    codec: String,
    zero: f64,
    end: f64,
    times: Vec<f64>,
    untimed: u64,
    last_end: f64,
}

impl Count {
    fn open(media: &Media, track: Track, span: &Span) -> Result<Self, Error> {
        let origin = media.origin();
        Ok(Self {
            track,
            pictures: Some(Pictures::open(media, track)?),
            size: None,
            codec: codec_name(media, track),
            zero: origin + span.start.unwrap_or(f64::NEG_INFINITY),
            end: origin + span.end.unwrap_or(f64::INFINITY),
            times: Vec::new(),
            untimed: 0,
            last_end: f64::NEG_INFINITY,
        })
    }

    fn step(&self) -> f64 {
        self.track.fps.1 as f64 / self.track.fps.0 as f64
    }

    fn take(&mut self, media: &Media, packet: &ff::Packet) -> Result<(), Error> {
        self.first_picture(media, Some(packet))?;
        if packet.flags().bits() & ff::ffi::AV_PKT_FLAG_DISCARD != 0 || self.hidden(packet) {
            return Ok(());
        }
        let Some(ticks) = packet.pts().or_else(|| packet.dts()) else {
            self.untimed += 1;
            return media.check_seconds(self.untimed as f64 / MAX_RATE);
        };
        let time = ticks as f64 * self.track.tick;
        if time < self.zero - 1e-9 || time >= self.end {
            return Ok(());
        }
        self.times.push(time);
        let length = packet.duration() as f64 * self.track.tick;
        self.last_end = self
            .last_end
            .max(time + if length > 0.0 { length } else { self.step() });
        let first = self.times.first().copied().unwrap_or(time);
        media.check_seconds(time - first)?;
        media.check_seconds(self.times.len() as f64 / MAX_RATE)
    }

    /// VP8 packets that only change references are never shown (RFC 6386, 9.1: bit 4 of the frame tag).
    fn hidden(&self, packet: &ff::Packet) -> bool {
        self.codec == "vp8"
            && packet
                .data()
                .and_then(|data| data.first())
                .is_some_and(|byte| byte & 0x10 == 0)
    }

    fn first_picture(&mut self, media: &Media, packet: Option<&ff::Packet>) -> Result<(), Error> {
        let Some(pictures) = &mut self.pictures else {
            return Ok(());
        };
        pictures.send(packet);
        let size = pictures
            .next(media)?
            .map(|picture| (picture.image.width as u32, picture.image.height as u32));
        pictures.check_losses(media, packet.is_none() && size.is_none())?;
        if size.is_some() {
            self.size = size;
            self.pictures = None;
        }
        media.check_clock()
    }

    fn finish(mut self, media: &Media) -> Result<Option<VideoInfo>, Error> {
        if self.times.is_empty() && self.untimed == 0 {
            return Ok(None);
        }
        self.first_picture(media, None)?;
        let Some((width, height)) = self.size else {
            return Err(Error::unreadable(&media.path, "no picture can be decoded"));
        };
        self.times.sort_by(f64::total_cmp);
        let seconds = match self.times.first() {
            Some(first) => self.last_end - first,
            None => self.untimed as f64 * self.step(),
        };
        let stream = media.input.stream(self.track.index);
        Ok(Some(VideoInfo {
            width,
            height,
            fps_num: self.track.fps.0,
            fps_den: self.track.fps.1,
            frames: self.times.len() as u64 + self.untimed,
            seconds,
            rotation: stream.map_or(0, |stream| rotation(&stream)),
            variable_rate: uneven(&self.times, self.track.tick),
            codec: self.codec,
        }))
    }
}

/// Whether the steps between sorted times differ from their median by over 20 % and two ticks.
fn uneven(times: &[f64], tick: f64) -> bool {
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let Some(&usual) = steps.get(steps.len() / 2) else {
        return false;
    };
    let slack = (usual * 0.2).max(tick * 2.0) + 1e-9;
    steps.iter().any(|step| (step - usual).abs() > slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_milliseconds_is_no_variable_rate() {
        let film: Vec<f64> = (0..100)
            .map(|i| (f64::from(i) * 1000.0 / 24.0).round() / 1000.0)
            .collect();
        assert!(!uneven(&film, 0.001));
        let mut gap = film.clone();
        gap.remove(50);
        assert!(uneven(&gap, 0.001));
        assert!(!uneven(&[], 0.001) && !uneven(&[1.0], 0.001));
    }
}
