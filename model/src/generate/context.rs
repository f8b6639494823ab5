//! What the velocities are conditioned on: text, phonemes, pictures and voices, as tensors.

use super::{Event, Request, Watch};
use crate::{
    Error, Result,
    checkpoint::{Checkpoint, Network},
    codec::clip_tensor,
    net::{OcfInput, RefLayout, References, sa_mrope},
    text::{EncodedText, Placed, Spans},
};
use candle_core::{DType, Device, Tensor};
use std::ops::ControlFlow;

/// What was read.
pub(super) struct Read {
    pub(super) positive: EncodedText,
    /// Rows of the negative prompts, video's and audio's.
    pub(super) negative: [Tensor; 2],
    placed: Placed,
    /// Rows of each utterance's phonemes.
    phonemes: Vec<Tensor>,
}

/// Latents of what was given.
pub(super) struct Given {
    /// Each subject's picture, `[48, 1, h, w]`.
    pictures: Vec<Option<Tensor>>,
    /// Each subject's voice, `[n, 20]`.
    voices: Vec<Option<Tensor>>,
    pub(super) first_frame: Option<Tensor>,
}

pub(super) struct Encoded {
    pub(super) text: Read,
    pub(super) references: Given,
}

pub(super) fn say(watch: Watch<'_>, note: String) -> Result<()> {
    match watch(Event::Note(note)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// Reads prompts and speech.
pub(super) fn read(
    checkpoint: &Checkpoint,
    request: &Request,
    spans: &Spans,
    device: &Device,
    watch: Watch<'_>,
) -> Result<Read> {
    let encoder = checkpoint.text(device)?;
    let positive = encoder.encode(&request.prompt)?;
    let negative = [
        encoder.encode(&request.negative_video)?.rows,
        encoder.encode(&request.negative_audio)?.rows,
    ];
    drop(encoder);
    let placed = spans.place(&positive.tokens, positive.cut);
    for note in losses(request, spans, &placed, positive.tokens.len()) {
        say(watch, note)?;
    }
    let mut phonemes = Vec::new();
    if let Some(speech) = checkpoint
        .speech(device)?
        .filter(|_| !spans.utterances.is_empty())
    {
        for span in &spans.utterances {
            let tokens = speech.vocabulary.tokens(request.prompt[span.clone()].trim());
            phonemes.push(
                speech
                    .encoder
                    .forward(&tokens, tokens.len())?
                    .to_dtype(DType::F32)?,
            );
        }
    }
    Ok(Read {
        positive,
        negative,
        placed,
        phonemes,
    })
}

/// What a prompt that is too long loses.
fn losses(request: &Request, spans: &Spans, placed: &Placed, room: usize) -> Vec<String> {
    let Some(cut) = &placed.cut else {
        return Vec::new();
    };
    let lost = &request.prompt[cut.at..];
    let shown: String = lost.chars().take(80).collect();
    let dots = if lost.chars().count() > 80 { "..." } else { "" };
    let mut notes = vec![format!(
        "the prompt is longer than the {room} tokens the model reads; cut off: `{shown}{dots}`"
    )];
    for index in &cut.utterances {
        let span = &spans.utterances[*index];
        let words = &request.prompt[span.clone()];
        let left = &request.prompt[span.start..cut.at.clamp(span.start, span.end)];
        notes.push(match left.trim() {
            "" => format!("utterance {} is cut off whole: `{words}`", index + 1),
            left => format!(
                "utterance {} is cut inside: of `{words}` the model reads `{left}`",
                index + 1
            ),
        });
    }
    for index in &cut.subjects {
        let anchor = request
            .subjects
            .get(*index)
            .map_or("", |subject| subject.anchor.as_str());
        notes.push(format!("the description of {anchor} is cut"));
    }
    notes
}

/// Encodes pictures and voices on the first device, and puts their latents on the second.
pub(super) fn encode(
    checkpoint: &Checkpoint,
    request: &Request,
    (side, device): (&Device, &Device),
    watch: Watch<'_>,
) -> Result<Given> {
    let mut given = Given {
        pictures: Vec::new(),
        voices: Vec::new(),
        first_frame: None,
    };
    if !request.has_references() && request.first_frame.is_none() {
        given.pictures.resize(request.subjects.len(), None);
        given.voices.resize(request.subjects.len(), None);
        return Ok(given);
    }
    let codec = checkpoint.codec(side)?;
    let (width, height) = (request.width, request.height);
    let latent = |rgb: Vec<u8>| -> Result<Tensor> {
        let clip = clip_tensor(&[rgb], width, height)?;
        Ok(codec.encode_video(&clip)?.to_device(device)?)
    };
    for subject in &request.subjects {
        let picture = subject.face.as_ref().map(|face| face.letterboxed(width, height));
        let picture = picture.transpose()?.map(|picture| latent(picture.rgb));
        given.pictures.push(picture.transpose()?);
    }
    let (voices, notes) = request.voices();
    for note in notes {
        say(watch, note)?;
    }
    for voice in voices {
        let latent = voice.map(|samples| {
            codec
                .encode_audio(samples)?
                .to_device(device)
                .map_err(Error::from)
        });
        given.voices.push(latent.transpose()?);
    }
    if let Some(first) = &request.first_frame {
        given.first_frame = Some(latent(first.stretched(width, height)?.rgb)?);
    }
    Ok(given)
}

impl Given {
    /// As the backbone takes them; `None` without any.
    pub(super) fn references(&self) -> Result<Option<References>> {
        let pictures: Vec<&Tensor> = self.pictures.iter().flatten().collect();
        let audio: Vec<Tensor> = self.voices.iter().flatten().cloned().collect();
        if pictures.is_empty() && audio.is_empty() {
            return Ok(None);
        }
        let video = (!pictures.is_empty()).then(|| Tensor::cat(&pictures, 1));
        Ok(Some(References {
            video: video.transpose()?,
            audio,
            layout: RefLayout::ovi(),
        }))
    }

    /// The same with nothing to be seen or heard.
    pub(super) fn emptied(references: &References) -> Result<References> {
        let zeros = |x: &Tensor| x.zeros_like();
        Ok(References {
            video: references.video.as_ref().map(zeros).transpose()?,
            audio: references
                .audio
                .iter()
                .map(zeros)
                .collect::<candle_core::Result<_>>()?,
            layout: references.layout.clone(),
        })
    }
}

/// A picture's latent `[48, 1, h, w]` as patches `[h / 2 * w / 2, 192]`, each ordered row, column, channel.
fn patches(latent: &Tensor) -> Result<Tensor> {
    let (channels, _, height, width) = latent.dims4()?;
    let split = latent.reshape((channels, height / 2, 2, width / 2, 2))?;
    let patches = split.permute((1, 3, 2, 4, 0))?.contiguous()?;
    Ok(patches.reshape((height / 2 * (width / 2), 4 * channels))?)
}

/// Rows of the video's and of the audio's text, enriched by what the checkpoint has for it.
pub(super) fn enrich(
    network: &Network,
    encoded: &Encoded,
    dtype: DType,
    device: &Device,
) -> Result<[Tensor; 2]> {
    let Encoded { text, references } = encoded;
    let rows = text.positive.rows.to_device(device)?.to_dtype(dtype)?;
    let pictures: Vec<Tensor> = references
        .pictures
        .iter()
        .flatten()
        .map(patches)
        .collect::<Result<_>>()?;
    let grid = |picture: &Option<Tensor>| -> Result<(usize, usize)> {
        match picture {
            Some(latent) => Ok((latent.dim(2)? / 2, latent.dim(3)? / 2)),
            None => Ok((0, 0)),
        }
    };
    let grids = references.pictures.iter().map(grid).collect::<Result<Vec<_>>>()?;
    let length = |voice: &Option<Tensor>| voice.as_ref().map_or(Ok(0), |voice| voice.dim(0));
    let lengths = references
        .voices
        .iter()
        .map(length)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let sizes = text.phonemes.iter().map(|rows| rows.dim(0));
    let sizes = sizes.collect::<candle_core::Result<Vec<_>>>()?;
    let mut prompt = text
        .placed
        .prompt(text.positive.tokens.len(), &grids, &lengths, &sizes);
    if !network.anchored {
        // as training did: `Customizer::anchored`
        prompt
            .subjects
            .iter_mut()
            .for_each(|subject| subject.descriptor = None);
    }
    let points = prompt.points(&sa_mrope::Settings::default())?;
    let joined = |parts: Vec<&Tensor>| -> Result<Option<Tensor>> {
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Tensor::cat(&parts, 0)?.to_device(device)?.to_dtype(dtype)?))
    };
    // phonemes of an utterance that was cut off have no place
    let spoken = text.phonemes.iter().zip(&prompt.utterances);
    let spoken = spoken
        .filter(|(_, utterance)| utterance.phonemes > 0)
        .map(|(rows, _)| rows);
    let tts = joined(spoken.collect())?;
    let video = match &network.ocf {
        Some(ocf) => {
            let input = OcfInput {
                text: rows.clone(),
                video: joined(pictures.iter().collect())?,
                audio: joined(references.voices.iter().flatten().collect())?,
                tts: tts.clone(),
            };
            let last = ocf.forward(&input, &points)?.enriched.pop();
            last.ok_or_else(|| Error::Config("OCF without a block".to_owned()))?
        }
        None => rows,
    };
    let audio = match (&network.mtp_ca, &tts) {
        (Some(layer), Some(tts)) => layer.forward(&video, tts, &prompt, &points)?,
        _ => video.clone(),
    };
    Ok([video, audio])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_ordered_row_column_channel() {
        let values: Vec<f32> = (0..48 * 16).map(|k| k as f32).collect();
        let latent = Tensor::from_vec(values, (48, 1, 4, 4), &Device::Cpu).unwrap();
        let patches = patches(&latent).unwrap();
        assert_eq!(patches.dims(), [4, 192]);
        let rows = patches.to_vec2::<f32>().unwrap();
        // second patch: rows 0 and 1, columns 2 and 3; its second quarter is row 0, column 3
        assert_eq!(rows[1][0], 2.0);
        assert_eq!(rows[1][48], 3.0);
        assert_eq!(rows[1][49], 16.0 + 3.0);
        assert_eq!(rows[1][96], 4.0 + 2.0);
    }
}
