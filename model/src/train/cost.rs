//! What a step costs before it is run: values trained, memory by kind, arithmetic.

use super::{customizer::CustomizerConfig, order::Kind, recipe::Recipe, trainer::Share};
use crate::{Result, net::StreamConfig};
use candle_core::{Device, Tensor};
use std::time::Instant;

/// Sizes of a sample, tokens and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Video tokens, references included; 0 for sound alone.
    pub video: usize,
    /// Audio tokens, references included.
    pub audio: usize,
}

/// Bytes by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The network's weights.
    pub weights: u64,
    /// Gradients: those of a sample and their sum.
    pub gradients: u64,
    /// The optimizer's moments.
    pub moments: u64,
    /// Moving averages.
    pub averages: u64,
    /// What the forward pass keeps for the backward pass.
    pub activations: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.averages + self.activations
    }
}

fn wide(count: usize) -> u64 {
    count as u64
}

/// Multiply-adds count two. Tokens `n`, keys `m`: scores and weighted values.
fn attention(n: u64, m: u64, dim: u64) -> u64 {
    4 * n * m * dim
}

/// A stream's own part of a forward pass; `other` are the other stream's tokens, 0 without it.
fn stream(config: &StreamConfig, tokens: usize, other: usize) -> u64 {
    let (n, m, d, f, c) = (
        wide(tokens),
        wide(other),
        wide(config.dim),
        wide(config.ffn_dim),
        wide(config.text_len),
    );
    let own = 8 * n * d * d + attention(n, n, d); // q, k, v, o
    let text = 4 * n * d * d + 4 * c * d * d + attention(n, c, d); // q and o; k and v of the text
    let fusion = if other == 0 {
        0
    } else {
        4 * m * d * d + attention(n, m, d)
    };
    let block = own + text + fusion + 4 * n * d * f;
    let embed = if config.patch_size.len() == 3 {
        2 * n * d * wide(config.in_dim * config.patch_size.iter().product::<usize>())
    } else {
        2 * 7 * n * (wide(config.in_dim) * d + 3 * d * wide(config.audio_hidden()))
    };
    let head = 2 * n * d * wide(config.out_dim * config.patch_size.iter().product::<usize>());
    let words = 2 * c * (wide(config.text_dim) * d + d * d);
    wide(config.num_layers) * block + embed + head + words
}

/// Operations of a forward pass of the backbone.
pub fn forward_flops(config: &CustomizerConfig, size: Size) -> u64 {
    let backbone = &config.backbone;
    let audio = stream(&backbone.audio, size.audio, size.video);
    if size.video == 0 {
        return audio;
    }
    audio + stream(&backbone.video, size.video, size.audio)
}

/// Operations of OCF for a text of the model's length with the sample's references: at most, since texts are shorter.
pub fn context_flops(config: &CustomizerConfig, references: usize) -> u64 {
    let Some(ocf) = &config.ocf else { return 0 };
    let (rows, d, f) = (wide(config.backbone.audio.text_len), wide(ocf.dim), wide(ocf.ffn));
    let n = rows + wide(references);
    let block = 8 * n * d * d + 4 * n * d * f + attention(n, n, d) + 2 * rows * d * wide(ocf.text_dim);
    wide(ocf.layers) * block + 2 * rows * d * wide(ocf.text_dim)
}

/// Operations of a step: forward, twice that backward (once through frozen weights), once more to compute blocks again.
pub fn step_flops(config: &CustomizerConfig, recipe: &Recipe, kind: Kind, size: Size, frozen: bool) -> u64 {
    let times = 1 + if frozen { 1 } else { 2 } + u64::from(recipe.recompute);
    let size = match kind {
        Kind::Joint => size,
        Kind::Speech => Size { video: 0, ..size },
    };
    let references = size.video.min(2048) + size.audio;
    wide(recipe.batch_of(kind)) * times * (forward_flops(config, size) + context_flops(config, references))
}

/// Bytes of a step, all but narrow moments in f32, one sample at a time. Activations are an estimate: block inputs between blocks, and for a
/// block under way 22 rows of its width and 3 of its feed-forward layers per token; text rows as embedded for each stream, and
/// their keys and values; OCF likewise.
pub fn memory(config: &CustomizerConfig, recipe: &Recipe, shares: &[Share], size: Size) -> Memory {
    let trained = shares.iter().map(|share| wide(share.trained)).sum::<u64>();
    let frozen = shares.iter().map(|share| wide(share.frozen)).sum::<u64>();
    let (mut between, mut inside) = (0, 0);
    for (stream, tokens) in [
        (&config.backbone.video, size.video),
        (&config.backbone.audio, size.audio),
    ] {
        let (n, layers) = (wide(tokens), wide(stream.num_layers));
        let block = n * (22 * wide(stream.dim) + 3 * wide(stream.ffn_dim));
        let text = wide(stream.text_len) * (wide(stream.text_dim) + 6 * wide(stream.dim));
        between += n * wide(stream.dim) * layers + if tokens > 0 { text } else { 0 };
        inside += if recipe.recompute { block } else { block * layers };
    }
    if let Some(ocf) = &config.ocf {
        let n = wide(config.backbone.audio.text_len + size.audio + size.video.min(2048));
        let block = n * (14 * wide(ocf.dim) + 3 * wide(ocf.ffn));
        let layers = wide(ocf.layers);
        between += layers * n * wide(ocf.dim) + layers * wide(config.backbone.audio.text_len * ocf.text_dim);
        inside = if recipe.recompute {
            inside.max(block)
        } else {
            inside + block * layers
        };
    }
    Memory {
        weights: 4 * (trained + frozen),
        gradients: 8 * trained,
        moments: recipe.optimizer.moments.bytes(trained),
        averages: if recipe.ema.is_some() { 4 * trained } else { 0 },
        activations: 4 * (between + inside),
    }
}

