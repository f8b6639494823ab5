//! CosyVoice's server: a form in, bare 16-bit PCM out. It reports a failure by ending the connection, so a sound is taken
//! only when it arrived whole and is plausible for its text.

use super::{Endpoint, ask::Unusable};
use omni_media::Waveform;
use omni_net::service::{Body, Call, Part, Reply, Usage};

/// Name of the service.
pub const SERVICE: &str = "cosyvoice";
/// Longest prompt the server takes, seconds.
pub const MOST_PROMPT: f64 = 30.0;
/// Shortest sound that is a sentence, seconds.
const SHORTEST: f64 = 0.15;
/// Seconds beyond what the words need.
const PAUSES: f64 = 2.0;
/// Full scale is 1; speech lies well above this.
const QUIET: f32 = 0.003;
/// Largest share of samples at full scale: rare clicks are known of this server.
const CLIPPED: f64 = 0.01;

/// What is to be said, and in whose voice.
pub struct Wanted<'a> {
    /// The text to say.
    pub text: &'a str,
    /// ISO 639-1 code of the text.
    pub language: &'a str,
    /// The words of the prompt sound.
    pub prompt_text: &'a str,
    /// What CosyVoice3 wants before them; empty for the older models.
    pub prefix: &'a str,
    /// The prompt as a WAV file, 16 kHz or more.
    pub prompt_wav: Vec<u8>,
    /// Samples a second of the model: 24000 for CosyVoice2 and 3, 22050 for the first.
    pub rate: u32,
}

/// The request (zero-shot).
pub fn call(wanted: &Wanted<'_>, endpoint: &Endpoint) -> Call {
    let prompt = format!("{}{}", wanted.prefix, spoken(wanted.prompt_text));
    let parts = vec![
        Part::text("tts_text", wanted.text),
        Part::text("prompt_text", &prompt),
        Part::file("prompt_wav", "prompt.wav", "audio/wav", wanted.prompt_wav.clone()),
    ];
    let most = Usage {
        seconds: longest(wanted.text, wanted.language),
        ..Usage::default()
    };
    Call {
        price: endpoint.price(most, used),
        ..Call::post(SERVICE, "zero_shot@1", "/inference_zero_shot", Body::Form(parts))
    }
}

/// Seconds of an answer. PCM names no rate; the lowest of any model never says too little.
fn used(body: &[u8]) -> Option<Usage> {
    Some(Usage {
        seconds: body.len() as f64 / 2.0 / 22_050.0,
        ..Usage::default()
    })
}

