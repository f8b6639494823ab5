//! Columns to rows: a serde deserializer over one place of a [`Node`]. It makes records and JSON alike.

use crate::node::{Node, Values};
use serde::de::{
    self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor,
    value::{Error, MapDeserializer, SeqDeserializer},
};

/// Row `i` of a table as any type that serde can make.
pub(crate) fn row<T: DeserializeOwned>(table: &Node, i: usize) -> Result<T, Error> {
    T::deserialize(Cell { node: table, i })
}

/// One value of a column.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    node: &'a Node,
    i: usize,
}

impl<'de> IntoDeserializer<'de> for Cell<'_> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Cell<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let i = self.i;
        if !self.node.valid[i] {
            return visitor.visit_unit();
        }
        match &self.node.values {
            Values::Bool(values) => visitor.visit_bool(values[i]),
            Values::I64(values) => visitor.visit_i64(values[i]),
            Values::F64(values) => visitor.visit_f64(values[i]),
            Values::Text { ends, text } => visitor.visit_str(&text[Node::span(ends, i)]),
            Values::List { ends, inner } => {
                let cells = Node::span(ends, i).map(|i| Cell { node: inner, i });
                let mut cells = SeqDeserializer::new(cells);
                let value = visitor.visit_seq(&mut cells)?;
                cells.end().map(|()| value)
            }
            Values::Struct { names, fields } => {
                let cells = fields.iter().map(|node| Cell { node, i });
                visitor.visit_map(MapDeserializer::new(names.iter().map(String::as_str).zip(cells)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.valid[self.i] {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.values {
            Values::Text { ends, text } if self.node.valid[self.i] => {
                let word: de::value::StrDeserializer<'_, Error> =
                    text[Node::span(ends, self.i)].into_deserializer();
                word.deserialize_enum(name, variants, visitor)
            }
            _ => Err(de::Error::custom(format!("`{name}` is not text"))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
