//! What `ftfy.fix_text`, `html.unescape` (twice), stripping and collapsing do to a caption.

use unicode_normalization::UnicodeNormalization;

/// The text as the tokenizer sees it, not yet lower-cased.
pub fn clean(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains('<') {
        text = unescape(&text);
    }
    let fixed: String = fix(&text).nfc().collect();
    let plain = unescape(&unescape(&fixed));
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// ftfy's character steps: ligatures, widths, quotes, line breaks and control characters.
fn fix(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}'..='\u{201B}' | '\u{02BC}' => out.push('\''),
            '\u{201C}'..='\u{201F}' => out.push('"'),
            '\u{FF01}'..='\u{FF5E}' => out.extend(char::from_u32(u32::from(c) - 0xFEE0)),
            '\u{3000}' => out.push(' '),
            '\u{2028}' | '\u{2029}' | '\u{0085}' => out.push('\n'),
            '\u{FEFF}' | '\u{FFF9}'..='\u{FFFC}' | '\u{206A}'..='\u{206F}' => {}
            c if c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\x0C' | '\r') => {}
            // Half-width katakana and Hangul, full-width signs.
            '\u{FF61}'..='\u{FFEE}' => out.extend(std::iter::once(c).nfkc()),
            c => match ligature(c) {
                Some(letters) => out.push_str(letters),
                None => out.push(c),
            },
        }
    }
    out
}

fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{0132}' => "IJ",
        '\u{0133}' => "ij",
        '\u{0149}' => "'n",
        '\u{01C4}' => "D\u{017D}",
        '\u{01C5}' => "D\u{017E}",
        '\u{01C6}' => "d\u{017E}",
        '\u{01C7}' => "LJ",
        '\u{01C8}' => "Lj",
        '\u{01C9}' => "lj",
        '\u{01CA}' => "NJ",
        '\u{01CB}' => "Nj",
        '\u{01CC}' => "nj",
        '\u{01F1}' => "DZ",
        '\u{01F2}' => "Dz",
        '\u{01F3}' => "dz",
        '\u{FB00}' => "ff",
        '\u{FB01}' => "fi",
        '\u{FB02}' => "fl",
        '\u{FB03}' => "ffi",
        '\u{FB04}' => "ffl",
        '\u{FB05}' => "\u{017F}t",
        '\u{FB06}' => "st",
        _ => return None,
    })
}

/// HTML's character references: by number, and the names that captions hold.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        match reference(tail) {
            Some((c, length)) => {
                out.push_str(&c);
                rest = &tail[length..];
            }
            None => {
                out.push('&');
                rest = tail;
            }
        }
    }
    out + rest
}

/// The character behind `&`, and how many bytes name it.
fn reference(tail: &str) -> Option<(String, usize)> {
    if let Some(number) = tail.strip_prefix('#') {
        let hex = number.starts_with(['x', 'X']);
        let digits = &number[usize::from(hex)..];
        let is_digit = |c: char| {
            if hex {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
        };
        let end = digits.find(|c| !is_digit(c)).unwrap_or(digits.len());
        let code = u32::from_str_radix(digits.get(..end)?, if hex { 16 } else { 10 }).ok()?;
        let length = 1 + usize::from(hex) + end + usize::from(digits[end..].starts_with(';'));
        return Some((char::from_u32(code).unwrap_or('\u{FFFD}').to_string(), length));
    }
    let end = tail
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(tail.len());
    let (_, c) = NAMES.iter().find(|(name, _)| *name == &tail[..end])?;
    let closed = tail[end..].starts_with(';');
    // The oldest names are known without their semicolon, too.
    (closed || matches!(tail.get(..end)?, "amp" | "lt" | "gt" | "quot" | "nbsp"))
        .then(|| ((*c).to_owned(), end + usize::from(closed)))
}

const NAMES: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{A0}"),
    ("copy", "\u{A9}"),
    ("reg", "\u{AE}"),
    ("trade", "\u{2122}"),
    ("deg", "\u{B0}"),
    ("hellip", "\u{2026}"),
    ("ndash", "\u{2013}"),
    ("mdash", "\u{2014}"),
    ("lsquo", "\u{2018}"),
    ("rsquo", "\u{2019}"),
    ("ldquo", "\u{201C}"),
    ("rdquo", "\u{201D}"),
    ("laquo", "\u{AB}"),
    ("raquo", "\u{BB}"),
    ("times", "\u{D7}"),
    ("eacute", "\u{E9}"),
    ("egrave", "\u{E8}"),
    ("agrave", "\u{E0}"),
    ("ccedil", "\u{E7}"),
    ("auml", "\u{E4}"),
    ("ouml", "\u{F6}"),
    ("uuml", "\u{FC}"),
    ("szlig", "\u{DF}"),
    ("ntilde", "\u{F1}"),
    ("euro", "\u{20AC}"),
    ("pound", "\u{A3}"),
    ("bull", "\u{2022}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_come_out_clean() {
        for (text, want) in [
            ("  a \n\n b\t", "a b"),
            ("&amp; html &lt;b&gt;", "& html <b>"),
            ("<i>&amp;lt;</i>", "<i><</i>"),
            ("\u{4F60}\u{597D}\u{FF0C}", "\u{4F60}\u{597D},"),
            ("\u{201C}it\u{2019}s\u{201D} \u{FB01}ne", "\"it's\" fine"),
            ("e\u{301}", "\u{E9}"),
            ("&#65;&#x42; &nope; A&B", "AB &nope; A&B"),
            ("&", "&"),
        ] {
            assert_eq!(clean(text), want, "{text:?}");
        }
    }
}
