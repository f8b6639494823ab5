//! Our own entries of a Parquet footer, read without a Parquet reader, and the check over the whole file.
//!
//! A Parquet file ends in `footer, footer length (4 bytes, little-endian), PAR1`. The footer is Thrift's compact
//! protocol, in which a key-value pair is `18 <length> key 18 <length> value`. Our keys come behind everything
//! that holds data of the rows, and neither JSON nor hex digits contain the byte 18 (hex), so the last match is ours.

use crate::Error;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// Key of the receipt (JSON).
pub(crate) const RECEIPT: &str = "omni.receipt";
/// Key of the check (64 hex digits).
pub(crate) const CHECK: &str = "omni.check";
/// Key of what a listing says about itself (JSON).
pub(crate) const LISTING: &str = "omni.listing";
/// The check while the file is being written, and while it is being hashed.
pub(crate) const NO_CHECK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const END: u64 = 8;
const MAX_FOOTER: u64 = 1 << 30;

/// The footer of a file, as bytes.
pub(crate) struct Footer {
    bytes: Vec<u8>,
    /// where the footer starts in the file
    start: u64,
}

impl Footer {
    /// Reads it, trusting no length.
    pub(crate) fn read(path: &Path, file: &mut File) -> Result<Footer, Error> {
        let io = |e| Error::io("read", path, e);
        let cut = || Error::damaged(path, "it does not end as a Parquet file does");
        let size = file.seek(SeekFrom::End(0)).map_err(io)?;
        let body = size.checked_sub(END).ok_or_else(cut)?;
        let mut end = [0_u8; END as usize];
        file.seek(SeekFrom::Start(body)).map_err(io)?;
        file.read_exact(&mut end).map_err(io)?;
        let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
        if &end[4..] != b"PAR1" || length > body || length > MAX_FOOTER {
            return Err(cut());
        }
        let start = body - length;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        file.take(length).read_to_end(&mut bytes).map_err(io)?;
        Ok(Footer { bytes, start })
    }

    /// The whole footer.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value of a key and where it lies in the file.
    pub(crate) fn find(&self, key: &str) -> Option<(u64, &str)> {
        let marker = [&[0x18, key.len() as u8], key.as_bytes(), &[0x18]].concat();
        let at = memchr::memmem::rfind(&self.bytes, &marker)? + marker.len();
        let (length, width) = varint(&self.bytes[at..])?;
        let from = at + width;
        let value = self.bytes.get(from..from.checked_add(length)?)?;
        Some((self.start + from as u64, std::str::from_utf8(value).ok()?))
    }
}

/// An unsigned LEB128 number and its width.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Puts the check into a finished file whose digits are still zeros.
pub(crate) fn seal(temp: &mut crate::temporary::Temporary, path: &Path) -> Result<(), Error> {
    let bug = || Error::Encode {
        path: path.to_path_buf(),
        what: "its footer is not as expected".to_owned(),
    };
    let end = temp.tail(END)?;
    let length = end
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(bug)?;
    let size = temp.written();
    let bytes = temp.tail(END + u64::from(length))?;
    let footer = Footer {
        start: size - bytes.len() as u64,
        bytes,
    };
    let (offset, digits) = footer.find(CHECK).ok_or_else(bug)?;
    if digits != NO_CHECK {
        return Err(bug());
    }
    let check = temp.hash().to_hex();
    temp.patch(offset, check.as_bytes())
}

/// Compares the check with the file; any altered bit is found. Returns the check.
pub(crate) fn verify(path: &Path, file: &mut File, footer: &Footer) -> Result<String, Error> {
    let io = |e| Error::io("read", path, e);
    let (offset, digits) = footer
        .find(CHECK)
        .ok_or_else(|| Error::damaged(path, "it has no check; it is not a part"))?;
    if digits.len() != NO_CHECK.len() {
        return Err(Error::damaged(path, "its check is not 64 digits"));
    }
    let mut hasher = blake3::Hasher::new();
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    hasher.update_reader(file.by_ref().take(offset)).map_err(io)?;
    hasher.update(NO_CHECK.as_bytes());
    file.seek(SeekFrom::Start(offset + NO_CHECK.len() as u64))
        .map_err(io)?;
    hasher.update_reader(file).map_err(io)?;
    if hasher.finalize().to_hex().as_str() != digits {
        return Err(Error::damaged(path, "its check does not hold"));
    }
    Ok(digits.to_owned())
}
