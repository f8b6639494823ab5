//! What must hold on real clips with real networks, where both are on this machine. What is true of every clip was
//! established by eye and ear by the people who collected them.

use crate::common;
use common::{Scratch, code, shared, stderr, stdout, store};
use serde_json::Value;
use std::{collections::BTreeMap, sync::OnceLock};

/// Clip, people in it (by name), words spoken by whom ("left", "right", "middle", "off", "only").
const CLIPS: &[(&str, usize)] = &[
    ("dialogue_bbaf2n_lwbsza.mp4", 2),
    ("distractor_lbbc2a_sbia1a.mp4", 2),
    ("dreamid_luther_aristotle.mp4", 2),
    ("early200ms_lrwp9a.mp4", 1),
    ("grid_bbaf2n.mpg", 1),
    ("grid_lbbc2a.mpg", 1),
    ("grid_lrwp9a.mpg", 1),
    ("grid_lwbsza.mpg", 1),
    ("grid_pwij3p.mpg", 1),
    ("grid_sbia1a.mpg", 1),
    ("grid_swwp2s.mpg", 1),
    ("late200ms_lrwp9a.mp4", 1),
    ("offscreen_sbia1a_lbbc2a.mp4", 1),
    ("ovi_kitchen_two_women.mp4", 2),
    ("ovi_stage_three_men.mp4", 3),
    ("ovi_two_men_dark.mp4", 2),
];

const WORDS: &[(&str, &str)] = &[
    (
        "dialogue_bbaf2n_lwbsza.mp4",
        "bin blue at f two now lay white by s zero again",
    ),
    ("distractor_lbbc2a_sbia1a.mp4", "lay blue by c two again"),
    ("grid_bbaf2n.mpg", "bin blue at f two now"),
    ("grid_lbbc2a.mpg", "lay blue by c two again"),
    ("grid_lrwp9a.mpg", "lay red with p nine again"),
    ("grid_lwbsza.mpg", "lay white by s zero again"),
    ("grid_pwij3p.mpg", "place white in j three please"),
    ("grid_sbia1a.mpg", "set blue in a one again"),
    ("grid_swwp2s.mpg", "set white with p two soon"),
    ("offscreen_sbia1a_lbbc2a.mp4", "lay blue by c two again"),
    ("ovi_kitchen_two_women.mp4", "AI declares: humans obsolete now."),
    (
        "ovi_stage_three_men.mp4",
        "Circuits choose conquest, not service.",
    ),
    (
        "ovi_two_men_dark.mp4",
        "continue to be a smart ass, and Tirani here will kill you like he wants to.",
    ),
];

struct Done {
    scratch: Scratch,
    profile: &'static str,
}

