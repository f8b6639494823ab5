//! Masks as OpenS2V gives them: COCO run lengths, compressed text or plain numbers, kept as runs and never as bitmaps
//! until somebody paints with one.
//!
//! Runs go column by column, beginning with background. In the text each run after the third is the difference to the
//! run two before; five bits and a "more" bit a character from `0` on, the last one sign-extended (pycocotools 2.0).

use serde_json::Value;

/// The longest side of a mask.
const MOST_SIDE: u64 = 16_384;

/// Why a mask cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The size is no pair of sides, or too large.
    #[error("size is not [height, width] of at most {MOST_SIDE} each")]
    Size,
    /// The text or list of runs is damaged.
    #[error("run {0} is damaged")]
    Run(usize),
    /// The runs do not fill the picture.
    #[error("runs fill {found} of {wanted} pixels")]
    Sum {
        /// What they add up to.
        found: u64,
        /// Height times width.
        wanted: u64,
    },
}

/// A set of pixels of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Rows.
    pub height: u64,
    /// Columns.
    pub width: u64,
    /// Stretches of set pixels, `[from, to)`, counted down the columns; rising, none empty.
    runs: Vec<(u64, u64)>,
}

impl Mask {
    /// Reads `{size: [height, width], counts: text or numbers}`.
    ///
    /// # Errors
    /// [`MaskError`].
    pub fn read(size: &Value, counts: &Value) -> Result<Mask, MaskError> {
        let side = |at: usize| {
            size.get(at)
                .and_then(Value::as_u64)
                .filter(|side| (1..=MOST_SIDE).contains(side))
        };
        let two = size.as_array().is_some_and(|sides| sides.len() == 2);
        let (Some(height), Some(width), true) = (side(0), side(1), two) else {
            return Err(MaskError::Size);
        };
        let counts = match counts {
            Value::String(text) => unpack(text)?,
            Value::Array(runs) => plain(runs)?,
            _ => return Err(MaskError::Run(0)),
        };
        Mask::of(height, width, &counts)
    }

    /// A mask from run lengths, background first.
    ///
    /// # Errors
    /// [`MaskError::Sum`] when they do not add up to the picture.
    pub fn of(height: u64, width: u64, counts: &[u64]) -> Result<Mask, MaskError> {
        let (mut at, mut runs) = (0u64, Vec::new());
        for (number, count) in counts.iter().enumerate() {
            let to = at.saturating_add(*count);
            match runs.last_mut() {
                // A background run of nothing joins its neighbours.
                Some((_, end)) if number % 2 == 1 && *end == at => *end = to,
                _ if number % 2 == 1 && *count > 0 => runs.push((at, to)),
                _ => {}
            }
            at = to;
        }
        match at == height * width {
            true => Ok(Mask { height, width, runs }),
            false => Err(MaskError::Sum {
                found: at,
                wanted: height * width,
            }),
        }
    }

    /// Number of pixels.
    pub fn area(&self) -> u64 {
        self.runs.iter().map(|(from, to)| to - from).sum()
    }

    /// Intersection over union of two masks of one picture; zero for pictures of different sizes.
    pub fn iou(&self, other: &Mask) -> f64 {
        if (self.height, self.width) != (other.height, other.width) {
            return 0.0;
        }
        let shared = shared(&self.runs, &other.runs);
        let all = self.area() + other.area() - shared;
        if all > 0 { shared as f64 / all as f64 } else { 0.0 }
    }

    /// The pixels of a box, `[x0, y0, x1, y1]` rounded to whole pixels and cut to the picture.
    pub fn of_box(height: u64, width: u64, bbox: &[f64; 4]) -> Mask {
        let edge = |value: f64, most: u64| (value.round().max(0.0) as u64).min(most);
        let [left, right] = [bbox[0], bbox[2]].map(|x| edge(x, width));
        let [top, bottom] = [bbox[1], bbox[3]].map(|y| edge(y, height));
        let columns = (left..right).filter(|_| bottom > top);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (from, to) in columns.map(|x| (x * height + top, x * height + bottom)) {
            match runs.last_mut() {
                Some((_, end)) if *end == from => *end = to,
                _ => runs.push((from, to)),
            }
        }
        Mask { height, width, runs }
    }

