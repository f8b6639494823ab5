//! Whisper's English normaliser (openai/whisper `normalizers/english.py`, release 20240930).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::basic::{collapse_spaces, fold_symbols, without_asides};
use super::numbers;
use super::python::{SPACE, pattern, words};

/// Contractions and titles, in the order in which they are replaced.
const REPLACERS: [(&str, &str); 49] = [
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"\blet's\b", "let us"),
    (r"\bain't\b", "aint"),
    (r"\by'all\b", "you all"),
    (r"\bwanna\b", "want to"),
    (r"\bgotta\b", "got to"),
    (r"\bgonna\b", "going to"),
    (r"\bi'ma\b", "i am going to"),
    (r"\bimma\b", "i am going to"),
    (r"\bwoulda\b", "would have"),
    (r"\bcoulda\b", "could have"),
    (r"\bshoulda\b", "should have"),
    (r"\bma'am\b", "madam"),
    (r"\bmr\b", "mister "),
    (r"\bmrs\b", "missus "),
    (r"\bst\b", "saint "),
    (r"\bdr\b", "doctor "),
    (r"\bprof\b", "professor "),
    (r"\bcapt\b", "captain "),
    (r"\bgov\b", "governor "),
    (r"\bald\b", "alderman "),
    (r"\bgen\b", "general "),
    (r"\bsen\b", "senator "),
    (r"\brep\b", "representative "),
    (r"\bpres\b", "president "),
    (r"\brev\b", "reverend "),
    (r"\bhon\b", "honorable "),
    (r"\basst\b", "assistant "),
    (r"\bassoc\b", "associate "),
    (r"\blt\b", "lieutenant "),
    (r"\bcol\b", "colonel "),
    (r"\bjr\b", "junior "),
    (r"\bsr\b", "senior "),
    (r"\besq\b", "esquire "),
    (r"'d been\b", " had been"),
    (r"'s been\b", " has been"),
    (r"'d gone\b", " had gone"),
    (r"'s gone\b", " has gone"),
    (r"'d done\b", " had done"),
    (r"'s got\b", " has got"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'s\b", " is"),
    (r"'d\b", " would"),
    (r"'ll\b", " will"),
    (r"'t\b", " not"),
    (r"'ve\b", " have"),
    (r"'m\b", " am"),
];

struct Rules {
    fillers: Regex,
    lone_apostrophe: Regex,
    replacers: Vec<Replacer>,
    digit_comma: Regex,
    full_stop: Regex,
    bare_prefix: Regex,
    bare_percent: Regex,
    spelling: HashMap<String, String>,
}

/// A contraction or title. All but its word boundaries are letters as they stand: without them in a text there is no
/// match, and looking for them is much cheaper than asking the pattern.
struct Replacer {
    letters: String,
    pattern: Regex,
    to: &'static str,
}

impl Replacer {
    fn new((from, to): &(&str, &'static str)) -> Replacer {
        Replacer {
            letters: from.replace(r"\b", ""),
            pattern: pattern(from),
            to,
        }
    }
}

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    fillers: pattern(r"\b(hmm|mm|mhm|mmm|uh|um)\b"),
    lone_apostrophe: pattern(&format!("{SPACE}+'")),
    replacers: REPLACERS.iter().map(Replacer::new).collect(),
    digit_comma: pattern(r"(\d),(\d)"),
    full_stop: pattern(r"\.([^0-9]|$)"),
    bare_prefix: pattern(r"[.$¢€£]([^0-9])"),
    bare_percent: pattern(r"([^0-9])%"),
    // The table is compiled in and a test reads it.
    spelling: serde_json::from_str(include_str!("data/english_spelling.json")).unwrap_or_default(),
});

/// Contractions spelled out, numbers in digits, American spelling, no fillers, no punctuation.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnglishNormalizer;

impl EnglishNormalizer {
    /// The normalised text. Single leading and trailing spaces survive, as in the reference.
    pub fn normalize(&self, text: &str) -> String {
        let rules = &*RULES;
        let mut s = without_asides(&text.to_lowercase());
        replace(&mut s, &rules.fillers, "");
        if s.contains('\'') {
            replace(&mut s, &rules.lone_apostrophe, "'");
        }
        for replacer in &rules.replacers {
            if s.contains(replacer.letters.as_str()) {
                replace(&mut s, &replacer.pattern, replacer.to);
            }
        }
        if s.contains(',') {
            replace(&mut s, &rules.digit_comma, "${1}${2}");
        }
        if s.contains('.') {
            replace(&mut s, &rules.full_stop, " ${1}");
        }
        s = numbers::normalize(&fold_symbols(&s, ".%$¢€£"));
        s = american(&s, &rules.spelling);
        if s.contains(['.', '$', '¢', '€', '£']) {
            replace(&mut s, &rules.bare_prefix, " ${1}");
        }
        if s.contains('%') {
            replace(&mut s, &rules.bare_percent, "${1} ");
        }
        collapse_spaces(&s).into_owned()
    }
}

/// Replaces every match; costs no copy where there is none.
fn replace(text: &mut String, pattern: &Regex, to: &str) {
    if let Cow::Owned(changed) = pattern.replace_all(text, to) {
        *text = changed;
    }
}

fn american(text: &str, spelling: &HashMap<String, String>) -> String {
    let mapped: Vec<&str> = words(text)
        .map(|word| spelling.get(word).map_or(word, String::as_str))
        .collect();
    mapped.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_are_plain_letters_between_word_boundaries() {
        let plain = |c: char| c.is_ascii_lowercase() || c == '\'' || c == ' ';
        for replacer in &RULES.replacers {
            assert!(
                !replacer.letters.is_empty() && replacer.letters.chars().all(plain),
                "{}",
                replacer.letters
            );
            assert!(replacer.pattern.as_str().replace(r"\b", "") == replacer.letters);
        }
    }

    #[test]
    fn the_spelling_table_is_read() {
        assert_eq!(
            RULES.spelling.get("aluminium").map(String::as_str),
            Some("aluminum")
        );
        assert!(RULES.spelling.len() > 1700);
    }

    #[test]
    fn letters_and_digits_come_apart() {
        assert_eq!(
            EnglishNormalizer.normalize("Bin blue at F2 now."),
            "bin blue at f 2 now"
        );
        assert_eq!(
            EnglishNormalizer.normalize("bin blue at f two now"),
            "bin blue at f 2 now"
        );
    }
}
