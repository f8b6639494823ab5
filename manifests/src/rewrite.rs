//! Taking keys out of a finished part: its rows and the members of its tar are written anew without them.

use crate::{
    Error, PackWriter, Receipt,
    part::{for_each_row, verify_part, write_rows},
};
use omni_schemas::{Blob, Column, Kind};
use serde::ser::{Error as _, Serialize, SerializeSeq, SerializeStruct, Serializer};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    ops::ControlFlow,
    path::Path,
};

/// What was taken out of a part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Rows.
    pub rows: u64,
    /// Members of the tar.
    pub members: u64,
    /// Bytes of those members.
    pub bytes: u64,
}

/// Writes a part and its tar anew without the rows and artifacts of the keys in `gone`; the receipt becomes what
/// `amend` makes of the one that is there. Kept rows and members keep their order and bytes, so the result is the part
/// that the stage would have made without those keys.
///
/// `keys` are all keys of the shard: a member that no row points at belongs to the longest key it is named after
/// (`KEY/name`). The tar is renamed before the part; a process killed in between leaves a part whose tar does not
/// fit, which every reader notices. With `write` false nothing is written and the counts are those that would be.
///
/// # Errors
/// When the part or its tar is not sound, or cannot be written.
pub fn rewrite_part(
    path: &Path,
    columns: &[Column],
    keys: &[String],
    gone: &BTreeSet<String>,
    amend: impl FnOnce(&mut Receipt),
    write: bool,
) -> Result<Removed, Error> {
    let mut receipt = verify_part(path)?;
    let (mut rows, mut owners, mut removed) = (Vec::new(), BTreeMap::new(), Removed::default());
    for_each_row(path, &mut |mut row| {
        let key = key_of(columns, &row);
        for blob in row.values_mut().filter_map(as_blob) {
            owners.insert(blob.name, key.clone());
        }
        if gone.contains(&key) {
            removed.rows += 1;
        } else {
            rows.push(row);
        }
        ControlFlow::Continue(())
    })?;
    let tar = path.with_extension("tar");
    if receipt.tar.is_some() {
        let is_gone = |name: &str| match owners.get(name) {
            Some(owner) => gone.contains(owner),
            None => named_after(name, keys).is_some_and(|key| gone.contains(key)),
        };
        let members = members(&tar)?;
        let (out, kept): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| is_gone(name));
        removed.members = out.len() as u64;
        removed.bytes = out.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if write && !out.is_empty() {
            receipt.tar = repack(&tar, kept, &mut rows)?;
        }
    }
    if write {
        amend(&mut receipt);
        write_rows(
            path,
            columns,
            &rows.iter().map(|row| Typed { columns, row }).collect::<Vec<_>>(),
            &receipt,
        )?;
    }
    Ok(removed)
}

/// Every record's key column comes first.
fn key_of(columns: &[Column], row: &Map<String, Value>) -> String {
    let key = columns.first().and_then(|column| row.get(column.name)?.as_str());
    key.unwrap_or_default().to_owned()
}

fn as_blob(value: &mut Value) -> Option<Blob> {
    value
        .is_object()
        .then(|| serde_json::from_value(value.clone()).ok())
        .flatten()
}

fn named_after<'a>(member: &str, keys: &'a [String]) -> Option<&'a String> {
    let fits = |key: &&String| {
        member
            .strip_prefix(key.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
    };
    keys.iter().filter(fits).max_by_key(|key| key.len())
}

fn members(path: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let io = |e| Error::io("read", path, e);
    let mut archive = tar::Archive::new(File::open(path).map_err(|e| Error::io("open", path, e))?);
    let mut members = Vec::new();
    for entry in archive.entries().map_err(io)? {
        let mut entry = entry.map_err(io)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(io)?;
        members.push((name, bytes));
    }
    Ok(members)
}

/// Writes the members that stay and points the rows at their new places; no members, no tar.
fn repack(
    tar: &Path,
    members: Vec<(String, Vec<u8>)>,
    rows: &mut [Map<String, Value>],
) -> Result<Option<crate::TarSeal>, Error> {
    if members.is_empty() {
        fs::remove_file(tar).map_err(|e| Error::io("remove", tar, e))?;
        return Ok(None);
    }
    let mut pack = PackWriter::create(tar)?;
    let mut places = BTreeMap::new();
    for (name, bytes) in members {
        let mut blob = Blob {
            name: name.clone(),
            ..Blob::default()
        };
        pack.append(&mut blob, &bytes)?;
        places.insert(name, blob.offset);
    }
    for value in rows.iter_mut().flat_map(Map::values_mut) {
        if let Some(place) = as_blob(value).and_then(|blob| places.get(&blob.name)) {
            value["offset"] = (*place).into();
        }
    }
    pack.finish().map(Some)
}

/// A row of JSON as the struct its columns describe.
pub(crate) struct Typed<'a> {
    columns: &'a [Column],
    row: &'a Map<String, Value>,
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("row", self.columns.len())?;
        for column in self.columns {
            let value = self.row.get(column.name).unwrap_or(&Value::Null);
            fields.serialize_field(column.name, &TypedValue(&column.kind, value))?;
        }
        fields.end()
    }
}

struct TypedValue<'a>(&'a Kind, &'a Value);

impl Serialize for TypedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1) {
            (_, Value::Null) => serializer.serialize_none(),
            (Kind::List(inner), Value::Array(items)) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&TypedValue(inner, item))?;
                }
                list.end()
            }
            (Kind::Struct(columns), Value::Object(row)) => Typed { columns, row }.serialize(serializer),
            (Kind::Bool, Value::Bool(value)) => serializer.serialize_bool(*value),
            (Kind::I64, Value::Number(value)) => value.serialize(serializer),
            (Kind::F64, Value::Number(value)) => match value.as_f64() {
                Some(value) => serializer.serialize_f64(value),
                None => Err(S::Error::custom("is no float")),
            },
            (Kind::Text, Value::String(value)) => serializer.serialize_str(value),
            (_, other) => Err(S::Error::custom(format!(
                "holds {other}, which its column's type does not"
            ))),
        }
    }
}
