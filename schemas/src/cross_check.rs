//! What was measured, held against what a binder claims.

use crate::{
    Record,
    column::{Column, Kind, boolean, integer, list, real, text},
};
use serde::{Deserialize, Serialize};

/// One speaker: what is claimed and what the evidence says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckedSpeaker {
    /// The speaker.
    pub speaker: String,
    /// The person that the claim gives the voice to; null: off screen.
    pub claimed: Option<i64>,
    /// The person that the evidence gives it to; null: off screen.
    pub measured: Option<i64>,
    /// Whether they are the same; null when the evidence says nothing of this voice (nobody was seen during it).
    pub agrees: Option<bool>,
    /// Evidence for the claim less that for its best rival (another face, or nobody), grey levels; below 0 the evidence
    /// prefers the rival. Null as `agrees`.
    pub margin: Option<f64>,
}

/// Evidence and claim of a clip, side by side; the claim stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CrossCheck {
    /// The clip.
    pub clip: String,
    /// Whose claim: `gemini`, `qwen`, or `local`.
    pub route: String,
    /// Share of the speakers on whom claim and evidence agree, 0..=1; null when there is nothing to compare.
    pub agreement: Option<f64>,
    /// The smallest margin of a speaker, grey levels; null when there is none.
    pub margin: Option<f64>,
    /// The largest cosine between the face vectors of two people of the clip: how easily they are mistaken. Null below two.
    pub faces_alike: Option<f64>,
    /// The largest cosine between the voice vectors of two speakers of the clip. Null below two.
    pub voices_alike: Option<f64>,
    /// Every speaker of the transcript, by name.
    pub speakers: Vec<CheckedSpeaker>,
}

impl Record for CrossCheck {
    const NAME: &'static str = "cross_check";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let speaker = vec![
            text("speaker", "the speaker"),
            integer(
                "claimed",
                "the person the claim gives the voice to; null: off screen",
            ),
            integer(
                "measured",
                "the person the evidence gives it to; null: off screen",
            ),
            boolean(
                "agrees",
                "whether they are the same; null when nobody was seen during the voice",
            ),
            real(
                "margin",
                "evidence for the claim less that for its best rival, grey levels; below 0 the evidence prefers the rival",
            ),
        ];
        vec![
            text("clip", "key of the clip"),
            text("route", "whose claim: gemini, qwen or local"),
            real(
                "agreement",
                "share of the speakers on whom claim and evidence agree, 0..1; null when nothing can be compared",
            ),
            real("margin", "the smallest margin of a speaker, grey levels"),
            real(
                "faces_alike",
                "largest cosine between the faces of two people of the clip; null below two",
            ),
            real(
                "voices_alike",
                "largest cosine between the voices of two speakers; null below two",
            ),
            list("speakers", Kind::Struct(speaker), "every speaker, by name"),
        ]
    }
}