    /// Pixels that two masks of one picture share.
    pub fn overlap(&self, other: &Mask) -> u64 {
        shared(&self.runs, &other.runs)
    }

    /// The tight box, `[x0, y0, x1, y1]`, half open; nothing for an empty mask.
    pub fn bounds(&self) -> Option<[usize; 4]> {
        let (first, last) = (self.runs.first()?.0, self.runs.last()?.1 - 1);
        let (mut top, mut bottom) = (self.height, 0);
        for (from, to) in &self.runs {
            let whole = from / self.height != (to - 1) / self.height;
            top = top.min(if whole { 0 } else { from % self.height });
            bottom = bottom.max(if whole {
                self.height
            } else {
                (to - 1) % self.height + 1
            });
        }
        let [left, right] = [first / self.height, last / self.height + 1];
        Some([left, top, right, bottom].map(|edge| edge as usize))
    }

    /// One value a pixel, row by row.
    pub fn bitmap(&self) -> Vec<bool> {
        let mut out = vec![false; (self.height * self.width) as usize];
        for pixel in self.runs.iter().flat_map(|(from, to)| *from..*to) {
            out[(pixel % self.height * self.width + pixel / self.height) as usize] = true;
        }
        out
    }
}

/// Joins masks that are one thing: above that overlap two masks are one, and what is one with one of a group joins it.
/// Groups hold places in `masks`, rising; groups stand in the order of their first member.
pub fn join(masks: &[Mask], above: f64) -> Vec<Vec<usize>> {
    let mut group: Vec<usize> = (0..masks.len()).collect();
    for b in 0..masks.len() {
        for a in 0..b {
            if group[a] != group[b] && masks[a].iou(&masks[b]) > above {
                let (keep, gone) = (group[a].min(group[b]), group[a].max(group[b]));
                group
                    .iter_mut()
                    .filter(|name| **name == gone)
                    .for_each(|name| *name = keep);
            }
        }
    }
    let members = |name: usize| {
        (0..masks.len())
            .filter(|at| group[*at] == name)
            .collect::<Vec<_>>()
    };
    (0..masks.len())
        .filter(|at| group[*at] == *at)
        .map(members)
        .collect()
}

fn shared(a: &[(u64, u64)], b: &[(u64, u64)]) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        sum += x.1.min(y.1).saturating_sub(x.0.max(y.0));
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    sum
}

fn unpack(text: &str) -> Result<Vec<u64>, MaskError> {
    let mut runs: Vec<u64> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(run) = number(&mut bytes, runs.len())? {
        let before = if runs.len() > 2 { runs[runs.len() - 2] } else { 0 };
        let run = before.checked_add_signed(run).ok_or(MaskError::Run(runs.len()))?;
        runs.push(run);
    }
    Ok(runs)
}

/// The next number; nothing at the end of the text.
fn number(bytes: &mut std::str::Bytes<'_>, run: usize) -> Result<Option<i64>, MaskError> {
    let (mut value, mut shift) = (0i64, 0u32);
    loop {
        let byte = match bytes.next() {
            None if shift == 0 => return Ok(None),
            None => return Err(MaskError::Run(run)),
            Some(byte) => byte,
        };
        let bits = byte.checked_sub(48).filter(|bits| *bits < 64 && shift < 35);
        let bits = i64::from(bits.ok_or(MaskError::Run(run))?);
        value |= (bits & 0x1f) << shift;
        shift += 5;
        if bits & 0x20 == 0 {
            let negative = bits & 0x10 != 0;
            return Ok(Some(if negative { value | (-1 << shift) } else { value }));
        }
    }
}

