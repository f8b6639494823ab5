//! What a stream of the backbone looks like, as the reference's configuration files say it.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which of the two kinds of tokens a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// Latent frames of height and width.
    Video,
    /// Latents in a row.
    Audio,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamConfig {
    /// `ti2v` or `t2v` for video, `t2a` for audio.
    pub model_type: String,
    /// Latent frames, rows and columns of a video token; [1] for audio.
    pub patch_size: Vec<usize>,
    /// Width of a token.
    pub dim: usize,
    /// Inner width of the feed-forward layers.
    pub ffn_dim: usize,
    /// Heads; the head size is `dim / num_heads`.
    pub num_heads: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Latent channels taken.
    pub in_dim: usize,
    /// Latent channels given.
    pub out_dim: usize,
    /// Width of the sinusoid of a time.
    pub freq_dim: usize,
    /// Width of a text row.
    pub text_dim: usize,
    /// Text rows, filled up with zeros.
    pub text_len: usize,
    /// Of every norm of the stream.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Whether queries and keys are normed over the whole width.
    #[serde(default = "default_true")]
    pub qk_norm: bool,
    /// Whether cross-attention has a norm of its own before it.
    #[serde(default = "default_true")]
    pub cross_attn_norm: bool,
    /// Must be (-1, -1): full attention.
    #[serde(default = "default_window")]
    pub window_size: [i64; 2],
    /// Factor on the rotary frequencies of audio.
    #[serde(default = "default_scaling")]
    pub temporal_rope_scaling_factor: f64,
}

fn default_eps() -> f64 {
    1e-6
}

fn default_true() -> bool {
    true
}

fn default_window() -> [i64; 2] {
    [-1, -1]
}

fn default_scaling() -> f64 {
    1.0
}

impl StreamConfig {
    /// The released video stream.
    pub fn ovi_video() -> Self {
        Self {
            model_type: "ti2v".to_owned(),
            patch_size: vec![1, 2, 2],
            dim: 3072,
            ffn_dim: 14336,
            num_heads: 24,
            num_layers: 30,
            in_dim: 48,
            out_dim: 48,
            freq_dim: 256,
            text_dim: 4096,
            text_len: 512,
            eps: default_eps(),
            qk_norm: true,
            cross_attn_norm: true,
            window_size: default_window(),
            temporal_rope_scaling_factor: 1.0,
        }
    }

    /// The released audio stream.
    pub fn ovi_audio() -> Self {
        Self {
            model_type: "t2a".to_owned(),
            patch_size: vec![1],
            in_dim: 20,
            out_dim: 20,
            temporal_rope_scaling_factor: 0.19676,
            ..Self::ovi_video()
        }
    }

    /// A few thousand weights, for tests.
    fn shrunk(self) -> Self {
        Self {
            dim: 64,
            ffn_dim: 176,
            num_heads: 4,
            num_layers: 3,
            freq_dim: 64,
            text_dim: 96,
            text_len: 16,
            ..self
        }
    }

    /// The kind of tokens. Fails on a model type that is neither.
    pub fn modality(&self) -> Result<Modality> {
        match self.model_type.as_str() {
            "ti2v" | "t2v" => Ok(Modality::Video),
            "t2a" => Ok(Modality::Audio),
            other => Err(Error::Config(format!(
                "model_type `{other}` is none of ti2v, t2v, t2a"
            ))),
        }
    }

    /// Width of a head.
    pub fn head_size(&self) -> usize {
        self.dim / self.num_heads
    }

    /// Hidden width of the audio patch embedding: 8/3 of the width, rounded up to whole 256.
    pub fn audio_hidden(&self) -> usize {
        (2 * (4 * self.dim) / 3).next_multiple_of(256)
    }

    /// Fails on what no network can have.
    pub fn check(&self) -> Result<()> {
        let axes = match self.modality()? {
            Modality::Video => 3,
            Modality::Audio => 1,
        };
        let refuse = |why: String| Err(Error::Config(format!("{} stream: {why}", self.model_type)));
        let counts = [
            self.dim,
            self.ffn_dim,
            self.num_heads,
            self.in_dim,
            self.out_dim,
            self.text_dim,
            self.text_len,
        ];
        if counts.contains(&0) || self.patch_size.contains(&0) {
            return refuse("a size is zero".to_owned());
        }
        if !self.dim.is_multiple_of(2 * self.num_heads) {
            return refuse(format!(
                "width {} is not {} heads of even size",
                self.dim, self.num_heads
            ));
        }
        if !self.freq_dim.is_multiple_of(2) || self.freq_dim == 0 {
            return refuse(format!("freq_dim {} is not even", self.freq_dim));
        }
        if self.patch_size.len() != axes || (axes == 1 && self.patch_size != [1]) {
            return refuse(format!("patch_size {:?}", self.patch_size));
        }
        if self.window_size != [-1, -1] {
            return refuse(format!(
                "window_size {:?}: only full attention is known",
                self.window_size
            ));
        }
        Ok(())
    }
}

/// Both streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FusionConfig {
    /// The video stream.
    pub video: StreamConfig,
    /// The audio stream.
    pub audio: StreamConfig,
}

impl FusionConfig {
    /// The released model: 11.7 billion parameters.
    pub fn ovi() -> Self {
        Self {
            video: StreamConfig::ovi_video(),
            audio: StreamConfig::ovi_audio(),
        }
    }

    /// The same form in 0.8 million parameters, for tests.
    pub fn tiny() -> Self {
        let Self { video, audio } = Self::ovi();
        Self {
            video: video.shrunk(),
            audio: audio.shrunk(),
        }
    }

    /// Fails on streams that cannot be fused.
    pub fn check(&self) -> Result<()> {
        self.video.check()?;
        self.audio.check()?;
        let (video, audio) = (&self.video, &self.audio);
        if video.modality()? != Modality::Video || audio.modality()? != Modality::Audio {
            return Err(Error::Config(
                "the video and audio streams are swapped".to_owned(),
            ));
        }
        if video.dim != audio.dim || video.num_heads != audio.num_heads {
            return Err(Error::Config("the streams differ in width or heads".to_owned()));
        }
        if audio.num_layers == 0 || !video.num_layers.is_multiple_of(audio.num_layers) {
            let (v, a) = (video.num_layers, audio.num_layers);
            return Err(Error::Config(format!(
                "{v} video blocks are no multiple of {a} audio blocks"
            )));
        }
        Ok(())
    }
}
