//! The tokenizer against Hugging Face's own reader of the same file: ids and places.
//!
//! `OMNI_TOKENIZER=tokenizer.json` adds another one, such as that of `google/umt5-xxl`.

use omni_model::text::{Tokenizer, stand_in_tokenizer};
use proptest::prelude::*;

const TEXTS: &[&str] = &[
    "A man <sub1> says, <S>Hello there, how are you?<E>",
    "The young woman with the red hat looks at the camera. <AUDCAP>Rain on a roof.<ENDAUDCAP>",
    "don't well-known 3.5% (a) [b] {c} #tag @you ~x",
    "café naïve Straße señor",
    "你好, 世界。 こんにちは ﾊﾛｰ ①②",
    "emoji 🙂 and 👩‍👩‍👧 end",
    "ﬁne ＡＢＣ ½ ™ x² Ⅳ",
    "a",
];

/// Ids and places by the other reader, without marks it may add.
fn theirs(other: &tokenizers::Tokenizer, text: &str) -> Vec<(u32, (usize, usize))> {
    let encoding = other.encode(text, false).unwrap();
    let pairs = encoding.get_ids().iter().copied();
    pairs.zip(encoding.get_offsets().iter().copied()).collect()
}

fn ours(tokenizer: &Tokenizer, text: &str) -> Vec<(u32, (usize, usize))> {
    let mut tokens = tokenizer.encode(text);
    tokens.pop();
    tokens
        .into_iter()
        .map(|token| (token.id, (token.span.start, token.span.end)))
        .collect()
}

fn ids(pairs: &[(u32, (usize, usize))]) -> Vec<u32> {
    pairs.iter().map(|(id, _)| *id).collect()
}

#[test]
fn the_stand_in_is_read_as_hugging_face_reads_it() {
    let json = stand_in_tokenizer();
    let (own, other) = (
        Tokenizer::parse(&json).unwrap(),
        tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap(),
    );
    for text in TEXTS {
        assert_eq!(ids(&ours(&own, text)), ids(&theirs(&other, text)), "{text}");
    }
    proptest!(ProptestConfig::with_cases(200), |(words in proptest::collection::vec("[a-zA-Z<>.,'é你0-9-]{1,9}", 1..12))| {
        let text = words.join(" ");
        prop_assert_eq!(ids(&ours(&own, &text)), ids(&theirs(&other, &text)), "{}", text);
    });
}

#[test]
fn tokens_of_whole_pieces_lie_where_hugging_face_says() {
    let json = stand_in_tokenizer();
    let (own, other) = (
        Tokenizer::parse(&json).unwrap(),
        tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap(),
    );
    let text = "A man <sub1> says, <S>Hello there.<E>";
    for ((id, own), (_, other)) in ours(&own, text).iter().zip(theirs(&other, text)) {
        // where a piece begins with a space, the other reader counts that space in, or not
        let trimmed = |(start, end): (usize, usize)| {
            let piece = &text[start..end];
            (start + piece.len() - piece.trim_start().len(), end)
        };
        assert_eq!(trimmed(*own), trimmed(other), "token {id}");
    }
}

#[test]
fn a_real_tokenizer_is_read_as_hugging_face_reads_it() {
    let Some(path) = std::env::var_os("OMNI_TOKENIZER") else {
        println!("skipped: OMNI_TOKENIZER names no tokenizer.json");
        return;
    };
    let own = Tokenizer::open(path.as_ref()).unwrap();
    let other = tokenizers::Tokenizer::from_file(&path).unwrap();
    for text in TEXTS {
        assert_eq!(ids(&ours(&own, text)), ids(&theirs(&other, text)), "{text}");
    }
}
