//! Files of sound alone, without FFmpeg: WAV, FLAC, MP3, Ogg Vorbis and M4A through symphonia.

use crate::{Error, Pcm, Window};
use std::path::Path;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// Most samples (all channels) that are kept: 1 GiB of them.
const MAX_SAMPLES: usize = 1 << 28;
/// Rates outside are damage; whatever resamples later would be asked for filters of gigabytes.
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;

/// Reads a whole file of sound, all channels. The kind of file is told from its content.
///
/// Damaged packets are left out as long as they are fewer than 5 % (or two). Fails when the file is missing, is not
/// one of these kinds, holds no sound, is damaged, or has over 2^28 samples.
pub fn read_audio_file(path: &Path) -> Result<Pcm, Error> {
    let file = Window::open(path)?;
    let (mut reader, mut decoder, track) = open(path, file)?;
    let mut pcm = Pcm::default();
    let (mut packets, mut lost) = (0usize, 0usize);
    let mut block = Vec::new();
    while let Some(packet) = next(path, reader.as_mut())? {
        if packet.track_id != track {
            continue;
        }
        packets += 1;
        match decoder.decode(&packet) {
            Ok(decoded) => {
                let spec = decoded.spec();
                let form = (spec.rate(), spec.channels().count() as u32);
                decoded.copy_to_vec_interleaved::<f32>(&mut block);
                append(path, &mut pcm, form, &block)?;
            }
            Err(Fault::DecodeError(_) | Fault::IoError(_)) => lost += 1,
            Err(error) => return Err(Error::unreadable(path, error.to_string())),
        }
    }
    if pcm.samples.is_empty() || lost > (packets / 20).max(2) {
        return Err(Error::unreadable(
            path,
            format!("{lost} of {packets} packets of sound are damaged"),
        ));
    }
    Ok(pcm)
}

type Opened = (Box<dyn FormatReader>, Box<dyn AudioDecoder>, u32);

fn open(path: &Path, file: Window) -> Result<Opened, Error> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let reader = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| Error::unreadable(path, format!("is no sound file known here ({error})")))?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| Error::NoAudio { path: path.into() })?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|codec| codec.audio());
    let parameters = parameters.ok_or_else(|| Error::NoAudio { path: path.into() })?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| Error::Unsupported {
            path: path.into(),
            message: error.to_string(),
        })?;
    Ok((reader, decoder, id))
}

/// The next packet; a file that ends in the middle of one has simply ended.
fn next(
    path: &Path,
    reader: &mut dyn FormatReader,
) -> Result<Option<symphonia::core::packet::Packet>, Error> {
    match reader.next_packet() {
        Ok(packet) => Ok(packet),
        Err(Fault::ResetRequired) => Ok(None),
        Err(Fault::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Error::unreadable(path, error.to_string())),
    }
}

/// Sound whose rate or channels change on the way is refused: there is no one `Pcm` for it.
fn append(path: &Path, pcm: &mut Pcm, (rate, channels): (u32, u32), block: &[f32]) -> Result<(), Error> {
    if pcm.rate == 0 {
        (pcm.rate, pcm.channels) = (rate, channels);
    }
    if (rate, channels) != (pcm.rate, pcm.channels) || channels == 0 {
        return Err(Error::unreadable(path, "rate or channels change within the file"));
    }
    if !RATES.contains(&rate) {
        return Err(Error::unreadable(path, format!("names a rate of {rate} Hz")));
    }
    if pcm.samples.len() + block.len() > MAX_SAMPLES {
        return Err(Error::TooLarge {
            path: path.into(),
            message: format!("more than {MAX_SAMPLES} samples"),
        });
    }
    pcm.samples.extend_from_slice(block);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Waveform, wav_s16};

    #[test]
    fn what_wav_s16_writes_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("named_wrongly.mp3");
        let samples: Vec<f32> = (0..5000)
            .map(|i| ((i * 37 % 4001) - 2000) as f32 / 32768.0)
            .collect();
        std::fs::write(
            &path,
            wav_s16(&Waveform {
                rate: 22050,
                samples: samples.clone(),
            }),
        )
        .unwrap();
        assert_eq!(
            read_audio_file(&path).unwrap(),
            Pcm {
                rate: 22050,
                channels: 1,
                samples
            }
        );
    }

    #[test]
    fn a_rate_that_no_sound_has_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        for rate in [1, 4_000_000_000] {
            let samples = vec![0.5; 100];
            std::fs::write(&path, wav_s16(&Waveform { rate, samples })).unwrap();
            assert_eq!(
                read_audio_file(&path).unwrap_err().reason(),
                "unreadable",
                "{rate}"
            );
        }
    }

    #[test]
    fn missing_empty_and_foreign_files_have_their_words() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            read_audio_file(&folder.path().join("none.wav"))
                .unwrap_err()
                .reason(),
            "not_found"
        );
        assert_eq!(read_audio_file(folder.path()).unwrap_err().reason(), "unreadable");
        for content in [&b""[..], b"hello, this is a letter", &[0xff; 300]] {
            let path = folder.path().join("x.wav");
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                read_audio_file(&path).unwrap_err().reason(),
                "unreadable",
                "{content:?}"
            );
        }
    }
}
