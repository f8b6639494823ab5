//! Rows to columns: a serde serializer that appends to a [`Node`], checking names and kinds as it goes.

use crate::node::{Node, Values};
use serde::ser::{self, Impossible, Serialize, Serializer};
use std::fmt::Display;

/// Why a row does not fit its columns, with the way to the field.
#[derive(Debug)]
pub(crate) struct Misfit {
    path: String,
    what: String,
}

impl Misfit {
    fn new(what: impl Into<String>) -> Misfit {
        Misfit {
            path: String::new(),
            what: what.into(),
        }
    }

    fn within(mut self, name: &str) -> Misfit {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }
}

impl Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.path, self.what)
    }
}

impl std::error::Error for Misfit {}

impl ser::Error for Misfit {
    fn custom<T: Display>(message: T) -> Misfit {
        Misfit::new(message.to_string())
    }
}

/// Appends one row to a struct node. After an error the node must not be used.
pub(crate) fn push_row<T: Serialize>(node: &mut Node, row: &T) -> Result<(), Misfit> {
    row.serialize(node)
}

fn wrong_kind<T>(value: &str) -> Result<T, Misfit> {
    Err(Misfit::new(format!(
        "holds {value}, which its column's type does not"
    )))
}

impl Node {
    /// Appends a value to the vector that `pick` finds, where the column is of that kind.
    fn push_value<T>(
        &mut self,
        value: T,
        called: &str,
        pick: impl FnOnce(&mut Values) -> Option<&mut Vec<T>>,
    ) -> Result<(), Misfit> {
        let Some(values) = pick(&mut self.values) else {
            return wrong_kind(called);
        };
        values.push(value);
        self.valid.push(true);
        Ok(())
    }

    fn push_integer(&mut self, value: impl TryInto<i64> + Display + Copy) -> Result<(), Misfit> {
        let Ok(small) = value.try_into() else {
            return Err(Misfit::new(format!("is {value}, beyond 63 bits")));
        };
        self.push_value(small, "an integer", |values| match values {
            Values::I64(values) => Some(values),
            _ => None,
        })
    }

    fn push_text(&mut self, value: &str) -> Result<(), Misfit> {
        let Values::Text { ends, text } = &mut self.values else {
            return wrong_kind("text");
        };
        text.push_str(value);
        ends.push(text.len());
        self.valid.push(true);
        Ok(())
    }
}

macro_rules! integers {
    ($($method:ident $kind:ty),*) => { $(fn $method(self, v: $kind) -> Result<(), Misfit> { self.push_integer(v) })* };
}

impl<'a> Serializer for &'a mut Node {
    type Ok = ();
    type Error = Misfit;
    type SerializeSeq = ListPart<'a>;
    type SerializeTuple = ListPart<'a>;
    type SerializeTupleStruct = ListPart<'a>;
    type SerializeTupleVariant = Impossible<(), Misfit>;
    type SerializeMap = Impossible<(), Misfit>;
    type SerializeStruct = StructPart<'a>;
    type SerializeStructVariant = Impossible<(), Misfit>;

    integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
              serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_bool(self, v: bool) -> Result<(), Misfit> {
        self.push_value(v, "true or false", |values| match values {
            Values::Bool(values) => Some(values),
            _ => None,
        })
    }

    fn serialize_f32(self, v: f32) -> Result<(), Misfit> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<(), Misfit> {
        if !v.is_finite() {
            return Err(Misfit::new(format!(
                "is {v}; a value that could not be measured is null"
            )));
        }
        self.push_value(v, "a float", |values| match values {
            Values::F64(values) => Some(values),
            _ => None,
        })
    }

    fn serialize_char(self, v: char) -> Result<(), Misfit> {
        self.push_text(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), Misfit> {
        self.push_text(v)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Misfit> {
        wrong_kind("bytes")
    }

    fn serialize_none(self) -> Result<(), Misfit> {
        self.push_null();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Misfit> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Misfit> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Misfit> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Misfit> {
        self.push_text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Misfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Misfit> {
        wrong_kind("a variant with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListPart<'a>, Misfit> {
        let Values::List { ends, inner } = &mut self.values else {
            return wrong_kind("a list");
        };
        Ok(ListPart {
            valid: &mut self.valid,
            ends,
            inner,
        })
    }

    fn serialize_tuple(self, len: usize) -> Result<ListPart<'a>, Misfit> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListPart<'a>, Misfit> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Misfit>, Misfit> {
        wrong_kind("a variant with data")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Impossible<(), Misfit>, Misfit> {
        wrong_kind("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<StructPart<'a>, Misfit> {
        let Values::Struct { names, fields } = &mut self.values else {
            return wrong_kind("named fields");
        };
        Ok(StructPart {
            valid: &mut self.valid,
            names,
            fields,
            next: 0,
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Misfit>, Misfit> {
        wrong_kind("a variant with data")
    }
}

/// A list being filled.
pub(crate) struct ListPart<'a> {
    valid: &'a mut Vec<bool>,
    ends: &'a mut Vec<usize>,
    inner: &'a mut Node,
}

impl ListPart<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        value.serialize(&mut *self.inner).map_err(|e| e.within("[]"))
    }

    fn close(self) -> Result<(), Misfit> {
        self.ends.push(self.inner.len());
        self.valid.push(true);
        Ok(())
    }
}

/// Lists, tuples and tuple structs are one thing here; serde has a trait for each.
macro_rules! lists {
    ($($kind:ident $method:ident),*) => { $(impl ser::$kind for ListPart<'_> {
        type Ok = ();
        type Error = Misfit;
        fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> { self.push(value) }
        fn end(self) -> Result<(), Misfit> { self.close() }
    })* };
}

lists!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field);

/// A row or struct being filled, field by field in the columns' order.
pub(crate) struct StructPart<'a> {
    valid: &'a mut Vec<bool>,
    names: &'a [String],
    fields: &'a mut [Node],
    next: usize,
}

impl ser::SerializeStruct for StructPart<'_> {
    type Ok = ();
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Misfit> {
        if self.names.get(self.next).is_none_or(|name| name != key) {
            return Err(Misfit::new("has no column at its place among the columns").within(key));
        }
        let field = &mut self.fields[self.next];
        self.next += 1;
        value.serialize(field).map_err(|e| e.within(key))
    }

    fn end(self) -> Result<(), Misfit> {
        if let Some(name) = self.names.get(self.next) {
            return Err(Misfit::new("is a column without a field").within(name));
        }
        self.valid.push(true);
        Ok(())
    }
}
