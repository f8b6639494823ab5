//! `omni bench cases build`: suites out of curated clips made by code.

use crate::{common, made};
use common::{Scratch, code, stderr, stdout};
use made::MadeClip;
use omni_manifests::{PackWriter, Receipt, write_part};
use omni_schemas::{
    Binding, Blob, BoundSubject, FaceRef, OmniCaption, Record, Segment, Selection, Track, Transcript,
    Utterance, VoiceRef,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Somebody in a clip: who it is by face (when seen) and by voice (when heard), and the language.
#[derive(Clone)]
pub struct Person {
    face: Option<usize>,
    voice: Option<usize>,
    language: &'static str,
}

pub fn talks(who: usize, language: &'static str) -> Person {
    Person {
        face: Some(who),
        voice: Some(who),
        language,
    }
}

fn silent(who: usize) -> Person {
    Person {
        voice: None,
        ..talks(who, "en")
    }
}

pub fn off_screen(who: usize) -> Person {
    Person {
        face: None,
        ..talks(who, "en")
    }
}

pub type Cast = (String, Vec<Person>);

/// A unit vector that is nobody else's.
fn vector(who: usize) -> Vec<f64> {
    (0..64).map(|i| f64::from(u8::from(i == who))).collect()
}

const FACES: &str = "sface_2021dec#0123456789ab";
const VOICES: &str = "wespeaker_resnet34#0123456789ab";

/// A finished run with these clips in one shard.
pub fn curated(out: &Path, casts: &[Cast]) {
    let clips: Vec<MadeClip> = casts.iter().map(|(clip, _)| MadeClip::new(clip)).collect();
    made::run(out, out.parent().unwrap(), &[clips], made::STAGES.len());
    let rows = |make: fn(&Cast) -> Vec<Track>| casts.iter().flat_map(make).collect::<Vec<_>>();
    plain(out, "track", &rows(tracks));
    let list: Vec<Transcript> = casts.iter().map(transcript).collect();
    plain(out, "transcribe", &list);
    let list: Vec<Binding> = casts.iter().map(binding).collect();
    plain(out, "bind", &list);
    let list: Vec<OmniCaption> = casts.iter().map(caption).collect();
    plain(out, "compose", &list);
    packed(
        out,
        "face_ref",
        casts.iter().flat_map(pictures).collect(),
        |row: &FaceRef| made::png(&row.clip, row.subject),
    );
    packed(
        out,
        "voice_ref",
        casts.iter().flat_map(voices).collect(),
        |row: &VoiceRef| made::wav(&format!("{}{}", row.clip, row.speaker)),
    );
}

fn part(out: &Path, stage: &str) -> std::path::PathBuf {
    out.join(made::dir(stage))
        .join(format!("part-{}.parquet", made::shard_id(0)))
}

fn receipt(stage: &str) -> Receipt {
    Receipt {
        stage: stage.into(),
        stage_version: 1,
        fingerprint: "0".repeat(64),
        shard: made::shard_id(0),
        ..Receipt::default()
    }
}

fn plain<R: Record>(out: &Path, stage: &str, rows: &[R]) {
    write_part(&part(out, stage), rows, &receipt(stage)).unwrap();
}

fn packed<R: Record>(out: &Path, stage: &str, mut rows: Vec<R>, bytes: impl Fn(&R) -> Vec<u8>) {
    let path = part(out, stage);
    let mut pack = PackWriter::create(&path.with_extension("tar")).unwrap();
    for row in &mut rows {
        let content = bytes(row);
        for blob in row.blobs_mut() {
            pack.append(blob, &content).unwrap();
        }
    }
    let mut receipt = receipt(stage);
    receipt.tar = Some(pack.finish().unwrap());
    write_part(&path, &rows, &receipt).unwrap();
}

fn seen((_, people): &Cast) -> impl Iterator<Item = (i64, &Person)> {
    (1..).zip(people.iter().filter(|one| one.face.is_some()))
}

/// The people with their anchors: those who are seen, then those who are not.
fn cast((_, people): &Cast) -> Vec<(String, &Person)> {
    let (seen, off): (Vec<_>, Vec<_>) = people.iter().partition(|one| one.face.is_some());
    (1..)
        .zip(seen.into_iter().chain(off))
        .map(|(n, one)| (format!("<sub{n}>"), one))
        .collect()
}

fn speaker(who: usize) -> String {
    format!("S{who}")
}

fn tracks(own: &Cast) -> Vec<Track> {
    seen(own)
        .map(|(subject, one)| Track {
            clip: own.0.clone(),
            track: subject - 1,
            subject,
            shot: 0,
            frames: Vec::new(),
            vector: vector(one.face.unwrap()),
            embedder: FACES.into(),
        })
        .collect()
}

fn pictures(own: &Cast) -> Vec<FaceRef> {
    seen(own)
        .map(|(subject, _)| FaceRef {
            clip: own.0.clone(),
            subject,
            track: subject - 1,
            frame: 0,
            bbox: [0.0, 0.0, 9.0, 9.0],
            crop: [0.0, 0.0, 9.0, 9.0],
            score: 0.9,
            origin: "in_pair".into(),
            iou: None,
            image: blob(&format!("{}/sub{subject}.png", own.0)),
        })
        .collect()
}

fn blob(name: &str) -> Blob {
    Blob {
        name: name.to_owned(),
        ..Blob::default()
    }
}

fn heard(own: &Cast) -> impl Iterator<Item = (usize, &Person)> {
    own.1.iter().filter_map(|one| Some((one.voice?, one)))
}

fn voices(own: &Cast) -> Vec<VoiceRef> {
    heard(own)
        .map(|(who, one)| VoiceRef {
            clip: own.0.clone(),
            speaker: speaker(who),
            start: 0.0,
            end: 1.0,
            text: "words".into(),
            language: one.language.into(),
            origin: "source_segment".into(),
            rate: 16_000,
            vector: vector(who),
            embedder: VOICES.into(),
            pitch_hz: None,
            rate_per_second: None,
            similarity: None,
            word_errors: None,
            audio: blob(&format!("{}/{}.wav", own.0, speaker(who))),
        })
        .collect()
}

fn transcript(own: &Cast) -> Transcript {
    let segments = heard(own).map(|(who, one)| Segment {
        speaker: speaker(who),
        text: format!("words of {who}"),
        start: 0.0,
        end: 1.0,
        language: one.language.into(),
    });
    Transcript {
        clip: own.0.clone(),
        segments: segments.collect(),
        audio_caption: Some("A room.".into()),
        origin: "made".into(),
    }
}

fn binding(own: &Cast) -> Binding {
    let subjects = seen(own).map(|(subject, one)| BoundSubject {
        subject,
        speaker: one.voice.map(speaker),
        ..BoundSubject::default()
    });
    let off = own.1.iter().filter(|one| one.face.is_none());
    Binding {
        clip: own.0.clone(),
        subjects: subjects.collect(),
        offscreen: off.filter_map(|one| one.voice.map(speaker)).collect(),
        source: "local".into(),
        ..Binding::default()
    }
}

fn caption(own: &Cast) -> OmniCaption {
    let mut prompt = String::new();
    let mut utterances = Vec::new();
    for (anchor, one) in cast(own) {
        let Some(who) = one.voice else {
            prompt.push_str(&format!("Somebody {anchor} listens. "));
            continue;
        };
        let text = format!("words of {who}");
        prompt.push_str(&format!("Somebody {anchor} says, <S>{text}<E>. "));
        utterances.push(Utterance {
            anchor,
            text,
            start: 0,
            end: 0,
            language: one.language.into(),
        });
    }
    OmniCaption {
        clip: own.0.clone(),
        prompt: prompt.trim_end().to_owned(),
        descriptors: Vec::new(),
        utterances,
    }
}

/// Clips of every kind: `who` counts people up, so that each clip has people of its own.
pub fn corpus() -> Vec<Cast> {
    let mut out: Vec<Cast> = Vec::new();
    let mut who = 0;
    let mut next = || {
        who += 1;
        who - 1
    };
    for i in 0..6 {
        out.push((format!("single_en{i}"), vec![talks(next(), "en")]));
    }
    for i in 0..2 {
        out.push((format!("single_zh{i}"), vec![talks(next(), "zh")]));
    }
    for i in 0..4 {
        out.push((format!("two{i}"), vec![talks(next(), "en"), talks(next(), "en")]));
    }
    for i in 0..3 {
        out.push((format!("off{i}"), vec![talks(next(), "en"), off_screen(next())]));
        out.push((format!("listens{i}"), vec![talks(next(), "en"), silent(next())]));
        out.push((
            format!("languages{i}"),
            vec![talks(next(), "en"), talks(next(), "fr")],
        ));
    }
    out.push(("crowd".into(), (0..3).map(|_| talks(next(), "en")).collect()));
    out.push(("who knows".into(), vec![talks(next(), "und")]));
    out
}

pub fn build<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "bench",
        "cases",
        "build",
        "--from",
        "out",
        "--per-subset",
        "3",
        "--seed",
        "7",
    ];
    base.iter().copied().chain(more.iter().copied()).collect()
}

