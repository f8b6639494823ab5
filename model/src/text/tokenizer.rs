//! Unigram tokens with the place of each in the text: Hugging Face's `tokenizer.json` of T5's kind.
//!
//! Text is normalised by the file's table of characters, words begin with U+2581, and each word is cut into the pieces whose
//! scores add up highest. What no piece covers becomes bytes, where the vocabulary has them, or the unknown token.

use super::charsmap::CharsMap;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::HashMap, ops::Range, path::Path};

/// What stands for a space.
const SPACE: char = '\u{2581}';
/// How far below the worst piece an unknown character is, as sentencepiece has it.
const UNKNOWN_PENALTY: f64 = 10.0;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: u32,
    /// Bytes of the text it stands for; empty for the end mark.
    pub span: Range<usize>,
}

/// A vocabulary and how text is cut into it.
pub struct Tokenizer {
    pieces: HashMap<String, (u32, f64)>,
    /// Bytes of the longest piece.
    longest: usize,
    unknown: u32,
    unknown_score: f64,
    end: u32,
    bytes: Option<Vec<u32>>,
    charsmap: Option<CharsMap>,
    size: usize,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_id: Option<u32>,
    vocab: Vec<(String, f64)>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A piece of normalised text and where it came from.
struct Normal {
    text: String,
    /// For each byte of `text` the source range of its character.
    from: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. Fails on a file that is damaged or of another kind.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|why| Error::Format {
            path: path.to_owned(),
            kind: "a tokenizer",
            why,
        })
    }

    /// From the file's text; what does not fit is told.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let model: Model =
            serde_json::from_value(whole["model"].take()).map_err(|error| error.to_string())?;
        if model.kind.as_deref().is_some_and(|kind| kind != "Unigram") {
            return Err(format!(
                "a model of kind {:?}, not Unigram",
                model.kind.unwrap_or_default()
            ));
        }
        let charsmap = charsmap(&whole["normalizer"])?;
        let mut pieces = HashMap::with_capacity(model.vocab.len());
        for (id, (piece, score)) in model.vocab.iter().enumerate() {
            let id = u32::try_from(id).map_err(|error| error.to_string())?;
            pieces.entry(piece.clone()).or_insert((id, *score));
        }
        let added = whole["added_tokens"].as_array().cloned().unwrap_or_default();
        let special = |name: &str| {
            let listed = added.iter().find(|token| token["content"] == name);
            let listed = listed.and_then(|token| u32::try_from(token["id"].as_u64()?).ok());
            listed.or_else(|| pieces.get(name).map(|(id, _)| *id))
        };
        let end = special("</s>").ok_or("it has no end mark `</s>`")?;
        let byte = |value: u8| pieces.get(&format!("<0x{value:02X}>")).map(|(id, _)| *id);
        let bytes: Option<Vec<u32>> = (0..=255u8).map(byte).collect();
        let worst = model.vocab.iter().map(|(_, score)| *score).fold(0.0, f64::min);
        // marks and bytes are never found in text
        let plain = |piece: &String| {
            let mark = piece.starts_with("<0x") && piece.len() == 6;
            !mark && !matches!(piece.as_str(), "<pad>" | "</s>" | "<s>" | "<unk>" | "")
        };
        let unknown = model
            .unk_id
            .or_else(|| special("<unk>"))
            .ok_or("it has no unknown token")?;
        let size = model.vocab.len();
        let pieces: HashMap<String, (u32, f64)> =
            pieces.into_iter().filter(|(piece, _)| plain(piece)).collect();
        Ok(Self {
            longest: pieces.keys().map(String::len).max().unwrap_or(0),
            pieces,
            unknown,
            unknown_score: worst - UNKNOWN_PENALTY,
            end,
            bytes: bytes.filter(|_| model.byte_fallback),
            charsmap,
            size,
        })
    }

    /// Number of tokens.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All tokens of a cleaned text, the end mark last.
    pub fn encode(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let normal = self.normalise(text);
        let mut start = 0;
        while start < normal.text.len() {
            let rest = &normal.text[start..];
            let next = rest.char_indices().skip(1).find(|(_, c)| *c == SPACE);
            let end = next.map_or(normal.text.len(), |(at, _)| start + at);
            self.word(&normal.text[start..end], &normal.from[start..end], &mut tokens);
            start = end;
        }
        tokens.push(Token {
            id: self.end,
            span: text.len()..text.len(),
        });
        tokens
    }

    /// The tokens that fit into `room`, the end mark among them, and where the text was cut if it was.
    pub fn within(&self, text: &str, room: usize) -> (Vec<Token>, Option<usize>) {
        let mut tokens = self.encode(text);
        if tokens.len() <= room {
            return (tokens, None);
        }
        let cut = tokens[room.max(1) - 1].span.start;
        tokens.truncate(room.max(1) - 1);
        tokens.push(Token {
            id: self.end,
            span: cut..cut,
        });
        (tokens, Some(cut))
    }

    /// The file's characters in place of the text's, runs of spaces as one, U+2581 for it, and one in front.
    fn normalise(&self, text: &str) -> Normal {
        let mut out = Normal {
            text: String::with_capacity(text.len() + 3),
            from: Vec::with_capacity(text.len() + 3),
        };
        let mut put = |c: char, span: Range<usize>| {
            let c = if c == ' ' { SPACE } else { c };
            if c == SPACE && (out.text.is_empty() || out.text.ends_with(SPACE)) && !span.is_empty() {
                return;
            }
            out.text.push(c);
            out.from.extend(std::iter::repeat_n(span, c.len_utf8()));
        };
        put(SPACE, 0..0);
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let found = self.charsmap.as_ref().and_then(|map| map.longest(&text[at..]));
            match found {
                Some((length, replacement)) => {
                    replacement.chars().for_each(|c| put(c, at..at + length));
                    at += length;
                }
                None => {
                    put(c, at..at + c.len_utf8());
                    at += c.len_utf8();
                }
            }
        }
        while out.text.len() > SPACE.len_utf8() && out.text.ends_with(SPACE) {
            out.text.pop();
            out.from.truncate(out.text.len());
        }
        if out.text.len() == SPACE.len_utf8() {
            out.text.clear();
        }
        out
    }

    /// The pieces of one word whose scores add up highest.
    fn word(&self, word: &str, from: &[Range<usize>], tokens: &mut Vec<Token>) {
        // for each place in the word: the best sum up to it, where its last piece began, and which it is
        let mut best: Vec<Option<(f64, usize, Option<u32>)>> = vec![None; word.len() + 1];
        best[0] = Some((0.0, 0, None));
        for (start, c) in word.char_indices() {
            let Some((sum, ..)) = best[start] else { continue };
            let mut better = |end: usize, score: f64, id: Option<u32>| {
                if best[end].is_none_or(|(other, ..)| sum + score > other) {
                    best[end] = Some((sum + score, start, id));
                }
            };
            let single = start + c.len_utf8();
            let most = word.len().min(start + self.longest);
            for end in (start + 1..=most).filter(|end| word.is_char_boundary(*end)) {
                if let Some((id, score)) = self.pieces.get(&word[start..end]) {
                    better(end, *score, Some(*id));
                }
            }
            better(single, self.unknown_score, None);
        }
        let mut found = Vec::new();
        let mut end = word.len();
        while end > 0 {
            let Some((_, start, id)) = best[end] else { break };
            found.push((start..end, id));
            end = start;
        }
        found.reverse();
        let mut unknown = false;
        for (piece, id) in found {
            let span = from[piece.start].start..from[piece.end - 1].end;
            match (id, &self.bytes) {
                (Some(id), _) => tokens.push(Token { id, span }),
                (None, Some(bytes)) => {
                    let each = word[piece.clone()].bytes();
                    tokens.extend(each.map(|byte| Token {
                        id: bytes[usize::from(byte)],
                        span: span.clone(),
                    }));
                }
                // unknown characters in a row are one token
                (None, None) if unknown => {
                    if let Some(last) = tokens.last_mut() {
                        last.span.end = span.end;
                    }
                }
                (None, None) => tokens.push(Token {
                    id: self.unknown,
                    span,
                }),
            }
            unknown = id.is_none();
        }
    }
}

