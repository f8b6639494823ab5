//! Whisper's tokens: byte-level BPE from `tokenizer.json` or `multilingual.tiktoken`
//! (openai/whisper `tokenizer.py`, openai/tiktoken).
//!
//! Whisper's token numbers are the order in which merges were learned, so they serve as merge ranks and
//! the merge list of `tokenizer.json` is not needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use regex::Regex;

use crate::Error;
use crate::text::pattern;

/// Language codes in the order of their tokens.
const LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg \
    lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd \
    gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue";
/// The codes of all languages that Whisper knows.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.split_whitespace()
}

/// Symbols that are written but not said.
const SYMBOLS: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ \
    ]] {{ }} ♪♪ ♪♪♪";
/// Musical signs: every token that begins one is left out.
const MUSIC: [&str; 7] = ["♩", "♪", "♫", "♬", "♭", "♮", "♯"];

static PIECES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"));

/// Numbers of the tokens that steer the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Special {
    /// End of text.
    pub eot: u32,
    /// Start of transcript.
    pub sot: u32,
    /// Transcribe in the language spoken.
    pub transcribe: u32,
    /// Translate to English.
    pub translate: u32,
    /// Start of a language-model prompt.
    pub sot_lm: u32,
    /// Start of the text before.
    pub sot_prev: u32,
    /// No speech in this window.
    pub no_speech: u32,
    /// No timestamps wanted.
    pub no_timestamps: u32,
    /// `<|0.00|>`; every further token is 20 ms later.
    pub timestamp_begin: u32,
    /// Token of each language code.
    pub languages: BTreeMap<String, u32>,
}

/// Text to tokens and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokens: Vec<Vec<u8>>,
    ranks: HashMap<Vec<u8>, u32>,
    special: Special,
}

impl Tokenizer {
    /// Reads `tokenizer.json` (by extension) or a tiktoken table for a network of `vocabulary` tokens.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Input`] naming what is missing.
    pub fn open(file: &Path, vocabulary: usize) -> Result<Self, Error> {
        let bytes = std::fs::read(file).map_err(|source| Error::Io {
            path: file.to_owned(),
            source,
        })?;
        let text = String::from_utf8_lossy(&bytes);
        if file.extension().is_some_and(|e| e == "json") {
            Self::from_json(&text)
        } else {
            Self::from_tiktoken(&text, vocabulary)
        }
    }

    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no byte-level vocabulary of Whisper's.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::Input(format!("tokenizer.json: {what}"));
        let json: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(&e.to_string()))?;
        let vocabulary = json["model"]["vocab"]
            .as_object()
            .ok_or_else(|| bad("no vocabulary"))?;
        let bytes = unicode_bytes();
        let mut named = HashMap::new();
        let mut entries: Vec<(u32, Vec<u8>)> = Vec::new();
        for (token, id) in vocabulary {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| bad("a token without a number"))?;
            let raw: Option<Vec<u8>> = token.chars().map(|c| bytes.get(&c).copied()).collect();
            entries.push((id, raw.ok_or_else(|| bad("a token that is not byte-level"))?));
        }
        for token in json["added_tokens"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let (Some(id), Some(name)) = (token["id"].as_u64(), token["content"].as_str()) else {
                continue;
            };
            named.insert(
                name.to_owned(),
                u32::try_from(id).map_err(|_| bad("a token number beyond 32 bits"))?,
            );
        }
        Self::build(entries, Special::from_names(&named)?)
    }

    /// From the text of a tiktoken table; special tokens follow it in Whisper's order.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no such table.
    pub fn from_tiktoken(text: &str, vocabulary: usize) -> Result<Self, Error> {
        let bad = |line: usize| Error::Input(format!("tiktoken table: line {} is no token", line + 1));
        let mut entries = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let (token, rank) = line.split_once(' ').ok_or_else(|| bad(i))?;
            // Padding is cut off first: the published table ends in `= 50256`, a token of no bytes.
            let token = STANDARD_NO_PAD
                .decode(token.trim_end_matches('='))
                .map_err(|_| bad(i))?;
            entries.push((rank.trim().parse().map_err(|_| bad(i))?, token));
        }
        let special = Special::after(entries.len(), vocabulary)?;
        Self::build(entries, special)
    }

    fn build(entries: Vec<(u32, Vec<u8>)>, special: Special) -> Result<Self, Error> {
        let mut tokens = vec![Vec::new(); special.eot as usize];
        let mut ranks = HashMap::with_capacity(entries.len());
        for (id, bytes) in entries {
            if let Some(slot) = tokens.get_mut(id as usize) {
                slot.clone_from(&bytes);
                ranks.insert(bytes, id);
            }
        }
        if (0..=255_u8).any(|byte| !ranks.contains_key(&[byte][..])) {
            return Err(Error::Input(
                "the tokenizer lacks tokens for single bytes: is this Whisper's?".into(),
            ));
        }
        Ok(Tokenizer {
            tokens,
            ranks,
            special,
        })
    }

    /// Numbers of the steering tokens.
    pub fn special(&self) -> &Special {
        &self.special
    }

    /// The tokens of a text, none of them special.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        pieces(text)
            .into_iter()
            .flat_map(|piece| self.merge(piece.as_bytes()))
            .collect()
    }

    /// Joins the neighbours of lowest rank until none is left.
    fn merge(&self, piece: &[u8]) -> Vec<u32> {
        let mut bounds: Vec<usize> = (0..=piece.len()).collect();
        let rank = |a: usize, b: usize| self.ranks.get(&piece[a..b]).copied();
        loop {
            let pairs = bounds.windows(3).enumerate();
            let best = pairs
                .filter_map(|(i, w)| rank(w[0], w[2]).map(|r| (r, i + 1)))
                .min();
            match best {
                Some((_, at)) => bounds.remove(at),
                None => break,
            };
        }
        bounds.windows(2).filter_map(|w| rank(w[0], w[1])).collect()
    }

    /// The text of tokens; special tokens and timestamps are left out, broken UTF-8 is replaced.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let known = tokens.iter().filter_map(|t| self.tokens.get(*t as usize));
        String::from_utf8_lossy(&known.flatten().copied().collect::<Vec<u8>>()).into_owned()
    }

    /// The text of tokens with timestamps as `<|1.50|>`.
    pub fn decode_with_timestamps(&self, tokens: &[u32]) -> String {
        let begin = self.special.timestamp_begin;
        let mut out = String::new();
        for group in tokens.chunk_by(|a, b| *a < begin && *b < begin) {
            match group {
                [t] if *t >= begin => out.push_str(&format!("<|{:.2}|>", f64::from(t - begin) * 0.02)),
                text => out.push_str(&self.decode(text)),
            }
        }
        out
    }

    /// Tokens of things that are written but not said: brackets, speaker dashes, music signs.
    pub fn non_speech(&self) -> Vec<u32> {
        let first = |text: &str| self.encode(text).first().copied();
        let mut out: BTreeSet<u32> = [" -", " '"].into_iter().filter_map(first).collect();
        for symbol in SYMBOLS.split_whitespace().chain(MUSIC) {
            for text in [symbol.to_owned(), format!(" {symbol}")] {
                let tokens = self.encode(&text);
                if tokens.len() == 1 || MUSIC.contains(&symbol) {
                    out.extend(tokens.first());
                }
            }
        }
        out.into_iter().collect()
    }
}

