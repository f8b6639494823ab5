//! Our cases for other people's generators.
//!
//! A case that a format cannot hold is left out and named. Pictures and sounds are named by their paths; only
//! `first-frames`, a folder that stands for itself, gets copies.

use std::{fs, io, path::Path};

use omni_schemas::{Case, CaseSubject};
use serde_json::{Map, Value, json};

use super::import::Format;

/// What was written, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Cases written.
    pub written: usize,
    /// One line per case that was left out.
    pub notes: Vec<String>,
}

/// Writes cases whose paths can be opened as they are: a CSV file for [`Format::OviCsv`], else a folder.
///
/// # Errors
/// When something cannot be written, with the path in the error's text.
pub fn export(format: Format, cases: &[Case], out: &Path) -> io::Result<Exported> {
    let mut done = Exported::default();
    if format == Format::OviCsv {
        let mut text = String::from("text_prompt,image_path\n");
        for case in cases {
            let picture = picture(case).unwrap_or_default();
            text.push_str(&format!("{},{}\n", cell(&ovi_prompt(case)), cell(picture)));
        }
        done.written = cases.len();
        return write(out, &text).map(|()| done);
    }
    fs::create_dir_all(out).map_err(|error| named(out, error))?;
    for case in cases {
        let file = |ending: &str| out.join(format!("{}.{ending}", case.case));
        match format {
            Format::Dreamid => write(&file("json"), &Value::String(dreamid(case)).to_string())?,
            Format::Multitalk => match multitalk(case) {
                Ok(object) => write(&file("json"), &format!("{object:#}\n"))?,
                Err(lack) => {
                    done.notes.push(format!("{}: {lack}; left out", case.case));
                    continue;
                }
            },
            Format::FirstFrames | Format::OviCsv => {
                let Some(from) = picture(case) else {
                    done.notes.push(format!(
                        "{}: it has no picture to start from; left out",
                        case.case
                    ));
                    continue;
                };
                let ending = Path::new(from)
                    .extension()
                    .and_then(|ending| ending.to_str())
                    .unwrap_or("png");
                fs::copy(from, file(ending)).map_err(|error| named(Path::new(from), error))?;
                write(&file("txt"), &format!("{}\n", without_anchors(&case.prompt)))?;
            }
        }
        done.written += 1;
    }
    Ok(done)
}

/// The picture that a clip may start from: the first frame, or the picture of the only person to be seen.
fn picture(case: &Case) -> Option<&str> {
    let seen: Vec<&CaseSubject> = case.subjects.iter().filter(|subject| subject.visible).collect();
    let only = match seen[..] {
        [one] => one.face.as_deref(),
        _ => None,
    };
    case.first_frame.as_deref().or(only)
}

fn without_anchors(prompt: &str) -> String {
    let anchors = super::check::anchors(prompt);
    let bare = anchors.iter().fold(prompt.to_owned(), |text, anchor| {
        text.replace(&format!(" {anchor}"), "")
            .replace(&format!("{anchor} "), "")
            .replace(anchor.as_str(), "")
    });
    bare.trim().to_owned()
}

fn ovi_prompt(case: &Case) -> String {
    let caption = case
        .audio_caption
        .as_ref()
        .map(|text| format!(" <AUDCAP>{text}<ENDAUDCAP>"));
    without_anchors(&case.prompt) + &caption.unwrap_or_default()
}

