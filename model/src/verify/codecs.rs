//! The VAEs, the mel front end and the vocoder.

use super::golden::Golden;
use crate::{
    Error, Result,
    net::{
        mel::{Mel, MelConfig},
        vae_audio::{AudioVae, AudioVaeConfig, mp_silu, mp_sum, pixel_norm, unit_weight},
        vae_video::{
            CausalConv, ChannelNorm, FrameAttention, Stage, VideoVae, VideoVaeConfig, average_down,
            duplicate_up, pixels_from_patches, pixels_to_patches,
        },
        vocoder::{self, SnakeBeta, Vocoder, VocoderConfig},
    },
    ops::SNAKE_TAPS,
};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;

const NETWORK: f64 = 1e-5;

/// A batch of one `[1, c, t, h, w]` with frames first and channels last, and back.
fn frames_first(x: &Tensor) -> Result<Tensor> {
    Ok(x.squeeze(0)?.permute((1, 2, 3, 0))?.contiguous()?)
}

fn channels_first(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((3, 0, 1, 2))?.contiguous()?.unsqueeze(0)?)
}

/// The video VAE: whole clips of several lengths, what lies between chunk by chunk, and its parts.
pub(super) fn wan22_vae(golden: &mut Golden) -> Result<()> {
    let weights = golden.weights("w.")?;
    let vae = VideoVae::new(&golden.config::<VideoVaeConfig>()?, &weights)?;
    weights.finish()?;
    let scale = vae.scale(&golden.values("scale.mean")?, &golden.values("scale.std")?)?;
    for name in golden.names("T") {
        let Some(case) = name.strip_suffix(".in.video") else {
            continue;
        };
        let mut seen = BTreeMap::new();
        let mut chunk = 0;
        let mut watch = |stage: Stage, x: &Tensor| {
            let place = match stage {
                Stage::First => "conv1".to_owned(),
                Stage::Down(level) => format!("down{level}"),
                Stage::Middle => "middle".to_owned(),
                Stage::Up(level) => format!("up{level}"),
            };
            // a chunk begins with the first convolution
            chunk += usize::from(stage == Stage::First);
            seen.insert(format!("chunk{}.{place}", chunk - 1), x.clone());
        };
        let video = golden.tensor(&name)?.squeeze(0)?;
        let latent = vae.encode(&video, &scale, &mut watch)?;
        golden.relative(&format!("{case}.out.latent"), &latent.unsqueeze(0)?, NETWORK)?;
        between(golden, &format!("{case}.mid.enc"), &seen)?;
        let decoded = format!("{case}.out.decoded");
        if !golden.has(&decoded) {
            continue;
        }
        let conv2 = format!("{case}.mid.conv2");
        if golden.has(&conv2) {
            golden.relative(
                &conv2,
                &channels_first(&vae.unnormalised(&latent, &scale)?)?,
                NETWORK,
            )?;
        }
        let (mut seen, mut chunk, mut clip) = (BTreeMap::new(), 0, Vec::new());
        let mut watch = |stage: Stage, x: &Tensor| {
            let place = match stage {
                Stage::First => "conv1".to_owned(),
                Stage::Up(level) => format!("up{level}"),
                Stage::Middle | Stage::Down(_) => "middle".to_owned(),
            };
            chunk += usize::from(stage == Stage::First);
            seen.insert(format!("chunk{}.{place}", chunk - 1), x.clone());
        };
        vae.decode(&latent, &scale, &mut watch, |frames| {
            clip.push(frames);
            Ok(())
        })?;
        golden.relative(&decoded, &Tensor::cat(&clip, 1)?.unsqueeze(0)?, NETWORK)?;
        between(golden, &format!("{case}.mid.dec"), &seen)?;
    }
    video_parts(golden)
}

fn between(golden: &mut Golden, prefix: &str, seen: &BTreeMap<String, Tensor>) -> Result<()> {
    for (place, x) in seen {
        let name = format!("{prefix}.{place}");
        if golden.has(&name) {
            golden.relative(&name, &channels_first(x)?, NETWORK)?;
        }
    }
    Ok(())
}

/// `t2s2_c8to16.first_chunk` as factors, output channels, and whether it is a first chunk.
fn factors(case: &str) -> Option<(usize, usize, usize, bool)> {
    let (case, first) = match case.strip_suffix(".first_chunk") {
        Some(case) => (case, true),
        None => (case, false),
    };
    let (factors, channels) = case.strip_prefix('t')?.split_once("_c")?;
    let (ft, fs) = factors.split_once('s')?;
    let (_, output) = channels.split_once("to")?;
    Some((ft.parse().ok()?, fs.parse().ok()?, output.parse().ok()?, first))
}

