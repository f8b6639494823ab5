//! Which detector a file holds, and the canvas it looks at.

use std::path::Path;

use omni_media::Image;

use super::FaceDetector;
use super::resize::resize;
use super::scrfd::Scrfd;
use super::yunet::Yunet;
use crate::runtime::{Runtime, Session};
use crate::{Error, Network};

/// How faces are looked for.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DetectSettings {
    /// Side of the square the network looks at, in pixels; networks of a fixed size keep their own.
    pub size: usize,
    /// Least score; `None` is the network's usual one (SCRFD 0.5 as insightface; YuNet 0.6 as OpenCV's model zoo).
    pub threshold: Option<f32>,
    /// Overlap above which the weaker face goes; `None` is the network's usual one (SCRFD 0.4, YuNet 0.3).
    pub overlap: Option<f32>,
}

impl Default for DetectSettings {
    fn default() -> DetectSettings {
        DetectSettings {
            size: 640,
            threshold: None,
            overlap: None,
        }
    }
}

/// Loads a face detector; YuNet and SCRFD are told apart by the outputs the graph declares.
///
/// # Errors
/// [`Error::Network`] when the file does not load or is neither.
pub fn face_detector(
    runtime: &Runtime,
    file: &Path,
    network: Network,
    settings: &DetectSettings,
) -> Result<Box<dyn FaceDetector>, Error> {
    let session = Session::open(runtime, file, network)?;
    if Yunet::fits(&session) {
        return Ok(Box::new(Yunet::new(session, settings)?));
    }
    Ok(Box::new(Scrfd::new(session, settings)?))
}

/// The picture shrunk or enlarged to fit `width` x `height`, at the top left of a black canvas, and the
/// scale that was applied (insightface `retinaface.py`: sizes truncated, the height's scale for both axes).
///
/// # Errors
/// [`Error::Input`] for a picture without pixels.
pub fn letterbox(image: &Image, width: usize, height: usize) -> Result<(Image, f32), Error> {
    if image.width == 0 || image.height == 0 || image.data.len() != image.width * image.height * 3 {
        return Err(Error::Input(
            "a picture without pixels has no faces to look for".to_owned(),
        ));
    }
    let ratio = image.height as f64 / image.width as f64;
    let (w, h) = if ratio > height as f64 / width as f64 {
        ((height as f64 / ratio) as usize, height)
    } else {
        (width, (width as f64 * ratio) as usize)
    };
    let (w, h) = (w.clamp(1, width), h.clamp(1, height));
    let small = resize(image, w, h);
    let scale = (h as f64 / image.height as f64) as f32;
    if (w, h) == (width, height) {
        return Ok((small, scale));
    }
    let mut canvas = Image {
        width,
        height,
        data: vec![0; width * height * 3],
    };
    for (to, from) in canvas
        .data
        .chunks_exact_mut(width * 3)
        .zip(small.data.chunks_exact(w * 3))
    {
        to[..w * 3].copy_from_slice(from);
    }
    Ok((canvas, scale))
}

#[cfg(test)]
mod tests {
    use super::super::planes;
    use super::*;
    use crate::runtime::testing::{model, network, runtime, shared};

    #[test]
    fn the_canvas_is_the_reference_s() {
        let Some(folder) = shared("golden/metrics/face") else {
            return;
        };
        let read =
            |name: &str| omni_media::decode_picture(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        let (canvas, scale) = letterbox(&read("frame.png"), 640, 640).unwrap();
        let want = read("det_input_bgr.png");
        assert_eq!(scale, 0.5);
        let most = canvas
            .data
            .iter()
            .zip(&want.data)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(most <= Some(1), "{most:?}");
        let blob = planes(&canvas, 127.5, 1.0 / 128.0, false);
        assert_eq!(blob[640 * 640 - 1], -0.996_093_75);
        assert!((blob[0] - 0.457_031_25).abs() < 0.01);
    }

    #[test]
    fn odd_shapes_fit_and_empty_ones_are_refused() {
        for (width, height) in [(1, 1), (1, 5000), (5000, 1), (639, 641)] {
            let image = Image {
                width,
                height,
                data: vec![7; width * height * 3],
            };
            let (canvas, scale) = letterbox(&image, 64, 64).unwrap();
            assert_eq!((canvas.width, canvas.height), (64, 64));
            assert!(scale > 0.0 && canvas.data[0] == 7);
        }
        assert!(
            letterbox(
                &Image {
                    width: 0,
                    height: 4,
                    data: vec![]
                },
                64,
                64
            )
            .is_err()
        );
        assert!(
            letterbox(
                &Image {
                    width: 4,
                    height: 4,
                    data: vec![0; 5]
                },
                64,
                64
            )
            .is_err()
        );
    }

    #[test]
    fn real_detectors_find_the_face_of_a_real_frame() {
        let Some(runtime) = runtime() else { return };
        let Some(frame) = shared("golden/metrics/face/frame.png") else {
            return;
        };
        let image = omni_media::decode_picture(&std::fs::read(frame).unwrap()).unwrap();
        for (id, file) in [
            ("yunet_2023mar", "face_detection_yunet_2023mar.onnx"),
            ("scrfd_500m", "scrfd_500m_bnkps.onnx"),
        ] {
            let Some(path) = model(id, file) else { continue };
            let detector = face_detector(&runtime, &path, network(id), &DetectSettings::default()).unwrap();
            let faces = detector.detect(&image).unwrap();
            println!(
                "{id}: {:?}",
                faces.iter().map(|f| (f.bbox, f.score)).collect::<Vec<_>>()
            );
            assert!(!faces.is_empty(), "{id}");
            assert_eq!(faces, detector.detect(&image).unwrap(), "{id} is reproducible");
            assert_eq!(detector.calls().count, 2);
        }
    }
}
