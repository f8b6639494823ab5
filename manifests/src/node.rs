//! One column as plain vectors: between rows (serde) and Arrow arrays (polars).

use crate::bounds::MOST_BYTES;
use omni_schemas::{Column, Kind};
use polars::prelude::{ArrowField, DataFrame, IntoColumn, PlSmallStr, PolarsResult, Schema, Series};
use polars_arrow::{
    array::{
        Array, ArrayRef, BooleanArray, ListArray, MutableBinaryViewArray, PrimitiveArray, StructArray,
        Utf8ViewArray,
    },
    bitmap::Bitmap,
    datatypes::ArrowDataType,
    offset::OffsetsBuffer,
};

/// A column's values; a null takes a place holding the default.
pub(crate) enum Values {
    Bool(Vec<bool>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    /// `ends[i]` is where text i ends in the common buffer
    Text {
        ends: Vec<usize>,
        text: String,
    },
    /// `ends[i]` is one past the last element of list i
    List {
        ends: Vec<usize>,
        inner: Box<Node>,
    },
    Struct {
        names: Vec<String>,
        fields: Vec<Node>,
    },
}

/// Values and which of them are there.
pub(crate) struct Node {
    pub(crate) valid: Vec<bool>,
    pub(crate) values: Values,
}

impl Node {
    /// An empty column.
    pub(crate) fn new(kind: &Kind) -> Node {
        let values = match kind {
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::I64 => Values::I64(Vec::new()),
            Kind::F64 => Values::F64(Vec::new()),
            Kind::Text => Values::Text {
                ends: Vec::new(),
                text: String::new(),
            },
            Kind::List(inner) => Values::List {
                ends: Vec::new(),
                inner: Box::new(Node::new(inner)),
            },
            Kind::Struct(columns) => return Node::of_columns(columns),
        };
        Node {
            valid: Vec::new(),
            values,
        }
    }

    /// An empty table.
    pub(crate) fn of_columns(columns: &[Column]) -> Node {
        let values = Values::Struct {
            names: columns.iter().map(|c| c.name.to_owned()).collect(),
            fields: columns.iter().map(|c| Node::new(&c.kind)).collect(),
        };
        Node {
            valid: Vec::new(),
            values,
        }
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    /// A column of a table, by name.
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let Values::Struct { names, fields } = &self.values else {
            return None;
        };
        let place = names.iter().position(|there| there == name)?;
        fields.get(place)
    }

    /// Number of values of all columns in it, and about how many bytes they take in memory.
    pub(crate) fn size(&self) -> (u64, u64) {
        let own = self.valid.len() as u64;
        match &self.values {
            Values::Bool(_) => (own, 2 * own),
            Values::I64(_) | Values::F64(_) => (own, 9 * own),
            Values::Text { text, .. } => (own, 9 * own + text.len() as u64),
            Values::List { inner, .. } => {
                let (values, bytes) = inner.size();
                (own + values, 9 * own + bytes)
            }
            Values::Struct { fields, .. } => fields
                .iter()
                .map(Node::size)
                .fold((own, own), |sum, field| (sum.0 + field.0, sum.1 + field.1)),
        }
    }

    /// Appends a null (in a struct, to every field).
    pub(crate) fn push_null(&mut self) {
        self.valid.push(false);
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::I64(values) => values.push(0),
            Values::F64(values) => values.push(0.0),
            Values::Text { ends, text } => ends.push(text.len()),
            Values::List { ends, inner } => ends.push(inner.len()),
            Values::Struct { fields, .. } => fields.iter_mut().for_each(Node::push_null),
        }
    }

    /// Where text or list `i` lies.
    pub(crate) fn span(ends: &[usize], i: usize) -> std::ops::Range<usize> {
        let start = if i == 0 { 0 } else { ends[i - 1] };
        start..ends[i]
    }

    /// The table as polars sees it; the node must be a struct.
    pub(crate) fn into_frame(self) -> PolarsResult<DataFrame> {
        let height = self.len();
        let Values::Struct { names, fields } = self.values else {
            return Ok(DataFrame::empty());
        };
        let columns = names.into_iter().zip(fields).map(|(name, field)| {
            let series = Series::try_from((PlSmallStr::from(name), field.into_array()?))?;
            Ok(series.into_column())
        });
        DataFrame::new(height, columns.collect::<PolarsResult<Vec<_>>>()?)
    }

