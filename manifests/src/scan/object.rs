//! Reads one JSON object of any size member by member: `{"key": value, ...}`, never as a whole.
//!
//! Only the structure is looked at (quotes, brackets, commas); what a value holds is for the caller to parse, or to
//! skip. A value that is longer than [`ObjectStream::limit`] is passed over without being kept, so memory is bounded.

use memchr::memchr2;
use std::io::{self, Read};

/// Bytes asked of the reader at once.
const CHUNK: usize = 1 << 20;
/// The longest value that is kept, bytes, unless told otherwise.
const LIMIT: usize = 64 << 20;

/// Why an object cannot be read on. Offsets are bytes of the file.
#[derive(Debug, thiserror::Error)]
pub enum ObjectFault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// What stands there is no member of a JSON object.
    #[error("byte {offset}: {what}")]
    Syntax {
        /// Where.
        offset: u64,
        /// What was expected.
        what: &'static str,
    },
    /// The file ends before the object does.
    #[error("byte {offset}: the file ends inside the object")]
    Truncated {
        /// Where the member begins that has no end; the end of the file when it is cut between two members.
        offset: u64,
    },
}

/// One member of the object.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectMember<'a> {
    /// The key with its quotes, as it stands in the file.
    pub key: &'a [u8],
    /// The byte its value begins at.
    pub offset: u64,
    /// Bytes of the value.
    pub length: u64,
    /// The value as it stands in the file; nothing when it is longer than the limit.
    pub value: Option<&'a [u8]>,
}

/// An object that is read forwards.
pub struct ObjectStream<R> {
    reader: R,
    buffer: Vec<u8>,
    /// End of what was read into the buffer.
    filled: usize,
    /// The next byte to look at.
    at: usize,
    /// Everything before this may be forgotten.
    keep: usize,
    /// The file's byte at the buffer's first place.
    base: u64,
    limit: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the opening brace.
    Outside,
    /// Behind the opening brace.
    First,
    /// Behind a member.
    Behind,
    /// Behind the closing brace.
    Over,
}

impl<R: Read> ObjectStream<R> {
    /// A stream at the beginning of a file.
    pub fn new(reader: R) -> ObjectStream<R> {
        Self::at(reader, 0, Place::Outside)
    }

    /// A stream that goes on behind a member that was read before: the reader stands at `offset`, the byte after
    /// that member's value ([`ObjectMember::offset`] + [`ObjectMember::length`]).
    pub fn resume(reader: R, offset: u64) -> ObjectStream<R> {
        Self::at(reader, offset, Place::Behind)
    }

    fn at(reader: R, base: u64, place: Place) -> ObjectStream<R> {
        ObjectStream {
            reader,
            buffer: Vec::new(),
            filled: 0,
            at: 0,
            keep: 0,
            base,
            limit: LIMIT,
            place,
        }
    }

    /// Keeps values of at most that many bytes (64 MiB unless set).
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> ObjectStream<R> {
        self.limit = bytes;
        self
    }

