use super::*;
use omni_schemas::{
    Binding, Blob, BoundSubject, Claim, Clip, CrossCheck, FaceRef, Identity, NamedScore, Score, Segment,
    Transcript, VoiceRef,
};

const GUARD: Thresholds = Thresholds {
    face: 0.5,
    voice: 0.5,
};

fn clip(name: &str) -> Clip {
    Clip {
        clip: name.into(),
        path: format!("{name}.mp4"),
        start: None,
        end: None,
        width: 640,
        height: 360,
        fps: 25.0,
        fps_num: 25,
        fps_den: 1,
        frames: 75,
        seconds: 3.0,
        rotation: 0,
        video_codec: "h264".into(),
        audio_codec: "aac".into(),
        audio_rate: 44_100,
        audio_channels: 2,
        audio_seconds: 3.0,
        loudness: Some(-23.0),
        peak: 0.5,
        bytes: 1000,
        identity: "0".into(),
        source_video: None,
        caption: None,
        scores: vec![NamedScore {
            name: "aesthetic".into(),
            value: 5.0,
        }],
        licence: None,
    }
}

fn face_ref(subject: i64) -> FaceRef {
    FaceRef {
        clip: "c".into(),
        subject,
        track: subject - 1,
        frame: 0,
        bbox: [10.0, 10.0, 70.0, 90.0],
        crop: [0.0, 0.0, 80.0, 100.0],
        score: 0.9,
        origin: "in_pair".into(),
        iou: None,
        image: Blob::default(),
    }
}

fn voice_ref(speaker: &str, vector: &[f64]) -> VoiceRef {
    VoiceRef {
        clip: "c".into(),
        speaker: speaker.into(),
        start: 0.5,
        end: 2.0,
        text: "hello".into(),
        language: "en".into(),
        origin: "source_segment".into(),
        rate: 16_000,
        vector: vector.to_vec(),
        embedder: "voice#1".into(),
        pitch_hz: None,
        rate_per_second: None,
        similarity: None,
        word_errors: None,
        audio: Blob::default(),
    }
}

fn segment(speaker: &str, language: &str) -> Segment {
    Segment {
        speaker: speaker.into(),
        text: "hello".into(),
        start: 0.5,
        end: 2.0,
        language: language.into(),
    }
}

/// A clip with people; each `(face vector, speaker)`.
fn people(name: &str, who: &[([f64; 3], Option<&str>)]) -> Candidate {
    let mut one = Candidate::new(clip(name));
    let mut subjects = Vec::new();
    let mut segments = Vec::new();
    for (number, (vector, speaker)) in (1..).zip(who) {
        one.faces.push(FaceVector {
            subject: number,
            vector: vector.to_vec(),
        });
        one.face_refs.push(face_ref(number));
        subjects.push(BoundSubject {
            subject: number,
            speaker: speaker.map(Into::into),
            ..BoundSubject::default()
        });
        if let Some(speaker) = speaker {
            segments.push(segment(speaker, "en"));
            one.voice_refs.push(voice_ref(speaker, &[0.0, 1.0]));
        }
    }
    one.transcript = Some(Transcript {
        clip: name.into(),
        segments,
        audio_caption: None,
        origin: "t".into(),
    });
    one.binding = Some(Binding {
        clip: name.into(),
        subjects,
        source: "local".into(),
        ..Binding::default()
    });
    one.prompt = Some("<sub1> speaks".into());
    one
}

fn single(name: &str) -> Candidate {
    people(name, &[([1.0, 0.0, 0.0], Some("S1"))])
}

fn pair(name: &str) -> Candidate {
    people(name, &[([1.0, 0.0, 0.0], Some("S1")), ([0.0, 1.0, 0.0], None)])
}

fn recipe(text: &str) -> Recipe {
    Recipe::parse(text).unwrap()
}

/// The rules one clip fails under a recipe.
fn rules(recipe: &Recipe, held: &HeldOut, clip: Candidate) -> Vec<String> {
    let (_, report) = select(recipe, held, [clip]).unwrap();
    report.total.into_keys().collect()
}

fn identity(face: &[f64], voice: &[f64]) -> Identity {
    Identity {
        identity: "x".into(),
        members: Vec::new(),
        face: face.to_vec(),
        voice: voice.to_vec(),
    }
}

#[test]
fn the_compiled_in_recipes_part_singles_from_groups() {
    let clips = || [pair("b"), single("a"), people("c", &[([1.0, 0.0, 0.0], None)])];
    let taken = |name: &str| {
        let recipe = recipe(built_in(name).unwrap());
        assert_eq!(recipe.name, name);
        let (rows, report) = select(&recipe, &HeldOut::nobody(), clips()).unwrap();
        assert_eq!(report.seen, 3);
        assert_eq!(report.first.values().sum::<u64>(), report.seen - report.taken);
        rows.into_iter().map(|row| row.clip).collect::<Vec<_>>()
    };
    assert_eq!(taken("stage1"), ["a"]);
    assert_eq!(taken("stage2"), ["b"]);
}

