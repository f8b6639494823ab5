//! Just enough of Thrift's compact protocol to look at sizes before a reader believes them. Every length is checked
//! against the bytes that are there, and nesting is bounded.

/// Deeper structs and lists are refused.
const DEEPEST: usize = 16;

/// The kinds of values that are told apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    True,
    False,
    Byte,
    Int,
    Double,
    Bytes,
    List,
    Struct,
}

/// Bytes that are read forwards.
pub(crate) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compact<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip_bytes(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        (end <= self.bytes.len()).then(|| self.at = end)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// An integer of any width.
    pub(crate) fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a struct: its number and kind; `Some(None)` at the struct's end.
    pub(crate) fn field(&mut self, last: i64) -> Option<Option<(i64, Kind)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let number = match byte >> 4 {
            0 => self.int()?,
            step => last.checked_add(i64::from(step))?,
        };
        Some(Some((number, kind(byte & 0xf)?)))
    }

    /// A list's length and the kind of its elements.
    pub(crate) fn list(&mut self) -> Option<(u64, Kind)> {
        let byte = self.byte()?;
        let length = match byte >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        // Every element takes a byte at least.
        let left = (self.bytes.len() - self.at) as u64;
        (length <= left).then_some((length, kind(byte & 0xf)?))
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self, kind: Kind) -> Option<()> {
        self.skip_in(kind, 0)
    }

    fn skip_in(&mut self, kind: Kind, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            Kind::True | Kind::False => Some(()),
            Kind::Byte => self.skip_bytes(1),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.skip_bytes(8),
            Kind::Bytes => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            Kind::List => {
                let (length, kind) = self.list()?;
                // Truths in a list take a byte each, unlike those in a struct.
                let kind = if matches!(kind, Kind::True | Kind::False) {
                    Kind::Byte
                } else {
                    kind
                };
                (0..length).try_for_each(|_| self.skip_in(kind, depth + 1))
            }
            Kind::Struct => self.fields(|fields, _, kind| fields.skip_in(kind, depth + 1)),
        }
    }

    /// Hands every field of a struct to `on`, which reads or skips its value.
    pub(crate) fn fields(
        &mut self,
        mut on: impl FnMut(&mut Compact<'a>, i64, Kind) -> Option<()>,
    ) -> Option<()> {
        let mut last = 0;
        while let Some((number, kind)) = self.field(last)? {
            on(self, number, kind)?;
            last = number;
        }
        Some(())
    }
}

fn kind(code: u8) -> Option<Kind> {
    Some(match code {
        1 => Kind::True,
        2 => Kind::False,
        3 => Kind::Byte,
        4..=6 => Kind::Int,
        7 => Kind::Double,
        8 => Kind::Bytes,
        9 | 10 => Kind::List,
        12 => Kind::Struct,
        _ => return None,
    })
}
