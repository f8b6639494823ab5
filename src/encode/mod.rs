//! The stage behind `omni encode`: the clips of a selection become latents, text rows and phonemes. It lies in the binary because
//! it joins what curation wrote with the networks of the model, and those two crates never meet.

mod again;
mod check;
mod curated;
mod fit;
mod words;

pub use again::again;
pub use check::decode;
pub use curated::Curated;

use fit::{bucket, cover, letterbox};
use omni_media::{Limits, Span, decode_picture, fps_map, read_audio_16k, read_frames};
use omni_model::{
    codec::{FPS, SAMPLE_RATE, SAMPLES_PER_LATENT, TIME_STRIDE},
    train::{Encoder, Material, MaterialSubject, Pictures},
};
use omni_pipeline::{Cx, Fault, ListingSink, One, Source, SourceError, Stage};
use omni_schemas::{Clip, Latents, Listing, Selection};
use serde_json::{Value, json};
use std::{ops::ControlFlow, path::Path, sync::Arc};

/// Most samples of a reference voice: 157 latents, 5 s.
const VOICE_SAMPLES: usize = 157 * SAMPLES_PER_LATENT;

/// The clips of a selection as the root of a plan.
pub struct Selected(pub Arc<Curated>);

impl Source for Selected {
    fn name(&self) -> &'static str {
        "selection"
    }

    fn settings(&self) -> Value {
        json!({ "selection": self.0.check })
    }

    fn stamp(&self) -> Option<String> {
        Some(self.0.check.clone())
    }

    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        let mut rows: Vec<&Selection> = self.0.selection.values().collect();
        rows.sort_by(|a, b| a.clip.cmp(&b.clip));
        for row in rows {
            match self.0.clips.get(&row.clip) {
                Some(clip) => sink.keep(Listing {
                    clip: row.clip.clone(),
                    path: clip.path.clone(),
                    start: clip.start,
                    end: clip.end,
                    licence: row.licence.clone(),
                    ..Listing::default()
                })?,
                None => sink.drop(&row.clip, "no_clip")?,
            }
        }
        Ok(())
    }
}

/// The stage.
pub struct Encode {
    /// What is encoded.
    pub curated: Arc<Curated>,
    /// With what.
    pub encoder: Encoder,
    /// Width and height whose product is the number of pixels.
    pub area: (usize, usize),
    /// Longest clip, seconds.
    pub seconds: f64,
}

/// An input that cannot be encoded drops its clip; a network that fails stops the run.
fn fault(error: omni_model::Error) -> Fault {
    match error {
        omni_model::Error::Input(why) => Fault::drop(format!("cannot_encode: {}", unquoted(&why))),
        other => Fault::stop(other),
    }
}

/// Reasons are counted, so words of the clip's own, which stand in backticks, are left out of them.
fn unquoted(why: &str) -> String {
    why.split('`').step_by(2).collect::<Vec<_>>().join("...")
}

fn media(error: omni_media::Error) -> Fault {
    Fault::drop(error.reason())
}