#[test]
fn every_rule_has_its_own_count() {
    let none = HeldOut::nobody();
    let off_screen = || {
        let mut clip = single("a");
        clip.transcript
            .as_mut()
            .unwrap()
            .segments
            .push(segment("S2", "de"));
        clip
    };
    assert_eq!(
        rules(
            &recipe("speakers = { max = 1 }\nrequire_bound = false"),
            &none,
            off_screen()
        ),
        ["speakers"]
    );
    assert_eq!(rules(&recipe(""), &none, off_screen()), ["unbound"]);
    let english = recipe("languages = ['en']\nrequire_bound = false");
    assert_eq!(rules(&english, &none, off_screen()), ["languages"]);
    assert_eq!(
        rules(&recipe("origin = 'cross_pair'"), &none, single("a")),
        ["origin"]
    );
    assert_eq!(
        rules(&recipe("[subjects]\nmin = 2"), &none, single("a")),
        ["subjects"]
    );
    let mut bare = single("a");
    (bare.face_refs, bare.prompt) = (Vec::new(), None);
    assert_eq!(rules(&recipe(""), &none, bare), ["no_prompt", "references"]);
}

#[test]
fn minima_read_the_corpus_scores_and_our_own() {
    let none = HeldOut::nobody();
    let asks = |text: &str| rules(&recipe(&format!("[minimum]\n{text}")), &none, single("a"));
    assert!(asks("aesthetic = 5.0\nseconds = 3.0\nface_side = 60\nvoice_seconds = 1.5").is_empty());
    assert_eq!(asks("aesthetic = 5.1"), ["minimum:aesthetic"]);
    assert_eq!(asks("loudness = -20"), ["minimum:loudness"]);
    assert_eq!(asks("technical_score = 0"), ["minimum:technical_score:absent"]);
    assert!(
        asks("binding_margin = 3.0").is_empty(),
        "a voice without a rival has no margin to miss"
    );
    let loud = recipe("maximum.peak = 0.4");
    assert_eq!(rules(&loud, &none, single("a")), ["maximum:peak"]);
}

#[test]
fn a_margin_limits_when_there_was_a_rival() {
    let mut clip = pair("a");
    clip.binding.as_mut().unwrap().subjects[0].margin = Some(0.4);
    let asks = |least: f64| {
        let recipe = recipe(&format!("minimum.binding_margin = {least}"));
        rules(&recipe, &HeldOut::nobody(), clip.clone())
    };
    assert!(asks(0.4).is_empty());
    assert_eq!(asks(0.5), ["minimum:binding_margin"]);
}

#[test]
fn agreement_and_its_margin_limit_and_a_claim_of_a_service_has_no_other_margin() {
    let mut clip = single("a");
    let asks = |rule: &str, clip: &Candidate| {
        let recipe = recipe(&format!("minimum.{rule}"));
        rules(&recipe, &HeldOut::nobody(), clip.clone())
    };
    assert_eq!(asks("agreement = 0.0", &clip), ["minimum:agreement:absent"]);
    clip.cross_check = Some(CrossCheck {
        agreement: Some(0.5),
        margin: Some(-1.0),
        ..CrossCheck::default()
    });
    assert!(asks("agreement = 0.5", &clip).is_empty());
    assert_eq!(asks("agreement = 0.6", &clip), ["minimum:agreement"]);
    assert_eq!(
        asks("agreement_margin = 0.0", &clip),
        ["minimum:agreement_margin"]
    );
    assert!(asks("binding_margin = 1.0", &clip).is_empty());
    clip.binding.as_mut().unwrap().claim = Some(Claim::default());
    assert_eq!(
        asks("binding_margin = 1.0", &clip),
        ["minimum:binding_margin:absent"]
    );
}

#[test]
fn a_score_no_clip_has_is_reported_with_those_there_are() {
    let recipe = recipe("minimum.astehtic = 5.0");
    let (rows, report) = select(&recipe, &HeldOut::nobody(), [single("a"), single("b")]).unwrap();
    assert!(rows.is_empty());
    assert_eq!(report.never_measured, ["astehtic"]);
    assert!(report.measured.contains("aesthetic") && report.measured.contains("seconds"));
    assert_eq!(report.first["minimum:astehtic:absent"], 2);
}

