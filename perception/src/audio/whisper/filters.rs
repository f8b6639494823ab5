//! Which token may come next (openai/whisper `decoding.py`: `SuppressBlank`, `SuppressTokens`,
//! `ApplyTimestampRules`).

use crate::audio::tokenizer::{Special, Tokenizer};

/// Latest first timestamp: 1 s.
const MAX_INITIAL: u32 = 50;

/// The rules of one decoding.
#[derive(Debug, Clone)]
pub struct LogitRules {
    special: Special,
    suppressed: Vec<u32>,
    blank: Vec<u32>,
    timestamps: bool,
}

impl LogitRules {
    /// Rules for text with or without timestamps.
    pub fn new(tokenizer: &Tokenizer, timestamps: bool) -> Self {
        let special = tokenizer.special().clone();
        let mut suppressed = tokenizer.non_speech();
        let Special {
            transcribe,
            translate,
            sot,
            sot_prev,
            sot_lm,
            no_speech,
            ..
        } = special;
        suppressed.extend([transcribe, translate, sot, sot_prev, sot_lm, no_speech]);
        let mut blank = tokenizer.encode(" ");
        blank.push(special.eot);
        LogitRules {
            special,
            suppressed,
            blank,
            timestamps,
        }
    }

    /// Sets the logits of tokens that may not follow `so_far` (the tokens after the prompt) to minus infinity.
    pub fn apply(&self, logits: &mut [f32], so_far: &[u32]) {
        let mut forbid = |tokens: &[u32]| {
            for token in tokens {
                if let Some(logit) = logits.get_mut(*token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        };
        if so_far.is_empty() {
            forbid(&self.blank);
        }
        forbid(&self.suppressed);
        forbid(&[self.special.no_timestamps]);
        let begin = (self.special.timestamp_begin as usize).min(logits.len());
        if self.timestamps {
            self.apply_timestamps(logits, so_far, begin);
        } else {
            logits[begin..].fill(f32::NEG_INFINITY);
        }
    }

    fn apply_timestamps(&self, logits: &mut [f32], so_far: &[u32], begin: usize) {
        let is_time = |token: &u32| *token as usize >= begin;
        let last = so_far.last().is_some_and(is_time);
        let before = so_far.len() < 2 || is_time(&so_far[so_far.len() - 2]);
        match (last, before) {
            (true, true) => logits[begin..].fill(f32::NEG_INFINITY),
            (true, false) => logits[..(self.special.eot as usize).min(begin)].fill(f32::NEG_INFINITY),
            _ => {}
        }
        if let Some(latest) = so_far.iter().rev().find(|t| is_time(t)) {
            // Time goes on; only the end of one segment may be the start of the next.
            let first = *latest as usize + usize::from(!last || before);
            let first = first.min(logits.len());
            logits[begin..first].fill(f32::NEG_INFINITY);
        }
        if so_far.is_empty() {
            logits[..begin].fill(f32::NEG_INFINITY);
            let after = (begin + MAX_INITIAL as usize + 1).min(logits.len());
            logits[after..].fill(f32::NEG_INFINITY);
        }
        let top_text = logits[..begin].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if log_sum(&logits[begin..]) > top_text {
            logits[..begin].fill(f32::NEG_INFINITY);
        }
    }
}

/// Logarithm of the sum of exponentials.
pub fn log_sum(logits: &[f32]) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !top.is_finite() {
        return top;
    }
    let sum: f64 = logits.iter().map(|x| f64::from(x - top).exp()).sum();
    top + sum.ln() as f32
}

/// The token with the largest logit (the first of equals); `None` when none is allowed.
pub fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = None;
    for (token, logit) in logits
        .iter()
        .enumerate()
        .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
    {
        if best.is_none_or(|(_, top)| *logit > top) {
            best = Some((token as u32, *logit));
        }
    }
    best.map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::testing::tensors;

    fn half(bits: u16) -> f32 {
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
        match exponent {
            0 => sign * fraction * 2.0_f32.powi(-24),
            31 => sign * f32::INFINITY,
            _ => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
        }
    }

    #[test]
    fn filtered_logits_are_those_of_the_reference() {
        let (Some(file), Some(table)) = (
            tensors("whisper/decoder_logits.safetensors"),
            tensors("whisper/multilingual.tiktoken"),
        ) else {
            return;
        };
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        let bytes = file.tensor("logits_f16").unwrap().data().to_vec();
        let all: Vec<f32> = bytes
            .chunks_exact(2)
            .map(|b| half(u16::from_le_bytes([b[0], b[1]])))
            .collect();
        let tokenizer = Tokenizer::from_tiktoken(&String::from_utf8(table).unwrap(), 51866).unwrap();
        let rules = LogitRules::new(&tokenizer, true);
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/whisper/tokenizer.json"
        );
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = golden["logit_filter_cases"].as_array().unwrap();
        for case in cases {
            let row = case["seed_index"].as_u64().unwrap() as usize;
            let mut logits = all[row * 51866..][..51866].to_vec();
            let begin = tokenizer.special().timestamp_begin as usize;
            let bias = case["timestamp_bias"].as_f64().unwrap() as f32;
            logits[begin..].iter_mut().for_each(|x| *x += bias);
            let prefix: Vec<u32> = serde_json::from_value(case["prefix"].clone()).unwrap();
            rules.apply(&mut logits, &prefix);
            let eot = tokenizer.special().eot as usize;
            let allowed = |part: &[f32]| part.iter().filter(|x| x.is_finite()).count();
            assert_eq!(
                argmax(&logits),
                case["argmax"].as_u64().map(|x| x as u32),
                "{case}"
            );
            assert_eq!(
                allowed(&logits),
                case["allowed_count"].as_u64().unwrap() as usize,
                "{case}"
            );
            assert_eq!(
                allowed(&logits[..eot]),
                case["allowed_text_count"].as_u64().unwrap() as usize,
                "{case}"
            );
            assert_eq!(
                logits[eot].is_finite(),
                case["eot_allowed"].as_bool().unwrap(),
                "{case}"
            );
            let times: Vec<usize> = (0..1501).filter(|t| logits[begin + t].is_finite()).collect();
            let mut shown: Vec<usize> = times.iter().copied().take(3).collect();
            shown.push(times.len());
            assert_eq!(serde_json::json!(shown), case["timestamps_allowed"], "{case}");
        }
        assert_eq!(cases.len(), 7);
    }

    #[test]
    fn sums_and_maxima_of_nothing() {
        assert_eq!(argmax(&[f32::NEG_INFINITY; 2]), None);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(log_sum(&[]), f32::NEG_INFINITY);
        assert!((log_sum(&[0.0, 0.0]) - 2.0_f32.ln()).abs() < 1e-6);
    }
}
