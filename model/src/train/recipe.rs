//! What a run of training is to do, as a TOML file says it.

use super::{
    adamw::MomentForm,
    objective::{DropSettings, LossSettings},
    order::Kind,
    rules::{Mode, WeightRule},
};
use crate::{Error, Result};
use candle_core::DType;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The recipes that are built in: the paper's three stages, and the same with the backbone frozen.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("stage1", include_str!("../../recipes/stage1.toml")),
    ("stage2", include_str!("../../recipes/stage2.toml")),
    ("stage3", include_str!("../../recipes/stage3.toml")),
    (
        "stage1-one-card",
        include_str!("../../recipes/stage1-one-card.toml"),
    ),
    (
        "stage2-one-card",
        include_str!("../../recipes/stage2-one-card.toml"),
    ),
    (
        "stage3-one-card",
        include_str!("../../recipes/stage3-one-card.toml"),
    ),
];

/// Where references may be taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceRule {
    /// From anywhere.
    #[default]
    Any,
    /// Never from the clip that is trained on: samples with such a reference are left out.
    CrossPair,
}

/// Which samples are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Take {
    /// Fewest and most people in a clip.
    pub subjects: [usize; 2],
    /// Where their references come from.
    pub references: ReferenceRule,
    /// Whether steps on speech also take the sound of clips with pictures.
    pub speech_of_clips: bool,
}

impl Default for Take {
    fn default() -> Self {
        Self {
            subjects: [0, 64],
            references: ReferenceRule::Any,
            speech_of_clips: false,
        }
    }
}

/// Samples a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Clips of a joint step.
    pub joint: usize,
    /// Utterances of a step on speech.
    pub speech: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            joint: 64,
            speech: 1024,
        }
    }
}

/// AdamW.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// Memory of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root.
    pub eps: f64,
    /// Decay of matrices; norms, biases, modulations and embeddings do not decay.
    pub decay: f64,
    /// Longest gradient, all weights together; longer ones are scaled down.
    pub clip: f64,
    /// How the moments are held: `f32`, or `8bit` for a quarter of the memory.
    pub moments: MomentForm,
    /// Moments, f32 masters and averages lie in the processor's memory also where the network lies on a card: gradients go there in
    /// every step, and weights come back.
    pub offload: bool,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.01,
            clip: 1.0,
            moments: MomentForm::Wide,
            offload: false,
        }
    }
}

/// What weights and activations are held as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberForm {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of 32. Masters of what is trained, moments, averages, sums of gradients and losses are f32.
    Bf16,
}

impl NumberForm {
    /// From its word. Fails on others than f32 and bf16.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(Error::Config(format!(
                "--dtype {other}: training has f32 and bf16"
            ))),
        }
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Which states stay on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Steps from state to state.
    pub every: u64,
    /// How many of the newest stay.
    pub last: usize,
    /// A state whose step is a multiple of this stays for good; 0 for none.
    pub milestone: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            every: 500,
            last: 2,
            milestone: 5000,
        }
    }
}

