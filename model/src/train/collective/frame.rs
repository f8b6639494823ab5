//! Pieces of what ranks send: a mark, a kind, a length and a checksum before the bytes, so that neither a stranger's bytes nor
//! damaged ones are taken for values.

use std::io::{self, Read, Write};

/// Before every frame.
const MARK: [u8; 4] = *b"omnR";
/// Mark, kind, three zeros, length, checksum.
const HEAD: usize = 24;
/// Longest frame after the meeting. A weight of the released network has 0.3 GB.
pub(super) const LARGEST: u64 = 1 << 36;
/// Longest frame of somebody who has not said yet who it is.
pub(super) const LARGEST_GREETING: u64 = 1 << 16;

/// Room is made for so many bytes at a time, whatever length a frame claims.
const STEP: usize = 64 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON of the meeting.
    Greeting = 1,
    /// Values of a call.
    Values = 2,
    /// Nothing: still there.
    Beat = 3,
    /// JSON: who ended, and why.
    Abort = 4,
    /// Nothing: ended as it should.
    Done = 5,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        [Self::Greeting, Self::Values, Self::Beat, Self::Abort, Self::Done]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

fn checksum(kind: u8, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(bytes);
    let mut eight = [0; 8];
    eight.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    eight
}

/// Writes a frame.
pub(super) fn write(out: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&MARK);
    head[4] = kind as u8;
    head[8..16].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    head[16..].copy_from_slice(&checksum(kind as u8, bytes));
    out.write_all(&head)?;
    out.write_all(bytes)?;
    out.flush()
}

fn damaged(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Reads a frame of at most `most` bytes. Fails with [`io::ErrorKind::InvalidData`] on what is none; whatever length it claims,
/// room is made only for what comes.
pub(super) fn read(from: &mut impl Read, most: u64) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    if head[..4] != MARK || head[5..8] != [0; 3] {
        return Err(damaged("what came is no frame of a rank"));
    }
    let kind = Kind::of(head[4]).ok_or_else(|| damaged(format!("there is no frame of kind {}", head[4])))?;
    let mut length = [0; 8];
    length.copy_from_slice(&head[8..16]);
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(damaged(format!(
            "a frame of {length} bytes; at most {most} may come"
        )));
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let (start, left) = (bytes.len(), length - bytes.len() as u64);
        let step = usize::try_from(left).map_or(STEP, |left| left.min(STEP));
        bytes.reserve_exact(step);
        bytes.resize(start + step, 0);
        from.read_exact(&mut bytes[start..])?;
    }
    if head[16..] != checksum(kind as u8, &bytes) {
        return Err(damaged(
            "a frame was damaged on its way (its checksum is another)",
        ));
    }
    Ok((kind, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, kind, bytes).unwrap();
        out
    }

    proptest! {
        #[test]
        fn frames_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let sent = framed(Kind::Values, &bytes);
            let (kind, back) = read(&mut &sent[..], 300).unwrap();
            prop_assert_eq!((kind, back), (Kind::Values, bytes));
        }

        #[test]
        fn a_changed_byte_is_seen(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), by in 1u8..,
        ) {
            let mut sent = framed(Kind::Values, &bytes);
            let at = at.index(sent.len());
            sent[at] ^= by;
            prop_assert!(read(&mut &sent[..], 300).is_err());
        }

        #[test]
        fn garbage_is_no_frame(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&mut &bytes[..], LARGEST).is_err());
        }
    }

    #[test]
    fn cut_and_overlong_frames_are_refused() {
        let sent = framed(Kind::Greeting, b"hello");
        for length in 0..sent.len() {
            let error = read(&mut &sent[..length], 300).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        let error = read(&mut &sent[..], 4).unwrap_err();
        assert!(error.to_string().contains("5 bytes; at most 4"), "{error}");
        // a length that nobody has: nothing is reserved for it
        let mut lying = framed(Kind::Values, b"");
        lying[8..16].copy_from_slice(&(LARGEST - 1).to_le_bytes());
        assert!(read(&mut &lying[..], LARGEST).is_err());
    }
}
