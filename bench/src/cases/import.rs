//! Other people's cases as ours.
//!
//! What a format does not say is not made up: Ovi and first frames name no speakers, so all speech is that of one
//! subject; MultiTalk holds no words. A file that is named and not there is left out with a note.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use omni_manifests::{TableRow, TableScan};
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use serde_json::Value;

use super::{
    CaseError,
    check::{anchors, spoken},
};

/// Endings of pictures.
const PICTURES: &[&str] = &["png", "jpg", "jpeg", "webp"];

/// Whose cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// character-ai/Ovi: a CSV of `text_prompt` and `image_path`, with `<S>`, `<E>` and `<AUDCAP>`.
    OviCsv,
    /// DreamID-Omni: a caption per file, as a JSON string with sections.
    Dreamid,
    /// MeiGen-AI/MultiTalk: an object per file with a picture and a sound per person.
    Multitalk,
    /// A folder of pictures, each with its prompt in a text file of the same name.
    FirstFrames,
}

/// Cases, and what could not be taken over.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// In the order of the files; paths can be opened as they are.
    pub cases: Vec<Case>,
    /// One line per thing that was left out.
    pub notes: Vec<String>,
}

/// Reads a file, or a folder of files, of another project. Files that cases name are looked for below `root`; what is
/// said is taken to be in `language` where the format does not tell.
///
/// # Errors
/// [`CaseError`] when nothing can be read there.
pub fn import(format: Format, path: &Path, root: &Path, language: &str) -> Result<Imported, CaseError> {
    let mut found = Finder {
        root: root.to_owned(),
        language: language.to_owned(),
        out: Imported::default(),
    };
    match format {
        Format::OviCsv => {
            let table = TableScan::open(path)?;
            let columns = table.columns().len();
            table.for_each(|row: &TableRow<'_>| -> Result<(), CaseError> {
                found.ovi(row, columns);
                Ok(())
            })?;
        }
        Format::FirstFrames => {
            let mut taken: BTreeMap<String, String> = BTreeMap::new();
            for picture in files(path, PICTURES)? {
                let (name, own) = (stem(&picture), shown(&picture));
                match taken.get(&name) {
                    Some(first) => found.note(&own, &format!("{first} is of the same name; left out")),
                    None => {
                        taken.insert(name, own);
                        found.first_frame(&picture)?;
                    }
                }
            }
            // Of a single picture that was named, the others are not asked for.
            let texts = if path.is_dir() {
                files(path, &["txt"])?
            } else {
                Vec::new()
            };
            for text in texts.iter().filter(|text| !taken.contains_key(&stem(text))) {
                found.note(&shown(text), "there is no picture of its name; left out");
            }
        }
        Format::Dreamid | Format::Multitalk => {
            for file in files(path, &["json"])? {
                let name = stem(&file);
                let bytes = read(&file)?;
                match (serde_json::from_slice(&bytes), format) {
                    (Ok(Value::String(text)), Format::Dreamid) => found.dreamid(&name, &text),
                    (Ok(Value::Object(object)), Format::Multitalk) => {
                        found.multitalk(&name, &Value::Object(object))
                    }
                    (Ok(_), _) => found.note(&name, "is no case of this format"),
                    (Err(error), _) => found.note(&name, &error.to_string()),
                }
            }
        }
    }
    Ok(found.out)
}

struct Finder {
    root: PathBuf,
    language: String,
    out: Imported,
}

impl Finder {
    fn note(&mut self, case: &str, words: &str) {
        self.out.notes.push(format!("{case}: {words}"));
    }

    /// A file that a case names, if it is there.
    fn file(&mut self, case: &str, name: &str) -> Option<String> {
        let path = self.root.join(name);
        if name.is_empty() {
            return None;
        }
        if !path.is_file() {
            self.note(case, &format!("there is no file {name}; left out"));
            return None;
        }
        Some(path.to_string_lossy().into_owned())
    }

    fn utterances(
        &self,
        prompt: &str,
        speaker: impl Fn(usize) -> String,
    ) -> Result<Vec<CaseUtterance>, String> {
        let said = spoken(prompt)?;
        let say = |(i, text): (usize, &str)| CaseUtterance {
            anchor: speaker(i),
            text: text.trim().to_owned(),
            language: self.language.clone(),
        };
        Ok(said.into_iter().enumerate().map(say).collect())
    }

    /// A case of one person who says everything.
    fn alone(&mut self, name: String, prompt: &str, picture: Option<String>) {
        let (prompt, audio_caption) = audio_caption(prompt);
        match self.utterances(&prompt, |_| "<sub1>".to_owned()) {
            Err(fault) => self.note(&name, &fault),
            Ok(utterances) => self.out.cases.push(Case {
                case: name,
                subset: 1,
                prompt,
                audio_caption,
                first_frame: picture,
                subjects: vec![subject("<sub1>".to_owned(), !utterances.is_empty())],
                utterances,
            }),
        }
    }

