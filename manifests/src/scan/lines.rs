//! Reads JSON lines one by one in bounded memory: one object a line, empty lines are no rows.

use serde_json::{Map, Value};
use std::io::{self, BufRead, Read};

/// The longest line, bytes: a transcript of hours on one line fits.
const LONGEST: u64 = 64 << 20;

/// JSON lines that are read forwards.
pub(crate) struct Lines<R> {
    reader: R,
    line: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// One line.
pub(crate) struct Line {
    /// Its number, from 1.
    pub line: u64,
    /// The byte it begins at.
    pub offset: u64,
    /// Its object, or why there is none.
    pub object: Result<Map<String, Value>, String>,
}

impl<R: BufRead> Lines<R> {
    /// A reader at the beginning of a file, or of a line.
    pub(crate) fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            line: 0,
            offset: 0,
            bytes: Vec::new(),
        }
    }

    /// The next line that is not empty; nothing at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let offset = self.offset;
            self.bytes.clear();
            let mut limited = self.reader.by_ref().take(LONGEST);
            let read = limited.read_until(b'\n', &mut self.bytes)? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.offset += read;
            let cut = read == LONGEST && self.bytes.last() != Some(&b'\n');
            if cut {
                self.offset += self.reader.skip_until(b'\n')? as u64;
            }
            let text = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
            if text.trim_ascii().is_empty() {
                continue;
            }
            let object = match cut {
                true => Err("its line is too long".to_owned()),
                false => object(text),
            };
            let line = self.line;
            return Ok(Some(Line { line, offset, object }));
        }
    }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("is not an object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
