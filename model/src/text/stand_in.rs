//! A small tokenizer and vocabulary of our own, for checkpoints of random weights: the real ones come with the real networks.

use super::pinyin::syllables;

/// Common words; the more frequent first.
const WORDS: &str = include_str!("words.txt");

/// `tokenizer.json` of the same kind as UMT5's: marks, bytes, printable characters, endings and common words. Text in any
/// script can be said in it, other than English in bytes.
pub fn stand_in_tokenizer() -> String {
    let mut vocab: Vec<(String, f64)> = ["<pad>", "</s>", "<unk>"]
        .map(|mark| (mark.to_owned(), 0.0))
        .to_vec();
    vocab.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), -16.0)));
    vocab.push(("\u{2581}".to_owned(), -5.0));
    vocab.extend((b'!'..=b'~').map(|c| (char::from(c).to_string(), -8.0)));
    let rank = |index: usize| -4.0 - (1.0 + index as f64).ln();
    for (index, word) in WORDS.split_whitespace().enumerate() {
        match word.strip_prefix('-') {
            Some(ending) => vocab.push((ending.to_owned(), -9.0)),
            None => {
                vocab.push((format!("\u{2581}{word}"), rank(index)));
                let mut letters = word.chars();
                if let Some(first) = letters.next() {
                    let capital = format!("\u{2581}{}{}", first.to_ascii_uppercase(), letters.as_str());
                    vocab.push((capital, rank(index) - 1.0));
                }
            }
        }
    }
    // a piece stands once, where it stood first
    let mut seen = std::collections::HashSet::new();
    vocab.retain(|(piece, _)| seen.insert(piece.clone()));
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null, "decoder": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": true, "vocab": vocab},
    })
    .to_string()
}

/// A vocabulary of F5-TTS's kind: the printable characters of ASCII, the space first, Chinese marks, and the syllables of
/// pinyin.
pub fn stand_in_vocabulary() -> String {
    let characters = (' '..='~').chain("、。，！？：；…—《》（）".chars());
    let all = characters.map(String::from).chain(syllables().map(str::to_owned));
    all.map(|token| token + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Tokenizer, Vocabulary};
    use super::*;

    #[test]
    fn a_structured_prompt_takes_few_tokens_and_any_script_has_some() {
        let tokenizer = Tokenizer::parse(&stand_in_tokenizer()).unwrap();
        let prompt = "The man <sub1> looks at the camera and says, <S>I have seen it with my own eyes.<E>";
        let tokens = tokenizer.encode(prompt);
        assert!(tokens.len() * 2 < prompt.len(), "{}", tokens.len());
        let other = tokenizer.encode("你好, café");
        assert!(other.iter().all(|token| token.id != 2));
        assert_eq!(
            Vocabulary::parse(&stand_in_vocabulary()).unwrap().tokens("a b"),
            [65, 0, 66]
        );
    }
}
