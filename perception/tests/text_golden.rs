//! Whisper's normalisers and jiwer's counts against the reference's own outputs.

use omni_perception::text::{BasicNormalizer, EnglishNormalizer, edits, jiwer_chars, jiwer_words, score};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/text/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn normalisers_give_the_reference_strings() {
    let basic = BasicNormalizer::default();
    let folded = BasicNormalizer {
        remove_diacritics: true,
        ..basic
    };
    let split = BasicNormalizer {
        split_letters: true,
        ..basic
    };
    let cases = fixture("normalizer.json");
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let text = case["in"].as_str().unwrap();
        let got = [
            ("english", EnglishNormalizer.normalize(text)),
            ("basic", basic.normalize(text)),
            ("basic_remove_diacritics", folded.normalize(text)),
            ("basic_split_letters", split.normalize(text)),
        ];
        wrong.extend(
            got.into_iter()
                .filter(|(k, got)| case[*k] != got.as_str())
                .map(|(k, got)| format!("{k} {text:?}: {got:?} for {}", case[k])),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.as_array().unwrap().len(), 296);
}

fn close(got: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() < 1e-12, "{what}: {got} for {expected}");
}

#[test]
fn error_rates_are_those_of_the_reference() {
    let all = fixture("wer_pairs.json");
    let (mut sum, mut errors, mut words) = (0.0, 0, 0);
    let pairs = all["pairs"].as_array().unwrap();
    for pair in pairs {
        let [language, reference, hypothesis] = ["lang", "ref", "hyp"].map(|k| pair[k].as_str().unwrap());
        let scored = score(language, reference, hypothesis);
        assert_eq!(scored.reference, pair["proposed"]["ref"].as_str().unwrap());
        assert_eq!(scored.hypothesis, pair["proposed"]["hyp"].as_str().unwrap());
        close(scored.errors.rate(), &pair["proposed"]["wer"], reference);
        close(
            edits(&jiwer_words(reference), &jiwer_words(hypothesis)).rate(),
            &pair["raw_words"]["wer"],
            reference,
        );
        close(
            edits(&jiwer_chars(reference), &jiwer_chars(hypothesis)).rate(),
            &pair["raw_chars"]["cer"],
            reference,
        );
        sum += scored.errors.rate();
        errors += scored.errors.total();
        words += scored.errors.reference();
    }
    close(
        sum / pairs.len() as f64,
        &all["summary_proposed"]["mean_of_pair_wer"],
        "mean",
    );
    close(
        errors as f64 / words as f64,
        &all["summary_proposed"]["pooled_wer"],
        "pooled",
    );
}
