//! The index of a part's JSON on disk: one row per record with the bytes it lies at, in pieces that are each whole or
//! absent, so that reading 66 GB goes on where it was interrupted and is not done twice.
//!
//! A piece covers a range of bytes and is called after it. It names the JSON it was made from by size, time and the
//! hash of its first and last MiB, so another file under the same name is read anew.

use super::{Error, record::Indexed};
use omni_manifests::{ObjectFault, ObjectStream, Receipt, read_part, write_part};
use omni_schemas::Record;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Records end a piece after this many bytes of JSON.
const PIECE: u64 = 256 << 20;
const EDGE: u64 = 1 << 20;

/// How the JSON ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Whole,
    /// The member that begins at this byte has no end.
    Truncated(u64),
}

/// The index of one JSON.
pub(super) struct PartIndex {
    json: PathBuf,
    folder: PathBuf,
    identity: String,
    piece: u64,
}

impl PartIndex {
    /// The index of `json` in a folder of its own, which is made.
    ///
    /// # Errors
    /// [`Error::Table`] when the JSON cannot be read or the folder cannot be made.
    pub(super) fn open(json: &Path, folder: &Path) -> Result<PartIndex, Error> {
        let identity = identity(json).map_err(|error| table(json, format!("cannot be read: {error}")))?;
        let made = fs::create_dir_all(folder);
        made.map_err(|error| {
            let what =
                format!("cannot be made ({error}); name a writable folder with `settings.opens2v.index`");
            table(folder, what)
        })?;
        // What a process that was killed left under temporary names.
        omni_manifests::sweep_temporaries(folder)?;
        Ok(PartIndex {
            json: json.to_owned(),
            folder: folder.to_owned(),
            identity,
            piece: PIECE,
        })
    }

    /// Ends pieces after so many bytes.
    #[cfg(test)]
    pub(super) fn pieces_of(mut self, bytes: u64) -> PartIndex {
        self.piece = bytes;
        self
    }

    /// Hands out every record in the order of the file: from the index as far as it reaches, the rest from the JSON,
    /// which is indexed on the way.
    ///
    /// # Errors
    /// [`Error::Table`] with the byte at which the JSON is none, [`Error::Manifest`] when a piece cannot be written,
    /// and what `on` returns.
    pub(super) fn for_each(&self, on: &mut dyn FnMut(Indexed) -> Result<(), Error>) -> Result<Ended, Error> {
        let mut at = 0;
        loop {
            let (rows, next) = match self.piece_at(at)? {
                Some(found) => found,
                None => return self.read_from(at, on),
            };
            rows.into_iter().try_for_each(&mut *on)?;
            match next {
                Next::Byte(byte) => at = byte,
                Next::Ended(ended) => return Ok(ended),
            }
        }
    }

    fn path_at(&self, from: u64) -> PathBuf {
        self.folder.join(format!("from-{from:015}.parquet"))
    }

    /// The piece that begins at a byte; nothing when there is none, or it is of another file or damaged.
    fn piece_at(&self, from: u64) -> Result<Option<(Vec<Indexed>, Next)>, Error> {
        let path = self.path_at(from);
        if !path.is_file() {
            return Ok(None);
        }
        let Ok((rows, receipt)) = read_part::<Indexed>(&path) else {
            return Ok(None);
        };
        if receipt.fingerprint != self.identity {
            return Ok(None);
        }
        let settings = &receipt.settings;
        let next = match (
            settings["to"].as_u64(),
            settings["truncated"].as_u64(),
            settings["whole"].as_bool(),
        ) {
            (_, Some(byte), _) => Next::Ended(Ended::Truncated(byte)),
            (_, None, Some(true)) => Next::Ended(Ended::Whole),
            (Some(byte), None, _) if byte > from => Next::Byte(byte),
            _ => return Ok(None),
        };
        Ok(Some((rows, next)))
    }

    fn read_from(&self, from: u64, on: &mut dyn FnMut(Indexed) -> Result<(), Error>) -> Result<Ended, Error> {
        let failed = |error: std::io::Error| table(&self.json, format!("cannot be read: {error}"));
        let mut file = File::open(&self.json).map_err(failed)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut stream = match from {
            0 => ObjectStream::new(file),
            byte => ObjectStream::resume(file, byte),
        };
        let (mut begin, mut rows) = (from, Vec::new());
        loop {
            let ended = match stream.next_member() {
                Ok(Some(member)) => {
                    let place = format!("{}:byte {}", self.name(), member.offset);
                    let mut row = Indexed::read(member.key, &place, member.value);
                    (row.offset, row.length) = (member.offset as i64, member.length as i64);
                    let to = member.offset + member.length;
                    rows.push(row);
                    if to - begin < self.piece {
                        continue;
                    }
                    self.write(begin, &rows, Next::Byte(to))?;
                    begin = to;
                    rows.drain(..).try_for_each(&mut *on)?;
                    continue;
                }
                Ok(None) => Ended::Whole,
                Err(ObjectFault::Truncated { offset }) => Ended::Truncated(offset),
                Err(fault) => return Err(table(&self.json, fault.to_string())),
            };
            self.write(begin, &rows, Next::Ended(ended))?;
            rows.drain(..).try_for_each(&mut *on)?;
            return Ok(ended);
        }
    }

    fn name(&self) -> String {
        self.json
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    fn write(&self, from: u64, rows: &[Indexed], next: Next) -> Result<(), Error> {
        let settings = match next {
            Next::Byte(to) => json!({ "from": from, "to": to }),
            Next::Ended(Ended::Whole) => json!({ "from": from, "whole": true }),
            Next::Ended(Ended::Truncated(byte)) => json!({ "from": from, "truncated": byte }),
        };
        let receipt = Receipt {
            record: Indexed::NAME.into(),
            record_version: Indexed::VERSION,
            stage: Indexed::NAME.into(),
            stage_version: 1,
            fingerprint: self.identity.clone(),
            shard: format!("{from}"),
            rows: rows.len() as u64,
            drops: BTreeMap::new(),
            inputs: BTreeMap::new(),
            settings,
            tar: None,
            check: String::new(),
        };
        Ok(write_part(&self.path_at(from), rows, &receipt)?)
    }
}

/// Where to go on behind a piece.
#[derive(Clone, Copy)]
enum Next {
    Byte(u64),
    Ended(Ended),
}

fn table(path: &Path, what: String) -> Error {
    Error::Table {
        path: path.to_owned(),
        what,
    }
}

/// Size, time of change and both edges of a file, as one hash.
fn identity(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let time = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&meta.len().to_le_bytes());
    hasher.update(&time.as_nanos().to_le_bytes());
    hasher.update(&Indexed::VERSION.to_le_bytes());
    let mut edge = Vec::new();
    for from in [0, meta.len().saturating_sub(EDGE)] {
        edge.clear();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(EDGE).read_to_end(&mut edge)?;
        hasher.update(&edge);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