impl Special {
    fn from_names(named: &HashMap<String, u32>) -> Result<Self, Error> {
        let find = |names: &[&str]| {
            let found = names
                .iter()
                .find_map(|name| named.get(&format!("<|{name}|>")).copied());
            found.ok_or_else(|| Error::Input(format!("the tokenizer has no token <|{}|>", names[0])))
        };
        let no_timestamps = find(&["notimestamps"])?;
        let codes = languages();
        let languages = codes
            .filter_map(|c| named.get(&format!("<|{c}|>")).map(|id| (c.to_owned(), *id)))
            .collect();
        Ok(Special {
            eot: find(&["endoftext"])?,
            sot: find(&["startoftranscript"])?,
            transcribe: find(&["transcribe"])?,
            translate: find(&["translate"])?,
            sot_lm: find(&["startoflm"])?,
            sot_prev: find(&["startofprev"])?,
            no_speech: find(&["nospeech", "nocaptions"])?,
            no_timestamps,
            timestamp_begin: no_timestamps + 1,
            languages,
        })
    }

    /// Special tokens behind a table of `base` tokens: 8 that steer, 1501 timestamps, the rest languages.
    fn after(base: usize, vocabulary: usize) -> Result<Self, Error> {
        let languages = vocabulary
            .checked_sub(base + 8 + 1501)
            .filter(|n| (1..=100).contains(n));
        let count = languages.ok_or_else(|| {
            Error::Input(format!(
                "a vocabulary of {vocabulary} tokens does not fit a table of {base} tokens"
            ))
        })?;
        let id = |offset: usize| (base + offset) as u32;
        let codes = LANGUAGES.split_whitespace().take(count).enumerate();
        Ok(Special {
            eot: id(0),
            sot: id(1),
            languages: codes.map(|(i, code)| (code.to_owned(), id(2 + i))).collect(),
            translate: id(2 + count),
            transcribe: id(3 + count),
            sot_lm: id(4 + count),
            sot_prev: id(5 + count),
            no_speech: id(6 + count),
            no_timestamps: id(7 + count),
            timestamp_begin: id(8 + count),
        })
    }
}

