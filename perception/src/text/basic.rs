//! Whisper's language-independent normaliser (openai/whisper `normalizers/basic.py`).

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::python::{SPACE, pattern};

static BRACKETS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[<\[][^>\]]*[>\]]"));
static PARENTHESES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\(([^)]+?)\)"));
static SPACES: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("{SPACE}+")));
static MARK_SYMBOL_PUNCTUATION: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{M}\p{S}\p{P}]"));
static NONSPACING: LazyLock<Regex> = LazyLock::new(|| pattern(r"\p{Mn}"));

/// Lower-cases, drops bracketed words, turns marks, symbols and punctuation into spaces.
#[derive(Debug, Clone, Copy, Default)]
pub struct BasicNormalizer {
    /// Drop combining marks and fold letters such as `ø`.
    pub remove_diacritics: bool,
    /// Put a space between grapheme clusters.
    pub split_letters: bool,
}

impl BasicNormalizer {
    /// The normalised text. Single leading and trailing spaces survive, as in the reference.
    pub fn normalize(&self, text: &str) -> String {
        let lower = text.to_lowercase();
        let spoken = without_asides(&lower);
        let clean = if self.remove_diacritics {
            fold_symbols(&spoken, "")
        } else {
            remove_symbols(&spoken)
        };
        let mut clean = clean.to_lowercase();
        if self.split_letters {
            clean = graphemes(&clean).collect::<Vec<_>>().join(" ");
        }
        collapse_spaces(&clean).into_owned()
    }
}

/// Extended grapheme clusters (`\X`): one emoji family is one unit.
pub fn graphemes(text: &str) -> impl Iterator<Item = &str> {
    text.graphemes(true)
}

/// Text without what stands in `<..>`, `[..]` (closers may be mixed) and in round brackets.
pub(super) fn without_asides(text: &str) -> String {
    if !text.contains(['<', '[', '(']) {
        return text.to_owned();
    }
    PARENTHESES
        .replace_all(&BRACKETS.replace_all(text, ""), "")
        .into_owned()
}

/// Each run of white space becomes one space.
pub(super) fn collapse_spaces(text: &str) -> Cow<'_, str> {
    // Most texts have single plain spaces only.
    let plain = |pair: &[u8]| !(is_odd(pair[0]) || pair == b"  ");
    let last = text.bytes().next_back().is_none_or(|byte| !is_odd(byte));
    if last && text.as_bytes().windows(2).all(plain) {
        return Cow::Borrowed(text);
    }
    SPACES.replace_all(text, " ")
}

/// Whether a byte may begin or be white space other than the plain space: an ASCII control or anything beyond ASCII.
fn is_odd(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte)
}

/// NFKC, then marks, symbols and punctuation become spaces.
fn remove_symbols(text: &str) -> String {
    MARK_SYMBOL_PUNCTUATION
        .replace_all(&text.nfkc().collect::<String>(), " ")
        .into_owned()
}

/// NFKD without non-spacing marks; other marks, symbols and punctuation become spaces, except `keep`.
pub(super) fn fold_symbols(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.nfkd() {
        if c.is_ascii_alphanumeric() || keep.contains(c) {
            out.push(c);
        } else if c.is_ascii() {
            // All ASCII punctuation is P or S; the rest (space, controls) is none of M, S, P.
            out.push(if c.is_ascii_punctuation() { ' ' } else { c });
        } else if let Some(folded) = fold_letter(c) {
            out.push_str(folded);
        } else {
            let one: &str = c.encode_utf8(&mut buffer);
            match () {
                () if NONSPACING.is_match(one) => {}
                () if MARK_SYMBOL_PUNCTUATION.is_match(one) => out.push(' '),
                () => out.push(c),
            }
        }
    }
    out
}

/// Letters that NFKD does not take apart.
fn fold_letter(c: char) -> Option<&'static str> {
    Some(match c {
        'œ' => "oe",
        'Œ' => "OE",
        'ø' => "o",
        'Ø' => "O",
        'æ' => "ae",
        'Æ' => "AE",
        'ß' => "ss",
        'ẞ' => "SS",
        'đ' => "d",
        'Đ' => "D",
        'ð' => "d",
        'Ð' => "D",
        'þ' | 'Þ' => "th",
        'ł' => "l",
        'Ł' => "L",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the reference has it, asking the patterns about everything.
    fn folded_slowly(text: &str, keep: &str) -> String {
        let one = |c: char| match c {
            _ if keep.contains(c) => c.to_string(),
            _ if fold_letter(c).is_some() => fold_letter(c).unwrap().to_owned(),
            _ if NONSPACING.is_match(&c.to_string()) => String::new(),
            _ if MARK_SYMBOL_PUNCTUATION.is_match(&c.to_string()) => " ".to_owned(),
            _ => c.to_string(),
        };
        text.nfkd().map(one).collect()
    }

    proptest! {
        #[test]
        fn what_is_told_by_a_look_is_what_the_patterns_say(text in "([ -~]|\\PC|[\\x00-\\x20\\x7F\u{85}\u{A0}]){0,40}") {
            prop_assert_eq!(fold_symbols(&text, ".%$¢€£"), folded_slowly(&text, ".%$¢€£"));
            prop_assert_eq!(collapse_spaces(&text).into_owned(), SPACES.replace_all(&text, " ").into_owned());
            let asides = PARENTHESES.replace_all(&BRACKETS.replace_all(&text, ""), "").into_owned();
            prop_assert_eq!(without_asides(&text), asides);
        }
    }

    #[test]
    fn drops_asides_and_keeps_letters() {
        let basic = BasicNormalizer::default();
        assert_eq!(basic.normalize("Hello [noise] (loud) Wörld!"), "hello wörld ");
        assert_eq!(
            BasicNormalizer {
                remove_diacritics: true,
                ..basic
            }
            .normalize("Łódź"),
            "lodz"
        );
    }

    #[test]
    fn a_family_is_one_grapheme() {
        assert_eq!(graphemes("a👨‍👩‍👧b").count(), 3);
    }
}
