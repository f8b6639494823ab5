//! Weights of a network that has not been trained, by the reference's rules and the paper's.

use super::{Found, Source, value_of};
use crate::Result;
use candle_core::{Device, Tensor};

/// Fresh weights: Xavier-uniform matrices, biases zero, norms one, text and time embeddings N(0, 0.02), modulations
/// N(0, 1/d); what must begin as the identity (the head, OCF's and MTP-CA's output projections, the outer half of a low-rank addition) is zero.
pub struct Init {
    /// Which set of random numbers.
    pub seed: u64,
}

/// Names of what begins at zero.
const ZERO: &[&str] = &[
    "out_proj.",
    "mtp_ca.attn.o.",
    "modality_embed",
    "head.head.",
    "lora_up.",
];

enum Rule {
    Constant(f32),
    Uniform(f64),
    Normal(f64),
}

fn rule(name: &str, shape: &[usize]) -> Rule {
    let size = |count: usize| count as f64;
    match shape {
        _ if ZERO.iter().any(|part| name.contains(part)) => Rule::Constant(0.0),
        [.., last] if name.ends_with("modulation") => Rule::Normal(1.0 / size(*last).sqrt()),
        [] | [_] if name.ends_with("bias") => Rule::Constant(0.0),
        [] | [_] => Rule::Constant(1.0),
        _ if name.contains("text_embedding.") || name.contains("time_embedding.") => Rule::Normal(0.02),
        [output, rest @ ..] => {
            let bound = (6.0 / size(output + rest.iter().product::<usize>())).sqrt();
            let quiet = name.starts_with("video_model.") && name.contains("_fusion.");
            Rule::Uniform(if quiet { bound / 10.0 } else { bound })
        }
    }
}

impl Source for Init {
    fn load(&self, name: &str, shape: &[usize], device: &Device) -> Result<Found> {
        let count = shape.iter().product();
        let values = match rule(name, shape) {
            Rule::Constant(value) => vec![value; count],
            Rule::Uniform(bound) => value_of(name, self.seed, count, bound as f32, 0.0),
            Rule::Normal(deviation) => normal(name, self.seed, count, deviation as f32),
        };
        Ok(Found::Tensor(Tensor::from_vec(values, shape, device)?))
    }

    fn label(&self) -> String {
        format!("fresh weights of seed {}", self.seed)
    }
}

/// Box and Muller's normal numbers, from two streams of uniform ones.
pub(crate) fn normal(name: &str, seed: u64, count: usize, deviation: f32) -> Vec<f32> {
    let radii = value_of(&format!("{name}#radius"), seed, count, 0.5, 0.5);
    let angles = value_of(&format!("{name}#angle"), seed, count, std::f32::consts::PI, 0.0);
    let pair =
        |(radius, angle): (&f32, &f32)| (-2.0 * radius.max(1e-7).ln()).sqrt() * angle.cos() * deviation;
    radii.iter().zip(&angles).map(pair).collect()
}
