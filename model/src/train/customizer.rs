//! The whole network as it is trained: text enriched by references and phonemes (paper, section 4), then the backbone.

use super::samples::{Sample, bad};
use crate::{
    Result,
    net::{
        Condition, Denoiser, FusionConfig, FusionModel, Latents, MtpCa, MtpCaConfig, Ocf, OcfConfig,
        OcfInput, RefLayout, References,
        sa_mrope::{Prompt, Settings, Subject, Utterance},
    },
    weights::Weights,
};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// Sizes of everything that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomizerConfig {
    /// Both streams.
    pub backbone: FusionConfig,
    /// Without it the text stays plain.
    pub ocf: Option<OcfConfig>,
    /// Without it phonemes are not heard of.
    pub mtp_ca: Option<MtpCaConfig>,
}

impl CustomizerConfig {
    /// For tests: 1.0 million parameters.
    pub fn tiny() -> Self {
        Self {
            backbone: FusionConfig::tiny(),
            ocf: Some(OcfConfig::tiny()),
            mtp_ca: Some(MtpCaConfig::tiny()),
        }
    }
}

/// What a step leaves out of a sample, for guidance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// References are zeros.
    pub references: bool,
    /// The text is the empty one, plain.
    pub text: bool,
}

/// Backbone, OCF and MTP-CA.
pub struct Customizer {
    config: CustomizerConfig,
    backbone: FusionModel,
    ocf: Option<Ocf>,
    mtp_ca: Option<MtpCa>,
    positions: Settings,
    anchored: bool,
    dtype: DType,
    device: Device,
}

impl Customizer {
    /// Reads `video_model`, `audio_model`, `ocf` and `mtp_ca`; `recompute` as in [`FusionModel::recomputed`]. What the weights
    /// lack is told by [`Weights::finish`].
    pub fn new(config: &CustomizerConfig, weights: &Weights, recompute: bool) -> Result<Self> {
        let ocf = config.ocf.as_ref().map(|ocf| Ocf::new(ocf, &weights.pp("ocf")));
        let mtp = config
            .mtp_ca
            .as_ref()
            .map(|mtp| MtpCa::new(mtp, &weights.pp("mtp_ca")));
        Ok(Self {
            config: config.clone(),
            backbone: FusionModel::new(&config.backbone, weights)?.recomputed(recompute),
            ocf: ocf.transpose()?.map(|ocf| ocf.recomputed(recompute)),
            mtp_ca: mtp.transpose()?,
            positions: Settings::default(),
            anchored: true,
            dtype: weights.dtype(),
            device: weights.device(),
        })
    }

    /// Whether references lie where the prompt describes whom they show (they do unless told otherwise), or at its end.
    #[must_use]
    pub fn anchored(self, anchored: bool) -> Self {
        Self { anchored, ..self }
    }

    /// Its sizes.
    pub fn config(&self) -> &CustomizerConfig {
        &self.config
    }

    /// A sample where the network is, in the sample's own type.
    pub fn placed(&self, sample: Sample) -> Result<Sample> {
        if self.device.is_cpu() {
            return Ok(sample);
        }
        sample.map(|tensor| Ok(tensor.to_device(&self.device)?))
    }

    /// Velocities at time `t` (0..=1000) of noisy latents `x` of `sample`, in the type of `x`, whatever the network computes
    /// in. Without video in `x` the audio stream runs alone, and no picture is looked at.
    pub fn velocity(&self, sample: &Sample, x: &Latents, t: f64, dropped: Dropped) -> Result<Latents> {
        let condition = self.condition(sample, x.video.is_some(), dropped)?;
        let inner = |x: &Option<Tensor>| x.as_ref().map(|x| x.to_dtype(self.dtype)).transpose();
        let own = Latents {
            video: inner(&x.video)?,
            audio: inner(&x.audio)?,
        };
        let out = self.backbone.velocity(&own, t, &condition)?;
        let outer = |out: Option<Tensor>, x: &Option<Tensor>| match (out, x) {
            (Some(out), Some(x)) => out.to_dtype(x.dtype()).map(Some),
            (out, _) => Ok(out),
        };
        Ok(Latents {
            video: outer(out.video, &x.video)?,
            audio: outer(out.audio, &x.audio)?,
        })
    }

