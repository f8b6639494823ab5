//! Layers that hold weights.

use crate::{
    Result,
    ops::{self, Activation},
    param::Param,
    weights::{Stored, Weights},
};
use candle_core::Tensor;

/// x W + b, and where asked for a low-rank addition to W.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Param,
    bias: Option<Param>,
    lora: Option<(Param, Param, f64)>,
}

impl Linear {
    /// `weight` and `bias` of the place `weights`.
    pub fn new(weights: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            weight: weights.linear("weight", input, output)?,
            bias: Some(weights.get("bias", &[output])?),
            lora: weights.lora(input, output)?,
        })
    }

    /// `weight` alone.
    pub fn without_bias(weights: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            weight: weights.linear("weight", input, output)?,
            bias: None,
            lora: weights.lora(input, output)?,
        })
    }

    /// A matrix `[in, out]` computed from stored weights, without bias.
    pub(super) fn from_param(weight: Param) -> Self {
        Self {
            weight,
            bias: None,
            lora: None,
        }
    }

    /// A convolution of `taps` along the rows, for inputs from [`ops::unfold`].
    pub fn taps(weights: &Weights, input: usize, output: usize, taps: usize, bias: bool) -> Result<Self> {
        let shape = [output, input, taps];
        Ok(Self {
            weight: weights.stored("weight", &shape, Stored::Taps)?,
            bias: bias.then(|| weights.get("bias", &[output])).transpose()?,
            lora: None,
        })
    }

    /// A convolution whose stride is its kernel: patches flattened channel first. `shape` is the stored one.
    pub fn patches(weights: &Weights, shape: &[usize]) -> Result<Self> {
        Ok(Self {
            weight: weights.stored("weight", shape, Stored::Transposed)?,
            bias: Some(weights.get("bias", &shape[..1])?),
            lora: None,
        })
    }

    /// `[.., in]` to `[.., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.with(x, None)
    }

    /// An activation on top.
    pub fn activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.with(x, Some(activation))
    }

    fn with(&self, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::t);
        let Some((down, up, scale)) = &self.lora else {
            return Ok(ops::linear(x, &self.weight.t(), bias.as_ref(), activation)?);
        };
        let y = ops::linear(x, &self.weight.t(), bias.as_ref(), None)?;
        let low = ops::linear(x, &down.t(), None, None)?;
        let y = (y + (ops::linear(&low, &up.t(), None, None)? * *scale)?)?;
        match activation {
            Some(activation) => Ok(ops::activate(&y, activation)?),
            None => Ok(y),
        }
    }

    /// Adds its trained weights to `into`.
    pub(super) fn trained(&self, into: &mut Vec<Tensor>) {
        self.weight.trained(into);
        self.bias.iter().for_each(|bias| bias.trained(into));
        if let Some((down, up, _)) = &self.lora {
            down.trained(into);
            up.trained(into);
        }
    }
}

/// LayerNorm with weight and bias.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Param,
    bias: Param,
    eps: f64,
}

impl LayerNorm {
    /// `weight` and `bias` of the place `weights`.
    pub fn new(weights: &Weights, dim: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: weights.get("weight", &[dim])?,
            bias: weights.get("bias", &[dim])?,
            eps,
        })
    }

    /// Adds its trained weights to `into`.
    pub(super) fn trained(&self, into: &mut Vec<Tensor>) {
        self.weight.trained(into);
        self.bias.trained(into);
    }

    /// `[.., dim]` to `[.., dim]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight.t(), &self.bias.t(), self.eps)?)
    }
}