#[test]
fn a_reading_limits_by_its_full_name_and_one_that_could_not_be_made_is_known_and_missed() {
    let reading = |name: &str, value| Score {
        reading: name.into(),
        value,
        ..Score::default()
    };
    let scores = vec![reading("tf", Some(0.98)), reading("iq@net", None)];
    let clip = single("a").with_scores(scores);
    let asks = |rule: &str| rules(&recipe(rule), &HeldOut::nobody(), clip.clone());
    assert!(asks("minimum.tf = 0.98").is_empty());
    assert_eq!(asks("minimum.tf = 0.99"), ["minimum:tf"]);
    assert_eq!(asks("maximum.tf = 0.9"), ["maximum:tf"]);
    assert_eq!(asks("minimum.'iq@net' = 0.0"), ["minimum:iq@net:absent"]);
    // Without its network it is another reading, which nobody made.
    assert_eq!(asks("minimum.iq = 0.0"), ["minimum:iq:absent"]);
    let report = |rule: &str| {
        select(&recipe(rule), &HeldOut::nobody(), [clip.clone()])
            .unwrap()
            .1
    };
    assert!(report("minimum.'iq@net' = 0.0").never_measured.is_empty());
    assert_eq!(report("minimum.iq = 0.0").never_measured, ["iq"]);
}

#[test]
fn held_out_faces_and_voices_never_come_through() {
    let recipe = recipe("");
    let by_face = HeldOut::new([identity(&[0.9, 0.1, 0.0], &[])], GUARD).unwrap();
    assert_eq!(rules(&recipe, &by_face, single("a")), ["hold_out:face"]);
    let stranger = people("b", &[([0.0, 0.0, 1.0], Some("S1"))]);
    assert!(rules(&recipe, &by_face, stranger.clone()).is_empty());
    let by_voice = HeldOut::new([identity(&[], &[0.1, 2.0])], GUARD).unwrap();
    assert_eq!(rules(&recipe, &by_voice, stranger.clone()), ["hold_out:voice"]);
    let mut second_track = stranger.clone();
    second_track.faces.push(FaceVector {
        subject: 1,
        vector: vec![1.0, 0.0, 0.0],
    });
    assert_eq!(rules(&recipe, &by_face, second_track), ["hold_out:face"]);
}

#[test]
fn a_clip_that_cannot_be_compared_does_not_pass_the_guard() {
    let recipe = recipe("");
    let held = HeldOut::new([identity(&[0.0, 0.0, 1.0], &[1.0, 0.0])], GUARD).unwrap();
    let mut faceless = single("a");
    faceless.faces[0].vector.clear();
    assert_eq!(rules(&recipe, &held, faceless), ["hold_out:unknown_face"]);
    let mut voiceless = single("a");
    voiceless.voice_refs[0].vector.clear();
    assert!(
        rules(&recipe, &held, voiceless.clone()).is_empty(),
        "its face was compared"
    );
    let voices = HeldOut::new([identity(&[], &[1.0, 0.0])], GUARD).unwrap();
    assert_eq!(rules(&recipe, &voices, voiceless), ["hold_out:unknown_voice"]);
    let other = HeldOut::new([identity(&[1.0, 0.0], &[])], GUARD).unwrap();
    let error = select(&recipe, &other, [single("a")]).unwrap_err();
    assert!(matches!(
        error,
        Error::OtherNetwork {
            kind: "face",
            held: 2,
            found: 3,
            ..
        }
    ));
}

#[test]
fn hold_out_lists_are_read_and_bad_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = dir.path().join("held.jsonl");
        std::fs::write(&path, text).unwrap();
        HeldOut::read(&path, GUARD)
    };
    let list = read("{\"name\":\"a\",\"face\":[1,0,0]}\n\n{\"face\":[0,1,0],\"voice\":[1,1]}\n").unwrap();
    assert_eq!(list.len(), (2, 1));
    for bad in [
        "",
        "{\"face\":[0,0]}",
        "{\"face\":[1,0]}\n{\"face\":[1,0,0]}",
        "{\"face\":",
        "{\"face\":\"x\"}",
    ] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains("held.jsonl"), "{error}");
    }
}

#[test]
fn the_order_of_clips_does_not_matter_and_none_comes_twice() {
    let recipe = recipe("");
    let run = |clips: Vec<Candidate>| select(&recipe, &HeldOut::nobody(), clips).unwrap();
    assert_eq!(
        run(vec![single("a"), pair("b")]),
        run(vec![pair("b"), single("a")])
    );
    let twice = select(&recipe, &HeldOut::nobody(), [single("a"), single("a")]);
    assert!(matches!(twice, Err(Error::Twice(_))));
}