/// The text without inline marks such as `[laughter]`, which the recogniser or the server's own language may hold.
fn spoken(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0u32;
    for letter in text.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    // `<|` would switch off the server's text normalisation.
    out.replace("<|", "")
        .replace("|>", "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The longest that a text takes: 0.6 s a word, or 0.5 s a character of languages written without blanks.
pub fn longest(text: &str, language: &str) -> f64 {
    let unspaced = ["zh", "yue", "ja", "th", "lo", "my", "km"].contains(&language);
    let seconds = match unspaced {
        true => 0.5 * text.chars().filter(|letter| letter.is_alphanumeric()).count() as f64,
        false => 0.6 * text.split_whitespace().count() as f64,
    };
    seconds + PAUSES
}

/// The sound of an answer.
///
/// # Errors
/// `unframed`, `no_sound`, `odd_bytes`, `too_short`, `runaway`, `silent`, `clipped`.
pub fn read(reply: &Reply, wanted: &Wanted<'_>) -> Result<Waveform, Unusable> {
    let no = |reason, detail: String| Err(Unusable::new(reason, detail));
    if !reply.framed {
        return no(
            "unframed",
            "nothing marks the end of the sound, so it may be cut".into(),
        );
    }
    if reply.body.is_empty() {
        return no("no_sound", "the answer is empty".into());
    }
    if !reply.body.len().is_multiple_of(2) {
        return no(
            "odd_bytes",
            format!("{} bytes are no 16-bit samples", reply.body.len()),
        );
    }
    let samples: Vec<f32> = reply
        .body
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
        .collect();
    let seconds = samples.len() as f64 / f64::from(wanted.rate.max(1));
    let most = longest(wanted.text, wanted.language);
    if seconds < SHORTEST {
        return no("too_short", format!("{seconds:.3} s"));
    }
    if seconds > most {
        return no("runaway", format!("{seconds:.1} s where {most:.1} s are enough"));
    }
    let power = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum::<f64>()
        / samples.len() as f64;
    if power.sqrt() < f64::from(QUIET) {
        return no("silent", format!("RMS {:.5}", power.sqrt()));
    }
    let clipped =
        samples.iter().filter(|sample| sample.abs() >= 0.9999).count() as f64 / samples.len() as f64;
    if clipped > CLIPPED {
        return no(
            "clipped",
            format!("{:.1} % of the samples at full scale", 100.0 * clipped),
        );
    }
    Ok(Waveform {
        rate: wanted.rate,
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "We can leave at noon.";

    fn wanted() -> Wanted<'static> {
        Wanted {
            text: TEXT,
            language: "en",
            prompt_text: "Come in, [laughter] sit <|down|>.",
            prefix: "You are a helpful assistant.<|endofprompt|>",
            prompt_wav: b"RIFF".to_vec(),
            rate: 24_000,
        }
    }

    fn reply(body: Vec<u8>, framed: bool) -> Reply {
        Reply {
            framed,
            ..Reply::ok(body)
        }
    }

    fn tone(seconds: f64, level: f64) -> Vec<u8> {
        let sample =
            |at: usize| ((at as f64 * 0.05).sin() * level * 32_768.0).clamp(-32_768.0, 32_767.0) as i16;
        (0..(seconds * 24_000.0) as usize)
            .flat_map(|at| sample(at).to_le_bytes())
            .collect()
    }

    #[test]
    fn one_bad_sound_for_each_rule() {
        let reason = |body: Vec<u8>, framed| {
            read(&reply(body, framed), &wanted()).map_or_else(|error| error.reason, |_| "good")
        };
        let odd = [tone(1.0, 0.3), vec![0]].concat();
        let rows = [
            ("good", tone(1.5, 0.3)),
            ("no_sound", vec![]),
            ("odd_bytes", odd),
            ("too_short", tone(0.1, 0.3)),
            ("runaway", tone(6.0, 0.3)),
            ("silent", tone(1.5, 0.0001)),
            ("clipped", tone(1.5, 3.0)),
        ];
        for (wanted, body) in rows {
            assert_eq!(reason(body, true), wanted);
        }
        assert_eq!(reason(tone(1.5, 0.3), false), "unframed");
    }

    #[test]
    fn one_click_at_full_scale_is_forgiven() {
        let mut body = tone(1.5, 0.3);
        body[100..102].copy_from_slice(&i16::MIN.to_le_bytes());
        let wave = read(&reply(body, true), &wanted()).unwrap();
        assert_eq!(
            (wave.rate, wave.samples.len(), wave.samples[50]),
            (24_000, 36_000, -1.0)
        );
    }

    #[test]
    fn the_form_holds_the_three_fields_and_the_prefix() {
        let Body::Form(parts) = call(&wanted(), &Endpoint::default()).body else {
            panic!()
        };
        let text = |at: usize| String::from_utf8(parts[at].bytes.clone()).unwrap();
        assert_eq!((parts[0].name.as_str(), text(0)), ("tts_text", TEXT.into()));
        assert_eq!(
            (parts[1].name.as_str(), text(1)),
            (
                "prompt_text",
                "You are a helpful assistant.<|endofprompt|>Come in, sit down.".into()
            )
        );
        assert_eq!(parts[2].name, "prompt_wav");
        assert!(parts[2].file.is_some());
    }

    #[test]
    fn bounds_follow_the_language() {
        assert_eq!(longest(TEXT, "en"), 5.0);
        assert_eq!(longest("希望你以后，", "zh"), 4.5);
    }
}
