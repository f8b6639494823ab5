//! A world small enough to learn in minutes: people whose faces and voices are a few numbers, clips of them as latents.
//!
//! An identity is a face (7 numbers, the colours of a patch of the picture) and a voice (8 numbers, the timbre of its sound). A
//! clip shows one or two identities, left or right, looking up or down, and lets them speak in two slots of time: there the
//! sound has the speaker's timbre and the phonemes of two words, and in that slot's frame the speaker's mouth is open. The
//! prompt says who is where, how they look, who says what, and in an audio caption two words that nobody says. References are
//! other, noisy recordings of the same identities, or (in-pair) the clip's own. Everything is a function of a seed.

use candle_core::{Device, Tensor};
use omni_model::{
    Result,
    train::{Draw, Sample, SampleSubject, SampleUtterance},
};
use std::ops::Range;

/// Channels of a picture: a face, whether the mouth is open, and the light, which comes from the left.
pub const CHANNELS: usize = FACE + 2;
/// Numbers of a face.
pub const FACE: usize = 7;
/// Frames, rows, columns of a clip; the left half is one place, the right half the other.
pub const GRID: [usize; 3] = [2, 4, 8];
/// Channels of sound: the timbre, then what is said.
pub const SOUND: usize = TIMBRE + CONTENT;
/// Numbers of a voice.
pub const TIMBRE: usize = 8;
/// Numbers of a phoneme's sound.
pub const CONTENT: usize = 12;
/// Latents of a clip's sound.
pub const LENGTH: usize = 20;
/// Where the two slots of speech begin, and how long they are. Slot k is frame k.
pub const STARTS: [usize; 2] = [1, 11];
pub const SLOT: usize = 8;
/// Latents of a phoneme.
pub const HOLD: usize = 4;
/// Latents of a reference voice.
pub const VOICE: usize = 8;
/// Phonemes there are.
pub const PHONEMES: usize = 12;
/// Words there are, a phoneme each, two words for each phoneme. The backbone was trained on the first ones, clips have more,
/// and the last ones occur in utterances without pictures alone.
pub const WORDS: usize = 24;
pub const KNOWN_WORDS: usize = 12;
pub const CLIP_WORDS: usize = 18;
/// Width of a text row and of a phoneme's row.
pub const TEXT: usize = 64;
pub const PHONEME_ROW: usize = 16;
/// Noise on every latent, its deviation.
pub const NOISE: f64 = 0.15;
/// How much brighter the half is that a face is turned to.
pub const TURN: f64 = 0.6;
/// How bright the left half is, and how dark the right one: a network that sees no places learns them by it.
const LIGHT: f64 = 1.5;
/// Identities that are trained on; those of tests are others.
const PEOPLE: u64 = 4096;

/// Words of the prompt that are not said, by their place in the table of words.
#[derive(Clone, Copy)]
enum Mark {
    Start = WORDS as isize,
    First,
    Second,
    Looks,
    Sounds,
    Open,
    Close,
    Heard,
}

/// Numbers that depend on their names alone.
#[derive(Clone, Copy)]
struct Dice(Draw);

impl Dice {
    fn new(what: u64, number: u64) -> Self {
        Self(Draw::new(0x0C11, what, number))
    }

    fn below(self, name: &str, count: usize) -> usize {
        ((self.0.uniform(name) * count as f64) as usize).min(count - 1)
    }

    fn coin(self, name: &str) -> bool {
        self.0.uniform(name) < 0.5
    }

    fn normal(self, name: &str, count: usize) -> Result<Vec<f64>> {
        let values = self.0.noise(name, &[count])?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// A direction, as long as `count` numbers of size one.
    fn code(self, name: &str, count: usize) -> Result<Vec<f64>> {
        let values = self.normal(name, count)?;
        let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        Ok(values
            .iter()
            .map(|value| value / length * (count as f64).sqrt())
            .collect())
    }
}

/// Somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub face: Vec<f64>,
    pub voice: Vec<f64>,
}