    /// What the backbone is told of a sample; with history.
    pub fn condition(&self, sample: &Sample, pictures: bool, dropped: Dropped) -> Result<Condition> {
        let sample = &sample.clone().map(|tensor| Ok(tensor.to_dtype(self.dtype)?))?;
        let seen = |it: &Option<Tensor>| match it {
            Some(it) if dropped.references => Ok(Some(it.zeros_like()?)),
            it => Ok::<_, crate::Error>(it.clone()),
        };
        let (mut faces, mut voices) = (Vec::new(), Vec::new());
        for subject in &sample.subjects {
            faces.push(if pictures { seen(&subject.picture)? } else { None });
            voices.push(seen(&subject.voice)?);
        }
        let (video_text, audio_text) = if dropped.text {
            (sample.empty.clone(), sample.empty.clone())
        } else {
            self.texts(sample, &faces, &voices)?
        };
        let pictures: Vec<Tensor> = faces.into_iter().flatten().collect();
        let references = References {
            video: if pictures.is_empty() {
                None
            } else {
                Some(Tensor::cat(&pictures, 1)?)
            },
            audio: voices.into_iter().flatten().collect(),
            layout: RefLayout::ovi(),
        };
        Ok(Condition {
            video_text: Some(video_text),
            audio_text: Some(audio_text),
            references: Some(references),
            ..Condition::default()
        })
    }

    /// The text as the video stream and as the audio stream read it.
    fn texts(
        &self,
        sample: &Sample,
        faces: &[Option<Tensor>],
        voices: &[Option<Tensor>],
    ) -> Result<(Tensor, Tensor)> {
        let Some(ocf) = &self.ocf else {
            return Ok((sample.text.clone(), sample.text.clone()));
        };
        let prompt = prompt(sample, faces, voices, self.anchored)?;
        let points = prompt.points(&self.positions)?;
        let tts: Vec<&Tensor> = sample
            .utterances
            .iter()
            .filter_map(|said| said.phonemes.as_ref())
            .collect();
        let tts = if tts.is_empty() {
            None
        } else {
            Some(Tensor::cat(&tts, 0)?)
        };
        let patches: Vec<Tensor> = faces.iter().flatten().map(patches).collect::<Result<_>>()?;
        let latents: Vec<Tensor> = voices.iter().flatten().cloned().collect();
        let join = |parts: &[Tensor]| match parts {
            [] => Ok(None),
            parts => Tensor::cat(parts, 0).map(Some),
        };
        let input = OcfInput {
            text: sample.text.clone(),
            video: join(&patches)?,
            audio: join(&latents)?,
            tts: tts.clone(),
        };
        let enriched = ocf.forward(&input, &points)?.enriched.pop();
        let text = enriched.unwrap_or_else(|| sample.text.clone());
        let spoken = match (&self.mtp_ca, &tts) {
            (Some(mtp), Some(tts)) => mtp.forward(&text, tts, &prompt, &points)?,
            _ => text.clone(),
        };
        Ok((text, spoken))
    }

