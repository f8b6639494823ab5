//! What is asked for.

use super::Picture;
use crate::{
    Error, Result,
    checkpoint::Config,
    codec::{LONGEST, SAMPLE_RATE, SAMPLES_PER_LATENT, lengths},
    sample::SolverKind,
    text::{Spans, find_spans},
};

/// Most latents of a reference voice: 5 s.
pub const VOICE_LATENTS: usize = 157;
/// Shortest reference voice, samples: 1 s.
const VOICE_LEAST: usize = SAMPLE_RATE;
/// Pixels of a token's side.
const UNIT: usize = 32;
/// Longest side of a picture, pixels.
pub(crate) const SIDE_MOST: usize = 16_384;
/// Most steps.
pub(crate) const STEPS_MOST: usize = 10_000;

/// Somebody in the clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The anchor in the prompt, for example `<sub1>`.
    pub anchor: String,
    /// What the person looks like.
    pub face: Option<Picture>,
    /// What the person sounds like: mono, 16 kHz.
    pub voice: Option<Vec<f32>>,
}

/// How the passes of a step are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuidanceMode {
    /// Two passes: with the prompt, and with the negative one.
    Ovi,
    /// A third one with references of nothing.
    Ref3,
}

/// A clip that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The prompt, cleaned, with anchors and `<S>...<E>`.
    pub prompt: String,
    /// Where descriptors and utterances lie in it; found in the prompt if not given.
    pub spans: Option<Spans>,
    /// What the video is kept from.
    pub negative_video: String,
    /// What the audio is kept from.
    pub negative_audio: String,
    /// Everybody, in the order of their references.
    pub subjects: Vec<Subject>,
    /// The picture the clip begins with.
    pub first_frame: Option<Picture>,
    /// Pixels, a multiple of 32.
    pub width: usize,
    /// Pixels, a multiple of 32.
    pub height: usize,
    /// Latent frames; `4 (frames - 1) + 1` pictures at 24 a second.
    pub frames: usize,
    /// Audio latents, 512 samples at 16 kHz each.
    pub sounds: usize,
    /// Steps.
    pub steps: usize,
    /// Solver.
    pub solver: SolverKind,
    /// Shift of the noise levels.
    pub shift: f64,
    /// Guidance of the video.
    pub guidance_video: f64,
    /// Guidance of the audio.
    pub guidance_audio: f64,
    /// How passes are joined; without references always as `Ovi`.
    pub guidance_mode: GuidanceMode,
    /// Block left out of the negative pass; 0 for none.
    pub slg_layer: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// The multiple of 32 that is nearest to a side, at least 32.
pub fn nearest_side(side: usize) -> usize {
    ((side + UNIT / 2) / UNIT * UNIT).max(UNIT)
}

impl Request {
    /// Fails on what cannot be sampled, told with what would do; gives the spans of the prompt.
    pub(super) fn check(&self, config: &Config) -> Result<Spans> {
        let refuse = |why: String| Err(Error::Input(why));
        let (width, height) = (self.width, self.height);
        if width > SIDE_MOST || height > SIDE_MOST {
            return refuse(format!(
                "{width}x{height}: each side is {UNIT} to {SIDE_MOST} pixels"
            ));
        }
        if !width.is_multiple_of(UNIT) || !height.is_multiple_of(UNIT) || width == 0 || height == 0 {
            let (w, h) = (nearest_side(width), nearest_side(height));
            return refuse(format!(
                "{width}x{height}: sides are multiples of {UNIT}, the nearest are {w}x{h}"
            ));
        }
        if self.frames == 0 || self.sounds == 0 || self.steps == 0 {
            return refuse("a clip without frames, sound or steps".to_owned());
        }
        if self.steps > STEPS_MOST {
            return refuse(format!("{} steps: there are 1 to {STEPS_MOST}", self.steps));
        }
        let (frames, sounds) = lengths(LONGEST)?;
        if self.frames > frames || self.sounds > sounds {
            return refuse(format!(
                "{} latent frames and {} audio latents: a clip is at most {LONGEST} s long",
                self.frames, self.sounds
            ));
        }
        let blocks = config.backbone.audio.num_layers;
        if self.slg_layer >= blocks {
            let last = blocks - 1;
            return refuse(format!(
                "--slg-layer {}: the last block is {last}, 0 is none",
                self.slg_layer
            ));
        }
        for strength in [self.guidance_video, self.guidance_audio] {
            if !strength.is_finite() {
                return refuse(format!("guidance {strength}"));
            }
        }
        for Subject { anchor, face, voice } in &self.subjects {
            if let Some(face) = face {
                face.check()?;
            }
            let length = voice.as_ref().map(Vec::len);
            if let Some(samples) = length.filter(|samples| *samples < VOICE_LEAST) {
                // cut, not rounded: what is too short does not read as long enough
                let seconds = (samples as f64 / SAMPLE_RATE as f64 * 1e4).floor() / 1e4;
                return refuse(format!(
                    "the voice of {anchor} is {seconds} s long, at least 1 s is needed"
                ));
            }
        }
        let anchors: Vec<&str> = self
            .subjects
            .iter()
            .map(|subject| subject.anchor.as_str())
            .collect();
        let found = find_spans(&self.prompt, &anchors)?;
        match &self.spans {
            Some(given) => given.check(&self.prompt, anchors.len()).map(|()| given.clone()),
            None => Ok(found),
        }
    }

    /// Voices as they are used, at most 5 s each, and what to say of those that are longer.
    pub(super) fn voices(&self) -> (Vec<Option<&[f32]>>, Vec<String>) {
        let most = VOICE_LATENTS * SAMPLES_PER_LATENT;
        let mut notes = Vec::new();
        let mut voices = Vec::new();
        for Subject { anchor, voice, .. } in &self.subjects {
            voices.push(voice.as_ref().map(|samples| {
                if samples.len() > most {
                    let seconds = |samples: usize| samples as f64 / SAMPLE_RATE as f64;
                    notes.push(format!(
                        "the voice of {anchor} is {:.1} s long: its first {:.1} s are used",
                        seconds(samples.len()),
                        seconds(most)
                    ));
                }
                &samples[..samples.len().min(most)]
            }));
        }
        (voices, notes)
    }

    /// Whether anybody is shown or heard to the model.
    pub(super) fn has_references(&self) -> bool {
        self.subjects
            .iter()
            .any(|subject| subject.face.is_some() || subject.voice.is_some())
    }
}
