//! A finished run made by code: parts, tars, listing and index as `omni curate` leaves them, without networks.

use omni_manifests::{ListingWriter, PackWriter, Receipt, read_receipt, write_part};
use omni_schemas::{
    AvEvidence, Binding, Blob, BoundSubject, Caption, Clip, Descriptor, FaceRef, Identity, IdentityMember,
    Listing, NamedScore, OmniCaption, Record, Score, Segment, Selection, Track, TrackFrame, Transcript,
    Utterance, VoiceMotion, VoiceRef,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// What becomes of a made clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Kept,
    NoFace,
    Silent,
}

/// A clip to be made.
#[derive(Debug, Clone)]
pub struct MadeClip {
    pub key: String,
    pub path: String,
    pub caption: String,
    pub words: String,
    pub language: &'static str,
    pub people: i64,
    pub fate: Fate,
    pub licence: Option<String>,
    pub seconds: f64,
    pub fps: f64,
    pub score: f64,
}

impl MadeClip {
    pub fn new(key: &str) -> MadeClip {
        MadeClip {
            key: key.to_owned(),
            path: format!("{key}.mp4"),
            caption: "A person talks.".into(),
            words: "good morning everybody".into(),
            language: "en",
            people: 1,
            fate: Fate::Kept,
            licence: Some("CC-BY-4.0".into()),
            seconds: 2.0,
            fps: 25.0,
            score: 5.0,
        }
    }
}

fn listing(clip: &MadeClip) -> Listing {
    Listing {
        clip: clip.key.clone(),
        path: clip.path.clone(),
        start: None,
        end: None,
        source_video: Some("upstream".into()),
        caption: Some(clip.caption.clone()),
        transcript: None,
        scores: vec![NamedScore {
            name: "aesthetic".into(),
            value: clip.score,
        }],
        licence: clip.licence.clone(),
        ..Listing::default()
    }
}

/// Stages of the made run, with the record each makes.
pub const STAGES: [(&str, &str); 9] = [
    ("probe", "clip"),
    ("track", "track"),
    ("face_ref", "face_ref"),
    ("transcribe", "transcript"),
    ("caption_ingest", "caption"),
    ("voice_ref", "voice_ref"),
    ("av_evidence", "av_evidence"),
    ("bind", "binding"),
    ("compose", "omni_caption"),
];

fn inputs_of(stage: &str) -> &'static [&'static str] {
    match stage {
        "probe" => &[],
        "track" | "transcribe" | "caption_ingest" => &["probe"],
        "face_ref" => &["probe", "track"],
        "voice_ref" => &["probe", "transcribe"],
        "av_evidence" => &["probe", "track", "transcribe"],
        "bind" => &["av_evidence", "track", "transcribe"],
        _ => &["bind", "caption_ingest", "track", "transcribe", "voice_ref"],
    }
}

pub fn dir(stage: &str) -> String {
    format!("{stage}-{}", &fingerprint(stage)[..12])
}

fn fingerprint(stage: &str) -> String {
    blake3::hash(stage.as_bytes()).to_hex().to_string()
}

pub fn shard_id(number: usize) -> String {
    blake3::hash(format!("shard {number}").as_bytes()).to_hex()[..16].to_owned()
}

