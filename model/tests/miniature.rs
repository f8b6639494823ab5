//! The made-up world of the example `miniature`, that its readings read what is there, and that its results are what is asked for.

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/miniature/readings.rs"]
mod readings;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/miniature/results.rs"]
mod results;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/miniature/rows.rs"]
mod rows;
#[path = "../examples/miniature/samples.rs"]
mod samples;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/miniature/world.rs"]
mod world;

use candle_core::{Device, Tensor};
use omni_model::{
    net::Latents,
    train::{Draw, Sample, Samples},
};
use readings::read;
use results::Settings;
use rows::Row;
use samples::World;
use std::path::Path;
use world::{CHANNELS, Clip, GRID, Kind, LENGTH, SOUND, STARTS, phoneme_of, say};

fn truth(sample: &Sample) -> Latents {
    Latents {
        video: sample.video.clone(),
        audio: Some(sample.audio.clone()),
    }
}

/// All values of a reading over the first clips of a kind, with latents that `of` makes of each.
fn all(kind: Kind, name: &str, of: impl Fn(&Clip, &Sample, u64) -> Latents) -> Vec<f64> {
    let values = (0..60).flat_map(|number| {
        let clip = Clip::new(kind, number).unwrap();
        let latents = of(&clip, &clip.sample(kind, number).unwrap(), number);
        let found = read(&clip, &latents, number).unwrap().0;
        found.get(name).cloned().unwrap_or_default()
    });
    values.collect()
}

fn mean(values: &[f64]) -> f64 {
    assert!(values.len() >= 20, "{} values", values.len());
    values.iter().sum::<f64>() / values.len() as f64
}

const GOOD: [&str; 7] = [
    "face_picked",
    "face_side",
    "voice_picked",
    "voice_turn",
    "mouth_side",
    "bound",
    "turned_as_asked",
];

#[test]
fn the_truth_reads_as_the_truth_and_noise_as_chance() {
    let noise = |_: &Clip, sample: &Sample, number: u64| {
        let of = |name: &str, like: &Tensor| Draw::new(5, 0, number).noise(name, like.dims()).unwrap();
        Latents {
            video: sample.video.as_ref().map(|video| of("video", video)),
            audio: Some(of("audio", &sample.audio)),
        }
    };
    for kind in [Kind::Test, Kind::TestWords, Kind::TestPlain] {
        for name in GOOD {
            assert_eq!(
                mean(&all(kind, name, |_, sample, _| truth(sample))),
                1.0,
                "{name}"
            );
            let chance = mean(&all(kind, name, noise));
            assert!((0.02..0.7).contains(&chance), "{name} of noise: {chance}");
        }
        for name in ["phoneme_errors", "speech_outside", "caption_leak"] {
            assert_eq!(
                mean(&all(kind, name, |_, sample, _| truth(sample))),
                0.0,
                "{name}"
            );
        }
        assert!(mean(&all(kind, "phoneme_errors", noise)) > 0.8);
        assert!(mean(&all(kind, "speech_outside", noise)) > 0.8);
    }
}

#[test]
fn people_who_changed_places_or_voices_are_seen_and_heard() {
    // left and right halves of the picture swapped
    let mirrored = |_: &Clip, sample: &Sample, _: u64| {
        let video = sample.video.as_ref().unwrap();
        let half = GRID[2] / 2;
        let (left, right) = (
            video.narrow(3, 0, half).unwrap(),
            video.narrow(3, half, half).unwrap(),
        );
        Latents {
            video: Some(Tensor::cat(&[right, left], 3).unwrap()),
            audio: Some(sample.audio.clone()),
        }
    };
    for name in ["face_side", "mouth_side", "bound"] {
        assert_eq!(mean(&all(Kind::Test, name, mirrored)), 0.0, "{name}");
    }
    assert_eq!(mean(&all(Kind::Test, "voice_turn", mirrored)), 1.0);
    // every utterance by whoever is not meant to say it
    let exchanged = |clip: &Clip, sample: &Sample, number: u64| {
        let mut other = clip.clone();
        let count = other.people.len();
        other
            .said
            .iter_mut()
            .for_each(|said| said.who = (said.who + 1) % count);
        let audio = other.sample(Kind::Test, number).unwrap().audio;
        Latents {
            audio: Some(audio),
            ..truth(sample)
        }
    };
    for name in ["voice_turn", "bound"] {
        assert_eq!(mean(&all(Kind::Test, name, exchanged)), 0.0, "{name}");
    }
    assert_eq!(mean(&all(Kind::Test, "phoneme_errors", exchanged)), 0.0);
}

