//! From pictures, sound and words to a [`Sample`]: the codec, the text encoder and the phoneme encoder of a checkpoint. Not
//! needed by the trainer itself.

use super::samples::{Sample, SampleSubject, SampleUtterance};
use crate::{
    Error, Result,
    checkpoint::{Checkpoint, Config, FileMark, Speech},
    codec::{Codec, clip_bytes, clip_tensor},
    text::{Spans, TextEncoder},
};
use candle_core::Device;
use serde_json::{Map, Value, json};
use std::{ops::Range, path::Path};

/// Pictures, each with RGB bytes, rows packed, of one size.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    /// One for each time.
    pub frames: Vec<Vec<u8>>,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// Somebody in a clip.
#[derive(Debug, Clone, Default)]
pub struct MaterialSubject {
    /// Bytes of the prompt that describe them.
    pub descriptor: Option<Range<usize>>,
    /// RGB bytes of their picture, at the size of the clip's pictures.
    pub picture: Option<Vec<u8>>,
    /// Their voice, mono at 16 kHz.
    pub voice: Option<Vec<f32>>,
    /// The clips that picture and voice are taken from.
    pub from: Vec<String>,
}

/// What a sample is made of.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// Its name.
    pub id: String,
    /// 4k + 1 pictures at 24 a second; `None` for sound alone.
    pub pictures: Option<Pictures>,
    /// Mono at 16 kHz.
    pub sound: Vec<f32>,
    /// The prompt, cleaned.
    pub prompt: String,
    /// Everybody that it describes.
    pub subjects: Vec<MaterialSubject>,
    /// Bytes of the prompt between `<S>` and `<E>`.
    pub utterances: Vec<Range<usize>>,
}

/// The networks that encode.
pub struct Encoder {
    config: Config,
    codec: Box<dyn Codec>,
    text: TextEncoder,
    speech: Option<Speech>,
    identity: Value,
}

impl Encoder {
    /// Those of a checkpoint, on the CPU. Fails on a folder that is none, and on damaged files.
    pub fn open(folder: &Path) -> Result<Self> {
        let (checkpoint, device) = (Checkpoint::open(folder)?, Device::Cpu);
        Ok(Self {
            codec: checkpoint.codec(&device)?,
            text: checkpoint.text(&device)?,
            speech: checkpoint.speech(&device)?,
            identity: encoder_identity(&checkpoint)?,
            config: checkpoint.config,
        })
    }

    /// See [`encoder_identity`].
    pub fn identity(&self) -> &Value {
        &self.identity
    }

    /// The codec's word.
    pub fn codec(&self) -> &'static str {
        self.config.codec.name()
    }

    /// Makes a sample. Fails with [`Error::Input`] on material that cannot be encoded: too little sound.
    pub fn sample(&self, material: &Material) -> Result<Sample> {
        let prompt = self.prompt(material)?;
        let encoded = self.text.encode(&prompt)?;
        let spans = Spans {
            descriptors: material
                .subjects
                .iter()
                .map(|subject| subject.descriptor.clone().unwrap_or(0..0))
                .collect(),
            utterances: material.utterances.clone(),
        };
        let placed = spans.place(&encoded.tokens, encoded.cut);
        let video = material.pictures.as_ref();
        let clip = |frames: &[Vec<u8>], of: &Pictures| {
            self.codec
                .encode_video(&clip_tensor(frames, of.width, of.height)?)
        };
        let subject = |(subject, descriptor): (&MaterialSubject, Option<Range<usize>>)| {
            let picture = match (&subject.picture, video) {
                (Some(picture), Some(video)) => Some(clip(std::slice::from_ref(picture), video)?),
                _ => None,
            };
            Ok(SampleSubject {
                descriptor,
                picture,
                voice: subject
                    .voice
                    .as_ref()
                    .map(|voice| self.codec.encode_audio(voice))
                    .transpose()?,
                from: subject.from.clone(),
            })
        };
        let utterance = |(bytes, span): (&Range<usize>, Range<usize>)| {
            let said = material.prompt.get(bytes.clone()).unwrap_or_default();
            let phonemes = if span.is_empty() {
                None
            } else {
                self.phonemes(said)?
            };
            Ok(SampleUtterance { span, phonemes })
        };
        Ok(Sample {
            id: material.id.clone(),
            video: video.map(|video| clip(&video.frames, video)).transpose()?,
            audio: self.codec.encode_audio(&material.sound)?,
            text: encoded.rows,
            empty: self.text.encode("")?.rows,
            subjects: material
                .subjects
                .iter()
                .zip(placed.descriptors)
                .map(subject)
                .collect::<Result<_>>()?,
            utterances: material
                .utterances
                .iter()
                .zip(placed.utterances)
                .map(utterance)
                .collect::<Result<_>>()?,
        })
    }

    /// Pictures (none for sound alone) and mono sound at 16 kHz of a sample's latents.
    pub fn decode(&self, sample: &Sample) -> Result<(Pictures, Vec<f32>)> {
        let mut pictures = Pictures::default();
        if let Some(latent) = &sample.video {
            self.codec.decode_video(latent, &mut |clip| {
                (pictures.height, pictures.width) = (clip.dim(2)?, clip.dim(3)?);
                pictures.frames.extend(clip_bytes(&clip)?);
                Ok(())
            })?;
        }
        Ok((pictures, self.codec.decode_audio(&sample.audio)?))
    }

    /// The prompt in the checkpoint's syntax of audio captions. Fails if that moves a descriptor or an utterance.
    fn prompt(&self, material: &Material) -> Result<String> {
        let prompt = self.config.audio_caption.apply(&material.prompt, None);
        let descriptors = material
            .subjects
            .iter()
            .filter_map(|subject| subject.descriptor.as_ref());
        for span in descriptors.chain(&material.utterances) {
            if prompt.get(span.clone()) != material.prompt.get(span.clone()) {
                return Err(Error::Input(format!(
                    "the audio caption stands before `{}`, and in the checkpoint's syntax it comes last",
                    material.prompt.get(span.clone()).unwrap_or_default()
                )));
            }
        }
        Ok(prompt)
    }

    /// Phonemes `[n, width]` of what is said; `None` without a phoneme encoder, and for silence.
    fn phonemes(&self, said: &str) -> Result<Option<candle_core::Tensor>> {
        let Some(Speech { vocabulary, encoder }) = &self.speech else {
            return Ok(None);
        };
        let tokens = vocabulary.tokens(said);
        if tokens.is_empty() {
            return Ok(None);
        }
        Ok(Some(encoder.forward(&tokens, tokens.len())?))
    }
}

/// Everything of a checkpoint that decides what its encoders give: two checkpoints that agree in this encode alike, whatever
/// their backbones are. Reads every file of `text/`, `speech/` and `codec/`.
pub fn encoder_identity(checkpoint: &Checkpoint) -> Result<Value> {
    let mut files = Map::new();
    for part in ["text", "speech", "codec"] {
        let folder = checkpoint.folder.join(part);
        let io = |source| Error::Io {
            path: folder.clone(),
            source,
        };
        if !folder.is_dir() {
            continue;
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            paths.push(entry.map_err(io)?.path());
        }
        paths.sort();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            files.insert(format!("{part}/{name}"), json!(FileMark::of(&path)?.blake3));
        }
    }
    Ok(json!({
        "codec": checkpoint.config.codec.name(),
        "text_rows": checkpoint.config.backbone.video.text_len,
        "files": files,
    }))
}