fn integer(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Stage for Encode {
    type In = One<Listing>;
    type Out = Latents;
    const NAME: &'static str = "encode";
    const VERSION: u32 = 1;

    fn settings(&self) -> Value {
        json!({
            "networks": self.encoder.identity(),
            "selection": self.curated.check,
            "area": [self.area.0, self.area.1],
            "seconds": self.seconds,
        })
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, One(listing): Self::In, cx: &Cx<'_>) -> Result<Vec<Latents>, Fault> {
        let found = self
            .curated
            .selection
            .get(&listing.clip)
            .zip(self.curated.clips.get(&listing.clip));
        let (row, clip) = found.ok_or_else(|| Fault::drop("no_clip"))?;
        let material = self.material(row, clip, cx)?;
        let sample = self.encoder.sample(&material).map_err(fault)?;
        let [frames, audio, text] = sample.sizes().map_err(fault)?.map(integer);
        let bytes = sample.to_bytes().map_err(Fault::stop)?;
        let name = format!("{}.safetensors", row.clip);
        let pictures = material.pictures.as_ref();
        Ok(vec![Latents {
            clip: row.clip.clone(),
            video: pictures.is_some(),
            width: pictures.map_or(0, |pictures| integer(pictures.width)),
            height: pictures.map_or(0, |pictures| integer(pictures.height)),
            frames,
            audio,
            text,
            subjects: integer(sample.subjects.len()),
            utterances: integer(sample.utterances.len()),
            own_reference: sample.entry().own_reference,
            codec: self.encoder.codec().to_owned(),
            tensors: cx.pack.put(&name, "application/x-safetensors", bytes),
        }])
    }
}

impl Encode {
    fn material(&self, row: &Selection, clip: &Clip, cx: &Cx<'_>) -> Result<Material, Fault> {
        let path = cx.root.join(&clip.path);
        let span = Span {
            start: clip.start,
            end: clip.end,
        };
        let mut sound = read_audio_16k(&path, &span, &Limits::default())
            .map_err(media)?
            .samples;
        cx.alive();
        let pictures = (clip.frames > 0)
            .then(|| self.pictures(clip, &path, &span))
            .transpose()?;
        cx.alive();
        let seconds = match &pictures {
            Some(pictures) => pictures.frames.len() as f64 / FPS as f64,
            None => self.seconds,
        };
        sound.truncate((seconds * SAMPLE_RATE as f64) as usize);
        let mut words = words::of(
            self.curated.caption(&row.clip),
            self.curated.transcript(&row.clip),
        )?;
        let size = pictures
            .as_ref()
            .map(|pictures| (pictures.width, pictures.height));
        for (anchor, subject) in &mut words.subjects {
            self.references(row, anchor, size, (subject, cx))?;
        }
        Ok(Material {
            id: row.clip.clone(),
            pictures,
            sound,
            prompt: words.prompt,
            subjects: words.subjects.into_iter().map(|(_, subject)| subject).collect(),
            utterances: words.utterances,
        })
    }

    /// 4k + 1 pictures at 24 a second, at most as many as the settings allow.
    fn pictures(&self, clip: &Clip, path: &Path, span: &Span) -> Result<Pictures, Fault> {
        let number = |value: i64| usize::try_from(value).unwrap_or_default();
        let size = bucket(self.area, (number(clip.width), number(clip.height)));
        let mut map = fps_map(number(clip.frames), clip.fps_num, clip.fps_den, integer(FPS));
        map.truncate((self.seconds * FPS as f64) as usize + 1);
        map.truncate(map.len().saturating_sub(1) / TIME_STRIDE * TIME_STRIDE + 1);
        let last = map.last().copied().ok_or_else(|| Fault::drop("too_short"))?;
        let mut frames: Vec<Vec<u8>> = Vec::with_capacity(map.len());
        let mut seen = 0;
        let mut take = |frame: omni_media::Frame<'_>| {
            let times = map.iter().filter(|source| **source == seen).count();
            if times > 0 {
                let fitted = cover(frame.image, size).data;
                frames.extend(std::iter::repeat_n(fitted, times));
            }
            seen += 1;
            if seen > last {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        read_frames(path, span, &Limits::default(), &mut take).map_err(media)?;
        if frames.len() < map.len() {
            return Err(Fault::drop("truncated"));
        }
        let (width, height) = size;
        Ok(Pictures {
            frames,
            width,
            height,
        })
    }

    /// Adds the picture and the voice of `<subN>`, where the selection has them.
    fn references(
        &self,
        row: &Selection,
        anchor: &str,
        size: Option<(usize, usize)>,
        (subject, cx): (&mut MaterialSubject, &Cx<'_>),
    ) -> Result<(), Fault> {
        let number = anchor
            .trim_start_matches("<sub")
            .trim_end_matches('>')
            .parse::<i64>()
            .ok();
        let Some(reference) = row
            .references
            .iter()
            .find(|reference| Some(reference.subject) == number)
        else {
            return Ok(());
        };
        if let Some(size) = size {
            let face = self.curated.face(&reference.face_clip, reference.face_subject);
            let face = face.ok_or_else(|| Fault::drop("no_face_ref"))?;
            let bytes = face.bytes(&face.row.image).map_err(Fault::stop)?;
            subject.picture = Some(letterbox(&decode_picture(&bytes).map_err(media)?, size).data);
            // a picture that the corpus gave is not the clip's own
            if face.row.origin == "in_pair" {
                subject.from.push(reference.face_clip.clone());
            }
        }
        if let (Some(clip), Some(speaker)) = (&reference.voice_clip, &reference.voice_speaker) {
            let voice = self.curated.voice(clip, speaker);
            let voice = voice.ok_or_else(|| Fault::drop("no_voice_ref"))?;
            let mut wave = wave(
                &voice.bytes(&voice.row.audio).map_err(Fault::stop)?,
                cx.scratch().map_err(Fault::stop)?,
            )?;
            wave.truncate(VOICE_SAMPLES);
            subject.voice = Some(wave);
            if voice.row.origin == "source_segment" {
                subject.from.push(clip.clone());
            }
        }
        Ok(())
    }
}

/// The samples of a 16-bit wave file as curation writes them, mono at 16 kHz.
fn wave(bytes: &[u8], scratch: &Path) -> Result<Vec<f32>, Fault> {
    let file = scratch.join("voice.wav");
    std::fs::write(&file, bytes).map_err(Fault::stop)?;
    let pcm = omni_media::read_audio_file(&file).map_err(media)?;
    Ok(omni_media::resample(&pcm.mono(), SAMPLE_RATE as u32)
        .map_err(media)?
        .samples)
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn a_reason_holds_none_of_the_clips_own_words() {
        assert_eq!(unquoted("too little sound"), "too little sound");
        assert_eq!(
            unquoted("it stands before `a secret`, and comes last"),
            "it stands before ..., and comes last"
        );
    }
}
