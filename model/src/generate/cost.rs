//! What a request costs, before anything is loaded.

use super::{GuidanceMode, Precision, Request, VOICE_LATENTS};
use crate::{
    Result,
    checkpoint::{Config, parameters},
    codec::{CodecKind, SAMPLES_PER_LATENT, SPACE_STRIDE, pictures},
    net::{StreamConfig, Umt5, umt5::Naming},
    weights::Weights,
};
use serde::{Deserialize, Serialize};

/// Parameters of the released codec: video VAE, audio VAE, vocoder.
const CODEC_PARAMETERS: u64 = 704_688_668 + 171_700_000 + 112_200_000;

/// What a request takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Of the backbone, OCF and MTP-CA.
    pub parameters: u64,
    /// Of the text encoder.
    pub text_parameters: u64,
    /// Tokens of the video stream, references included.
    pub video_tokens: u64,
    /// Tokens of the audio stream, references included.
    pub audio_tokens: u64,
    /// Passes of the backbone in all.
    pub passes: u64,
    /// Floating-point operations of one pass, two per multiply-add.
    pub pass_flops: f64,
    /// Of all passes.
    pub flops: f64,
    /// Most bytes held at once, estimated: the weights of the largest phase and what it computes with.
    pub memory: u64,
    /// The phase that takes them: `text`, `denoise` or `decode`.
    pub largest: String,
    /// Each phase and its bytes, in the order in which they run.
    pub phases: Vec<(String, u64)>,
}

impl Cost {
    /// Most bytes that the backbone's device holds, and the phase that takes them. With [`Layout::offload`](super::Layout::offload)
    /// that is the backbone's own phase.
    pub fn on_device(&self, offload: bool) -> (u64, &str) {
        self.most(|name| !offload || name == DENOISE)
    }

    /// Most bytes that the processor holds for the parts that were put there; 0 without offloading.
    pub fn aside(&self, offload: bool) -> (u64, &str) {
        self.most(|name| offload && name != DENOISE)
    }

    fn most(&self, counts: impl Fn(&str) -> bool) -> (u64, &str) {
        let phases = self.phases.iter().filter(|(name, _)| counts(name));
        let largest = phases.max_by_key(|(_, bytes)| *bytes);
        largest.map_or((0, ""), |(name, bytes)| (*bytes, name))
    }
}

/// The phase of the backbone.
const DENOISE: &str = "denoise";

fn wide(count: usize) -> u64 {
    count as u64
}

/// Operations of one stream's blocks over `own` tokens that look at `other` tokens of the other stream.
fn stream_flops(config: &StreamConfig, own: f64, other: f64) -> f64 {
    let at = |count: usize| count as f64;
    let (d, f, text) = (at(config.dim), at(config.ffn_dim), at(config.text_len));
    let itself = 8.0 * own * d * d + 4.0 * own * own * d;
    let reading = 4.0 * own * d * d + 4.0 * text * d * d + 4.0 * own * text * d;
    let fused = 4.0 * other * d * d + 4.0 * own * other * d;
    let feed = 4.0 * own * d * f;
    at(config.num_layers) * (itself + reading + fused + feed)
}

/// Operations of a pass of both streams, the audio's patch embedding included.
fn pass_flops(config: &Config, video: u64, audio: u64) -> f64 {
    let (v, a) = (video as f64, audio as f64);
    let stream = &config.backbone.audio;
    let (d, hidden) = (stream.dim as f64, stream.audio_hidden() as f64);
    let patches = 14.0 * a * (stream.in_dim as f64 * d + 3.0 * d * hidden);
    stream_flops(&config.backbone.video, v, a) + stream_flops(stream, a, v) + patches
}

/// What a request takes with a checkpoint of this configuration.
pub fn cost(config: &Config, request: &Request, precision: Precision) -> Result<Cost> {
    let grid = (request.height / SPACE_STRIDE / 2) * (request.width / SPACE_STRIDE / 2);
    let faces = request
        .subjects
        .iter()
        .filter(|subject| subject.face.is_some())
        .count();
    let voices: usize = request
        .subjects
        .iter()
        .flat_map(|subject| &subject.voice)
        .map(|samples| (samples.len() / SAMPLES_PER_LATENT).min(VOICE_LATENTS))
        .sum();
    let video_tokens = wide((request.frames + faces) * grid);
    let audio_tokens = wide(request.sounds + voices);
    let third = request.guidance_mode == GuidanceMode::Ref3 && request.has_references();
    let passes = wide(request.steps) * if third { 3 } else { 2 };
    let pass_flops = pass_flops(config, video_tokens, audio_tokens);
    let weights = Weights::shapes_only();
    Umt5::new(&config.text, Naming::Wan, &weights)?;
    let text_parameters = weights
        .asked()
        .iter()
        .map(|(_, shape)| shape.iter().map(|size| wide(*size)).product::<u64>())
        .sum();
    let parameters = parameters(config)?;
    let phases = [
        ("text", 4 * text_parameters + 4 * wide(config.text.dim) * 512 * 8),
        (
            DENOISE,
            parameters * precision.bytes() + activations(config, video_tokens, audio_tokens, precision),
        ),
        ("decode", decoding(config, request)),
    ];
    let (largest, memory) = phases
        .into_iter()
        .max_by_key(|(_, bytes)| *bytes)
        .unwrap_or_default();
    Ok(Cost {
        parameters,
        text_parameters,
        video_tokens,
        audio_tokens,
        passes,
        pass_flops,
        flops: pass_flops * passes as f64,
        memory,
        largest: largest.to_owned(),
        phases: phases.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
    })
}

/// What a block holds at once: the streams, queries, keys, values and sums of width d, and the inner layer of the feed-forward
/// part, which is twice as large as anything else; latents and noise are nothing beside them.
fn activations(config: &Config, video: u64, audio: u64, precision: Precision) -> u64 {
    let one = |stream: &StreamConfig, tokens: u64| {
        let (d, f) = (wide(stream.dim), wide(stream.ffn_dim));
        tokens * precision.bytes() * (10 * d + 2 * f)
    };
    one(&config.backbone.video, video) + one(&config.backbone.audio, audio)
}

/// What the codec holds: its weights, and of the released one the widest maps of four pictures; the latents and pictures of
/// the stand-in.
fn decoding(config: &Config, request: &Request) -> u64 {
    let pixels = wide(request.width * request.height);
    match config.codec {
        CodecKind::Linear => pixels * 3 * 4 * 16 + wide(pictures(request.frames)) * 64,
        // half-size maps of 256 channels in f32, six of them for four pictures
        CodecKind::Released => 4 * CODEC_PARAMETERS + pixels / 4 * 256 * 4 * 6 * 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Preset;

    /// The table of the specification (section 17), in TFLOP.
    #[test]
    fn passes_of_the_released_model_cost_what_was_counted_by_hand() {
        let config = Config::preset(Preset::P720, 0).unwrap();
        for (video, audio, tera) in [
            (15_004, 157, 237.7),
            (15_972, 471, 265.8),
            (27_900, 157, 572.2),
            (54_900, 314, 1678.0),
        ] {
            let got = pass_flops(&config, video, audio) / 1e12;
            assert!((got / tera - 1.0).abs() < 5e-4, "{video}: {got} for {tera}");
        }
    }
}
