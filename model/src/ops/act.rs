//! Activations. candle's tanh GELU takes thirty times as long on the CPU.

use super::{
    on_cpu,
    vector::{each_row, exp},
    with_values,
};
use crate::vjp::with_plain;
use candle_core::{Result, Tensor};
use std::slice;

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU by its tanh approximation.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
    /// x * sigmoid(x).
    Silu,
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

impl Activation {
    fn plain(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::GeluTanh => x.gelu(),
            Self::GeluErf => x.gelu_erf(),
            Self::Silu => x.silu(),
        }
    }

    /// In place, on values that nobody else sees. The error function has no kernel: see [`activate`].
    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        match self {
            // 0.5 x (1 + tanh(u)) = x sigmoid(2 u)
            Self::GeluTanh => {
                for x in values {
                    let u = 0.797_884_6 * (*x + 0.044_715 * *x * *x * *x);
                    *x *= sigmoid(2.0 * u);
                }
            }
            Self::Silu => values.iter_mut().for_each(|x| *x *= sigmoid(*x)),
            Self::GeluErf => {}
        }
    }

    /// In place over the whole of `values`, in parallel where that pays; false if there is no kernel.
    pub(super) fn apply_all(self, values: &mut [f32]) -> bool {
        if self == Self::GeluErf {
            return false;
        }
        each_row(values, 1 << 12, |_, row| self.apply(row));
        let tail = values.len() / (1 << 12) * (1 << 12);
        self.apply(&mut values[tail..]);
        true
    }
}

/// `activation` of every value.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if !on_cpu(&[x]) || activation == Activation::GeluErf {
        return activation.plain(x);
    }
    let mut values = with_values([x], |[x]| x.to_vec())?;
    activation.apply_all(&mut values);
    let y = Tensor::from_vec(values, x.shape(), x.device())?;
    with_plain(slice::from_ref(x), y, move |inputs| activation.plain(&inputs[0]))
}
