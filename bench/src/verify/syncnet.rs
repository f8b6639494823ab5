//! `syncnet/`: lips and sound (joonson/syncnet_python, python_speech_features).

use omni_media::Image;
use omni_perception::syncnet::{
    SHIFT, SyncNet,
    crop::{Place, SIDE, crop, places},
    mfcc::{COEFFICIENTS, mfcc},
    offset::{Offsets, compare},
    sound_window, windows,
};
use serde_json::Value;

use super::{
    Desk, Entry, Verifier,
    files::{Json, Problem},
};

pub(super) const ENTRIES: &[Entry] = &[Entry {
    folder: "syncnet",
    file: "syncnet_expected.json",
    run: all,
}];

const CLIP: &str = "clip.wav";
const STRIP: &str = "face_crops_strip.png";
const LIPS: &str = "syncnet_w4_lip.onnx";
const SOUND: &str = "syncnet_w4_audio.onnx";
const EXPECTED: &str = "syncnet_expected.safetensors";
const CROPPED: &str = "crop_source.png";
const SEARCH: &str = "offset_search_cases.safetensors";

fn all(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("syncnet_expected.json")?;
    if desk.needs(EXPECTED) {
        let sound = sound(desk)?;
        smoothing(desk)?;
        towers(desk, &golden, &sound)?;
    }
    // what the file itself tells of has to be there
    if golden.get("crops").is_some() || desk.needs(CROPPED) {
        crops(desk, &golden)?;
    }
    if golden.get("offset_search_cases").is_some() || desk.needs(SEARCH) {
        searches(desk, &golden)?;
    }
    Ok(())
}

/// The clip's samples, with their cepstra compared on the way.
fn sound(desk: &mut Desk<'_>) -> Result<Vec<i16>, Problem> {
    let tensors = desk.tensors(EXPECTED)?;
    let samples: Vec<i16> = desk.wave(CLIP)?.iter().map(|x| (x * 32768.0) as i16).collect();
    let cepstra = mfcc(&samples);
    let rows: Vec<f64> = (0..COEFFICIENTS)
        .flat_map(|c| cepstra.iter().map(move |column| column[c]))
        .collect();
    desk.relative("cepstra", &rows, &tensors.f64s("mfcc_f64")?, 1e-6);
    let last = tensors
        .shape("audio_embedding")?
        .first()
        .copied()
        .unwrap_or(1)
        .saturating_sub(1);
    for (name, i) in [("mfcc_window0_f32", 0), ("mfcc_window_last_f32", last)] {
        let quantity = format!("window {i} of sound");
        desk.close32(&quantity, &sound_window(&cepstra, i), &tensors.f32s(name)?, 1e-5);
    }
    Ok(samples)
}

fn smoothing(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let tensors = desk.tensors(EXPECTED)?;
    let boxes = tensors.f64s("track_boxes_in")?;
    let boxes: Vec<[f64; 4]> = boxes.as_chunks().0.to_vec();
    let places = places(&boxes);
    for (name, of) in [
        ("s", (|p: &Place| p.s) as fn(&Place) -> f64),
        ("x", |p| p.x),
        ("y", |p| p.y),
    ] {
        let got: Vec<f64> = places.iter().map(of).collect();
        desk.close(
            &format!("smoothed {name}"),
            &got,
            &tensors.f64s(&format!("medfilt13_{name}"))?,
            1e-9,
        );
    }
    Ok(())
}

