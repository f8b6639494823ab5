//! `imagebind/`: pictures, sound and text in one space (facebookresearch/ImageBind).

use std::{collections::BTreeMap, ops::ControlFlow};

use omni_media::{Limits, Span, probe, read_frames};
use omni_perception::imagebind::{
    ImageBind, Tower, audio, cosine, mean,
    text::{ClipTokenizer, LENGTH},
    video,
};
use serde_json::Value;

use super::{
    Desk, Entry, Verifier,
    files::{Json, Problem, Tensors},
};

pub(super) const ENTRIES: &[Entry] = &[Entry {
    folder: "imagebind",
    file: "imagebind.json",
    run: all,
}];

const VOCABULARY: &str = "clip_bpe_simple_vocab_16e6.txt.gz";
const CLIP: &str = "clip.mp4";
/// The sound that is held against the clip.
const SOUND: &str = "stereo_44k";

fn all(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("imagebind.json")?;
    let tensors = desk.tensors("imagebind.safetensors")?;
    let heard = sounds(desk, &golden, &tensors)?;
    let heard = tower(desk, &tensors, Tower::Audio, heard.as_deref())?;
    let seen = if desk.needs(CLIP) {
        Some(pictures(desk, &golden, &tensors)?)
    } else {
        None
    };
    let seen = tower(desk, &tensors, Tower::Vision, seen.as_deref())?;
    let read = texts(desk, &golden, &tensors)?;
    if let (Some(seen), Some(heard)) = (&seen, &heard) {
        let got = cosine(seen, heard).unwrap_or(f64::NAN);
        desk.judge("ib_s", (got - golden.number("ib_s_video_audio")?).abs(), 1e-4);
    }
    if let (Some(read), Some(heard)) = (&read, &heard) {
        let got: Vec<f64> = read
            .iter()
            .map(|text| cosine(text, heard).unwrap_or(f64::NAN))
            .collect();
        desk.close("ib_a", &got, &golden.read::<Vec<f64>>("ib_a_text_audio")?, 1e-4);
    }
    Ok(())
}

/// Every sound; the clips of the one that the scores are of.
fn sounds(desk: &mut Desk<'_>, golden: &Value, tensors: &Tensors) -> Result<Option<Vec<Vec<f32>>>, Problem> {
    let names: Vec<String> = tensors
        .names()
        .filter_map(|name| name.strip_prefix("audio_").map(str::to_owned))
        .collect();
    if names.is_empty() {
        return Err(Problem::key("audio_*", "is missing"));
    }
    let mut scored = None;
    for name in names {
        let sound = desk.sound(&format!("audio_{name}.wav"))?;
        let frames = sound.samples.len() / sound.channels.max(1) as usize;
        let length = (frames as u64 * 16_000).div_ceil(u64::from(sound.rate.max(1))) as usize;
        let spans = audio::spans(length).map(|span| [span.start as f64 / 16e3, span.end as f64 / 16e3]);
        let mut want: Vec<[f64; 2]> = golden.read(&format!("clips_{name}"))?;
        // The reference names two seconds also where the sound ends earlier; ends are cut here.
        want.iter_mut()
            .for_each(|span| span[1] = span[1].min(length as f64 / 16e3));
        desk.close(
            &format!("{name}: clips, seconds"),
            spans.as_flattened(),
            want.as_flattened(),
            1.0 / 16e3,
        );
        let clips =
            audio::clips(&sound).ok_or_else(|| Problem::Answer(format!("audio_{name}.wav is too short")))?;
        let tolerance = if sound.rate == 16_000 { 1e-4 } else { 3e-3 };
        let want = tensors.f32s(&format!("audio_{name}"))?;
        desk.close32(&format!("{name}: mel bands"), &clips.concat(), &want, tolerance);
        if name == SOUND {
            scored = Some(clips.to_vec());
        }
    }
    Ok(scored)
}

