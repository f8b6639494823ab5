//! The backbone's files.

use super::golden::{Golden, flat};
use crate::{
    Error, Result,
    net::{
        Block, FusionConfig, FusionModel, RefLayout, Stream, StreamConfig, StreamInput, TimeEmbedding,
        audio_rope, axis_frequencies, axis_pairs, sinusoid, video_rope,
    },
    ops::{self, Rope, Rows},
    weights::{Formula, Trained, Weights, value_of},
};
use candle_core::{DType, Tensor};
use serde::Deserialize;

const NETWORK: f64 = 1e-5;
const EXACT: f64 = 1e-6;
const HALF: f64 = 3e-2;

fn counted(count: usize) -> Vec<f64> {
    (0..count).map(|unit| unit as f64).collect()
}

/// Cosine and sine of each pair at positions 0.. or at one position, `[n, pairs, 2]`.
fn table(positions: &[f64], frequencies: &[f64]) -> Vec<f64> {
    let angles = positions
        .iter()
        .flat_map(|position| frequencies.iter().map(move |frequency| position * frequency));
    angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect()
}

/// Tables of positions, and tokens rotated by them; padding stays as it is.
pub(super) fn rope(golden: &mut Golden) -> Result<()> {
    let scaling: f64 = golden.entry("audio_scaling")?;
    for name in golden.names("") {
        let Some(case) = name.strip_suffix(".x") else {
            continue;
        };
        let x = golden.tensor(&name)?; // (samples, tokens, heads, size)
        let size = x.dim(3)?;
        let video = case.starts_with("video");
        let pairs = axis_pairs(size);
        let frequencies: Vec<f64> = if video {
            pairs.into_iter().flat_map(axis_frequencies).collect()
        } else {
            axis_frequencies(pairs[0])
                .into_iter()
                .map(|frequency| scaling * frequency)
                .collect()
        };
        for (rows, positions) in [("first64", counted(64)), ("row1000", vec![1000.0])] {
            let name = format!("{case}.freqs_{rows}");
            if golden.has(&name) {
                golden.absolute(&name, &table(&positions, &frequencies), 1e-9)?;
            }
        }
        let grids = golden.counts(&format!("{case}.grid"))?;
        let mut turned = Vec::new();
        for (sample, grid) in grids.chunks_exact(if video { 3 } else { 1 }).enumerate() {
            let rope = match *grid {
                [f, h, w] => video_rope(&counted(f), h, w, size, &golden.device())?,
                _ => audio_rope(&counted(grid[0]), scaling, size, &golden.device())?,
            };
            let rows = x.narrow(0, sample, 1)?.squeeze(0)?.flatten_from(1)?;
            let rope = rope.padded(rows.dim(0)?)?;
            turned.push(ops::norm_rope(&rows, None, 0.0, Some(&rope))?);
        }
        let turned = Tensor::stack(&turned, 0)?.reshape(x.shape())?;
        golden.relative(&format!("{case}.y"), &turned, EXACT)?;
    }
    Ok(())
}

/// Sinusoids, and the two embeddings of a time.
pub(super) fn time_embedding(golden: &mut Golden) -> Result<()> {
    let times = golden.values("t")?;
    for name in golden.names("sinusoid_") {
        let dim = name["sinusoid_".len()..]
            .parse()
            .map_err(|_| Error::Config(format!("`{name}`")))?;
        let ours: Vec<f64> = times.iter().flat_map(|t| sinusoid(*t, dim)).collect();
        golden.absolute(&name, &ours, 1e-9)?;
    }
    let weights = golden.weights("w.")?;
    let embedding = TimeEmbedding::sized(golden.entry("dim")?, golden.entry("freq_dim")?, &weights)?;
    weights.finish()?;
    let (e, e0) = embedding.forward(&times, DType::F32)?;
    golden.relative("e", &e, EXACT)?;
    golden.relative("e0", &e0, EXACT)
}

#[derive(Deserialize)]
struct BlockConfig {
    dim: usize,
    ffn: usize,
    heads: usize,
    eps: f64,
    qk_norm: bool,
    cross_attn_norm: bool,
    rope_audio_scaling: f64,
}

