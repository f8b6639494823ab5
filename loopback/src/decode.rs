//! Hashes and base64, written apart from the client's so that the two cannot share a mistake.

use sha2::{Digest, Sha256};

/// SHA-256, lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Base64 with padding; `None` for anything else.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let plain = text.trim_end_matches('=');
    if text.len() - plain.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(plain.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for letter in plain.bytes() {
        bits = bits << 6 | u32::from(digit(letter)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (coded, plain) in [("Zm9vYmFy", "foobar"), ("Zm9vYg==", "foob"), ("", "")] {
            assert_eq!(base64(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(base64("a"), None);
        assert_eq!(base64("!!!!"), None);
        assert_eq!(base64("===="), None);
    }
}
