//! S3FD's priors and post-processing (syncnet_python `detectors/s3fd`): what comes after the network.

/// Smallest prior side per level, in pixels of the network's input.
const SIZES: [f64; 6] = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Input pixels per cell.
const STEPS: [f64; 6] = [4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// A face of S3FD: left, top, right, bottom in picture pixels, and the score.
pub type Scored = [f64; 5];

/// Cells per level (rows, columns) for an input of `width` x `height`; follows the network's poolings.
pub fn maps(width: usize, height: usize) -> [(usize, usize); 6] {
    let side = |n: usize| {
        let first = n / 2 / 2;
        let second = first.div_ceil(2);
        let (third, fourth) = (second / 2, second / 2 / 2);
        let fifth = fourth.div_ceil(2);
        [first, second, third, fourth, fifth, fifth.div_ceil(2)]
    };
    let (rows, columns) = (side(height), side(width));
    std::array::from_fn(|k| (rows[k], columns[k]))
}

/// Prior boxes (centre x, centre y, width, height; shares of the input), level by level, row by row.
pub fn priors(width: usize, height: usize) -> Vec<[f32; 4]> {
    let (w, h) = (width as f64, height as f64);
    let mut out = Vec::new();
    for (k, (rows, columns)) in maps(width, height).into_iter().enumerate() {
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (
                    (column as f64 + 0.5) / (w / STEPS[k]),
                    (row as f64 + 0.5) / (h / STEPS[k]),
                );
                out.push([x, y, SIZES[k] / w, SIZES[k] / h].map(|v| v as f32));
            }
        }
    }
    out
}

/// Boxes in a picture of `picture` (width, height) from the network's output for an input of `input`.
///
/// `locations` is `[n, 4]`, `scores` the class softmax `[n, 2]`; both passes of suppression and the score limits
/// 0.05 and 0.9 are the reference's. Empty when the lengths do not fit.
pub fn postprocess(
    locations: &[f32],
    scores: &[f32],
    input: (usize, usize),
    picture: (usize, usize),
) -> Vec<Scored> {
    let priors = priors(input.0, input.1);
    if locations.len() != priors.len() * 4 || scores.len() != priors.len() * 2 {
        return Vec::new();
    }
    let mut faces: Vec<Scored> = Vec::new();
    for ((prior, location), score) in priors
        .iter()
        .zip(locations.chunks_exact(4))
        .zip(scores.chunks_exact(2))
    {
        if score[1] > 0.05 {
            let (w, h) = (
                prior[2] * (location[2] * 0.2).exp(),
                prior[3] * (location[3] * 0.2).exp(),
            );
            let x = prior[0] + location[0] * 0.1 * prior[2] - w / 2.0;
            let y = prior[1] + location[1] * 0.1 * prior[3] - h / 2.0;
            faces.push([x, y, x + w, y + h, score[1]].map(f64::from));
        }
    }
    faces.sort_by(|a, b| b[4].total_cmp(&a[4]));
    faces.truncate(5000);
    let mut faces = suppress(faces, 0.3);
    faces.truncate(750);
    faces.retain(|face| face[4] > 0.9);
    let (w, h) = (picture.0 as f64, picture.1 as f64);
    let scaled = faces
        .into_iter()
        .map(|[l, t, r, b, score]| [l * w, t * h, r * w, b * h, score])
        .collect();
    suppress(scaled, 0.1)
}

/// Greedy suppression of faces given by falling score; areas without the extra pixel.
fn suppress(faces: Vec<Scored>, overlap: f64) -> Vec<Scored> {
    let area = |f: &Scored| (f[2] - f[0]) * (f[3] - f[1]);
    let mut kept: Vec<Scored> = Vec::new();
    for face in faces {
        let free = kept.iter().all(|other| {
            let width = (other[2].min(face[2]) - other[0].max(face[0])).max(0.0);
            let height = (other[3].min(face[3]) - other[1].max(face[1])).max(0.0);
            let shared = width * height;
            shared / (area(other) + area(&face) - shared) <= overlap
        });
        if free {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::shared;

    #[test]
    fn the_reference_gives_the_same_priors_and_boxes() {
        let Some(file) = shared("golden/metrics/face/s3fd_postprocess.safetensors") else {
            return;
        };
        let bytes = std::fs::read(file).unwrap();
        let golden = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let data = golden.tensor(name).unwrap().data();
            data.chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        };
        let want = floats("priors_cxcywh");
        let got = priors(320, 176);
        assert_eq!(got.len() * 4, want.len());
        assert!(got.iter().flatten().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
        let boxes = postprocess(&floats("loc"), &floats("conf_softmax"), (320, 176), (1280, 704));
        let want: Vec<f64> = golden
            .tensor("boxes_xyxy_score")
            .unwrap()
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(boxes.len() * 5, want.len());
        for (got, want) in boxes.iter().flatten().zip(&want) {
            assert!((got - want).abs() < 1e-2, "{boxes:?} {want}");
        }
    }

    #[test]
    fn lengths_that_do_not_fit_give_nothing() {
        assert!(postprocess(&[0.0; 8], &[0.0; 4], (320, 176), (1280, 704)).is_empty());
    }
}
