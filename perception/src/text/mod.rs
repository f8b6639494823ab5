//! Words as scores see them: Whisper's two normalisers, word and character error rates.
//!
//! Ports of openai/whisper `normalizers/{basic,english}.py` and of jiwer's counting. No networks and no
//! tokens here: token text is in [`crate::audio::tokenizer`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

mod basic;
mod english;
mod numbers;
mod python;
mod seedtts;
mod wer;

pub use basic::{BasicNormalizer, graphemes};
pub use english::EnglishNormalizer;
pub(crate) use python::pattern;
pub use seedtts::{ASCII_PUNCTUATION, HANZI_PUNCTUATION, score_seedtts};
pub use wer::{Errors, Scored, counts_characters, edits, has_words, jiwer_chars, jiwer_words, score};