fn video_parts(golden: &mut Golden) -> Result<()> {
    if golden.has("patchify.in") {
        let x = frames_first(&golden.tensor("patchify.in")?)?;
        let patches = pixels_to_patches(&x)?;
        golden.relative("patchify.out", &channels_first(&patches)?, 0.0)?;
        golden.relative(
            "patchify.in",
            &channels_first(&pixels_from_patches(&patches)?)?,
            0.0,
        )?;
    }
    if golden.has("causal.in") {
        let x = frames_first(&golden.tensor("causal.in")?)?;
        let weights = golden.weights("causal.w.")?;
        let shape = golden.stored("causal.w.weight")?.shape.clone();
        let conv = CausalConv::new(&weights, shape[1], shape[0], [shape[2], shape[3], shape[4]])?;
        weights.finish()?;
        let whole = conv.whole(&x)?;
        golden.relative("causal.out", &channels_first(&whole)?, NETWORK)?;
        let name = "causal.out_chunk2_with_cache2";
        if golden.has(name) {
            let late = golden.stored(name)?.shape[2];
            let parts = conv.in_chunks(&x, x.dim(0)? - late)?;
            golden.relative(name, &channels_first(&parts[1])?, NETWORK)?;
        }
    }
    if golden.has("rms.in") {
        let x = golden.tensor("rms.in")?;
        let norm = ChannelNorm::new(&golden.weights("rms.w.")?, x.dim(1)?, 3)?;
        golden.relative(
            "rms.out",
            &channels_first(&norm.forward(&frames_first(&x)?)?)?,
            NETWORK,
        )?;
    }
    if golden.has("attn.in") {
        let x = golden.tensor("attn.in")?;
        let attention = FrameAttention::new(&golden.weights("attn.w.")?, x.dim(1)?)?;
        golden.relative(
            "attn.out",
            &channels_first(&attention.forward(&frames_first(&x)?)?)?,
            NETWORK,
        )?;
    }
    for (part, from) in [("avgdown.", "avgdown.in"), ("dupup.", "avgdown.in")] {
        for name in golden.names(part) {
            let Some(case) = name[part.len()..].strip_suffix(".out") else {
                continue;
            };
            let unknown = || Error::Input(format!("`{name}` names no factors"));
            let (ft, fs, output, first) = factors(case).ok_or_else(unknown)?;
            let x = frames_first(&golden.tensor(from)?)?;
            let ours = if part == "dupup." {
                duplicate_up(&x, output, ft, fs, first)?
            } else {
                average_down(&x, output, ft, fs)?
            };
            golden.relative(&name, &channels_first(&ours)?, NETWORK)?;
        }
    }
    Ok(())
}

/// `f` of each sample of a batch.
fn batch(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let samples: Vec<Tensor> = (0..x.dim(0)?)
        .map(|sample| f(&x.get(sample)?))
        .collect::<Result<_>>()?;
    Ok(Tensor::stack(&samples, 0)?)
}

/// The audio VAE: both ways, an odd length, and its parts.
pub(super) fn mmaudio_vae(golden: &mut Golden) -> Result<()> {
    let weights = golden.weights("w.")?;
    let vae = AudioVae::new(&golden.config::<AudioVaeConfig>()?, &weights)?;
    weights.finish()?;
    let mel = golden.tensor("in.mel")?;
    let mean = batch(&mel, |mel| Ok(vae.encode(mel)?.0))?;
    golden.relative("out.mean", &mean, NETWORK)?;
    golden.relative("out.logvar", &batch(&mel, |mel| Ok(vae.encode(mel)?.1))?, NETWORK)?;
    golden.relative(
        "out.decoded_mel",
        &batch(&mean, |mean| vae.decode(mean))?,
        NETWORK,
    )?;
    if golden.has("in.mel_odd") {
        let mean = batch(&golden.tensor("in.mel_odd")?, |mel| Ok(vae.encode(mel)?.0))?;
        golden.relative("out.mean_odd", &mean, NETWORK)?;
    }
    if golden.has("in.z") {
        let mel = batch(&golden.tensor("in.z")?, |z| vae.decode(z))?;
        golden.relative("out.decoded_mel_of_z", &mel, NETWORK)?;
    }
    for name in golden.names("eff.") {
        let raw = golden.tensor(&format!("w.{}", &name["eff.".len()..]))?;
        golden.relative(&name, &unit_weight(&raw)?, NETWORK)?;
    }
    if golden.has("normalize.in") {
        let x = golden.tensor("normalize.in")?; // (samples, channels, frames)
        let rows = x.transpose(1, 2)?.contiguous()?;
        let normed = pixel_norm(&rows)?.transpose(1, 2)?.contiguous()?;
        golden.relative("normalize.dim1.out", &normed, NETWORK)?;
        golden.relative("mp_silu.out", &mp_silu(&x)?, NETWORK)?;
        // the second operand is the first with its channels in reverse
        golden.relative("mp_sum_t03.out", &mp_sum(&x, &x.flip(&[1])?, 0.3)?, NETWORK)?;
    }
    Ok(())
}

