//! Speech as the tokens of F5-TTS: characters, with spaces where its own segmentation puts them.
//!
//! Words of Latin scripts are spelled. Chinese needs pinyin, which is not here: it is refused, not guessed.

use crate::{Error, Result};
use std::{collections::HashMap, path::Path};

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

    /// The tokens of what is said; unknown ones are the space, as in F5-TTS. Fails on Chinese.
    pub fn tokens(&self, said: &str) -> Result<Vec<i64>> {
        let id = |piece: &char| self.ids.get(piece.encode_utf8(&mut [0; 4])).copied().unwrap_or(0);
        Ok(spelled(said)?.iter().map(id).collect())
    }
}

/// Whether a character is read by pinyin.
fn is_chinese(c: char) -> bool {
    ('\u{3100}'..='\u{9fff}').contains(&c)
}

/// Whether jieba keeps a character in a word's block.
fn in_block(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '&' | '.' | '_' | '%' | '-')
}

/// Characters, with a space before each word of several letters that does not follow one, a colon or a quote.
fn spelled(said: &str) -> Result<Vec<char>> {
    let straight = |c: char| match c {
        ';' => ',',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2018}' | '\u{2019}' => '\'',
        c => c,
    };
    let text: Vec<char> = said.chars().map(straight).collect();
    if let Some(c) = text.iter().find(|c| is_chinese(**c)) {
        return Err(Error::Input(format!(
            "`{c}` in what is said needs pinyin, which this build does not have: sample a text without Chinese"
        )));
    }
    let mut out: Vec<char> = Vec::with_capacity(text.len() + 8);
    let mut at = 0;
    while at < text.len() {
        let length = word(&text[at..]).max(1);
        let spaced = out.last().is_some_and(|last| !" :'\"".contains(*last));
        if length > 1 && spaced {
            out.push(' ');
        }
        out.extend(&text[at..at + length]);
        at += length;
    }
    Ok(out)
}

/// Length of the word that `text` begins with, as jieba cuts blocks without Chinese: letters and digits, with a decimal part
/// and a percent sign.
fn word(text: &[char]) -> usize {
    let run = |text: &[char], fits: fn(&char) -> bool| text.iter().take_while(|c| fits(c)).count();
    let block = run(text, |c| in_block(*c));
    let letters = run(&text[..block], char::is_ascii_alphanumeric);
    if letters == 0 {
        return 0;
    }
    let mut length = letters;
    if text[..block].get(length) == Some(&'.') {
        let digits = run(&text[length + 1..block], char::is_ascii_digit);
        if digits > 0 {
            length += 1 + digits;
        }
    }
    length + usize::from(text[..block].get(length) == Some(&'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(said: &str) -> String {
        spelled(said).unwrap().into_iter().collect()
    }

    #[test]
    fn words_are_spelled_and_spaced_as_f5_does() {
        assert_eq!(text("Hello there."), "Hello there.");
        assert_eq!(text("don't"), "don't");
        assert_eq!(text("well-known"), "well- known");
        assert_eq!(text("3.5% of it; \u{201c}yes\u{201d}"), "3.5% of it, \"yes\"");
        assert_eq!(text("no...yes"), "no... yes");
    }

    #[test]
    fn ids_are_line_numbers_and_unknown_is_the_space() {
        let vocabulary = Vocabulary::parse(" \r\na\r\nb\r\n").unwrap();
        assert_eq!(vocabulary.tokens("ab a?").unwrap(), [1, 2, 0, 1, 0]);
        assert!(Vocabulary::parse("a\n \n").is_none());
    }

    #[test]
    fn chinese_is_refused_by_name() {
        let error = Vocabulary::parse(" \na").unwrap().tokens("a 你好").unwrap_err();
        assert!(error.to_string().contains("pinyin"), "{error}");
    }
}
