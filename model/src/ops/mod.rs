//! The heavy operations: each a kernel for f32 on the CPU, the same thing in candle's own ops for every other device and
//! dtype, and a gradient. A test holds the two forms of each against one another.

mod act;
mod attention;
mod attention_cpu;
mod conv;
mod conv_direct;
mod conv_kernel;
mod conv_rows;
mod conv_winograd;
mod gemm;
mod linear;
mod norm;
mod pixels;
mod rope;
mod rows;
mod snake;
mod vector;

pub use act::{Activation, activate};
pub use attention::attention;
pub use conv::{ConvKernel, ConvPath, ConvShape, conv, margins};
pub use conv_rows::{conv_rows, conv_upwards};
pub use linear::{linear, unfold, unfold_each};
pub use norm::{layer_norm, modulate, rms_norm};
pub use pixels::{spread_channels, twice_the_size, unit_norm};
pub use rope::{Rope, norm_rope};
pub use rows::{Rows, add_gated, mean_of};
pub use snake::{Snake, TAPS as SNAKE_TAPS, double_rate, halve_rate, snake};

use candle_core::{DType, Result, Storage, Tensor};

/// Whether the kernels can take these: f32 on the CPU.
fn on_cpu(tensors: &[&Tensor]) -> bool {
    !forced()
        && tensors
            .iter()
            .all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// Half precisions to f32; f32 and f64 stay. Sums over tokens are taken in it, forward and backward: in half precision they
/// would stop growing after a few hundred terms.
pub(crate) fn widen(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(x.clone()),
        _ => x.to_dtype(DType::F32),
    }
}

/// `x + row` for every row of x `[tokens, d]`; row is `[1, d]` or `[d]`.
pub fn add_row(x: &Tensor, row: &Tensor) -> Result<Tensor> {
    widen(x)?.broadcast_add(&widen(row)?)?.to_dtype(x.dtype())
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether a test asks for candle's ops where a kernel could do it: what runs on a card.
#[cfg(test)]
fn forced() -> bool {
    FORCED.get()
}

#[cfg(not(test))]
const fn forced() -> bool {
    false
}

/// Runs `f` without kernels, as on a device that has none.
#[cfg(test)]
pub(crate) fn without_kernels<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(true));
    f()
}

/// Hands the values of f32 CPU tensors, in row-major order, to `f`.
fn with_values<const N: usize, R>(tensors: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let mut ordered = Vec::with_capacity(N);
    for tensor in tensors {
        ordered.push(tensor.contiguous()?);
    }
    let held: Vec<_> = ordered.iter().map(Tensor::storage_and_layout).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&held) {
        let Storage::Cpu(cpu) = &**storage else {
            candle_core::bail!("a CPU kernel was given a tensor of another device");
        };
        let start = layout.start_offset();
        *slice = &cpu.as_slice::<f32>()?[start..start + layout.shape().elem_count()];
    }
    Ok(f(slices))
}

/// Rows and width of a matrix-like tensor: all dimensions but the last are rows.
fn rows_and_width(tensor: &Tensor) -> Result<(usize, usize)> {
    let width = tensor.dim(candle_core::D::Minus1)?;
    Ok((tensor.elem_count() / width.max(1), width))
}

#[cfg(test)]
mod conv_tests;
#[cfg(test)]
mod tests;
