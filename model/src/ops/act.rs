//! Activations. candle's tanh GELU takes thirty times as long on the CPU.

use super::{
    on_cpu,
    vector::{each_row, exp},
    widen, with_values,
};
use crate::vjp::custom_vjp;
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
        let wide = widen(x)?;
        let y = match self {
            Self::GeluTanh => wide.gelu(),
            Self::GeluErf => wide.gelu_erf(),
            Self::Silu => wide.silu(),
        };
        y?.to_dtype(x.dtype())
    }

    /// Whether there are loops of our own for it, forward and backward.
    pub(super) fn has_kernel(self) -> bool {
        self != Self::GeluErf
    }

    /// In place, on values that nobody else sees. The error function has no kernel: see [`activate`].
    #[inline(always)]
    pub(super) fn apply(self, values: &mut [f32]) {
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

    /// Turns the gradient of the outcome, in `up`, into that of `x`. Only for what has a kernel.
    #[inline(always)]
    fn turn_back(self, up: &mut [f32], x: &[f32]) {
        match self {
            Self::GeluTanh => {
                for (up, x) in up.iter_mut().zip(x) {
                    let square = 0.044_715 * *x * *x;
                    let s = sigmoid(1.595_769 * *x * (1.0 + square));
                    *up *= s + 1.595_769 * *x * (1.0 + 3.0 * square) * s * (1.0 - s);
                }
            }
            Self::Silu => {
                for (up, x) in up.iter_mut().zip(x) {
                    let s = sigmoid(*x);
                    *up *= s * (1.0 + *x * (1.0 - s));
                }
            }
            Self::GeluErf => {}
        }
    }

    /// The gradient of `x` from that of the outcome, in one pass: candle's own holds ten tensors of this size.
    pub(super) fn backward(self, x: &Tensor, up: &Tensor) -> Result<Tensor> {
        const PART: usize = 1 << 12;
        let down = with_values([x, up], |[x, up]| {
            let mut down = up.to_vec();
            each_row(&mut down, PART, |row, down| {
                self.turn_back(down, &x[row * PART..][..PART]);
            });
            let tail = down.len() / PART * PART;
            self.turn_back(&mut down[tail..], &x[tail..]);
            down
        })?;
        Tensor::from_vec(down, x.shape(), x.device())
    }

    /// In place over the whole of `values`, in parallel where that pays; false if there is no kernel.
    pub(super) fn apply_all(self, values: &mut [f32]) -> bool {
        if !self.has_kernel() {
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
    if !on_cpu(&[x]) || !activation.has_kernel() {
        return activation.plain(x);
    }
    let mut values = with_values([x], |[x]| x.to_vec())?;
    activation.apply_all(&mut values);
    let y = Tensor::from_vec(values, x.shape(), x.device())?;
    let kept = x.detach();
    let mut outputs = custom_vjp(slice::from_ref(x), vec![y], move |up| match &up[0] {
        Some(up) => Ok(vec![Some(activation.backward(&kept, &up.detach())?)]),
        None => Ok(vec![None]),
    })?;
    match outputs.pop() {
        Some(y) => Ok(y),
        None => candle_core::bail!("an activation lost its outcome"),
    }
}
