//! From a case and flags to a request: files opened, text cleaned, sizes chosen.

use super::jobs::Job;
use crate::{
    cli::{GuidanceName, SampleArgs, SolverName},
    exit::{missing, usage},
};
use anyhow::Context;
use omni_media::{Image, decode_picture, read_audio_file, resample};
use omni_model::{
    checkpoint::{Checkpoint, FileMark},
    codec::lengths,
    generate::{GuidanceMode, Picture, Request, Subject, check, image_size},
    sample::SolverKind,
    text::Spans,
};
use omni_schemas::clean::clean;
use std::{collections::BTreeMap, path::Path};

/// A request, and what the files it was made of were.
pub struct Prepared {
    /// Without its seed.
    pub request: Request,
    /// BLAKE3 of each file, by its path.
    pub files: BTreeMap<String, String>,
}

/// Opens everything that a case names. Fails on what cannot be sampled, whatever the reason.
pub fn prepare(job: &Job, args: &SampleArgs, checkpoint: &Checkpoint) -> anyhow::Result<Prepared> {
    let defaults = &checkpoint.config.sampling;
    let case = &job.case;
    let mut files = BTreeMap::new();
    let mut subjects = Vec::new();
    for subject in &case.subjects {
        subjects.push(Subject {
            anchor: subject.anchor.clone(),
            face: subject
                .face
                .as_deref()
                .map(|path| picture(path, &mut files))
                .transpose()?,
            voice: subject
                .voice
                .as_deref()
                .map(|path| sound(path, &mut files))
                .transpose()?,
        });
    }
    let first_frame = case
        .first_frame
        .as_deref()
        .map(|path| picture(path, &mut files))
        .transpose()?;
    let (width, height) = match (&args.size, &first_frame) {
        (Some(size), _) => sides(size)?,
        (None, Some(first)) => image_size(first.width, first.height, defaults.width * defaults.height),
        (None, None) => (defaults.width, defaults.height),
    };
    let (frames, sounds) = lengths(args.seconds.unwrap_or(defaults.seconds))
        .map_err(|error| usage(format!("--seconds: {error}")))?;
    let prompt = clean(&case.prompt);
    let caption = case.audio_caption.as_deref().map(clean);
    let whole = checkpoint.config.audio_caption.apply(&prompt, caption.as_deref());
    // a caption at the end moves nothing before it; one that was moved makes spans of characters untrue
    let spans = job
        .spans
        .as_ref()
        .filter(|_| prompt == case.prompt && whole.starts_with(&prompt));
    let negative = |own: &Option<String>, default: &str| clean(own.as_deref().unwrap_or(default));
    let found = Prepared {
        request: Request {
            spans: spans.map(|spans| bytes(spans, &whole)),
            prompt: whole,
            negative_video: negative(&args.negative_video, &defaults.negative_video),
            negative_audio: negative(&args.negative_audio, &defaults.negative_audio),
            subjects,
            first_frame,
            width,
            height,
            frames,
            sounds,
            steps: args.steps.unwrap_or(defaults.steps),
            solver: args.solver.map_or(defaults.solver, solver),
            shift: defaults.shift,
            guidance_video: args.guidance_video.unwrap_or(defaults.guidance_video),
            guidance_audio: args.guidance_audio.unwrap_or(defaults.guidance_audio),
            guidance_mode: match args.guidance {
                GuidanceName::Ovi => GuidanceMode::Ovi,
                GuidanceName::Ref3 => GuidanceMode::Ref3,
            },
            slg_layer: args.slg_layer.unwrap_or(defaults.slg_layer),
            seed: 0,
        },
        files,
    };
    check(checkpoint, &found.request)?;
    Ok(found)
}

fn solver(name: SolverName) -> SolverKind {
    match name {
        SolverName::Unipc => SolverKind::UniPc,
        SolverName::DpmPlusPlus => SolverKind::DpmPlusPlus,
        SolverName::Euler => SolverKind::Euler,
    }
}

fn sides(size: &str) -> anyhow::Result<(usize, usize)> {
    let parsed = size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.ok_or_else(|| {
        usage(format!(
            "--size {size}: a size is WIDTHxHEIGHT, for example 704x704"
        ))
    })
}

fn plain(image: Image) -> Picture {
    Picture {
        width: image.width,
        height: image.height,
        rgb: image.data,
    }
}

fn marked(path: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let mark = FileMark::of(Path::new(path)).map_err(|error| missing(error.to_string()))?;
    files.insert(path.to_owned(), mark.blake3);
    Ok(())
}

fn picture(path: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<Picture> {
    marked(path, files)?;
    let bytes = std::fs::read(path).with_context(|| path.to_owned())?;
    let image = decode_picture(&bytes).map_err(|error| usage(format!("{path}: {error}")))?;
    Ok(plain(image))
}

/// Mono at 16 kHz, channels averaged.
fn sound(path: &str, files: &mut BTreeMap<String, String>) -> anyhow::Result<Vec<f32>> {
    marked(path, files)?;
    let pcm = read_audio_file(Path::new(path)).map_err(|error| usage(error.to_string()))?;
    Ok(resample(&pcm.mono(), 16_000)?.samples)
}

/// Characters to bytes.
fn bytes(spans: &super::jobs::Spans, prompt: &str) -> Spans {
    let places: Vec<usize> = prompt
        .char_indices()
        .map(|(at, _)| at)
        .chain([prompt.len()])
        .collect();
    let at = |character: usize| places.get(character).copied().unwrap_or(prompt.len());
    let ranges = |list: &[(usize, usize)]| list.iter().map(|(start, end)| at(*start)..at(*end)).collect();
    Spans {
        descriptors: ranges(&spans.descriptors),
        utterances: ranges(&spans.utterances),
    }
}