/// Every file of a folder by its name.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                out.insert(name, fs::read(path).unwrap());
            }
        }
    }
    out
}

pub fn suite(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("suite.json")).unwrap()).unwrap()
}

#[test]
fn a_suite_is_sound_balanced_and_equal_byte_for_byte() {
    let scratch = Scratch::new();
    curated(&scratch.join("out"), &corpus());
    let output = scratch.omni(&build(&["--out", "suite"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("language_not_told 1"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("more_than_two_without_a_trait 1"),
        "{}",
        stderr(&output)
    );
    let check = scratch.omni(&["bench", "cases", "check", "suite/cases.jsonl"]);
    assert_eq!(code(&check), 0, "{}{}", stdout(&check), stderr(&check));
    assert!(stderr(&check).contains("9 sound cases"), "{}", stderr(&check));
    let about = suite(&scratch.join("suite"));
    let singles = &about["balance"]["1"]["languages"];
    assert!(
        singles["zh"].as_u64().unwrap() >= 1,
        "the rare language is there: {singles}"
    );
    let traits = &about["balance"]["3"]["traits"];
    assert_eq!(
        (&traits["off_screen"], &traits["silent"], &traits["multilingual"]),
        (&1.into(), &1.into(), &1.into()),
        "{traits}"
    );
    assert_eq!(code(&scratch.omni(&build(&["--out", "again"]))), 0);
    assert_eq!(files(&scratch.join("suite")), files(&scratch.join("again")));
    let mut other = build(&["--out", "other"]);
    other[8] = "8";
    assert_eq!(code(&scratch.omni(&other)), 0);
    assert_ne!(suite(&scratch.join("other"))["cases"], about["cases"]);
    let names: Vec<String> = files(&scratch.join("suite")).into_keys().collect();
    assert!(names.contains(&"faces/s1-0001.sub1.png".to_owned()), "{names:?}");
    assert!(names.contains(&"voices/s2-0003.sub2.wav".to_owned()), "{names:?}");
}

fn selection(out: &Path, clips: &[&str]) {
    let row = |clip: &&str| Selection {
        clip: (*clip).into(),
        path: format!("{clip}.mp4"),
        subjects: 1,
        speakers: 1,
        languages: vec!["en".into()],
        origin: "in_pair".into(),
        prompt: String::new(),
        licence: None,
        references: Vec::new(),
    };
    let rows: Vec<Selection> = clips.iter().map(row).collect();
    write_part(
        &out.join("select-stage1/selection.parquet"),
        &rows,
        &receipt("select"),
    )
    .unwrap();
}

#[test]
fn nobody_of_the_training_selection_comes_into_a_case() {
    let scratch = Scratch::new();
    let mut casts = corpus();
    // The faces of two singles are trained on in other clips, and the voice of a third.
    let who = |casts: &[Cast], clip: &str| {
        let own = casts.iter().find(|(name, _)| name == clip).unwrap();
        own.1[0].face.unwrap()
    };
    let (a, b, c) = (
        who(&casts, "single_en0"),
        who(&casts, "single_en1"),
        who(&casts, "single_en2"),
    );
    casts.push(("trained_a".into(), vec![talks(a, "en"), talks(b, "en")]));
    casts.push((
        "trained_c".into(),
        vec![Person {
            face: Some(60),
            voice: Some(c),
            language: "en",
        }],
    ));
    let out = scratch.join("out");
    curated(&out, &casts);
    selection(&out, &["trained_a", "trained_c"]);
    let mut all = build(&["--out", "suite", "--disjoint-from", "out/select-stage1"]);
    all[6] = "4";
    let output = scratch.omni(&all);
    // Four dialogues are left beside the trained one; five singles beside three known ones.
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let clips: Vec<String> = suite(&scratch.join("suite"))["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["clip"].as_str().unwrap().to_owned())
        .collect();
    for gone in ["single_en0", "single_en1", "single_en2", "trained_a", "trained_c"] {
        assert!(!clips.contains(&gone.to_owned()), "{gone} in {clips:?}");
    }
    assert!(
        stderr(&output).contains("3 faces and 3 voices"),
        "{}",
        stderr(&output)
    );
    let text = stderr(&output);
    assert!(
        text.contains("known_face") && text.contains("known_voice"),
        "{text}"
    );
    // Too few are left: everything that was found is said, and nothing is written.
    all[6] = "6";
    all[10] = "none";
    let output = scratch.omni(&all);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    for word in [
        "subset 1 (one person who speaks): 6 wanted, 5 there",
        "subset 2 (a dialogue of two who are seen): 6 wanted, 4 there",
        "known_face 4",
        "known_voice 1",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!scratch.join("none").exists());
}

#[test]
fn wrong_usage_is_named() {
    let scratch = Scratch::new();
    curated(&scratch.join("out"), &corpus());
    let expect = |args: &[&str], wanted: i32, words: &[&str]| {
        let output = scratch.omni(args);
        let text = stderr(&output);
        assert_eq!(code(&output), wanted, "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?} should say {word}: {text}");
        }
    };
    expect(
        &["bench", "cases", "build", "--from", "gone", "--out", "suite"],
        3,
        &["gone does not exist"],
    );
    let mut none = build(&["--out", "suite"]);
    none[6] = "0";
    expect(&none, 2, &["--per-subset"]);
    expect(
        &build(&["--out", "suite", "--disjoint-from", "nothing"]),
        3,
        &["nothing does not exist"],
    );
    fs::create_dir(scratch.join("empty")).unwrap();
    expect(
        &build(&["--out", "suite", "--disjoint-from", "empty"]),
        2,
        &["omni select"],
    );
    selection(&scratch.join("out"), &["of another corpus"]);
    expect(
        &build(&["--out", "suite", "--disjoint-from", "out/select-stage1"]),
        2,
        &["of another corpus", "--training-run DIR"],
    );
    scratch.write("full/note.txt", "mine");
    expect(&build(&["--out", "full"]), 2, &["full", "new folder"]);
    assert_eq!(fs::read_dir(scratch.join("full")).unwrap().count(), 1);
}

#[test]
fn the_examples_of_the_help_run() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let mut casts = corpus();
    casts.push(("trained".into(), vec![talks(63, "en")]));
    curated(&out, &casts);
    selection(&out, &["trained"]);
    let help = stdout(&scratch.omni(&["bench", "cases", "build", "--help"]));
    let start = "omni bench cases build --from";
    let examples: Vec<&str> = help
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(start))
        .collect();
    assert_eq!(examples.len(), 2, "{help}");
    for example in examples {
        // The made corpus has three clips of a kind, not a hundred.
        let mut words: Vec<&str> = example.split_whitespace().skip(1).collect();
        match words.iter().position(|word| *word == "100") {
            Some(at) => words[at] = "3",
            None => words.extend(["--per-subset", "3"]),
        }
        let output = scratch.omni(&words);
        assert_eq!(code(&output), 0, "{example}: {}", stderr(&output));
    }
    assert!(scratch.join("suite/cases.jsonl").is_file() && scratch.join("unseen/cases.jsonl").is_file());
}
