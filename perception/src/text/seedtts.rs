//! Error rates by the rules of seed-tts-eval (`run_wer.py`): a second protocol, so that published numbers made with it
//! can be compared.

use super::wer::{Errors, Scored, edits, jiwer_words};

/// What is taken out: the package zhon's Chinese punctuation.
pub const HANZI_PUNCTUATION: &str = "＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､\u{3000}、〃〈〉《》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏﹑﹔·．！？｡。";
/// What is taken out: Python's `string.punctuation`, except the apostrophe, which is kept.
pub const ASCII_PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Scores a hypothesis in English (`en`) or Chinese (`zh`); `None` for other languages, for which the protocol has no
/// rule. Chinese is counted by characters.
pub fn score_seedtts(language: &str, reference: &str, hypothesis: &str) -> Option<Scored> {
    let [reference, hypothesis] = [reference, hypothesis].map(|text| comparable(language, text));
    let (reference, hypothesis) = (reference?, hypothesis?);
    let errors: Errors = edits(&jiwer_words(&reference), &jiwer_words(&hypothesis));
    Some(Scored {
        reference,
        hypothesis,
        errors,
    })
}

fn comparable(language: &str, text: &str) -> Option<String> {
    let drops = |c: char| c != '\'' && (HANZI_PUNCTUATION.contains(c) || ASCII_PUNCTUATION.contains(c));
    // Single pass, as in the reference: three spaces leave two.
    let kept = text.replace(drops, "").replace("  ", " ");
    match language {
        "zh" => {
            let spaced: Vec<String> = kept.chars().map(String::from).collect();
            Some(spaced.join(" "))
        }
        "en" => Some(kept.to_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_goes_by_characters_and_english_by_words() {
        let chinese = score_seedtts("zh", "你好，世界。", "你好世").unwrap();
        assert_eq!(
            (chinese.reference.as_str(), chinese.errors.deletions),
            ("你 好 世 界", 1)
        );
        let english = score_seedtts("en", "Don't stop!", "don't, stop").unwrap();
        assert_eq!(english.errors.total(), 0);
        assert!(score_seedtts("de", "a", "a").is_none());
    }
}