    fn into_array(self) -> PolarsResult<ArrayRef> {
        let validity = validity(&self.valid);
        Ok(match self.values {
            Values::Bool(values) => {
                BooleanArray::try_new(ArrowDataType::Boolean, values.into(), validity)?.boxed()
            }
            Values::I64(values) => {
                PrimitiveArray::try_new(ArrowDataType::Int64, values.into(), validity)?.boxed()
            }
            Values::F64(values) => {
                PrimitiveArray::try_new(ArrowDataType::Float64, values.into(), validity)?.boxed()
            }
            Values::Text { ends, text } => {
                let texts = (0..ends.len()).map(|i| self.valid[i].then(|| &text[Self::span(&ends, i)]));
                texts.collect::<MutableBinaryViewArray<str>>().freeze().boxed()
            }
            Values::List { ends, inner } => {
                let inner = inner.into_array()?;
                let item = ArrowField::new("item".into(), inner.dtype().clone(), true);
                let dtype = ArrowDataType::LargeList(Box::new(item));
                let offsets: Vec<i64> = std::iter::once(0).chain(ends.iter().map(|&e| e as i64)).collect();
                ListArray::try_new(dtype, OffsetsBuffer::try_from(offsets)?, inner, validity)?.boxed()
            }
            Values::Struct { names, fields } => {
                let arrays = fields
                    .into_iter()
                    .map(Node::into_array)
                    .collect::<PolarsResult<Vec<_>>>()?;
                let field = |(name, array): (String, &ArrayRef)| {
                    ArrowField::new(name.into(), array.dtype().clone(), true)
                };
                let dtype = ArrowDataType::Struct(names.into_iter().zip(&arrays).map(field).collect());
                StructArray::try_new(dtype, self.valid.len(), arrays, validity)?.boxed()
            }
        })
    }

    /// A polars table as a struct node. Integers become 64-bit, floats too; a type we do not store is an error.
    pub(crate) fn from_frame(frame: &DataFrame) -> Result<Node, String> {
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for column in frame.columns() {
            let name = column.name().to_string();
            let series = column.as_materialized_series().rechunk();
            let array = series.to_arrow(0, polars::prelude::CompatLevel::newest());
            fields.push(Node::from_array(array.as_ref()).map_err(|e| format!("column `{name}`: {e}"))?);
            names.push(name);
        }
        Ok(Node {
            valid: vec![true; frame.height()],
            values: Values::Struct { names, fields },
        })
    }

    fn from_array(array: &dyn Array) -> Result<Node, String> {
        let any = array.as_any();
        let values = if let Some(a) = any.downcast_ref::<BooleanArray>() {
            Values::Bool(a.values().iter().collect())
        } else if let Some(a) = any.downcast_ref::<Utf8ViewArray>() {
            texts(a)?
        } else if let Some(a) = any.downcast_ref::<ListArray<i64>>() {
            let (first, last) = (*a.offsets().first() as usize, *a.offsets().last() as usize);
            let inner = a.values().sliced(first, last - first);
            Values::List {
                ends: a.offsets().as_slice()[1..]
                    .iter()
                    .map(|&o| o as usize - first)
                    .collect(),
                inner: Box::new(Node::from_array(inner.as_ref())?),
            }
        } else if let Some(a) = any.downcast_ref::<StructArray>() {
            let fields = a.values().iter().map(|f| Node::from_array(f.as_ref()));
            Values::Struct {
                names: a.fields().iter().map(|f| f.name.to_string()).collect(),
                fields: fields.collect::<Result<_, _>>()?,
            }
        } else {
            numbers(array)?
        };
        let valid = array
            .validity()
            .map_or_else(|| vec![true; array.len()], |v| v.iter().collect());
        Ok(Node { valid, values })
    }
}

/// The polars schema of a record's columns.
pub(crate) fn schema(columns: &[Column]) -> PolarsResult<Schema> {
    Ok(Node::of_columns(columns).into_frame()?.schema().as_ref().clone())
}

fn validity(valid: &[bool]) -> Option<Bitmap> {
    valid.contains(&false).then(|| Bitmap::from(valid))
}

/// Texts share bytes in a dictionary; here each has its own, so their sum is bounded.
fn texts(array: &Utf8ViewArray) -> Result<Values, String> {
    let (mut ends, mut text) = (Vec::with_capacity(array.len()), String::new());
    for value in array.iter() {
        text.push_str(value.unwrap_or_default());
        ends.push(text.len());
        if text.len() as u64 > MOST_BYTES {
            return Err(format!("its texts have more than {MOST_BYTES} bytes"));
        }
    }
    Ok(Values::Text { ends, text })
}

fn numbers(array: &dyn Array) -> Result<Values, String> {
    macro_rules! widen {
        ($($kind:ty => $as:ident),*) => {
            $(if let Some(a) = array.as_any().downcast_ref::<PrimitiveArray<$kind>>() {
                return Ok(Values::$as(a.values().iter().map(|&v| v.into()).collect()));
            })*
        };
    }
    widen!(i64 => I64, f64 => F64, i8 => I64, i16 => I64, i32 => I64, u8 => I64, u16 => I64, u32 => I64, f32 => F64);
    if let Some(a) = array.as_any().downcast_ref::<PrimitiveArray<u64>>() {
        let wide = a
            .values()
            .iter()
            .map(|&v| i64::try_from(v).map_err(|_| format!("{v} is beyond 63 bits")));
        return Ok(Values::I64(wide.collect::<Result<_, _>>()?));
    }
    Err(format!(
        "the type {:?} is not one that manifests hold",
        array.dtype()
    ))
}
