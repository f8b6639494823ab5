//! Weights by name: strict, by memory map, one tensor at a time.
//!
//! A network asks for each of its tensors by the checkpoint's own name and shape. Nothing fails on the way: what is missing
//! or misshapen is gathered, and [`Weights::finish`] tells all of it at once, with what nobody asked for. Linear weights are
//! held as `[in, out]`, the checkpoints' are `[out, in]` (products are up to a third faster that way round).

mod formula;
mod init;
mod mismatch;
mod pickle;
mod pth;
mod source;
mod write;

pub use formula::{Formula, value_of};
pub use init::Init;
pub(crate) use init::normal;
pub use mismatch::{Mismatch, WrongShape};
pub use pth::Pth;
pub(crate) use source::safetensors_of;
pub use source::{Entry, File, Folder, Found, Loaded, ShapesOnly, Source};
pub use write::{Part, write_parts};

use crate::{Error, Result, param::Param};
use candle_core::{DType, Device, Tensor, Var};
use std::{cell::RefCell, fmt::Display, io::Read, path::Path, rc::Rc};

/// How a trained variable lies in memory, against how the checkpoint has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The same.
    AsIs,
    /// `[out, rest...]` in the file, `[rest, out]` here.
    Transposed,
    /// `[out, in, taps]` in the file, `[taps * in, out]` here.
    Taps,
}

impl Stored {
    /// From the checkpoint's form to ours.
    pub fn load(self, tensor: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::AsIs => Ok(tensor.clone()),
            Self::Transposed => tensor.flatten_from(1)?.t()?.contiguous(),
            Self::Taps => tensor.permute((0, 2, 1))?.flatten_from(1)?.t()?.contiguous(),
        }
    }

    /// From our form back to the checkpoint's `shape`.
    pub fn save(self, tensor: &Tensor, shape: &[usize]) -> candle_core::Result<Tensor> {
        match self {
            Self::AsIs => Ok(tensor.clone()),
            Self::Transposed => tensor.t()?.contiguous()?.reshape(shape),
            Self::Taps => {
                let rows = tensor.t()?.contiguous()?;
                rows.reshape((shape[0], shape[2], shape[1]))?
                    .permute((0, 2, 1))?
                    .contiguous()
            }
        }
    }

    fn shape(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::AsIs => shape.to_vec(),
            Self::Transposed | Self::Taps => vec![shape[1..].iter().product(), shape[0]],
        }
    }
}

/// A weight that is trained.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The checkpoint's name.
    pub name: String,
    /// The variable that the network uses.
    pub var: Var,
    /// The checkpoint's shape.
    pub shape: Vec<usize>,
    /// How the two differ.
    pub stored: Stored,
    /// What the variable holds, as one row of f32 on the CPU, where the variable holds it in half precision; the part of it that
    /// [`Weights::keep`] says.
    pub wide: Option<Tensor>,
}

/// A weight as the network holds it, trained or frozen: what a checkpoint is written from.
#[derive(Debug, Clone)]
pub struct Held {
    /// The checkpoint's name.
    pub name: String,
    /// The tensor or variable that the network uses.
    pub tensor: Tensor,
    /// The checkpoint's shape.
    pub shape: Vec<usize>,
    /// How the two differ.
    pub stored: Stored,
}

/// A low-rank addition to a frozen matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lora {
    /// Inner width.
    pub rank: usize,
    /// What the product of the two small matrices is multiplied with.
    pub scale: f64,
}

/// Which weights get a low-rank addition, by name.
type Adapts = Box<dyn Fn(&str) -> Option<Lora>>;
/// What is kept of a row of f32 beside a weight of half precision.
type Keeps = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

struct Ledger {
    source: Box<dyn Source>,
    dtype: DType,
    device: Device,
    asked: Vec<(String, Vec<usize>)>,
    missing: Vec<String>,
    wrong: Vec<WrongShape>,
    trains: Box<dyn Fn(&str) -> bool>,
    trained: Vec<Trained>,
    keeps: Keeps,
    adapts: Adapts,
    held: Vec<Held>,
}

/// A place in a checkpoint: a prefix, and what has been asked for so far.
#[derive(Clone)]
pub struct Weights {
    ledger: Rc<RefCell<Ledger>>,
    prefix: String,
}

