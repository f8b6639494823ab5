//! A clip as the trainer takes it: latents, text rows and phonemes, made beforehand by `omni encode`.

use crate::{
    Blob, Record,
    column::{Column, boolean, integer, record, text},
};
use serde::{Deserialize, Serialize};

/// One sample of training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latents {
    /// The clip.
    pub clip: String,
    /// Whether it has pictures; without, its sound alone is trained on.
    pub video: bool,
    /// Pixels of the pictures that were encoded; 0 without pictures.
    pub width: i64,
    /// Likewise.
    pub height: i64,
    /// Latent frames; 0 without pictures.
    pub frames: i64,
    /// Audio latents.
    pub audio: i64,
    /// Text rows, the end mark's included.
    pub text: i64,
    /// Number of people that the prompt describes.
    pub subjects: i64,
    /// Utterances of the prompt.
    pub utterances: i64,
    /// Whether a picture or a voice is taken from the clip itself.
    pub own_reference: bool,
    /// The codec of the latents: `linear` or `released`.
    pub codec: String,
    /// All tensors (safetensors).
    pub tensors: Blob,
}

impl Record for Latents {
    const NAME: &'static str = "latents";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        vec![
            text("clip", "key of the clip"),
            boolean("video", "whether it has pictures"),
            integer("width", "pixels of the encoded pictures; 0 without pictures"),
            integer("height", "pixels of the encoded pictures; 0 without pictures"),
            integer("frames", "latent frames; 0 without pictures"),
            integer("audio", "audio latents"),
            integer("text", "text rows, the end mark's included"),
            integer("subjects", "number of people that the prompt describes"),
            integer("utterances", "utterances of the prompt"),
            boolean(
                "own_reference",
                "whether a picture or a voice is taken from the clip itself",
            ),
            text("codec", "codec of the latents: linear or released"),
            record("tensors", Blob::columns(), "all tensors, safetensors"),
        ]
    }

    fn blobs_mut(&mut self) -> Vec<&mut Blob> {
        vec![&mut self.tensors]
    }
}
