//! Face vectors: ArcFace (insightface `model_zoo/arcface_onnx.py`) and SFace (OpenCV FaceRecognizerSF).

use std::path::Path;

use omni_media::Image;

use super::warp::norm_crop;
use super::{FaceEmbedder, planes};
use crate::runtime::{Calls, Expect, Kind, Runtime, Session, Tensor};
use crate::{Error, Network};

/// Side of the aligned picture that every face network here takes.
const SIDE: usize = 112;

/// What differs between the families.
#[derive(Clone, Copy)]
struct Family {
    mean: f32,
    scale: f32,
    length: usize,
    threshold: f32,
}

/// RGB 0..255; 0.363 is the threshold of OpenCV's own sample (`samples/dnn/face_detect.cpp`, LFW).
const SFACE: Family = Family {
    mean: 0.0,
    scale: 1.0,
    length: 128,
    threshold: 0.363,
};

/// RGB (x - 127.5) / 127.5; 0.4 separates same (0.513 and above) from different people (0.114 and below) as measured.
const ARCFACE: Family = Family {
    mean: 127.5,
    scale: 1.0 / 127.5,
    length: 512,
    threshold: 0.4,
};

struct Embedder {
    session: Session,
    input: String,
    family: Family,
}

/// Loads a face embedder; the length of the declared output tells SFace (128) from ArcFace (512).
///
/// # Errors
/// [`Error::Network`] when the file does not load or is neither.
pub fn face_embedder(
    runtime: &Runtime,
    file: &Path,
    network: Network,
) -> Result<Box<dyn FaceEmbedder>, Error> {
    let session = Session::open(runtime, file, network)?;
    session.expect_inputs(&[Expect {
        name: None,
        kind: Kind::F32,
        rank: 4,
    }])?;
    session.expect_outputs(1)?;
    let length = session
        .outputs()
        .first()
        .and_then(|port| port.shape.last().copied().flatten());
    let family = match length {
        Some(128) => SFACE,
        Some(512) => ARCFACE,
        other => return Err(session.error(format!("a face vector has 128 or 512 numbers, here {other:?}"))),
    };
    let input = session
        .inputs()
        .first()
        .map(|port| port.name.clone())
        .unwrap_or_default();
    Ok(Box::new(Embedder {
        session,
        input,
        family,
    }))
}

/// ArcFace's input `[1, 3, 112, 112]` from an aligned face: red first, (x - 127.5) / 127.5.
pub fn arcface_blob(crop: &Image) -> Vec<f32> {
    planes(crop, ARCFACE.mean, ARCFACE.scale, false)
}

impl FaceEmbedder for Embedder {
    fn network(&self) -> &Network {
        self.session.network()
    }

    fn embed(&self, image: &Image, points: &[[f32; 2]; 5]) -> Result<Vec<f32>, Error> {
        let crop = norm_crop(image, points, SIDE)
            .ok_or_else(|| Error::Input("a face whose five points coincide cannot be aligned".to_owned()))?;
        let blob = planes(&crop, self.family.mean, self.family.scale, false);
        let shape = [1, 3, SIDE, SIDE];
        let outputs = self
            .session
            .run(&[(self.input.as_str(), Tensor::f32(&shape, &blob))])?;
        let vector = outputs
            .into_iter()
            .next()
            .and_then(|output| output.into_f32s())
            .unwrap_or_default();
        if vector.len() != self.family.length {
            return Err(self
                .session
                .error(format!("it gave {} numbers for one face", vector.len())));
        }
        unit(vector).ok_or_else(|| self.session.error("its vector has no direction"))
    }

    fn threshold(&self) -> f32 {
        self.family.threshold
    }

    fn calls(&self) -> Calls {
        self.session.calls()
    }
}

/// Scales to length one; `None` for zero or for numbers that are not finite.
pub(super) fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !(length.is_finite() && length > 1e-12) {
        return None;
    }
    vector.iter_mut().for_each(|x| *x /= length);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    #[test]
    fn the_input_of_arcface_is_the_reference_s() {
        let Some(folder) = shared("golden/metrics/face") else {
            return;
        };
        let crop = std::fs::read(folder.join("norm_crop_0.png")).unwrap();
        let bytes = std::fs::read(folder.join("arcface_blob_0.safetensors")).unwrap();
        let golden = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let want = golden.tensor("blob").unwrap().data().to_vec();
        let blob = planes(
            &omni_media::decode_picture(&crop).unwrap(),
            ARCFACE.mean,
            ARCFACE.scale,
            false,
        );
        for (got, want) in blob.iter().zip(want.chunks_exact(4)) {
            let want = f32::from_le_bytes([want[0], want[1], want[2], want[3]]);
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        assert!(unit(vec![0.0; 4]).is_none() && unit(vec![f32::NAN, 1.0]).is_none());
        assert_eq!(unit(vec![3.0, 4.0]).unwrap(), [0.6, 0.8]);
    }
}
