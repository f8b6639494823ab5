//! What ranks of a run say to each other. The trainer is written against the trait. One process has nobody to talk to ([`Solo`]);
//! threads of one process show on the CPU that any number of ranks trains the same ([`Threads`]); processes on one machine or
//! several talk over TCP ([`Processes`]), and hand each other the name under which their cards meet (`Nccl`, a cargo feature).

mod frame;
mod greet;
mod launch;
mod meet;
#[cfg(feature = "nccl")]
mod nccl;
mod processes;
mod threads;

#[cfg(test)]
mod tests;

pub use greet::Meeting;
pub use launch::Launch;
pub use meet::Patience;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub use processes::Processes;
pub use threads::Threads;

use crate::{Error, Result};
use candle_core::{Device, Tensor};

/// Ranks that work on one step together. Every rank makes the same calls in the same order.
pub trait Collective: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world(&self) -> usize;

    /// The sum over all ranks of `bucket` `[n]`, and of that this rank's slice `[n / world]`. Fails unless n is a multiple of
    /// the number of ranks, and when a rank is gone.
    fn reduce_scatter(&self, bucket: &Tensor) -> Result<Tensor>;

    /// The slices of all ranks, in their order. Fails when a rank is gone.
    fn all_gather(&self, slice: &Tensor) -> Result<Tensor>;

    /// The tensor of rank `from`. Fails when a rank is gone.
    fn broadcast(&self, tensor: &Tensor, from: usize) -> Result<Tensor>;

    /// The sum over all ranks. As [`Collective::reduce_scatter`].
    fn all_reduce(&self, tensor: &Tensor) -> Result<Tensor> {
        self.all_gather(&self.reduce_scatter(tensor)?)
    }
}

/// One process alone.
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn reduce_scatter(&self, bucket: &Tensor) -> Result<Tensor> {
        Ok(bucket.clone())
    }

    fn all_gather(&self, slice: &Tensor) -> Result<Tensor> {
        Ok(slice.clone())
    }

    fn broadcast(&self, tensor: &Tensor, _: usize) -> Result<Tensor> {
        Ok(tensor.clone())
    }
}

/// Whether all ranks wish it. Waits for all of them, so that none goes on alone. Fails when a rank is gone.
pub fn agreed(ranks: &dyn Collective, wish: bool) -> Result<bool> {
    if ranks.world() == 1 {
        return Ok(wish);
    }
    let wish = Tensor::new(&[u8::from(wish)], &Device::Cpu)?;
    let wishes = ranks.all_gather(&wish)?.to_vec1::<u8>()?;
    Ok(wishes.into_iter().all(|wish| wish == 1))
}

/// Fails with [`Error::Ranks`] unless all ranks have the same `text`, which is `what` to the reader. Waits for all of them.
pub fn alike(ranks: &dyn Collective, what: &str, text: &str) -> Result<()> {
    if ranks.world() == 1 {
        return Ok(());
    }
    let own = Tensor::new(&blake3::hash(text.as_bytes()).as_bytes()[..], &Device::Cpu)?;
    let all = ranks.all_gather(&own)?.to_vec1::<u8>()?;
    let mut hashes = all.chunks_exact(blake3::OUT_LEN);
    let first = hashes.next();
    match hashes.position(|hash| Some(hash) != first) {
        Some(place) => Err(Error::Ranks(format!(
            "rank {} has another {what} than rank 0",
            place + 1
        ))),
        None => Ok(()),
    }
}

/// Values of a slice when `bucket` `[n]` is cut into one for each rank.
fn slice_of(bucket: &Tensor, world: usize) -> Result<usize> {
    let count = bucket.dims1()?;
    if count.is_multiple_of(world) {
        Ok(count / world)
    } else {
        Err(Error::Input(format!(
            "{count} values are no whole slices of {world} ranks"
        )))
    }
}