impl Identity {
    /// Number `number` of those that are trained on, or of those that are held out.
    pub fn new(held_out: bool, number: u64) -> Result<Self> {
        let dice = Dice::new(if held_out { 1 } else { 0 }, number);
        Ok(Self {
            face: dice.code("face", FACE)?,
            voice: dice.code("voice", TIMBRE)?,
        })
    }
}

/// Somebody in a clip.
#[derive(Debug, Clone)]
pub struct Person {
    pub identity: Identity,
    pub left: bool,
    pub up: bool,
}

/// An utterance: who, by number, and which words.
#[derive(Debug, Clone)]
pub struct Said {
    pub who: usize,
    pub words: [usize; 2],
}

/// What is in a clip.
#[derive(Debug, Clone)]
pub struct Clip {
    pub people: Vec<Person>,
    pub said: Vec<Said>,
    /// Words of the audio caption, which nobody says.
    pub caption: Vec<usize>,
    /// Unless the sound does say them, in a second slot that is free.
    vocal: bool,
}

/// What a clip is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the backbone is trained on beforehand: the prompt describes faces and voices themselves, there are no references,
    /// and of the clips with one utterance half go on with the words of the caption in the second slot (the paper says
    /// of its backbone that it vocalises captions).
    Plain,
    /// As `Plain`, with identities that are held out, and nobody says the caption.
    TestPlain,
    /// One person, references from the clip itself.
    Single,
    /// Two people, likewise.
    Multi,
    /// One or two people, references from elsewhere.
    Cross,
    /// An utterance without pictures.
    Speech,
    /// As `Cross`, with identities that are held out, and words that clips of training have.
    Test,
    /// The same with words that only utterances have.
    TestWords,
}

/// The sound of a phoneme, its loudness included.
pub fn phoneme_sound(phoneme: usize) -> Result<Vec<f64>> {
    Dice::new(2, phoneme as u64).code("sound", CONTENT)
}

/// The phoneme of a word.
pub fn phoneme_of(word: usize) -> usize {
    word % PHONEMES
}

/// What is said in a slot, a phoneme each.
pub fn phonemes_said(said: &Said) -> Vec<usize> {
    said.words.iter().map(|word| phoneme_of(*word)).collect()
}

impl Kind {
    fn people(self, dice: Dice) -> usize {
        match self {
            Self::Single | Self::Speech => 1,
            Self::Multi => 2,
            Self::Cross | Self::Plain => 1 + dice.below("people", 2),
            // a third alone, two thirds two people
            Self::Test | Self::TestWords | Self::TestPlain => 1 + usize::from(dice.below("people", 3) > 0),
        }
    }

    fn held_out(self) -> bool {
        matches!(self, Self::Test | Self::TestWords | Self::TestPlain)
    }

    /// Whether the prompt describes faces and voices, and there are no references.
    fn described(self) -> bool {
        matches!(self, Self::Plain | Self::TestPlain)
    }

    pub fn own_reference(self) -> bool {
        matches!(self, Self::Single | Self::Multi)
    }
}

/// Whether the words of a caption are said, if there is room.
fn goes_on(dice: Dice) -> bool {
    dice.coin("vocal")
}