/// One block, called as video and as audio, with padded samples and a time of its own for every token.
pub(super) fn wan_block(golden: &mut Golden) -> Result<()> {
    let sizes: BlockConfig = golden.config()?;
    let config = StreamConfig {
        dim: sizes.dim,
        ffn_dim: sizes.ffn,
        num_heads: sizes.heads,
        eps: sizes.eps,
        qk_norm: sizes.qk_norm,
        cross_attn_norm: sizes.cross_attn_norm,
        ..FusionConfig::tiny().video
    };
    let weights = golden.weights("w.")?;
    let block = Block::new(&config, false, &weights)?;
    weights.finish()?;
    let (x, e) = (golden.tensor("in.x")?, golden.tensor("in.e")?);
    let context = golden.tensor("in.context")?;
    let (samples, tokens, _) = x.dims3()?;
    let index = (0..tokens)
        .map(|token| u32::try_from(token).unwrap_or(u32::MAX))
        .collect();
    let rows = Rows::indexed(index);
    let size = config.head_size();
    let mut found: [Vec<Tensor>; 6] = Default::default();
    for sample in 0..samples {
        let one = |tensor: &Tensor| tensor.narrow(0, sample, 1)?.squeeze(0);
        let (x, context) = (one(&x)?, one(&context)?);
        let m = block.modulation(&one(&e)?, &rows)?;
        let grid = &golden.counts("in.grid")?[3 * sample..][..3];
        let video =
            video_rope(&counted(grid[0]), grid[1], grid[2], size, &golden.device())?.padded(tokens)?;
        let length = golden.counts("in.audio_grid")?[sample];
        let audio =
            audio_rope(&counted(length), sizes.rope_audio_scaling, size, &golden.device())?.padded(tokens)?;
        let run = |rope: &Rope, keys: usize| {
            let x = block.attend_self(&x, &m, rope, keys)?;
            block.attend_rest(&x, &m, &context, None)
        };
        let (keys, audio_keys) = (
            golden.counts("in.seq_lens")?[sample],
            golden.counts("in.audio_seq_lens")?[sample],
        );
        found[0].push(run(&video, keys)?);
        found[1].push(run(&audio, audio_keys)?);
        found[2].push(m.stacked()?);
        found[3].push(block.self_attention().itself(&x, &video, keys)?);
        found[4].push(block.cross_attention().over(&x, &context)?);
        found[5].push(block.self_attention().normed_query(&x)?);
    }
    let names = [
        "out.y",
        "out.audio_y",
        "mid.modulation",
        "mid.self_attn_of_x",
        "mid.cross_attn_of_x",
        "mid.rms_norm_q_of_x",
    ];
    for (name, found) in names.into_iter().zip(&found) {
        golden.relative(name, &Tensor::stack(found, 0)?, NETWORK)?;
    }
    Ok(())
}

fn single(golden: &Golden) -> Result<Stream> {
    let weights = golden.weights("w.")?;
    let stream = Stream::new(&golden.config()?, false, &weights)?;
    weights.finish()?;
    Ok(stream)
}

/// The samples of a single-stream file: latents, texts, times. Padding to a common length changes nothing, so the stored
/// length of the batch is looked at and not used.
fn samples(golden: &Golden) -> Result<Vec<StreamInput>> {
    golden.stored("in.seq_len")?;
    let times = golden.values("in.t")?;
    let one = |(sample, t): (usize, &f64)| {
        let text = golden.tensor(&format!("in.context{sample}"))?;
        Ok(StreamInput::new(
            golden.tensor(&format!("in.x{sample}"))?,
            text,
            *t,
        ))
    };
    times.iter().enumerate().map(one).collect()
}

