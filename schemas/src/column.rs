//! Column descriptions: a small type language of our own, so that this crate needs no table library.

use serde::Serialize;

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// true or false
    Bool,
    /// 64-bit signed integer
    I64,
    /// 64-bit float
    F64,
    /// UTF-8 text
    Text,
    /// any number of values of one kind
    List(Box<Kind>),
    /// named fields
    Struct(Vec<Column>),
}

/// One column or field of a record. Every column may be null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The field's name in the struct and in Parquet.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it holds: unit, range, when it is null.
    pub about: &'static str,
}

const fn column(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, about }
}

/// A text column.
pub const fn text(name: &'static str, about: &'static str) -> Column {
    column(name, Kind::Text, about)
}

/// An integer column.
pub const fn integer(name: &'static str, about: &'static str) -> Column {
    column(name, Kind::I64, about)
}

/// A float column.
pub const fn real(name: &'static str, about: &'static str) -> Column {
    column(name, Kind::F64, about)
}

/// A true-or-false column.
pub const fn boolean(name: &'static str, about: &'static str) -> Column {
    column(name, Kind::Bool, about)
}

/// A list column.
pub fn list(name: &'static str, of: Kind, about: &'static str) -> Column {
    column(name, Kind::List(Box::new(of)), about)
}

/// A column of named fields.
pub fn record(name: &'static str, fields: Vec<Column>, about: &'static str) -> Column {
    column(name, Kind::Struct(fields), about)
}
