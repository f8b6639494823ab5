//! The real networks on real clips. Each test is skipped, with a printed line, where something is missing.

use std::time::Instant;

use super::diarize::{Diarizer, Turn};
use super::embedding::{SpeakerEmbedder, cosine};
use super::pieces::transcribe_turns;
use super::seconds;
use super::segmentation::SpeakerSegmentation;
use super::testing::clip;
use super::vad::{Vad, VadSettings};
use super::whisper::{Recognizer, TranscribeOptions, WhisperFiles};
use crate::runtime::testing::{model, network, runtime};
use crate::text::score;

fn diarizer() -> Option<Diarizer> {
    let runtime = runtime()?;
    let (vad, segmentation) = (
        vad()?,
        model("pyannote_segmentation_3", "pyannote-segmentation-3.0.onnx")?,
    );
    let segmentation =
        SpeakerSegmentation::open(&runtime, &segmentation, network("pyannote_segmentation_3")).unwrap();
    Some(Diarizer::new(vad, segmentation, embedder()?, Default::default()))
}

fn vad() -> Option<Vad> {
    let file = model("silero_vad_v6", "silero_vad.onnx")?;
    Some(
        Vad::open(
            &runtime()?,
            &file,
            network("silero_vad_v6"),
            VadSettings::default(),
        )
        .unwrap(),
    )
}

fn embedder() -> Option<SpeakerEmbedder> {
    let file = model("wespeaker_resnet34", "wespeaker-resnet34-256.onnx")?;
    Some(SpeakerEmbedder::open(&runtime()?, &file, network("wespeaker_resnet34")).unwrap())
}

fn recognizer() -> Option<Recognizer> {
    let file = |name| model("whisper_base_q8", name);
    let files = WhisperFiles {
        encoder: file("encoder_model_quantized.onnx")?,
        decoder: file("decoder_model_merged_quantized.onnx")?,
        tokenizer: file("tokenizer.json")?,
        config: file("config.json")?,
    };
    Some(Recognizer::open(&runtime()?, &files, network("whisper_base_q8")).unwrap())
}

fn speakers(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.speaker + 1).max().unwrap_or(0)
}

/// Clips with known words.
const KNOWN: [(&str, &str); 13] = [
    ("videos/grid_bbaf2n.mpg", "bin blue at f two now"),
    ("videos/grid_lbbc2a.mpg", "lay blue by c two again"),
    ("videos/grid_lrwp9a.mpg", "lay red with p nine again"),
    ("videos/grid_lwbsza.mpg", "lay white by s zero again"),
    ("videos/grid_pwij3p.mpg", "place white in j three please"),
    ("videos/grid_sbia1a.mpg", "set blue in a one again"),
    ("videos/grid_swwp2s.mpg", "set white with p two soon"),
    (
        "videos/dialogue_bbaf2n_lwbsza.mp4",
        "bin blue at f two now lay white by s zero again",
    ),
    ("videos/distractor_lbbc2a_sbia1a.mp4", "lay blue by c two again"),
    ("videos/offscreen_sbia1a_lbbc2a.mp4", "lay blue by c two again"),
    (
        "videos/ovi_kitchen_two_women.mp4",
        "AI declares: humans obsolete now.",
    ),
    (
        "videos/ovi_stage_three_men.mp4",
        "Circuits choose conquest, not service.",
    ),
    (
        "videos/ovi_two_men_dark.mp4",
        "continue to be a smart ass, and Tirani here will kill you like he wants to.",
    ),
];

