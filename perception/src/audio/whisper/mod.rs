//! What is said: Whisper through ONNX Runtime (openai/whisper `decoding.py`, `transcribe.py`).
//!
//! Greedy, temperature 0, no prompt from earlier text, at most 224 new tokens per window. All sizes come
//! from the files, so every Whisper from tiny to large-v3 runs with this code.

mod decoder;
mod filters;
mod segments;

use std::path::{Path, PathBuf};

use self::decoder::Decoding;
pub use self::filters::{LogitRules, argmax, log_sum};
pub use self::segments::{Piece, compression_ratio, cut, loop_start};
use super::mel::{LogMel, WINDOW, WINDOW_FRAMES};
use super::tokenizer::Tokenizer;
use super::{RATE, seconds};
use crate::runtime::{Expect, Feed, Kind, Runtime, Session, Tensor, Value};
use crate::{Error, Network};

/// New tokens per window.
const MOST_TOKENS: usize = 224;
/// A window is silent when the no-speech probability exceeds this and the text is unlikely.
const NO_SPEECH: f32 = 0.6;
/// Mean log-probability below which text is unlikely.
const UNLIKELY: f32 = -1.0;
/// Less sound than this is not heard, in samples (50 ms).
const SHORTEST: usize = 800;

/// The files of a Whisper export with a merged decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhisperFiles {
    /// Encoder graph.
    pub encoder: PathBuf,
    /// Merged decoder graph (`use_cache_branch`).
    pub decoder: PathBuf,
    /// `tokenizer.json` or `multilingual.tiktoken`.
    pub tokenizer: PathBuf,
    /// `config.json` (`num_mel_bins`, `vocab_size`).
    pub config: PathBuf,
}

impl WhisperFiles {
    /// The files of a network that was found, told by their names: `encoder*`, `decoder*`, a tokenizer, `config.json`.
    pub fn of(found: &crate::registry::Located) -> WhisperFiles {
        let named = |part: &str| {
            let mut names = found.spec.files.iter().map(|file| file.name.as_str());
            found.file(names.find(|name| name.contains(part)).unwrap_or(part))
        };
        WhisperFiles {
            encoder: named("encoder"),
            decoder: named("decoder"),
            tokenizer: named("tokenizer"),
            config: found.file("config.json"),
        }
    }
}

/// What to do with a wave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TranscribeOptions {
    /// Whisper's code such as `en`; `None` listens to the first window.
    pub language: Option<String>,
    /// Times of segments; without them each window of 30 s is one segment.
    pub timestamps: bool,
}

/// Text with its time.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TimedText {
    /// Seconds from the wave's start.
    pub start: f64,
    /// Seconds from the wave's start.
    pub end: f64,
    /// The words, without surrounding spaces.
    pub text: String,
    /// Mean log-probability of the window's tokens.
    pub avg_logprob: f32,
    /// Probability that nobody speaks in the window.
    pub no_speech: f32,
    /// The text began to repeat itself and was cut there.
    pub looped: bool,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Transcription {
    /// Whisper's language code.
    pub language: String,
    /// In order.
    pub segments: Vec<TimedText>,
}

