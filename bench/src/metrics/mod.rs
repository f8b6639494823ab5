//! One file per metric: its definition, the code, and what it was compared with. [`diff`] shows what made an error rate.

pub mod av_offset;
pub mod binding;
pub mod brisque;
pub mod caption_leak;
pub mod diff;
pub mod dnsmos;
pub mod face;
pub mod imagebind;
pub mod mouths;
pub mod pictures;
pub mod pq;
pub mod sync;
pub mod t_sim;
pub mod tf;
pub mod wer;

/// A vector of numbers; a network that gave none is told of, before a likeness of 0 is made of it.
///
/// # Errors
/// [`Fault::Drop`] with `nan`.
fn finite(vector: Vec<f32>) -> Result<Vec<f32>, omni_pipeline::Fault> {
    match vector.iter().all(|x| x.is_finite()) {
        true => Ok(vector),
        false => Err(omni_pipeline::Fault::drop("nan")),
    }
}
