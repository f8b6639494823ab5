//! Reads a CSV row by row in bounded memory, so that every row of a damaged table ends in a known state.
//!
//! RFC 4180, with commas or tabs: quoted cells may hold separators, doubled quotes and newlines; lines end in `\n` or `\r\n`; a
//! byte order mark is skipped; empty lines are no rows. A row whose quote is never closed, or that is longer than a
//! MiB, is given up at its first line end, and the next line is a new row. A quote inside an unquoted cell is text.
//! A general data-frame reader is not used here: it stops at the first damaged row, or takes the rest of the
//! table for one cell.

use std::{
    borrow::Cow,
    io::{self, Read},
};

/// The longest row, bytes.
const LONGEST: usize = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// The same where one row is wanted.
const ONE_ROW: usize = 4 << 10;

/// A CSV that is read forwards.
pub(crate) struct Csv<R> {
    reader: R,
    /// between two cells
    separator: u8,
    chunk: usize,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    line: u64,
    /// where the buffer starts in the table
    before: u64,
    cells: Vec<Cell>,
}

/// Where a cell lies in the buffer.
#[derive(Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    quoted: bool,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// The line it begins on, from 1.
    pub line: u64,
    /// The byte it begins at.
    pub offset: u64,
    /// Whether its quotes close, it is not too long, and it is UTF-8; its cells are readable only then.
    pub sound: bool,
}

/// How the scan of a row ended.
enum Scan {
    /// The row lies before `end`; `lines` line ends were passed.
    Row { end: usize, lines: u64, sound: bool },
    /// The buffer ended before the row did.
    More,
}

impl<R: Read> Csv<R> {
    /// A reader at the beginning of a table.
    pub(crate) fn new(reader: R, separator: u8) -> Csv<R> {
        Csv {
            reader,
            separator,
            chunk: CHUNK,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            line: 1,
            before: 0,
            cells: Vec::new(),
        }
    }

    /// A reader at the beginning of a row further on: what looks like a byte order mark there is none.
    pub(crate) fn at_row(reader: R, separator: u8) -> Csv<R> {
        Csv {
            line: 2,
            chunk: ONE_ROW,
            ..Csv::new(reader, separator)
        }
    }

    /// The next row, whose cells are then given by [`Csv::cell`]; nothing at the end.
    pub(crate) fn next_row(&mut self) -> io::Result<Option<Row>> {
        loop {
            if self.line == 1 && self.at == 0 {
                while self.buffer.len() < 3 && !self.ended {
                    self.fill()?;
                }
                if self.buffer.starts_with(b"\xef\xbb\xbf") {
                    self.at = 3;
                }
            }
            self.skip_empty_lines();
            if self.at == self.buffer.len() {
                if self.ended {
                    return Ok(None);
                }
                self.fill()?;
                continue;
            }
            match self.scan() {
                Scan::Row { end, lines, sound } => return Ok(Some(self.take(end, lines, sound))),
                Scan::More if self.ended || self.buffer.len() - self.at > LONGEST => {
                    return self.give_up().map(Some);
                }
                Scan::More => self.fill()?,
            }
        }
    }

    /// Number of cells of the current row.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell of the current row without its quotes; empty where the row has none.
    pub(crate) fn cell(&self, number: usize) -> Cow<'_, str> {
        let Some(cell) = self.cells.get(number) else {
            return Cow::Borrowed("");
        };
        let text = String::from_utf8_lossy(&self.buffer[cell.start..cell.end]);
        match cell.quoted && text.contains("\"\"") {
            true => Cow::Owned(text.replace("\"\"", "\"")),
            false => text,
        }
    }

    /// Ends a row that was read, before `end`.
    fn take(&mut self, end: usize, lines: u64, sound: bool) -> Row {
        let sound =
            sound && end - self.at <= LONGEST && std::str::from_utf8(&self.buffer[self.at..end]).is_ok();
        let row = Row {
            line: self.line,
            offset: self.before + self.at as u64,
            sound,
        };
        self.at = end;
        self.line += lines;
        row
    }

    /// Ends a row that cannot be read, at its first line end.
    fn give_up(&mut self) -> io::Result<Row> {
        let row = Row {
            line: self.line,
            offset: self.before + self.at as u64,
            sound: false,
        };
        self.cells.clear();
        loop {
            let rest = &self.buffer[self.at..];
            match memchr::memchr(b'\n', rest) {
                Some(end) => {
                    self.at += end + 1;
                    self.line += 1;
                    break;
                }
                None => {
                    self.at = self.buffer.len();
                    if self.ended {
                        break;
                    }
                    self.fill()?;
                }
            }
        }
        Ok(row)
    }

    /// Puts more bytes behind those not yet read.
    fn fill(&mut self) -> io::Result<()> {
        if self.at > 0 && !(self.line == 1 && self.at == 3) {
            self.buffer.drain(..self.at);
            self.before += self.at as u64;
            self.at = 0;
        }
        let had = self.buffer.len();
        self.buffer.resize(had + self.chunk.max(had), 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }

    fn skip_empty_lines(&mut self) {
        loop {
            match &self.buffer[self.at..] {
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return,
            }
            self.line += 1;
        }
    }

    /// Finds the cells of the row that begins at `at`.
    fn scan(&mut self) -> Scan {
        self.cells.clear();
        let buffer = &self.buffer;
        let (mut at, mut lines, mut sound) = (self.at, 0, true);
        loop {
            let quoted = buffer.get(at) == Some(&b'"');
            let (start, mut end) = (at + usize::from(quoted), at);
            if quoted {
                match closing_quote(buffer, start, &mut lines) {
                    Some(close) => (end, at) = (close, close + 1),
                    None => return Scan::More,
                }
            }
            let rest = &buffer[at..];
            let stop = match memchr::memchr2(self.separator, b'\n', rest) {
                Some(stop) => at + stop,
                None if self.ended => buffer.len(),
                None => return Scan::More,
            };
            let last = buffer.get(stop) != Some(&self.separator);
            let until = if last && stop > at && buffer[stop - 1] == b'\r' {
                stop - 1
            } else {
                stop
            };
            if !quoted {
                end = until;
            } else if until != at {
                sound = false;
            }
            self.cells.push(Cell { start, end, quoted });
            if last {
                let newline = usize::from(stop < buffer.len());
                return Scan::Row {
                    end: stop + newline,
                    lines: lines + newline as u64,
                    sound,
                };
            }
            at = stop + 1;
        }
    }
}

