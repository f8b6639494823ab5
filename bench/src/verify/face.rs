//! `face/`: detection, alignment, resizing (insightface, OpenCV 4.10, S3FD).

use omni_media::Image;
use omni_perception::vision::{
    Face, arcface_blob,
    resize::resize,
    s3fd,
    scrfd::{self, Level, Rank},
    warp::{norm_crop, similarity, template, warp_affine},
};
use serde_json::Value;

use super::{
    Desk, Entry,
    files::{Json, Problem, Tensors},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "face",
        file: "scrfd.json",
        run: detect,
    },
    Entry {
        folder: "face",
        file: "norm_crop.json",
        run: align,
    },
    Entry {
        folder: "face",
        file: "arcface_blob_0.safetensors",
        run: blob,
    },
    Entry {
        folder: "face",
        file: "resize.json",
        run: resizes,
    },
    Entry {
        folder: "face",
        file: "s3fd_postprocess.json",
        run: s3fd_boxes,
    },
];

const STRIDES: [usize; 3] = [8, 16, 32];

fn detect(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let facts = desk.json("scrfd.json")?;
    if desk.needs("frame.png") {
        letterbox(desk, &facts)?;
    }
    if desk.needs("scrfd_maps.safetensors") {
        postprocess(desk, &facts)?;
    }
    Ok(())
}

fn letterbox(desk: &mut Desk<'_>, facts: &Value) -> Result<(), Problem> {
    let frame = desk.picture("frame.png")?;
    let [width, height]: [usize; 2] = facts.read("input_size_wh")?;
    let (tensor, scale) = scrfd::blob(&frame, width)?;
    let (mean, std) = (
        facts.number("input_mean")? as f32,
        facts.number("input_std")? as f32,
    );
    desk.judge(
        "scale of the picture",
        (f64::from(scale) - facts.number("det_scale")?).abs(),
        1e-6,
    );
    let size = width * height;
    if tensor.len() != 3 * size {
        return Err(Problem::key("input_size_wh", "is no square"));
    }
    if !tensor.iter().all(|x| x.is_finite()) {
        desk.fail("the input", "a number is not finite".to_owned());
        return Ok(());
    }
    let want: [f32; 3] = facts.read("first_blob_value_rgb")?;
    let first: Vec<f32> = (0..3).map(|channel| tensor[channel * size]).collect();
    desk.close32(
        "first values of the input",
        &first,
        &want,
        f64::from(1.0 / std) + 1e-6,
    );
    let last = f64::from(tensor[size - 1]);
    desk.judge(
        "value of the padding",
        (last - facts.number("pad_blob_value")?).abs(),
        1e-6,
    );
    if desk.needs("det_input_bgr.png") {
        let want = desk.picture("det_input_bgr.png")?;
        let level = |channel: usize, i: usize| (tensor[channel * size + i] * std + mean).round() as u8;
        let data = (0..size)
            .flat_map(|i| [level(0, i), level(1, i), level(2, i)])
            .collect();
        desk.pixels(
            "the letterboxed picture",
            &Image { width, height, data },
            &want,
            1,
        );
    }
    Ok(())
}

fn postprocess(desk: &mut Desk<'_>, facts: &Value) -> Result<(), Problem> {
    let tensors = desk.tensors("scrfd_maps.safetensors")?;
    let [width, height]: [usize; 2] = facts.read("input_size_wh")?;
    let [image_width, image_height]: [usize; 2] = facts.read("image_wh")?;
    let scale = facts.number("det_scale")? as f32;
    let maps: Result<Vec<[Vec<f32>; 3]>, Problem> = STRIDES
        .iter()
        .map(|s| {
            let map = |name: &str| tensors.f32s(&format!("{name}_{s}"));
            Ok([map("score")?, map("bbox")?, map("kps")?])
        })
        .collect();
    let maps = maps?;
    let faces = |threshold: f32, overlap: f32| {
        let levels: Vec<Level<'_>> = STRIDES
            .iter()
            .zip(&maps)
            .map(|(&stride, [scores, boxes, points])| Level {
                stride,
                scores,
                boxes,
                points,
            })
            .collect();
        scrfd::suppress(scrfd::decode(&levels, width, height, scale, threshold), overlap)
    };
    let usual = faces(
        facts.number("det_thresh")? as f32,
        facts.number("nms_thresh")? as f32,
    );
    same(desk, "faces", &usual, &tensors, "det", Some("kps"))?;
    for (rank, name) in [(Rank::AreaAndCentre, "default"), (Rank::Area, "max")] {
        let best = scrfd::best(usual.clone(), 1, rank, image_width, image_height);
        let (boxes, points) = (format!("det_max1_{name}"), format!("kps_max1_{name}"));
        if tensors.has(&boxes) {
            same(
                desk,
                &format!("the one face by rank `{name}`"),
                &best,
                &tensors,
                &boxes,
                Some(&points),
            )?;
        }
    }
    let others: Vec<String> = tensors
        .names()
        .filter(|name| name.starts_with("det_thr"))
        .map(str::to_owned)
        .collect();
    for name in others {
        // `det_thr065_nms02` is threshold 0.65 and overlap 0.2.
        let limits = name.trim_start_matches("det_thr").split_once("_nms");
        let share = |digits: &str| {
            digits
                .get(1..)
                .and_then(|rest| format!("{}.{rest}", &digits[..1]).parse().ok())
        };
        let limits = limits.and_then(|(a, b)| Some((share(a)?, share(b)?)));
        let (threshold, overlap) = limits.ok_or_else(|| Problem::key(&name, "names no limits"))?;
        let quantity = format!("faces at threshold {threshold}, overlap {overlap}");
        same(desk, &quantity, &faces(threshold, overlap), &tensors, &name, None)?;
    }
    Ok(())
}

