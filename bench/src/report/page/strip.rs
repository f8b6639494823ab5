//! One strip per case: the references, then each method with five frames across and what it was heard to say.

use super::{escape, hue};
use crate::report::run::{CaseOf, Clip, MethodRun};
use base64::{Engine, engine::general_purpose::STANDARD};
use omni_media::{Limits, Span, decode_picture, probe, read_frames, thumbnail};
use omni_schemas::Case;
use std::{ops::ControlFlow, path::Path};

/// Frames of a strip.
const FRAMES: u64 = 5;
/// Longest side of a picture, pixels.
const SIDE: u32 = 260;
/// Longest side of a reference, pixels.
const REFERENCE: u32 = 140;

pub(super) fn strips(runs: &[MethodRun], chosen: &[String], lacks: &mut Vec<String>) -> String {
    let mut out = String::new();
    for name in chosen {
        let Some(one) = runs.iter().find_map(|run| run.cases.get(name)) else {
            continue;
        };
        out.push_str(&format!(
            "<article class=\"strip\"><h3>{} <span class=\"soft\">subset {}</span></h3><p class=\"prompt\">{}</p>",
            escape(name),
            one.case.subset,
            escape(&one.case.prompt)
        ));
        out.push_str(&references(&one.case, lacks));
        for (number, run) in runs.iter().enumerate() {
            out.push_str(&method(number, run, run.cases.get(name), lacks));
        }
        out.push_str("</article>\n");
    }
    match out.is_empty() {
        true => "<p class=\"note\">No case was chosen.</p>".to_owned(),
        false => out,
    }
}

fn references(case: &Case, lacks: &mut Vec<String>) -> String {
    let mut out = String::new();
    for subject in &case.subjects {
        let role = match (subject.visible, subject.speaks) {
            (false, _) => "off screen",
            (_, false) => "silent",
            _ => "speaks",
        };
        let picture = subject
            .face
            .as_deref()
            .map(|path| (path, reference(Path::new(path))));
        let inside = match picture {
            Some((_, Some(uri))) => format!(
                "<img alt=\"reference of {}\" src=\"{uri}\">",
                escape(&subject.anchor)
            ),
            Some((path, None)) => {
                lacks.push(format!("{path} is no picture that can be read"));
                "<span class=\"hole\">not readable</span>".to_owned()
            }
            None => "<span class=\"hole\">no picture</span>".to_owned(),
        };
        out.push_str(&format!(
            "<figure>{inside}<figcaption>{} {role}</figcaption></figure>",
            escape(&subject.anchor)
        ));
    }
    match out.is_empty() {
        true => out,
        false => format!("<div class=\"references\">{out}</div>"),
    }
}

fn reference(path: &Path) -> Option<String> {
    let picture = decode_picture(&std::fs::read(path).ok()?).ok()?;
    Some(jpeg(&thumbnail(&picture, REFERENCE).ok()?))
}

/// A JPEG as an address that holds it.
fn jpeg(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))
}

fn method(number: usize, run: &MethodRun, one: Option<&CaseOf>, lacks: &mut Vec<String>) -> String {
    let clip = one.and_then(|one| one.clips.first());
    let pictures = match clip.map(|clip| frames(&clip.media)) {
        None => "<span class=\"hole wide\">the run does not have this case</span>".to_owned(),
        Some(Err(why)) => {
            let name = clip.map_or("", |clip| clip.generation.as_str());
            lacks.push(format!("no pictures of {name}: {why}"));
            format!("<span class=\"hole wide\">no pictures: {}</span>", escape(&why))
        }
        Some(Ok(pictures)) => pictures
            .iter()
            .map(|(seconds, uri)| format!("<figure><img alt=\"{} at {seconds:.1} s\" src=\"{uri}\"><figcaption>{seconds:.1} s</figcaption></figure>", escape(run.method())))
            .collect(),
    };
    format!(
        "<div class=\"row hue{}\"><div class=\"who\"><b class=\"dot\"></b> <span class=\"name\">{}</span></div><div class=\"frames\">{pictures}</div>{}</div>",
        hue(number),
        escape(run.method()),
        clip.map(heard).unwrap_or_default()
    )
}

/// What the recogniser heard, where it was asked.
fn heard(clip: &Clip) -> String {
    let Some(detail) = clip.details.get("wer") else {
        return String::new();
    };
    match detail["heard"].as_str().map(str::trim) {
        Some("") => "<p class=\"heard soft\">nothing was heard</p>".to_owned(),
        Some(text) => format!("<p class=\"heard\">“{}”</p>", escape(text)),
        None => String::new(),
    }
}

/// Five frames spread over the clip: seconds and picture.
fn frames(path: &Path) -> Result<Vec<(f64, String)>, String> {
    let (span, limits) = (Span::default(), Limits::default());
    let told = |error: omni_media::Error| error.reason().to_owned();
    if !path.is_file() {
        return Err("missing_output".to_owned());
    }
    let info = probe(path, &span, &limits).map_err(told)?;
    let count = info.video.ok_or("no_video")?.frames.max(1);
    let wanted: Vec<u64> = (0..FRAMES).map(|k| (2 * k + 1) * count / (2 * FRAMES)).collect();
    let mut out = Vec::new();
    let read = read_frames(path, &span, &limits, &mut |frame| {
        let times = wanted.iter().filter(|index| **index == frame.index).count();
        if let Some(small) = (times > 0).then(|| thumbnail(frame.image, SIDE).ok()).flatten() {
            out.push((frame.seconds, jpeg(&small)));
        }
        match wanted.last().is_some_and(|last| frame.index >= *last) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    match (read, out.is_empty()) {
        (_, false) => Ok(out),
        (Err(error), true) => Err(told(error)),
        (Ok(_), true) => Err("no_video".to_owned()),
    }
}
