//! What a step costs before it is run: values trained, memory by kind, arithmetic.

use super::{
    adamw::MomentForm,
    customizer::CustomizerConfig,
    order::Kind,
    plan::Share,
    recipe::{NumberForm, Recipe},
    samples::Sample,
};
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
    /// What weights in bf16 that are trained are rounded from, as f32; 0 where the weights are f32.
    pub masters: u64,
    /// Gradients: those of a sample, and their sum as f32.
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
        self.weights + self.masters + self.gradients + self.moments + self.averages + self.activations
    }

    /// What of it lies on a card whose optimizer is kept on the processor.
    #[must_use]
    pub fn offloaded(self) -> Self {
        Self {
            masters: 0,
            moments: 0,
            averages: 0,
            ..self
        }
    }

    /// And what then lies on the processor, of `trained` values that this rank owns: they are held there as f32 in any case.
    pub fn aside(self, trained: u64) -> u64 {
        self.masters.max(4 * trained) + self.moments + self.averages
    }

    /// That of one of `world` ranks: each holds its slice of masters, moments and averages (ZeRO-1), and all of the rest.
    #[must_use]
    pub fn of_rank(self, world: usize) -> Self {
        let slice = |bytes: u64| bytes.div_ceil(world.max(1) as u64);
        Self {
            masters: slice(self.masters),
            moments: slice(self.moments),
            averages: slice(self.averages),
            ..self
        }
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
    context(config, config.backbone.audio.text_len, references)
}

fn context(config: &CustomizerConfig, rows: usize, references: usize) -> u64 {
    let Some(ocf) = &config.ocf else { return 0 };
    let (rows, d, f) = (wide(rows), wide(ocf.dim), wide(ocf.ffn));
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
    let one = times * (forward_flops(config, size) + context_flops(config, references));
    one.saturating_mul(wide(recipe.batch_of(kind)))
}

/// Operations of one sample of its own sizes in a step of its kind, forward and backward; `recompute` and `stays` (the
/// backbone) as in [`step_flops`].
pub(super) fn sample_flops(
    config: &CustomizerConfig,
    (recompute, stays): (bool, bool),
    sample: &Sample,
    joint: bool,
) -> Result<u64> {
    let patches = |latent: &Tensor| -> Result<usize> {
        let (_, frames, rows, columns) = latent.dims4()?;
        Ok(frames * (rows / 2) * (columns / 2))
    };
    let video = sample.video.as_ref().filter(|_| joint);
    let (mut size, mut references) = (
        Size {
            video: video.map_or(Ok(0), patches)?,
            audio: sample.audio.dim(0)?,
        },
        0,
    );
    for subject in &sample.subjects {
        let picture = subject.picture.as_ref().filter(|_| video.is_some());
        let picture = picture.map_or(Ok(0), patches)?;
        let voice = subject.voice.as_ref().map_or(Ok(0), |voice| voice.dim(0))?;
        (size.video, size.audio) = (size.video + picture, size.audio + voice);
        references += picture + voice;
    }
    for phonemes in sample.utterances.iter().filter_map(|said| said.phonemes.as_ref()) {
        references += phonemes.dim(0)?;
    }
    let times = 1 + if stays { 1 } else { 2 } + u64::from(recompute);
    Ok(times * (forward_flops(config, size) + context(config, sample.text.dim(0)?, references)))
}

/// Bytes of a step of a process that is alone, one sample at a time; for one of several ranks [`Memory::of_rank`]. What lies
/// between blocks is held in the recipe's type, what lies within one is counted as f32. Activations are an estimate: block inputs between blocks, and for a
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
    let each = recipe.dtype.bytes();
    Memory {
        weights: each * (trained + frozen),
        masters: match recipe.dtype {
            NumberForm::F32 => 0,
            NumberForm::Bf16 => 4 * trained,
        },
        gradients: (each + 4) * trained,
        moments: recipe.optimizer.moments.bytes(trained),
        averages: if recipe.ema.is_some() { 4 * trained } else { 0 },
        activations: each * between + 4 * inside,
    }
}

/// What a recipe's memory has to fit into.
pub struct Room<'a> {
    /// What of it counts: the share of one of the run's ranks, what lies on a card.
    pub need: &'a dyn Fn(&Recipe, Memory) -> u64,
    /// Bytes that there are.
    pub limit: u64,
    /// Ranks that the run has.
    pub ranks: usize,
}

