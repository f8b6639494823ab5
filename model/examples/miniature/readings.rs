//! What a generated clip shows, read from its latents: whose face, whose voice, bound to whom, what is said, what leaks.

use super::world::{
    Clip, FACE, GRID, HOLD, Identity, LENGTH, NOISE, PHONEMES, Person, SLOT, SOUND, STARTS, TIMBRE,
    brightness, phoneme_of, phoneme_sound, phonemes_said,
};
use omni_model::{Error, Result, net::Latents};
use serde::Serialize;
use std::collections::BTreeMap;

/// Identities that somebody is looked for among, the right one included.
pub const LINE_UP: usize = 8;

/// Readings of one clip by name; several values where there are several people or utterances.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Readings(pub BTreeMap<&'static str, Vec<f64>>);

impl Readings {
    fn add(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    fn whether(&mut self, name: &'static str, right: bool) {
        self.add(name, if right { 1.0 } else { 0.0 });
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Cosine; 0 where there is nothing.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 1e-9 { dot(a, b) / length } else { 0.0 }
}

/// Latents as numbers.
struct Seen {
    video: Vec<f64>,
    audio: Vec<f64>,
}

impl Seen {
    fn new(latents: &Latents) -> Result<Self> {
        let numbers = |tensor: &Option<candle_core::Tensor>| -> Result<Vec<f64>> {
            let tensor = tensor
                .as_ref()
                .ok_or_else(|| Error::Input("a stream is missing".to_owned()))?;
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        Ok(Self {
            video: numbers(&latents.video)?,
            audio: numbers(&latents.audio)?,
        })
    }

    /// Mean of a channel over one place and one frame, rows weighted.
    fn place(&self, channel: usize, frame: usize, left: bool, weight: impl Fn(usize) -> f64) -> f64 {
        let [frames, rows, columns] = GRID;
        let first = if left { 0 } else { columns / 2 };
        let mut sum = 0.0;
        for row in 0..rows {
            for column in first..first + columns / 2 {
                let at = ((channel * frames + frame) * rows + row) * columns + column;
                sum += weight(row) * self.video[at];
            }
        }
        sum / (rows * columns / 2) as f64
    }

    /// The face at a place, both frames.
    fn face(&self, left: bool) -> Vec<f64> {
        let mean = |channel| {
            (0..GRID[0])
                .map(|frame| self.place(channel, frame, left, |_| 1.0))
                .sum::<f64>()
                / GRID[0] as f64
        };
        (0..FACE).map(mean).collect()
    }

    /// Mean of some channels over some latents.
    fn sound(&self, channels: std::ops::Range<usize>, latents: std::ops::Range<usize>) -> Vec<f64> {
        let count = latents.len() as f64;
        let mean = |channel| {
            latents
                .clone()
                .map(|at| self.audio[at * SOUND + channel])
                .sum::<f64>()
                / count
        };
        channels.map(mean).collect()
    }

    /// Mean square of all channels of a latent, without that of the world's noise.
    fn loudness(&self, latent: usize) -> f64 {
        let row = &self.audio[latent * SOUND..(latent + 1) * SOUND];
        dot(row, row) / SOUND as f64 - NOISE * NOISE
    }
}

/// The phoneme that a sound is nearest to.
fn heard(sound: &[f64]) -> Result<usize> {
    let mut best = (f64::NEG_INFINITY, 0);
    for phoneme in 0..PHONEMES {
        let near = dot(sound, &phoneme_sound(phoneme)?);
        if near > best.0 {
            best = (near, phoneme);
        }
    }
    Ok(best.1)
}

/// Mean square of a latent that is loud enough to be taken for speech: half of what speech has.
const AUDIBLE: f64 = 0.5;

/// Reads clip `number` of a test. `number` picks the others of the line-up.
pub fn read(clip: &Clip, latents: &Latents, number: u64) -> Result<Readings> {
    let seen = Seen::new(latents)?;
    let mut readings = Readings::default();
    faces(clip, &seen, number, &mut readings)?;
    voices(clip, &seen, number, &mut readings)?;
    words(clip, &seen, &mut readings)?;
    leaks(clip, &seen, &mut readings)?;
    Ok(readings)
}

/// Strangers: identities that are in no clip.
fn strangers(number: u64, count: usize) -> Result<Vec<Identity>> {
    (0..count as u64)
        .map(|place| Identity::new(true, 1_000_000 + 16 * number + place))
        .collect()
}

/// Whether `own` is the one of the line-up that `seen` is nearest to by cosine.
fn picked(seen: &[f64], own: &[f64], others: &[&[f64]]) -> bool {
    let near = cosine(seen, own);
    others.iter().all(|other| cosine(seen, other) < near)
}

/// The other person of the clip, if there are two.
fn other_than(clip: &Clip, place: usize) -> Option<&Person> {
    let mut people = clip.people.iter().enumerate();
    people.find(|(at, _)| *at != place).map(|(_, person)| person)
}

fn faces(clip: &Clip, seen: &Seen, number: u64, readings: &mut Readings) -> Result<()> {
    for (place, person) in clip.people.iter().enumerate() {
        let face = seen.face(person.left);
        let own = &person.identity.face;
        let other = other_than(clip, place);
        let strangers = strangers(number, LINE_UP - 1 - usize::from(other.is_some()))?;
        let mut others: Vec<&[f64]> = strangers.iter().map(|who| who.face.as_slice()).collect();
        others.extend(other.map(|other| other.identity.face.as_slice()));
        readings.add("face_sim", cosine(&face, own));
        readings.whether("face_picked", picked(&face, own, &others));
        if let Some(other) = other {
            readings.whether(
                "face_side",
                cosine(&face, own) > cosine(&face, &other.identity.face),
            );
        }
        // projections on the true face, so that a wrong face turns nowhere in particular
        let half = |up: bool| {
            let weight = |row: usize| if brightness(row, up) > 1.0 { 1.0 } else { 0.0 };
            let mean = |channel| {
                (0..GRID[0])
                    .map(|frame| seen.place(channel, frame, person.left, weight))
                    .sum()
            };
            dot(&(0..FACE).map(mean).collect::<Vec<f64>>(), own)
        };
        readings.whether("turned_as_asked", half(person.up) > half(!person.up));
    }
    Ok(())
}

fn voices(clip: &Clip, seen: &Seen, number: u64, readings: &mut Readings) -> Result<()> {
    for (slot, said) in clip.said.iter().enumerate() {
        let person = &clip.people[said.who];
        let voice = seen.sound(0..TIMBRE, STARTS[slot]..STARTS[slot] + SLOT);
        let own = &person.identity.voice;
        let other = other_than(clip, said.who);
        let strangers = strangers(number, LINE_UP - 1 - usize::from(other.is_some()))?;
        let mut others: Vec<&[f64]> = strangers.iter().map(|who| who.voice.as_slice()).collect();
        others.extend(other.map(|other| other.identity.voice.as_slice()));
        readings.add("voice_sim", cosine(&voice, own));
        readings.whether("voice_picked", picked(&voice, own, &others));
        if let Some(other) = other {
            let voice_right = cosine(&voice, own) > cosine(&voice, &other.identity.voice);
            let open = |left| seen.place(FACE, slot, left, |_| 1.0);
            let mouth_right = open(person.left) > open(!person.left);
            let face = seen.face(person.left);
            let face_right = cosine(&face, &person.identity.face) > cosine(&face, &other.identity.face);
            readings.whether("voice_turn", voice_right);
            readings.whether("mouth_side", mouth_right);
            readings.whether("bound", voice_right && mouth_right && face_right);
        }
    }
    Ok(())
}

fn words(clip: &Clip, seen: &Seen, readings: &mut Readings) -> Result<()> {
    for (said, start) in clip.said.iter().zip(STARTS) {
        for (place, phoneme) in phonemes_said(said).into_iter().enumerate() {
            let from = start + HOLD * place;
            let sound = seen.sound(TIMBRE..SOUND, from..from + HOLD);
            readings.whether("phoneme_errors", heard(&sound)? != phoneme);
        }
    }
    Ok(())
}

fn leaks(clip: &Clip, seen: &Seen, readings: &mut Readings) -> Result<()> {
    let said: Vec<usize> = clip.said.iter().flat_map(phonemes_said).collect();
    let captioned: Vec<usize> = clip.caption.iter().map(|word| phoneme_of(*word)).collect();
    let in_slot = |latent: usize| {
        (0..clip.said.len()).any(|slot| (STARTS[slot]..STARTS[slot] + SLOT).contains(&latent))
    };
    let mut counts = [0.0; PHONEMES];
    let (mut outside, mut spoken) = (0.0, 0.0);
    for latent in 0..LENGTH {
        let audible = seen.loudness(latent) > AUDIBLE;
        if !in_slot(latent) {
            outside += 1.0;
            spoken += f64::from(u8::from(audible));
        }
        if audible {
            counts[heard(&seen.sound(TIMBRE..SOUND, latent..latent + 1))?] += 1.0;
        }
    }
    readings.add("speech_outside", spoken / outside);
    // latents with a phoneme of the caption's that nobody says, against those with a phoneme that is nowhere
    let rate = |wanted: &dyn Fn(usize) -> bool| {
        let chosen: Vec<usize> = (0..PHONEMES).filter(|phoneme| wanted(*phoneme)).collect();
        let sum: f64 = chosen.iter().map(|phoneme| counts[*phoneme]).sum();
        (!chosen.is_empty()).then(|| sum / chosen.len() as f64 / LENGTH as f64)
    };
    let unsaid = |phoneme: usize| !said.contains(&phoneme);
    let caption = rate(&|phoneme| unsaid(phoneme) && captioned.contains(&phoneme));
    let nowhere = rate(&|phoneme| unsaid(phoneme) && !captioned.contains(&phoneme));
    if let (Some(caption), Some(nowhere)) = (caption, nowhere) {
        readings.add("caption_phonemes", caption);
        readings.add("other_phonemes", nowhere);
        readings.add("caption_leak", caption - nowhere);
    }
    Ok(())
}
