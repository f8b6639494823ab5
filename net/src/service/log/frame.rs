//! One record of the log: magic, lengths, hash of the head, head (JSON), body (raw bytes).
//!
//! The head is checked while the log is read, the body (by the hash in the head) when it is used. So a start reads
//! little, and a damaged record costs itself only: the reader goes on at the next magic whose head is sound.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"OMNIrpl1";
/// Magic, length of the head, length of the body, hash.
const FIXED: usize = 8 + 4 + 8 + 32;
/// A longer head is none of ours.
const MAX_HEAD: u32 = 1 << 20;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Head {
    /// Whose log this is: the first record.
    Worker { rank: u64, world: u64 },
    /// A try is about to be sent; `booked` in millionths of a dollar; `doubts`: earlier tries that may have been paid
    /// and were not counted yet.
    Sent {
        id: u64,
        key: String,
        service: String,
        booked: u64,
        doubts: u32,
        /// What it is about; a log of an older version does not say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        clips: Vec<String>,
    },
    /// More clips that an answer is about: their request is the same.
    About { key: String, clips: Vec<String> },
    /// What tries that were taken out have cost, and the doubts that they had counted.
    Carried { price: u64, counted: u64 },
    /// Its whole answer, which is the body of this record.
    Answer {
        id: u64,
        key: String,
        status: u16,
        content_type: Option<String>,
        encoding: Option<String>,
        framed: bool,
        sha256: String,
    },
    /// The try came to nothing.
    Failed {
        id: u64,
        key: String,
        reason: String,
        maybe_paid: bool,
    },
    /// The service refused the request for good: kept for replays only.
    Refused {
        id: u64,
        key: String,
        status: u16,
        error: String,
        message: String,
    },
    /// The true price of an answer.
    Paid { id: u64, price: u64 },
}

/// Where a record lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) head: Head,
    /// Where the record begins.
    pub(crate) at: u64,
    pub(crate) body_at: u64,
    pub(crate) body_len: u64,
}

/// A record as bytes.
pub(crate) fn encode(head: &Head, body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let head = serde_json::to_vec(head)?;
    let mut frame = Vec::with_capacity(FIXED + head.len() + body.len());
    frame.extend_from_slice(MAGIC);
    frame.extend_from_slice(&(head.len() as u32).to_le_bytes());
    frame.extend_from_slice(&(body.len() as u64).to_le_bytes());
    frame.extend_from_slice(&digest(head.len() as u32, body.len() as u64, &head));
    frame.extend_from_slice(&head);
    frame.extend_from_slice(body);
    Ok(frame)
}

fn digest(head_len: u32, body_len: u64, head: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(head_len.to_le_bytes());
    hasher.update(body_len.to_le_bytes());
    hasher.update(head);
    hasher.finalize().into()
}

/// What a pass over a log brought.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) found: Vec<Found>,
    /// Behind the last whole record: where the next pass begins, and where a torn tail is cut off.
    pub(crate) end: u64,
    /// Stretches that held no record, the torn tail not counted.
    pub(crate) damaged: u64,
}