#[test]
fn recipes_that_make_no_sense_are_refused() {
    for (bad, word) in [
        ("subjects = { min = 3, max = 2 }", "subjects.max"),
        ("stage = 4", "stage"),
        ("origin = 'inpair'", "in_pair"),
        ("minimum.a = nan", "`a`"),
        ("minimum.a = 2.0\nmaximum.a = 1.0", "maximum.a"),
        ("subject = { min = 1 }", "subject"),
        ("minimum.a = 'x'", "invalid type"),
    ] {
        let error = Recipe::parse(bad).unwrap_err().to_string();
        assert!(error.contains(word), "{bad}: {error}");
    }
}

fn donors(clips: &[&Candidate], identities: &[&[(&str, i64)]], pairs: &[(&str, &str)]) -> Donors {
    let mut donors = Donors::new(0.5);
    for members in identities {
        let member = |(clip, subject): &(&str, i64)| omni_schemas::IdentityMember {
            clip: (*clip).into(),
            subject: *subject,
            speaker: None,
        };
        donors.identity(Identity {
            identity: "i".into(),
            members: members.iter().map(member).collect(),
            face: vec![],
            voice: vec![],
        });
    }
    for (clip, partner) in pairs {
        donors.pairs(&omni_schemas::Listing {
            clip: (*clip).into(),
            partners: vec![omni_schemas::Partner {
                clip: (*partner).into(),
                text_similarity: 0.9,
                image_similarity: 0.9,
            }],
            ..Default::default()
        });
    }
    clips.iter().for_each(|clip| donors.add(clip));
    donors
}

#[test]
fn references_are_drawn_from_other_clips_of_the_person_and_never_from_its_own() {
    let x = [1.0, 0.0, 0.0];
    let a = people("a", &[(x, Some("S1"))]);
    let (b, c) = (people("b", &[(x, Some("S7"))]), people("c", &[(x, None)]));
    let identity: &[(&str, i64)] = &[("a", 1), ("b", 1), ("c", 1)];
    let pool = donors(&[&a, &b, &c], &[identity], &[]);
    let mut faces = BTreeSet::new();
    for seed in 0..20 {
        let drawn = pool.draw(&a, seed).unwrap();
        assert_eq!(drawn, pool.draw(&a, seed).unwrap());
        assert_ne!(drawn[0].face_clip, "a");
        assert_eq!(
            (drawn[0].voice_clip.as_deref(), drawn[0].voice_speaker.as_deref()),
            (Some("b"), Some("S7"))
        );
        faces.insert(drawn[0].face_clip.clone());
    }
    assert_eq!(faces.len(), 2, "the seed decides");
    assert!(
        pool.draw(&c, 0).unwrap()[0].voice_clip.is_none(),
        "who is silent needs no voice"
    );
    assert_eq!(
        donors(&[&a, &c], &[identity], &[]).draw(&a, 0).unwrap_err(),
        ["pool_voice"]
    );
    assert_eq!(
        donors(&[&a], &[identity], &[]).draw(&a, 0).unwrap_err(),
        ["pool_face", "pool_voice"]
    );
}

#[test]
fn a_pair_of_clips_is_resolved_by_face_and_not_by_order() {
    let (x, y, z) = ([1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
    let a = people("a", &[([1.0, 0.0, 0.0], Some("S1")), (z, None)]);
    let b = people("b", &[(y, None), (x, Some("S2"))]);
    let pool = donors(&[&a, &b], &[], &[("a", "b")]);
    // The second person of `a` has nobody in `b`.
    assert_eq!(pool.draw(&a, 0).unwrap_err(), ["pool_face"]);
    let one = people("a", &[([1.0, 0.0, 0.0], Some("S1"))]);
    let drawn = donors(&[&one, &b], &[], &[("a", "b")]).draw(&one, 0).unwrap();
    assert_eq!((drawn[0].face_clip.as_str(), drawn[0].face_subject), ("b", 2));
    // Two people of `a` are like one of `b`: only the more alike is that one.
    let twins = people("a", &[([0.9, 0.3, 0.0], None), (x, None)]);
    assert_eq!(
        donors(&[&twins, &b], &[], &[("a", "b")])
            .draw(&twins, 0)
            .unwrap_err(),
        ["pool_face"]
    );
}

#[test]
fn licences_are_asked_and_carried() {
    let mut free = people("free", &[([1.0, 0.0, 0.0], Some("S1"))]);
    free.clip.licence = Some("CC-BY-4.0".into());
    free.prompt = Some("p".into());
    let bare = people("bare", &[([1.0, 0.0, 0.0], Some("S1"))]);
    let recipe = Recipe {
        licences: vec!["cc-by-4.0".into()],
        ..Recipe::default()
    };
    let (rows, report) = select(&recipe, &HeldOut::nobody(), [free, bare]).unwrap();
    assert_eq!((rows.len(), rows[0].licence.as_deref()), (1, Some("CC-BY-4.0")));
    assert_eq!(rows[0].references[0].face_clip, "free");
    assert_eq!(report.total["licence"], 1);
}
