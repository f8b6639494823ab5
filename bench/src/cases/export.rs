//! Our cases for other people's generators.
//!
//! A case that a format cannot hold is left out and named. Pictures and sounds are named by their paths; only
//! `first-frames`, a folder that stands for itself, gets copies.

use std::{fs, io, path::Path};

use omni_media::{decode_picture, read_window};
use omni_schemas::{Case, CaseSubject};
use serde_json::{Map, Value, json};

use super::import::Format;

/// Largest picture, bytes.
const MOST: u64 = 256 << 20;

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
        return match cases.is_empty() {
            true => Ok(done),
            false => write(out, text.as_bytes()).map(|()| done),
        };
    }
    fs::create_dir_all(out).map_err(|error| named(out, error))?;
    for case in cases {
        let file = |ending: &str| out.join(format!("{}.{ending}", case.case));
        match format {
            Format::Dreamid => write(&file("json"), Value::String(dreamid(case)).to_string().as_bytes())?,
            Format::Multitalk => match multitalk(case) {
                Ok(object) => write(&file("json"), format!("{object:#}\n").as_bytes())?,
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
                let bytes = read_window(Path::new(from), MOST);
                let picture = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
                    let whole = decode_picture(&bytes).map_err(|error| error.to_string());
                    whole.map(|_| bytes)
                });
                let bytes = match picture {
                    Ok(bytes) => bytes,
                    Err(why) => {
                        done.notes
                            .push(format!("{}: {from} is no picture ({why}); left out", case.case));
                        continue;
                    }
                };
                let ending = Path::new(from)
                    .extension()
                    .and_then(|ending| ending.to_str())
                    .unwrap_or("png");
                write(&file(ending), &bytes)?;
                write(
                    &file("txt"),
                    format!("{}\n", without_anchors(&case.prompt)).as_bytes(),
                )?;
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

/// Whole or not at all: what stood there before stays until the new one is there.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    omni_manifests::write_file(path, bytes).map_err(|error| {
        // Its words name the file, and the cause stands behind them.
        let cause = std::error::Error::source(&error);
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        io::Error::other(format!("{error}{cause}"))
    })
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::import::import;
    use super::*;
    use omni_schemas::CaseUtterance;

    /// One grey pixel.
    const PICTURE: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\x68\x68\x68\x00\x00\x03\x04\x01\x81\x4b\xd3\xd2\x10\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

    fn dialogue(folder: &Path) -> Case {
        let file = |name: &str| {
            let path = folder.join(name);
            match name.ends_with(".png") {
                true => fs::write(&path, PICTURE).unwrap(),
                false => fs::write(&path, "x").unwrap(),
            }
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

    #[test]
    fn a_sound_is_no_first_frame_and_what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut case = dialogue(folder.path());
        let out = folder.path().join("out");
        let first = folder.path().join("out/two.png");
        fs::create_dir(&out).unwrap();
        // The picture may already lie where it goes to.
        fs::write(&first, PICTURE).unwrap();
        case.first_frame = Some(first.to_string_lossy().into_owned());
        let done = export(Format::FirstFrames, std::slice::from_ref(&case), &out).unwrap();
        assert_eq!((done.written, fs::read(&first).unwrap()), (1, PICTURE.to_vec()));
        fs::create_dir(out.join("three.txt")).unwrap();
        case.case = "three".into();
        let error = export(Format::FirstFrames, std::slice::from_ref(&case), &out).unwrap_err();
        assert!(error.to_string().contains("out/three.txt"), "{error}");
        case.first_frame = case.subjects[0].voice.clone();
        let done = export(Format::FirstFrames, std::slice::from_ref(&case), &out).unwrap();
        assert_eq!(done.written, 0);
        assert!(
            done.notes[0].contains("voice1.wav is no picture"),
            "{:?}",
            done.notes
        );
    }
}
