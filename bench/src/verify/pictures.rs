//! `musiq/` and `aesthetic/`: ratings of pictures.

use omni_perception::vision::{
    aesthetic::{Aesthetic, SIDE, pixel_values},
    musiq::{LENGTH, Musiq, Patches, patches, prepare},
    pillow,
};
use serde_json::Value;

use super::{
    Desk, Entry, Verifier,
    files::{Json, Problem, Tensors},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "musiq",
        file: "musiq.json",
        run: musiq,
    },
    Entry {
        folder: "aesthetic",
        file: "aesthetic.json",
        run: aesthetic,
    },
];

const MUSIQ: &str = "musiq_reduced.onnx";
const AESTHETIC: &str = "aesthetic_reduced.onnx";

fn musiq(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("musiq.json")?;
    let tensors = desk.tensors("musiq_patches.safetensors")?;
    let columns: Vec<usize> = golden.read("sample_columns")?;
    let network = if desk.needs(MUSIQ) {
        let file = desk.file(MUSIQ)?;
        Some(Musiq::open(&desk.runtime()?, &file, Verifier::network(MUSIQ))?)
    } else {
        None
    };
    for (j, case) in golden.cases("cases")?.iter().enumerate() {
        let image = desk.picture(case.text("file")?)?;
        desk.equal(
            &format!("{j}: size"),
            &[image.width, image.height],
            &case.read("wh")?,
        );
        let prepared = prepare(&image);
        let size = [prepared.height, prepared.width];
        desk.equal(
            &format!("{j}: size as prepared"),
            &size,
            &case.read("preprocessed_hw")?,
        );
        if tensors.has(&format!("pre_{j}")) {
            let want = tensors.f32s(&format!("pre_{j}"))?;
            desk.close32(&format!("{j}: prepared picture"), &prepared.data, &want, 5e-5);
        }
        let input = patches(&prepared);
        sequence(desk, case, j, &input, &tensors, &columns)?;
        if let Some(network) = &network {
            let score = f64::from(network.score_patches(&input)?);
            desk.judge(
                &format!("{j}: score"),
                (score - case.number("score_onnx")?).abs(),
                1e-3,
            );
        }
    }
    Ok(())
}

fn sequence(
    desk: &mut Desk<'_>,
    case: &Value,
    j: usize,
    input: &Patches,
    tensors: &Tensors,
    columns: &[usize],
) -> Result<(), Problem> {
    desk.equal(&format!("{j}: patches"), &input.len(), &case.count("seq_len")?);
    let valid = input.mask.iter().filter(|x| **x > 0.0).count();
    desk.equal(
        &format!("{j}: patches of the picture"),
        &valid,
        &case.count("valid")?,
    );
    let mask: Vec<i64> = input
        .mask
        .iter()
        .map(|x| if x.is_nan() { -1 } else { *x as i64 })
        .collect();
    for (name, got) in [
        ("spatial", &input.spatial),
        ("scale", &input.scale),
        ("mask", &mask),
    ] {
        desk.equal(
            &format!("{j}: {name}"),
            got,
            &tensors.i64s(&format!("{name}_{j}"))?,
        );
    }
    let rows = || input.patches.chunks_exact(LENGTH);
    let sum = |row: &[f32], of: fn(f64) -> f64| row.iter().map(|x| of(f64::from(*x))).sum::<f64>();
    let means: Vec<f64> = rows().map(|row| sum(row, |x| x) / LENGTH as f64).collect();
    desk.relative(
        &format!("{j}: mean of each patch"),
        &means,
        &tensors.f64s(&format!("patch_mean_{j}"))?,
        1e-4,
    );
    let lengths: Vec<f64> = rows().map(|row| sum(row, |x| x * x).sqrt()).collect();
    desk.relative(
        &format!("{j}: length of each patch"),
        &lengths,
        &tensors.f64s(&format!("patch_l2_{j}"))?,
        1e-4,
    );
    let wrong = || Problem::key("sample_columns", "is beyond a patch");
    let mut samples = Vec::new();
    for row in rows() {
        for &column in columns {
            samples.push(*row.get(column).ok_or_else(wrong)?);
        }
    }
    let want = tensors.f32s(&format!("patch_samples_{j}"))?;
    desk.close32(&format!("{j}: samples of each patch"), &samples, &want, 5e-5);
    let full = format!("patches_full_{j}");
    if tensors.has(&full) {
        desk.close32(
            &format!("{j}: all of each patch"),
            &input.patches,
            &tensors.f32s(&full)?,
            5e-5,
        );
    }
    Ok(())
}

fn aesthetic(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("aesthetic.json")?;
    let tensors = desk.tensors("aesthetic.safetensors")?;
    let image = desk.picture("aes_in.png")?;
    let resized = [
        ("aes_in.png", "aes_resized_384_pil_bicubic.png"),
        ("aes_in_small.png", "aes_small_resized_384_pil_bicubic.png"),
    ];
    for (source, target) in resized {
        if desk.needs(source) && desk.needs(target) {
            let got = pillow::bicubic(&desk.picture(source)?, SIDE, SIDE);
            let want = desk.picture(target)?;
            desk.pixels(&format!("{source} resized"), &got, &want, 1);
        }
    }
    let (rows, columns) = steps(golden.text("pixel_sampling")?)?;
    let pixels = pixel_values(&image);
    let at = |channel: usize, row: usize, column: usize| pixels[(channel * SIDE + row) * SIDE + column];
    let mut samples = Vec::new();
    for channel in 0..3 {
        for row in (0..SIDE).step_by(rows) {
            samples.extend((0..SIDE).step_by(columns).map(|column| at(channel, row, column)));
        }
    }
    let want = tensors.f32s("pixel_values_channel_rows")?;
    desk.close32("the network's input", &samples, &want, 1e-6);
    if desk.needs(AESTHETIC) {
        let file = desk.file(AESTHETIC)?;
        let network = Aesthetic::open(&desk.runtime()?, &file, Verifier::network(AESTHETIC))?;
        let outputs = network.run(&image)?;
        let score = f64::from(network.score(&image)?);
        desk.judge("score", (score - golden.number("reduced_score")?).abs(), 1e-3);
        let vector = outputs.iter().find(|output| output.name == "image_embeds");
        let vector = vector.and_then(|output| output.f32s()).unwrap_or_default();
        desk.close32(
            "the picture's vector",
            vector,
            &tensors.f32s("image_embeds_reduced")?,
            1e-3,
        );
    } else {
        tensors.know("image_embeds_reduced");
    }
    if tensors.has("head_embeddings") {
        tensors.know("head_embeddings");
        tensors.know("head_expected_published_weights");
        desk.needs_weights(
            "the published head",
            "takes aesthetic_predictor_v2_5.pth, which is not among the files",
        );
    }
    Ok(())
}

/// The steps in `rows 0::48, cols 0::8`.
fn steps(text: &str) -> Result<(usize, usize), Problem> {
    let step = |part: &str| {
        part.rsplit_once("::")
            .and_then(|(_, step)| step.trim().parse().ok())
    };
    let both = text
        .split_once(',')
        .and_then(|(rows, columns)| Some((step(rows)?, step(columns)?)));
    both.filter(|(rows, columns)| *rows > 0 && *columns > 0)
        .ok_or_else(|| Problem::key("pixel_sampling", "is no `rows 0::a, cols 0::b`"))
}