impl Weights {
    /// From any source, in `dtype` on `device`.
    pub fn new(source: impl Source + 'static, dtype: DType, device: &Device) -> Self {
        let ledger = Ledger {
            source: Box::new(source),
            dtype,
            device: device.clone(),
            asked: Vec::new(),
            missing: Vec::new(),
            wrong: Vec::new(),
            trains: Box::new(|_| false),
            trained: Vec::new(),
            keeps: Box::new(|row| Ok(row.clone())),
            adapts: Box::new(|_| None),
            held: Vec::new(),
        };
        Self {
            ledger: Rc::new(RefCell::new(ledger)),
            prefix: String::new(),
        }
    }

    /// From a safetensors file (by memory map) or one of PyTorch's (read as data, nothing in it is run); which, its first
    /// bytes tell. Fails if it cannot be opened or is damaged.
    pub fn open(path: &Path, dtype: DType, device: &Device) -> Result<Self> {
        if is_torch(path)? {
            Ok(Self::new(Pth::open(path)?, dtype, device))
        } else {
            Ok(Self::new(File::open(path)?, dtype, device))
        }
    }

    /// Names and shapes alone; what comes out takes no memory and computes nothing of use.
    pub fn shapes_only() -> Self {
        Self::new(ShapesOnly, DType::F32, &Device::Cpu)
    }

    /// Makes variables of the weights whose full names `trains` picks, from here on.
    pub fn train(self, trains: impl Fn(&str) -> bool + 'static) -> Self {
        self.ledger.borrow_mut().trains = Box::new(trains);
        self
    }

    /// Of what stays as f32 beside a trained weight of half precision keeps what `keeps` makes of it, one row, from here on:
    /// what a rank does not need is gone before the next weight is read.
    pub fn keep(self, keeps: impl Fn(&Tensor) -> Result<Tensor> + 'static) -> Self {
        self.ledger.borrow_mut().keeps = Box::new(keeps);
        self
    }

    /// Gives the matrices whose full names `adapts` picks a low-rank addition, from here on: `NAME.lora_down.weight` and
    /// `NAME.lora_up.weight` beside `NAME.weight`.
    pub fn adapt(self, adapts: impl Fn(&str) -> Option<Lora> + 'static) -> Self {
        self.ledger.borrow_mut().adapts = Box::new(adapts);
        self
    }

    /// The low-rank addition of the matrix `weight` at this place: `[input, rank]`, `[rank, output]`, scale.
    pub(crate) fn lora(&self, input: usize, output: usize) -> Result<Option<(Param, Param, f64)>> {
        let lora = (self.ledger.borrow().adapts)(&format!("{}weight", self.prefix));
        let Some(Lora { rank, scale }) = lora else {
            return Ok(None);
        };
        let down = self.pp("lora_down").linear("weight", input, rank)?;
        let up = self.pp("lora_up").linear("weight", rank, output)?;
        Ok(Some((down, up, scale)))
    }

