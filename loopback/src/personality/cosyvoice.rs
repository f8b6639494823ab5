//! CosyVoice's FastAPI server: raw PCM in chunks, without media type, length or rate.

use serde_json::json;

use crate::Request;
use crate::answer::Answer;
use crate::request::FormPart;

const RATE: f64 = 24_000.0;
/// Odd, so that samples are split between chunks.
const CHUNK: usize = 4801;
const FIELDS: [&str; 3] = ["tts_text", "prompt_text", "prompt_wav"];

pub(crate) fn answer(request: &Request, content: Option<&str>, canned: Option<&str>) -> Answer {
    if request.path != "/inference_zero_shot" {
        return Answer::json(404, r#"{"detail":"Not Found"}"#);
    }
    let form = request.form().unwrap_or_default();
    let find = |name: &str| form.iter().find(|part| part.name == name);
    let missing: Vec<_> = FIELDS
        .iter()
        .filter(|name| find(name).is_none())
        .map(|name| json!({"type": "missing", "loc": ["body", name], "msg": "Field required", "input": null}))
        .collect();
    if !missing.is_empty() {
        return Answer::value(422, &json!({ "detail": missing }));
    }
    let text = |name: &str| {
        find(name)
            .map(|part| String::from_utf8_lossy(&part.bytes).into_owned())
            .unwrap_or_default()
    };
    let Some(wav) = find("prompt_wav").filter(|part| part.is_file) else {
        let message = "Value error, Expected UploadFile, received: <class 'str'>";
        return Answer::value(
            422,
            &json!({"detail": [{"type": "value_error", "loc": ["body", "prompt_wav"], "msg": message}]}),
        );
    };
    let Some(seconds) = prompt_seconds(wav) else {
        return Answer {
            status: 500,
            headers: vec![("Content-Type".into(), "text/plain; charset=utf-8".into())],
            body: b"Internal Server Error".to_vec(),
            ..Answer::default()
        };
    };
    if seconds > 30.0 || !text("prompt_text").contains("<|endofprompt|>") {
        return fails(&[]);
    }
    let asked = content.and_then(|seconds| seconds.parse().ok());
    speak(&text("tts_text"), asked, canned.unwrap_or_default())
}

/// Seconds of a WAV file of 16 kHz or more; `None` when the loader would assert.
fn prompt_seconds(wav: &FormPart) -> Option<f64> {
    let bytes = wav.bytes.get(..44).filter(|head| head.starts_with(b"RIFF"))?;
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (rate, per_second) = (number(24)?, number(28)?);
    (rate >= 16_000 && per_second > 0).then(|| (wav.bytes.len() - 44) as f64 / f64::from(per_second))
}

fn fails(body: &[u8]) -> Answer {
    Answer {
        status: 200,
        body: body.to_vec(),
        chunks: Some(CHUNK),
        broken_end: true,
        ..Answer::default()
    }
}

fn speak(text: &str, asked: Option<f64>, canned: &str) -> Answer {
    let words = text
        .split_whitespace()
        .filter(|word| word.contains(char::is_alphanumeric))
        .count();
    let unspaced = text.chars().filter(|letter| *letter >= '\u{2e80}').count();
    let seconds = asked.unwrap_or(0.3 * (words.max(1) as f64) + 0.2 * unspaced as f64);
    let loud = |seconds: f64, gain: f64| pcm(seconds, gain);
    let body = match canned {
        _ if words + unspaced == 0 => Vec::new(),
        "empty" => Vec::new(),
        "odd" => {
            let mut bytes = loud(seconds, 0.3);
            bytes.pop();
            bytes
        }
        "short" => loud(0.05, 0.3),
        "runaway" => loud(seconds * 20.0 + 5.0, 0.3),
        "silent" => loud(seconds, 0.0),
        "clipped" => loud(seconds, 30.0),
        "fails" => return fails(&loud(seconds, 0.3)[..1001]),
        _ => loud(seconds, 0.3),
    };
    Answer {
        status: 200,
        body,
        chunks: Some(CHUNK),
        ..Answer::default()
    }
}

/// Something like a vowel: harmonics of 140 Hz under a slow envelope, 16-bit little-endian mono.
fn pcm(seconds: f64, gain: f64) -> Vec<u8> {
    let samples = (seconds * RATE) as usize;
    let sample = |at: usize| {
        let time = at as f64 / RATE;
        let turn = |hertz: f64| (time * hertz * std::f64::consts::TAU).sin();
        let voiced = turn(140.0) + 0.6 * turn(280.0) + 0.4 * turn(700.0) + 0.2 * turn(1220.0);
        let envelope = 0.6 + 0.4 * turn(3.0);
        (gain * voiced * envelope * 16_384.0).clamp(-32_768.0, 32_767.0) as i16
    };
    (0..samples).flat_map(|at| sample(at).to_le_bytes()).collect()
}
