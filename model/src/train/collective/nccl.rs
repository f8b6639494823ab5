//! Ranks whose tensors lie on NVIDIA cards, one each, over NCCL. They meet as [`Processes`] and hand each other NCCL's name for
//! the run there; what lies on the processor (counts, wishes) goes that way too, and so does the news that a rank is gone.
//!
//! Compiled, and never run: no machine with two cards was to hand. NCCL adds up in an order of its own, so its sums are not the
//! bits of the other forms.

use super::{Collective, Processes, slice_of};
use crate::{Error, Result, generate::Place};
use candle_core::{
    CudaStorage, DType, Device, Storage, Tensor,
    cuda_backend::{
        CudaDType,
        cudarc::{
            driver::{DeviceRepr, ValidAsZeroBits},
            nccl::{
                result::NcclError,
                safe::{Comm, Id, NcclType, ReduceOp},
            },
        },
    },
    op::BackpropOp,
};
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

/// Between two looks whether a rank is gone, while the card works.
const LOOK: Duration = Duration::from_millis(100);

/// What a call does.
#[derive(Clone, Copy)]
enum Kind {
    ReduceScatter,
    AllGather,
    Broadcast(usize),
}

/// A call, and where its result goes.
struct Call {
    kind: Kind,
    tensor: Tensor,
    result: Sender<Result<Tensor>>,
}

/// A rank with a card.
///
/// NCCL's own communicator belongs to a thread: a call that never comes back, because another rank died in it, leaves that thread
/// waiting and not this rank.
pub struct Nccl {
    ranks: Processes,
    /// To the communicator's thread; `None` without cards.
    calls: Option<Sender<Call>>,
}

impl Nccl {
    /// Joins the cards of ranks that have met; `place` is this one's. Ranks on processors go on as they are. Fails with
    /// [`Error::Device`] without NCCL's library.
    pub fn join(ranks: Processes, place: &Place) -> Result<Self> {
        match line(&ranks, place) {
            Ok(calls) => Ok(Self { ranks, calls }),
            Err(error) => {
                ranks.fail(&error.to_string());
                Err(error)
            }
        }
    }

    /// As [`Processes::finish`].
    pub fn finish(self) {
        self.ranks.finish();
    }

    /// As [`Processes::fail`].
    pub fn fail(self, why: &str) {
        self.ranks.fail(why);
    }

    fn call(&self, kind: Kind, tensor: &Tensor) -> Result<Tensor> {
        let (result, got) = channel();
        let call = Call {
            kind,
            tensor: tensor.detach().contiguous()?,
            result,
        };
        let sent = self.calls.as_ref().and_then(|calls| calls.send(call).ok());
        sent.ok_or_else(|| stops(&self.ranks, "NCCL's thread has ended".to_owned()))?;
        wait(&self.ranks, &got)?
    }
}

fn stops(ranks: &Processes, why: String) -> Error {
    Error::Rank {
        rank: ranks.rank(),
        why,
    }
}

