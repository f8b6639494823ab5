//! A question to a model that looks and listens, free of any wire format: `qwen` and `gemini` each encode it.

use super::ask::Complaint;
use serde_json::Value;
use std::sync::Arc;

/// Most characters of a refused answer that are sent back.
const MOST_ECHO: usize = 4000;

/// A question.
pub struct Question<'a> {
    /// Name and version of the prompt.
    pub prompt: &'a str,
    /// Its words.
    pub words: &'a str,
    /// Name of the schema and the JSON Schema.
    pub schema: (&'a str, Value),
    /// What is shown, played and said, in order.
    pub parts: Vec<Part>,
    /// Seed of the sampling.
    pub seed: u64,
    /// Most tokens that the answer may have.
    pub max_tokens: u64,
}

/// One piece of a question.
#[derive(Clone)]
pub enum Part {
    /// Words.
    Text(String),
    /// A clip with its sound.
    Video(Video),
    /// A WAV file.
    Sound {
        /// The file.
        wav: Arc<Vec<u8>>,
        /// Its length.
        seconds: f64,
    },
    /// A picture.
    Picture {
        /// PNG.
        png: Arc<Vec<u8>>,
        /// Width times height.
        pixels: u64,
    },
}

/// A clip with its sound, for those who hear the sound of a video and for those who do not.
#[derive(Clone)]
pub struct Video {
    /// The clip.
    pub mp4: Arc<Vec<u8>>,
    /// Its sound as a WAV file.
    pub wav: Arc<Vec<u8>>,
    /// Its length.
    pub seconds: f64,
    /// Pictures a second.
    pub fps: f64,
    /// Pictures in all.
    pub pictures: u64,
    /// Width times height.
    pub pixels: u64,
}

impl Question<'_> {
    /// Tokens of the words, at three bytes a token.
    pub(super) fn words(&self, complaint: Option<&Complaint>) -> u64 {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            _ => 0,
        });
        let echo = complaint.map_or(0, |_| MOST_ECHO);
        let bytes = self.words.len() + self.schema.1.to_string().len() + texts.sum::<usize>() + echo;
        (bytes as u64).div_ceil(3) + 64
    }
}

/// The refused answer, and what is said about it.
pub(super) fn again(complaint: &Complaint, said: &str) -> (String, String) {
    let said = said.chars().take(MOST_ECHO).collect();
    let words = format!(
        "That cannot be used: {}. Answer again, with the JSON object alone.",
        complaint.why.detail
    );
    (said, words)
}