/// The quote that ends a cell which begins at `start`; doubled quotes do not. Nothing when the buffer ends first. (A
/// quote at the very end of the buffer may be the first of two: the caller then finds no separator and reads on.)
fn closing_quote(buffer: &[u8], start: usize, lines: &mut u64) -> Option<usize> {
    let mut at = start;
    let mut passed = 0;
    loop {
        let rest = buffer.get(at..)?;
        let found = at + memchr::memchr2(b'"', b'\n', rest)?;
        at = found + 1;
        if buffer[found] == b'\n' {
            passed += 1;
        } else if buffer.get(at) == Some(&b'"') {
            at += 1;
        } else {
            *lines += passed;
            return Some(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its bytes a few at a time, as a slow disk would.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    type Table = Vec<(u64, Option<Vec<String>>)>;

    fn read(bytes: &[u8], step: usize) -> Table {
        let mut csv = Csv::new(Drip(bytes, step), b',');
        let mut rows = Vec::new();
        while let Some(row) = csv.next_row().unwrap() {
            let cells = (0..csv.len())
                .map(|number| csv.cell(number).into_owned())
                .collect();
            rows.push((row.line, row.sound.then_some(cells)));
        }
        rows
    }

    fn sound(line: u64, cells: &[&str]) -> (u64, Option<Vec<String>>) {
        (line, Some(cells.iter().map(|cell| (*cell).to_owned()).collect()))
    }

    #[test]
    fn quotes_newlines_and_marks() {
        let text = b"\xef\xbb\xbfa,b,,\r\n\r\n\"x \"\"y\"\",\r\nz\",,2,\n3,\"\",c\"d,";
        for step in [1, 2, 3, 1000] {
            assert_eq!(
                read(text, step),
                [
                    sound(1, &["a", "b", "", ""]),
                    sound(3, &["x \"y\",\r\nz", "", "2", ""]),
                    sound(5, &["3", "", "c\"d", ""])
                ],
                "step {step}"
            );
        }
    }

    #[test]
    fn damaged_rows_cost_one_row_each() {
        let text = b"a,\"b\"c\n1,2\nx,\"open\n3,4\n\xff,5\n6,7";
        for step in [1, 7, 1000] {
            let rows = read(text, step);
            let lines: Vec<(u64, bool)> = rows
                .iter()
                .map(|(line, cells)| (*line, cells.is_some()))
                .collect();
            assert_eq!(
                lines,
                [
                    (1, false),
                    (2, true),
                    (3, false),
                    (4, true),
                    (5, false),
                    (6, true)
                ],
                "step {step}"
            );
        }
    }

    #[test]
    fn a_row_without_end_does_not_fill_the_memory() {
        let mut text = b"a,\"".to_vec();
        text.resize(5 * LONGEST, b'x');
        text.extend(b"\n1,2\n");
        let mut csv = Csv::new(&text[..], b',');
        let first = csv.next_row().unwrap().unwrap();
        assert!(!first.sound);
        assert!(csv.buffer.capacity() < 5 * LONGEST, "{}", csv.buffer.capacity());
        let second = csv.next_row().unwrap().unwrap();
        assert_eq!((second.line, second.sound), (2, true));
        assert_eq!(second.offset as usize, text.len() - 4);
        assert_eq!(csv.next_row().unwrap(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(proptest::collection::vec("[a\",\r\n é]{0,6}", 2..5), 1..8),
            step in 1_usize..40,
        ) {
            let line = |row: &Vec<String>| {
                let cells = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
                cells.collect::<Vec<_>>().join(",")
            };
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\r\n");
            let found: Vec<Vec<String>> = read(text.as_bytes(), step).into_iter().filter_map(|row| row.1).collect();
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn nothing_makes_it_panic_and_steps_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            step in 1_usize..40,
        ) {
            prop_assert_eq!(read(&bytes, step), read(&bytes, 1000));
        }
    }
}