fn towers(desk: &mut Desk<'_>, golden: &Value, samples: &[i16]) -> Result<(), Problem> {
    let tensors = desk.tensors(EXPECTED)?;
    let faces = strip(&desk.picture(STRIP)?);
    desk.equal("faces", &faces.len(), &golden.count("clip_frames")?);
    let count = windows(faces.len(), samples.len());
    desk.equal("windows", &count, &golden.count("windows")?);
    let (lips, sound) = (desk.file(LIPS)?, desk.file(SOUND)?);
    let network = SyncNet::open(&desk.runtime()?, &lips, &sound, Verifier::network(LIPS))?;
    let lips = network.lips(&faces, count)?;
    desk.close32(
        "vectors of the lips",
        &lips,
        &tensors.f32s("lip_embedding")?,
        1e-3,
    );
    let heard = network.sound(&mfcc(samples), count)?;
    desk.close32(
        "vectors of the sound",
        &heard,
        &tensors.f32s("audio_embedding")?,
        1e-3,
    );
    let found = network.compare(&faces, samples)?;
    let found = found.ok_or_else(|| Problem::Answer("the clip has no window".to_owned()))?;
    desk.close32("distances", &found.distances, &tensors.f32s("dists")?, 1e-3);
    desk.close32("mean distances", &found.mean, &tensors.f32s("mean_dist")?, 1e-3);
    let smooth = tensors.f64s("framewise_conf_medfilt9")?;
    desk.close("confidence of each window", &found.by_window(), &smooth, 1e-3);
    let want = [
        golden.number("min_dist_sync_d")?,
        golden.number("confidence_sync_c")?,
    ];
    outcome(desk, "clip", &found, golden.at("offset")?, want, 1e-3);
    desk.equal("largest shift", &SHIFT, &golden.count("vshift")?);
    Ok(())
}

fn outcome(desk: &mut Desk<'_>, what: &str, found: &Offsets, offset: &Value, want: [f64; 2], tolerance: f64) {
    desk.equal(&format!("{what}: offset"), &Some(found.offset), &offset.as_i64());
    desk.judge(
        &format!("{what}: Sync-D"),
        (f64::from(found.distance) - want[0]).abs(),
        tolerance,
    );
    desk.judge(
        &format!("{what}: Sync-C"),
        (f64::from(found.confidence) - want[1]).abs(),
        tolerance,
    );
}

/// The faces of a strip of 224 x 224 pictures, one under the other.
fn strip(image: &Image) -> Vec<Image> {
    let face = |data: &[u8]| Image {
        width: SIDE,
        height: SIDE,
        data: data.to_vec(),
    };
    if image.width != SIDE {
        return Vec::new();
    }
    image.data.chunks_exact(SIDE * SIDE * 3).map(face).collect()
}

fn crops(desk: &mut Desk<'_>, golden: &Value) -> Result<(), Problem> {
    let source = desk.picture(CROPPED)?;
    for case in golden.cases("crops")? {
        let place = Place {
            x: case.number("x")?,
            y: case.number("y")?,
            s: case.number("s")?,
        };
        let name = case.text("file")?;
        let want = desk.picture(name)?;
        desk.pixels(name, &crop(&source, &place), &want, 1);
    }
    Ok(())
}

fn searches(desk: &mut Desk<'_>, golden: &Value) -> Result<(), Problem> {
    let tensors = desk.tensors(SEARCH)?;
    for case in golden.cases("offset_search_cases")? {
        let j = case.count("case")?;
        let (lips, sound) = (
            tensors.f32s(&format!("lip_{j}"))?,
            tensors.f32s(&format!("aud_{j}"))?,
        );
        let width = tensors.shape(&format!("lip_{j}"))?.last().copied().unwrap_or(0);
        let found = compare(&lips, &sound, width, case.count("vshift")?);
        let found = found.ok_or_else(|| Problem::key(&format!("lip_{j}"), "cannot be compared"))?;
        desk.close32(
            &format!("search {j}: mean distances"),
            &found.mean,
            &tensors.f32s(&format!("mean_dist_{j}"))?,
            1e-4,
        );
        let want = [case.number("min_dist")?, case.number("confidence")?];
        outcome(
            desk,
            &format!("search {j}"),
            &found,
            case.at("offset")?,
            want,
            1e-4,
        );
    }
    Ok(())
}