    fn ovi(&mut self, row: &TableRow<'_>, columns: usize) {
        let name = format!("ovi-{:04}", self.out.cases.len() + 1);
        if let Some(fault) = row.fault() {
            return self.note(&format!("line {}", row.line()), fault);
        }
        if row.len() > columns {
            let words = format!(
                "has {} cells and the header {columns} (a comma that is not in quotes?); left out",
                row.len()
            );
            return self.note(&format!("line {}", row.line()), &words);
        }
        let object = row.object();
        let cell = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let prompt = cell("text_prompt");
        if prompt.is_empty() {
            return self.note(&format!("line {}", row.line()), "has no `text_prompt`");
        }
        let picture = self.file(&name, cell("image_path"));
        self.alone(name, prompt, picture);
    }

    fn first_frame(&mut self, picture: &Path) -> Result<(), CaseError> {
        let words = picture.with_extension("txt");
        if !words.is_file() {
            self.note(&stem(picture), "there is no text file of its name; left out");
            return Ok(());
        }
        let Ok(text) = String::from_utf8(read(&words)?) else {
            self.note(&shown(&words), "is no UTF-8; left out");
            return Ok(());
        };
        let prompt = text.trim_start_matches('\u{FEFF}').trim().to_owned();
        if prompt.is_empty() {
            self.note(&shown(&words), "is empty; left out");
            return Ok(());
        }
        self.alone(
            stem(picture),
            &prompt,
            Some(picture.to_string_lossy().into_owned()),
        );
        Ok(())
    }

    fn dreamid(&mut self, name: &str, text: &str) {
        let Some(caption) = section(text, "FINAL_VIDEO_CAPTION") else {
            return self.note(name, "has no section FINAL_VIDEO_CAPTION");
        };
        // What is heard has a field of its own.
        let sound = section(text, "AUDIO_DESCRIPTION").unwrap_or_default();
        let caption = if sound.is_empty() {
            caption.to_owned()
        } else {
            caption.replacen(sound, "\n", 1)
        };
        let prompt: Vec<&str> = caption
            .lines()
            .map(str::trim)
            .filter(|line| !is_mark(line) && !line.is_empty())
            .collect();
        let prompt = prompt.join(" ");
        let turns = turns(text);
        let said = spoken(&prompt).map(|said| said.len());
        let speakers = match &turns {
            Some(turns) if Ok(turns.len()) == said => turns.clone(),
            _ => nearest_speakers(&prompt),
        };
        let speaker = |i: usize| speakers.get(i).cloned().unwrap_or_else(|| "<sub1>".to_owned());
        match self.utterances(&prompt, speaker) {
            Err(fault) => self.note(name, &fault),
            Ok(utterances) => {
                let known = anchors(&prompt);
                let speaks = |anchor: &str| utterances.iter().any(|utterance| utterance.anchor == anchor);
                let subjects: Vec<CaseSubject> = known
                    .iter()
                    .map(|anchor| subject(anchor.clone(), speaks(anchor)))
                    .collect();
                self.out.cases.push(Case {
                    case: name.to_owned(),
                    subset: (subjects.len() as i64).clamp(1, 3),
                    audio_caption: section(text, "AUDIO_DESCRIPTION").map(|text| text.trim().to_owned()),
                    first_frame: None,
                    prompt,
                    subjects,
                    utterances,
                });
            }
        }
    }

    fn multitalk(&mut self, name: &str, case: &Value) {
        let faults = lacks(case);
        if !faults.is_empty() {
            return self.note(name, &format!("{}; left out", faults.join(", ")));
        }
        let text = |key: &str| {
            case.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let first_frame = self.file(name, &text("cond_image"));
        let mut subjects = Vec::new();
        let voices = case.get("cond_audio").and_then(Value::as_object);
        for (i, (_, voice)) in voices.into_iter().flatten().enumerate() {
            let mut person = subject(format!("<sub{}>", i + 1), true);
            person.voice = self.file(name, voice.as_str().unwrap_or_default());
            subjects.push(person);
        }
        self.out.cases.push(Case {
            case: name.to_owned(),
            subset: (subjects.len() as i64).clamp(1, 3),
            prompt: text("prompt"),
            first_frame,
            subjects,
            ..Case::default()
        });
    }
}

/// What an object needs to be a case of MultiTalk's and does not have.
fn lacks(case: &Value) -> Vec<String> {
    let text = |key: &str| {
        case.get(key)
            .is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty()))
    };
    let mut out: Vec<String> = ["prompt", "cond_image"]
        .into_iter()
        .filter(|key| !text(key))
        .map(|key| format!("has no text `{key}`"))
        .collect();
    let voices = case.get("cond_audio").and_then(Value::as_object);
    let named = voices.is_some_and(|voices| !voices.is_empty() && voices.values().all(Value::is_string));
    if !named {
        out.push("has no sounds by person in `cond_audio`".to_owned());
    }
    out
}

