//! `vbench/`: temporal flickering (VBench, on OpenCV's frames).

use std::ops::ControlFlow;

use omni_media::{Image, Limits, Span, read_frames_twice};
use sha2::{Digest, Sha256};

use super::{
    Desk, Entry,
    files::{Json, Problem, listed},
};
use crate::metrics::tf::Flicker;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "vbench",
        file: "temporal_flickering.json",
        run: clips,
    },
    Entry {
        folder: "vbench",
        file: "tf_synthetic.safetensors",
        run: synthetic,
    },
];

/// Given equal frames.
const EXACT: f64 = 1e-6;
/// For a decoder of another version, whose frames differ by a level here and there.
const DECODED: f64 = 2e-4;

/// What of a clip is compared.
#[derive(Default)]
struct Seen {
    flicker: Flicker,
    pairs: Vec<f64>,
    opencv: Vec<String>,
    decord: Vec<String>,
    first: Option<(Image, Image)>,
    frames: usize,
}

fn clips(desk: &mut Desk<'_>) -> Result<(), Problem> {
    for case in listed(&desk.json("temporal_flickering.json")?)? {
        let name = case.text("file")?;
        let (opencv, decord): (Vec<String>, Vec<String>) =
            (case.read("sha256_bgr_opencv")?, case.read("sha256_rgb_decord")?);
        let seen = look(desk, name, opencv.len().max(decord.len()))?;
        desk.equal(
            &format!("{name}: frames"),
            &seen.frames,
            &case.count("frames_opencv")?,
        );
        let same = seen.opencv.iter().zip(&opencv).filter(|(a, b)| a == b).count();
        let tolerance = if same == opencv.len() { EXACT } else { DECODED };
        let want: Vec<f64> = case.read("pair_mae")?;
        let tagged = seen.decord.iter().zip(&decord).filter(|(a, b)| a == b).count();
        let quantity = format!(
            "{name}: pairs ({same} of {} frames equal to OpenCV's, {tagged} of {} to decord's)",
            opencv.len(),
            decord.len()
        );
        let pairs = |values: &[f64]| values.iter().map(|m| m / 255.0).collect::<Vec<_>>();
        desk.close(&quantity, &pairs(&seen.pairs), &pairs(&want), tolerance);
        let score = seen.flicker.score().unwrap_or(f64::NAN);
        desk.judge(
            &format!("{name}: tf"),
            (score - case.number("score")?).abs(),
            tolerance,
        );
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let Some((tagged, plain)) = &seen.first else {
            continue;
        };
        for (kind, got) in [("opencv", plain), ("decord", tagged)] {
            let file = format!("{stem}_frame0_{kind}.png");
            if desk.needs(&file) {
                let want = desk.picture(&file)?;
                desk.pixels(&format!("{name}: first frame by {kind}"), got, &want, 2);
            }
        }
    }
    Ok(())
}

fn look(desk: &mut Desk<'_>, name: &str, hashes: usize) -> Result<Seen, Problem> {
    let path = desk.file(name)?;
    let mut seen = Seen::default();
    read_frames_twice(&path, &Span::default(), &Limits::default(), &mut |frame| {
        let plain = frame.bt601.unwrap_or(frame.image);
        if seen.frames < hashes {
            let bgr: Vec<u8> = plain
                .data
                .chunks_exact(3)
                .flat_map(|p| [p[2], p[1], p[0]])
                .collect();
            seen.opencv.push(hex(&bgr));
            seen.decord.push(hex(&frame.image.data));
        }
        seen.first
            .get_or_insert_with(|| (frame.image.clone(), plain.clone()));
        seen.pairs.extend(seen.flicker.push(plain));
        seen.frames += 1;
        ControlFlow::Continue(())
    })
    .map_err(|error| Problem::file(name, error))?;
    Ok(seen)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn synthetic(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let tensors = desk.tensors("tf_synthetic.safetensors")?;
    let shape = tensors.shape("frames")?;
    let [_, height, width, 3] = shape[..] else {
        return Err(Problem::key("frames", format!("has shape {shape:?}")));
    };
    let bytes: Vec<u8> = tensors.i64s("frames")?.into_iter().map(|x| x as u8).collect();
    let mut flicker = Flicker::default();
    let mut pairs = Vec::new();
    for data in bytes.chunks_exact((height * width * 3).max(1)) {
        let data = data.to_vec();
        pairs.extend(flicker.push(&Image { width, height, data }).map(|m| m as f32));
    }
    desk.close32("pairs", &pairs, &tensors.f32s("pair_mae")?, EXACT);
    desk.close(
        "tf",
        &[flicker.score().unwrap_or(f64::NAN)],
        &tensors.f64s("score")?,
        EXACT,
    );
    Ok(())
}
