//! YuNet and SFace give what OpenCV 4.10's `FaceDetectorYN` and `FaceRecognizerSF` give.
//!
//! The numbers come from `scripts/golden/opencv_faces.py`; the picture is a portrait that a package carries, and the
//! test is passed over where picture or networks are not in the store.

use omni_media::{Image, decode_picture};
use omni_perception::{
    Network,
    runtime::{Device, Runtime},
    vision::{DetectSettings, cosine, face_detector, face_embedder, iou, resize::resize},
};
use serde_json::Value;
use std::path::PathBuf;

fn store() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let store = variable("OMNI_CACHE").or_else(|| variable("HOME").map(|home| home.join(".cache/omni")))?;
    let needed = [
        "demo/astronaut.png",
        "models/yunet_2023mar/face_detection_yunet_2023mar.onnx",
        "models/sface_2021dec/face_recognition_sface_2021dec.onnx",
        "onnxruntime/1.31.1/libonnxruntime.so.1.31.1",
    ];
    match needed.iter().find(|name| !store.join(name).is_file()) {
        Some(name) => {
            println!("skipped: no {name} in {}; run `scripts/test`", store.display());
            None
        }
        None => Some(store),
    }
}

fn paste(canvas: &mut Image, image: &Image, x: usize, y: usize) {
    for row in 0..image.height {
        let to = ((y + row) * canvas.width + x) * 3;
        let from = row * image.width * 3;
        canvas.data[to..to + image.width * 3].copy_from_slice(&image.data[from..from + image.width * 3]);
    }
}

fn mirrored(image: &Image) -> Image {
    let mut data = Vec::with_capacity(image.data.len());
    for row in image.data.chunks_exact(image.width * 3) {
        data.extend(row.chunks_exact(3).rev().flatten());
    }
    Image { data, ..*image }
}

/// The pictures the script draws.
fn picture(name: &str, portrait: &Image) -> Image {
    let half = resize(portrait, 256, 256);
    let mut canvas = Image {
        width: 640,
        height: 640,
        data: vec![0; 640 * 640 * 3],
    };
    match name {
        "plain" => paste(&mut canvas, portrait, 0, 0),
        "offset" => paste(&mut canvas, portrait, 101, 67),
        "mirrored" => paste(&mut canvas, &mirrored(portrait), 30, 11),
        "half" => paste(&mut canvas, &half, 200, 301),
        "pair" => {
            paste(&mut canvas, &half, 0, 0);
            paste(&mut canvas, &mirrored(&half), 300, 200);
        }
        other => panic!("unknown case {other}"),
    }
    canvas
}

fn numbers(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn faces_and_vectors_are_those_of_opencv() {
    let Some(store) = store() else { return };
    let runtime = Runtime::open(
        &store.join("onnxruntime/1.31.1/libonnxruntime.so.1.31.1"),
        Device::Cpu,
    )
    .unwrap();
    let network = |id: &str| Network {
        id: id.into(),
        hash: "0".repeat(64),
    };
    let file = |name: &str| store.join("models").join(name);
    let settings = DetectSettings {
        threshold: Some(0.6),
        overlap: Some(0.3),
        ..DetectSettings::default()
    };
    let yunet = file("yunet_2023mar/face_detection_yunet_2023mar.onnx");
    let detector = face_detector(&runtime, &yunet, network("yunet"), &settings).unwrap();
    let sface = file("sface_2021dec/face_recognition_sface_2021dec.onnx");
    let embedder = face_embedder(&runtime, &sface, network("sface")).unwrap();
    let portrait = decode_picture(&std::fs::read(store.join("demo/astronaut.png")).unwrap()).unwrap();
    let golden: Value = serde_json::from_str(include_str!("fixtures/opencv_faces.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let image = picture(name, &portrait);
        let found = detector.detect(&image).unwrap();
        let expected: Vec<Vec<f32>> = case["faces"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (row, vector) in expected.iter().zip(case["vectors"].as_array().unwrap()) {
            let bbox = [row[0], row[1], row[0] + row[2], row[1] + row[3]];
            let face = found
                .iter()
                .max_by(|a, b| iou(&a.bbox, &bbox).total_cmp(&iou(&b.bbox, &bbox)))
                .unwrap();
            assert!(
                (face.score - row[14]).abs() < 1e-4,
                "{name}: score {} {}",
                face.score,
                row[14]
            );
            for (ours, theirs) in face.bbox.iter().zip(bbox) {
                assert!(
                    (ours - theirs).abs() < 1e-2,
                    "{name}: box {:?} {bbox:?}",
                    face.bbox
                );
            }
            for (ours, theirs) in face.points.iter().flatten().zip(&row[4..14]) {
                assert!(
                    (ours - theirs).abs() < 1e-2,
                    "{name}: points {:?} {:?}",
                    face.points,
                    &row[4..14]
                );
            }
            let vector = numbers(vector);
            let ours = embedder.embed(&image, &face.points).unwrap();
            assert!(
                cosine(&ours, &vector) > 0.9999,
                "{name}: cosine {}",
                cosine(&ours, &vector)
            );
        }
    }
}