#[test]
fn speakers_are_counted() {
    let Some(diarizer) = diarizer() else { return };
    let one = [
        "speech/jfk.flac",
        "speech/librivox_0870.wav",
        "speech/librivox_0890.wav",
        "speech/libri_1688_0008.flac",
        "speech/libri_2033_0004.flac",
        "speech/libri_3080_0004.flac",
        "speech/libri_367_0000.flac",
        "speech/libri_367_0009.flac",
        "speech/sb_spk1_snt1.wav",
        "speech/sb_spk2_snt2.wav",
        "speech/enrol_katie.wav",
        "videos/late200ms_lrwp9a.mp4",
        "videos/early200ms_lrwp9a.mp4",
    ];
    let known = KNOWN.map(|(path, _)| (path, if path.contains("dialogue") { 2 } else { 1 }));
    let others = [
        ("videos/flower_no_person.mp4", 0),
        ("videos/mova_cat_no_person.mp4", 0),
        ("speech/two_speakers_katie_steve.wav", 2),
    ];
    let mut wrong = Vec::new();
    for (path, expected) in known.into_iter().chain(one.map(|path| (path, 1))).chain(others) {
        let Some(wave) = clip(path) else { return };
        let start = Instant::now();
        let turns = diarizer.turns(&wave).unwrap();
        let times: Vec<String> = turns
            .iter()
            .map(|t| format!("{}:{:.2}-{:.2}", t.speaker, t.start, t.end))
            .collect();
        println!(
            "{path} {} in {:.2} s for {:.1} s: {}",
            speakers(&turns),
            start.elapsed().as_secs_f64(),
            seconds(&wave),
            times.join(" ")
        );
        if speakers(&turns) != expected {
            wrong.push((path, speakers(&turns), expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_dialogue_changes_hands_in_the_middle() {
    let (Some(diarizer), Some(wave)) = (diarizer(), clip("videos/dialogue_bbaf2n_lwbsza.mp4")) else {
        return;
    };
    for turn in diarizer.turns(&wave).unwrap() {
        let second = turn.start > 2.5;
        assert_eq!(turn.speaker, usize::from(second), "{turn:?}");
        assert!(second || turn.end < 3.5, "{turn:?}");
    }
}

#[test]
fn known_words_are_heard() {
    let (Some(diarizer), Some(recognizer)) = (diarizer(), recognizer()) else {
        return;
    };
    let (mut sum, mut whole, mut plain) = (0.0, 0.0, 0.0);
    for (path, words) in KNOWN {
        let Some(wave) = clip(path) else { return };
        let turns = diarizer.turns(&wave).unwrap();
        let start = Instant::now();
        let heard = transcribe_turns(&recognizer, &wave, &turns, None, &|| true).unwrap();
        let elapsed = start.elapsed().as_secs_f64();
        let text = heard
            .iter()
            .map(|turn| turn.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let rate = score("en", words, &text).errors.rate();
        sum += rate;
        println!("{path} WER {rate:.2} in {elapsed:.2} s: {heard:?}");
        for (timestamps, total) in [(true, &mut whole), (false, &mut plain)] {
            if std::env::var_os("OMNI_COMPARE").is_none() {
                continue;
            }
            let said = recognizer
                .transcribe(
                    &wave,
                    &TranscribeOptions {
                        language: None,
                        timestamps,
                    },
                    &|| true,
                )
                .unwrap();
            let rate = score("en", words, &said.text()).errors.rate();
            *total += rate;
            println!(
                "  timestamps {timestamps}: {rate:.2} {} {}",
                said.language,
                said.text()
            );
        }
    }
    let n = KNOWN.len() as f64;
    println!(
        "mean WER: turns {:.3}, whole with times {:.3}, without {:.3}",
        sum / n,
        whole / n,
        plain / n
    );
    assert!(sum / n <= 0.30, "{}", sum / n);
}

#[test]
fn a_long_recording_is_heard_in_windows() {
    let (Some(recognizer), Some(wave)) = (recognizer(), clip("speech/jfk.flac")) else {
        return;
    };
    let words = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country.";
    let options = TranscribeOptions {
        language: Some("en".into()),
        timestamps: true,
    };
    let once = recognizer.transcribe(&wave, &options, &|| true).unwrap();
    assert_eq!(
        score("en", words, &once.text()).errors.total(),
        0,
        "{}",
        once.text()
    );
    let four = wave.repeat(4);
    let heard = recognizer.transcribe(&four, &options, &|| true).unwrap();
    println!("{heard:?}");
    let rate = score("en", &[words; 4].join(" "), &heard.text()).errors.rate();
    assert!(rate < 0.15, "{rate}: {}", heard.text());
    assert!(heard.segments.iter().all(|s| s.start <= s.end && s.end <= 44.1));
    assert!(
        recognizer
            .transcribe(&[], &options, &|| true)
            .unwrap()
            .segments
            .is_empty()
    );
    let unknown = TranscribeOptions {
        language: Some("tlh".into()),
        timestamps: false,
    };
    assert!(
        recognizer
            .transcribe(&wave, &unknown, &|| true)
            .unwrap_err()
            .to_string()
            .contains("tlh")
    );
}

#[test]
fn the_language_is_heard() {
    let (Some(recognizer), Some(wave)) = (recognizer(), clip("speech/chinese_prompt.wav")) else {
        return;
    };
    let heard = recognizer
        .transcribe(&wave, &TranscribeOptions::default(), &|| true)
        .unwrap();
    println!("{heard:?}");
    assert_eq!(heard.language, "zh");
    let rate = score("zh", "希望你以后能够做的比我还好呦", &heard.text())
        .errors
        .rate();
    assert!(rate < 0.5, "{rate}");
}

#[test]
fn one_voice_is_nearer_to_itself_than_to_others() {
    let Some(embedder) = embedder() else { return };
    let names = [
        "1688_0008",
        "1688_0009",
        "2033_0004",
        "2033_0007",
        "3080_0000",
        "3080_0004",
        "367_0000",
        "367_0009",
    ];
    let mut voices = Vec::new();
    for name in names {
        let Some(wave) = clip(&format!("speech/libri_{name}.flac")) else {
            return;
        };
        voices.push((name, embedder.embed(&wave).unwrap()));
    }
    for (a, voice) in &voices {
        for (b, other) in &voices {
            let same = a.split('_').next() == b.split('_').next();
            let likeness = cosine(voice, other);
            assert_eq!(likeness > embedder.threshold(), same, "{a} {b} {likeness}");
        }
    }
    assert!(embedder.embed(&[0.0; 100]).is_err());
}
