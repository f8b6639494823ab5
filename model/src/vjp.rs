//! Gradients of our own ops, and recomputation, both by one helper: [`custom_vjp`].
//!
//! candle's fused ops have no backward pass, and its own backward computes gradients of frozen weights too. Here the outputs
//! come from anywhere (a kernel, a whole block without history) and a function maps the gradients of the outputs to those of
//! the inputs. The inputs are threaded on a chain of one-element tokens, each output hangs on the last token, so that in
//! candle's reverse topological order all outputs come before the last link: outputs leave their gradients in a shared hub,
//! the first link asked runs the function, each link hands over its own slot.

use crate::param::no_grad;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, Var,
    backend::BackendStorage,
};
use std::sync::{Arc, Mutex, MutexGuard};

type Vjp = Box<dyn FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + Send>;

struct Hub {
    vjp: Mutex<Option<Vjp>>,
    up: Mutex<Vec<Option<Tensor>>>,
    down: Mutex<Option<Vec<Option<Tensor>>>>,
}

/// A poisoned lock means that a gradient panicked elsewhere; what it guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Hub {
    /// The gradient of input `index`; runs the function on the first call.
    fn take(&self, index: usize, input: &Tensor) -> Result<Option<Tensor>> {
        let mut down = lock(&self.down);
        if down.is_none() {
            let Some(vjp) = lock(&self.vjp).take() else {
                candle_core::bail!("backward ran twice over the same graph");
            };
            *down = Some(vjp(&std::mem::take(&mut *lock(&self.up)))?);
        }
        let grad = down
            .as_mut()
            .and_then(|all| all.get_mut(index))
            .and_then(Option::take);
        match grad {
            Some(grad) => Ok(Some(grad)),
            // candle expects a gradient from all but variables; for those `None` says "took no part in this step"
            None if input.is_variable() => Ok(None),
            None => Ok(Some(input.zeros_like()?)),
        }
    }
}

struct Link {
    hub: Arc<Hub>,
    index: usize,
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "vjp-link"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        token: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((token.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        token: &Tensor,
        input: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(token.zeros_like()?), self.hub.take(self.index, input)?))
    }
}

struct Emit {
    hub: Arc<Hub>,
    index: usize,
    /// Copied once, then let go: the graph would hold it as long as the copy, and every output twice.
    output: Mutex<Option<Tensor>>,
}

impl Emit {
    fn output(&self) -> Result<Tensor> {
        match lock(&self.output).take() {
            Some(output) => Ok(output),
            None => candle_core::bail!("an output of a custom gradient was asked for twice"),
        }
    }
}

