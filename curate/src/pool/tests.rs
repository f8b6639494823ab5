use super::*;
use omni_schemas::BoundSubject;
use proptest::prelude::*;

const AT: f64 = 0.4;

fn seen(clip: &str, subject: i64, face: &[f64]) -> Appearance {
    Appearance {
        clip: clip.into(),
        source_video: None,
        subject,
        speaker: None,
        face: face.to_vec(),
        face_network: "face#1".into(),
        voice: Vec::new(),
        voice_network: String::new(),
    }
}

fn clips(pool: &Pool) -> Vec<Vec<String>> {
    let name = |member: &IdentityMember| format!("{}/{}", member.clip, member.subject);
    let mut out: Vec<Vec<String>> = pool
        .identities
        .iter()
        .map(|identity| identity.members.iter().map(name).collect())
        .collect();
    out.sort();
    out
}

/// A person's face as seen in one clip: a direction of their own plus a little noise.
fn face(person: u64, sight: u64, noise: f64) -> Vec<f64> {
    let wave = |seed: u64, at: u64| {
        let bits = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
            .wrapping_add(at);
        let bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 32)) % 20_001) as f64 / 10_000.0 - 1.0
    };
    (0..64)
        .map(|at| wave(person + 1, at) + noise * wave((person + 7) * 1_000_003 + sight, at))
        .collect()
}

#[test]
fn clips_of_one_person_join_by_face_alone() {
    // The two GRID clips of one man have cosine about 0.9, other pairs are far below the threshold.
    let (man, other) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    let again = [0.9, 0.0, (1.0_f64 - 0.81).sqrt()];
    let found = pool(
        [
            seen("pwij3p", 1, &man),
            seen("lbbc2a", 1, &other),
            seen("swwp2s", 1, &again),
        ],
        AT,
        &Settings::default(),
    );
    let found = found.unwrap();
    assert_eq!(
        clips(&found),
        [
            vec!["lbbc2a/1".to_owned()],
            vec!["pwij3p/1".into(), "swwp2s/1".into()]
        ]
    );
    assert!(found.exact);
    let joined = found
        .identities
        .iter()
        .find(|identity| identity.members.len() == 2)
        .unwrap();
    // the mean of two unit vectors at cosine 0.9 has cosine sqrt(0.95) to each
    assert!(
        (joined.face[0] - 0.95_f64.sqrt()).abs() < 1e-6,
        "{:?}",
        joined.face
    );
    assert_eq!(recurring(&found.identities, 2).count(), 1);
}

#[test]
fn two_people_of_one_clip_are_never_one() {
    let twins = [1.0, 0.02, 0.0];
    let rows = [seen("a", 1, &twins), seen("a", 2, &twins), seen("b", 1, &twins)];
    let found = pool(rows, AT, &Settings::default()).unwrap();
    assert_eq!(found.identities.len(), 2);
    for identity in &found.identities {
        let clips: BTreeSet<&String> = identity.members.iter().map(|member| &member.clip).collect();
        assert_eq!(clips.len(), identity.members.len());
    }
}