/// Reads the heads from an offset to the last whole record.
pub(crate) fn scan(file: &mut File, from: u64) -> io::Result<Scan> {
    let size = file.metadata()?.len();
    let mut scan = Scan {
        end: from,
        ..Scan::default()
    };
    let mut at = from;
    while at < size {
        match record(file, at, size)? {
            Some((found, end)) => {
                scan.damaged += u64::from(at != scan.end);
                scan.found.push(found);
                (at, scan.end) = (end, end);
            }
            None => match next_magic(file, at + 1)? {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    Ok(scan)
}

/// The record at an offset, and where it ends; `None` when there is no whole one.
pub(crate) fn record(file: &mut File, at: u64, size: u64) -> io::Result<Option<(Found, u64)>> {
    let left = size - at;
    if left < FIXED as u64 {
        return Ok(None);
    }
    let mut fixed = [0; FIXED];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut fixed)?;
    let (magic, rest) = fixed.split_at(8);
    let (head_len, rest) = rest.split_at(4);
    let (body_len, hash) = rest.split_at(8);
    let head_len = u32::from_le_bytes(head_len.try_into().unwrap_or_default());
    let body_len = u64::from_le_bytes(body_len.try_into().unwrap_or_default());
    let whole = (FIXED as u64 + u64::from(head_len)).checked_add(body_len);
    if magic != MAGIC || head_len > MAX_HEAD || whole.is_none_or(|whole| whole > left) {
        return Ok(None);
    }
    let mut head = vec![0; head_len as usize];
    file.read_exact(&mut head)?;
    if digest(head_len, body_len, &head) != hash {
        return Ok(None);
    }
    let Ok(head) = serde_json::from_slice(&head) else {
        return Ok(None);
    };
    let body_at = at + FIXED as u64 + u64::from(head_len);
    let found = Found {
        head,
        at,
        body_at,
        body_len,
    };
    Ok(Some((found, body_at + body_len)))
}

/// The next place at or behind `from` where a record may begin.
fn next_magic(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    let mut buffer = vec![0; 1 << 16];
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if let Some(found) = buffer[..filled]
            .windows(MAGIC.len())
            .position(|window| window == MAGIC)
        {
            return Ok(Some(at + found as u64));
        }
        if filled < buffer.len() {
            return Ok(None);
        }
        // The last bytes may be the beginning of a magic.
        at += (filled - MAGIC.len()) as u64 + 1;
    }
}

/// The body of a record, if its bytes have the hash that the head names.
pub(crate) fn body(file: &mut File, at: u64, len: u64, sha256: &str) -> io::Result<Option<Vec<u8>>> {
    let mut body = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.seek(SeekFrom::Start(at))?;
    match file.read_exact(&mut body) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    Ok((hash(&body) == sha256).then_some(body))
}

/// SHA-256, lower-case hex.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn paid(id: u64) -> Head {
        Head::Paid { id, price: 7 }
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn ids(scan: &Scan) -> Vec<u64> {
        let id = |found: &Found| match found.head {
            Head::Paid { id, .. } => id,
            _ => 0,
        };
        scan.found.iter().map(id).collect()
    }

    #[test]
    fn records_come_back_and_a_tail_cut_anywhere_costs_only_the_last() {
        let first = encode(&paid(1), b"one").unwrap();
        let second = encode(&paid(2), b"OMNIrpl1 inside a body").unwrap();
        let all = [first.clone(), second.clone()].concat();
        for cut in 0..all.len() {
            let scan = scan(&mut file_of(&all[..cut]), 0).unwrap();
            let whole = usize::from(cut >= first.len());
            assert_eq!((scan.found.len(), scan.damaged), (whole, 0), "cut at {cut}");
            assert_eq!(scan.end, (whole * first.len()) as u64);
        }
        let mut file = file_of(&all);
        let scan = scan(&mut file, 0).unwrap();
        assert_eq!(ids(&scan), [1, 2]);
        let found = &scan.found[0];
        assert_eq!(
            body(&mut file, found.body_at, found.body_len, &hash(b"one"))
                .unwrap()
                .unwrap(),
            b"one"
        );
        assert_eq!(
            body(&mut file, found.body_at, found.body_len, &hash(b"two")).unwrap(),
            None
        );
    }

    #[test]
    fn a_flipped_bit_in_a_head_costs_that_record_and_no_other() {
        let records: Vec<_> = (1..=3).map(|id| encode(&paid(id), &[7; 100]).unwrap()).collect();
        let start = records[0].len();
        for at in start..start + FIXED {
            let mut all = records.concat();
            all[at] ^= 1;
            let scan = scan(&mut file_of(&all), 0).unwrap();
            assert_eq!((ids(&scan), scan.damaged), (vec![1, 3], 1), "flipped at {at}");
        }
    }

    #[test]
    fn a_record_behind_much_rubbish_is_found() {
        for rubbish in [1, 65_530, 65_536, 200_000] {
            let all = [vec![b'O'; rubbish], encode(&paid(1), b"").unwrap()].concat();
            assert_eq!(ids(&scan(&mut file_of(&all), 0).unwrap()), [1], "{rubbish} bytes");
        }
    }
}
