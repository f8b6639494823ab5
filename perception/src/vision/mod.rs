//! Faces and shots: find, align and embed faces, follow them through a clip, find cuts.
//!
//! Everything works on pictures that are already decoded; files and clips are somebody else's. The pixel
//! arithmetic restates OpenCV 4.10 bit by bit where a network was trained behind it.

pub mod aesthetic;
pub mod assign;
pub mod brisque;
mod canvas;
mod detect;
mod embed;
pub mod hungarian;
pub mod interpolate;
mod lanes;
pub mod motion;
pub mod musiq;
pub mod pillow;
pub mod resize;
pub mod s3fd;
pub mod scrfd;
pub mod shots;
pub mod tracker;
pub mod warp;
pub mod yunet;

pub use detect::{DetectSettings, face_detector};
pub use embed::{arcface_blob, face_embedder};

use omni_media::Image;

use crate::runtime::Calls;
use crate::{Error, Network};

/// A face in a picture; coordinates are pixels of that picture and may lie outside it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Face {
    /// Left, top, right, bottom.
    pub bbox: [f32; 4],
    /// The detector's confidence, 0 to 1.
    pub score: f32,
    /// Eye, eye, nose, mouth corner, mouth corner; of each pair the one on the picture's left comes first.
    pub points: [[f32; 2]; 5],
}

impl Face {
    /// Width times height in square pixels; zero for an empty box.
    pub fn area(&self) -> f32 {
        (self.bbox[2] - self.bbox[0]).max(0.0) * (self.bbox[3] - self.bbox[1]).max(0.0)
    }
}

/// Intersection over union of two boxes (left, top, right, bottom); zero when they do not touch.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let shared = width * height;
    let area = |r: &[f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let all = area(a) + area(b) - shared;
    if all > 0.0 { shared / all } else { 0.0 }
}

/// Cosine of two vectors; zero when either has no length or the lengths differ.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    let lengths = norm(a) * norm(b);
    if lengths > 0.0 { dot / lengths } else { 0.0 }
}

/// Finds faces in a picture.
pub trait FaceDetector: Send + Sync {
    /// The network behind it.
    fn network(&self) -> &Network;
    /// Faces by falling score.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty picture, [`Error::Network`] when the network fails.
    fn detect(&self, image: &Image) -> Result<Vec<Face>, Error>;
    /// Mean score below which a whole track is taken for chance; the two families spread their scores differently.
    fn track_score(&self) -> f32;
    /// Calls of the network so far.
    fn calls(&self) -> Calls;
}

/// Turns an aligned face into a vector of unit length; one person's vectors point the same way.
pub trait FaceEmbedder: Send + Sync {
    /// The network behind it.
    fn network(&self) -> &Network;
    /// Aligns by the five points and embeds.
    ///
    /// # Errors
    /// [`Error::Input`] for points that span nothing, [`Error::Network`] when the network fails.
    fn embed(&self, image: &Image, points: &[[f32; 2]; 5]) -> Result<Vec<f32>, Error>;
    /// Cosine above which two vectors are the same person.
    fn threshold(&self) -> f32;
    /// Calls of the network so far.
    fn calls(&self) -> Calls;
}

/// `[1, 3, h, w]` from packed RGB: `(x - mean) * scale`, with the channels in RGB or BGR order.
pub(crate) fn planes(image: &Image, mean: f32, scale: f32, bgr: bool) -> Vec<f32> {
    let size = image.width * image.height;
    let table: Vec<f32> = (0..256).map(|x| (x as f32 - mean) * scale).collect();
    let mut out = vec![0.0f32; 3 * size];
    let (first, rest) = out.split_at_mut(size);
    let (second, third) = rest.split_at_mut(size);
    let (red, blue) = if bgr { (third, first) } else { (first, third) };
    for (((pixel, r), g), b) in image.data.chunks_exact(3).zip(red).zip(second).zip(blue) {
        *r = table[usize::from(pixel[0])];
        *g = table[usize::from(pixel[1])];
        *b = table[usize::from(pixel[2])];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_of_boxes_by_hand() {
        assert_eq!(iou(&[0.0, 0.0, 2.0, 2.0], &[1.0, 1.0, 3.0, 3.0]), 1.0 / 7.0);
        assert_eq!(iou(&[0.0, 0.0, 1.0, 1.0], &[2.0, 0.0, 3.0, 1.0]), 0.0);
        assert_eq!(iou(&[1.0, 1.0, 1.0, 1.0], &[1.0, 1.0, 1.0, 1.0]), 0.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[2.0, 0.0], &[3.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn planes_keep_the_order_asked_for() {
        let image = Image {
            width: 2,
            height: 1,
            data: vec![1, 2, 3, 4, 5, 6],
        };
        assert_eq!(planes(&image, 0.0, 1.0, false), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(planes(&image, 1.0, 2.0, true), [4.0, 10.0, 2.0, 8.0, 0.0, 6.0]);
    }
}