/// Waits for what the communicator's thread sends, as long as all ranks are there.
fn wait<T>(ranks: &Processes, from: &Receiver<T>) -> Result<T> {
    loop {
        match from.recv_timeout(LOOK) {
            Ok(got) => return Ok(got),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(stops(ranks, "NCCL's thread has ended".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some((rank, why)) = ranks.gone() {
                    return Err(stops(ranks, format!("rank {rank} {why}")));
                }
            }
        }
    }
}

/// The communicator's thread; `None` where the ranks have no cards.
fn line(ranks: &Processes, place: &Place) -> Result<Option<Sender<Call>>> {
    let device = place.device()?;
    if !device.is_cuda() {
        return Ok(None);
    }
    usable()?;
    let id = name_of_run(ranks)?;
    let (rank, world) = (ranks.rank(), ranks.world());
    let (calls, asked) = channel();
    let (ready, joined) = channel();
    std::thread::spawn(move || match communicator(&device, rank, world, id) {
        Ok(comm) => {
            let _ = ready.send(Ok(())); // nobody waits any more
            serve(&comm, &asked);
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    });
    wait(ranks, &joined)??;
    Ok(Some(calls))
}

/// Fails where NCCL's library is not there: what uses it would panic.
fn usable() -> Result<()> {
    #[cfg(feature = "dynamic-loading")]
    {
        // SAFETY: the call opens a library by its name and closes it again; nothing in it is called.
        #[allow(unsafe_code)]
        let here = unsafe { candle_core::cuda_backend::cudarc::nccl::sys::is_culib_present() };
        if !here {
            return Err(Error::Device(
                "this machine lacks libnccl.so: install NCCL, put its folder into LD_LIBRARY_PATH, and make a link libnccl.so \
                 to its libnccl.so.2 there"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn failed(error: NcclError) -> Error {
    Error::Device(format!("NCCL: {:?}", error.0))
}

/// NCCL's name for the run, made by rank 0.
fn name_of_run(ranks: &Processes) -> Result<Id> {
    let own = match ranks.rank() {
        0 => Id::new().map_err(failed)?.internal().map(|letter| letter as u8),
        _ => [0; 128],
    };
    let all = ranks.broadcast(&Tensor::new(&own[..], &Device::Cpu)?, 0)?;
    let mut name = [0; 128];
    for (letter, byte) in name.iter_mut().zip(all.to_vec1::<u8>()?) {
        *letter = byte as std::ffi::c_char;
    }
    Ok(Id::uninit(name))
}

fn communicator(device: &Device, rank: usize, world: usize, id: Id) -> Result<Comm> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let bound = stream.context().bind_to_thread();
    bound.map_err(|error| Error::Device(error.to_string()))?;
    Comm::from_rank(stream, rank, world, id).map_err(failed)
}

/// Answers calls until nobody has any.
fn serve(comm: &Comm, calls: &Receiver<Call>) {
    while let Ok(call) = calls.recv() {
        let result = of_type(comm, call.kind, &call.tensor);
        let _ = call.result.send(result); // nobody waits any more
    }
}

fn of_type(comm: &Comm, kind: Kind, tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F32 => on_card::<f32>(comm, kind, tensor),
        DType::F64 => on_card::<f64>(comm, kind, tensor),
        DType::BF16 => on_card::<half::bf16>(comm, kind, tensor),
        DType::F16 => on_card::<half::f16>(comm, kind, tensor),
        DType::U8 => on_card::<u8>(comm, kind, tensor),
        DType::U32 => on_card::<u32>(comm, kind, tensor),
        DType::I64 => on_card::<i64>(comm, kind, tensor),
        other => Err(Error::Input(format!("NCCL has no {other:?}"))),
    }
}

fn on_card<T>(comm: &Comm, kind: Kind, tensor: &Tensor) -> Result<Tensor>
where
    T: CudaDType + NcclType + DeviceRepr + ValidAsZeroBits,
{
    let device = tensor.device().as_cuda_device()?.clone();
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::Input("a tensor that does not lie on a card".to_owned()));
    };
    let count = tensor.elem_count();
    let own = storage.as_cuda_slice::<T>()?;
    let own = own.slice(layout.start_offset()..layout.start_offset() + count);
    let world = comm.world_size();
    let (length, shape) = match kind {
        Kind::ReduceScatter => (count / world, vec![count / world]),
        Kind::AllGather => {
            let mut shape = tensor.dims().to_vec();
            if let Some(first) = shape.first_mut() {
                *first *= world;
            }
            (count * world, shape)
        }
        Kind::Broadcast(_) => (count, tensor.dims().to_vec()),
    };
    let mut all = device.alloc_zeros::<T>(length)?;
    let done = match kind {
        Kind::ReduceScatter => comm.reduce_scatter(&own, &mut all, &ReduceOp::Sum),
        Kind::AllGather => comm.all_gather(&own, &mut all),
        Kind::Broadcast(from) => comm.broadcast(Some(&own), &mut all, from as i32),
    };
    done.map_err(failed)?;
    let stream = device.cuda_stream();
    stream
        .synchronize()
        .map_err(|error| Error::Device(error.to_string()))?;
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(all, device));
    Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn reduce_scatter(&self, bucket: &Tensor) -> Result<Tensor> {
        slice_of(bucket, self.world())?;
        match bucket.device().is_cuda() {
            true => self.call(Kind::ReduceScatter, bucket),
            false => self.ranks.reduce_scatter(bucket),
        }
    }

    fn all_gather(&self, slice: &Tensor) -> Result<Tensor> {
        match slice.device().is_cuda() {
            true => self.call(Kind::AllGather, slice),
            false => self.ranks.all_gather(slice),
        }
    }

    fn broadcast(&self, tensor: &Tensor, from: usize) -> Result<Tensor> {
        if from >= self.world() {
            return Err(Error::Input(format!("there is no rank {from}")));
        }
        match tensor.device().is_cuda() {
            true => self.call(Kind::Broadcast(from), tensor),
            false => self.ranks.broadcast(tensor, from),
        }
    }
}
