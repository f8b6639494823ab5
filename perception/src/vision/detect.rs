//! Which detector a file holds.

use std::path::Path;

use super::FaceDetector;
use super::canvas::{Canvases, Pixels};
use super::scrfd::Scrfd;
use super::yunet::Yunet;
use crate::runtime::{Expect, Kind, Output, Runtime, Session, Tensor};
use crate::{Error, Network};
use omni_media::Image;

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

/// A detector's graph with its canvas: what the families have in common.
pub(super) struct Graph {
    pub(super) session: Session,
    input: String,
    canvases: Canvases,
}

impl Graph {
    /// The canvas has the size that the graph fixes, else that of the settings, cut to a multiple of 32.
    pub(super) fn new(session: Session, settings: &DetectSettings, pixels: Pixels) -> Result<Graph, Error> {
        session.expect_inputs(&[Expect {
            name: None,
            kind: Kind::F32,
            rank: 4,
        }])?;
        let port = session
            .inputs()
            .first()
            .ok_or_else(|| session.error("it has no input"))?;
        let side = |fixed: Option<usize>| fixed.unwrap_or(settings.size.max(32) / 32 * 32);
        let size = (side(port.shape[3]), side(port.shape[2]));
        Ok(Graph {
            input: port.name.clone(),
            canvases: Canvases::new(size, pixels),
            session,
        })
    }

    /// Width and height of the canvas in pixels.
    pub(super) fn size(&self) -> (usize, usize) {
        self.canvases.size()
    }

    /// The graph's outputs, and the scale from the picture to the canvas.
    pub(super) fn run(&self, image: &Image) -> Result<(Vec<Output>, f32), Error> {
        let (width, height) = self.size();
        self.canvases.with(image, |tensor, scale| {
            let shape = [1, 3, height, width];
            let input = (self.input.as_str(), Tensor::f32(&shape, tensor));
            Ok((self.session.run(&[input])?, scale))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::{model, network, runtime, shared};

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
