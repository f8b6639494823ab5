//! One weight. Layers hold `Param`s and never mention training.

use candle_core::Tensor;
use std::cell::Cell;

thread_local! {
    static NO_GRAD: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` so that no [`Param`] leaves a history; the former state comes back also after an error or a panic.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            NO_GRAD.set(self.0);
        }
    }
    let _restore = Restore(NO_GRAD.replace(true));
    f()
}

/// A weight, trained (a candle variable inside) or frozen (a plain tensor).
#[derive(Debug, Clone)]
pub struct Param(Tensor);

impl Param {
    /// Wraps a tensor; a variable stays one.
    pub fn new(tensor: Tensor) -> Self {
        Self(tensor)
    }

    /// The weight as an operand: with its history, or without while [`no_grad`] runs. Shares the storage either way, so an
    /// optimizer that sets the variable is seen at once.
    pub fn t(&self) -> Tensor {
        if NO_GRAD.get() {
            self.0.detach()
        } else {
            self.0.clone()
        }
    }

    /// Adds itself to `into` if it is trained.
    pub(crate) fn trained(&self, into: &mut Vec<Tensor>) {
        if self.0.is_variable() {
            into.push(self.0.clone());
        }
    }

    /// The tensor or variable itself, whatever [`no_grad`] says.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }
}
