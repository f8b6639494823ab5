//! Who the server is, and what it says when no rule says otherwise.

mod binding;
mod cosyvoice;
mod files;
mod gemini;
mod vllm;
mod whisper;

use std::str::FromStr;

use crate::Request;
use crate::answer::Answer;
pub(crate) use files::Files;

/// The service that is played.
///
/// Named faults of content (`Say::canned`), beside what rules can say of status and wire:
///
/// | personality | names |
/// | --- | --- |
/// | vllm | fence, prose, two_objects, cut, null_content, no_choices, two_choices, missing_field, not_json, reversed_times, beyond_clip, overlap, clock_times, empty_segments, language_word, two_names, repeated, deaf |
/// | whisper | plain_text, no_times, reversed_times, null_fields |
/// | gemini | blocked, max_tokens, cut, no_candidates, safety, unknown_finish, thought_only, split_parts, missing_field, not_json, expired; of files: elsewhere, no_address, no_status, processing, failed, bad_name |
/// | vllm and gemini, asked who speaks | unknown_face, face_twice, face_missing, unknown_speaker, speaker_twice, confidence, unknown_anchor, anchor_missing, anchor_twice, empty_label, label_markup, scene_speech, unbalanced, nested, no_anchor, wrong_anchor, words_differ, utterance_missing, missing_field, long |
/// | cosyvoice | empty, odd, short, runaway, silent, clipped, fails |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// vLLM's chat API with Qwen3-Omni.
    Vllm,
    /// An OpenAI-compatible transcription endpoint.
    Whisper,
    /// Gemini's own REST API.
    Gemini,
    /// CosyVoice's FastAPI server.
    Cosyvoice,
}

impl FromStr for Personality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "vllm" => Ok(Self::Vllm),
            "whisper" => Ok(Self::Whisper),
            "gemini" => Ok(Self::Gemini),
            "cosyvoice" => Ok(Self::Cosyvoice),
            other => Err(format!("`{other}`: must be vllm, whisper, gemini or cosyvoice")),
        }
    }
}

impl Personality {
    /// The answer to a request; `content` and `canned` are a rule's.
    pub(crate) fn answer(
        self,
        request: &Request,
        files: &Files,
        (content, canned): (Option<&str>, Option<&str>),
    ) -> Answer {
        match self {
            Self::Vllm => vllm::answer(request, content, canned),
            Self::Whisper => whisper::answer(request, content, canned),
            Self::Gemini => gemini::answer(request, files, content, canned),
            Self::Cosyvoice => cosyvoice::answer(request, content, canned),
        }
    }

    /// What a wrong key gets.
    pub(crate) fn unauthorized(self) -> Answer {
        match self {
            Self::Gemini => gemini::bad_key(),
            _ => Answer::json(401, r#"{"error": "Unauthorized"}"#),
        }
    }
}
