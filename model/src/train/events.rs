//! TensorBoard's event files, scalars only: records of a length, its checksum, bytes, their checksum; the bytes are a small
//! protocol buffer.

use crate::{Error, Result};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// CRC-32C (Castagnoli), bit by bit: a record has some fifty bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1));
    !bytes
        .iter()
        .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The checksum as the format stores it, turned and moved so that a checksum of checksums is no trouble.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// A protocol buffer in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn integer(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }
}

/// An event file that is being written.
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Starts `folder/events.out.tfevents.NAME`, in place of one that is there.
    pub fn create(folder: &Path, name: &str, time: f64) -> Result<Self> {
        let path = folder.join(format!("events.out.tfevents.{name}"));
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let file = BufWriter::new(File::create(&path).map_err(io)?);
        let mut events = Self { path, file };
        let hello = Message::default().double(1, time).bytes(3, b"brain.Event:2");
        events.record(&hello.0)?;
        Ok(events)
    }

    /// Scalars of a step; `time` in seconds since 1970.
    pub fn scalars(&mut self, step: u64, time: f64, values: &[(String, f64)]) -> Result<()> {
        let mut summary = Message::default();
        for (tag, value) in values {
            let value = Message::default()
                .bytes(1, tag.as_bytes())
                .float(2, *value as f32);
            summary = summary.bytes(1, &value.0);
        }
        let event = Message::default()
            .double(1, time)
            .integer(2, step)
            .bytes(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        let parts = [
            &length[..],
            &masked(&length).to_le_bytes(),
            bytes,
            &masked(bytes).to_le_bytes(),
        ];
        let write = |file: &mut BufWriter<File>| {
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.flush()
        };
        write(&mut self.file).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file back: step and scalars of each record. An own reader, from the format's description.
    fn read(bytes: &[u8]) -> Vec<(u64, Vec<(String, f32)>)> {
        let mut rest = bytes;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(
                u32::from_le_bytes(head[8..].try_into().unwrap()),
                masked(&head[..8])
            );
            let (data, tail) = tail.split_at(length);
            assert_eq!(u32::from_le_bytes(tail[..4].try_into().unwrap()), masked(data));
            rest = &tail[4..];
            let (mut step, mut scalars) = (0, Vec::new());
            for (field, number, value) in fields(data) {
                match field {
                    2 => step = number,
                    5 => {
                        for (_, _, value) in fields(&value) {
                            let parts = fields(&value);
                            let tag = String::from_utf8(parts[0].2.clone()).unwrap();
                            scalars.push((tag, f32::from_bits(parts[1].1 as u32)));
                        }
                    }
                    _ => {}
                }
            }
            out.push((step, scalars));
        }
        out
    }

    fn fields(mut data: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
        fn varint(data: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = data[0];
                *data = &data[1..];
                value |= u64::from(byte & 0x7F) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut out = Vec::new();
        while !data.is_empty() {
            let key = varint(&mut data);
            let (number, bytes) = match key & 7 {
                0 => (varint(&mut data), Vec::new()),
                2 => {
                    let length = varint(&mut data) as usize;
                    let (bytes, rest) = data.split_at(length);
                    data = rest;
                    (0, bytes.to_vec())
                }
                wire => {
                    let size = if wire == 1 { 8 } else { 4 };
                    let mut eight = [0; 8];
                    eight[..size].copy_from_slice(&data[..size]);
                    data = &data[size..];
                    (u64::from_le_bytes(eight), Vec::new())
                }
            };
            out.push((key >> 3, number, bytes));
        }
        out
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // the check value that every description of CRC-32C gives
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn what_was_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), "train", 1.5).unwrap();
        for step in [0, 1, 300] {
            let values = [
                ("loss".to_owned(), step as f64 + 0.25),
                ("lr/new".to_owned(), 1e-4),
            ];
            events.scalars(step, 2.5, &values).unwrap();
        }
        let back = read(&std::fs::read(folder.path().join("events.out.tfevents.train")).unwrap());
        assert_eq!(back.len(), 4);
        assert!(back[0].1.is_empty());
        assert_eq!(
            back[3],
            (
                300,
                vec![("loss".to_owned(), 300.25), ("lr/new".to_owned(), 1e-4)]
            )
        );
    }
}
