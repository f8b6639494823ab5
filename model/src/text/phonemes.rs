//! Speech as the tokens of F5-TTS: characters and syllables of pinyin, with spaces where its own segmentation puts them.
//!
//! Words of Latin scripts are spelled. Chinese is cut into words by jieba's dictionary and read by pypinyin's.

use super::pinyin;
use crate::{Error, Result};
use jieba_rs::Jieba;
use std::{collections::HashMap, path::Path, sync::LazyLock};

/// The vocabulary: a token a line, the line's number is its id, the first is the space.
pub struct Vocabulary {
    ids: HashMap<String, i64>,
}

impl Vocabulary {
    /// Reads the file. Fails if it cannot be read, or does not begin with the space.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).ok_or_else(|| Error::Format {
            path: path.to_owned(),
            kind: "a vocabulary of F5-TTS",
            why: "its first line is not the space".to_owned(),
        })
    }

    /// From the file's text, with either kind of line ends; `None` if the first line is not the space.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut ids = HashMap::new();
        for (id, line) in (0..).zip(lines) {
            ids.entry(line.to_owned()).or_insert(id);
        }
        (ids.get(" ") == Some(&0)).then_some(Self { ids })
    }

    /// The tokens of what is said; unknown ones are the space, as in F5-TTS.
    pub fn tokens(&self, said: &str) -> Vec<i64> {
        let id = |piece: &String| self.ids.get(piece).copied().unwrap_or(0);
        pieces(said).iter().map(id).collect()
    }
}

/// Words of Chinese. Its dictionary takes a moment to unfold, so that is done once, when something is said.
static WORDS: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// Whether a syllable of this character is set off by a space.
fn is_chinese(c: char) -> bool {
    ('\u{3100}'..='\u{9fff}').contains(&c)
}

/// Whether jieba looks for words in a run of such characters; any other stands alone.
fn in_block(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '+' | '#' | '&' | '.' | '_' | '%' | '-' | '\u{4e00}'..='\u{9fd5}'
        )
}

/// What is said in the pieces that F5 knows: characters and syllables, with spaces where its own segmentation puts them.
fn pieces(said: &str) -> Vec<String> {
    let straight = |c: char| match c {
        ';' => ',',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2018}' | '\u{2019}' => '\'',
        c => c,
    };
    let text: String = said.chars().map(straight).collect();
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match rest.find(|c| !in_block(c)).unwrap_or(rest.len()) {
            0 if rest.starts_with("\r\n") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        let (block, after) = rest.split_at(length);
        if in_block(first) {
            words(block).into_iter().for_each(|found| word(found, &mut out));
        } else {
            word(block, &mut out);
        }
        rest = after;
    }
    out
}

/// The words of a block. What the dictionary does not know of ASCII is cut as jieba's own rules have it, which the crate's
/// differ from.
fn words(block: &str) -> Vec<&str> {
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    for token in WORDS.cut(block, true) {
        let next = end + token.word.len();
        if !token.word.is_ascii() || WORDS.has_word(token.word) {
            out.extend(runs(&block[start..end]));
            out.push(token.word);
            start = next;
        }
        end = next;
    }
    out.extend(runs(&block[start..end]));
    out
}

/// ASCII in runs of letters and digits, each with a decimal part and a percent sign, and what lies between them.
fn runs(ascii: &str) -> Vec<&str> {
    let (mut out, mut rest) = (Vec::new(), ascii);
    while !rest.is_empty() {
        let between = rest
            .find(|c: char| c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let length = if between > 0 { between } else { run(rest) };
        let (piece, after) = rest.split_at(length);
        out.push(piece);
        rest = after;
    }
    out
}

/// Length of the run that `ascii` begins with.
fn run(ascii: &str) -> usize {
    let count = |text: &str, fits: fn(&u8) -> bool| text.bytes().take_while(fits).count();
    let mut length = count(ascii, u8::is_ascii_alphanumeric);
    if let Some(tail) = ascii[length..].strip_prefix('.') {
        let digits = count(tail, u8::is_ascii_digit);
        length += if digits > 0 { 1 + digits } else { 0 };
    }
    length + usize::from(ascii[length..].starts_with('%'))
}

/// Adds a word: ASCII is spelled, with a space before it where it has several letters and follows neither one, a colon nor a
/// quote; Chinese is read as a whole; of a mixed word each character is read alone.
fn word(word: &str, out: &mut Vec<String>) {
    if word.is_ascii() {
        let spaced = out
            .last()
            .is_some_and(|last| !matches!(last.as_str(), " " | ":" | "'" | "\""));
        if word.len() > 1 && spaced {
            out.push(" ".to_owned());
        }
        out.extend(word.chars().map(String::from));
        return;
    }
    let three_bytes = word.chars().all(|c| c.len_utf8() == 3);
    let readings = three_bytes.then(|| pinyin::read(word));
    for (at, c) in word.chars().enumerate() {
        if is_chinese(c) {
            out.push(" ".to_owned());
        }
        match &readings {
            Some(readings) => out.extend(readings.get(at).cloned()),
            None if is_chinese(c) => out.extend(pinyin::read(c.encode_utf8(&mut [0; 4]))),
            None => out.push(c.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(said: &str) -> String {
        pieces(said).concat()
    }

    #[test]
    fn words_are_spelled_and_spaced_as_f5_does() {
        assert_eq!(text("Hello there."), "Hello there.");
        assert_eq!(text("don't"), "don't");
        assert_eq!(text("well-known"), "well- known");
        assert_eq!(text("3.5% of it; \u{201c}yes\u{201d}"), "3.5% of it, \"yes\"");
        assert_eq!(text("no...yes"), "no ... yes");
        assert_eq!(text("C++ at AT&T"), "C++ at AT&T");
    }

    #[test]
    fn chinese_is_read_word_by_word() {
        assert_eq!(text("你好，Anna！"), " ni2 hao3，Anna！".replace("，A", "， A"));
        assert_eq!(text("去银行不行"), " qu4 yin2 hang2 bu4 xing2");
        assert_eq!(text("4S店"), "4S dian4");
    }

    #[test]
    fn ids_are_line_numbers_and_unknown_is_the_space() {
        let vocabulary = Vocabulary::parse(" \r\na\r\nb\r\nni2\r\n").unwrap();
        assert_eq!(vocabulary.tokens("ab a?"), [1, 2, 0, 1, 0]);
        assert_eq!(vocabulary.tokens("你好"), [0, 3, 0, 0]);
        assert!(Vocabulary::parse("a\n \n").is_none());
    }

    #[test]
    fn a_thousand_strings_are_read_as_pypinyin_and_jieba_read_them() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pinyin.tsv");
        let lines = std::fs::read_to_string(path).unwrap();
        let all: Vec<_> = lines.lines().map(|line| line.split_once('\t').unwrap()).collect();
        assert_eq!(all.len(), 1000);
        let other = |(said, expected): &&(&str, &str)| pieces(said).join("|") != *expected;
        let others: Vec<_> = all.iter().filter(other).collect();
        for (said, expected) in &others {
            eprintln!(
                "{said}\n  here      {}\n  reference {expected}",
                pieces(said).join("|")
            );
        }
        assert_eq!(others.len(), 0);
    }
}