/// The larger of two differences; one that is no number is beyond every tolerance, which `f32::max` would drop.
fn worse(a: f32, b: f32) -> f32 {
    match a.is_nan() || b.is_nan() {
        true => f32::INFINITY,
        false => a.max(b),
    }
}

/// Compares as sets: the order of equal scores is free. Each expected face is paired with the nearest one left.
fn same(
    desk: &mut Desk<'_>,
    quantity: &str,
    got: &[Face],
    tensors: &Tensors,
    boxes: &str,
    points: Option<&str>,
) -> Result<(), Problem> {
    let boxes = tensors.f32s(boxes)?;
    let points = points.map(|name| tensors.f32s(name)).transpose()?;
    let count = boxes.len() / 5;
    if got.len() != count {
        desk.fail(quantity, format!("{} faces instead of {count}", got.len()));
        return Ok(());
    }
    let mut left: Vec<Vec<f32>> = got
        .iter()
        .map(|face| {
            let mut numbers = [face.bbox.as_slice(), &[face.score]].concat();
            numbers.extend(points.iter().flat_map(|_| face.points.as_flattened()));
            numbers
        })
        .collect();
    let mut worst = 0.0f32;
    for i in 0..count {
        let mut want = boxes[i * 5..][..5].to_vec();
        want.extend(
            points
                .iter()
                .flat_map(|points| points.iter().skip(i * 10).take(10)),
        );
        let apart = |face: &Vec<f32>| {
            face.iter()
                .zip(&want)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, worse)
        };
        let nearest = (0..left.len()).min_by(|&a, &b| apart(&left[a]).total_cmp(&apart(&left[b])));
        if let Some(nearest) = nearest {
            worst = worse(worst, apart(&left.swap_remove(nearest)));
        }
    }
    desk.judge(quantity, f64::from(worst), 1e-3);
    Ok(())
}

fn align(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let file = desk.json("norm_crop.json")?;
    let want: Vec<[f32; 2]> = file.read("template_112")?;
    desk.close32(
        "the template",
        template(112).as_flattened(),
        want.as_flattened(),
        1e-4,
    );
    let frame = if desk.needs("frame.png") {
        Some(desk.picture("frame.png")?)
    } else {
        None
    };
    for (i, case) in file.cases("cases")?.iter().enumerate() {
        let points: [[f32; 2]; 5] = case.read("landmarks")?;
        let matrix: [[f64; 3]; 2] = case.read("matrix_2x3")?;
        let found =
            similarity(&points, &template(112)).ok_or_else(|| Problem::key("landmarks", "span nothing"))?;
        desk.close(
            &format!("case {i}: matrix"),
            found.as_flattened(),
            matrix.as_flattened(),
            1e-4,
        );
        for (key, size) in [("file", 112), ("file_224", 224)] {
            let (Some(name), Some(frame)) = (case.get(key).and_then(Value::as_str), &frame) else {
                continue;
            };
            let want = desk.picture(name)?;
            // The reference solves for its matrix in f32 and is off by that noise; so the picture is compared twice:
            // warped by its matrix, where every pixel must agree, and from the landmarks.
            let scaled = matrix.map(|row| row.map(|x| x * size as f64 / 112.0));
            let warped = warp_affine(frame, &scaled, size, size);
            desk.pixels(&format!("case {i}: warped to {size} pixels"), &warped, &want, 0);
            let crop =
                norm_crop(frame, &points, size).ok_or_else(|| Problem::key("landmarks", "span nothing"))?;
            desk.pixels(&format!("case {i}: aligned to {size} pixels"), &crop, &want, 4);
        }
    }
    Ok(())
}

fn blob(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let crop = desk.picture("norm_crop_0.png")?;
    let want = desk.tensors("arcface_blob_0.safetensors")?.f32s("blob")?;
    desk.close32("the network's input", &arcface_blob(&crop), &want, 1e-6);
    Ok(())
}

fn resizes(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let file = desk.json("resize.json")?;
    let source = desk.picture(file.text("src")?)?;
    for case in file.cases("cases")? {
        let (width, height) = (case.count("w")?, case.count("h")?);
        let want = desk.picture(case.text("file")?)?;
        desk.pixels(
            &format!("{width}x{height}"),
            &resize(&source, width, height),
            &want,
            1,
        );
    }
    Ok(())
}

fn s3fd_boxes(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let facts = desk.json("s3fd_postprocess.json")?;
    let tensors = desk.tensors("s3fd_postprocess.safetensors")?;
    let input: (usize, usize) = facts.read("net_input_wh")?;
    let image: (usize, usize) = facts.read("image_wh")?;
    let priors = s3fd::priors(input.0, input.1);
    desk.close32(
        "priors",
        priors.as_flattened(),
        &tensors.f32s("priors_cxcywh")?,
        1e-6,
    );
    let boxes = s3fd::postprocess(
        &tensors.f32s("loc")?,
        &tensors.f32s("conf_softmax")?,
        input,
        image,
    );
    desk.close(
        "faces",
        boxes.as_flattened(),
        &tensors.f64s("boxes_xyxy_score")?,
        1e-2,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_no_number_is_beyond_every_tolerance() {
        assert_eq!((worse(1.0, 2.0), worse(2.0, 1.0)), (2.0, 2.0));
        assert_eq!([worse(f32::NAN, 1.0), worse(1.0, f32::NAN)], [f32::INFINITY; 2]);
    }
}
