//! ImageBind's sound: three clips of two seconds as 128 mel bands.
//!
//! Reference: facebookresearch/ImageBind `data.py`, `load_and_transform_audio_data` and `waveform2melspec`.

use omni_media::{Pcm, resample_sinc};

use crate::audio::RATE;
use crate::audio::fbank::{Fbank, Window};

/// Clips of a sound.
pub const CLIPS: usize = 3;
/// Mel bands.
pub const BANDS: usize = 128;
/// Columns of a clip: 198 frames of two seconds, filled with zeros.
pub const COLUMNS: usize = 204;
const MEAN: f32 = -4.268;
const DEVIATION: f32 = 9.138;
const CLIP: usize = 2 * RATE as usize;
/// Samples of one frame; a clip with fewer has no picture.
const FRAME: usize = 400;

/// The three clips `[128, 204]` of a sound, in time order. `None` when a clip is shorter than 25 ms.
///
/// Each clip has its mean, over all channels, taken away **in place**: a later clip that overlaps it sees samples that
/// are already shifted. Only the first channel is pictured. Both are the reference's.
pub fn clips(sound: &Pcm) -> Option<[Vec<f32>; CLIPS]> {
    let channels = sound.channels.max(1) as usize;
    let mut waves: Vec<Vec<f32>> = (0..channels)
        .map(|c| {
            let wave: Vec<f32> = sound.samples.iter().skip(c).step_by(channels).copied().collect();
            resample_sinc(&wave, sound.rate, RATE)
        })
        .collect();
    let length = waves.iter().map(Vec::len).min()?;
    let fbank = Fbank::new(BANDS, Window::Hann, 1.0);
    let mut out: [Vec<f32>; CLIPS] = Default::default();
    for (clip, span) in out.iter_mut().zip(spans(length)) {
        if span.len() < FRAME {
            return None;
        }
        level(&mut waves, span.clone());
        *clip = picture(&fbank.features(&waves[0][span]));
    }
    Some(out)
}

/// The samples of each clip of a sound of so many at 16 kHz; a short sound is one clip three times.
pub fn spans(samples: usize) -> [std::ops::Range<usize>; CLIPS] {
    std::array::from_fn(|k| {
        let start = k * samples.saturating_sub(CLIP) / (CLIPS - 1);
        start..(start + CLIP).min(samples)
    })
}

/// Takes the mean over all channels away from a stretch of each.
fn level(waves: &mut [Vec<f32>], span: std::ops::Range<usize>) {
    let count = (span.len() * waves.len()) as f64;
    let all = waves.iter().flat_map(|wave| &wave[span.clone()]);
    let mean = (all.map(|x| f64::from(*x)).sum::<f64>() / count) as f32;
    for wave in waves {
        wave[span.clone()].iter_mut().for_each(|x| *x -= mean);
    }
}

/// `[frames, 128]` to `[128, 204]`: filled with zeros (or cut) first, normalised then.
fn picture(features: &[f32]) -> Vec<f32> {
    let frames = features.len() / BANDS;
    let value = |band: usize, k: usize| {
        if k < frames {
            features[k * BANDS + band]
        } else {
            0.0
        }
    };
    let normal = |x: f32| (x - MEAN) / DEVIATION;
    (0..BANDS)
        .flat_map(|band| (0..COLUMNS).map(move |k| normal(value(band, k))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(seconds: f64, channels: u32) -> Pcm {
        let frames = (seconds * 16000.0) as usize;
        let at = |i: usize| (i as f32 * 0.05).sin() * 0.3 + 0.1;
        let samples = (0..frames).flat_map(|i| vec![at(i); channels as usize]).collect();
        Pcm {
            rate: RATE,
            channels,
            samples,
        }
    }

    #[test]
    fn three_clips_of_one_shape() {
        for (seconds, channels) in [(5.0, 1), (2.0, 2), (0.03, 1)] {
            let clips = clips(&sound(seconds, channels)).unwrap();
            assert!(clips.iter().all(|clip| clip.len() == BANDS * COLUMNS));
            assert!((clips[0][COLUMNS - 1] - 4.268 / 9.138).abs() < 1e-6, "filling");
        }
        assert!(clips(&sound(0.02, 1)).is_none());
        assert!(clips(&Pcm::default()).is_none());
    }
}
