//! Where Python's idea of text differs from Rust's.

use regex::Regex;

/// Python's `\s` as a character class body: Rust's lacks the four information separators.
pub(super) const SPACE: &str = r"[\s\x1C-\x1F]";

/// Python's `str.isspace` for one character.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

/// Python's `str.split()`: runs of white space, no empty pieces.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Compiles a pattern written in this crate's source.
pub(crate) fn pattern(text: &str) -> Regex {
    // Every caller passes a literal of ours and the tests compile each of them.
    Regex::new(text).expect("a literal pattern compiles")
}