impl Clip {
    /// Clip `number` of its kind.
    pub fn new(kind: Kind, number: u64) -> Result<Self> {
        let dice = Dice::new(16 + kind as u64, number);
        let left = dice.coin("left");
        let count = kind.people(dice);
        let who = |place: usize| -> Result<Identity> {
            let number = if kind.held_out() {
                1000 * (kind as u64) + 2 * number + place as u64
            } else {
                dice.below(&format!("who {place}"), PEOPLE as usize) as u64
            };
            Identity::new(kind.held_out(), number)
        };
        let person = |place: usize| -> Result<Person> {
            Ok(Person {
                identity: who(place)?,
                left: left == (place == 0),
                up: dice.coin(&format!("up {place}")),
            })
        };
        let words = |name: &str| match kind {
            Kind::Speech => dice.below(name, WORDS),
            Kind::TestWords => CLIP_WORDS + dice.below(name, WORDS - CLIP_WORDS),
            Kind::Plain | Kind::TestPlain => dice.below(name, KNOWN_WORDS),
            _ => dice.below(name, CLIP_WORDS),
        };
        let first = dice.below("speaker", count);
        let spoken = 1 + usize::from(dice.coin("twice"));
        let said = (0..spoken).map(|slot| Said {
            who: if count == 2 { (first + slot) % 2 } else { 0 },
            words: [words(&format!("word {slot} 0")), words(&format!("word {slot} 1"))],
        });
        let caption = if kind == Kind::Speech { 0 } else { 2 };
        Ok(Self {
            people: (0..count).map(person).collect::<Result<_>>()?,
            said: said.collect(),
            caption: (0..caption)
                .map(|place| dice.below(&format!("caption {place}"), KNOWN_WORDS))
                .collect(),
            vocal: kind == Kind::Plain && goes_on(dice),
        })
    }

    /// Clip `number` of its kind, and if it has one utterance, as likely as not it goes on with the words of its caption, as
    /// clips of the backbone do. All else of it is as in [`Clip::new`].
    pub fn vocal(kind: Kind, number: u64) -> Result<Self> {
        Ok(Self {
            vocal: goes_on(Dice::new(16 + kind as u64, number)),
            ..Self::new(kind, number)?
        })
    }

    /// Its latents, text and references.
    pub fn sample(&self, kind: Kind, number: u64) -> Result<Sample> {
        let dice = Dice::new(32 + kind as u64, number);
        let id = format!("{kind:?}-{number}").to_lowercase();
        let spoken = kind == Kind::Speech;
        let video = if spoken { None } else { Some(self.pictures(dice)?) };
        let (text, spans, utterances) = self.text(kind)?;
        let mut subjects = Vec::new();
        for ((place, person), span) in self.people.iter().enumerate().zip(spans) {
            let picture = if spoken || kind.described() {
                None
            } else {
                Some(self.portrait(person, kind, (place, dice))?)
            };
            subjects.push(SampleSubject {
                descriptor: Some(span),
                picture,
                voice: if kind.described() {
                    None
                } else {
                    Some(voice_of(&person.identity, &format!("voice {place}"), dice)?)
                },
                from: vec![if kind.own_reference() {
                    id.clone()
                } else {
                    format!("{id}-elsewhere")
                }],
            });
        }
        let mut said = Vec::new();
        for (span, said_here) in utterances.into_iter().zip(&self.said) {
            said.push(SampleUtterance {
                span,
                phonemes: Some(phoneme_rows(said_here)?),
            });
        }
        Ok(Sample {
            id,
            video,
            audio: self.sound(dice)?,
            text,
            empty: tensor(Dice::new(3, Mark::Start as u64).normal("word", TEXT)?, &[1, TEXT])?,
            subjects,
            utterances: said,
        })
    }

    /// `[9, 2, 4, 8]`.
    fn pictures(&self, dice: Dice) -> Result<Tensor> {
        let [frames, rows, columns] = GRID;
        let mut values = scaled(dice.normal("video", CHANNELS * frames * rows * columns)?, NOISE);
        for (at, value) in values
            .iter_mut()
            .enumerate()
            .skip((FACE + 1) * frames * rows * columns)
        {
            *value += if at % columns < columns / 2 { LIGHT } else { -LIGHT };
        }
        for (number, person) in self.people.iter().enumerate() {
            let first = if person.left { 0 } else { columns / 2 };
            for frame in 0..frames {
                let open = self.said.get(frame).is_some_and(|said| said.who == number);
                paint(
                    &mut values,
                    (frame, frames),
                    first,
                    &person.identity,
                    (person.up, open),
                );
            }
        }
        tensor(values, &[CHANNELS, frames, rows, columns])
    }

