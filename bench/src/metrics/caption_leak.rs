//! `caption_leak`: words of the description that are spoken although nobody is to say them (the paper's caption
//! vocalization). The formula is in docs/metrics.md.

use std::collections::BTreeSet;

use omni_perception::text::{counts_characters, jiwer_words, score};

/// Words of a run that counts.
const WORDS: usize = 3;
/// Characters of a run that counts, in languages that are counted by characters.
const CHARACTERS: usize = 6;

/// Share of the spoken words that lie in a run of the prompt's description and in no utterance. 0 when nothing is said.
pub fn caption_leak(language: &str, spoken: &str, prompt: &str, utterances: &[&str]) -> f64 {
    let run = if counts_characters(language) {
        CHARACTERS
    } else {
        WORDS
    };
    let spoken = words(language, spoken);
    let mut allowed = BTreeSet::new();
    let said: Vec<Vec<String>> = utterances.iter().map(|text| words(language, text)).collect();
    said.iter().for_each(|words| allowed.extend(words.windows(run)));
    let description = words(language, &description(prompt));
    let leaky: BTreeSet<&[String]> = description
        .windows(run)
        .filter(|run| !allowed.contains(run))
        .collect();
    let mut leaks = vec![false; spoken.len()];
    for (i, window) in spoken.windows(run).enumerate() {
        if leaky.contains(window) {
            leaks[i..i + run].fill(true);
        }
    }
    leaks.iter().filter(|leak| **leak).count() as f64 / spoken.len().max(1) as f64
}

/// Words (or characters) as the error rate of the language sees them.
fn words(language: &str, text: &str) -> Vec<String> {
    jiwer_words(&score(language, text, "").reference)
}

/// The prompt without what is to be said and without tags. A `<S>` that is never closed runs to the end.
pub fn description(prompt: &str) -> String {
    let mut out = String::new();
    let mut rest = prompt;
    while let Some((before, after)) = rest.split_once("<S>") {
        out.push_str(before);
        // A mark that is no word, so that no run crosses what was said.
        out.push_str(" \u{2014} ");
        rest = after.split_once("<E>").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    without_tags(&out)
}

fn without_tags(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        out.push(' ');
        rest = match after.split_once('>') {
            Some((name, rest)) if name.len() <= 16 => rest,
            _ => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str =
        "The man in red <sub1> stands by the old door. <sub1> says, <S>Come in and sit down.<E> Rain falls.";

    fn leak(spoken: &str) -> f64 {
        caption_leak("en", spoken, PROMPT, &["Come in and sit down."])
    }

    #[test]
    fn only_runs_of_the_description_leak() {
        assert_eq!(leak("Come in and sit down."), 0.0);
        assert_eq!(leak(""), 0.0);
        assert_eq!(leak("the man said something else"), 0.0, "two words are chance");
        assert_eq!(leak("By the old door come in"), 4.0 / 6.0);
        assert_eq!(leak("the old door"), 1.0);
    }

    #[test]
    fn what_is_to_be_said_never_leaks_even_if_it_is_described() {
        let prompt = "He says come in and sit down slowly. <S>Come in and sit down.<E>";
        let spoken = "come in and sit down";
        assert_eq!(
            caption_leak("en", spoken, prompt, &["Come in and sit down."]),
            0.0
        );
        assert!(caption_leak("en", "sit down slowly", prompt, &["Come in and sit down."]) > 0.9);
    }

    #[test]
    fn chinese_counts_characters() {
        let prompt = "一个男人站在旧门旁边。<S>请进来坐吧。<E>";
        let leak = |spoken: &str| caption_leak("zh", spoken, prompt, &["请进来坐吧。"]);
        assert_eq!(leak("站在旧门旁"), 0.0, "five characters");
        assert_eq!(leak("站在旧门旁边"), 1.0);
    }

    #[test]
    fn tags_and_open_markers() {
        assert_eq!(
            description("a <S>b<E> c <S>d")
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["a", "\u{2014}", "c", "\u{2014}"]
        );
        assert_eq!(
            description("x<sub1>y < z").split_whitespace().collect::<Vec<_>>(),
            ["x", "y", "z"]
        );
    }
}