fn subject(anchor: String, speaks: bool) -> CaseSubject {
    CaseSubject {
        anchor,
        face: None,
        voice: None,
        visible: true,
        speaks,
    }
}

/// The prompt without Ovi's description of the sound, and that description.
fn audio_caption(prompt: &str) -> (String, Option<String>) {
    let Some((before, rest)) = prompt.split_once("<AUDCAP>") else {
        return (prompt.trim().to_owned(), None);
    };
    let (caption, after) = rest.split_once("<ENDAUDCAP>").unwrap_or((rest, ""));
    (
        format!("{}{after}", before.trim_end()).trim().to_owned(),
        Some(caption.trim().to_owned()),
    )
}

/// What stands between `[NAME_START]` and `[NAME_END]`.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("[{name}_START]"))?;
    rest.split_once(&format!("[{name}_END]"))
        .map(|(section, _)| section)
}

fn is_mark(line: &str) -> bool {
    line.starts_with('[') && (line.ends_with("_START]") || line.ends_with("_END]"))
}

/// Who speaks, in order of the times in DreamID's list; `None` without such a list.
fn turns(text: &str) -> Option<Vec<String>> {
    let list: Value = serde_json::from_str(section(text, "SPEAKER_TIMESTAMPS")?).ok()?;
    let mut turns: Vec<(String, String)> = Vec::new();
    for (anchor, spans) in list.as_object()? {
        for span in spans.as_array()? {
            // `<Time_S>00:02-00:05<Time_E>`: the same form throughout a file, so that text sorts as time.
            let start = span.as_str()?.trim_start_matches("<Time_S>").split('-').next()?;
            turns.push((start.to_owned(), anchor.clone()));
        }
    }
    turns.sort();
    Some(turns.into_iter().map(|(_, anchor)| anchor).collect())
}

