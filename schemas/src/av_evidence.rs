//! How much each mouth moves while each voice is on.

use crate::{
    Record,
    column::{Column, Kind, integer, list, real, text},
};
use serde::{Deserialize, Serialize};

/// What one subject's mouth does while one speaker is heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceMotion {
    /// The speaker.
    pub speaker: String,
    /// Seconds of that voice during which the face is seen.
    pub seen: f64,
    /// Mean mouth motion less upper-face motion while the voice is on, grey levels; null when never seen.
    pub on: Option<f64>,
    /// The same while any other voice is on; null when there is none.
    pub others: Option<f64>,
    /// The same while nobody speaks; null when there is none.
    pub silence: Option<f64>,
    /// Correlation of mouth motion with the loudness of the voice, -1..=1; null when it cannot be computed.
    pub correlation: Option<f64>,
}

/// Evidence for one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AvEvidence {
    /// The clip.
    pub clip: String,
    /// The person, from 1.
    pub subject: i64,
    /// One entry per speaker of the transcript, by name.
    pub voices: Vec<VoiceMotion>,
    /// Kind of evidence: `mouth_patch` (motion of the aligned patch).
    pub kind: String,
}

impl Record for AvEvidence {
    const NAME: &'static str = "av_evidence";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let voice = vec![
            text("speaker", "the speaker"),
            real("seen", "seconds of that voice during which the face is seen"),
            real(
                "on",
                "mouth less upper-face motion while the voice is on, grey levels",
            ),
            real("others", "the same while another voice is on"),
            real("silence", "the same while nobody speaks"),
            real("correlation", "correlation of mouth motion with loudness, -1..1"),
        ];
        vec![
            text("clip", "key of the clip"),
            integer("subject", "number of the person in the clip, from 1"),
            list("voices", Kind::Struct(voice), "one entry per speaker"),
            text("kind", "kind of evidence"),
        ]
    }
}