/// Clips that are made on the way, to see what has been learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleSettings {
    /// Steps from one time to the next; 0 for never.
    pub every: u64,
    /// The case file.
    pub cases: PathBuf,
    /// How many of its cases, from the first on.
    pub count: usize,
    /// Length of a clip, seconds; absent: the checkpoint's.
    pub seconds: Option<f64>,
    /// Steps of a clip; absent: the checkpoint's.
    pub steps: Option<usize>,
    /// Whether the clips are scored as `omni bench run` does, and their readings added to the curves.
    pub score: bool,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            every: 0,
            cases: PathBuf::new(),
            count: 3,
            seconds: None,
            steps: None,
            score: false,
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is called.
    pub name: String,
    /// Which order and which random numbers.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// What the steps train, repeated: `["joint", "speech"]`.
    pub pattern: Vec<Kind>,
    /// Which samples.
    #[serde(default)]
    pub take: Take,
    /// Samples that are skipped wherever they come, for example one whose loss is no number.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Samples a step.
    #[serde(default)]
    pub batch: Batch,
    /// Noise and the weights of the losses.
    #[serde(default)]
    pub loss: LossSettings,
    /// What is left out of the condition.
    #[serde(default)]
    pub dropout: DropSettings,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// What weights and activations are held as.
    #[serde(default)]
    pub dtype: NumberForm,
    /// Whether blocks are computed again in the backward pass, to save memory.
    #[serde(default = "yes")]
    pub recompute: bool,
    /// Memory of a moving average of the weights; absent: none is kept.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Operations a second that the device can do at most, in 10^12: what the log's share of peak is of. Absent: no share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_tflops: Option<f64>,
    /// Which states stay.
    #[serde(default)]
    pub keep: Keep,
    /// Clips that are made on the way.
    #[serde(default)]
    pub samples: SampleSettings,
    /// Whether references lie where the prompt describes whom they show. False is for ablations: they lie at the end of the
    /// text, whoever they show, and `omni sample` does not know of it.
    #[serde(default = "yes")]
    pub anchored: bool,
    /// What becomes of which weights.
    pub weights: Vec<WeightRule>,
}

fn yes() -> bool {
    true
}

/// Of one step; far more than the paper's 1,024.
const MOST_SAMPLES: usize = 1 << 20;