/// The video stream alone.
pub(super) fn video_only(golden: &mut Golden) -> Result<()> {
    let stream = single(golden)?;
    let size = stream.config().patch_size.clone();
    for (sample, input) in samples(golden)?.into_iter().enumerate() {
        let mid = format!("mid.patch_embedding_x{sample}");
        if golden.has(&mid) {
            let (_, f, h, w) = input.latent.dims4()?;
            let tokens = stream.embed(&input.latent)?.t()?; // (d, tokens)
            let grid = (1, tokens.dim(0)?, f / size[0], h / size[1], w / size[2]);
            golden.relative(&mid, &tokens.contiguous()?.reshape(grid)?, NETWORK)?;
        }
        golden.relative(&format!("out.y{sample}"), &stream.forward(&input)?, NETWORK)?;
        let clean = first_frame_clean(input)?;
        let name = format!("out.clean_first_frame.y{sample}");
        if golden.has(&name) {
            golden.relative(&name, &stream.forward(&clean)?, NETWORK)?;
        }
    }
    Ok(())
}

fn first_frame_clean(mut input: StreamInput) -> Result<StreamInput> {
    input.clean = vec![false; input.latent.dim(1)?];
    input.clean[0] = true;
    Ok(input)
}

/// The audio stream alone.
pub(super) fn audio_only(golden: &mut Golden) -> Result<()> {
    let stream = single(golden)?;
    for (sample, input) in samples(golden)?.into_iter().enumerate() {
        let mid = format!("mid.patch_embedding_x{sample}");
        if golden.has(&mid) {
            golden.relative(&mid, &stream.embed(&input.latent)?.unsqueeze(0)?, NETWORK)?;
        }
        golden.relative(&format!("out.y{sample}"), &stream.forward(&input)?, NETWORK)?;
    }
    Ok(())
}

/// The model with a file's own configuration and weights, frozen.
pub(super) fn fusion_model(golden: &Golden) -> Result<FusionModel> {
    let weights = golden.weights("w.")?;
    let model = FusionModel::new(&golden.config::<FusionConfig>()?, &weights)?;
    weights.finish()?;
    Ok(model)
}

/// The model with a file's weights, all of them trained.
pub(super) fn fusion_of(golden: &Golden, config: FusionConfig) -> Result<(FusionModel, Vec<Trained>)> {
    let weights = golden.weights("w.")?.train(|_| true);
    let model = FusionModel::new(&config, &weights)?;
    weights.finish()?;
    Ok((model, weights.trained()))
}

/// Both streams: together, image-to-video, a block skipped, two samples, one stream absent.
pub(super) fn fused(golden: &mut Golden) -> Result<()> {
    let model = fusion_model(golden)?;
    let times = golden.values("in.t")?;
    let mut inputs = Vec::new();
    for (sample, t) in times.iter().enumerate() {
        let input = |latent: &str, text: &str| {
            let text = golden.tensor(&format!("in.{text}_context{sample}"))?;
            Ok::<_, Error>(StreamInput::new(
                golden.tensor(&format!("in.{latent}{sample}"))?,
                text,
                *t,
            ))
        };
        inputs.push((input("video", "vid")?, input("audio", "audio")?));
    }
    let Some((video, audio)) = inputs.first() else {
        return Err(Error::Input("`in.t` is empty".to_owned()));
    };
    let mut states = Vec::new();
    let (v, a) = model.watched(video, audio, 0, |block, v, a| {
        states.push((block, v.clone(), a.clone()))
    })?;
    for (block, v, a) in states {
        for (name, x) in [("video", v), ("audio", a)] {
            let name = format!("A.block{block}.{name}");
            if golden.has(&name) {
                golden.relative(&name, &x.unsqueeze(0)?, NETWORK)?;
            }
        }
    }
    pair(golden, "A", &v, &a, NETWORK)?;
    // the reference's own bf16 path: f32 must be as near to it as bf16 allows
    pair(golden, "A_bf16", &v, &a, HALF)?;
    if golden.exact() && golden.has("A_bf16.out.video") {
        in_half(golden, video, audio)?;
    }
    let (v, a) = model.forward(&first_frame_clean(video.clone())?, audio, 0)?;
    pair(golden, "B_i2v", &v, &a, NETWORK)?;
    for block in 1..model.audio.config().num_layers {
        let case = format!("C_slg{block}");
        if golden.has(&format!("{case}.out.video")) {
            let (v, a) = model.forward(video, audio, block)?;
            pair(golden, &case, &v, &a, NETWORK)?;
        }
    }
    if golden.has("D_batch.out.video0") {
        golden.stored("D_batch.vid_seq_len")?;
        golden.stored("D_batch.audio_seq_len")?;
        for (sample, (video, audio)) in inputs.iter().enumerate() {
            let (v, a) = model.forward(video, audio, 0)?;
            golden.relative_in(&format!("D_batch.out.video{sample}"), &v, NETWORK, Some(HALF))?;
            golden.relative_in(&format!("D_batch.out.audio{sample}"), &a, NETWORK, Some(HALF))?;
        }
    }
    if golden.has("E_audio_only.out.audio") {
        golden.relative_in(
            "E_audio_only.out.audio",
            &model.audio.forward(audio)?,
            NETWORK,
            Some(HALF),
        )?;
    }
    if golden.has("F_video_only.out.video") {
        golden.relative_in(
            "F_video_only.out.video",
            &model.video.forward(video)?,
            NETWORK,
            Some(HALF),
        )?;
    }
    Ok(())
}

