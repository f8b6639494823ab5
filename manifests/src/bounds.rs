//! What a part or listing may claim of itself. A hash over the whole file finds accidents, not intent: whoever alters
//! a file can hash it again. So the sizes that a Parquet reader would believe are looked at first.
//!
//! Bounds for one row group: [`MOST_VALUES`] values and [`MOST_BYTES`] bytes once unpacked. The writers keep far below
//! them (see `part.rs`) and refuse what would lie beyond, so no honest file does.

use crate::thrift::{Compact, Kind};
use polars::prelude::FileMetadataRef;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

/// Values of all columns of a row group together; an absent list counts as one.
pub(crate) const MOST_VALUES: u64 = 1 << 26;
/// Bytes of a row group, unpacked.
pub(crate) const MOST_BYTES: u64 = 1 << 30;
/// Columns inside columns.
const DEEPEST: usize = 16;
/// The longest header of a page: our pages carry no statistics.
const HEADER: u64 = 4096;

/// Refuses a footer whose columns nest too deep: readers follow them by recursion, and a stack that overflows ends
/// the process.
pub(crate) fn check_schema(footer: &[u8]) -> Result<(), String> {
    let mut elements = Vec::new();
    let read = Compact::new(footer).fields(|fields, number, kind| match (number, kind) {
        (2, Kind::List) => {
            let (length, Kind::Struct) = fields.list()? else {
                return None;
            };
            (0..length).try_for_each(|_| {
                elements.push(children(fields)?);
                Some(())
            })
        }
        (_, kind) => fields.skip(kind),
    });
    read.ok_or("its footer cannot be read")?;
    let mut open: Vec<u64> = Vec::new();
    for children in elements {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        if open.len() > DEEPEST {
            return Err(format!("its columns lie more than {DEEPEST} deep in each other"));
        }
    }
    Ok(())
}

/// Number of children of one schema element.
fn children(fields: &mut Compact<'_>) -> Option<u64> {
    let mut children = 0;
    fields.fields(|fields, number, kind| match (number, kind) {
        (5, Kind::Int) => {
            children = u64::try_from(fields.int()?).ok()?;
            Some(())
        }
        (_, kind) => fields.skip(kind),
    })?;
    Some(children)
}

/// Refuses row group `group` when it, or a page of it, claims more than a manifest holds, or when its pages contradict
/// it. Nothing is unpacked.
pub(crate) fn check_group(file: &mut File, metadata: &FileMetadataRef, group: usize) -> Result<(), String> {
    let size = file.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
    let group = metadata.row_groups.get(group).ok_or("it has no such row group")?;
    let (mut values, mut bytes) = (group.num_rows() as u64, 0_u64);
    for column in group.parquet_columns() {
        let claimed = u64::try_from(column.num_values()).map_err(|_| "a column has fewer than no values")?;
        values = values.saturating_add(claimed);
        if values > MOST_VALUES {
            return Err(format!("a row group claims more than {MOST_VALUES} values"));
        }
        let mut rest = column.byte_range();
        if rest.start > rest.end || rest.end > size {
            return Err("a column reaches over the file's end".to_owned());
        }
        let (mut found, mut first) = (0_u64, true);
        while found < claimed {
            let page = page(file, &mut rest)?;
            found = found.saturating_add(page.values);
            bytes = bytes.saturating_add(page.bytes);
            if bytes > MOST_BYTES {
                return Err(format!("a row group claims more than {MOST_BYTES} bytes"));
            }
            // Only a dictionary has no values, and it comes first.
            if page.values == 0 && !first {
                return Err("a page has no values".to_owned());
            }
            first = false;
        }
        if found != claimed {
            return Err("its pages have other values than their column".to_owned());
        }
    }
    Ok(())
}

/// What the header of a page claims.
#[derive(Default)]
struct Page {
    /// none in a dictionary
    values: u64,
    bytes: u64,
}

/// Reads the header of the page at the start of `rest` and passes over the page.
fn page(file: &mut File, rest: &mut std::ops::Range<u64>) -> Result<Page, String> {
    let mut header = Vec::new();
    file.seek(SeekFrom::Start(rest.start))
        .map_err(|e| e.to_string())?;
    let left = rest.end - rest.start;
    file.take(HEADER.min(left))
        .read_to_end(&mut header)
        .map_err(|e| e.to_string())?;
    let mut compact = Compact::new(&header);
    let (mut page, mut packed) = (Page::default(), 0);
    let read = compact.fields(|fields, number, kind| {
        match (number, kind) {
            (2, Kind::Int) => page.bytes = u64::try_from(fields.int()?).ok()?,
            (3, Kind::Int) => packed = u64::try_from(fields.int()?).ok()?,
            (5 | 8, Kind::Struct) => page.values = first_number(fields)?,
            // A dictionary may be as long as a column, no longer.
            (7, Kind::Struct) => _ = first_number(fields).filter(|values| *values <= MOST_VALUES)?,
            (_, kind) => fields.skip(kind)?,
        }
        Some(())
    });
    read.ok_or("the header of a page cannot be read")?;
    let length = compact.at() as u64 + packed;
    if length > left {
        return Err("a page reaches over its column's end".to_owned());
    }
    rest.start += length;
    Ok(page)
}

/// Field 1 of a struct, a count.
fn first_number(fields: &mut Compact<'_>) -> Option<u64> {
    let mut count = None;
    fields.fields(|fields, number, kind| match (number, kind) {
        (1, Kind::Int) => {
            count = u64::try_from(fields.int()?).ok();
            Some(())
        }
        (_, kind) => fields.skip(kind),
    })?;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with one list of schema elements, each with so many children.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 2, 0x19, 0xfc, children.len() as u8];
        for count in children {
            bytes.extend([0x55, 2 * count, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn columns_may_nest_but_not_without_end() {
        check_schema(&footer(&[2, 1, 0, 0])).unwrap();
        check_schema(&footer(&[1; DEEPEST])).unwrap();
        assert!(
            check_schema(&footer(&[1; DEEPEST + 1]))
                .unwrap_err()
                .contains("deep")
        );
        // many columns beside each other are not deep
        check_schema(&footer(&[&[60][..], &[0; 60]].concat())).unwrap();
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1c; 100],
            &[0x1d],
        ] {
            assert!(check_schema(bytes).is_err(), "{bytes:?}");
        }
    }
}