impl Transcription {
    /// All words with single spaces between segments.
    pub fn text(&self) -> String {
        self.segments
            .iter()
            .map(|s| s.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A loaded Whisper.
pub struct Recognizer {
    encoder: Session,
    decoder: Session,
    tokenizer: Tokenizer,
    mel: LogMel,
    timed: LogitRules,
    plain: LogitRules,
}

/// The tokens of one window.
struct Heard {
    language: String,
    tokens: Vec<u32>,
    avg_logprob: f32,
    no_speech: f32,
    looped: bool,
}

impl Recognizer {
    /// Loads the four files.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Io`] or [`Error::Input`] naming the file or what it lacks.
    pub fn open(runtime: &Runtime, files: &WhisperFiles, network: Network) -> Result<Self, Error> {
        let (bins, vocabulary) = sizes(&files.config)?;
        let encoder = Session::open(runtime, &files.encoder, network.clone())?;
        encoder.expect_inputs(&[Expect {
            name: None,
            kind: Kind::F32,
            rank: 3,
        }])?;
        let decoder = Session::open(runtime, &files.decoder, network)?;
        let expect = |name, kind, rank| Expect {
            name: Some(name),
            kind,
            rank,
        };
        decoder.expect_inputs(&[
            expect("input_ids", Kind::I64, 2),
            expect("encoder_hidden_states", Kind::F32, 3),
            expect("use_cache_branch", Kind::Bool, 1),
        ])?;
        let tokenizer = Tokenizer::open(&files.tokenizer, vocabulary)?;
        let (timed, plain) = (
            LogitRules::new(&tokenizer, true),
            LogitRules::new(&tokenizer, false),
        );
        Ok(Recognizer {
            encoder,
            decoder,
            tokenizer,
            mel: LogMel::new(bins),
            timed,
            plain,
        })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.encoder.network()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Writes down a 16 kHz wave of any length, window by window; before each it asks whether to `go_on`.
    ///
    /// # Errors
    /// [`Error::Input`] for a language the network does not know, [`Error::Network`] when it fails,
    /// [`Error::Stopped`] when it was told to.
    pub fn transcribe(
        &self,
        wave: &[f32],
        options: &TranscribeOptions,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Transcription, Error> {
        let mut language = options.language.clone();
        let mut out = Vec::new();
        let mut at = 0;
        while wave.len().saturating_sub(at) >= SHORTEST {
            if !go_on() {
                return Err(Error::Stopped);
            }
            let window = &wave[at..wave.len().min(at + WINDOW)];
            let last = at + window.len() == wave.len();
            let heard = self.hear(window, language.as_deref(), options.timestamps)?;
            let begin = self.tokenizer.special().timestamp_begin;
            let (pieces, step) = cut(&heard.tokens, begin, seconds(window), last);
            if !(heard.no_speech > NO_SPEECH && heard.avg_logprob < UNLIKELY) {
                out.extend(
                    pieces
                        .iter()
                        .filter_map(|piece| self.timed_text(piece, &heard, at)),
                );
            }
            language.get_or_insert(heard.language);
            at += ((step * f64::from(RATE)) as usize).clamp(SHORTEST, window.len().max(SHORTEST));
        }
        Ok(Transcription {
            language: language.unwrap_or_else(|| "en".to_owned()),
            segments: out,
        })
    }

    fn timed_text(&self, piece: &Piece, heard: &Heard, at: usize) -> Option<TimedText> {
        let text = self.tokenizer.decode(&piece.tokens).trim().to_owned();
        let offset = at as f64 / f64::from(RATE);
        let Heard {
            avg_logprob,
            no_speech,
            looped,
            ..
        } = *heard;
        let (start, end) = (offset + piece.start, offset + piece.end);
        (!text.is_empty()).then_some(TimedText {
            start,
            end,
            text,
            avg_logprob,
            no_speech,
            looped,
        })
    }

    fn hear(&self, window: &[f32], language: Option<&str>, timestamps: bool) -> Result<Heard, Error> {
        let hidden = self.encode(window)?;
        let mut decoding = Decoding::new(&self.decoder, &hidden);
        let special = self.tokenizer.special();
        let first = decoding.feed(&[special.sot])?;
        let no_speech = first
            .get(special.no_speech as usize)
            .map_or(0.0, |x| (x - log_sum(&first)).exp());
        let (code, token) = match language {
            Some(code) => (code.to_owned(), self.language(code)?),
            None => self.most_likely_language(&first),
        };
        let mut logits = decoding.feed(&[token])?;
        if logits.len() != first.len() {
            return Err(self
                .decoder
                .error("its cache does not work: one token gave several rows"));
        }
        for token in [
            Some(special.transcribe),
            (!timestamps).then_some(special.no_timestamps),
        ]
        .into_iter()
        .flatten()
        {
            logits = decoding.feed(&[token])?;
        }
        let rules = if timestamps { &self.timed } else { &self.plain };
        let (tokens, avg_logprob, looped) = self.greedy(&mut decoding, logits, rules)?;
        Ok(Heard {
            language: code,
            tokens,
            avg_logprob,
            no_speech,
            looped,
        })
    }

    /// Tokens, their mean log-probability, and whether a loop was cut.
    fn greedy(
        &self,
        decoding: &mut Decoding<'_>,
        mut logits: Vec<f32>,
        rules: &LogitRules,
    ) -> Result<(Vec<u32>, f32, bool), Error> {
        let special = self.tokenizer.special();
        let mut tokens = Vec::new();
        let mut sum = 0.0;
        loop {
            rules.apply(&mut logits, &tokens);
            let next = argmax(&logits).unwrap_or(special.eot);
            sum += logits.get(next as usize).map_or(0.0, |x| x - log_sum(&logits));
            let mean = sum / (tokens.len() + 1) as f32;
            if next == special.eot || tokens.len() == MOST_TOKENS {
                return Ok((tokens, mean, false));
            }
            tokens.push(next);
            if let Some(kept) = loop_start(&tokens, special.timestamp_begin) {
                tokens.truncate(kept);
                return Ok((tokens, mean, true));
            }
            logits = decoding.feed(&[next])?;
        }
    }

    fn encode(&self, window: &[f32]) -> Result<Value, Error> {
        let features = self.mel.window(window);
        let shape = [1, self.mel.bins(), WINDOW_FRAMES];
        let name = self
            .encoder
            .inputs()
            .first()
            .map_or("", |port| port.name.as_str());
        let hidden = self.encoder.outputs().first();
        let hidden = hidden.map_or("", |port| port.name.as_str());
        let outputs = self.encoder.run_kept(
            &[(name, Feed::Tensor(Tensor::f32(&shape, &features)))],
            |output| output == hidden,
        )?;
        let first = outputs.into_iter().next().map(|(_, value)| value);
        first.ok_or_else(|| self.encoder.error("the encoder gave nothing"))
    }

    fn language(&self, code: &str) -> Result<u32, Error> {
        let known = &self.tokenizer.special().languages;
        known.get(code).copied().ok_or_else(|| {
            let codes: Vec<&str> = known.keys().map(String::as_str).collect();
            Error::Input(format!(
                "language `{code}` is not known to the network; it knows {}",
                codes.join(", ")
            ))
        })
    }

    fn most_likely_language(&self, logits: &[f32]) -> (String, u32) {
        let special = self.tokenizer.special();
        let logit = |token: u32| logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let best = special
            .languages
            .iter()
            .max_by(|a, b| logit(*a.1).total_cmp(&logit(*b.1)));
        best.map_or_else(
            || ("en".to_owned(), special.sot + 1),
            |(code, token)| (code.clone(), *token),
        )
    }
}

/// Mel bins and vocabulary size of a `config.json`.
fn sizes(config: &Path) -> Result<(usize, usize), Error> {
    let bytes = std::fs::read(config).map_err(|source| Error::Io {
        path: config.to_owned(),
        source,
    })?;
    let bad = |what: &str| Error::Input(format!("{}: {what}", config.display()));
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
    let number = |key: &str| json[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let bins = number("num_mel_bins")
        .filter(|n| (1..=512).contains(n))
        .ok_or_else(|| bad("no `num_mel_bins`"))?;
    Ok((bins, number("vocab_size").ok_or_else(|| bad("no `vocab_size`"))?))
}