/// What would bring a step below `limit` bytes, each with what it then takes; settings of the recipe.
pub fn remedies(
    config: &CustomizerConfig,
    recipe: &Recipe,
    shares: &[Share],
    size: Size,
    limit: u64,
) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut with = |what: &str, recipe: &Recipe, shares: &[Share]| {
        let total = memory(config, recipe, shares, size).total();
        if total <= limit {
            all.push((what.to_owned(), total));
        }
    };
    let thrifty = Recipe {
        recompute: true,
        ema: None,
        ..recipe.clone()
    };
    if !recipe.recompute {
        with(
            "recompute = true",
            &Recipe {
                recompute: true,
                ..recipe.clone()
            },
            shares,
        );
    }
    if recipe.ema.is_some() {
        with("recompute = true and no `ema`", &thrifty, shares);
    }
    let new = |share: &Share| {
        share
            .keys
            .split(", ")
            .any(|key| key.starts_with("ocf") || key.starts_with("mtp_ca"))
    };
    let frozen: Vec<Share> = shares
        .iter()
        .map(|share| match new(share) {
            true => share.clone(),
            false => Share {
                trained: 0,
                frozen: share.trained + share.frozen,
                ..share.clone()
            },
        })
        .collect();
    if frozen != shares {
        with(
            "mode = \"freeze\" for the backbone's lines (the one-card recipes)",
            &thrifty,
            &frozen,
        );
    }
    all
}

/// Operations a second of this machine, measured on a product of matrices; a tenth of a second or so.
pub fn speed() -> Result<f64> {
    const SIDE: usize = 512;
    let x = Tensor::rand(-1f32, 1.0, (SIDE, SIDE), &Device::Cpu)?;
    let best = (0..5).map(|_| {
        let start = Instant::now();
        x.matmul(&x)?;
        Ok(start.elapsed().as_secs_f64())
    });
    let best = best
        .collect::<Result<Vec<f64>>>()?
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    Ok(2.0 * (SIDE * SIDE * SIDE) as f64 / best.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::FusionConfig;

    fn ovi() -> CustomizerConfig {
        CustomizerConfig {
            backbone: FusionConfig::ovi(),
            ocf: None,
            mtp_ca: None,
        }
    }

    #[test]
    fn operations_are_those_of_the_specification() {
        // backbone.md 17: 237.7, 265.8, 572.2, 1678 T; audio alone 2.15, 3.73, 5.34 T
        for (video, audio, tera) in [
            (15_004, 157, 237.7),
            (15_004 + 2 * 484, 157 * 3, 265.8),
            (27_900, 157, 572.2),
            (54_900, 314, 1678.0),
            (0, 157, 2.15),
            (0, 314, 3.73),
            (0, 471, 5.34),
        ] {
            let ours = forward_flops(&ovi(), Size { video, audio }) as f64 / 1e12;
            assert!(
                (ours / tera - 1.0).abs() < 0.01,
                "{video} + {audio}: {ours} against {tera}"
            );
        }
    }

    #[test]
    fn the_contexts_operations_are_those_of_the_specification() {
        // backbone.md 14: 1.6 TFLOP at 1922 tokens, 512 of them text
        let config = CustomizerConfig {
            ocf: Some(crate::net::OcfConfig::paper()),
            ..ovi()
        };
        let ours = context_flops(&config, 1922 - 512) as f64 / 1e12;
        assert!((ours / 1.6 - 1.0).abs() < 0.15, "{ours}");
    }

    #[test]
    fn what_would_fit_is_named_and_fits() {
        let recipe = Recipe::parse(super::super::recipe::BUILT_IN[0].1).unwrap();
        let recipe = Recipe {
            recompute: false,
            ema: Some(0.999),
            ..recipe
        };
        let share = |keys: &str, trained| Share {
            keys: keys.to_owned(),
            mode: super::super::recipe::Mode::Train,
            trained,
            frozen: 0,
        };
        let shares = [
            share("ocf.*, mtp_ca.*", 371_700_000),
            share("*_model.*", 11_660_753_108),
        ];
        let size = Size {
            video: 15_972,
            audio: 471,
        };
        let now = memory(&ovi(), &recipe, &shares, size).total();
        let all = remedies(&ovi(), &recipe, &shares, size, 80 << 30);
        assert!(now > 300 << 30);
        let [(what, bytes)] = &all[..] else {
            panic!("{all:?}")
        };
        assert!(what.contains("freeze") && *bytes < 80 << 30, "{all:?}");
    }
}
