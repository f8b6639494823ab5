//! `whisper/`: the log-mel picture, the tokenizer and the rules of decoding (openai/whisper).

use omni_media::{Limits, Span, read_audio_16k};
use omni_perception::audio::{
    RATE,
    mel::{LogMel, WINDOW, WINDOW_FRAMES},
    tokenizer::Tokenizer,
    whisper::{LogitRules, argmax, compression_ratio},
};
use serde_json::{Value, json};

use super::{
    Desk, Entry,
    files::{Json, Problem},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "whisper",
        file: "logmel.safetensors",
        run: pictures,
    },
    Entry {
        folder: "whisper",
        file: "jfk.flac",
        run: downmix,
    },
    Entry {
        folder: "whisper",
        file: "tokenizer.json",
        run: tokens,
    },
];

const WAVE: &str = "jfk_16k_s16.wav";
const TABLE: &str = "multilingual.tiktoken";

fn downmix(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let path = desk.file("jfk.flac")?;
    let got = read_audio_16k(&path, &Span::default(), &Limits::default())
        .map_err(|error| Problem::file("jfk.flac", error))?;
    let want = desk.wave(WAVE)?;
    // One step of a 16-bit sample.
    desk.close32(
        "samples as ffmpeg mixes and resamples them",
        &got.samples,
        &want,
        1.0 / 32768.0,
    );
    Ok(())
}

fn pictures(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let tensors = desk.tensors("logmel.safetensors")?;
    let wave = if desk.needs(WAVE) {
        Some(desk.wave(WAVE)?)
    } else {
        None
    };
    for bins in [80, 128] {
        let mel = LogMel::new(bins);
        let name = |rest: &str| format!("{rest}_{bins}");
        if tensors.has(&name("mel_filters")) {
            let want = tensors.f32s(&name("mel_filters"))?;
            desk.close32(&format!("{bins} filters"), &mel.filters(), &want, 1e-7);
        }
        let silent = format!("logmel{bins}_silence_1s");
        if tensors.has(&silent) {
            let picture = mel.whole(&vec![0.0; RATE as usize]);
            desk.close32(
                &format!("{bins} bands of silence"),
                &picture,
                &tensors.f32s(&silent)?,
                1e-4,
            );
        }
        let Some(wave) = &wave else { continue };
        let whole = format!("logmel{bins}_nopad");
        if tensors.has(&whole) {
            desk.close32(
                &format!("{bins} bands, not padded"),
                &mel.whole(wave),
                &tensors.f32s(&whole)?,
                1e-4,
            );
        }
        let first = tensors
            .names()
            .find(|n| n.starts_with(&format!("logmel{bins}_pad30s_first")))
            .map(str::to_owned);
        if let Some(first) = first {
            let columns = tensors
                .shape(&first)?
                .last()
                .copied()
                .unwrap_or(0)
                .min(WINDOW_FRAMES);
            let picture = mel.window(wave);
            let rows = || picture.chunks_exact(WINDOW_FRAMES);
            let got: Vec<f32> = rows().flat_map(|row| &row[..columns]).copied().collect();
            desk.close32(
                &format!("{bins} bands of 30 s"),
                &got,
                &tensors.f32s(&first)?,
                1e-4,
            );
            let tail = tensors.f32s(&format!("logmel{bins}_pad30s_tail_value"))?;
            let tail = tail.first().copied().unwrap_or(f32::NAN);
            let got: Vec<f32> = rows().flat_map(|row| &row[columns..]).copied().collect();
            desk.close32(
                &format!("{bins} bands, behind the sound"),
                &got,
                &vec![tail; got.len()],
                1e-4,
            );
        }
        let count = format!("logmel{bins}_transcribe_frame_count");
        if tensors.has(&count) {
            // `transcribe` pads by a whole window before it pictures.
            let padded = [wave.as_slice(), &vec![0.0; WINDOW]].concat();
            let frames = (mel.whole(&padded).len() / bins) as i64;
            desk.equal(
                &format!("{bins} bands: frames of `transcribe`"),
                &vec![frames],
                &tensors.i64s(&count)?,
            );
        }
    }
    Ok(())
}

