//! The pictures of people that a corpus gives with a clip (OpenS2V: masks on one annotated frame), and whose face each
//! of them shows: matched by the overlap of mask and face box on that frame (paper, section 3, cross-pair data).

use crate::masks::{Mask, join};
use omni_media::Image;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest annotation of one clip, bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Why an annotation says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its bytes cannot be read.
    #[error(transparent)]
    Media(#[from] omni_media::Error),
    /// It is not of the known form.
    #[error("annotation: {0}")]
    Form(#[from] serde_json::Error),
}

/// The things the corpus marked on one frame of a clip, each once.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The frame, counted in the whole file.
    pub frame: i64,
    /// One mask a thing: the largest of those that mark it.
    pub masks: Vec<Mask>,
    /// Masks that could not be read.
    pub damaged: usize,
}

/// A mask that shows a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Place of the face in what was asked.
    pub face: usize,
    /// Place of the mask.
    pub mask: usize,
    /// Pixels of both over pixels of either: the face's box taken as a mask.
    pub iou: f64,
}

#[derive(Deserialize)]
struct Record {
    annotation: Annotation,
}

#[derive(Deserialize)]
struct Annotation {
    ann_frame_data: FrameData,
    mask_annotation: BTreeMap<String, BTreeMap<String, Marked>>,
}

#[derive(Deserialize)]
struct FrameData {
    ann_frame_idx: i64,
}

#[derive(Deserialize)]
struct Marked {
    size: Value,
    counts: Value,
}

impl Given {
    /// Reads the annotation at a path with a range of bytes. Masks of one thing (overlap above `same`) become one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(path: &std::path::Path, same: f64) -> Result<Given, Error> {
        Given::parse(&omni_media::read_window(path, MOST_BYTES)?, same)
    }

    /// Reads the annotation's text.
    ///
    /// # Errors
    /// [`Error::Form`].
    pub fn parse(text: &[u8], same: f64) -> Result<Given, Error> {
        let record: Record = serde_json::from_slice(text)?;
        let frame = record.annotation.ann_frame_data.ann_frame_idx;
        let marked = record.annotation.mask_annotation.get(&frame.to_string());
        let mut marked: Vec<_> = marked.into_iter().flatten().collect();
        marked.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(u64::MAX));
        let read: Vec<_> = marked
            .iter()
            .map(|(_, mask)| Mask::read(&mask.size, &mask.counts))
            .collect();
        let damaged = read.iter().filter(|mask| mask.is_err()).count();
        let all: Vec<Mask> = read.into_iter().flatten().collect();
        let largest = |group: Vec<usize>| {
            group
                .into_iter()
                .map(|at| &all[at])
                .max_by_key(|mask| mask.area())
                .cloned()
        };
        Ok(Given {
            frame,
            masks: join(&all, same).into_iter().filter_map(largest).collect(),
            damaged,
        })
    }

    /// Which mask shows which face, one of each at most: of the pairs in which at least `inside` of the face lies in
    /// the mask, those with the largest overlap first. Boxes are pixels of the masks' picture. By face.
    pub fn matches(&self, faces: &[[f64; 4]], inside: f64) -> Vec<Match> {
        let mut pairs = Vec::new();
        for (mask, set) in self.masks.iter().enumerate() {
            for (face, bbox) in faces.iter().enumerate() {
                let shape = Mask::of_box(set.height, set.width, bbox);
                let shared = set.overlap(&shape) as f64;
                if shape.area() > 0 && shared >= inside * shape.area() as f64 {
                    let iou = set.iou(&shape);
                    pairs.push(Match { face, mask, iou });
                }
            }
        }
        pairs.sort_by(|a, b| {
            b.iou
                .total_cmp(&a.iou)
                .then((a.face, a.mask).cmp(&(b.face, b.mask)))
        });
        let mut taken: Vec<Match> = Vec::new();
        for pair in pairs {
            if !taken
                .iter()
                .any(|known| known.face == pair.face || known.mask == pair.mask)
            {
                taken.push(pair);
            }
        }
        taken.sort_by_key(|found| found.face);
        taken
    }
}