/// The same in bf16 throughout, against the reference's own bf16 path: two roundings of 1 to 2 % each.
fn in_half(golden: &mut Golden, video: &StreamInput, audio: &StreamInput) -> Result<()> {
    let weights = golden.weights_as("w.", DType::BF16)?;
    let model = FusionModel::new(&golden.config::<FusionConfig>()?, &weights)?;
    let half = |input: &StreamInput| {
        let (latent, text) = (
            input.latent.to_dtype(DType::BF16)?,
            input.text.to_dtype(DType::BF16)?,
        );
        Ok::<_, Error>(StreamInput::new(latent, text, input.t))
    };
    let (v, a) = model.forward(&half(video)?, &half(audio)?, 0)?;
    for (stream, ours) in [("video", v), ("audio", a)] {
        let stored = golden.wide(&format!("A_bf16.out.{stream}"))?;
        golden.compare(
            &format!("A_bf16.out.{stream}, ours in bf16"),
            &ours,
            &stored,
            HALF,
        )?;
    }
    Ok(())
}

/// Compares a case where it is stored.
fn pair(golden: &mut Golden, case: &str, video: &Tensor, audio: &Tensor, bound: f64) -> Result<()> {
    for (stream, ours) in [("video", video), ("audio", audio)] {
        let name = format!("{case}.out.{stream}");
        if golden.has(&name) {
            golden.relative_in(&name, ours, bound, Some(HALF))?;
        }
    }
    Ok(())
}

/// Rows of the text that `fused_mid_outputs` is computed with.
const MID_TEXT_ROWS: usize = 77;

/// A model of a hundred million parameters from the weight formula; the file holds its outputs.
pub(super) fn fused_mid(golden: &mut Golden) -> Result<()> {
    let config: FusionConfig = golden.config()?;
    let seed: u64 = golden.entry("seed")?;
    let model = FusionModel::new(
        &config,
        &Weights::new(Formula { seed }, golden.dtype(), &golden.device()),
    )?;
    for name in golden.names("check.first64.") {
        let key = name["check.first64.".len()..].to_owned();
        let shapes = Weights::shapes_only();
        FusionModel::new(&config, &shapes)?;
        let asked = shapes.asked();
        let Some((_, shape)) = asked.iter().find(|(asked, _)| *asked == key) else {
            return Err(Error::Input(format!("the network has no `{key}`")));
        };
        let values = Weights::new(Formula { seed }, DType::F32, &golden.device()).get(&key, shape)?;
        let count = golden.stored(&name)?.values.len();
        let first = flat(&values.t().flatten_all()?.narrow(0, 0, count)?)?;
        golden.absolute(&name, &first, 0.0)?;
    }
    let t = golden.scalar("in.t")?;
    let scale = 3f64.sqrt() as f32;
    let width = config.video.text_dim;
    let text = value_of("bench.ctx", seed, MID_TEXT_ROWS * width, scale, 0.0);
    let text = Tensor::from_vec(text, (MID_TEXT_ROWS, width), &golden.device())?;
    golden.absolute_tensor("in.context_first_row", &text.narrow(0, 0, 1)?, 0.0)?;
    let text = text.to_dtype(golden.dtype())?;
    let video = StreamInput::new(golden.tensor("in.video")?, text.clone(), t);
    let audio = StreamInput::new(golden.tensor("in.audio")?, text, t);
    let (v, a) = model.forward(&video, &audio, 0)?;
    golden.relative("out.video", &v, 3e-5)?;
    golden.relative("out.audio", &a, 3e-5)
}