/// What would make a step fit, each with what it then takes; settings of the recipe, or more ranks.
pub fn remedies(
    config: &CustomizerConfig,
    recipe: &Recipe,
    shares: &[Share],
    size: Size,
    &Room { need, limit, ranks }: &Room<'_>,
) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let takes = |recipe: &Recipe, shares: &[Share]| need(recipe, memory(config, recipe, shares, size));
    let mut with = |what: &str, recipe: &Recipe, shares: &[Share]| {
        let total = takes(recipe, shares);
        if total <= limit {
            all.push((what.to_owned(), total));
        }
    };
    let mut aside = recipe.clone();
    aside.optimizer.offload = true;
    // it does nothing where the network lies on the processor itself
    if takes(&aside, shares) < takes(recipe, shares) {
        with("optimizer.offload = true", &aside, shares);
    }
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
    let narrow = |dtype, moments| {
        let mut other = Recipe {
            dtype,
            ..thrifty.clone()
        };
        other.optimizer.moments = moments;
        other
    };
    let (own, moments) = (recipe.dtype, recipe.optimizer.moments);
    let bf16 = own == NumberForm::F32;
    let less = |what: &str| match recipe.ema {
        Some(_) => format!("{what} and no `ema`"),
        None => what.to_owned(),
    };
    if bf16 {
        let other = narrow(NumberForm::Bf16, moments);
        with(&less("dtype = \"bf16\""), &other, shares);
    }
    if moments == MomentForm::Wide {
        let other = narrow(own, MomentForm::Narrow);
        with(&less("optimizer.moments = \"8bit\""), &other, shares);
        if bf16 {
            let other = narrow(NumberForm::Bf16, MomentForm::Narrow);
            let what = less("dtype = \"bf16\", optimizer.moments = \"8bit\"");
            with(&what, &other, shares);
        }
    }
    let frozen: Vec<Share> = shares
        .iter()
        .map(|share| match share.before_backbone {
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
    let whole = memory(config, recipe, shares, size);
    let more = [2, 4, 8, 16, 32, 64].map(|times| (times * ranks, need(recipe, whole.of_rank(times))));
    if let Some((world, total)) = more.into_iter().find(|(_, total)| *total <= limit) {
        all.push((format!("{world} ranks, each on memory of its own"), total));
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

    fn share(keys: &str, (trained, frozen): (usize, usize), before_backbone: bool) -> Share {
        Share {
            keys: keys.to_owned(),
            mode: super::super::rules::Mode::Train,
            trained,
            frozen,
            before_backbone,
        }
    }

    fn alone(limit: u64) -> Room<'static> {
        Room {
            need: &|_, memory| memory.total(),
            limit,
            ranks: 1,
        }
    }

    #[test]
    fn a_card_is_emptied_by_an_optimizer_on_the_processor_and_ranks_take_their_share() {
        let recipe = Recipe::parse(super::super::recipe::BUILT_IN[0].1).unwrap();
        let shares = [share("*", (100_000_000, 0), false)];
        let size = Size::default();
        let all = memory(&ovi(), &recipe, &shares, size);
        let card = |recipe: &Recipe, memory: Memory| {
            let own = memory.of_rank(2);
            if recipe.optimizer.offload {
                own.offloaded()
            } else {
                own
            }
            .total()
        };
        let room = Room {
            need: &card,
            limit: card(&recipe, all) - 1,
            ranks: 2,
        };
        let told = remedies(&ovi(), &recipe, &shares, size, &room);
        assert_eq!(told[0].0, "optimizer.offload = true");
        // weights 0.4 GB, gradients 0.8 GB; the moments are gone from the card
        assert_eq!(told[0].1, all.of_rank(2).offloaded().total());
        assert!(told.last().unwrap().0.starts_with("4 ranks"), "{told:?}");
        // f32 weights have a copy on the processor that is moved there
        assert_eq!(
            all.of_rank(2).aside(50_000_000),
            200_000_000 + all.moments / 2 + all.averages / 2
        );
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
        let shares = [
            share("ocf.*, mtp_ca.*", (371_700_000, 0), true),
            share("*_model.*", (11_660_753_108, 0), false),
        ];
        let size = Size {
            video: 15_972,
            audio: 471,
        };
        let now = memory(&ovi(), &recipe, &shares, size).total();
        let all = remedies(&ovi(), &recipe, &shares, size, &alone(80 << 30));
        assert!(now > 300 << 30);
        let [(what, bytes)] = &all[..] else {
            panic!("{all:?}")
        };
        assert!(what.contains("freeze") && *bytes < 80 << 30, "{all:?}");
    }

    #[test]
    fn settings_that_would_fit_are_named_from_the_smallest_change_on() {
        let recipe = Recipe::parse(super::super::recipe::BUILT_IN[0].1).unwrap();
        let shares = [share("*", (100_000_000, 900_000_000), false)];
        let size = Size::default();
        let told = |limit: u64| -> Vec<String> {
            let all = remedies(&ovi(), &recipe, &shares, size, &alone(limit));
            assert!(all.iter().all(|(_, bytes)| *bytes <= limit), "{all:?}");
            all.into_iter().map(|(what, _)| what).collect()
        };
        let now = memory(&ovi(), &recipe, &shares, size);
        // f32: weights 4.0, gradients 0.8, moments 0.8 GB; bf16: 2.0, 0.6, masters 0.4, moments 0.8; codes take 0.6 less
        assert_eq!(
            (now.weights, now.masters, now.moments),
            (4_000_000_000, 0, 800_000_000)
        );
        let fits = told(now.total() - 1);
        assert!(
            fits[0].starts_with("dtype = \"bf16\"") && fits[1].contains("8bit"),
            "{fits:?}"
        );
        assert!(fits.last().unwrap().starts_with("2 ranks"), "{fits:?}");
        let half = Recipe {
            dtype: NumberForm::Bf16,
            ..recipe.clone()
        };
        let half = memory(&ovi(), &half, &shares, size);
        assert_eq!(
            (half.weights, half.masters, half.gradients),
            (2_000_000_000, 400_000_000, 600_000_000)
        );
        let fits = told(half.total() - 1);
        assert!(
            fits[0].starts_with("dtype = \"bf16\", optimizer.moments = \"8bit\""),
            "{fits:?}"
        );
        assert_eq!(told(1 << 20), Vec::<String>::new());
    }

    #[test]
    fn a_rank_holds_its_slice_of_what_is_split_and_all_of_the_rest() {
        let whole = Memory {
            weights: 10,
            masters: 8,
            gradients: 20,
            moments: 9,
            averages: 4,
            activations: 7,
        };
        let each = whole.of_rank(4);
        assert_eq!((each.masters, each.moments, each.averages), (2, 3, 1));
        assert_eq!(each.total(), 10 + 2 + 20 + 3 + 1 + 7);
        assert_eq!(whole.of_rank(1), whole);
    }
}