fn tokens(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("tokenizer.json")?;
    let table = String::from_utf8(desk.bytes(TABLE)?).map_err(|error| Problem::file(TABLE, error))?;
    let tokenizer = Tokenizer::from_tiktoken(&table, golden.count("n_vocab")?)?;
    specials(desk, &golden, &tokenizer)?;
    let mut encoded = Vec::new();
    for case in golden.cases("encode")? {
        let text = case.text("text")?;
        encoded.push((format!("{text:?}"), tokenizer.encode(text), case.read("ids")?));
    }
    desk.all_equal("tokens of texts", &encoded);
    let stamped = golden.at("decode_with_timestamps_example")?;
    let ids: Vec<u32> = stamped.read("ids")?;
    let text = tokenizer.decode_with_timestamps(&ids);
    desk.equal("a text with times", &text.as_str(), &stamped.text("text")?);
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for case in golden.cases("compression_ratio")? {
        // Another writer of the same format may find a match that is one byte longer: compared in bytes of its stream.
        let text = case.text("text")?;
        got.push(text.len() as f64 / compression_ratio(text));
        want.push(text.len() as f64 / case.number("ratio")?);
    }
    desk.close("bytes behind the compression ratio", &got, &want, 1.5);
    if desk.needs("decoder_logits.safetensors") {
        filters(desk, &golden, &tokenizer)?;
    }
    Ok(())
}

fn specials(desk: &mut Desk<'_>, golden: &Value, tokenizer: &Tokenizer) -> Result<(), Problem> {
    let special = tokenizer.special();
    let numbers = [
        ("eot", special.eot),
        ("sot", special.sot),
        ("transcribe", special.transcribe),
        ("translate", special.translate),
        ("sot_lm", special.sot_lm),
        ("sot_prev", special.sot_prev),
        ("no_speech", special.no_speech),
        ("no_timestamps", special.no_timestamps),
        ("timestamp_begin", special.timestamp_begin),
    ];
    let mut pairs = Vec::new();
    for (name, id) in numbers {
        pairs.push((name.to_owned(), Some(id), Some(golden.read::<u32>(name)?)));
    }
    for (code, id) in golden.at("language_tokens")?.as_object().into_iter().flatten() {
        let want = id.as_u64().map(|id| id as u32);
        pairs.push((code.clone(), special.languages.get(code).copied(), want));
    }
    desk.all_equal("tokens that steer", &pairs);
    let english = special.languages.get("en").copied().unwrap_or_default();
    let mut start = vec![special.sot, english, special.transcribe];
    desk.equal("start of a decoding", &start, &golden.read("sot_sequence_en")?);
    start.push(special.no_timestamps);
    desk.equal(
        "start without times",
        &start,
        &golden.read("sot_sequence_en_notimestamps")?,
    );
    desk.equal("a blank", &tokenizer.encode(" "), &golden.read("blank")?);
    desk.equal(
        "tokens that are never said",
        &tokenizer.non_speech(),
        &golden.read("non_speech_tokens")?,
    );
    Ok(())
}

fn filters(desk: &mut Desk<'_>, golden: &Value, tokenizer: &Tokenizer) -> Result<(), Problem> {
    let all = desk.tensors("decoder_logits.safetensors")?.f32s("logits_f16")?;
    let width = golden.count("n_vocab")?;
    let (begin, eot) = (
        tokenizer.special().timestamp_begin as usize,
        tokenizer.special().eot as usize,
    );
    let rules = LogitRules::new(tokenizer, true);
    let mut pairs = Vec::new();
    for (i, case) in golden.cases("logit_filter_cases")?.iter().enumerate() {
        let row = case.count("seed_index")?;
        let logits = all.get(row * width..(row + 1) * width);
        let mut logits = logits
            .ok_or_else(|| Problem::key("seed_index", "is beyond the logits"))?
            .to_vec();
        let bias = case.number("timestamp_bias")? as f32;
        logits[begin..].iter_mut().for_each(|x| *x += bias);
        rules.apply(&mut logits, &case.read::<Vec<u32>>("prefix")?);
        // What is no number is not forbidden: it would be chosen.
        let may = |x: &f32| *x != f32::NEG_INFINITY;
        let count = |part: &[f32]| part.iter().filter(|x| may(x)).count();
        let times: Vec<usize> = (0..width - begin).filter(|t| may(&logits[begin + t])).collect();
        let mut shown: Vec<usize> = times.iter().copied().take(3).collect();
        shown.push(times.len());
        let got = [
            ("argmax", json!(argmax(&logits))),
            ("allowed_count", json!(count(&logits))),
            ("allowed_text_count", json!(count(&logits[..eot]))),
            ("eot_allowed", json!(may(&logits[eot]))),
            ("timestamps_allowed", json!(shown)),
        ];
        for (key, got) in got {
            pairs.push((format!("case {i}, {key}"), got, case.at(key)?.clone()));
        }
    }
    desk.all_equal("tokens that may follow", &pairs);
    Ok(())
}
