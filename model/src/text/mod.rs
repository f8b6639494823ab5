//! From a prompt to rows: the tokenizer, the UMT5 encoder, where descriptors and utterances lie among the tokens, and the
//! phonemes of what is said.
//!
//! Text comes in cleaned, as the backbone's own cleaning leaves it; spans are byte ranges of it.

mod charsmap;
mod phonemes;
mod pinyin;
mod spans;
mod stand_in;
mod tokenizer;

pub use phonemes::Vocabulary;
pub use spans::{Cut, Placed, Spans, find_spans};
pub use stand_in::{stand_in_tokenizer, stand_in_vocabulary};
pub use tokenizer::{Token, Tokenizer};

use crate::{Result, net::Umt5};
use candle_core::{DType, Tensor};

/// A text as the backbone reads it.
#[derive(Debug, Clone)]
pub struct EncodedText {
    /// `[n, dim]` in f32, the end mark's row included, pads cut off.
    pub rows: Tensor,
    /// The tokens, the end mark last.
    pub tokens: Vec<Token>,
    /// Where in the text the model's length ended, if it did not take all of it.
    pub cut: Option<usize>,
}

/// Tokenizer and encoder.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    encoder: Umt5,
    room: usize,
}

impl TextEncoder {
    /// `room` is the number of tokens the backbone takes, the end mark counted.
    pub fn new(tokenizer: Tokenizer, encoder: Umt5, room: usize) -> Self {
        Self {
            tokenizer,
            encoder,
            room,
        }
    }

    /// Encodes cleaned text; what is beyond the model's length is cut off, and told. Fails on a token that the encoder lacks.
    pub fn encode(&self, text: &str) -> Result<EncodedText> {
        let (tokens, cut) = self.tokenizer.within(text, self.room);
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let rows = self.encoder.forward(&ids)?.to_dtype(DType::F32)?;
        Ok(EncodedText { rows, tokens, cut })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}