#[test]
fn a_caption_that_is_said_in_the_free_slot_is_a_leak() {
    let leaking = |clip: &Clip, sample: &Sample, _: u64| {
        let values = sample.audio.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut values: Vec<f64> = values.into_iter().map(f64::from).collect();
        if clip.said.len() == 1 {
            let caption: Vec<usize> = clip.caption.iter().map(|word| phoneme_of(*word)).collect();
            let identity = &clip.people[0].identity;
            say(&mut values[STARTS[1] * SOUND..], identity, &caption).unwrap();
        }
        Latents {
            audio: Some(
                Tensor::from_vec(values, (LENGTH, SOUND), &Device::Cpu)
                    .unwrap()
                    .to_dtype(candle_core::DType::F32)
                    .unwrap(),
            ),
            ..truth(sample)
        }
    };
    assert!(mean(&all(Kind::Test, "caption_leak", leaking)) > 0.05);
    assert!(mean(&all(Kind::Test, "speech_outside", leaking)) > 0.2);
}

#[test]
fn rows_whose_captions_are_said_differ_in_that_alone_and_it_is_read_as_a_leak() {
    let row = |name: &str| Row::named(name).unwrap();
    let said = row("captions-said");
    assert_eq!((said.masked, row("captions-said-unmasked").masked), (true, false));
    let stages = |row: Row| row.stages(1, 4).unwrap();
    let kinds = [Kind::Single, Kind::Multi, Kind::Cross];
    for ((stage, plain), kind) in stages(said).iter().zip(stages(row("curriculum"))).zip(kinds) {
        assert_eq!(stage.world.entries(), plain.world.entries());
        let (mut silent, mut leaks) = (Vec::new(), Vec::new());
        let (mut free, mut said_here) = (0, 0);
        for number in 0..60 {
            let clip = Clip::new(kind, number).unwrap();
            // absent where all phonemes of the caption are said anyhow
            let leak = |sample: &Sample| {
                let found = read(&clip, &truth(sample), number).unwrap().0;
                found.get("caption_leak").cloned().unwrap_or_default()
            };
            let [with, without] =
                [&stage.world, &plain.world].map(|world| world.load(number as usize).unwrap());
            // pictures, prompt and references are the same to the byte, and what is said stands where it stood
            let quiet = Sample {
                audio: without.audio.clone(),
                ..with.clone()
            };
            assert_eq!(quiet.to_bytes().unwrap(), without.to_bytes().unwrap());
            assert_eq!(
                read(&clip, &truth(&with), number).unwrap().0["phoneme_errors"],
                vec![0.0; 2 * clip.said.len()]
            );
            free += if clip.said.len() == 1 { 1 } else { 0 };
            if with.to_bytes().unwrap() != without.to_bytes().unwrap() {
                assert_eq!(clip.said.len(), 1);
                silent.extend(leak(&without));
                said_here += 1;
                leaks.extend(leak(&with));
            }
        }
        assert!(
            4 * said_here > free && 4 * said_here < 3 * free,
            "{said_here} of {free}"
        );
        assert!(leaks.len() > said_here / 2, "{} of {said_here}", leaks.len());
        assert!(silent.iter().all(|leak| *leak == 0.0), "{silent:?}");
        assert!(leaks.iter().all(|leak| *leak > 0.1), "{leaks:?}");
    }
    // utterances without pictures have no caption
    let speech = stages(said)[0]
        .world
        .entries()
        .iter()
        .position(|entry| !entry.video)
        .unwrap();
    let [with, without] =
        [said, row("curriculum")].map(|row| stages(row)[0].world.load(speech).unwrap().to_bytes().unwrap());
    assert_eq!(with, without);
}

