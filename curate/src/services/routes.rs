//! Settings of the routed ensemble that binds faces and voices: who is asked, with what, and within which bounds.

use super::{Endpoint, gemini};
use serde::{Deserialize, Serialize};

/// What changes the result, but for the endpoints and `probe_sound`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who is asked.
    pub route: Routing,
    /// The small copy of the clip.
    pub proxy: Small,
    /// Most seconds of a voice that is played; 0: no voices.
    pub voice_seconds: Option<f64>,
    /// Seed of the sampling.
    pub seed: Option<u64>,
    /// Gemini.
    pub gemini: GeminiSettings,
    /// Qwen3-Omni.
    pub qwen: QwenSettings,
}

/// Who is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Clips with so many people or voices go to Gemini, the rest to Qwen3-Omni.
    pub complex_from: usize,
    /// Whether the other route is asked when two answers could not be used; both need an address then.
    pub fallback: bool,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            complex_from: 2,
            fallback: true,
        }
    }
}

/// The small copy of a clip.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Small {
    /// The shorter side, pixels.
    pub short_side: usize,
    /// Pictures a second.
    pub fps: f64,
    /// Quality of x264, 0 (best) to 51.
    pub crf: u32,
}

impl Default for Small {
    fn default() -> Self {
        Self {
            short_side: 480,
            fps: 4.0,
            crf: 26,
        }
    }
}

/// Gemini.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeminiSettings {
    /// The model, as the service calls it.
    pub model: String,
    /// Most tokens of an answer, thinking included.
    pub max_tokens: u64,
    /// Thinking, resolution, filters, size of a request.
    pub options: gemini::Options,
    /// Address, key, rates and prices.
    pub endpoint: Endpoint,
}

impl Default for GeminiSettings {
    fn default() -> Self {
        Self {
            model: "gemini-2.5-pro".into(),
            max_tokens: 8192,
            options: gemini::Options::default(),
            endpoint: Endpoint::default(),
        }
    }
}

/// Qwen3-Omni over vLLM's chat API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QwenSettings {
    /// The model, as the service calls it.
    pub model: String,
    /// Most tokens of an answer.
    pub max_tokens: u64,
    /// Whether two sounds are sent first in each run, to see that the server hears; changes no result.
    pub probe_sound: bool,
    /// Address, key, rates and prices.
    pub endpoint: Endpoint,
}

impl Default for QwenSettings {
    fn default() -> Self {
        Self {
            model: "Qwen/Qwen3-Omni-30B-A3B-Instruct".into(),
            max_tokens: 3072,
            probe_sound: true,
            endpoint: Endpoint::default(),
        }
    }
}

impl Settings {
    /// The first key with a value that nothing can be done with, and why.
    pub fn wrong(&self) -> Option<(String, &'static str)> {
        let endpoints = [("gemini", &self.gemini.endpoint), ("qwen", &self.qwen.endpoint)];
        let endpoint = endpoints.iter().find_map(|(name, endpoint)| {
            let (key, why) = endpoint.wrong()?;
            Some((format!("{name}.endpoint.{key}"), why))
        });
        let rows = [
            ("gemini.model", self.gemini.model.is_empty(), "must name a model"),
            (
                "gemini.model",
                self.gemini.model.contains(['/', '?', '#']),
                "must be a model's bare name",
            ),
            ("qwen.model", self.qwen.model.is_empty(), "must name a model"),
            (
                "proxy.fps",
                !(0.1..=24.0).contains(&self.proxy.fps),
                "must lie in 0.1..=24",
            ),
            (
                "proxy.short_side",
                !(64..=2160).contains(&self.proxy.short_side),
                "must lie in 64..=2160",
            ),
            ("proxy.crf", self.proxy.crf > 51, "must lie in 0..=51"),
            (
                "voice_seconds",
                !(0.0..=60.0).contains(&self.voice_seconds()),
                "must lie in 0..=60",
            ),
            (
                "route.complex_from",
                self.route.complex_from == 0,
                "must be at least 1",
            ),
        ];
        let row = rows.into_iter().find(|(_, wrong, _)| *wrong);
        row.map(|(key, _, why)| (key.to_owned(), why)).or(endpoint)
    }

    /// Most seconds of a voice that is played.
    pub fn voice_seconds(&self) -> f64 {
        self.voice_seconds.unwrap_or(5.0)
    }

    /// Seed of the sampling.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(7)
    }
}
