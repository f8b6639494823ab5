//! The readings of the paper's table: their order, headings and decimals; and those beyond it.

/// What is known of a reading by its name before the `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    /// The name.
    pub name: &'static str,
    /// As the paper writes it.
    pub label: &'static str,
    /// The block of the paper's table.
    pub block: &'static str,
    /// Ends of the radar's axis: what is drawn in the middle, and what at the rim.
    pub axis: Option<(f64, f64)>,
    /// What it tells, in a few words.
    pub about: &'static str,
}

const IDENTITY: &str = "Identity preservation";
const SYNC: &str = "AV sync";
const VIDEO: &str = "Video quality";
const AUDIO: &str = "Audio quality";
/// The block of readings the paper does not have.
pub(super) const BEYOND: &str = "Beyond the paper";

const fn base(
    name: &'static str,
    label: &'static str,
    block: &'static str,
    axis: Option<(f64, f64)>,
    about: &'static str,
) -> Base {
    Base {
        name,
        label,
        block,
        axis,
        about,
    }
}

/// In the order of the paper's Table 1, then our own.
const BASES: &[Base] = &[
    base(
        "face_sim",
        "Face-Sim",
        IDENTITY,
        Some((0.0, 1.0)),
        "reference face against the clip's",
    ),
    base(
        "face_cons",
        "Face-Cons",
        IDENTITY,
        Some((0.5, 1.0)),
        "one face from frame to frame",
    ),
    base(
        "t_sim",
        "T-Sim",
        IDENTITY,
        Some((0.0, 1.0)),
        "reference voice against the clip's",
    ),
    base("sync_c", "Sync-C", SYNC, Some((0.0, 10.0)), "lip-sync confidence"),
    base("sync_d", "Sync-D", SYNC, Some((15.0, 5.0)), "lip-sync distance"),
    base("ib_s", "IB-S", SYNC, Some((0.0, 0.4)), "pictures against sound"),
    base("aq", "AQ", VIDEO, Some((0.0, 1.0)), "aesthetic quality"),
    base("iq", "IQ", VIDEO, Some((0.0, 1.0)), "imaging quality"),
    base("tf", "TF", VIDEO, Some((0.8, 1.0)), "absence of flicker"),
    base("wer", "WER", AUDIO, Some((1.0, 0.0)), "word or character errors"),
    base(
        "pq",
        "PQ",
        AUDIO,
        Some((1.0, 10.0)),
        "production quality of the sound",
    ),
    base("ib_a", "IB-A", AUDIO, Some((0.0, 0.4)), "text against sound"),
    base(
        "binding_acc",
        "Binding",
        BEYOND,
        None,
        "right mouth for the right voice",
    ),
    base(
        "caption_leak",
        "Caption leak",
        BEYOND,
        None,
        "words of the description that are spoken",
    ),
    base(
        "av_offset_ms",
        "AV offset",
        BEYOND,
        None,
        "how much later the sound comes than the lips",
    ),
    base(
        "wer_seedtts",
        "WER (seed-tts)",
        BEYOND,
        None,
        "word or character errors by seed-tts-eval's rules",
    ),
    base(
        "sync_c_all",
        "Sync-C (all tracks)",
        BEYOND,
        None,
        "lip-sync confidence of every face, speaking or not",
    ),
    base(
        "dnsmos_ovrl",
        "DNSMOS",
        BEYOND,
        None,
        "how listeners would rate speech and background",
    ),
    base(
        "dnsmos_sig",
        "DNSMOS (speech)",
        BEYOND,
        None,
        "how listeners would rate the speech",
    ),
    base(
        "dnsmos_bak",
        "DNSMOS (background)",
        BEYOND,
        None,
        "how listeners would rate the background",
    ),
    base(
        "brisque",
        "BRISQUE",
        BEYOND,
        None,
        "distance from the statistics of natural scenes",
    ),
    base(
        "face_cons_first",
        "Face-Cons (first)",
        BEYOND,
        None,
        "one face against its first and previous frame",
    ),
    base(
        "face_coverage",
        "Face coverage",
        BEYOND,
        None,
        "share of frames in which the face was found",
    ),
    base(
        "t_sim_matched",
        "T-Sim (matched)",
        BEYOND,
        None,
        "voices with the best assignment",
    ),
];

/// What is known of a full name, and the networks behind its `@`.
pub(super) fn of(reading: &str) -> (Option<&'static Base>, &str, Option<&str>) {
    let (name, networks) = match reading.split_once('@') {
        Some((name, networks)) => (name, Some(networks)),
        None => (reading, None),
    };
    (BASES.iter().find(|base| base.name == name), name, networks)
}

/// Where a reading stands in the table.
pub(crate) fn rank(reading: &str) -> (usize, String) {
    let (base, ..) = of(reading);
    let at = base.and_then(|base| BASES.iter().position(|one| one.name == base.name));
    (at.unwrap_or(BASES.len()), reading.to_owned())
}

/// A number as tables show it (metrics.md, section 10): three decimals; a distance of 10 or more two, milliseconds one.
pub(super) fn shown(reading: &str, value: f64) -> String {
    let (_, name, _) = of(reading);
    let decimals = match name {
        "sync_d" if value >= 10.0 => 2,
        _ if name.ends_with("_ms") => 1,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_as_in_the_paper_and_strangers_last() {
        let mut names = [
            "zeta",
            "av_offset_ms@yunet",
            "wer",
            "face_sim",
            "face_sim@a",
            "sync_d",
        ];
        names.sort_by_key(|name| rank(name));
        assert_eq!(
            names,
            [
                "face_sim",
                "face_sim@a",
                "sync_d",
                "wer",
                "av_offset_ms@yunet",
                "zeta"
            ]
        );
        assert_eq!(
            (
                shown("sync_d", 9.9),
                shown("sync_d", 10.234),
                shown("av_offset_ms@x", 40.0)
            ),
            ("9.900".to_owned(), "10.23".to_owned(), "40.0".to_owned())
        );
    }
}