/// What a mask shows, cut to its tight box, everything else black; and that box in the picture. The mask's picture
/// begins at `(left, top)` of the frame. Nothing when the mask is empty or reaches beyond the frame.
pub fn cut_out(image: &Image, mask: &Mask, (left, top): (usize, usize)) -> Option<(Image, [usize; 4])> {
    let [x0, y0, x1, y1] = mask.bounds()?;
    if left + x1 > image.width || top + y1 > image.height {
        return None;
    }
    let set = mask.bitmap();
    let mut data = Vec::with_capacity((x1 - x0) * (y1 - y0) * 3);
    for y in y0..y1 {
        for x in x0..x1 {
            let at = ((top + y) * image.width + left + x) * 3;
            match set[y * mask.width as usize + x] {
                true => data.extend_from_slice(&image.data[at..at + 3]),
                false => data.extend_from_slice(&[0; 3]),
            }
        }
    }
    let (width, height) = (x1 - x0, y1 - y0);
    Some((
        Image { width, height, data },
        [left + x0, top + y0, left + x1, top + y1],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runs(height: u64, width: u64, bbox: [u64; 4]) -> Value {
        let inside = |pixel: u64| {
            let (x, y) = (pixel / height, pixel % height);
            x >= bbox[0] && x < bbox[2] && y >= bbox[1] && y < bbox[3]
        };
        let (mut counts, mut last) = (vec![0u64], false);
        for pixel in 0..height * width {
            if inside(pixel) != last {
                last = !last;
                counts.push(0);
            }
            *counts.last_mut().unwrap() += 1;
        }
        json!({ "size": [height, width], "counts": counts, "score": [0.9] })
    }

    fn given() -> Given {
        let masks = json!({
            "2": runs(40, 60, [20, 5, 40, 40]), "10": runs(40, 60, [20, 5, 40, 39]), "1": runs(40, 60, [0, 0, 20, 40]),
            "3": runs(40, 60, [24, 20, 30, 24]), "4": {"size": [40, 60], "counts": "nonsense", "score": [1.0]},
        });
        let text = json!({ "annotation": { "ann_frame_data": { "ann_frame_idx": 7 }, "mask_annotation": { "7": masks } } });
        Given::parse(text.to_string().as_bytes(), 0.8).unwrap()
    }

    #[test]
    fn a_face_belongs_to_the_mask_that_holds_it() {
        let given = given();
        assert_eq!((given.frame, given.masks.len(), given.damaged), (7, 3, 1));
        let faces = [
            [25.0, 8.0, 35.0, 18.0],
            [5.0, 5.0, 12.0, 12.0],
            [50.0, 5.0, 58.0, 12.0],
            [15.0, 5.0, 27.0, 9.0],
        ];
        let found = given.matches(&faces, 0.5);
        let who: Vec<_> = found.iter().map(|one| (one.face, one.mask)).collect();
        assert_eq!(
            who,
            [(0, 1), (1, 0)],
            "the third lies in no mask, the fourth in one that is taken"
        );
        assert!((found[0].iou - 100.0 / 700.0).abs() < 1e-12, "{}", found[0].iou);
    }

    #[test]
    fn a_subject_is_cut_out_on_black() {
        let image = Image {
            width: 4,
            height: 3,
            data: (0..36).map(|value| value + 1).collect(),
        };
        let mask = Mask::of(2, 3, &[1, 2, 3]).unwrap();
        let (picture, place) = cut_out(&image, &mask, (1, 1)).unwrap();
        assert_eq!((picture.width, picture.height, place), (2, 2, [1, 1, 3, 3]));
        assert_eq!(picture.data, [0, 0, 0, 19, 20, 21, 28, 29, 30, 0, 0, 0]);
        assert!(cut_out(&image, &mask, (3, 1)).is_none());
        assert!(cut_out(&image, &Mask::of(2, 2, &[4]).unwrap(), (0, 0)).is_none());
    }
}