impl CustomOp1 for Emit {
    fn name(&self) -> &'static str {
        "vjp-emit"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.output()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cpu(cpu) => Ok((cpu.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("an output of a custom gradient lies on another device than its input"),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let output = self.output()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cuda(cuda) => Ok((cuda.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("an output of a custom gradient lies on another device than its input"),
        }
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        if let Some(slot) = lock(&self.hub.up).get_mut(self.index) {
            *slot = Some(grad.clone());
        }
        Ok(Some(token.zeros_like()?))
    }
}

/// Gives `outputs`, computed by any means from `inputs`, a gradient: `vjp` maps the outputs' gradients (one each, `None` if
/// unused) to the inputs' (one each, `None` for "not needed"). Without a tracked input the outputs come back untouched.
pub fn custom_vjp<F>(inputs: &[Tensor], outputs: Vec<Tensor>, vjp: F) -> Result<Vec<Tensor>>
where
    F: FnOnce(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> + Send + 'static,
{
    if !inputs.iter().any(Tensor::track_op) {
        return Ok(outputs);
    }
    let hub = Arc::new(Hub {
        vjp: Mutex::new(Some(Box::new(vjp))),
        up: Mutex::new(vec![None; outputs.len()]),
        down: Mutex::new(None),
    });
    let mut token = Tensor::zeros(1, DType::F32, inputs[0].device())?;
    for (index, input) in inputs.iter().enumerate().filter(|(_, input)| input.track_op()) {
        let hub = hub.clone();
        token = token.apply_op2(input, Link { hub, index })?;
    }
    let emit = |(index, output): (usize, Tensor)| {
        // a copy of the storage must hold this tensor's values and nothing else
        let output = Mutex::new(Some(whole(&output)?.detach()));
        let hub = hub.clone();
        token.apply_op1(Emit { hub, index, output })
    };
    outputs.into_iter().enumerate().map(emit).collect()
}

/// A tensor whose storage begins with its first value and is in order.
fn whole(tensor: &Tensor) -> Result<Tensor> {
    if tensor.is_contiguous() && tensor.layout().start_offset() == 0 {
        Ok(tensor.clone())
    } else {
        tensor.force_contiguous()
    }
}

/// `f` on `inputs` without keeping what lies between; the backward pass runs `f` again. `params` are the trained weights that
/// `f` uses.
pub fn checkpoint<F>(inputs: &[Tensor], params: &[Tensor], f: F) -> Result<Vec<Tensor>>
where
    F: Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + 'static,
{
    let plain: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let outputs = no_grad(|| f(&plain))?;
    let tracked: Vec<bool> = inputs.iter().map(Tensor::track_op).collect();
    let params = params.to_vec();
    custom_vjp(&[inputs, params.as_slice()].concat(), outputs, move |up| {
        replay(&plain, &tracked, &params, up, f)
    })
}

/// Gives `output` the gradient of `plain`, the same function in candle's own ops.
pub fn with_plain<F>(inputs: &[Tensor], output: Tensor, plain: F) -> Result<Tensor>
where
    F: Fn(&[Tensor]) -> Result<Tensor> + Send + 'static,
{
    let tracked: Vec<bool> = inputs.iter().map(Tensor::track_op).collect();
    let saved: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    let mut outputs = custom_vjp(inputs, vec![output], move |up| {
        replay(&saved, &tracked, &[], up, |inputs| Ok(vec![plain(inputs)?]))
    })?;
    match outputs.pop() {
        Some(output) => Ok(output),
        None => candle_core::bail!("a custom gradient lost its output"),
    }
}

/// Runs `f` on fresh variables and takes its gradients, seeded with `up`: those of the inputs, then those of `params`.
fn replay(
    inputs: &[Tensor],
    tracked: &[bool],
    params: &[Tensor],
    up: &[Option<Tensor>],
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Option<Tensor>>> {
    let fresh = |(input, tracked): (&Tensor, &bool)| {
        Ok(if *tracked {
            Var::from_tensor(input)?.as_tensor().clone()
        } else {
            input.clone()
        })
    };
    let vars: Vec<Tensor> = inputs.iter().zip(tracked).map(fresh).collect::<Result<_>>()?;
    let outputs = f(&vars)?;
    let mut loss: Option<Tensor> = None;
    for (output, up) in outputs.iter().zip(up) {
        let Some(up) = up else { continue };
        let Some(term) = seeded(output, up.detach())? else {
            continue;
        };
        loss = Some(match loss {
            Some(loss) => (loss + term)?,
            None => term,
        });
    }
    let Some(loss) = loss else {
        return Ok(vec![None; inputs.len() + params.len()]);
    };
    let grads = loss.backward()?;
    Ok(vars
        .iter()
        .chain(params)
        .map(|var| grads.get(var).cloned())
        .collect())
}

/// A number whose gradient for `output` is `up`: candle's `backward` takes no seed. Nothing of `output`'s size is made for it. `None`
/// for an output without a history.
fn seeded(output: &Tensor, up: Tensor) -> Result<Option<Tensor>> {
    if !output.track_op() {
        return Ok(None);
    }
    let zero = Tensor::zeros((), DType::F32, output.device())?;
    let seeds = custom_vjp(std::slice::from_ref(output), vec![zero], move |_| {
        Ok(vec![Some(up)])
    })?;
    Ok(seeds.into_iter().next())
}
