//! Numbers of the reference tools: torchaudio's resampler, FFmpeg's `fps` filter and downmix, decord's colours.
//! The golden README names the tolerances. What needs files that do not lie here is skipped where they are absent.
#![cfg(feature = "ffmpeg")]

use crate::support;
use omni_media::{
    Image, Limits, decode_picture, fps_map, linspace_frames, read_audio_16k, read_audio_file, resample_sinc,
};
use serde_json::Value;
use std::path::Path;
use support::{ALL, frames, shared};

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    let list = value.as_array().unwrap();
    list.iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn frame_maps_are_those_of_ffmpegs_fps_filter() {
    let cases = fixture("fps25_maps.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let text = case["source_fps"].as_str().unwrap();
        let (num, den) = text.split_once('/').unwrap_or((text, "1"));
        let frames = case["source_frames"].as_u64().unwrap() as usize;
        let to = case["output_fps"].as_str().unwrap().parse().unwrap();
        let got = fps_map(frames, num.parse().unwrap(), den.parse().unwrap(), to);
        assert_eq!(got, numbers(&case["map_fps_filter"]), "{text}");
    }
}

#[test]
fn spread_frames_are_those_of_numpy() {
    let mut checked = 0;
    for (total, lists) in fixture("linspace_frames.json").as_object().unwrap() {
        for (name, want) in lists.as_object().unwrap() {
            let n = name.strip_prefix("linspace").unwrap().parse().unwrap();
            assert_eq!(
                linspace_frames(total.parse().unwrap(), n),
                numbers(want),
                "{n} of {total}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn the_sinc_resampler_is_torchaudios() {
    let Some(path) = shared("golden/metrics/resample/resample.safetensors") else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let data = tensors.tensor(name).unwrap();
        let words = data.data().chunks_exact(4);
        words.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    for from in [44100, 48000, 24000] {
        let got = resample_sinc(&values(&format!("in_{from}")), from, 16000);
        let want = values(&format!("torchaudio_{from}_16000"));
        assert_eq!(got.len(), want.len(), "{from}");
        let worst = got
            .iter()
            .zip(&want)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        println!("{from} -> 16000: {worst:e}");
        assert!(worst <= 1e-5, "{from}: off by {worst}");
    }
}

#[test]
fn speech_is_mixed_and_resampled_as_the_ffmpeg_command_does() {
    let (Some(flac), Some(wav)) = (
        shared("golden/metrics/whisper/jfk.flac"),
        shared("golden/metrics/whisper/jfk_16k_s16.wav"),
    ) else {
        return;
    };
    let got = read_audio_16k(&flac, &ALL, &Limits::default()).unwrap();
    let mut reader = hound::WavReader::open(&wav).unwrap();
    let want: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    assert_eq!((got.rate, got.samples.len()), (16000, want.len()));
    let steps = |(a, b): (&f32, &i16)| ((a * 32768.0) as i32 - i32::from(*b)).unsigned_abs();
    let worst = got.samples.iter().zip(&want).map(steps).max().unwrap();
    println!("largest difference: {worst} steps of 1/32768");
    assert!(worst <= 1);
    // The reader without FFmpeg sees the same file.
    let direct = read_audio_file(&wav).unwrap();
    assert!(
        direct
            .samples
            .iter()
            .zip(&want)
            .all(|(a, &b)| a * 32768.0 == f32::from(b))
    );
}

fn worst(a: &Image, b: &Image) -> u8 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    a.data
        .iter()
        .zip(&b.data)
        .map(|(x, y)| x.abs_diff(*y))
        .max()
        .unwrap()
}

#[test]
fn colours_follow_the_tagged_matrix() {
    for name in ["clip_untagged", "clip_bt709"] {
        let (Some(clip), Some(picture)) = (
            shared(&format!("golden/metrics/vbench/{name}.mp4")),
            shared(&format!("golden/metrics/vbench/{name}_frame0_decord.png")),
        ) else {
            return;
        };
        let seen = frames(&clip, &ALL).unwrap();
        assert_eq!(seen.times.len(), 30, "{name}");
        let want = decode_picture(&std::fs::read(picture).unwrap()).unwrap();
        let worst = worst(&seen.first, &want);
        println!("{name}: largest difference {worst} levels");
        assert!(worst <= 2, "{name}: {worst} levels");
    }
}
