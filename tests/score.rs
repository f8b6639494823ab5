//! `omni bench` and `omni schema`: one clip's readings, and cases of our own and of others.

use crate::common;
use common::{Scratch, code, ffmpeg, shared, stderr, stdout, store};
use serde_json::Value;

fn readings(output: &std::process::Output) -> Vec<Value> {
    assert_eq!(code(output), 0, "{}", stderr(output));
    let report: Value = serde_json::from_str(&stdout(output)).unwrap();
    report["readings"].as_array().unwrap().clone()
}

fn value(readings: &[Value], name: &str) -> f64 {
    let reading = readings
        .iter()
        .find(|reading| reading["name"].as_str().unwrap().starts_with(name));
    reading.unwrap_or_else(|| panic!("no {name} in {readings:?}"))["value"]
        .as_f64()
        .unwrap()
}

fn absent<'a>(readings: &'a [Value], name: &str) -> &'a str {
    let reading = readings
        .iter()
        .find(|reading| reading["name"].as_str().unwrap().starts_with(name))
        .unwrap();
    assert!(reading["value"].is_null());
    reading["absent"].as_str().unwrap()
}

#[test]
fn flickering_is_measured_without_networks_and_the_rest_says_why_not() {
    let scratch = Scratch::new();
    let still = "color=gray:size=64x48:rate=10:duration=1";
    if !ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        still,
        scratch.join("still.mp4").to_str().unwrap(),
    ]) {
        return;
    }
    scratch.write("omni.toml", "store = 'nothing'\n");
    let got = readings(&scratch.omni(&["bench", "score", "still.mp4", "--json"]));
    assert_eq!(value(&got, "tf"), 1.0);
    assert_eq!(
        (absent(&got, "wer"), absent(&got, "iq"), absent(&got, "face")),
        ("no_weights", "no_network", "no_weights")
    );
    let output = scratch.omni(&["bench", "score", "still.mp4", "--metrics", "iq"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let output = scratch.omni(&["bench", "score", "still.mp4", "--metrics", "wer"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let output = scratch.omni(&["bench", "score", "still.mp4", "--metrics", "fid"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("av_offset"), "{}", stderr(&output));
    scratch.write("broken.mp4", "no clip");
    let output = scratch.omni(&["bench", "score", "broken.mp4", "--metrics", "tf"]);
    assert_eq!(code(&output), 1);
    for word in ["unreadable", "cannot be read"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    let folder = scratch.omni(&["bench", "score", ".", "--metrics", "tf"]);
    assert_eq!(code(&folder), 2, "{}", stderr(&folder));
    assert!(stderr(&folder).contains(". is a folder"), "{}", stderr(&folder));
    let language = scratch.omni(&["bench", "score", "still.mp4", "--language", "english"]);
    assert_eq!(code(&language), 2, "{}", stderr(&language));
    assert!(
        stderr(&language).contains("--language english"),
        "{}",
        stderr(&language)
    );
    let tone = scratch.join("tone.wav");
    ffmpeg(&["-f", "lavfi", "-i", "sine=f=440:d=1", tone.to_str().unwrap()]);
    let got = readings(&scratch.omni(&["bench", "score", "tone.wav", "--metrics", "tf", "--json"]));
    assert_eq!(absent(&got, "tf"), "no_video");
    assert_eq!(code(&scratch.omni(&["bench", "score", "gone.mp4"])), 3);
}

#[test]
fn a_real_clip_says_its_words_and_looks_and_sounds_like_itself() {
    let (Some(videos), Some(_)) = (shared("media/videos"), store()) else {
        return;
    };
    let scratch = Scratch::new();
    let clip = |name: &str| videos.join(name).to_str().unwrap().to_owned();
    let (one, other) = (clip("grid_lrwp9a.mpg"), clip("grid_pwij3p.mpg"));
    for (name, from) in [("one", &one), ("other", &other)] {
        let (face, voice) = (
            scratch.join(&format!("{name}.png")),
            scratch.join(&format!("{name}.wav")),
        );
        if !ffmpeg(&["-i", from, "-frames:v", "1", face.to_str().unwrap()]) {
            return;
        }
        ffmpeg(&["-i", from, "-vn", voice.to_str().unwrap()]);
    }
    let words = "lay red with p nine again";
    let score = |person: &str| {
        let (face, voice) = (format!("{person}.png"), format!("{person}.wav"));
        let prompt = format!("A person <sub1> before a blue wall says, <S>{words}<E>");
        let args = [
            "bench", "score", &one, "--face", &face, "--voice", &voice, "--text", words, "--prompt", &prompt,
            "--json",
        ];
        readings(&scratch.omni(&args))
    };
    let (same, different) = (score("one"), score("other"));
    println!("{same:?}");
    assert!(value(&same, "wer@") <= 0.34 && value(&same, "caption_leak@") == 0.0);
    // Another protocol is another reading; the words are the same.
    let args = [
        "bench",
        "score",
        &one,
        "--text",
        words,
        "--metrics",
        "wer,dnsmos,brisque",
        "--wer-protocol",
        "seedtts",
        "--json",
    ];
    let other = readings(&scratch.omni(&args));
    let names: Vec<&str> = other.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with("wer@")), "{names:?}");
    assert!(value(&other, "wer_seedtts@") <= 0.34);
    for name in ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"] {
        assert!((1.0..5.0).contains(&value(&same, name)), "{name}");
        assert_eq!(value(&same, name), value(&other, name));
    }
    assert_eq!(value(&same, "brisque"), value(&other, "brisque"));
    assert!(value(&same, "face_sim@") > value(&different, "face_sim@") + 0.2);
    assert!(value(&same, "t_sim@") > value(&different, "t_sim@") + 0.2);
    assert!(value(&same, "face_cons@") > 0.7 && value(&same, "face_coverage@") > 0.9);
    assert!((0.9..1.0).contains(&value(&same, "tf")));
}

#[test]
fn sound_that_is_shifted_shows_in_the_offset() {
    let (Some(videos), Some(_)) = (shared("media/videos"), store()) else {
        return;
    };
    let scratch = Scratch::new();
    let offset = |name: &str| {
        let clip = videos.join(name);
        let got = readings(&scratch.omni(&[
            "bench",
            "score",
            clip.to_str().unwrap(),
            "--metrics",
            "av_offset",
            "--json",
        ]));
        value(&got, "av_offset_ms")
    };
    let original = offset("grid_lrwp9a.mpg");
    let (late, early) = (
        offset("late200ms_lrwp9a.mp4") - original,
        offset("early200ms_lrwp9a.mp4") - original,
    );
    println!("{original} {late} {early}");
    assert!(
        (late - 200.0).abs() <= 40.0 && (early + 200.0).abs() <= 40.0,
        "{original} {late} {early}"
    );
}

/// Puts the golden files' reduced graphs where the paper's networks belong: what is tested is all around them.
fn reduced_networks(scratch: &Scratch, golden: &std::path::Path, store: &std::path::Path) {
    let weights = scratch.join("weights");
    std::fs::create_dir(&weights).unwrap();
    for (from, to) in [
        ("musiq/musiq_reduced.onnx", "musiq_spaq.onnx"),
        ("aesthetic/aesthetic_reduced.onnx", "siglip_aes25.onnx"),
        ("audiobox/audiobox_reduced.onnx", "audiobox_aes.onnx"),
        ("imagebind/imagebind_reduced_vision.onnx", "imagebind_vision.onnx"),
        ("imagebind/imagebind_reduced_audio.onnx", "imagebind_audio.onnx"),
        ("imagebind/imagebind_reduced_text.onnx", "imagebind_text.onnx"),
        (
            "imagebind/clip_bpe_simple_vocab_16e6.txt.gz",
            "bpe_simple_vocab_16e6.txt.gz",
        ),
    ] {
        std::fs::copy(golden.join(from), weights.join(to)).unwrap();
    }
    let example = &json(&golden.join("audiobox/audiobox.json"))["example"];
    let sidecar = serde_json::json!({ "target_transform": example["target_transform_used_here"] });
    std::fs::write(weights.join("audiobox_aes.json"), sidecar.to_string()).unwrap();
    let version = std::fs::read_dir(store.join("onnxruntime"))
        .unwrap()
        .map(Result::unwrap)
        .next()
        .unwrap();
    let library = std::fs::read_dir(version.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let library = library
        .filter(|path| path.to_string_lossy().contains("libonnxruntime.so"))
        .min()
        .unwrap();
    scratch.write(
        "omni.toml",
        &format!(
            "store = 'store'\nprofile = 'paper'\nonnxruntime = '{}'\n",
            library.display()
        ),
    );
    let ids = [
        "musiq_spaq",
        "siglip_aesthetic_2_5",
        "audiobox_aesthetics",
        "imagebind_huge_vision",
        "imagebind_huge_audio",
        "imagebind_huge_text",
    ];
    let args = [
        &["models", "pull", "--accept-non-commercial", "--from", "weights"][..],
        &ids[..],
    ]
    .concat();
    let output = scratch.omni(&args);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_papers_readings_of_whole_clips_are_those_of_the_reference() {
    let (Some(golden), Some(store)) = (shared("golden/metrics"), store()) else {
        return;
    };
    let scratch = Scratch::new();
    reduced_networks(&scratch, &golden, &store);
    let file = |name: &str| golden.join(name).to_str().unwrap().to_owned();
    let still = |picture: &str, out: &str| {
        ffmpeg(&[
            "-loop",
            "1",
            "-i",
            &file(picture),
            "-frames:v",
            "2",
            "-c:v",
            "ffv1",
            "-pix_fmt",
            "bgr0",
            out,
        ])
    };
    let out = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    if !still("aesthetic/aes_in.png", &out("aq.mkv")) || !still("musiq/musiq_in_0.png", &out("iq.mkv")) {
        return;
    }
    let (clip, sound) = (file("imagebind/clip.mp4"), file("imagebind/audio_stereo_44k.wav"));
    ffmpeg(&[
        "-i",
        &clip,
        "-i",
        &sound,
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "copy",
        "-c:a",
        "pcm_s16le",
        &out("ib.mkv"),
    ]);
    let score = |clip: &str, metric: &str, more: &[&str]| {
        let args = [&["bench", "score", clip, "--metrics", metric, "--json"], more].concat();
        readings(&scratch.omni(&args))
    };
    let close = |got: f64, want: &Value, scale: f64, tolerance: f64| {
        let want = want.as_f64().unwrap() / scale;
        println!("{got} {want}");
        assert!((got - want).abs() <= tolerance, "{got} instead of {want}");
    };
    let aq = json(&golden.join("aesthetic/aesthetic.json"));
    close(
        value(&score("aq.mkv", "aq", &[]), "aq"),
        &aq["reduced_score"],
        10.0,
        1e-4,
    );
    let iq = json(&golden.join("musiq/musiq.json"));
    close(
        value(&score("iq.mkv", "iq", &[]), "iq"),
        &iq["cases"][0]["score_onnx"],
        100.0,
        1e-5,
    );
    let ib = json(&golden.join("imagebind/imagebind.json"));
    let text = ib["texts"][0].as_str().unwrap();
    let got = score("ib.mkv", "ib", &["--prompt", text]);
    close(value(&got, "ib_s"), &ib["ib_s_video_audio"], 1.0, 1e-4);
    close(value(&got, "ib_a"), &ib["ib_a_text_audio"][0], 1.0, 1e-4);
    let pq = json(&golden.join("audiobox/audiobox.json"));
    let wave = file(pq["example"]["wav"].as_str().unwrap());
    close(
        value(&score(&wave, "pq", &[]), "pq"),
        &pq["example"]["expected"]["PQ"],
        1.0,
        1e-4,
    );
}

#[test]
fn cases_are_checked_with_line_and_reason() {
    let scratch = Scratch::new();
    let sound = r#"{"case":"a","subset":1,"prompt":"<sub1> says, <S>Hi.<E>","subjects":[{"anchor":"<sub1>"}],"utterances":[{"anchor":"<sub1>","text":"Hi.","language":"en"}]}"#;
    scratch.write("good.jsonl", &format!("{sound}\r\n"));
    let output = scratch.omni(&["bench", "cases", "check", "good.jsonl"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let bad = sound.replace("<E>", "").replace("\"a\"", "\"b\"");
    scratch.write("bad.jsonl", &format!("{sound}\n\n{bad}\n"));
    let output = scratch.omni(&["bench", "cases", "check", "bad.jsonl", "--json"]);
    assert_eq!(code(&output), 1);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["cases"], &report["faults"][0]["line"]),
        (&1.into(), &3.into()),
        "{report}"
    );
    assert_eq!(report["faults"][0]["message"], "an <S> without its <E>");
    assert_eq!(code(&scratch.omni(&["bench", "cases", "check", "none.jsonl"])), 3);
    let output = scratch.omni(&["schema", "case"]);
    let schema: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(schema["title"], "case");
    let output = scratch.omni(&["schema", "cse"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("did you mean `case`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_cases_of_others_come_in() {
    let Some(cases) = shared("media/cases") else {
        return;
    };
    let scratch = Scratch::new();
    for (format, prefix) in [("dreamid", "dreamid_"), ("multitalk", "multitalk_")] {
        let folder = scratch.join(format);
        std::fs::create_dir_all(folder.join("examples/multi/1")).unwrap();
        std::fs::create_dir_all(folder.join("examples/multi/3")).unwrap();
        for file in [
            "1/multi1.png",
            "1/1.WAV",
            "1/2.WAV",
            "3/multi3.png",
            "3/1-man.WAV",
            "3/1-woman.WAV",
        ] {
            std::fs::write(folder.join("examples/multi").join(file), "x").unwrap();
        }
        for entry in std::fs::read_dir(&cases).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) && name.ends_with(".json") {
                std::fs::copy(entry.path(), folder.join(name)).unwrap();
            }
        }
        let out = format!("{format}.jsonl");
        let output = scratch.omni(&[
            "bench", "cases", "import", format, "--format", format, "--out", &out,
        ]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let output = scratch.omni(&["bench", "cases", "check", &out]);
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        let text = std::fs::read_to_string(scratch.join(&out)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }
    let output = scratch.omni(&[
        "bench",
        "cases",
        "export",
        "multitalk.jsonl",
        "--format",
        "ovi-csv",
        "--out",
        "x.csv",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn digital_silence_says_nothing() {
    if store().is_none() {
        return;
    }
    let scratch = Scratch::new();
    let silence = scratch.join("silence.wav");
    let source = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "2"];
    if !ffmpeg(&[&source[..], &[silence.to_str().unwrap()]].concat()) {
        return;
    }
    // What the recogniser hears in zeros.
    let score = [
        "bench",
        "score",
        "silence.wav",
        "--metrics",
        "wer",
        "--text",
        "you",
        "--json",
    ];
    assert_eq!(value(&readings(&scratch.omni(&score)), "wer"), 1.0);
}