    /// The file's byte that is looked at next.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next member; nothing behind the last.
    ///
    /// # Errors
    /// [`ObjectFault`]; the stream has ended then.
    pub fn next_member(&mut self) -> Result<Option<ObjectMember<'_>>, ObjectFault> {
        if !self.enter()? {
            return Ok(None);
        }
        let began = self.offset();
        self.keep = self.at;
        let cut = |fault| match fault {
            ObjectFault::Truncated { .. } => ObjectFault::Truncated { offset: began },
            other => other,
        };
        let key_length = self.key().map_err(cut)?;
        self.expect(b':', "a colon has to follow the key").map_err(cut)?;
        self.blank().map_err(cut)?;
        let offset = self.offset();
        let kept = self.value(key_length).map_err(cut)?;
        let length = self.offset() - offset;
        self.place = Place::Behind;
        let key = &self.buffer[self.keep..self.keep + key_length];
        let value = kept.then(|| &self.buffer[self.at - length as usize..self.at]);
        Ok(Some(ObjectMember {
            key,
            offset,
            length,
            value,
        }))
    }

    /// Goes to the key of the next member; false behind the last.
    fn enter(&mut self) -> Result<bool, ObjectFault> {
        self.keep = self.at;
        if self.place == Place::Outside {
            self.byte_order_mark()?;
            self.expect(b'{', "an object has to begin here")?;
            self.place = Place::First;
        }
        if self.place == Place::Over {
            return Ok(false);
        }
        self.blank()?;
        match (self.peek()?, self.place) {
            (Some(b'}'), _) => {
                self.at += 1;
                self.place = Place::Over;
                self.nothing_follows()?;
                return Ok(false);
            }
            (Some(b','), Place::Behind) => {
                self.at += 1;
                self.blank()?;
            }
            (Some(_), Place::Behind) => {
                return Err(self.wrong("a comma or a closing brace has to stand here"));
            }
            (Some(_), _) => {}
            (None, _) => return Err(self.cut()),
        }
        Ok(true)
    }

    /// Reads a key with its quotes; how long it is. It begins at `keep`.
    fn key(&mut self) -> Result<usize, ObjectFault> {
        match self.peek()? {
            Some(b'"') => {}
            Some(_) => return Err(self.wrong("a key in quotes has to stand here")),
            None => return Err(self.cut()),
        }
        let before = self.at - self.keep;
        if !self.value(self.limit)? {
            return Err(self.wrong("this key is too long"));
        }
        Ok(self.at - self.keep - before)
    }

    /// Goes behind the value that begins here; whether all of it is in the buffer. `key` bytes from `keep` stay.
    fn value(&mut self, key: usize) -> Result<bool, ObjectFault> {
        let mut scan = Scan::default();
        let (mut seen, mut kept) = (0usize, true);
        loop {
            if self.at == self.filled && !self.fill()? {
                return Err(self.cut());
            }
            let (used, done) = scan.feed(&self.buffer[self.at..self.filled]);
            self.at += used;
            seen += used;
            if done {
                return match seen {
                    0 => Err(self.wrong("a value has to stand here")),
                    _ => Ok(kept && seen <= self.limit),
                };
            }
            if seen > self.limit {
                kept = false;
                self.forget(key);
            }
        }
    }

    /// Forgets the value read so far, but not the key before it.
    fn forget(&mut self, key: usize) {
        let end = (self.keep + key).min(self.at);
        let gone = self.at - end;
        self.buffer.copy_within(self.at..self.filled, end);
        self.filled -= gone;
        self.at = end;
        self.base += gone as u64;
    }

    fn peek(&mut self) -> Result<Option<u8>, ObjectFault> {
        if self.at == self.filled && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.at]))
    }

    fn blank(&mut self) -> Result<(), ObjectFault> {
        while matches!(self.peek()?, Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        Ok(())
    }

    fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), ObjectFault> {
        self.blank()?;
        match self.peek()? {
            Some(byte) if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.wrong(what)),
            None => Err(self.cut()),
        }
    }

    fn byte_order_mark(&mut self) -> Result<(), ObjectFault> {
        for byte in *b"\xef\xbb\xbf" {
            if self.peek()? != Some(byte) {
                break;
            }
            self.at += 1;
        }
        Ok(())
    }

    fn nothing_follows(&mut self) -> Result<(), ObjectFault> {
        self.keep = self.at;
        loop {
            match self.peek()? {
                None => return Ok(()),
                Some(b' ' | b'\t' | b'\r' | b'\n') => {
                    self.at += 1;
                    self.keep = self.at;
                }
                Some(_) => return Err(self.wrong("something stands behind the object")),
            }
        }
    }

    fn wrong(&mut self, what: &'static str) -> ObjectFault {
        self.place = Place::Over;
        ObjectFault::Syntax {
            offset: self.offset(),
            what,
        }
    }

    fn cut(&mut self) -> ObjectFault {
        self.place = Place::Over;
        ObjectFault::Truncated {
            offset: self.offset(),
        }
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> Result<bool, ObjectFault> {
        if self.keep > 0 {
            self.buffer.copy_within(self.keep..self.filled, 0);
            self.base += self.keep as u64;
            (self.at, self.filled) = (self.at - self.keep, self.filled - self.keep);
            self.keep = 0;
        }
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.place = Place::Over;
                    return Err(error.into());
                }
            }
        }
    }
}

/// Where a value ends, fed piece by piece.
#[derive(Default)]
struct Scan {
    depth: u32,
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Before,
    Plain,
    Text,
    Escape,
    Scalar,
}

impl Scan {
    /// How many of the bytes belong to the value, and whether it ends there.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Before | State::Plain => {
                    at = self.plain(bytes, at);
                    if let (State::Before, 0) = (self.state, self.depth) {
                        return (at, true);
                    }
                }
                State::Text => match memchr2(b'"', b'\\', &bytes[at..]) {
                    None => return (bytes.len(), false),
                    Some(step) if bytes[at + step] == b'\\' => {
                        self.state = State::Escape;
                        at += step + 1;
                    }
                    Some(step) => {
                        at += step + 1;
                        if self.depth == 0 {
                            return (at, true);
                        }
                        self.state = State::Plain;
                    }
                },
                State::Escape => {
                    self.state = State::Text;
                    at += 1;
                }
                State::Scalar => match bytes[at] {
                    b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' => return (at, true),
                    _ => at += 1,
                },
            }
        }
        (at, false)
    }

    /// Goes on outside of text. `State::Before` at depth 0 afterwards: the value has ended.
    fn plain(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    self.state = State::Text;
                    return at + 1;
                }
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    self.state = State::Plain;
                }
                b'}' | b']' => {
                    if self.depth <= 1 {
                        let opened = self.depth == 1;
                        (self.depth, self.state) = (0, State::Before);
                        return at + usize::from(opened);
                    }
                    self.depth -= 1;
                }
                _ if self.depth == 0 => {
                    self.state = State::Scalar;
                    return at;
                }
                _ => {}
            }
            at += 1;
        }
        at
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
