//! Masked TTS-to-prompt cross-attention (paper, section 4): phonemes reach the text tokens between `<S>` and `<E>` of their
//! own utterance, and no others. The mask is hard: other rows never enter the computation, so they stay as they are to the
//! last bit, whatever the weights.

use super::{
    attention::{Attention, Sizes},
    layers::LayerNorm,
    positions::point_rope,
    sa_mrope::{Points, Prompt},
};
use crate::{Error, Result, weights::Weights};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

const EPS: f64 = 1e-6;

/// Sizes of the layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtpCaConfig {
    /// Width of a text row.
    pub text_dim: usize,
    /// Width of a phoneme.
    pub tts_dim: usize,
    /// Width inside.
    pub inner: usize,
    /// Heads.
    pub heads: usize,
    /// Whether phonemes reach the text of their own utterance alone. False is for ablations: every text row sees all phonemes.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub masked: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl MtpCaConfig {
    /// For Ovi: 9.5 million parameters.
    pub fn paper() -> Self {
        Self {
            text_dim: 4096,
            tts_dim: 512,
            inner: 1024,
            heads: 8,
            masked: true,
        }
    }

    /// For tests.
    pub fn tiny() -> Self {
        Self {
            text_dim: 96,
            tts_dim: 32,
            inner: 64,
            heads: 4,
            masked: true,
        }
    }
}

/// The layer.
pub struct MtpCa {
    norm: LayerNorm,
    attention: Attention,
    head_size: usize,
    masked: bool,
}

impl MtpCa {
    /// Reads `norm` and `attn` of the place `weights` (`mtp_ca`).
    pub fn new(config: &MtpCaConfig, weights: &Weights) -> Result<Self> {
        if config.heads == 0 || !config.inner.is_multiple_of(2 * config.heads) {
            return Err(Error::Config(format!(
                "MTP-CA of width {} in {} heads",
                config.inner, config.heads
            )));
        }
        let sizes = Sizes {
            query: config.text_dim,
            key: config.tts_dim,
            inner: config.inner,
            heads: config.heads,
            norm: true,
            eps: EPS,
        };
        Ok(Self {
            norm: LayerNorm::new(&weights.pp("norm"), config.text_dim, EPS)?,
            attention: Attention::sized(sizes, &weights.pp("attn"))?,
            head_size: config.inner / config.heads,
            masked: config.masked,
        })
    }

    /// Adds phonemes `[.., tts_dim]` to their text rows: text `[n, text_dim]`. Fails if prompt, points and tensors do not fit.
    pub fn forward(&self, text: &Tensor, tts: &Tensor, prompt: &Prompt, points: &Points) -> Result<Tensor> {
        if text.dim(0)? != prompt.text || tts.dim(0)? != points.tts.len() || points.text.len() != prompt.text
        {
            return Err(Error::Input(
                "text, phonemes and their points do not fit".to_owned(),
            ));
        }
        if !self.masked {
            return self.utterance(text, tts, (&points.text, &points.tts));
        }
        let (mut parts, mut done, mut first) = (Vec::new(), 0, 0);
        for utterance in &prompt.utterances {
            let (span, count) = (utterance.span.clone(), utterance.phonemes);
            if count > 0 {
                parts.push(text.narrow(0, done, span.start - done)?);
                let rows = text.narrow(0, span.start, span.len())?;
                let phonemes = tts.narrow(0, first, count)?;
                let places = (&points.text[span.clone()], &points.tts[first..first + count]);
                parts.push(self.utterance(&rows, &phonemes, places)?);
                done = span.end;
            }
            first += count;
        }
        parts.push(text.narrow(0, done, prompt.text - done)?);
        parts.retain(|part| part.dims()[0] > 0);
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn utterance(
        &self,
        rows: &Tensor,
        tts: &Tensor,
        (text, phonemes): (&[[f64; 3]], &[[f64; 3]]),
    ) -> Result<Tensor> {
        let rope = |points: &[[f64; 3]]| point_rope(points, self.head_size, rows.device());
        let q = self
            .attention
            .queries(&self.norm.forward(rows)?, Some(&rope(text)?))?;
        let (k, v) = self.attention.keys_values(tts, Some(&rope(phonemes)?))?;
        let y = self.attention.attend(&q, (&k, &v), tts.dim(0)?)?;
        Ok((rows + self.attention.output(&y)?)?)
    }
}
