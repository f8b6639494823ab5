//! A suite on disk: `cases.jsonl`, `faces/`, `voices/`, where wanted `frames/`, and `suite.json`, which says where each case comes from.

use super::{BuildError, Subset, Suite, candidate::Candidate, candidate::Packed};
use crate::cases::{CaseError, to_lines};
use omni_manifests::{read_blob, write_file};
use omni_media::{Limits, Span, png, read_frames};
use omni_schemas::Case;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// The case file of a suite.
const CASES: &str = "cases.jsonl";
/// What is known of the suite.
const SUITE: &str = "suite.json";

/// Writes the suite into a new or empty folder; the case file comes last, so that a suite without it is none.
///
/// # Errors
/// [`BuildError::Folder`] when something lies there; an error of the disk, or of a tar that was altered.
pub fn write(suite: &Suite, out: &Path) -> Result<PathBuf, BuildError> {
    let taken = out.is_file() || fs::read_dir(out).is_ok_and(|mut folder| folder.next().is_some());
    if taken {
        return Err(BuildError::Folder {
            path: out.to_owned(),
            what: "something lies there already; name a new folder",
        });
    }
    let frames = suite.settings.first_frames.then_some("frames");
    for folder in ["faces", "voices"].into_iter().chain(frames) {
        let path = out.join(folder);
        fs::create_dir_all(&path).map_err(BuildError::io(&path))?;
    }
    let mut number = BTreeMap::new();
    let (mut cases, mut origins) = (Vec::new(), Vec::new());
    for candidate in &suite.cases {
        let n: &mut usize = number.entry(candidate.subset).or_default();
        *n += 1;
        let name = format!("s{}-{:04}", candidate.subset.number(), n);
        let mut case = place(candidate, &name, out)?;
        if let Some((path, span)) = suite.media.get(&candidate.clip) {
            let relative = format!("frames/{name}.png");
            write_file(&out.join(&relative), &first_frame(&candidate.clip, path, span)?)?;
            case.first_frame = Some(relative);
        }
        cases.push(case);
        origins.push(origin(candidate, &name));
    }
    let about = about(suite, origins);
    write_file(&out.join(SUITE), format!("{about:#}\n").as_bytes())?;
    let lines = to_lines(&cases, out).map_err(|error| {
        BuildError::Case(CaseError::Io {
            path: out.join(CASES),
            source: error.into(),
        })
    })?;
    let path = out.join(CASES);
    write_file(&path, lines.as_bytes())?;
    Ok(path)
}

/// The case with its name and its files, which are written.
fn place(candidate: &Candidate, name: &str, out: &Path) -> Result<Case, BuildError> {
    let mut case = Case {
        case: name.to_owned(),
        subset: candidate.subset.number(),
        ..candidate.case.clone()
    };
    for subject in &mut case.subjects {
        let plain = subject.anchor.trim_matches(['<', '>']);
        let save = |packed: &Packed, relative: String| -> Result<String, BuildError> {
            write_file(&out.join(&relative), &read_blob(&packed.tar, &packed.blob)?)?;
            Ok(relative)
        };
        if let Some(face) = candidate.faces.get(&subject.anchor) {
            subject.face = Some(save(face, format!("faces/{name}.{plain}.png"))?);
        }
        if let Some(voice) = candidate.voices.get(&subject.anchor) {
            subject.voice = Some(save(voice, format!("voices/{name}.{plain}.wav"))?);
        }
    }
    Ok(case)
}

/// The first picture of a clip, as PNG.
fn first_frame(clip: &str, path: &Path, span: &Span) -> Result<Vec<u8>, BuildError> {
    let unreadable = |source: omni_media::Error| BuildError::FirstFrame {
        clip: clip.to_owned(),
        path: path.to_owned(),
        source,
    };
    let mut picture = omni_media::Image::default();
    let mut take = |frame: omni_media::Frame<'_>| {
        picture = frame.image.clone();
        ControlFlow::Break(())
    };
    read_frames(path, span, &Limits::default(), &mut take).map_err(unreadable)?;
    png(&picture).map_err(unreadable)
}

fn origin(candidate: &Candidate, name: &str) -> Value {
    let traits: Vec<&str> = candidate.traits.iter().map(|one| one.word()).collect();
    json!({ "case": name, "clip": candidate.clip, "languages": candidate.languages, "traits": traits })
}

/// All that decides the suite, and no path: equal inputs give equal bytes.
fn about(suite: &Suite, origins: Vec<Value>) -> Value {
    let networks = |vectors: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> {
        vectors.map(str::to_owned).collect()
    };
    let cases = &suite.cases;
    let mut faces = cases
        .iter()
        .flat_map(|one| one.face_vectors.iter().flatten())
        .map(|vector| vector.network.as_str());
    let mut voices = cases
        .iter()
        .flat_map(|one| &one.voice_vectors)
        .map(|vector| vector.network.as_str());
    let balance: BTreeMap<String, Value> = Subset::ALL
        .iter()
        .map(|subset| {
            let (languages, traits) = suite.balance(*subset);
            (
                subset.number().to_string(),
                json!({ "languages": languages, "traits": traits }),
            )
        })
        .collect();
    json!({
        "format": "omni-suite/1",
        "per_subset": suite.settings.per_subset,
        "seed": suite.settings.seed,
        "first_frames": suite.settings.first_frames,
        "run": suite.inputs,
        "disjoint_from": suite.guard,
        "networks": { "face": networks(&mut faces), "voice": networks(&mut voices) },
        "found": suite.found,
        "balance": balance,
        "cases": origins,
    })
}