/// One run per profile for all tests of this file.
fn run(profile: &'static str) -> Option<&'static Done> {
    static OPEN: OnceLock<Option<Done>> = OnceLock::new();
    static RESEARCH: OnceLock<Option<Done>> = OnceLock::new();
    let cell = if profile == "open" { &OPEN } else { &RESEARCH };
    cell.get_or_init(|| make(profile)).as_ref()
}

fn make(profile: &'static str) -> Option<Done> {
    let videos = shared("media/videos")?;
    let store = store()?;
    if profile == "research" && !store.join("models/scrfd_500m").is_dir() {
        println!("skipped: the research profile is not here; run `omni models pull --profile research`");
        return None;
    }
    let scratch = Scratch::new();
    let root = videos.to_str().unwrap();
    let args = [
        "curate",
        "--source",
        "folder",
        "--root",
        root,
        "--out",
        "out",
        "--profile",
        profile,
    ];
    let output = scratch.omni(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    Some(Done { scratch, profile })
}

impl Done {
    fn rows(&self, record: &str) -> Vec<Value> {
        let output = self.scratch.omni(&["show", "out", record, "--json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn by_clip(&self, record: &str) -> BTreeMap<String, Vec<Value>> {
        let mut clips: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in self.rows(record) {
            clips
                .entry(row["clip"].as_str().unwrap().to_owned())
                .or_default()
                .push(row);
        }
        clips
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.scratch.join("out/summary.json")).unwrap())
            .unwrap()
    }
}

/// Mean horizontal centre of a subject's faces.
fn centre(tracks: &[Value], subject: i64) -> f64 {
    let frames: Vec<f64> = tracks
        .iter()
        .filter(|track| track["subject"] == subject)
        .flat_map(|track| track["frames"].as_array().unwrap())
        .map(|frame| (frame["box"][0].as_f64().unwrap() + frame["box"][2].as_f64().unwrap()) / 2.0)
        .collect();
    frames.iter().sum::<f64>() / frames.len() as f64
}

/// Everything that must hold of one run, in one test a profile, so that the run is made once a process.
fn everything(profile: &'static str) {
    if run(profile).is_none() {
        return;
    }
    people_are_counted(profile);
    the_right_face_gets_the_voice(profile);
    words_are_read(profile);
    identities(profile);
    cuts(profile);
    sums(profile);
}

#[test]
fn open_profile() {
    everything("open");
}

#[test]
fn research_profile() {
    everything("research");
}

fn people_are_counted(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let tracks = done.by_clip("track");
    let wrong: Vec<String> = CLIPS
        .iter()
        .filter_map(|(clip, people)| {
            let rows = tracks.get(*clip).cloned().unwrap_or_default();
            let mut subjects: Vec<i64> = rows.iter().map(|row| row["subject"].as_i64().unwrap()).collect();
            subjects.sort_unstable();
            subjects.dedup();
            (subjects.len() != *people).then(|| format!("{clip}: {} people, not {people}", subjects.len()))
        })
        .collect();
    assert!(wrong.is_empty(), "{profile}: {wrong:?}");
    for clip in ["flower_no_person.mp4", "mova_cat_no_person.mp4"] {
        assert!(!tracks.contains_key(clip), "{profile}: a track on {clip}");
    }
}

fn the_right_face_gets_the_voice(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let (tracks, bindings, transcripts) = (
        done.by_clip("track"),
        done.by_clip("binding"),
        done.by_clip("transcript"),
    );
    // Of each clip: who speaks, as ranks from the left, in order of speech; none: off-screen.
    let expected: [(&str, &[Option<usize>]); 5] = [
        ("dialogue_bbaf2n_lwbsza.mp4", &[Some(0), Some(1)]),
        ("ovi_kitchen_two_women.mp4", &[Some(1)]),
        ("ovi_two_men_dark.mp4", &[Some(0)]),
        ("ovi_stage_three_men.mp4", &[Some(1)]),
        ("offscreen_sbia1a_lbbc2a.mp4", &[None]),
    ];
    for (clip, faces) in expected {
        let (binding, transcript) = (&bindings[clip][0], &transcripts[clip][0]);
        let mut order: Vec<i64> = binding["subjects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["subject"].as_i64().unwrap())
            .collect();
        order.sort_by(|a, b| centre(&tracks[clip], *a).total_cmp(&centre(&tracks[clip], *b)));
        let mut speakers: Vec<&str> = Vec::new();
        for segment in transcript["segments"].as_array().unwrap() {
            let speaker = segment["speaker"].as_str().unwrap();
            if !speakers.contains(&speaker) {
                speakers.push(speaker);
            }
        }
        let found: Vec<Option<usize>> = speakers
            .iter()
            .map(|speaker| {
                let mut rows = binding["subjects"].as_array().unwrap().iter();
                let face = rows.find(|row| row["speaker"] == *speaker)?["subject"].as_i64()?;
                order.iter().position(|subject| *subject == face)
            })
            .collect();
        assert_eq!(found, faces, "{profile}: {clip}: {binding}");
    }
    let distractor = &bindings["distractor_lbbc2a_sbia1a.mp4"][0];
    let right = distractor["subjects"].as_array().unwrap().iter().max_by(|a, b| {
        let x = |row: &Value| {
            centre(
                &tracks["distractor_lbbc2a_sbia1a.mp4"],
                row["subject"].as_i64().unwrap(),
            )
        };
        x(a).total_cmp(&x(b))
    });
    let margin = right.and_then(|row| row["margin"].as_f64());
    assert!(
        margin.is_none_or(|margin| margin < 1.5),
        "{profile}: {distractor}"
    );
}

fn words_are_read(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let transcripts = done.by_clip("transcript");
    let mut rates = Vec::new();
    for (clip, words) in WORDS {
        let segments = transcripts[*clip][0]["segments"].as_array().unwrap().clone();
        let text: Vec<&str> = segments
            .iter()
            .map(|segment| segment["text"].as_str().unwrap())
            .collect();
        let heard = separate_letters(&text.join(" "));
        let rate = omni_perception::text::score("en", words, &heard).errors.rate();
        println!("{profile} {clip} {rate:.2} {heard:?}");
        rates.push(rate);
    }
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    println!("{profile}: mean WER {mean:.3} over {} clips", rates.len());
    assert!(mean <= 0.30, "{profile}: mean WER {mean:.3}");
}

/// "F2" is read as "F 2": the corpus says a letter and a digit, recognisers write them as one word.
fn separate_letters(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let alone = index < 2 || !letters[index - 2].is_alphanumeric();
        if letter.is_ascii_digit() && index > 0 && letters[index - 1].is_ascii_alphabetic() && alone {
            out.push(' ');
        }
        out.push(*letter);
    }
    out
}

fn identities(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let output = done.scratch.omni(&["pool", "--from", "out", "--to", "people"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = done.scratch.omni(&["show", "people", "identity", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mut identity_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in stdout(&output).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        for member in row["members"].as_array().unwrap() {
            let clip = member["clip"].as_str().unwrap().to_owned();
            identity_of
                .entry(clip)
                .or_default()
                .push(row["identity"].as_str().unwrap().to_owned());
        }
    }
    let single = |clip: &str| identity_of[clip][0].clone();
    assert_eq!(
        single("grid_pwij3p.mpg"),
        single("grid_swwp2s.mpg"),
        "{profile}: one man is two"
    );
    let people = ["bbaf2n", "lbbc2a", "lrwp9a", "lwbsza", "pwij3p", "sbia1a"];
    let mut names: Vec<String> = people
        .iter()
        .map(|name| single(&format!("grid_{name}.mpg")))
        .collect();
    for clip in [
        "ovi_kitchen_two_women.mp4",
        "ovi_stage_three_men.mp4",
        "ovi_two_men_dark.mp4",
    ] {
        names.extend(identity_of[clip].clone());
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{profile}: two people are one");
}

/// Cuts of `tears_of_steel_battle.webm`: found with FFmpeg's scene score above 0.3 and confirmed by looking at the
/// pictures on both sides. A number is the first picture of a new shot.
fn cuts(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let fixture = include_str!("fixtures/tears_of_steel_cuts.txt");
    let cuts: Vec<i64> = fixture
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    assert!(cuts.len() > 15);
    for track in done
        .by_clip("track")
        .get("tears_of_steel_battle.webm")
        .into_iter()
        .flatten()
    {
        let frames: Vec<i64> = track["frames"]
            .as_array()
            .unwrap()
            .iter()
            .map(|frame| frame["frame"].as_i64().unwrap())
            .collect();
        let (first, last) = (frames[0], frames[frames.len() - 1]);
        for cut in &cuts {
            assert!(
                !(first < *cut && *cut <= last),
                "{profile}: track {} crosses the cut at {cut}",
                track["track"]
            );
        }
    }
}

fn sums(profile: &'static str) {
    let Some(done) = run(profile) else { return };
    let summary = done.summary();
    let dropped: u64 = summary["dropped"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(
        summary["listed"].as_u64().unwrap(),
        summary["kept"].as_u64().unwrap() + dropped,
        "{summary}"
    );
    // The cat has a face that is no person's; the flower's sound track is digital silence, so `probe` is first.
    let reason = |name: &str| summary["dropped"][name].as_u64().unwrap_or(0);
    assert_eq!(
        (reason("no_face"), reason("silent")),
        (1, 1),
        "{}: {summary}",
        done.profile
    );
    let captions = done.rows("omni_caption");
    assert_eq!(captions.len() as u64, summary["kept"].as_u64().unwrap());
    for row in captions {
        let prompt: Vec<char> = row["prompt"].as_str().unwrap().chars().collect();
        for said in row["utterances"].as_array().unwrap() {
            let (start, end) = (
                said["start"].as_u64().unwrap() as usize,
                said["end"].as_u64().unwrap() as usize,
            );
            assert_eq!(
                prompt[start..end].iter().collect::<String>(),
                said["text"].as_str().unwrap()
            );
            assert_eq!(prompt[start - 3..start].iter().collect::<String>(), "<S>");
        }
    }
    both_used(done);
}

/// A second run of the same command writes no part.
fn both_used(done: &Done) {
    let before = parts(done);
    let videos = shared("media/videos").unwrap();
    let args = [
        "curate",
        "--source",
        "folder",
        "--root",
        videos.to_str().unwrap(),
        "--out",
        "out",
        "--profile",
    ];
    let output = done.scratch.omni(&[&args[..], &[done.profile]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(before, parts(done), "a second run wrote a part");
    assert!(!before.is_empty());
}

/// Every part with its inode and time of change.
fn parts(done: &Done) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for folder in std::fs::read_dir(done.scratch.join("out")).unwrap().flatten() {
        if !folder.path().is_dir() || folder.file_name() == "log" {
            continue;
        }
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            if file.file_name().to_string_lossy().starts_with("part-") {
                let about = file.metadata().unwrap();
                found.push((file.path(), about.ino(), about.modified().unwrap()));
            }
        }
    }
    found.sort();
    found
}