/// Writes a run of these shards; stages from `stop` on (by number) have not run in the last shard.
pub fn run(out: &Path, root: &Path, shards: &[Vec<MadeClip>], stop: usize) {
    fs::create_dir_all(out.join("log")).unwrap();
    let folder = out.join("listing-0123456789ab");
    let mut writer =
        ListingWriter::create(&folder.join("listing.parquet"), &json!({ "source": "folder" })).unwrap();
    for shard in shards {
        writer
            .push_group(&shard.iter().map(listing).collect::<Vec<_>>())
            .unwrap();
    }
    writer.finish().unwrap();
    fs::write(
        folder.join("dropped.jsonl"),
        "{\"clip\":\"broken row\",\"reason\":\"bad_row\"}\n",
    )
    .unwrap();
    let seal = |name: &str| {
        let bytes = fs::read(folder.join(name)).unwrap();
        json!({ "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string() })
    };
    let ids: Vec<Value> = shards
        .iter()
        .enumerate()
        .map(|(n, clips)| json!({ "id": shard_id(n), "rows": clips.len() }))
        .collect();
    let index = json!({
        "source": "folder", "settings": {}, "fingerprint": fingerprint("source"), "rows": shards.iter().map(Vec::len).sum::<usize>(),
        "beyond_limit": 0, "dropped": { "bad_row": 1 }, "shards": ids,
        "files": { "listing.parquet": seal("listing.parquet"), "dropped.jsonl": seal("dropped.jsonl") },
    });
    fs::write(
        folder.join("listing.json"),
        serde_json::to_vec_pretty(&index).unwrap(),
    )
    .unwrap();
    let stages: Vec<Value> = STAGES.iter().map(|(stage, record)| {
        json!({ "stage": stage, "record": record, "dir": dir(stage), "fingerprint": fingerprint(stage) })
    }).collect();
    let file = json!({ "omni_version": "0.1.0", "source": "folder", "root": root, "recipe": { "name": "folder" },
                       "listing": "listing-0123456789ab", "shards": shards.len(), "stages": stages });
    fs::write(out.join("run.json"), serde_json::to_vec_pretty(&file).unwrap()).unwrap();
    for (number, clips) in shards.iter().enumerate() {
        let last = number + 1 == shards.len();
        let stages = if last { stop } else { STAGES.len() };
        STAGES
            .iter()
            .take(stages)
            .for_each(|(stage, _)| part(out, number, stage, clips));
    }
}

/// Adds the stage `score` to a made run of one shard: readings by clip, name and value.
pub fn score(out: &Path, readings: &[(&str, &str, Option<f64>)]) {
    let path = out.join("run.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["stages"].as_array_mut().unwrap().push(
        json!({ "stage": "score", "record": "score", "dir": dir("score"), "fingerprint": fingerprint("score") }),
    );
    fs::write(&path, serde_json::to_vec_pretty(&file).unwrap()).unwrap();
    let row = |(clip, reading, value): &(&str, &str, Option<f64>)| Score {
        scored: (*clip).into(),
        metric: reading.split('@').next().unwrap().into(),
        reading: (*reading).into(),
        value: *value,
        absent: value.is_none().then(|| "no_audio".into()),
        better: "higher".into(),
        ..Score::default()
    };
    let rows: Vec<Score> = readings.iter().map(row).collect();
    let probe = out
        .join(dir("probe"))
        .join(format!("part-{}.parquet", shard_id(0)));
    let receipt = Receipt {
        stage: "score".into(),
        stage_version: 1,
        fingerprint: fingerprint("score"),
        shard: shard_id(0),
        inputs: BTreeMap::from([("probe".to_owned(), read_receipt(&probe).unwrap().check)]),
        ..Receipt::default()
    };
    let part = out
        .join(dir("score"))
        .join(format!("part-{}.parquet", shard_id(0)));
    write_part(&part, &rows, &receipt).unwrap();
}

fn part(out: &Path, number: usize, stage: &str, clips: &[MadeClip]) {
    let heard: Vec<&MadeClip> = clips.iter().filter(|clip| clip.fate != Fate::Silent).collect();
    let seen: Vec<&MadeClip> = heard
        .iter()
        .copied()
        .filter(|clip| clip.fate == Fate::Kept)
        .collect();
    let path = out
        .join(dir(stage))
        .join(format!("part-{}.parquet", shard_id(number)));
    let dropped = |fate, reason: &str| {
        let own = clips.iter().filter(|clip| clip.fate == fate);
        own.map(|clip| (clip.key.clone(), reason.to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let drops = match stage {
        "probe" => dropped(Fate::Silent, "silent"),
        "track" => dropped(Fate::NoFace, "no_face"),
        _ => BTreeMap::new(),
    };
    let check = |input: &&str| {
        let path = out
            .join(dir(input))
            .join(format!("part-{}.parquet", shard_id(number)));
        ((*input).to_owned(), read_receipt(&path).unwrap().check)
    };
    let receipt = Receipt {
        stage: stage.into(),
        stage_version: 1,
        fingerprint: fingerprint(stage),
        shard: shard_id(number),
        drops,
        inputs: inputs_of(stage).iter().map(check).collect(),
        settings: json!({ "network": "made#0123456789ab" }),
        ..Receipt::default()
    };
    match stage {
        "probe" => write_part(
            &path,
            &heard.iter().map(|clip| probed(clip)).collect::<Vec<_>>(),
            &receipt,
        )
        .unwrap(),
        "track" => write_part(&path, &flat(&seen, tracks), &receipt).unwrap(),
        "transcribe" => write_part(
            &path,
            &heard.iter().map(|clip| transcript(clip)).collect::<Vec<_>>(),
            &receipt,
        )
        .unwrap(),
        "caption_ingest" => write_part(
            &path,
            &heard
                .iter()
                .map(|clip| Caption {
                    clip: clip.key.clone(),
                    caption: Some(clip.caption.clone()),
                    audio_caption: None,
                    origin: "row".into(),
                })
                .collect::<Vec<_>>(),
            &receipt,
        )
        .unwrap(),
        "av_evidence" => write_part(&path, &flat(&seen, evidence), &receipt).unwrap(),
        "bind" => write_part(
            &path,
            &seen.iter().map(|clip| binding(clip)).collect::<Vec<_>>(),
            &receipt,
        )
        .unwrap(),
        "compose" => write_part(
            &path,
            &seen.iter().map(|clip| prompt(clip)).collect::<Vec<_>>(),
            &receipt,
        )
        .unwrap(),
        "face_ref" => packed(&path, flat(&seen, faces), &receipt, |row: &FaceRef| {
            png(&row.clip, row.subject)
        }),
        _ => packed(
            &path,
            heard.iter().map(|clip| voice(clip)).collect(),
            &receipt,
            |row: &VoiceRef| wav(&row.clip),
        ),
    }
}

fn flat<R>(clips: &[&MadeClip], make: impl Fn(&MadeClip) -> Vec<R>) -> Vec<R> {
    clips.iter().flat_map(|clip| make(clip)).collect()
}

fn packed<R: Record>(path: &Path, mut rows: Vec<R>, receipt: &Receipt, bytes: impl Fn(&R) -> Vec<u8>) {
    let mut receipt = receipt.clone();
    if !rows.is_empty() {
        let mut pack = PackWriter::create(&path.with_extension("tar")).unwrap();
        for row in &mut rows {
            let content = bytes(row);
            row.blobs_mut()
                .into_iter()
                .for_each(|blob| pack.append(blob, &content).unwrap());
        }
        // As a service's answer of a clip that was dropped afterwards: nothing points at it.
        let mut raw = Blob {
            name: format!("{}/raw.json", rows[0].key()),
            ..Blob::default()
        };
        pack.append(&mut raw, b"{\"answer\":1}").unwrap();
        receipt.tar = Some(pack.finish().unwrap());
    }
    write_part(path, &rows, &receipt).unwrap();
}

/// A small flat picture whose colour depends on the clip.
pub fn png(key: &str, subject: i64) -> Vec<u8> {
    let hash = blake3::hash(format!("{key}{subject}").as_bytes());
    let data = hash.as_bytes()[..3].repeat(32 * 32);
    omni_media::png(&omni_media::Image {
        width: 32,
        height: 32,
        data,
    })
    .unwrap()
}

pub fn wav(key: &str) -> Vec<u8> {
    let shift = f32::from(blake3::hash(key.as_bytes()).as_bytes()[0]);
    let samples = (0..1600).map(|i| 0.2 * (i as f32 * 0.05 + shift).sin()).collect();
    omni_media::wav_s16(&omni_media::Waveform { rate: 16000, samples })
}

fn probed(clip: &MadeClip) -> Clip {
    Clip {
        clip: clip.key.clone(),
        path: clip.path.clone(),
        start: None,
        end: None,
        width: 320,
        height: 180,
        fps: clip.fps,
        fps_num: clip.fps.round() as i64,
        fps_den: 1,
        frames: (clip.seconds * clip.fps) as i64,
        seconds: clip.seconds,
        rotation: 0,
        video_codec: "h264".into(),
        audio_codec: "aac".into(),
        audio_rate: 16000,
        audio_channels: 1,
        audio_seconds: clip.seconds,
        loudness: Some(-20.0),
        peak: 0.5,
        bytes: 1000,
        identity: "x".into(),
        source_video: Some("upstream".into()),
        caption: Some(clip.caption.clone()),
        scores: vec![NamedScore {
            name: "aesthetic".into(),
            value: clip.score,
        }],
        licence: clip.licence.clone(),
    }
}

fn tracks(clip: &MadeClip) -> Vec<Track> {
    let frames = |subject: i64| {
        (0..(clip.seconds * clip.fps) as i64).map(move |frame| {
            let x = 40.0 + 110.0 * (subject - 1) as f64 + frame as f64 / 5.0;
            TrackFrame {
                frame,
                bbox: [x, 40.0, x + 60.0, 110.0],
                score: 0.9,
                points: [x; 10],
                mouth_motion: Some(1.0),
                upper_motion: Some(0.5),
            }
        })
    };
    (1..=clip.people)
        .map(|subject| Track {
            clip: clip.key.clone(),
            track: subject - 1,
            subject,
            shot: 0,
            frames: frames(subject).collect(),
            vector: vec![1.0, 0.0, 0.0],
            embedder: "made#0123456789ab".into(),
        })
        .collect()
}

fn faces(clip: &MadeClip) -> Vec<FaceRef> {
    (1..=clip.people)
        .map(|subject| FaceRef {
            clip: clip.key.clone(),
            subject,
            track: subject - 1,
            frame: 3,
            bbox: [40.0, 40.0, 100.0, 110.0],
            crop: [30.0, 30.0, 110.0, 120.0],
            score: 0.9,
            origin: "in_pair".into(),
            iou: None,
            image: Blob {
                name: format!("{}/sub{subject}.png", clip.key),
                media_type: "image/png".into(),
                ..Blob::default()
            },
        })
        .collect()
}

fn transcript(clip: &MadeClip) -> Transcript {
    let segment = Segment {
        speaker: "S1".into(),
        text: clip.words.clone(),
        start: 0.3,
        end: 1.6,
        language: clip.language.into(),
    };
    Transcript {
        clip: clip.key.clone(),
        segments: vec![segment],
        audio_caption: None,
        origin: "made".into(),
    }
}

fn voice(clip: &MadeClip) -> VoiceRef {
    VoiceRef {
        clip: clip.key.clone(),
        speaker: "S1".into(),
        start: 0.3,
        end: 1.6,
        text: clip.words.clone(),
        language: clip.language.into(),
        origin: "source_segment".into(),
        rate: 16000,
        vector: vec![0.0, 1.0],
        embedder: "made#0123456789ab".into(),
        pitch_hz: Some(120.0),
        rate_per_second: Some(2.0),
        audio: Blob {
            name: format!("{}/S1.wav", clip.key),
            media_type: "audio/wav".into(),
            ..Blob::default()
        },
        similarity: None,
        word_errors: None,
    }
}

fn evidence(clip: &MadeClip) -> Vec<AvEvidence> {
    let motion = VoiceMotion {
        speaker: "S1".into(),
        seen: 1.3,
        on: Some(2.0),
        others: None,
        silence: Some(0.1),
        correlation: Some(0.4),
    };
    (1..=clip.people)
        .map(|subject| AvEvidence {
            clip: clip.key.clone(),
            subject,
            voices: vec![motion.clone()],
            kind: "mouth_patch".into(),
        })
        .collect()
}

fn binding(clip: &MadeClip) -> Binding {
    let subject = |subject: i64| BoundSubject {
        subject,
        speaker: (subject == 1).then(|| "S1".into()),
        margin: (subject == 1).then_some(1.9),
        ..BoundSubject::default()
    };
    Binding {
        clip: clip.key.clone(),
        subjects: (1..=clip.people).map(subject).collect(),
        source: "local".into(),
        ..Binding::default()
    }
}

/// Spans count characters, not bytes and not UTF-16 units.
fn prompt(clip: &MadeClip) -> OmniCaption {
    let (head, says) = (format!("{} <sub1> ", clip.caption), "says, <S>");
    let start = head.chars().count() + says.chars().count();
    let end = start + clip.words.chars().count();
    OmniCaption {
        clip: clip.key.clone(),
        prompt: format!("{head}{says}{}<E>.", clip.words),
        descriptors: vec![Descriptor {
            anchor: "<sub1>".into(),
            start: 0,
            end: clip.caption.chars().count() as i64,
            descriptor_source: "given".into(),
        }],
        utterances: vec![Utterance {
            anchor: "<sub1>".into(),
            text: clip.words.clone(),
            start: start as i64,
            end: end as i64,
            language: clip.language.into(),
        }],
    }
}

/// What `omni select` and `omni pool` leave beside a run.
pub fn select_and_pool(out: &Path, clips: &[&str], person: (&str, &[&str])) {
    let receipt = |stage: &str| Receipt {
        stage: stage.into(),
        stage_version: 1,
        fingerprint: fingerprint(stage),
        shard: "all".into(),
        ..Receipt::default()
    };
    let row = |clip: &&str| Selection {
        clip: (*clip).into(),
        path: format!("{clip}.mp4"),
        subjects: 1,
        speakers: 1,
        languages: vec!["en".into()],
        origin: "in_pair".into(),
        prompt: "x".into(),
        licence: None,
        references: Vec::new(),
    };
    write_part(
        &out.join("select-stage1/selection.parquet"),
        &clips.iter().map(row).collect::<Vec<_>>(),
        &receipt("select"),
    )
    .unwrap();
    let member = |clip: &&str| IdentityMember {
        clip: (*clip).into(),
        subject: 1,
        speaker: Some("S1".into()),
    };
    let one = |name: &str, clips: &[&str]| Identity {
        identity: name.into(),
        members: clips.iter().map(member).collect(),
        face: vec![1.0],
        voice: vec![1.0],
    };
    let others: Vec<Identity> = clips
        .iter()
        .filter(|clip| !person.1.contains(clip))
        .map(|clip| one(&format!("of {clip}"), &[clip]))
        .collect();
    let people: Vec<Identity> = std::iter::once(one(person.0, person.1)).chain(others).collect();
    write_part(&out.join("pool/identity.parquet"), &people, &receipt("pool")).unwrap();
}
