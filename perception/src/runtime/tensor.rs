//! Tensors in and out of a network.

use ort::session::SessionInputValue;
use ort::value::{DynValueTypeMarker, TensorElementType, TensorRef, ValueRef};

/// Element types that networks here take or give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit float.
    F32,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// Unsigned byte.
    U8,
    /// Boolean.
    Bool,
}

impl Kind {
    pub(super) fn of(kind: TensorElementType) -> Option<Kind> {
        match kind {
            TensorElementType::Float32 => Some(Kind::F32),
            TensorElementType::Int64 => Some(Kind::I64),
            TensorElementType::Int32 => Some(Kind::I32),
            TensorElementType::Uint8 => Some(Kind::U8),
            TensorElementType::Bool => Some(Kind::Bool),
            _ => None,
        }
    }
}

/// A borrowed input: shape and elements in row-major order. Nothing is copied on the way in.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    shape: &'a [usize],
    data: Borrowed<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Borrowed<'a> {
    F32(&'a [f32]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    U8(&'a [u8]),
    Bool(&'a [bool]),
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident($element:ty) => $variant:ident;)*) => {
        impl<'a> Tensor<'a> {
            $($(#[$doc])* pub fn $name(shape: &'a [usize], data: &'a [$element]) -> Tensor<'a> {
                Tensor { shape, data: Borrowed::$variant(data) }
            })*
        }
    };
}

constructors! {
    /// 32-bit floats.
    f32(f32) => F32;
    /// 64-bit integers.
    i64(i64) => I64;
    /// 32-bit integers.
    i32(i32) => I32;
    /// Bytes.
    u8(u8) => U8;
    /// Booleans.
    bool(bool) => Bool;
}

impl<'a> Tensor<'a> {
    /// The value ONNX Runtime reads; fails when the shape does not match the number of elements.
    pub(super) fn view(&self) -> Result<SessionInputValue<'a>, String> {
        fn dynamic<'a, T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
            shape: &[usize],
            data: &'a [T],
        ) -> Result<SessionInputValue<'a>, String> {
            let wanted: usize = shape.iter().product();
            if wanted != data.len() {
                return Err(format!(
                    "shape {shape:?} needs {wanted} elements, {} were given",
                    data.len()
                ));
            }
            if data.is_empty() {
                // Borrowed views must not be empty; an owned value may be.
                let empty = ort::value::Tensor::<T>::new(&ort::memory::Allocator::default(), shape.to_vec());
                return empty
                    .map(|value| value.into_dyn().into())
                    .map_err(|error| error.to_string());
            }
            let view =
                TensorRef::from_array_view((shape.to_vec(), data)).map_err(|error| error.to_string())?;
            let view: ValueRef<'a, DynValueTypeMarker> = view.into_dyn();
            Ok(view.into())
        }
        match self.data {
            Borrowed::F32(data) => dynamic(self.shape, data),
            Borrowed::I64(data) => dynamic(self.shape, data),
            Borrowed::I32(data) => dynamic(self.shape, data),
            Borrowed::U8(data) => dynamic(self.shape, data),
            Borrowed::Bool(data) => dynamic(self.shape, data),
        }
    }
}

/// The elements of an output, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// Bytes.
    U8(Vec<u8>),
    /// Booleans.
    Bool(Vec<bool>),
}

/// One output of a network, in the order the graph declares them.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The name the graph gives it.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Data,
}

impl Output {
    /// The elements when they are 32-bit floats, else `None`.
    pub fn f32s(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(data) => Some(data),
            _ => None,
        }
    }

    /// The elements when they are 32-bit floats, else `None`.
    pub fn into_f32s(self) -> Option<Vec<f32>> {
        match self.data {
            Data::F32(data) => Some(data),
            _ => None,
        }
    }

    pub(super) fn of(name: &str, value: &ort::value::DynValue) -> Result<Output, String> {
        let ort::value::ValueType::Tensor { ty, .. } = value.dtype() else {
            return Err(format!("output `{name}` is no tensor"));
        };
        macro_rules! take {
            ($variant:ident, $element:ty) => {{
                let (shape, data) = value
                    .try_extract_tensor::<$element>()
                    .map_err(|error| error.to_string())?;
                (
                    shape.iter().map(|&size| size.max(0) as usize).collect(),
                    Data::$variant(data.to_vec()),
                )
            }};
        }
        let (shape, data) = match Kind::of(*ty) {
            Some(Kind::F32) => take!(F32, f32),
            Some(Kind::I64) => take!(I64, i64),
            Some(Kind::I32) => take!(I32, i32),
            Some(Kind::U8) => take!(U8, u8),
            Some(Kind::Bool) => take!(Bool, bool),
            None => {
                return Err(format!(
                    "output `{name}` has element type {ty}, which is not read here"
                ));
            }
        };
        Ok(Output {
            name: name.to_owned(),
            shape,
            data,
        })
    }
}