/// Window, bands and spectrograms.
pub(super) fn mel_16k(golden: &mut Golden) -> Result<()> {
    let config: MelConfig = golden.config()?;
    let window: usize = golden.entry("win")?;
    let (htk, norm, log): (bool, String, String) =
        (golden.entry("htk")?, golden.entry("norm")?, golden.entry("log")?);
    if window != config.n_fft || htk || norm != "slaney" || log != "log10" {
        let form = format!("a mel spectrogram with window {window}, norm {norm}, {log}, HTK {htk}");
        return Err(Error::Config(format!(
            "{form}: known is Slaney's with log10 and a window as long as the transform"
        )));
    }
    let mel = Mel::new(&config)?;
    golden.absolute("hann_window", mel.window(), 1e-6)?;
    golden.absolute("mel_basis", mel.basis(), 1e-6)?;
    for name in golden.names("in.wav") {
        let wave = golden.tensor(&name)?;
        let ours = batch(&wave, |wave| {
            mel.forward(&wave.to_vec1::<f32>()?, &golden.device())
        })?;
        golden.absolute_tensor(&name.replace("in.wav", "out.log10_mel"), &ours, 1e-4)?;
    }
    Ok(())
}

/// The vocoder: a waveform, what lies between, and its activation alone.
pub(super) fn bigvgan(golden: &mut Golden) -> Result<()> {
    let weights = golden.weights("w.")?;
    let network = Vocoder::new(&golden.config::<VocoderConfig>()?, &weights)?;
    weights.finish()?;
    let mel = golden.tensor("in.mel")?.squeeze(0)?;
    let mut seen = Vec::new();
    let wave = network.forward(&mel, |stage, x| {
        let name = match stage {
            vocoder::Stage::First => "mid.conv_pre".to_owned(),
            vocoder::Stage::Up(index) => format!("mid.up{index}"),
            vocoder::Stage::Amp(index) => format!("mid.amp{index}"),
        };
        seen.push((name, x.clone()));
    })?;
    for (name, x) in seen {
        if golden.has(&name) {
            golden.relative(&name, &x.t()?.contiguous()?.unsqueeze(0)?, NETWORK)?;
        }
    }
    golden.relative("out.wav", &wave.reshape((1, 1, wave.elem_count()))?, NETWORK)?;
    if golden.has("act.in") {
        activation(golden)
    } else {
        Ok(())
    }
}

fn activation(golden: &mut Golden) -> Result<()> {
    let taps = |name: &str| -> Result<[f32; SNAKE_TAPS]> {
        let taps = golden.tensor(name)?.flatten_all()?.to_vec1::<f32>()?;
        taps.try_into()
            .map_err(|_| Error::Input(format!("`{name}` has no {SNAKE_TAPS} taps")))
    };
    let (alpha, beta) = (golden.tensor("act.alpha")?, golden.tensor("act.beta")?);
    let (up, down) = (taps("act.up.filter")?, taps("act.down.filter")?);
    let act = SnakeBeta::from_parts(&alpha, &beta, up, down)?;
    let x = golden.tensor("act.in")?; // (samples, channels, time)
    let run = |f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        batch(&x, |x| Ok(f(&x.t()?.contiguous()?)?.t()?.contiguous()?))
    };
    golden.relative("act.up.out", &run(&|x| act.double(x))?, NETWORK)?;
    golden.relative("act.down.out", &run(&|x| act.halve(x))?, NETWORK)?;
    golden.relative("act.snakebeta.out", &run(&|x| act.snake(x))?, NETWORK)?;
    golden.relative("act.out", &run(&|x| act.forward(x))?, NETWORK)?;
    let name = "act.snake_linear_alpha1.out";
    if golden.has(name) {
        // the older snake at rate and share one, both not logarithms, between the same filters
        let zero = Tensor::zeros(x.dim(1)?, DType::F32, &golden.device())?;
        let plain = SnakeBeta::from_parts(&zero, &zero, up, down)?;
        golden.relative(name, &run(&|x| plain.forward(x))?, NETWORK)?;
    }
    Ok(())
}
