//! How a method makes its clips, which decides what can be asked of them (the paper's Table 1).

use serde::{Deserialize, Serialize};

use crate::networks::METRICS;

/// How a method makes its clips. In the paper's table a reading that a paradigm does not have is `-`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paradigm {
    /// Pictures only: no reading that needs sound.
    Video,
    /// A given sound drives the pictures: lips are measured, the sound itself is not.
    AudioDriven,
    /// A generator of pictures and sound starts from a first frame; it was given no voice, so timbre is not measured.
    FirstFrame,
    /// Pictures and sound from references of faces and voices: everything.
    #[default]
    Joint,
}

/// Readings that a paradigm without sound has.
const SEEN: &[&str] = &[
    "face_sim",
    "face_cons",
    "face_cons_first",
    "face_coverage",
    "aq",
    "iq",
    "brisque",
    "tf",
];
/// Readings of pictures and sound together.
const TOGETHER: &[&str] = &[
    "sync_c",
    "sync_c_all",
    "sync_d",
    "ib_s",
    "av_offset_ms",
    "binding_acc",
];
/// Readings of the likeness of voices.
const TIMBRE: &[&str] = &["t_sim", "t_sim_matched"];

impl Paradigm {
    /// All of them, in the order of the paper's table.
    pub const ALL: [Paradigm; 4] = [
        Paradigm::Video,
        Paradigm::AudioDriven,
        Paradigm::FirstFrame,
        Paradigm::Joint,
    ];

    /// Its name on the command line, in `method.toml` and in records.
    pub fn name(self) -> &'static str {
        match self {
            Paradigm::Video => "video",
            Paradigm::AudioDriven => "audio_driven",
            Paradigm::FirstFrame => "first_frame",
            Paradigm::Joint => "joint",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Paradigm> {
        Paradigm::ALL.into_iter().find(|paradigm| paradigm.name() == name)
    }

    /// Whether it has a reading, whose full name may carry networks behind `@`.
    pub fn has(self, reading: &str) -> bool {
        let base = base(reading);
        let seen = SEEN.contains(&base);
        match self {
            Paradigm::Video => seen,
            Paradigm::AudioDriven => seen || TOGETHER.contains(&base),
            Paradigm::FirstFrame => !TIMBRE.contains(&base),
            Paradigm::Joint => true,
        }
    }

    /// Whether it has any reading of a metric.
    pub fn runs(self, metric: &str) -> bool {
        match metric {
            "face" | "aq" | "iq" | "tf" | "brisque" => true,
            "sync" | "ib" | "av_offset" | "binding" => self != Paradigm::Video,
            "t_sim" => self == Paradigm::Joint,
            _ => matches!(self, Paradigm::FirstFrame | Paradigm::Joint),
        }
    }

    /// The metrics of which it has no reading.
    pub fn lacks(self) -> Vec<&'static str> {
        METRICS
            .iter()
            .copied()
            .filter(|metric| !self.runs(metric))
            .collect()
    }
}

/// A reading's name without its networks.
pub fn base(reading: &str) -> &str {
    reading.split('@').next().unwrap_or(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_paradigm_has_the_columns_of_the_papers_table() {
        let columns = |paradigm: Paradigm| {
            let all = [
                "face_sim",
                "face_cons",
                "t_sim",
                "sync_c",
                "sync_d",
                "ib_s",
                "aq",
                "iq",
                "tf",
                "wer",
                "pq",
                "ib_a",
            ];
            all.into_iter()
                .filter(|reading| !paradigm.has(reading))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            columns(Paradigm::Video),
            ["t_sim", "sync_c", "sync_d", "ib_s", "wer", "pq", "ib_a"]
        );
        assert_eq!(columns(Paradigm::AudioDriven), ["t_sim", "wer", "pq", "ib_a"]);
        assert_eq!(columns(Paradigm::FirstFrame), ["t_sim"]);
        assert!(columns(Paradigm::Joint).is_empty());
        assert!(!Paradigm::Video.has("wer@whisper_base_q8"));
        assert_eq!(Paradigm::of("first_frame"), Some(Paradigm::FirstFrame));
        assert_eq!(Paradigm::of("jont"), None);
    }

    #[test]
    fn a_metric_runs_when_one_of_its_readings_is_wanted() {
        assert_eq!(Paradigm::Joint.lacks(), Vec::<&str>::new());
        assert_eq!(Paradigm::FirstFrame.lacks(), ["t_sim"]);
        assert!(Paradigm::Video.runs("brisque") && Paradigm::Video.has("brisque"));
        assert!(!Paradigm::AudioDriven.runs("dnsmos") && !Paradigm::AudioDriven.has("dnsmos_ovrl"));
        assert!(Paradigm::AudioDriven.runs("ib") && !Paradigm::AudioDriven.runs("wer"));
        assert!(!Paradigm::Video.runs("av_offset") && Paradigm::Video.runs("face"));
    }
}
