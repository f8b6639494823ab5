//! What the page shows of a media file: a small picture and the outline of the sound. Only files that `probe` accepted
//! are opened; one that cannot be read any more leaves a hole and a word on its card.

use omni_media::{Limits, Span, read_audio_16k, read_frames, thumbnail};
use omni_net::service::{base64, data_url};
use std::{ops::ControlFlow, path::Path};

/// Columns of the outline.
pub(super) const COLUMNS: usize = 720;
/// Longest side of a list picture, pixels.
const POSTER: u32 = 224;
/// Longest side of a face, pixels.
const FACE: u32 = 192;

/// What was taken from a file.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The first picture, as a data URI.
    pub(super) poster: Option<String>,
    /// [`COLUMNS`] bytes in base64, each the largest sample of its stretch, full scale 255.
    pub(super) outline: Option<String>,
    /// Why something is missing, one fixed word.
    pub(super) trouble: Option<String>,
}

/// Opens a file twice: for its first picture and for its sound.
pub(super) fn look(path: &Path, span: &Span) -> Look {
    let mut look = Look::default();
    match poster(path, span) {
        Ok(poster) => look.poster = poster,
        Err(reason) => look.trouble = Some(reason),
    }
    match read_audio_16k(path, span, &Limits::default()) {
        Ok(wave) => look.outline = Some(base64(&outline(&wave.samples))),
        Err(error) => look.trouble = Some(error.reason().to_owned()),
    }
    look
}

fn poster(path: &Path, span: &Span) -> Result<Option<String>, String> {
    let mut picture = None;
    let read = read_frames(path, span, &Limits::default(), &mut |frame| {
        picture = thumbnail(frame.image, POSTER).ok();
        ControlFlow::Break(())
    });
    read.map_err(|error| error.reason().to_owned())?;
    Ok(picture.map(|bytes| data_url("image/jpeg", &bytes)))
}

/// A face of the part's tar, made small.
pub(super) fn face(bytes: &[u8]) -> Option<String> {
    let picture = omni_media::decode_picture(bytes).ok()?;
    let small = thumbnail(&picture, FACE).ok()?;
    Some(data_url("image/jpeg", &small))
}

/// The largest absolute sample of each of [`COLUMNS`] equal stretches.
fn outline(samples: &[f32]) -> Vec<u8> {
    let loudest = |column: usize| {
        let (from, to) = (
            column * samples.len() / COLUMNS,
            (column + 1) * samples.len() / COLUMNS,
        );
        let stretch = &samples[from..to.max(from + 1).min(samples.len())];
        let peak = stretch
            .iter()
            .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        (peak.min(1.0) * 255.0).round() as u8
    };
    if samples.is_empty() {
        return vec![0; COLUMNS];
    }
    (0..COLUMNS)
        .map(|column| loudest(column.min(COLUMNS - 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_has_its_columns_whatever_the_length() {
        assert_eq!(outline(&[]), vec![0; COLUMNS]);
        for length in [1, 7, COLUMNS, COLUMNS + 1, 100_000] {
            let mut samples = vec![0.0; length];
            samples[length / 2] = -0.5;
            let columns = outline(&samples);
            assert_eq!(
                (columns.len(), columns.iter().max()),
                (COLUMNS, Some(&128)),
                "{length}"
            );
        }
    }
}