fn pictures(desk: &mut Desk<'_>, golden: &Value, tensors: &Tensors) -> Result<Vec<Vec<f32>>, Problem> {
    let path = desk.file(CLIP)?;
    let unreadable = |error: omni_media::Error| Problem::file(CLIP, error);
    let info = probe(&path, &Span::default(), &Limits::default()).map_err(unreadable)?;
    let info = info.video.ok_or_else(|| Problem::file(CLIP, "has no pictures"))?;
    let pairs = video::frame_pairs(info.frames, (info.fps_num, info.fps_den));
    let pairs = pairs.ok_or_else(|| Problem::file(CLIP, "has no frames"))?;
    let facts = golden.at("video")?;
    desk.equal(
        "frames of the clips",
        &pairs.to_vec(),
        &facts.read("frame_indices")?,
    );
    let seconds = info.frames as f64 * info.fps_den as f64 / info.fps_num as f64;
    let starts: Vec<f64> = (0..video::CLIPS)
        .map(|k| video::clip_start(seconds, video::CLIPS, k))
        .collect();
    let want: Vec<[f64; 2]> = facts.read("clips")?;
    let want: Vec<f64> = want.iter().map(|span| span[0]).collect();
    desk.close("clips, seconds", &starts, &want, 1e-9);
    let mut wanted: BTreeMap<u64, Option<[Vec<f32>; 3]>> =
        pairs.as_flattened().iter().map(|i| (*i, None)).collect();
    read_frames(&path, &Span::default(), &Limits::default(), &mut |frame| {
        if let Some(slot) = wanted.get_mut(&frame.index) {
            *slot = video::crops(frame.image);
        }
        ControlFlow::Continue(())
    })
    .map_err(unreadable)?;
    let mut inputs = Vec::new();
    for [first, last] in pairs {
        let missing = || Problem::file(CLIP, "ends before its last clip");
        let crops = |i: &u64| wanted.get(i).and_then(Option::as_ref).ok_or_else(missing);
        let (first, last) = (crops(&first)?, crops(&last)?);
        inputs.extend(first.iter().zip(last).map(|(a, b)| video::pair(a, b)));
    }
    compare_pictures(desk, tensors, &inputs)?;
    Ok(inputs)
}

fn compare_pictures(desk: &mut Desk<'_>, tensors: &Tensors, inputs: &[Vec<f32>]) -> Result<(), Problem> {
    let means: Vec<f64> = inputs
        .iter()
        .map(|input| input.iter().map(|x| f64::from(*x)).sum::<f64>() / input.len() as f64)
        .collect();
    desk.close("mean of each input", &means, &tensors.f64s("video_mean")?, 2e-5);
    let one = inputs
        .get(1)
        .ok_or_else(|| Problem::Answer("no inputs".to_owned()))?;
    desk.close32(
        "the second crop of the first clip",
        one,
        &tensors.f32s("video_clip0_crop1")?,
        2e-5,
    );
    let side = video::SIDE;
    let mut grid = Vec::new();
    for plane in inputs.iter().flat_map(|input| input.chunks_exact(side * side)) {
        for row in (8..side).step_by(16) {
            grid.extend((8..side).step_by(16).map(|column| plane[row * side + column]));
        }
    }
    desk.close32(
        "pixels of all inputs",
        &grid,
        &tensors.f32s("video_all_grid16")?,
        2e-5,
    );
    Ok(())
}

/// Runs a tower on its inputs: the mean of the vectors, or nothing where graph or inputs are not here.
fn tower(
    desk: &mut Desk<'_>,
    tensors: &Tensors,
    tower: Tower,
    inputs: Option<&[Vec<f32>]>,
) -> Result<Option<Vec<f32>>, Problem> {
    let name = if tower == Tower::Audio { "audio" } else { "vision" };
    let graph = format!("imagebind_reduced_{name}.onnx");
    let Some(inputs) = inputs.filter(|_| desk.needs(&graph)) else {
        return Ok(None);
    };
    let file = desk.file(&graph)?;
    let network = ImageBind::open(&desk.runtime()?, &file, Verifier::network(&graph), tower)?;
    let vectors = network.embed(inputs)?;
    let want = tensors.f32s(&format!("emb_{name}_per_input"))?;
    // The vectors of sound have length 20.
    let tolerance = if tower == Tower::Audio { 2e-3 } else { 1e-4 };
    desk.close32(&format!("vectors of {name}"), &vectors.concat(), &want, tolerance);
    let mean = mean(&vectors);
    desk.close32(
        &format!("vector of {name}"),
        &mean,
        &tensors.f32s(&format!("emb_{name}"))?,
        tolerance,
    );
    Ok(Some(mean))
}

fn texts(desk: &mut Desk<'_>, golden: &Value, tensors: &Tensors) -> Result<Option<Vec<Vec<f32>>>, Problem> {
    let texts: Vec<String> = golden.read("texts")?;
    let tokenizer = ClipTokenizer::new(&desk.bytes(VOCABULARY)?)?;
    let tokens: Vec<Vec<i64>> = texts.iter().map(|text| tokenizer.encode(text)).collect();
    let want = tensors.i64s("text_tokens")?;
    let rows = texts.iter().zip(&tokens).zip(want.chunks(LENGTH));
    let pairs: Vec<_> = rows
        .map(|((text, got), want)| (format!("{text:?}"), got.clone(), want.to_vec()))
        .collect();
    desk.equal("texts", &pairs.len(), &texts.len());
    desk.all_equal("tokens", &pairs);
    let graph = "imagebind_reduced_text.onnx";
    if !desk.needs(graph) {
        return Ok(None);
    }
    let file = desk.file(graph)?;
    let network = ImageBind::open(&desk.runtime()?, &file, Verifier::network(graph), Tower::Text)?;
    let vectors = network.embed_tokens(&tokens)?;
    for name in ["emb_text_per_input", "emb_text"] {
        desk.close32(name, &vectors.concat(), &tensors.f32s(name)?, 2e-3);
    }
    Ok(Some(vectors))
}