/// References behind the sample, as DreamID-Omni lays them.
pub(super) fn fused_refs(golden: &mut Golden) -> Result<()> {
    let model = fusion_model(&golden.weights_of_other()?)?;
    let timestep: String = golden.entry("timestep")?;
    if !timestep.starts_with("same") {
        return Err(Error::Config(format!("`timestep`: `{timestep}` is not known")));
    }
    let (base, scaling) = (
        golden.scalar("rope.video.offset_base")?,
        golden.scalar("rope.audio.scale")?,
    );
    let layout = RefLayout::spaced(base, scaling);
    let pictures: usize = golden.entry("n_ref_frames")?;
    let voices: Vec<usize> = golden.entry("audio_ref_lengths")?;
    let t = golden.scalar("in.t")?;
    let mut video = StreamInput::new(
        golden.tensor("in.video_with_refs")?,
        golden.tensor("in.vid_context")?,
        t,
    );
    let mut audio = StreamInput::new(
        golden.tensor("in.audio_with_refs")?,
        golden.tensor("in.audio_context")?,
        t,
    );
    let (frames, latents) = (video.latent.dim(1)?, audio.latent.dim(0)?);
    let own = (frames - pictures, latents - voices.iter().sum::<usize>());
    video.positions = counted(own.0);
    video
        .positions
        .extend(counted(pictures).iter().map(|j| layout.base * (j + 1.0)));
    audio.positions = counted(own.1);
    for (j, length) in counted(voices.len()).iter().zip(&voices) {
        audio
            .positions
            .extend(counted(*length).iter().map(|k| layout.audio_step * (j + 1.0) + k));
    }
    audio.scaling = layout.audio_scaling;
    let (v, a) = model.forward(&video, &audio, 0)?;
    golden.relative("out.video", &v, NETWORK)?;
    golden.relative("out.audio", &a, NETWORK)?;
    reference_positions(golden, &layout)
}

/// The rotations alone.
fn reference_positions(golden: &mut Golden, layout: &RefLayout) -> Result<()> {
    let scaling = layout.audio_scaling.unwrap_or_default();
    golden.absolute("rope.audio.offset_base", &[layout.audio_step], 0.0)?;
    if !golden.exact() {
        golden.pass_over("rope.");
        return Ok(());
    }
    let x = golden.tensor("rope.audio.x")?.squeeze(0)?; // (tokens, heads, size)
    let positions = golden.values("rope.audio.positions")?;
    let rope = audio_rope(&positions, scaling, x.dim(2)?, &golden.device())?;
    golden.relative("rope.audio.y", &turned(&x, &rope)?, NETWORK)?;

    let x = golden.tensor("rope.video.x")?.squeeze(0)?;
    let frames = golden.values("rope.video.frame_positions")?;
    let each = x.dim(0)? / frames.len().max(1);
    // the file does not say how the tokens of a frame are laid out: the layout that fits is the one
    let mut best: Option<(f64, Tensor)> = None;
    for rows in (1..=each).filter(|rows| each.is_multiple_of(*rows)) {
        let rope = video_rope(&frames, rows, each / rows, x.dim(2)?, &golden.device())?;
        let ours = turned(&x, &rope)?;
        let off = golden.distance("rope.video.y", &ours)?;
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            best = Some((off, ours));
        }
    }
    match best {
        Some((_, ours)) => golden.relative("rope.video.y", &ours, NETWORK),
        None => Err(Error::Input("`rope.video.x` has no whole frames".to_owned())),
    }
}

fn turned(x: &Tensor, rope: &Rope) -> Result<Tensor> {
    let turned = ops::norm_rope(&x.flatten_from(1)?, None, 0.0, Some(rope))?;
    Ok(turned.reshape(x.shape())?.unsqueeze(0)?)
}