/// The table of characters anywhere in a normaliser's description.
fn charsmap(normalizer: &Value) -> std::result::Result<Option<CharsMap>, String> {
    if let Some(text) = normalizer["precompiled_charsmap"].as_str() {
        return CharsMap::parse(text).map(Some);
    }
    for part in normalizer["normalizers"].as_array().into_iter().flatten() {
        if let Some(found) = charsmap(part)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokenizer(byte_fallback: bool) -> Tokenizer {
        let mut vocab = vec![
            ("<pad>", 0.0),
            ("</s>", 0.0),
            ("<unk>", 0.0),
            ("\u{2581}he", -3.0),
            ("llo", -3.5),
            ("\u{2581}hell", -6.0),
            ("o", -2.0),
            ("\u{2581}", -2.5),
            ("<", -4.0),
            ("S>", -4.0),
            ("h", -5.0),
            ("e", -5.0),
            ("l", -5.0),
        ]
        .into_iter()
        .map(|(piece, score)| (piece.to_owned(), score))
        .collect::<Vec<_>>();
        vocab.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), -9.0)));
        let json = serde_json::json!({"model": {
            "type": "Unigram", "unk_id": 2, "byte_fallback": byte_fallback, "vocab": vocab}});
        Tokenizer::parse(&json.to_string()).unwrap()
    }

    fn ids(tokens: &[Token]) -> Vec<u32> {
        tokens.iter().map(|token| token.id).collect()
    }

    #[test]
    fn the_highest_sum_wins_and_every_token_knows_its_place() {
        let tokens = tokenizer(false).encode("hello  <S>hello");
        // he+llo: -6.5, hell+o: -8
        assert_eq!(ids(&tokens), [3, 4, 7, 8, 9, 10, 11, 4, 1]);
        let spans: Vec<Range<usize>> = tokens.iter().map(|token| token.span.clone()).collect();
        assert_eq!(
            spans,
            [0..2, 2..5, 5..6, 7..8, 8..10, 10..11, 11..12, 12..15, 15..15]
        );
    }

    #[test]
    fn what_no_piece_covers_is_bytes_or_one_unknown_token() {
        assert_eq!(ids(&tokenizer(false).encode("héé")), [7, 10, 2, 1]);
        let bytes = tokenizer(true).encode("hé");
        assert_eq!(ids(&bytes), [7, 10, 13 + 0xC3, 13 + 0xA9, 1]);
        assert_eq!(bytes[2].span, 1..3);
    }

    #[test]
    fn a_cut_says_where_and_keeps_the_end_mark() {
        let tokenizer = tokenizer(false);
        let (tokens, cut) = tokenizer.within("hello hello", 4);
        assert_eq!((ids(&tokens), cut), (vec![3, 4, 3, 1], Some(8)));
        assert_eq!(tokenizer.within("hello hello", 5).1, None);
        assert_eq!(ids(&tokenizer.encode("")), [1]);
    }

    #[test]
    fn other_kinds_and_damage_are_named() {
        let refuse = |text: &str| Tokenizer::parse(text).err().unwrap();
        assert!(refuse("{").contains("EOF"));
        assert!(refuse(r#"{"model": {"type": "BPE", "vocab": []}}"#).contains("BPE"));
        assert!(refuse(r#"{"model": {"type": "Unigram", "vocab": [["a", 0]]}}"#).contains("</s>"));
    }

    proptest! {
        #[test]
        fn tokens_lie_in_order_within_any_text(text in "\\PC{0,30}") {
            for tokenizer in [tokenizer(true), tokenizer(false)] {
                let tokens = tokenizer.encode(&text);
                for token in &tokens {
                    prop_assert!(text.get(token.span.clone()).is_some());
                }
                for pair in tokens.windows(2) {
                    prop_assert!(pair[0].span.start <= pair[1].span.start);
                }
            }
        }
    }
}
