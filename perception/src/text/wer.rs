//! Word and character error rates.
//!
//! Counting follows jiwer: an empty reference scores 0 against nothing and the number of insertions
//! against something. Which of several shortest alignments is taken may differ; their length does not.

use std::sync::LazyLock;

use regex::Regex;

use super::basic::{BasicNormalizer, graphemes};
use super::english::EnglishNormalizer;
use super::python::{SPACE, is_space, pattern};

static RUNS: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("{SPACE}{{2,}}")));

/// What one shortest alignment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Errors {
    /// Equal units.
    pub hits: usize,
    /// Units of the reference replaced by another.
    pub substitutions: usize,
    /// Units only in the hypothesis.
    pub insertions: usize,
    /// Units only in the reference.
    pub deletions: usize,
}

impl Errors {
    /// Units of the reference.
    pub fn reference(&self) -> usize {
        self.hits + self.substitutions + self.deletions
    }

    /// Substitutions, insertions and deletions.
    pub fn total(&self) -> usize {
        self.substitutions + self.insertions + self.deletions
    }

    /// Error rate; may exceed 1.
    pub fn rate(&self) -> f64 {
        self.total() as f64 / self.reference().max(1) as f64
    }
}

/// Two texts as they were compared, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Scored {
    /// The normalised reference; a space between clusters where characters are counted.
    pub reference: String,
    /// The normalised hypothesis, likewise.
    pub hypothesis: String,
    /// Counts over words, or over grapheme clusters for languages written without spaces.
    pub errors: Errors,
}

/// Whether a language (Whisper's code) is scored by characters.
pub fn counts_characters(language: &str) -> bool {
    matches!(language, "zh" | "yue" | "ja" | "th" | "lo" | "my" | "km")
}

/// Whether a text has any letter or digit: without one there is nothing to say.
pub fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Scores a hypothesis by the rules of its language: the English normaliser for `en`, characters for
/// languages without spaces, the basic normaliser with diacritics kept for all others.
pub fn score(language: &str, reference: &str, hypothesis: &str) -> Scored {
    let [reference, hypothesis] = [reference, hypothesis].map(|text| comparable(language, text));
    let errors = edits(&jiwer_words(&reference), &jiwer_words(&hypothesis));
    Scored {
        reference,
        hypothesis,
        errors,
    }
}

fn comparable(language: &str, text: &str) -> String {
    if language == "en" {
        return EnglishNormalizer
            .normalize(text)
            .trim_matches(is_space)
            .to_owned();
    }
    let basic = BasicNormalizer::default().normalize(text);
    if counts_characters(language) {
        return graphemes(&basic.replace(' ', "")).collect::<Vec<_>>().join(" ");
    }
    basic.trim_matches(is_space).to_owned()
}

/// Words as jiwer splits them: runs of two or more white-space characters become one space, and only
/// the space separates.
pub fn jiwer_words(text: &str) -> Vec<String> {
    let collapsed = RUNS.replace_all(text, " ");
    let stripped = collapsed.trim_matches(is_space);
    stripped
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Characters as jiwer's character error rate takes them: the stripped text's code points.
pub fn jiwer_chars(text: &str) -> Vec<char> {
    text.trim_matches(is_space).chars().collect()
}

/// Counts of one shortest alignment (Levenshtein), in memory proportional to the hypothesis.
pub fn edits<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Errors {
    let mut row: Vec<Errors> = (0..=hypothesis.len())
        .map(|insertions| Errors {
            insertions,
            ..Errors::default()
        })
        .collect();
    for (i, expected) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = Errors {
            deletions: i + 1,
            ..Errors::default()
        };
        for (j, said) in hypothesis.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = best(diagonal, above, row[j], expected == said);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn best(diagonal: Errors, above: Errors, left: Errors, equal: bool) -> Errors {
    if equal {
        return Errors {
            hits: diagonal.hits + 1,
            ..diagonal
        };
    }
    let (d, a, l) = (diagonal.total(), above.total(), left.total());
    if d <= a && d <= l {
        Errors {
            substitutions: diagonal.substitutions + 1,
            ..diagonal
        }
    } else if a <= l {
        Errors {
            deletions: above.deletions + 1,
            ..above
        }
    } else {
        Errors {
            insertions: left.insertions + 1,
            ..left
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_reference_counts_insertions() {
        assert_eq!(edits::<u8>(&[], &[]).rate(), 0.0);
        assert_eq!(edits(&[], &[1, 2]).rate(), 2.0);
        assert_eq!(edits(&[1, 2], &[]).rate(), 1.0);
    }

    #[test]
    fn punctuation_alone_has_no_words() {
        assert!(!has_words("... !"));
        assert!(has_words("好"));
    }

    proptest! {
        #[test]
        fn counts_fit_both_sides(a in proptest::collection::vec(0u8..4, 0..12), b in proptest::collection::vec(0u8..4, 0..12)) {
            let there = edits(&a, &b);
            prop_assert_eq!(there.reference(), a.len());
            prop_assert_eq!(there.hits + there.substitutions + there.insertions, b.len());
            prop_assert_eq!(there.total(), edits(&b, &a).total());
            prop_assert!(there.total() <= a.len().max(b.len()));
            prop_assert!(there.total() >= a.len().abs_diff(b.len()));
        }
    }
}