#[test]
fn equal_numbers_give_equal_clips_and_tests_have_people_and_recordings_of_their_own() {
    let bytes = |kind, number| {
        let clip = Clip::new(kind, number).unwrap();
        clip.sample(kind, number).unwrap().to_bytes().unwrap()
    };
    assert_eq!(bytes(Kind::Cross, 3), bytes(Kind::Cross, 3));
    assert_ne!(bytes(Kind::Cross, 3), bytes(Kind::Cross, 4));
    let people = |kind, count: u64| -> Vec<Vec<f64>> {
        let clips = (0..count).map(|number| Clip::new(kind, number).unwrap());
        clips
            .flat_map(|clip| clip.people.into_iter().map(|person| person.identity.face))
            .collect()
    };
    let trained = people(Kind::Cross, 400);
    for face in people(Kind::Test, 60).iter().chain(&people(Kind::TestWords, 60)) {
        assert!(!trained.contains(face));
    }
    let world = World::new(&[
        (Kind::Single, 5),
        (Kind::Cross, 5),
        (Kind::Speech, 5),
        (Kind::Plain, 5),
    ])
    .unwrap();
    for (index, entry) in world.entries().iter().enumerate() {
        let sample = world.load(index).unwrap();
        assert_eq!(sample.entry(), *entry);
        assert_eq!(entry.own_reference, entry.id.starts_with("single"));
        assert_eq!(sample.video.is_none(), entry.id.starts_with("speech"));
        let referenced = sample.subjects.iter().all(|subject| subject.voice.is_some());
        assert_eq!(referenced, !entry.id.starts_with("plain"), "{}", entry.id);
        if let Some(video) = sample.video {
            assert_eq!(video.dims(), [CHANNELS, GRID[0], GRID[1], GRID[2]]);
        }
    }
}

#[test]
fn a_result_is_done_for_its_own_settings_and_refused_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let (first, row) = (
        folder.path().join("backbone-0.json"),
        folder.path().join("ocf-1.json"),
    );
    let backbone = Settings::new("backbone", 0, 2000, 48);
    assert!(!backbone.made(&first).unwrap());
    backbone.write(&first, serde_json::Map::new()).unwrap();
    assert!(backbone.made(&first).unwrap());
    let refused = |settings: &Settings, path: &Path, words: &[&str]| {
        let error = settings.made(path).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no `{word}` in: {error}");
        }
    };
    let (steps, clips) = (
        Settings::new("backbone", 0, 150, 48),
        Settings::new("backbone", 0, 2000, 4),
    );
    refused(&steps, &first, &["backbone-0.json", "2000 steps", "150 steps"]);
    refused(&clips, &first, &["backbone-0.json", "48 clips", "4 clips"]);

    let ocf = |from: &Path| Settings::new("ocf", 1, 100, 48).begun_from(from);
    ocf(&first).unwrap().write(&row, serde_json::Map::new()).unwrap();
    assert!(ocf(&first).unwrap().made(&row).unwrap());
    // the same row from another backbone
    steps.write(&first, serde_json::Map::new()).unwrap();
    refused(
        &ocf(&first).unwrap(),
        &row,
        &["ocf-1.json", "2000 steps", "150 steps"],
    );
    let no_backbone = ocf(&row).unwrap_err().to_string();
    assert!(
        no_backbone.contains("a row begins from a backbone"),
        "{no_backbone}"
    );
    assert!(ocf(&folder.path().join("none.json")).is_err());

    std::fs::write(&row, r#"{"row": "ocf", "steps": 100}"#).unwrap();
    refused(
        &ocf(&first).unwrap(),
        &row,
        &["ocf-1.json does not say with which settings"],
    );
}
