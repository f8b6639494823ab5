//! CLIP's byte-pair tokenizer, as ImageBind's `SimpleTokenizer` uses it.
//!
//! Reference: facebookresearch/ImageBind `multimodal_preprocessors.py`. Texts are cleaned by [`clean`], which does what
//! `ftfy.fix_text` does to sound text (ligatures, full-width characters, curly quotes, control characters, NFC); text
//! that was decoded with a wrong charset is left as it is.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use regex::Regex;

use crate::Error;
use crate::audio::tokenizer::unicode_bytes;
use crate::text::pattern;

mod clean;

pub use clean::clean;

/// Tokens per text.
pub const LENGTH: usize = 77;
/// Merges that are used of the vocabulary file's lines.
const MERGES: usize = 49152 - 256 - 2;
/// What marks the end of a word.
const END: &str = "</w>";

static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    let words =
        r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
    pattern(words)
});

/// Text to tokens.
pub struct ClipTokenizer {
    ids: HashMap<String, i64>,
    ranks: HashMap<(String, String), usize>,
    letters: [char; 256],
    start: i64,
    end: i64,
}

impl ClipTokenizer {
    /// Reads `bpe_simple_vocab_16e6.txt.gz`, packed or not.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no such list.
    pub fn new(bytes: &[u8]) -> Result<ClipTokenizer, Error> {
        let wrong = |what: &str| Error::Input(format!("no vocabulary of CLIP: {what}"));
        let mut text = String::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut reader = flate2::read::GzDecoder::new(bytes);
            reader
                .read_to_string(&mut text)
                .map_err(|error| wrong(&error.to_string()))?;
        } else {
            text = String::from_utf8(bytes.to_vec()).map_err(|error| wrong(&error.to_string()))?;
        }
        let pairs: Option<Vec<(String, String)>> = text
            .lines()
            .skip(1)
            .take(MERGES)
            .map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.to_owned(), words.next()?.to_owned()))
            })
            .collect();
        let pairs = pairs.ok_or_else(|| wrong("a line is no pair"))?;
        if pairs.len() != MERGES {
            return Err(wrong(&format!("{} pairs instead of {MERGES}", pairs.len())));
        }
        Ok(ClipTokenizer::with(pairs))
    }

    fn with(pairs: Vec<(String, String)>) -> ClipTokenizer {
        let mut table = ['\0'; 256];
        unicode_bytes()
            .into_iter()
            .for_each(|(letter, byte)| table[usize::from(byte)] = letter);
        // The vocabulary lists printable bytes first, then the 68 that have a stand-in, by byte.
        let mut order: Vec<u8> = (0..=255).collect();
        order.sort_by_key(|byte| (u32::from(table[usize::from(*byte)]) >= 256, *byte));
        let plain: Vec<String> = order
            .iter()
            .map(|byte| table[usize::from(*byte)].to_string())
            .collect();
        let ended = plain.iter().map(|letter| format!("{letter}{END}"));
        let merged = pairs.iter().map(|(a, b)| format!("{a}{b}"));
        let names: Vec<String> = plain.iter().cloned().chain(ended).chain(merged).collect();
        let start = names.len() as i64;
        ClipTokenizer {
            ids: (0..).zip(names).map(|(id, name)| (name, id)).collect(),
            ranks: pairs.into_iter().zip(0..).collect(),
            letters: table,
            start,
            end: start + 1,
        }
    }

    /// 77 tokens: start, words, end, zeros. Of a longer text, the first 75 tokens stay.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let cleaned = clean(text).to_lowercase();
        let mut tokens = vec![self.start];
        for word in WORDS.find_iter(&cleaned) {
            match word.as_str() {
                "<|startoftext|>" => tokens.push(self.start),
                "<|endoftext|>" => tokens.push(self.end),
                word => tokens.extend(self.pieces(word)),
            }
        }
        tokens.truncate(LENGTH - 1);
        tokens.push(self.end);
        tokens.resize(LENGTH, 0);
        tokens
    }

    /// Joins the neighbours of lowest rank, everywhere in the word, until none is left.
    fn pieces(&self, word: &str) -> Vec<i64> {
        let mut parts: Vec<String> = word
            .bytes()
            .map(|byte| self.letters[usize::from(byte)].to_string())
            .collect();
        if let Some(last) = parts.last_mut() {
            last.push_str(END);
        }
        let rank = |pair: &[String]| self.ranks.get(&(pair[0].clone(), pair[1].clone())).copied();
        while let Some((_, best)) = parts
            .windows(2)
            .filter_map(|pair| Some((rank(pair)?, [pair[0].clone(), pair[1].clone()])))
            .min_by_key(|(rank, _)| *rank)
        {
            let mut joined = Vec::with_capacity(parts.len());
            let mut rest = parts.into_iter().peekable();
            while let Some(part) = rest.next() {
                match rest.next_if(|next| part == best[0] && *next == best[1]) {
                    Some(next) => joined.push(part + &next),
                    None => joined.push(part),
                }
            }
            parts = joined;
        }
        // Every byte has a token of its own, so every piece is known.
        parts
            .iter()
            .filter_map(|part| self.ids.get(part).copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_go_by_rank_and_over_the_whole_word() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let tokenizer = ClipTokenizer::with(vec![pair("a", "b"), pair("ab", "ab</w>"), pair("x", "y")]);
        assert_eq!((tokenizer.start, tokenizer.end), (515, 516));
        // "ab" at the end of a word is "a" + "b</w>", which no pair joins.
        let first = |letter: u8| i64::from(letter) - i64::from(b'!');
        let out = tokenizer.encode("abab");
        assert_eq!(out[..5], [515, 512, first(b'a'), 256 + first(b'b'), 516]);
        assert_eq!(out.len(), LENGTH);
        assert!(out[5..].iter().all(|&token| token == 0));
    }

    #[test]
    fn long_texts_keep_their_start_and_get_an_end() {
        let tokenizer = ClipTokenizer::with(Vec::new());
        let out = tokenizer.encode(&"x ".repeat(200));
        assert_eq!((out.len(), out[0], out[76]), (77, 512, 513));
        assert!(out[1..76].iter().all(|&token| token == out[1]));
        assert_eq!(tokenizer.encode("")[..3], [512, 513, 0]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(ClipTokenizer::new(b"#version\na b\n").is_err());
        assert!(ClipTokenizer::new(&[0x1f, 0x8b, 0]).is_err());
    }
}
