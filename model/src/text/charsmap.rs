//! sentencepiece's table of characters: a double-array trie of what is replaced, and the replacements.

use base64::{Engine, engine::general_purpose::STANDARD};

/// The table.
pub(super) struct CharsMap {
    trie: Vec<u32>,
    replacements: String,
}

impl CharsMap {
    /// From base64: four bytes of the trie's size, the trie, replacements that end in a zero byte each.
    pub(super) fn parse(base64: &str) -> Result<Self, String> {
        let bytes = STANDARD
            .decode(base64)
            .map_err(|_| "the table of characters is no base64")?;
        let damaged = || "the table of characters is cut off".to_owned();
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let size = u32::from_le_bytes(*size) as usize;
        if size > rest.len() || !size.is_multiple_of(4) {
            return Err(damaged());
        }
        let (trie, rest) = rest.split_at(size);
        let unit = |unit: &[u8]| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]);
        Ok(Self {
            trie: trie.chunks_exact(4).map(unit).collect(),
            replacements: String::from_utf8(rest.to_vec()).map_err(|error| error.to_string())?,
        })
    }

    /// The longest beginning of `text` that is replaced, its bytes, and by what.
    pub(super) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut place = offset(*self.trie.first()?);
        let mut found = None;
        for (count, byte) in text.bytes().enumerate() {
            place ^= usize::from(byte);
            let unit = match self.trie.get(place) {
                Some(unit) if byte != 0 && unit & (1 << 31 | 0xFF) == u32::from(byte) => *unit,
                _ => break,
            };
            place ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                found = Some((count + 1, *self.trie.get(place)? & !(1 << 31)));
            }
        }
        let (length, at) = found?;
        let replacement = self.replacements.get(at as usize..)?;
        // a key may end inside a character only in a damaged table
        text.is_char_boundary(length)
            .then(|| (length, replacement.split('\0').next().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base64 of a trie with the one key "A" and the replacement "a".
    fn table() -> CharsMap {
        // root: offset 256; 256 ^ 'A' holds the unit of 'A' (label, leaf, offset 512); 256 ^ 'A' ^ 512 its value
        let mut trie = vec![0u32; 1024];
        trie[0] = 256 << 10;
        let a = 256 ^ usize::from(b'A');
        trie[a] = u32::from(b'A') | 1 << 8 | 512 << 10;
        trie[a ^ 512] = 1 << 31;
        CharsMap {
            trie,
            replacements: "a\0".to_owned(),
        }
    }

    #[test]
    fn a_key_is_found_and_others_are_not() {
        assert_eq!(table().longest("ABC"), Some((1, "a")));
        assert_eq!(table().longest("BA"), None);
        assert_eq!(table().longest(""), None);
    }

    #[test]
    fn base64_and_damage() {
        assert!(CharsMap::parse("Y*==").is_err());
        assert!(CharsMap::parse("YWI=").is_err());
        assert!(CharsMap::parse("//8AAA==").is_err());
    }
}
