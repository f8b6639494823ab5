//! The backbone's own text cleaning, so that a prompt is a fixed point of it and character spans stay true.
//!
//! Ovi cleans a prompt with ftfy, HTML-unescapes it twice, collapses white space and trims
//! (character-ai/Ovi, ovi/modules/tokenizers.py). We do the parts that can change text made by us or given to us:
//! entities, curly quotes, full-width forms and ligatures, control characters, NFC, white space. Mojibake repair is
//! not done: text that needs it is left as it is.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Cleans until nothing changes.
pub fn clean(text: &str) -> String {
    let mut text = once(text);
    // Each unescape can uncover another (`&amp;amp;lt;`); every pass that changes the text shortens an entity.
    for _ in 0..64 {
        let next = once(&text);
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Cleans text that is not ours, so that it cannot be taken for anchors or speech markers. A leading combining mark
/// goes too: behind `<S>` it would melt with the bracket (U+003E U+0338 composes to U+226F).
pub fn clean_given(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let next = clean(without_markers(&text).trim_start_matches(is_combining_mark));
        if next == text {
            return text;
        }
        text = next;
    }
}

fn without_markers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        match marker_length(tail) {
            Some(length) => rest = &tail[length..],
            None => {
                out.push('<');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Length in bytes of the marker that `text` begins with: `<S>`, `<E>`, `<subN>`, `<imgN>`, `<AUDCAP>`, `<ENDAUDCAP>`.
fn marker_length(text: &str) -> Option<usize> {
    let end = text.find('>')?;
    let name = text.get(1..end)?;
    let numbered = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            && name
                .get(prefix.len()..)
                .is_some_and(|tail| tail.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let marker = ["S", "E", "AUDCAP", "ENDAUDCAP"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
    (marker || numbered("sub") || numbered("img")).then_some(end + 1)
}

fn once(text: &str) -> String {
    let unescaped = unescape(&unescape(text));
    let plain: String = unescaped.chars().flat_map(plain_char).nfc().collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What ftfy does to single characters: straight quotes, half-width forms, no ligatures, no control characters.
fn plain_char(c: char) -> impl Iterator<Item = char> {
    let mapped: &[char] = match c {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => &['\''],
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => &['"'],
        '\u{fb00}' => &['f', 'f'],
        '\u{fb01}' => &['f', 'i'],
        '\u{fb02}' => &['f', 'l'],
        '\u{fb03}' => &['f', 'f', 'i'],
        '\u{fb04}' => &['f', 'f', 'l'],
        '\u{fb05}' => &['s', 't'],
        '\u{fb06}' => &['s', 't'],
        '\u{feff}' | '\u{fffc}' | '\u{206a}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' => &[],
        '\u{2028}' | '\u{2029}' | '\u{85}' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1f}' => {
            &[' ']
        }
        _ => return Plain::One(Some(half_width(c)).filter(|c| !c.is_control())),
    };
    Plain::Many(mapped.iter())
}

enum Plain {
    One(Option<char>),
    Many(std::slice::Iter<'static, char>),
}

impl Iterator for Plain {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::One(c) => c.take(),
            Self::Many(rest) => rest.next().copied(),
        }
    }
}

/// U+FF01..U+FF5E are ASCII shifted by 0xFEE0; U+3000 is a wide space.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("hellip", '\u{2026}'),
    ("ndash", '\u{2013}'),
    ("mdash", '\u{2014}'),
    ("lsquo", '\''),
    ("rsquo", '\''),
    ("ldquo", '"'),
    ("rdquo", '"'),
    ("eacute", '\u{e9}'),
    ("egrave", '\u{e8}'),
    ("agrave", '\u{e0}'),
    ("aacute", '\u{e1}'),
    ("uuml", '\u{fc}'),
    ("ouml", '\u{f6}'),
    ("auml", '\u{e4}'),
    ("szlig", '\u{df}'),
    ("ntilde", '\u{f1}'),
    ("ccedil", '\u{e7}'),
    ("copy", '\u{a9}'),
    ("reg", '\u{ae}'),
    ("deg", '\u{b0}'),
    ("pound", '\u{a3}'),
    ("euro", '\u{20ac}'),
    ("trade", '\u{2122}'),
    ("times", '\u{d7}'),
    ("middot", '\u{b7}'),
    ("bull", '\u{2022}'),
];

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        match entity(tail) {
            Some((c, length)) => {
                out.push(c);
                rest = &tail[length..];
            }
            None => {
                out.push('&');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The entity that `text` (which begins with `&`) starts with, and its length in bytes.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = text.get(1..end)?;
    let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let c = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) => code(hex, 16)?,
            None => code(digits, 10)?,
        },
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((c, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cleans_what_the_backbone_cleans() {
        assert_eq!(
            clean("  a \n\t b\u{a0}&amp;amp;lt; \u{201c}c\u{201d} \u{ff21}\u{fb01}\u{0} "),
            "a b < \"c\" Afi"
        );
        assert_eq!(
            clean("caf\u{65}\u{301} &#233;&#xe9; &unknown; & x"),
            "café éé &unknown; & x"
        );
    }

    #[test]
    fn given_text_cannot_open_an_anchor_or_an_utterance() {
        assert_eq!(
            clean_given("a <S>hello<E> <sub1> <b> &lt;S&gt; <<S>sub2> x"),
            "a hello <b> x"
        );
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(text in "[ -~&;#x0-9a-z<>\u{201c}\u{ff01}\u{301}\u{85}é\n]{0,60}") {
            let cleaned = clean(&text);
            prop_assert_eq!(clean(&cleaned), cleaned.clone());
            let given = clean_given(&text);
            prop_assert_eq!(clean_given(&given), given.clone());
            for marker in ["<S>", "<E>", "<sub"] {
                prop_assert!(!(given.contains(marker) && marker_length(&given[given.find(marker).unwrap()..]).is_some()));
            }
        }
    }
}