/// One cell of a CSV, quoted.
fn cell(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn dreamid(case: &Case) -> String {
    let faces = case.subjects.iter().filter(|subject| subject.face.is_some());
    let images: Vec<String> = faces
        .enumerate()
        .map(|(i, subject)| format!("<img{}>: identified as {}.", i + 1, subject.anchor))
        .collect();
    let sound = case.audio_caption.as_deref().unwrap_or_default();
    format!(
        "[IMAGE_CAPTIONS_START]\n{}\n[IMAGE_CAPTIONS_END]\n\n[FINAL_VIDEO_CAPTION_START]\n[AUDIO_DESCRIPTION_START]\n{sound}\n\
         [AUDIO_DESCRIPTION_END]\n\n[CO_ANALYSIS_START]\n{}\n[CO_ANALYSIS_END]\n[FINAL_VIDEO_CAPTION_END]",
        images.join("\n"),
        case.prompt
    )
}

/// The reference voices stand where MultiTalk has the sound that drives each mouth.
fn multitalk(case: &Case) -> Result<Value, &'static str> {
    let picture = picture(case).ok_or("it has no picture to start from")?;
    let mut voices = Map::new();
    for (i, subject) in case.subjects.iter().filter(|subject| subject.speaks).enumerate() {
        let voice = subject.voice.as_ref().ok_or("a speaker has no voice")?;
        voices.insert(format!("person{}", i + 1), json!(voice));
    }
    let said = super::check::spoken(&case.prompt)
        .map(|said| said.len())
        .unwrap_or_default();
    let mut object =
        json!({ "prompt": crate::metrics::caption_leak::description(&case.prompt), "cond_image": picture });
    if said == 0 {
        object["prompt"] = json!(without_anchors(&case.prompt));
    }
    // One after the other, as in a dialogue.
    object["audio_type"] = json!("add");
    object["cond_audio"] = Value::Object(voices);
    Ok(object)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|error| named(path, error))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::import::import;
    use super::*;
    use omni_schemas::CaseUtterance;

    fn dialogue(folder: &Path) -> Case {
        let file = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, "x").unwrap();
            Some(path.to_string_lossy().into_owned())
        };
        let subject = |i: usize| CaseSubject {
            anchor: format!("<sub{i}>"),
            face: file(&format!("face{i}.png")),
            voice: file(&format!("voice{i}.wav")),
            visible: true,
            speaks: true,
        };
        let say = |i: usize, text: &str| CaseUtterance {
            anchor: format!("<sub{i}>"),
            text: text.into(),
            language: "en".into(),
        };
        Case {
            case: "two".into(),
            subset: 2,
            prompt: "A man <sub1> asks, <S>Why, \"you\"?<E> A woman <sub2> says, <S>Because.<E>".into(),
            audio_caption: Some("Wind.".into()),
            first_frame: file("first.png"),
            subjects: vec![subject(1), subject(2)],
            utterances: vec![say(1, "Why, \"you\"?"), say(2, "Because.")],
        }
    }

    #[test]
    fn what_goes_out_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let case = dialogue(folder.path());
        let back = |format: Format, out: &str| {
            let out = folder.path().join(out);
            assert_eq!(
                export(format, std::slice::from_ref(&case), &out).unwrap().written,
                1
            );
            let imported = import(format, &out, folder.path(), "en").unwrap();
            assert!(imported.notes.is_empty(), "{:?}", imported.notes);
            imported.cases.into_iter().next().unwrap()
        };
        let said = |case: &Case| case.utterances.iter().map(|u| u.text.clone()).collect::<Vec<_>>();
        let ovi = back(Format::OviCsv, "ovi.csv");
        assert_eq!(
            (said(&ovi), &ovi.audio_caption, &ovi.first_frame),
            (said(&case), &case.audio_caption, &case.first_frame)
        );
        assert!(ovi.prompt.starts_with("A man asks, <S>"), "{}", ovi.prompt);
        let dreamid = back(Format::Dreamid, "dreamid");
        assert_eq!(
            (&dreamid.prompt, &dreamid.utterances),
            (&case.prompt, &case.utterances)
        );
        let multitalk = back(Format::Multitalk, "multitalk");
        assert_eq!(multitalk.subjects[1].voice, case.subjects[1].voice);
        assert!(!multitalk.prompt.contains("Because"), "{}", multitalk.prompt);
        assert_eq!(said(&back(Format::FirstFrames, "frames")), said(&case));
    }

    #[test]
    fn what_a_format_cannot_hold_is_left_out_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut case = dialogue(folder.path());
        case.first_frame = None;
        for format in [Format::Multitalk, Format::FirstFrames] {
            let done = export(format, std::slice::from_ref(&case), &folder.path().join("out")).unwrap();
            assert_eq!(done.written, 0);
            assert!(
                done.notes[0].contains("two: it has no picture"),
                "{:?}",
                done.notes
            );
        }
    }
}