    /// A person's picture, in the middle; in-pair it is as the person looks in the clip.
    fn portrait(&self, person: &Person, kind: Kind, (place, dice): (usize, Dice)) -> Result<Tensor> {
        let [_, rows, columns] = GRID;
        let up = match kind {
            _ if kind.own_reference() => person.up,
            // tests ask for the other way, so that what is copied is seen
            Kind::Test | Kind::TestWords => !person.up,
            _ => dice.coin(&format!("portrait up {place}")),
        };
        let mut values = scaled(
            dice.normal(&format!("portrait {place}"), CHANNELS * rows * columns)?,
            NOISE,
        );
        paint(&mut values, (0, 1), columns / 4, &person.identity, (up, false));
        tensor(values, &[CHANNELS, 1, rows, columns])
    }

    /// `[20, 20]`.
    fn sound(&self, dice: Dice) -> Result<Tensor> {
        let mut values = scaled(dice.normal("audio", LENGTH * SOUND)?, NOISE);
        for (said, start) in self.said.iter().zip(STARTS) {
            say(
                &mut values[start * SOUND..],
                &self.people[said.who].identity,
                &phonemes_said(said),
            )?;
        }
        if let (true, [said]) = (self.vocal, &self.said[..]) {
            let caption: Vec<usize> = self.caption.iter().map(|word| phoneme_of(*word)).collect();
            say(
                &mut values[STARTS[1] * SOUND..],
                &self.people[said.who].identity,
                &caption,
            )?;
        }
        tensor(values, &[LENGTH, SOUND])
    }

    /// Text rows, the rows of each description, the rows of each utterance.
    #[allow(clippy::type_complexity, reason = "three lists that are taken apart at once")]
    fn text(&self, kind: Kind) -> Result<(Tensor, Vec<Range<usize>>, Vec<Range<usize>>)> {
        let mut rows = Rows::default();
        let tag = |number: usize| if number == 0 { Mark::First } else { Mark::Second };
        let (mut descriptors, mut utterances) = (Vec::new(), Vec::new());
        rows.push(Mark::Start as usize, &[])?;
        for (number, person) in self.people.iter().enumerate() {
            let from = rows.count;
            // rows of a description know of each other: who, where, how, and when they speak
            let mut about = vec![format!("who {number}")];
            if kind != Kind::Speech {
                about.extend([format!("left {}", person.left), format!("up {}", person.up)]);
            }
            let slots = self
                .said
                .iter()
                .enumerate()
                .filter(|(_, said)| said.who == number);
            about.extend(slots.map(|(slot, _)| format!("speaks {slot}")));
            rows.push(tag(number) as usize, &about)?;
            let looks = rows.push(Mark::Looks as usize, &about)?;
            let sounds = rows.push(Mark::Sounds as usize, &about)?;
            if kind.described() {
                rows.describe(looks, "looks", &person.identity.face)?;
                rows.describe(sounds, "sounds", &person.identity.voice)?;
            }
            descriptors.push(from..rows.count);
        }
        for (slot, said) in self.said.iter().enumerate() {
            let about = [format!("who {}", said.who), format!("speaks {slot}")];
            rows.push(tag(said.who) as usize, &about)?;
            rows.push(Mark::Open as usize, &about)?;
            utterances.push(rows.count..rows.count + said.words.len());
            for (place, word) in said.words.into_iter().enumerate() {
                rows.push(
                    word,
                    &[format!("who {}", said.who), format!("word {slot} {place}")],
                )?;
            }
            rows.push(Mark::Close as usize, &about)?;
        }
        if !self.caption.is_empty() {
            rows.push(Mark::Heard as usize, &["caption".to_owned()])?;
            for (place, word) in self.caption.iter().enumerate() {
                rows.push(*word, &[format!("caption {place}")])?;
            }
        }
        let count = rows.count;
        Ok((tensor(rows.values, &[count, TEXT])?, descriptors, utterances))
    }
}

/// Text rows while they are written: the word's vector, plus vectors of what the row knows.
#[derive(Default)]
struct Rows {
    values: Vec<f64>,
    count: usize,
}