    /// One level down: `weights.pp("blocks").pp(3)` reads `blocks.3.*`.
    pub fn pp(&self, name: impl Display) -> Self {
        Self {
            ledger: self.ledger.clone(),
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// The tensor `name`, as it is stored.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Param> {
        self.stored(name, shape, Stored::AsIs)
    }

    /// The matrix of a Linear, `[input, output]`; the file has `[output, input]`.
    pub fn linear(&self, name: &str, input: usize, output: usize) -> Result<Param> {
        self.stored(name, &[output, input], Stored::Transposed)
    }

    /// The tensor `name` with the checkpoint's `shape`, brought into the form `stored`.
    pub fn stored(&self, name: &str, shape: &[usize], stored: Stored) -> Result<Param> {
        let full = format!("{}{name}", self.prefix);
        let Some(found) = self.fetch(&full, shape)? else {
            return self.of_shape(&stored.shape(shape));
        };
        let dtype = self.dtype();
        let tensor = stored.load(&found.to_dtype(dtype)?)?;
        let mut ledger = self.ledger.borrow_mut();
        let held = |tensor: &Tensor| Held {
            name: full.clone(),
            tensor: tensor.clone(),
            shape: shape.to_vec(),
            stored,
        };
        if !(ledger.trains)(&full) {
            ledger.held.push(held(&tensor));
            return Ok(Param::new(tensor));
        }
        let var = Var::from_tensor(&tensor)?;
        let wide = match dtype {
            DType::BF16 | DType::F16 => {
                let wide = stored.load(&found.to_dtype(DType::F32)?)?;
                // a part shares the whole's memory until it is copied
                let part = (ledger.keeps)(&wide.flatten_all()?)?.force_contiguous()?;
                Some(part.to_device(&Device::Cpu)?)
            }
            _ => None,
        };
        ledger.held.push(held(var.as_tensor()));
        let param = Param::new(var.as_tensor().clone());
        let shape = shape.to_vec();
        ledger.trained.push(Trained {
            name: full,
            var,
            shape,
            stored,
            wide,
        });
        Ok(param)
    }

    /// A frozen tensor of `shape` computed once from stored ones (a weight norm, a folded gain). If one of them is missing
    /// nothing is computed.
    pub fn derive(
        &self,
        parts: &[(&str, &[usize])],
        shape: &[usize],
        f: impl FnOnce(&[Tensor]) -> candle_core::Result<Tensor>,
    ) -> Result<Param> {
        let mut tensors = Vec::with_capacity(parts.len());
        for (name, shape) in parts {
            let found = self.fetch(&format!("{}{name}", self.prefix), shape)?;
            tensors.extend(found.map(|found| found.to_dtype(self.dtype())).transpose()?);
        }
        if tensors.len() < parts.len() {
            return self.of_shape(shape);
        }
        Ok(Param::new(f(&tensors)?))
    }

    /// Whether the source has a tensor of this name; asks for nothing.
    pub fn has(&self, name: &str) -> bool {
        self.ledger.borrow().source.has(&format!("{}{name}", self.prefix))
    }

    /// The device that tensors are loaded to.
    pub fn device(&self) -> Device {
        self.ledger.borrow().device.clone()
    }

    /// The type that tensors are held in.
    pub fn dtype(&self) -> DType {
        self.ledger.borrow().dtype
    }

    /// Every name asked for so far, in order, with the checkpoint's shape.
    pub fn asked(&self) -> Vec<(String, Vec<usize>)> {
        self.ledger.borrow().asked.clone()
    }

    /// The variables made so far.
    pub fn trained(&self) -> Vec<Trained> {
        self.ledger.borrow().trained.clone()
    }

    /// Every weight that was found, as the network holds it, in the order asked for.
    pub fn held(&self) -> Vec<Held> {
        self.ledger.borrow().held.clone()
    }

    /// Says whether the network and the checkpoint have the same tensors.
    ///
    /// Fails with every name that is missing, misshapen, or that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        let ledger = self.ledger.borrow();
        let asked: std::collections::HashSet<&str> =
            ledger.asked.iter().map(|(name, _)| name.as_str()).collect();
        let mut extra = ledger.source.names();
        extra.retain(|name| !asked.contains(name.as_str()));
        let mismatch = Mismatch::new(
            ledger.source.label(),
            ledger.missing.clone(),
            ledger.wrong.clone(),
            extra,
        );
        if mismatch.is_empty() {
            Ok(())
        } else {
            Err(mismatch.into())
        }
    }

    /// The tensor `full` in its own type.
    fn fetch(&self, full: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        let mut ledger = self.ledger.borrow_mut();
        ledger.asked.push((full.to_owned(), shape.to_vec()));
        let device = ledger.device.clone();
        match ledger.source.load(full, shape, &device)? {
            Found::Tensor(tensor) if tensor.dims() == shape => Ok(Some(tensor)),
            Found::Tensor(tensor) => {
                let found = tensor.dims().to_vec();
                ledger.wrong.push(WrongShape::new(full, shape, &found));
                Ok(None)
            }
            Found::Absent => {
                ledger.missing.push(full.to_owned());
                Ok(None)
            }
            Found::ShapeOnly => Ok(None),
        }
    }

    /// What stands for a tensor of which only the shape is known, or which [`Weights::finish`] is going to name as missing: one zero
    /// seen from every place, so no memory.
    fn of_shape(&self, shape: &[usize]) -> Result<Param> {
        let ledger = self.ledger.borrow();
        let zero = Tensor::zeros((), ledger.dtype, &ledger.device)?;
        Ok(Param::new(zero.broadcast_as(shape)?))
    }
}

/// A file of tensors of either kind, or a folder of safetensors; which, is found out. Fails as [`Weights::open`] does.
pub fn open_source(path: &Path) -> Result<Box<dyn Source>> {
    Ok(if path.is_dir() {
        Box::new(Folder::open(path)?)
    } else if is_torch(path)? {
        Box::new(Pth::open(path)?)
    } else {
        Box::new(File::open(path)?)
    })
}

/// Whether a file begins as PyTorch's do: as a zip archive, or as those before there were archives.
pub(crate) fn is_torch(path: &Path) -> Result<bool> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(pth::OLD.len() as u64)
        .read_to_end(&mut start)
        .map_err(io)?;
    Ok(start.starts_with(b"PK\x03\x04") || start == pth::OLD)
}

#[cfg(test)]
mod tests;
