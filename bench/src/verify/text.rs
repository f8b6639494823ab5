//! `text/`: normalisers and error rates (openai/whisper, jiwer, seed-tts-eval).

use omni_perception::text::{
    ASCII_PUNCTUATION, BasicNormalizer, EnglishNormalizer, HANZI_PUNCTUATION, edits, jiwer_chars,
    jiwer_words, score, score_seedtts,
};

use super::{
    Desk, Entry,
    files::{Json, Problem, listed},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "text",
        file: "normalizer.json",
        run: normalizers,
    },
    Entry {
        folder: "text",
        file: "wer_pairs.json",
        run: pairs,
    },
    Entry {
        folder: "text",
        file: "english_spelling_map.json",
        run: spelling,
    },
    Entry {
        folder: "text",
        file: "seedtts_punctuation.json",
        run: punctuation,
    },
];

fn normalizers(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let basic = BasicNormalizer::default();
    let folded = BasicNormalizer {
        remove_diacritics: true,
        ..basic
    };
    let split = BasicNormalizer {
        split_letters: true,
        ..basic
    };
    type Normalize<'a> = &'a dyn Fn(&str) -> String;
    let kinds: [(&str, Normalize<'_>); 4] = [
        ("english", &|text| EnglishNormalizer.normalize(text)),
        ("basic", &|text| basic.normalize(text)),
        ("basic_remove_diacritics", &|text| folded.normalize(text)),
        ("basic_split_letters", &|text| split.normalize(text)),
    ];
    let cases = listed(&desk.json("normalizer.json")?)?;
    for (kind, normalize) in kinds {
        let mut pairs = Vec::new();
        for case in cases.iter().filter(|case| case.get(kind).is_some()) {
            let text = case.text("in")?;
            pairs.push((format!("{text:?}"), normalize(text), case.text(kind)?.to_owned()));
        }
        desk.all_equal(&format!("{kind}: {} strings", pairs.len()), &pairs);
    }
    Ok(())
}

fn pairs(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let file = desk.json("wer_pairs.json")?;
    let (mut texts, mut seed_texts) = (Vec::new(), Vec::new());
    let mut rates: [(Vec<f64>, Vec<f64>); 4] = Default::default();
    let (mut sum, mut errors, mut units) = (0.0, 0, 0);
    let all = file.cases("pairs")?;
    for pair in all {
        let (language, reference, hypothesis) = (pair.text("lang")?, pair.text("ref")?, pair.text("hyp")?);
        let what = format!("{language} {reference:?}");
        let scored = score(language, reference, hypothesis);
        let want = pair.at("proposed")?;
        let both = [want.text("ref")?.to_owned(), want.text("hyp")?.to_owned()];
        texts.push((what.clone(), [scored.reference, scored.hypothesis], both));
        sum += scored.errors.rate();
        errors += scored.errors.total();
        units += scored.errors.reference();
        let mut rate = |kind: usize, got: f64, want: f64| {
            rates[kind].0.push(got);
            rates[kind].1.push(want);
        };
        rate(0, scored.errors.rate(), want.number("wer")?);
        let words = edits(&jiwer_words(reference), &jiwer_words(hypothesis)).rate();
        rate(1, words, pair.at("raw_words")?.number("wer")?);
        let letters = edits(&jiwer_chars(reference), &jiwer_chars(hypothesis)).rate();
        rate(2, letters, pair.at("raw_chars")?.number("cer")?);
        if let Some(want) = pair.get("seedtts") {
            let scored = score_seedtts(language, reference, hypothesis)
                .ok_or_else(|| Problem::Answer(format!("seed-tts-eval has no rule for {language}")))?;
            let both = [want.text("ref")?.to_owned(), want.text("hyp")?.to_owned()];
            rate(3, scored.errors.rate(), want.number("wer")?);
            seed_texts.push((what, [scored.reference, scored.hypothesis], both));
        }
    }
    desk.all_equal("texts as they are compared", &texts);
    let names = [
        "error rate",
        "jiwer's word error rate",
        "jiwer's character error rate",
        "seed-tts-eval's rate",
    ];
    for (name, (got, want)) in names.into_iter().zip(&rates) {
        if !want.is_empty() {
            desk.close(name, got, want, 1e-12);
        }
    }
    if !seed_texts.is_empty() {
        desk.all_equal("texts as seed-tts-eval compares them", &seed_texts);
    }
    if let Some(summary) = file.get("summary_proposed") {
        let mean = sum / all.len().max(1) as f64;
        desk.judge(
            "mean of the rates",
            (mean - summary.number("mean_of_pair_wer")?).abs(),
            1e-12,
        );
        let pooled = errors as f64 / units.max(1) as f64;
        desk.judge(
            "rate over all words",
            (pooled - summary.number("pooled_wer")?).abs(),
            1e-12,
        );
    }
    Ok(())
}

fn spelling(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let file = desk.json("english_spelling_map.json")?;
    let words = file
        .as_object()
        .ok_or_else(|| Problem::key("the file", "is no object"))?;
    let mut pairs = Vec::new();
    // The table is asked word by word after fillers are gone, so a key of several words is never found, nor a filler.
    let filler = |word: &str| matches!(word, "hmm" | "mm" | "mhm" | "mmm" | "uh" | "um");
    let single = |word: &str| word.chars().all(char::is_alphabetic) && !filler(word);
    for (british, american) in words.iter().filter(|(british, _)| single(british)) {
        let american = american
            .as_str()
            .ok_or_else(|| Problem::key(british, "is no text"))?;
        pairs.push((
            british.clone(),
            EnglishNormalizer.normalize(british),
            american.to_owned(),
        ));
    }
    if !pairs.is_empty() {
        desk.all_equal(&format!("spelling of {} words", pairs.len()), &pairs);
    }
    Ok(())
}

fn punctuation(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let file = desk.json("seedtts_punctuation.json")?;
    desk.equal(
        "Chinese punctuation",
        &HANZI_PUNCTUATION,
        &file.text("zhon_hanzi_punctuation")?,
    );
    desk.equal(
        "ASCII punctuation",
        &ASCII_PUNCTUATION,
        &file.text("python_string_punctuation")?,
    );
    desk.equal("what is kept", &"'", &file.text("kept")?);
    Ok(())
}