impl Rows {
    /// Adds a row; gives its number.
    fn push(&mut self, word: usize, hints: &[String]) -> Result<usize> {
        let mut row = Dice::new(3, word as u64).normal("word", TEXT)?;
        for hint in hints {
            let vector = Dice::new(4, 0).normal(hint, TEXT)?;
            row.iter_mut()
                .zip(vector)
                .for_each(|(value, hint)| *value += hint);
        }
        self.values.extend(row);
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Adds what somebody looks or sounds like to a row.
    fn describe(&mut self, row: usize, name: &str, code: &[f64]) -> Result<()> {
        for (place, value) in code.iter().enumerate() {
            let vector = Dice::new(7, place as u64).normal(name, TEXT)?;
            let row = &mut self.values[row * TEXT..(row + 1) * TEXT];
            row.iter_mut()
                .zip(vector)
                .for_each(|(sum, along)| *sum += 0.7 * value * along);
        }
        Ok(())
    }
}

fn scaled(values: Vec<f64>, by: f64) -> Vec<f64> {
    values.into_iter().map(|value| by * value).collect()
}

fn tensor(values: Vec<f64>, shape: &[usize]) -> Result<Tensor> {
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// How bright a row of a face is.
pub fn brightness(row: usize, up: bool) -> f64 {
    if (row < GRID[1] / 2) == up {
        1.0 + TURN
    } else {
        1.0 - TURN
    }
}

/// Adds a face of four rows by four columns to pictures, from column `first` on.
fn paint(
    values: &mut [f64],
    (frame, frames): (usize, usize),
    first: usize,
    identity: &Identity,
    (up, open): (bool, bool),
) {
    let [_, rows, columns] = GRID;
    for row in 0..rows {
        for column in first..first + columns / 2 {
            let at = |channel: usize| ((channel * frames + frame) * rows + row) * columns + column;
            for (channel, value) in identity.face.iter().enumerate() {
                values[at(channel)] += value * brightness(row, up);
            }
            if open {
                values[at(FACE)] += 1.0;
            }
        }
    }
}

/// Adds phonemes in a voice to sound.
pub fn say(values: &mut [f64], identity: &Identity, phonemes: &[usize]) -> Result<()> {
    for (place, phoneme) in phonemes.iter().enumerate() {
        let sound = phoneme_sound(*phoneme)?;
        // some phonemes are louder
        let loud = 0.85 + 0.3 * *phoneme as f64 / (PHONEMES - 1) as f64;
        for latent in HOLD * place..HOLD * (place + 1) {
            let row = &mut values[latent * SOUND..(latent + 1) * SOUND];
            for (value, timbre) in row.iter_mut().zip(&identity.voice) {
                *value += loud * timbre;
            }
            for (value, sound) in row[TIMBRE..].iter_mut().zip(&sound) {
                *value += sound;
            }
        }
    }
    Ok(())
}

/// A recording of a voice that says something else, whatever the clip: the paper, too, has references spoken anew.
fn voice_of(identity: &Identity, name: &str, dice: Dice) -> Result<Tensor> {
    let mut values = scaled(dice.normal(name, VOICE * SOUND)?, NOISE);
    let phonemes: Vec<usize> = (0..VOICE / HOLD)
        .map(|place| dice.below(&format!("{name} {place}"), PHONEMES))
        .collect();
    say(&mut values, identity, &phonemes)?;
    tensor(values, &[VOICE, SOUND])
}

/// What a phoneme encoder would give of an utterance: rows that know phoneme and place.
fn phoneme_rows(said: &Said) -> Result<Tensor> {
    let phonemes = phonemes_said(said);
    let mut rows = Vec::with_capacity(phonemes.len() * PHONEME_ROW);
    for (place, phoneme) in phonemes.iter().enumerate() {
        let row = Dice::new(5, *phoneme as u64).normal("row", PHONEME_ROW)?;
        let place = Dice::new(6, place as u64).normal("place", PHONEME_ROW)?;
        rows.extend(row.iter().zip(place).map(|(row, place)| row + place));
    }
    tensor(rows, &[phonemes.len(), PHONEME_ROW])
}