impl Recipe {
    /// Reads TOML. Fails with [`Error::Recipe`], which names the line, on keys that do not exist and values that cannot be meant.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count() + 1;
            let mut names = error.message().split('`').skip(1).step_by(2);
            let wrong = names.next().unwrap_or_default();
            let near = names
                .map(|known| (strsim::jaro_winkler(wrong, known), known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(likeness, _)| *likeness > 0.8);
            let hint = near
                .map(|(_, known)| format!(" (did you mean `{known}`?)"))
                .unwrap_or_default();
            Error::Recipe(format!("line {line}: {}{hint}", error.message().trim()))
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Fails with what cannot be meant, by key.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Recipe(why));
        if self.steps == 0 || self.pattern.is_empty() {
            return refuse("`steps` is 0 or `pattern` is empty: it would train nothing".to_owned());
        }
        for kind in &self.pattern {
            if self.batch_of(*kind) > MOST_SAMPLES {
                return refuse(format!(
                    "`batch.{}` is {}; at most {MOST_SAMPLES} samples are in a step",
                    kind.name(),
                    self.batch_of(*kind)
                ));
            }
            if self.batch_of(*kind) == 0 {
                return refuse(format!(
                    "`batch.{}` is 0, and `pattern` has such steps",
                    kind.name()
                ));
            }
        }
        for (name, value, range) in [
            ("dropout.references", self.dropout.references, 0.0..=1.0),
            ("dropout.text", self.dropout.text, 0.0..=1.0),
            ("dropout.both", self.dropout.both, 0.0..=1.0),
            ("optimizer.betas", self.optimizer.betas[0], 0.0..=0.999_999),
            ("optimizer.betas", self.optimizer.betas[1], 0.0..=0.999_999),
            ("optimizer.eps", self.optimizer.eps, 1e-20..=1.0),
            ("optimizer.decay", self.optimizer.decay, 0.0..=1.0),
            ("optimizer.clip", self.optimizer.clip, 1e-9..=1e9),
            ("loss.shift", self.loss.shift, 1e-3..=1e3),
            ("loss.video", self.loss.video, 0.0..=1e3),
            ("loss.audio", self.loss.audio, 0.0..=1e3),
            ("ema", self.ema.unwrap_or(0.0), 0.0..=0.999_999),
            ("peak_tflops", self.peak_tflops.unwrap_or(1.0), 1e-6..=1e6),
        ] {
            if !range.contains(&value) {
                return refuse(format!(
                    "`{name}` is {value}, it lies between {} and {}",
                    range.start(),
                    range.end()
                ));
            }
        }
        if self.dropout.references + self.dropout.text + self.dropout.both > 1.0 {
            return refuse("the shares of `dropout` are more than the whole".to_owned());
        }
        if self.keep.every == 0 || self.keep.last == 0 {
            return refuse(
                "`keep.every` and `keep.last` are at least 1: without a state nothing can be gone on from"
                    .to_owned(),
            );
        }
        let samples = &self.samples;
        if samples.every > 0 && (samples.cases.as_os_str().is_empty() || samples.count == 0) {
            return refuse(
                "`samples.every` is set, and `samples.cases` names no case file or `samples.count` is 0"
                    .to_owned(),
            );
        }
        self.weights.iter().try_for_each(WeightRule::check)?;
        if self.weights.iter().all(|rule| rule.mode == Mode::Freeze) {
            return refuse("every line of `weights` freezes: it trains nothing".to_owned());
        }
        Ok(())
    }

    /// Samples of a step of `kind`.
    pub fn batch_of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Joint => self.batch.joint,
            Kind::Speech => self.batch.speech,
        }
    }

    /// The line of the table that `key` falls under, by number.
    pub fn rule_of(&self, key: &str) -> Option<usize> {
        self.weights.iter().position(|rule| rule.takes(key))
    }

    /// What a state may be gone on with: all but what steers no number of a step that is done.
    pub fn fixed(&self) -> Self {
        Self {
            exclude: Vec::new(),
            keep: Keep::default(),
            samples: SampleSettings::default(),
            recompute: true,
            peak_tflops: None,
            optimizer: OptimizerSettings {
                offload: false,
                ..self.optimizer.clone()
            },
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_recipes_are_the_papers() {
        let read = |name: &str| {
            let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
            Recipe::parse(text).unwrap()
        };
        for name in ["stage1", "stage1-one-card"] {
            let stage = read(name);
            assert_eq!(
                (stage.steps, &stage.pattern[..]),
                (20_000, &[Kind::Joint, Kind::Speech][..])
            );
            assert_eq!(
                stage.batch,
                Batch {
                    joint: 64,
                    speech: 1024
                }
            );
            assert_eq!(stage.take.subjects, [1, 1]);
        }
        for name in ["stage2", "stage3", "stage2-one-card", "stage3-one-card"] {
            let stage = read(name);
            assert_eq!((stage.steps, &stage.pattern[..]), (10_000, &[Kind::Joint][..]));
            assert_eq!(
                stage.take.references == ReferenceRule::CrossPair,
                name.starts_with("stage3"),
                "{name}"
            );
        }
        for (name, text) in BUILT_IN {
            let recipe = Recipe::parse(text).unwrap();
            assert_eq!(recipe.name, *name);
            let new = &recipe.weights[recipe.rule_of("ocf.in_text.weight").unwrap()];
            assert_eq!(
                (new.mode, new.lr, new.lr_end),
                (Mode::Train, Some(1e-4), Some(1e-5))
            );
            let video = recipe.weights[recipe.rule_of("video_model.blocks.0.ffn.0.weight").unwrap()].mode;
            assert_eq!(video == Mode::Train, !name.ends_with("one-card"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let stage = BUILT_IN[1].1;
        let why = |text: &str| Recipe::parse(text).unwrap_err().to_string();
        let with = |old: &str, new: &str| {
            assert!(stage.contains(old), "{old}");
            stage.replace(old, new)
        };
        for (text, words) in [
            (with("lr = 1e-4", "lr = 1e4"), "`lr` is 10000"),
            (with("lr = 1e-4", "lr = -1e-4"), "`lr` is -0.0001"),
            (with("steps = 10000", "step = 10000"), "did you mean `steps`?"),
            (with("steps = 10000", "steps = 0"), "train nothing"),
            (
                with("mode = \"train\"", "mode = \"freeze\""),
                "frozen, and yet `lr` is set",
            ),
            (with("joint = 64", "joint = 0"), "`batch.joint` is 0"),
        ] {
            assert!(why(&text).contains(words), "{}", why(&text));
        }
        let frozen = "name='a'\nseed=1\nsteps=1\npattern=['joint']\n[[weights]]\nkeys=['*']\nmode='freeze'\n";
        assert!(why(frozen).contains("trains nothing"));
        assert!(why(&stage.replace("seed = ", "sed = ")).contains("line "));
    }
}
