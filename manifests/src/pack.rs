//! Packs: the artifacts of one part in one plain tar, which rows point into by offset, length and hash.

use crate::{Error, TarSeal, temporary::Temporary};
use omni_schemas::Blob;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// The largest member a ustar header can tell the size of.
const MAX_MEMBER: u64 = 0o77_777_777_777;

/// Writes a tar under a temporary name; dropped before [`PackWriter::finish`], it leaves nothing behind.
///
/// Members are stored uncompressed with headers that do not depend on time or user, so equal contents make equal
/// bytes. Any tar reader opens it.
pub struct PackWriter {
    temp: Temporary,
    members: u64,
}

impl PackWriter {
    /// Starts a tar that will be named `path`.
    pub fn create(path: &Path) -> Result<PackWriter, Error> {
        Ok(PackWriter {
            temp: Temporary::create(path)?,
            members: 0,
        })
    }

    /// Number of members so far.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// Appends a member and fills in the blob's offset, length, hash, and its name where that was not a plain
    /// relative path (`..`, roots, control characters and backslashes go).
    pub fn append(&mut self, blob: &mut Blob, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if length > MAX_MEMBER {
            return Err(Error::Encode {
                path: self.temp.target().to_path_buf(),
                what: format!("`{}` is larger than a tar member can be", blob.name),
            });
        }
        blob.name = member_name(&blob.name);
        for part in headers(&blob.name, length) {
            self.write(&part)?;
        }
        blob.offset = self.temp.written();
        blob.length = length;
        blob.blake3 = blake3::hash(bytes).to_hex().to_string();
        self.write(bytes)?;
        self.pad()?;
        self.members += 1;
        Ok(())
    }

    /// Writes the end of the tar, flushes and renames it.
    pub fn finish(mut self) -> Result<TarSeal, Error> {
        self.write(&[0; 2 * BLOCK as usize])?;
        let seal = TarSeal {
            bytes: self.temp.written(),
            blake3: self.temp.hash().to_hex().to_string(),
        };
        self.temp.publish()?;
        Ok(seal)
    }

    fn pad(&mut self) -> Result<(), Error> {
        let over = self.temp.written() % BLOCK;
        let fill = if over == 0 { 0 } else { BLOCK - over };
        self.write(&[0; BLOCK as usize][..fill as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.temp.target().to_path_buf();
        self.temp
            .write_all(bytes)
            .map_err(|e| self.temp.take_failure().unwrap_or(Error::io("write", &path, e)))
    }
}

/// The blocks before a member's content: one header, or a long-name entry (as GNU tar writes it) and a header.
fn headers(name: &str, length: u64) -> Vec<Vec<u8>> {
    let mut header = plain_header(EntryType::Regular, length);
    if header.set_path(name).is_ok() {
        header.set_cksum();
        return vec![header.as_bytes().to_vec()];
    }
    let mut long = plain_header(EntryType::GNULongName, name.len() as u64 + 1);
    let mut text = name.as_bytes().to_vec();
    text.resize((text.len() + 1).next_multiple_of(BLOCK as usize), 0);
    set_name(&mut long, b"././@LongLink");
    set_name(&mut header, &name.as_bytes()[..100.min(name.len())]);
    vec![long.as_bytes().to_vec(), text, header.as_bytes().to_vec()]
}

fn plain_header(kind: EntryType, length: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn set_name(header: &mut Header, name: &[u8]) {
    let field = &mut header.as_old_mut().name;
    field.fill(0);
    field[..name.len()].copy_from_slice(name);
    header.set_cksum();
}

/// A name that stays below the folder a tar is unpacked in.
fn member_name(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| if c.is_control() || c == '\\' { '_' } else { c })
        .collect();
    let words: Vec<_> = clean
        .split('/')
        .filter(|w| !matches!(*w, "" | "." | ".."))
        .collect();
    if words.is_empty() {
        "blob".to_owned()
    } else {
        words.join("/")
    }
}

/// Reads the bytes a blob points at; outside the tar, or with another hash, they are [`Error::Damaged`].
pub fn read_blob(tar: &Path, blob: &Blob) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io("read", tar, e);
    let mut file = File::open(tar).map_err(|e| Error::io("open", tar, e))?;
    let size = file.metadata().map_err(io)?.len();
    if blob.offset.checked_add(blob.length).is_none_or(|end| end > size) {
        return Err(Error::damaged(
            tar,
            format!("`{}` lies beyond its end", blob.name),
        ));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(blob.offset)).map_err(io)?;
    file.take(blob.length).read_to_end(&mut bytes).map_err(io)?;
    if blake3::hash(&bytes).to_hex().as_str() != blob.blake3 {
        return Err(Error::damaged(
            tar,
            format!("`{}` has another hash than its row tells", blob.name),
        ));
    }
    Ok(bytes)
}
