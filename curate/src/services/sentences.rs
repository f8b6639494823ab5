//! What a resynthesised voice says: a sentence per language from `curate/sentences`, drawn by the clip's key.

/// The lists, by ISO 639-1 code.
const LISTS: &[(&str, &str)] = &[
    ("de", include_str!("../../sentences/de.txt")),
    ("en", include_str!("../../sentences/en.txt")),
    ("es", include_str!("../../sentences/es.txt")),
    ("fr", include_str!("../../sentences/fr.txt")),
    ("zh", include_str!("../../sentences/zh.txt")),
];

/// Hash of all lists: a changed line changes which sentence a clip gets.
pub fn fingerprint() -> String {
    let mut hasher = blake3::Hasher::new();
    for (language, list) in LISTS {
        hasher.update(language.as_bytes()).update(list.as_bytes());
    }
    hasher.finalize().to_hex()[..12].to_owned()
}

/// Up to `tries` different sentences of a language for a clip's speaker, none of them what the speaker says; empty for a
/// language without a list. Sentences of at least half the length of what the speaker says come first, because a
/// service speaks badly when its prompt is much longer.
pub fn draw(language: &str, clip: &str, speaker: &str, said: &str, tries: usize) -> Vec<&'static str> {
    let list = LISTS
        .iter()
        .find(|(known, _)| *known == language)
        .map_or("", |(_, list)| list);
    let letters = |text: &str| {
        text.chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    let (own, half) = (letters(said), said.chars().count() / 2);
    let mut lines: Vec<_> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && letters(line) != own)
        .map(|line| {
            let hash = blake3::hash(format!("{clip}\0{speaker}\0{line}").as_bytes());
            (line.chars().count() < half, *hash.as_bytes(), line)
        })
        .collect();
    lines.sort_unstable();
    lines.into_iter().map(|(_, _, line)| line).take(tries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn equal_keys_draw_equally_and_others_otherwise() {
        let draw = |clip: &str| draw("en", clip, "S1", "Come in.", 3);
        assert_eq!(draw("a"), draw("a"));
        assert_eq!(draw("a").into_iter().collect::<BTreeSet<_>>().len(), 3);
        let firsts: BTreeSet<_> = (0..100).map(|n| draw(&n.to_string())[0]).collect();
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    #[test]
    fn nobody_is_given_his_own_words_and_no_language_without_a_list_is() {
        let said = "we can leave at noon, if the weather stays clear";
        for clip in 0..50 {
            let drawn = draw("en", &clip.to_string(), "S1", said, 100);
            assert!(
                !drawn.contains(&"We can leave at noon if the weather stays clear.") && drawn.len() == 15
            );
        }
        assert!(draw("tlh", "a", "S1", "x", 3).is_empty());
    }

    #[test]
    fn long_enough_sentences_come_first() {
        let said = "word ".repeat(21);
        let first = draw("en", "a", "S1", &said, 1)[0];
        assert!(first.chars().count() >= 52, "{first}");
    }

    #[test]
    fn every_line_is_one_sentence() {
        for (language, list) in LISTS {
            for line in list.lines() {
                assert!(
                    line.ends_with(['.', '?', '。', '？']) && line.trim() == line,
                    "{language}: {line}"
                );
            }
        }
    }
}