/// For each utterance the first anchor since the one before it, else the last one named at all.
fn nearest_speakers(prompt: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut rest = prompt;
    let mut last = "<sub1>".to_owned();
    while let Some((before, after)) = rest.split_once("<S>") {
        // The sentence that ends in the utterance.
        let sentence = before.rsplit(['.', '\n', '!', '?']).next().unwrap_or(before);
        let named = anchors(sentence)
            .into_iter()
            .next()
            .or_else(|| anchors(before).pop());
        last = named.unwrap_or(last);
        out.push(last.clone());
        rest = after.split_once("<E>").map_or("", |(_, rest)| rest);
    }
    out
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The name of a file, as remarks say it.
fn shown(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, CaseError> {
    std::fs::read(path).map_err(|source| CaseError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The file itself, or the files of a folder that have one of these endings, by name.
fn files(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, CaseError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |source| CaseError::Io {
        path: path.to_owned(),
        source,
    };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        let ending = file
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default()
            .to_lowercase();
        if endings.contains(&ending.as_str()) && file.is_file() {
            out.push(file);
        }
    }
    out.sort();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::faults;
    use super::*;

    fn sound(imported: &Imported) {
        for case in &imported.cases {
            assert_eq!(faults(case, Path::new("/")), Vec::<String>::new(), "{case:?}");
        }
    }

    #[test]
    fn ovi_rows_become_cases_of_one_speaker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.csv");
        std::fs::write(folder.path().join("a.png"), "x").unwrap();
        let rows = "text_prompt,image_path\r\n\
            \"A singer says, <S>Now.<E> A drummer adds <S>\"\"Go\"\", go.<E>. <AUDCAP>Loud.<ENDAUDCAP>\",a.png\r\n\
            A quiet room.,gone.png\r\n\"broken <S>\",\r\n";
        std::fs::write(&path, rows).unwrap();
        let imported = import(Format::OviCsv, &path, folder.path(), "en").unwrap();
        sound(&imported);
        assert_eq!(imported.cases.len(), 2);
        let first = &imported.cases[0];
        assert_eq!(first.audio_caption.as_deref(), Some("Loud."));
        assert_eq!(first.utterances[1].text, "\"Go\", go.");
        assert!(first.first_frame.is_some() && !imported.cases[1].subjects[0].speaks);
        let notes = imported.notes.join("\n");
        assert!(
            notes.contains("gone.png") && notes.contains("an <S> without its <E>"),
            "{notes}"
        );
    }

    #[test]
    fn dreamid_speakers_come_from_times_or_from_the_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let caption = |times: &str| {
            let text = format!(
                "[FINAL_VIDEO_CAPTION_START]\n[AUDIO_DESCRIPTION_START]\nBirds.\n[AUDIO_DESCRIPTION_END]\n\
                 [CO_ANALYSIS_START]\n<sub1> looks at <sub2> and says, <S>One.<E> <sub2> replies, <S>Two.<E>\n\
                 [CO_ANALYSIS_END]\n[FINAL_VIDEO_CAPTION_END]\n{times}"
            );
            serde_json::to_string(&text).unwrap()
        };
        let times = "[SPEAKER_TIMESTAMPS_START]{\"<sub1>\": [\"<Time_S>00:06-00:09<Time_E>\"], \
            \"<sub2>\": [\"<Time_S>00:02-00:05<Time_E>\"]}[SPEAKER_TIMESTAMPS_END]";
        std::fs::write(folder.path().join("a.json"), caption("")).unwrap();
        std::fs::write(folder.path().join("b.json"), caption(times)).unwrap();
        std::fs::write(folder.path().join("c.json"), "{}").unwrap();
        let imported = import(Format::Dreamid, folder.path(), folder.path(), "en").unwrap();
        sound(&imported);
        let speakers = |i: usize| -> Vec<&str> {
            imported.cases[i]
                .utterances
                .iter()
                .map(|utterance| utterance.anchor.as_str())
                .collect()
        };
        assert_eq!(speakers(0), ["<sub1>", "<sub2>"]);
        assert_eq!(speakers(1), ["<sub2>", "<sub1>"]);
        assert_eq!(imported.cases[0].audio_caption.as_deref(), Some("Birds."));
        assert_eq!(imported.notes, ["c: is no case of this format"]);
    }

    #[test]
    fn multitalk_and_first_frames() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("1.wav", "x");
        write(
            "talk.json",
            r#"{"prompt": "Two talk.", "cond_image": "p.png", "cond_audio": {"person1": "1.wav", "person2": "2.wav"}}"#,
        );
        let imported = import(
            Format::Multitalk,
            &folder.path().join("talk.json"),
            folder.path(),
            "en",
        )
        .unwrap();
        sound(&imported);
        let case = &imported.cases[0];
        assert_eq!(
            (case.subset, case.subjects.len(), imported.notes.len()),
            (2, 2, 2)
        );
        assert!(case.subjects[0].voice.is_some() && case.subjects[1].voice.is_none());
        write("p.png", "x");
        write("p.txt", "She says, <S>Hello.<E>\n");
        let imported = import(Format::FirstFrames, folder.path(), folder.path(), "de").unwrap();
        sound(&imported);
        assert_eq!(imported.cases[0].utterances[0].language, "de");
    }

    #[test]
    fn what_is_no_case_is_said_and_not_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let told = |format: Format, path: &str| {
            let path = folder.path().join(path);
            let imported = import(format, &path, folder.path(), "en").unwrap();
            (imported.cases.len(), imported.notes.join("\n"))
        };
        write("a.json", br#"{"a": 1}"#);
        let (cases, notes) = told(Format::Multitalk, "a.json");
        assert_eq!(cases, 0, "{notes}");
        for word in ["`prompt`", "`cond_image`", "`cond_audio`"] {
            assert!(notes.contains(word), "{notes}");
        }
        std::fs::create_dir(folder.path().join("frames")).unwrap();
        for (name, bytes) in [
            ("frames/a.txt", &b"words"[..]),
            ("frames/b.png", b"x"),
            ("frames/b.txt", b"\xff\xfe"),
            ("frames/c.jpg", b"x"),
            ("frames/c.png", b"x"),
            ("frames/c.txt", b"words"),
            ("frames/d.png", b"x"),
            ("frames/d.txt", b" \n"),
        ] {
            write(name, bytes);
        }
        let (cases, notes) = told(Format::FirstFrames, "frames");
        assert_eq!(cases, 1, "{notes}");
        for word in [
            "a.txt: there is no picture",
            "b.txt: is no UTF-8",
            "c.png: c.jpg is of the same name",
            "d.txt: is empty",
        ] {
            assert!(notes.contains(word), "{word}: {notes}");
        }
        write("p.csv", b"text_prompt,image_path\nOne, two, three\nFour,\n");
        let (cases, notes) = told(Format::OviCsv, "p.csv");
        assert_eq!(cases, 1, "{notes}");
        assert!(notes.contains("line 2: has 3 cells and the header 2"), "{notes}");
    }
}