#[test]
fn linkage_is_average_not_single() {
    // A chain of directions 40 degrees apart: each step is near, the ends are not.
    let at = |degrees: f64| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    let rows = (0..5).map(|step| seen(&format!("c{step}"), 1, &at(40.0 * f64::from(step))));
    let found = pool(rows, 0.7, &Settings::default()).unwrap();
    // pairs join at cos 40° = 0.77; two pairs have mean (cos 80 + cos 120 + cos 40 + cos 80)/4 = 0.15
    let mut sizes: Vec<usize> = found
        .identities
        .iter()
        .map(|identity| identity.members.len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}

#[test]
fn voices_are_averaged_and_carry_their_speaker() {
    let mut one = seen("a", 1, &[1.0, 0.0]);
    (one.speaker, one.voice, one.voice_network) = (Some("S1".into()), vec![3.0, 0.0], "v".into());
    let mut two = seen("b", 1, &[1.0, 0.0]);
    (two.speaker, two.voice, two.voice_network) = (Some("S4".into()), vec![0.0, 5.0], "v".into());
    let found = pool([one, seen("c", 1, &[1.0, 0.0]), two], AT, &Settings::default()).unwrap();
    let [identity] = &found.identities[..] else {
        panic!("{:?}", found.identities)
    };
    let half = 0.5_f64.sqrt();
    assert!(
        identity.voice.iter().all(|value| (value - half).abs() < 1e-6),
        "{:?}",
        identity.voice
    );
    let speakers: Vec<_> = identity
        .members
        .iter()
        .map(|member| member.speaker.as_deref())
        .collect();
    assert_eq!(speakers, [Some("S1"), Some("S4"), None]);
}

#[test]
fn what_cannot_be_compared_is_refused_or_left_out() {
    let settings = Settings::default();
    let blank = pool(
        [seen("a", 1, &[]), seen("b", 1, &[f64::NAN]), seen("c", 1, &[1.0])],
        AT,
        &settings,
    )
    .unwrap();
    assert_eq!(
        (blank.without_face, blank.appearances, blank.identities.len()),
        (2, 1, 1)
    );
    let mut other = seen("b", 1, &[1.0, 0.0]);
    other.face_network = "face#2".into();
    let mixed = pool([seen("a", 1, &[1.0, 0.0]), other], AT, &settings);
    assert!(matches!(mixed, Err(Error::MixedNetworks { kind: "face", .. })));
    let twice = pool([seen("a", 1, &[1.0]), seen("a", 1, &[1.0])], AT, &settings);
    assert!(matches!(twice, Err(Error::Twice { subject: 1, .. })));
    let few = Settings {
        most: 1,
        ..Settings::default()
    };
    assert!(matches!(
        pool([seen("a", 1, &[1.0]), seen("b", 1, &[1.0])], AT, &few),
        Err(Error::TooMany(1))
    ));
    assert!(pool([], f64::NAN, &settings).is_err());
}

#[test]
fn a_person_of_two_tracks_counts_by_frames() {
    let track = |subject: i64, frames: usize, vector: &[f64]| omni_schemas::Track {
        clip: "a".into(),
        track: 0,
        subject,
        shot: 0,
        frames: vec![
            omni_schemas::TrackFrame {
                frame: 0,
                bbox: [0.0; 4],
                score: 1.0,
                points: [0.0; 10],
                mouth_motion: None,
                upper_motion: None
            };
            frames
        ],
        vector: vector.to_vec(),
        embedder: "face#1".into(),
    };
    let tracks = [
        track(2, 3, &[1.0, 0.0]),
        track(2, 1, &[0.0, 1.0]),
        track(1, 5, &[]),
    ];
    let binding = Binding {
        clip: "a".into(),
        subjects: vec![BoundSubject {
            subject: 2,
            speaker: Some("S9".into()),
            ..BoundSubject::default()
        }],
        source: "local".into(),
        ..Binding::default()
    };
    let found = people_of(&tracks, &binding);
    assert_eq!(found[0].subject, 1);
    assert!(found[0].face.is_empty() && found[0].speaker.is_none());
    assert_eq!(found[1].face, [3.0, 1.0]);
    assert_eq!(found[1].speaker.as_deref(), Some("S9"));
}

fn people_of(tracks: &[omni_schemas::Track], binding: &Binding) -> Vec<Appearance> {
    let clip: Clip = serde_json::from_value(serde_json::json!({
        "clip": "a", "path": "a.mp4", "start": null, "end": null, "width": 1, "height": 1, "fps": 25.0,
        "fps_num": 25, "fps_den": 1, "frames": 1, "seconds": 1.0, "rotation": 0, "video_codec": "h264",
        "audio_codec": "aac", "audio_rate": 1, "audio_channels": 1, "audio_seconds": 1.0, "loudness": null,
        "peak": 0.0, "bytes": 1, "identity": "", "source_video": null, "caption": null, "scores": [],
        "licence": null
    }))
    .unwrap();
    appearances(&clip, tracks, &[], Some(binding))
}

/// How far the pool's groups agree with the people that made them: (pairs rightly together, pairs that should be,
/// pairs wrongly together).
fn agreement(found: &Pool, person: impl Fn(&IdentityMember) -> u64, should: u64) -> (u64, u64, u64) {
    let (mut right, mut wrong) = (0, 0);
    for identity in &found.identities {
        for (at, one) in identity.members.iter().enumerate() {
            for two in &identity.members[at + 1..] {
                if person(one) == person(two) {
                    right += 1
                } else {
                    wrong += 1
                }
            }
        }
    }
    (right, should, wrong)
}

#[test]
fn blocks_find_nearly_what_comparing_all_finds() {
    let (persons, sights) = (300_u64, 6_u64);
    let rows = || {
        (0..persons).flat_map(move |person| {
            (0..sights).map(move |sight| seen(&format!("{person:04}-{sight}"), 1, &face(person, sight, 0.6)))
        })
    };
    let person = |member: &IdentityMember| member.clip[..4].parse::<u64>().unwrap();
    let should = persons * sights * (sights - 1) / 2;
    let exact = pool(rows(), AT, &Settings::default()).unwrap();
    let (right, all, wrong) = agreement(&exact, person, should);
    assert_eq!((right, wrong, exact.exact), (all, 0, true));
    let settings = Settings {
        exact: 128,
        ..Settings::default()
    };
    let blocks = pool(rows(), AT, &settings).unwrap();
    let (right, all, wrong) = agreement(&blocks, person, should);
    assert!(!blocks.exact);
    assert!(
        right * 100 >= all * 95 && wrong == 0,
        "{right} of {all} pairs, {wrong} wrong"
    );
}

#[test]
fn vectors_that_are_all_alike_do_not_hang_the_blocks() {
    let rows = (0..500).map(|at| seen(&format!("{at:03}"), 1, &[1.0, 0.0]));
    let found = pool(
        rows,
        AT,
        &Settings {
            exact: 16,
            ..Settings::default()
        },
    )
    .unwrap();
    assert_eq!(found.identities.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_result_is_a_partition_that_does_not_depend_on_the_order(
        people in proptest::collection::vec((0_u64..6, 0_usize..4), 1..40),
        turn in 0_usize..40,
    ) {
        let rows: Vec<Appearance> = people.iter().enumerate().map(|(at, (person, video))| {
            let mut row = seen(&format!("clip{:02}", at / 2), (at % 2) as i64 + 1, &face(*person, at as u64, 1.0));
            row.source_video = (*video > 0).then(|| format!("video{video}"));
            row
        }).collect();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        let found = pool(rows.clone(), AT, &Settings::default()).unwrap();
        prop_assert_eq!(&found, &pool(turned, AT, &Settings::default()).unwrap());
        let mut members: Vec<(String, i64)> = found.identities.iter().flat_map(|identity| &identity.members)
            .map(|member| (member.clip.clone(), member.subject)).collect();
        members.sort();
        let given: Vec<(String, i64)> = rows.iter().map(|row| (row.clip.clone(), row.subject)).collect();
        prop_assert_eq!(members, given);
        for identity in &found.identities {
            let clips: BTreeSet<&String> = identity.members.iter().map(|member| &member.clip).collect();
            prop_assert_eq!(clips.len(), identity.members.len());
        }
    }
}