    /// Fails on a sample of other sizes than the network's, naming the first that does not fit.
    pub fn check(&self, sample: &Sample) -> Result<()> {
        let CustomizerConfig {
            backbone,
            ocf,
            mtp_ca,
        } = &self.config;
        let (video, audio) = (&backbone.video, &backbone.audio);
        let wants = |what: &str, tensor: &Tensor, wanted: &[Option<usize>]| {
            let fits = tensor.rank() == wanted.len()
                && tensor
                    .dims()
                    .iter()
                    .zip(wanted)
                    .all(|(dim, wanted)| *dim > 0 && wanted.is_none_or(|wanted| wanted == *dim));
            if fits {
                return Ok(());
            }
            let sizes: Vec<String> = wanted
                .iter()
                .map(|size| size.map_or("any".to_owned(), |size| size.to_string()))
                .collect();
            Err(bad(
                &sample.id,
                format!(
                    "{what} is {:?}, the network takes [{}]; encode it again for this network",
                    tensor.dims(),
                    sizes.join(", ")
                ),
            ))
        };
        wants("its sound", &sample.audio, &[None, Some(audio.in_dim)])?;
        wants("its text", &sample.text, &[None, Some(audio.text_dim)])?;
        wants("its empty text", &sample.empty, &[None, Some(audio.text_dim)])?;
        let mut size = (None, None);
        if let Some(latent) = &sample.video {
            wants("its video", latent, &[Some(video.in_dim), None, None, None])?;
            size = (Some(latent.dim(2)?), Some(latent.dim(3)?));
        }
        for subject in &sample.subjects {
            if let Some(picture) = &subject.picture {
                wants(
                    "a picture",
                    picture,
                    &[Some(video.in_dim), Some(1), size.0, size.1],
                )?;
            }
            if let Some(voice) = &subject.voice {
                wants("a voice", voice, &[None, Some(audio.in_dim)])?;
            }
        }
        let width = mtp_ca
            .as_ref()
            .map(|mtp| mtp.tts_dim)
            .or(ocf.as_ref().map(|ocf| ocf.tts_dim));
        for phonemes in sample.utterances.iter().filter_map(|said| said.phonemes.as_ref()) {
            wants("its phonemes", phonemes, &[None, width])?;
        }
        if sample.text.dim(0)? > audio.text_len {
            return Err(bad(
                &sample.id,
                format!(
                    "{} text rows, the network takes {}",
                    sample.text.dim(0)?,
                    audio.text_len
                ),
            ));
        }
        Ok(())
    }
}

/// The backbone alone, as the sampler drives it; [`Customizer::condition`] makes the conditions.
impl Denoiser for Customizer {
    fn velocity(&self, x: &Latents, t: f64, condition: &Condition) -> Result<Latents> {
        self.backbone.velocity(x, t, condition)
    }
}

/// The prompt as SA-MRoPE places it.
fn prompt(
    sample: &Sample,
    faces: &[Option<Tensor>],
    voices: &[Option<Tensor>],
    anchored: bool,
) -> Result<Prompt> {
    let mut subjects = Vec::with_capacity(sample.subjects.len());
    for ((subject, face), voice) in sample.subjects.iter().zip(faces).zip(voices) {
        subjects.push(Subject {
            descriptor: subject.descriptor.clone().filter(|_| anchored),
            picture: match face {
                Some(face) => (face.dim(2)? / 2, face.dim(3)? / 2),
                None => (0, 0),
            },
            voice: voice.as_ref().map_or(Ok(0), |voice| voice.dim(0))?,
        });
    }
    let utterance = |said: &super::samples::SampleUtterance| {
        let phonemes = said.phonemes.as_ref().map_or(Ok(0), |phonemes| phonemes.dim(0))?;
        Ok(Utterance {
            span: said.span.clone(),
            phonemes,
        })
    };
    Ok(Prompt {
        text: sample.text.dim(0)?,
        subjects,
        utterances: sample.utterances.iter().map(utterance).collect::<Result<_>>()?,
    })
}

/// A picture `[48, 1, h, w]` as 2x2 patches `[h/2 * w/2, 192]`, values ordered (row, column, channel).
fn patches(picture: &Tensor) -> Result<Tensor> {
    let (c, _, h, w) = picture.dims4()?;
    let split = picture.reshape(&[c, h / 2, 2, w / 2, 2][..])?;
    let order = split.permute(&[1usize, 3, 2, 4, 0][..])?.contiguous()?;
    Ok(order.reshape((h / 2 * (w / 2), 4 * c))?)
}
