//! DNSMOS and BRISQUE give what the packages `speechmos` 0.0.1.1 and `brisque` 0.2.0 give.
//!
//! The numbers come from `scripts/golden/quality.py`, which makes the same pictures and sounds in whole numbers. Statistics of
//! pictures are compared anywhere; ratings where the networks are in the store.

use omni_media::Image;
use omni_perception::{
    Network,
    audio::dnsmos::Dnsmos,
    runtime::{Device, Runtime},
    vision::brisque::{Brisque, features},
};
use serde_json::Value;
use std::path::PathBuf;

fn golden() -> Value {
    serde_json::from_str(include_str!("fixtures/quality.json")).unwrap()
}

fn stored(file: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let store = variable("OMNI_CACHE").or_else(|| variable("HOME").map(|home| home.join(".cache/omni")))?;
    let path = store.join(file);
    if !path.is_file() {
        println!("skipped: no {file} in {}; run `scripts/test`", store.display());
    }
    path.is_file().then_some(path)
}

fn network(id: &str) -> Network {
    Network {
        id: id.to_owned(),
        hash: "0".repeat(64),
    }
}

/// A byte for each place: a hash in 32 bits.
fn chance(a: usize, b: usize, c: usize, k: usize) -> i64 {
    let part = |value: usize, by: u32| (value as u32).wrapping_mul(by);
    let mut h = part(a, 374_761_393)
        .wrapping_add(part(b, 668_265_263))
        .wrapping_add(part(c, 2_246_822_519))
        .wrapping_add(part(k, 3_266_489_917));
    h ^= h >> 13;
    h = h.wrapping_mul(1_274_126_177);
    i64::from((h >> 16) & 255)
}

struct Drawn {
    width: usize,
    height: usize,
    data: Vec<i64>,
}

impl Drawn {
    fn new(width: usize, height: usize, at: impl Fn(usize, usize, usize) -> i64) -> Drawn {
        let places = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (x, y, c))));
        Drawn {
            width,
            height,
            data: places.map(|(x, y, c)| at(x, y, c)).collect(),
        }
    }

    fn at(&self, x: usize, y: usize, c: usize) -> i64 {
        self.data[(y * self.width + x) * 3 + c]
    }

    /// The mean of 3 x 3, edges repeated, rounded down.
    fn blurred(&self) -> Drawn {
        let near = |at: usize, by: usize, side: usize| (at + by).saturating_sub(1).min(side - 1);
        Drawn::new(self.width, self.height, |x, y, c| {
            let around = (0..3).flat_map(|dy| (0..3).map(move |dx| (dx, dy)));
            let sum: i64 = around
                .map(|(dx, dy)| self.at(near(x, dx, self.width), near(y, dy, self.height), c))
                .sum();
            sum / 9
        })
    }

    fn image(&self) -> Image {
        Image {
            width: self.width,
            height: self.height,
            data: self
                .data
                .iter()
                .map(|value| u8::try_from(*value).unwrap())
                .collect(),
        }
    }
}

fn picture(name: &str, width: usize, height: usize) -> Image {
    let scene = || {
        let octaves = |x: usize, y: usize, c: usize| -> i64 {
            (0..6).map(|k| chance(x >> k, y >> k, c, k) << k).sum::<i64>() / 63
        };
        Drawn::new(width, height, octaves).blurred()
    };
    let drawn = match name {
        "noise" => Drawn::new(width, height, |x, y, c| chance(x, y, c, 0)),
        "waves" => Drawn::new(width, height, |x, y, c| {
            ((x * 3 + y * 2 + c * 40) as i64 % 510 - 255).abs()
        }),
        "scene" => scene(),
        "soft" => scene().blurred().blurred().blurred(),
        "hard" => {
            let scene = scene();
            Drawn::new(width, height, |x, y, c| {
                (scene.at(x, y, c) * 3 - 255).clamp(0, 255)
            })
        }
        "grainy" => {
            let scene = scene();
            Drawn::new(width, height, |x, y, c| {
                (scene.at(x, y, c) * 3 / 4 + chance(x, y, c, 9) / 4).min(255)
            })
        }
        other => panic!("unknown picture {other}"),
    };
    drawn.image()
}

/// 16-bit samples.
fn sound(name: &str, samples: usize) -> Vec<i64> {
    let noise = |i: usize| (chance(i, 0, 0, 1) - 128) * 128;
    let sample = |i: usize| match name {
        "noise" => noise(i),
        "tone" => (i as i64 % 72 - 36).abs() * 500 - 9000,
        "bursts" => {
            let (at, burst) = (i as i64, (i as i64 % 8000 - 4000).abs());
            let pulse = (24 - at % (90 + at / 8000 % 7 * 6)).max(0) * 900 - 2700;
            // Rounded down, as Python divides.
            (pulse * burst).div_euclid(4000) + noise(i).div_euclid(64)
        }
        other => panic!("unknown sound {other}"),
    };
    (0..samples).map(sample).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn the_statistics_and_ratings_of_pictures_are_the_packages() {
    let rater = stored("models/brisque_live/svm.txt")
        .map(|file| Brisque::open(&file, network("brisque_live")).unwrap());
    for case in golden()["pictures"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let image = picture(name, size(&case["width"]), size(&case["height"]));
        let sum: u64 = image.data.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(Some(sum), case["sum"].as_u64(), "{name}: not the same picture");
        let got = features(&image).unwrap();
        for (i, wanted) in case["features"].as_array().unwrap().iter().enumerate() {
            let wanted = number(wanted);
            // Where no shape fits, the reference's solver stops at some huge number and ours at its limit.
            let far = wanted > 1000.0 && got[i] > 1000.0;
            let off = (got[i] - wanted).abs() / wanted.abs().max(1.0);
            assert!(far || off < 1e-6, "{name} {i}: {} and not {wanted}", got[i]);
        }
        if let Some(rater) = &rater {
            let (got, wanted) = (rater.score(&image).unwrap(), number(&case["score"]));
            assert!((got - wanted).abs() < 1e-4, "{name}: {got} and not {wanted}");
        }
    }
}

#[test]
fn the_ratings_of_sounds_are_the_packages() {
    let (Some(file), Some(library)) = (
        stored("models/dnsmos_p835/sig_bak_ovr.onnx"),
        stored("onnxruntime/1.31.1/libonnxruntime.so.1.31.1"),
    ) else {
        return;
    };
    let runtime = Runtime::open(&library, Device::Cpu).unwrap();
    let rater = Dnsmos::open(&runtime, &file, network("dnsmos_p835")).unwrap();
    for case in golden()["sounds"].as_array().unwrap() {
        let (name, samples) = (case["name"].as_str().unwrap(), size(&case["samples"]));
        let wave = sound(name, samples);
        let sum: i64 = wave.iter().map(|value| value.abs()).sum();
        assert_eq!(Some(sum), case["sum"].as_i64(), "{name}: not the same sound");
        let wave: Vec<f32> = wave
            .iter()
            .map(|value| (*value as f64 / 32768.0) as f32)
            .collect();
        let got = rater.rate(&wave).unwrap();
        for (got, key) in [
            (got.speech, "sig"),
            (got.background, "bak"),
            (got.overall, "ovrl"),
        ] {
            let wanted = number(&case[key]);
            assert!(
                (got - wanted).abs() < 1e-3,
                "{name} of {samples} samples, {key}: {got} and not {wanted}"
            );
        }
    }
    assert!(rater.rate(&[]).is_err());
}