/// GPT-2's cut into words: the last of several spaces belongs to the word that follows.
fn pieces(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = PIECES.find_at(text, at) {
        let mut end = found.end();
        let piece = found.as_str();
        if end < text.len() && piece.chars().all(char::is_whitespace) && piece.chars().count() > 1 {
            end -= piece.chars().next_back().map_or(0, char::len_utf8);
        }
        out.push(&text[found.start()..end]);
        at = end;
    }
    out
}

/// GPT-2's printable stand-ins for bytes; CLIP has the same.
pub(crate) fn unicode_bytes() -> HashMap<char, u8> {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let moved = (0..=255_u8).filter(|b| !plain(*b)).enumerate();
    let moved = moved.filter_map(|(i, b)| char::from_u32(256 + i as u32).map(|c| (c, b)));
    (0..=255_u8)
        .filter(|b| plain(*b))
        .map(|b| (char::from(b), b))
        .chain(moved)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::tensors;
    use super::*;
    use crate::runtime::testing::model;

    fn large() -> Option<Tokenizer> {
        let table = tensors("whisper/multilingual.tiktoken")?;
        Some(Tokenizer::from_tiktoken(&String::from_utf8(table).unwrap(), 51866).unwrap())
    }

    fn golden() -> serde_json::Value {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/whisper/tokenizer.json"
        );
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn ids(value: &serde_json::Value) -> Vec<u32> {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn the_large_table_gives_the_reference_numbers() {
        let Some(tokenizer) = large() else { return };
        let (golden, special) = (golden(), tokenizer.special());
        for (name, id) in [
            ("eot", special.eot),
            ("sot", special.sot),
            ("transcribe", special.transcribe),
            ("translate", special.translate),
            ("sot_lm", special.sot_lm),
            ("sot_prev", special.sot_prev),
            ("no_speech", special.no_speech),
            ("no_timestamps", special.no_timestamps),
            ("timestamp_begin", special.timestamp_begin),
        ] {
            assert_eq!(golden[name], id, "{name}");
        }
        for (code, id) in golden["language_tokens"].as_object().unwrap() {
            assert_eq!(*id, special.languages[code], "{code}");
        }
        assert_eq!(tokenizer.non_speech(), ids(&golden["non_speech_tokens"]));
        for case in golden["encode"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text), ids(&case["ids"]), "{text:?}");
            assert_eq!(tokenizer.decode(&ids(&case["ids"])), text);
        }
        let stamped = &golden["decode_with_timestamps_example"];
        assert_eq!(
            tokenizer.decode_with_timestamps(&ids(&stamped["ids"])),
            stamped["text"].as_str().unwrap()
        );
    }

    #[test]
    fn both_files_hold_the_same_tokens() {
        let (Some(table), Some(file)) = (large(), model("whisper_base_q8", "tokenizer.json")) else {
            return;
        };
        let json = Tokenizer::open(&file, 51865).unwrap();
        assert_eq!(json.special().timestamp_begin, 50364);
        assert_eq!(json.special().no_speech, 50362);
        assert_eq!(json.special().languages.len(), 99);
        for text in [
            " And so, my fellow Americans",
            "今天天气很好",
            " a  b\n",
            " don't 3.14 $5",
        ] {
            assert_eq!(json.encode(text), table.encode(text));
        }
        assert_eq!(json.non_speech(), table.non_speech());
    }

    #[test]
    fn wrong_files_are_errors() {
        assert!(Tokenizer::from_json("{}").is_err());
        assert!(Tokenizer::from_tiktoken("abc", 51866).is_err());
        assert!(Tokenizer::from_tiktoken("IQ== 0\n", 51866).is_err());
        let said = |table: &str| Tokenizer::from_tiktoken(table, 51866).unwrap_err().to_string();
        assert!(said("I*== 0\n").contains("line 1 is no token"));
        assert!(said("IQ== 0\n= 1\n*= 2\n").contains("line 3 is no token"));
        assert_eq!(unicode_bytes().len(), 256);
    }

    #[test]
    fn the_last_space_goes_with_the_word() {
        assert_eq!(pieces(" a  b\n"), [" a", " ", " b", "\n"]);
        assert_eq!(pieces("it's 3,5"), ["it", "'s", " 3", ",", "5"]);
    }

    proptest! {
        #[test]
        fn pieces_lose_nothing(text in "\\PC{0,12}[ \n\t]{0,4}\\PC{0,12}") {
            prop_assert_eq!(pieces(&text).concat(), text);
        }
    }
}
