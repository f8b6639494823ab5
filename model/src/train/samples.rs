//! What a step trains on: latents of a clip, of its references, its text and its phonemes, made beforehand by the codec and
//! the text encoder. The trainer never loads those.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range};

/// Key of the metadata in a sample's file.
const META: &str = "sample";

/// Somebody in a sample.
#[derive(Debug, Clone)]
pub struct SampleSubject {
    /// Text rows of the description; `None` if the text was cut before it.
    pub descriptor: Option<Range<usize>>,
    /// The picture at the clip's own size, `[48, 1, h, w]`.
    pub picture: Option<Tensor>,
    /// The voice, `[latents, 20]`.
    pub voice: Option<Tensor>,
    /// The clips that picture and voice are taken from.
    pub from: Vec<String>,
}

/// Something said in a sample.
#[derive(Debug, Clone)]
pub struct SampleUtterance {
    /// Text rows between `<S>` and `<E>`.
    pub span: Range<usize>,
    /// `[phonemes, width]`; `None` where no row of it is visible.
    pub phonemes: Option<Tensor>,
}

/// One clip or utterance.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its name.
    pub id: String,
    /// `[48, frames, h, w]`; `None` for sound alone.
    pub video: Option<Tensor>,
    /// `[latents, 20]`.
    pub audio: Tensor,
    /// Text rows `[n, text_dim]`, pads cut off.
    pub text: Tensor,
    /// Rows of the empty text, for guidance.
    pub empty: Tensor,
    /// In the order of their references.
    pub subjects: Vec<SampleSubject>,
    /// In order.
    pub utterances: Vec<SampleUtterance>,
}

/// What is known of a sample without loading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// Whether it has pictures.
    pub video: bool,
    /// How many people are in it.
    pub subjects: usize,
    /// Whether a picture or voice is taken from the clip itself.
    pub own_reference: bool,
}

/// Samples by number, wherever they lie.
pub trait Samples: Send + Sync {
    /// One line each, in a fixed order.
    fn entries(&self) -> &[Entry];

    /// Loads one. Fails with [`Error::Sample`] if its bytes are gone or damaged.
    fn load(&self, index: usize) -> Result<Sample>;
}

/// What is no tensor.
#[derive(Serialize, Deserialize)]
struct Meta {
    subjects: Vec<MetaSubject>,
    utterances: Vec<Range<usize>>,
}

#[derive(Serialize, Deserialize)]
struct MetaSubject {
    descriptor: Option<Range<usize>>,
    from: Vec<String>,
}

/// The error of a sample.
pub(super) fn bad(id: &str, why: impl Into<String>) -> Error {
    Error::Sample {
        id: id.to_owned(),
        why: why.into(),
    }
}

impl Sample {
    /// What is known of it without loading.
    pub fn entry(&self) -> Entry {
        Entry {
            id: self.id.clone(),
            video: self.video.is_some(),
            subjects: self.subjects.len(),
            own_reference: self
                .subjects
                .iter()
                .any(|subject| subject.from.contains(&self.id)),
        }
    }

    /// Latent frames (0 without pictures), audio latents, text rows.
    pub fn sizes(&self) -> Result<[usize; 3]> {
        let frames = self.video.as_ref().map_or(Ok(0), |video| video.dim(1))?;
        Ok([frames, self.audio.dim(0)?, self.text.dim(0)?])
    }

    /// The same with every tensor as `f` makes it.
    pub fn map(mut self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let subjects = self.subjects.iter_mut();
        let parts = subjects.flat_map(|subject| [&mut subject.picture, &mut subject.voice]);
        let said = self.utterances.iter_mut().map(|said| &mut said.phonemes);
        for part in parts.chain(said).chain([&mut self.video]).flatten() {
            *part = f(part)?;
        }
        for part in [&mut self.audio, &mut self.text, &mut self.empty] {
            *part = f(part)?;
        }
        Ok(self)
    }