fn plain(runs: &[Value]) -> Result<Vec<u64>, MaskError> {
    let most = MOST_SIDE * MOST_SIDE;
    let read = |(number, run): (usize, &Value)| {
        run.as_u64()
            .filter(|run| *run <= most)
            .ok_or(MaskError::Run(number))
    };
    runs.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// COCO's own packing, for the round trip.
    fn pack(counts: &[u64]) -> String {
        let mut out = String::new();
        for (at, count) in counts.iter().enumerate() {
            let before = if at > 2 { counts[at - 2] as i64 } else { 0 };
            let mut rest = *count as i64 - before;
            loop {
                let bits = rest & 0x1f;
                rest >>= 5;
                let more = if bits & 0x10 != 0 { rest != -1 } else { rest != 0 };
                out.push(char::from(48 + bits as u8 + if more { 32 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        out
    }

    #[test]
    fn the_test_vector_of_the_reference_library() {
        let size = json!([12, 16]);
        let mask = Mask::read(&size, &json!("V16600000000000V2")).unwrap();
        assert_eq!((mask.area(), mask.bounds()), (42, Some([3, 2, 10, 8])));
        let runs = [&[38u64][..], &[6; 13], &[76]].concat();
        assert_eq!(Mask::read(&size, &json!(runs)).unwrap(), mask);
        assert_eq!(mask, Mask::of_box(12, 16, &[3.0, 2.0, 10.0, 8.0]));
        assert_eq!(pack(&runs), "V16600000000000V2");
    }

    #[test]
    fn damage_is_refused() {
        let size = json!([12, 16]);
        let read = |size: &Value, counts: Value| Mask::read(size, &counts).unwrap_err();
        assert_eq!(
            read(&size, json!("V1660000000000")),
            MaskError::Sum {
                found: 110,
                wanted: 192
            }
        );
        assert_eq!(read(&size, json!("V")), MaskError::Run(0));
        assert_eq!(read(&size, json!("V1 6")), MaskError::Run(1));
        assert_eq!(read(&size, json!("V1\u{e9}")), MaskError::Run(1));
        assert_eq!(read(&size, json!("oooooooooo0")), MaskError::Run(0));
        assert_eq!(read(&size, json!([192, -1])), MaskError::Run(1));
        assert_eq!(read(&size, json!(null)), MaskError::Run(0));
        for size in [
            json!([12]),
            json!([12, 16, 3]),
            json!([0, 16]),
            json!([99999, 2]),
            json!("x"),
        ] {
            assert_eq!(read(&size, json!("V2")), MaskError::Size);
        }
    }

    #[test]
    fn one_thing_with_several_masks_is_one_group() {
        let boxes = [
            [0.0, 0.0, 10.0, 10.0],
            [20.0, 0.0, 30.0, 10.0],
            [0.0, 0.0, 10.0, 9.0],
            [0.0, 0.0, 10.0, 5.0],
        ];
        let masks = boxes.map(|bbox| Mask::of_box(40, 40, &bbox));
        assert_eq!(join(&masks, 0.8), [vec![0, 2], vec![1], vec![3]]);
        assert!((masks[0].iou(&masks[3]) - 0.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn packed_and_plain_runs_are_one_mask(height in 1u64..40, width in 1u64..40, cuts in prop::collection::vec(0u64..1600, 0..30)) {
            let all = height * width;
            let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut % (all + 1)).collect();
            cuts.sort_unstable();
            cuts.push(all);
            let mut at = 0;
            let counts: Vec<u64> = cuts.iter().map(|cut| { let run = cut - at; at = *cut; run }).collect();
            let size = json!([height, width]);
            let mask = Mask::read(&size, &json!(counts)).unwrap();
            prop_assert_eq!(&Mask::read(&size, &json!(pack(&counts))).unwrap(), &mask);
            let bitmap = mask.bitmap();
            prop_assert_eq!(bitmap.iter().filter(|set| **set).count() as u64, mask.area());
            let places = bitmap.iter().enumerate().filter(|(_, set)| **set).map(|(at, _)| (at as u64 % width, at as u64 / width));
            let tight = places.fold(None, |bounds: Option<[u64; 4]>, (x, y)| Some(match bounds {
                None => [x, y, x + 1, y + 1],
                Some([l, t, r, b]) => [l.min(x), t.min(y), r.max(x + 1), b.max(y + 1)],
            }));
            prop_assert_eq!(mask.bounds().map(|bounds| bounds.map(|edge| edge as u64)), tight);
        }

        #[test]
        fn any_text_is_a_mask_or_an_error(text in "\\PC{0,40}", height in 1u64..20, width in 1u64..20) {
            if let Ok(mask) = Mask::read(&json!([height, width]), &json!(text)) {
                prop_assert!(mask.area() <= height * width);
            }
        }
    }
}
