//! What the cells of a corpus table mean: header names, absent cells, numbers, and which names may become paths.

use std::collections::BTreeMap;

/// A cell that stands for a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Nothing there: empty, or one of the words that data frames write for nothing.
    Absent,
    /// A finite number.
    Given(f64),
    /// Some text.
    Text,
}

/// Reads a number. `nan`, `none`, `null` and the infinities are absent, in any case.
pub(super) fn number(cell: &str) -> Number {
    let cell = cell.trim();
    if is_absent(cell) {
        return Number::Absent;
    }
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Number::Given(value),
        Ok(_) => Number::Absent,
        Err(_) => Number::Text,
    }
}

/// The text of a cell; nothing when it is absent.
pub(super) fn text(cell: &str) -> Option<&str> {
    let cell = cell.trim();
    (!is_absent(cell)).then_some(cell)
}

fn is_absent(cell: &str) -> bool {
    cell.len() <= 4
        && ["", "nan", "none", "null", "inf", "-inf"]
            .iter()
            .any(|word| cell.eq_ignore_ascii_case(word))
}

/// A header name as we spell it: trimmed, lower case, the other names of known columns replaced. Nothing for a
/// column without a name (data frames show it as `Unnamed: 10`).
pub(super) fn column(name: &str, more: &BTreeMap<String, String>) -> Option<String> {
    let name = name.trim().trim_start_matches('\u{feff}').to_lowercase();
    if name.is_empty() || name.starts_with("unnamed:") {
        return None;
    }
    let known = match name.as_str() {
        "id" | "clipid" | "clip" => "clip_id",
        "technical" => "technical_score",
        "motion" => "global_motion",
        "aesthetic_score" => "aesthetic",
        "source" => "source_video",
        other => more.get(other).map_or(other, String::as_str),
    };
    Some(known.to_owned())
}

/// Whether a name may be a clip's key: printable, no separator of any system, at most 200 bytes, no leading dot.
pub(super) fn is_key(name: &str) -> bool {
    let bad = |sign: char| matches!(sign, '/' | '\\' | ':') || sign.is_control();
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains(bad)
}

/// Whether a path stays below the root: relative, with `/`, no `.` and `..`, nothing hidden, at most 1,000 bytes.
pub(super) fn is_below(path: &str) -> bool {
    path.len() <= 1000 && path.split('/').all(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_cells_are_not_zero() {
        for cell in [
            "", " ", "nan", "NaN", "None", "NULL", "inf", "-inf", "Infinity", "1e999",
        ] {
            assert_eq!(number(cell), Number::Absent, "{cell:?}");
        }
        assert_eq!(number(" -0.013 "), Number::Given(-0.013));
        assert_eq!(number("0"), Number::Given(0.0));
        assert_eq!(number("4,5"), Number::Text);
        assert_eq!(text(" none "), None);
        assert_eq!(text(" nonexistent "), Some("nonexistent"));
    }

    #[test]
    fn headers_have_other_names() {
        let more = BTreeMap::from([("beauty".to_owned(), "aesthetic".to_owned())]);
        for (name, ours) in [
            ("\u{feff}ID", Some("clip_id")),
            (" Technical ", Some("technical_score")),
            ("motion", Some("global_motion")),
            ("Beauty", Some("aesthetic")),
            ("Blur_Max", Some("blur_max")),
            ("Unnamed: 10", None),
            ("", None),
        ] {
            assert_eq!(column(name, &more).as_deref(), ours, "{name}");
        }
    }

    #[test]
    fn hostile_paths_are_told() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/./b",
            "a\\b",
            "a\0b",
            "c:/x",
            "a/.ssh/b",
            "a\nb",
        ] {
            assert!(!is_below(bad), "{bad:?}");
        }
        assert!(is_below("clips/part_001/ab/cd/abcd.mp4") && is_below("äöü/x y.mp4"));
    }
}