    /// Every tensor with its name in the file.
    fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![
            ("audio".to_owned(), &self.audio),
            ("text".to_owned(), &self.text),
            ("empty".to_owned(), &self.empty),
        ];
        all.extend(self.video.as_ref().map(|video| ("video".to_owned(), video)));
        for (index, subject) in self.subjects.iter().enumerate() {
            all.extend(
                subject
                    .picture
                    .as_ref()
                    .map(|it| (format!("picture.{index}"), it)),
            );
            all.extend(subject.voice.as_ref().map(|it| (format!("voice.{index}"), it)));
        }
        for (index, utterance) in self.utterances.iter().enumerate() {
            let phonemes = utterance.phonemes.as_ref();
            all.extend(phonemes.map(|it| (format!("phonemes.{index}"), it)));
        }
        all
    }

    /// A safetensors file in f32; equal samples give equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let subject = |subject: &SampleSubject| MetaSubject {
            descriptor: subject.descriptor.clone(),
            from: subject.from.clone(),
        };
        let meta = Meta {
            subjects: self.subjects.iter().map(subject).collect(),
            utterances: self.utterances.iter().map(|said| said.span.clone()).collect(),
        };
        let meta = serde_json::to_string(&meta).map_err(|error| bad(&self.id, error.to_string()))?;
        let plain: Vec<(String, Tensor)> = self
            .tensors()
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?.contiguous()?)))
            .collect::<Result<_>>()?;
        let named = plain.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::serialize(named, Some(HashMap::from([(META.to_owned(), meta)])))
            .map_err(|error| bad(&self.id, error.to_string()))
    }

    /// Reads what [`Sample::to_bytes`] wrote. Fails on anything else, and on a value that is not finite.
    pub fn from_bytes(id: &str, bytes: &[u8]) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| bad(id, why.to_string());
        let file = SafeTensors::deserialize(bytes).map_err(|error| wrong(&error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| wrong(&error))?;
        let meta = header.metadata().as_ref().and_then(|meta| meta.get(META));
        let meta = meta.ok_or_else(|| bad(id, "its file holds no sample"))?;
        let meta: Meta = serde_json::from_str(meta).map_err(|error| wrong(&error))?;
        let tensor = |name: &str| -> Result<Option<Tensor>> {
            let Ok(view) = file.tensor(name) else {
                return Ok(None);
            };
            if view.dtype() != safetensors::Dtype::F32 {
                return Err(bad(id, format!("`{name}` is not f32")));
            }
            let values = view.data().chunks_exact(4);
            let values: Vec<f32> = values
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect();
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                return Err(bad(
                    id,
                    format!("`{name}` holds {} at place {place}", values[place]),
                ));
            }
            Ok(Some(Tensor::from_vec(values, view.shape(), &Device::Cpu)?))
        };
        let needed = |name: &str| tensor(name)?.ok_or_else(|| bad(id, format!("its file lacks `{name}`")));
        let subject = |(index, meta): (usize, MetaSubject)| {
            Ok(SampleSubject {
                descriptor: meta.descriptor,
                picture: tensor(&format!("picture.{index}"))?,
                voice: tensor(&format!("voice.{index}"))?,
                from: meta.from,
            })
        };
        let utterance = |(index, span): (usize, Range<usize>)| {
            Ok(SampleUtterance {
                span,
                phonemes: tensor(&format!("phonemes.{index}"))?,
            })
        };
        Ok(Self {
            id: id.to_owned(),
            video: tensor("video")?,
            audio: needed("audio")?,
            text: needed("text")?,
            empty: needed("empty")?,
            subjects: meta
                .subjects
                .into_iter()
                .enumerate()
                .map(subject)
                .collect::<Result<_>>()?,
            utterances: meta
                .utterances
                .into_iter()
                .enumerate()
                .map(utterance)
                .collect::<Result<_>>()?,
        })
    }
}

/// Samples at hand.
pub struct InMemory {
    entries: Vec<Entry>,
    samples: Vec<Sample>,
}

impl InMemory {
    /// In the given order.
    pub fn new(samples: Vec<Sample>) -> Self {
        Self {
            entries: samples.iter().map(Sample::entry).collect(),
            samples,
        }
    }
}

impl Samples for InMemory {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Sample> {
        let sample = self.samples.get(index).cloned();
        sample.ok_or_else(|| bad(&index.to_string(), "there is no such sample"))
    }
}
