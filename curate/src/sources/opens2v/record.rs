//! One record of an OpenS2V part, as far as listing needs it: everything but the masks, whose place is kept.

use omni_schemas::{Column, Kind, NamedScore, Record, integer, list, real, text};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{borrow::Cow, collections::BTreeMap};

/// A record of the index: one row per member of a part's JSON object, damaged ones included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sources) struct Indexed {
    /// The record's key; for one that is no text, its place.
    pub clip: String,
    /// First byte of the record.
    pub offset: i64,
    /// Bytes of the record.
    pub length: i64,
    /// Why the record cannot be used; null when it can.
    pub fault: Option<String>,
    /// The video below the part's folder.
    pub path: String,
    /// First picture and one past the last, in the file.
    pub cut: Vec<i64>,
    /// The same of the human-centred stretch; empty when there is none.
    pub face_cut: Vec<i64>,
    /// The usable area, `[x0, y0, x1, y1]` pixels (the corpus writes both x first).
    pub crop: Vec<f64>,
    /// Pictures a second, as given.
    pub fps: f64,
    /// The annotated picture, counted in the whole file; null when nothing is annotated.
    pub frame: Option<i64>,
    /// Boxes of the annotation.
    pub boxes: Vec<Boxed>,
    /// Masks on the annotated picture.
    pub masks: i64,
    /// The subject-centred caption, else the first of the others.
    pub caption: Option<String>,
    /// Scores, sorted by name.
    pub scores: Vec<NamedScore>,
}

/// One annotated thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::sources) struct Boxed {
    /// The corpus' word for it.
    pub class: String,
    /// `[x0, y0, x1, y1]` in the cropped picture.
    #[serde(rename = "box")]
    pub bbox: Vec<f64>,
    /// The corpus' aesthetic score of the thing.
    pub aesthetic: Option<f64>,
}

impl Record for Indexed {
    const NAME: &'static str = "opens2v_index";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        &self.clip
    }

    fn columns() -> Vec<Column> {
        let boxed = vec![
            text("class", "the corpus' word"),
            list("box", Kind::F64, "x0, y0, x1, y1 in the cropped picture"),
            real("aesthetic", "the corpus' aesthetic score"),
        ];
        vec![
            text("clip", "the record's key"),
            integer("offset", "first byte of the record in the JSON"),
            integer("length", "bytes of the record"),
            text("fault", "why the record cannot be used; null when it can"),
            text("path", "the video below the part's folder"),
            list("cut", Kind::I64, "first picture and one past the last"),
            list("face_cut", Kind::I64, "the human-centred stretch"),
            list("crop", Kind::F64, "x0, y0, x1, y1"),
            real("fps", "pictures a second, as given"),
            integer("frame", "the annotated picture in the file"),
            list("boxes", Kind::Struct(boxed), "boxes of the annotation"),
            integer("masks", "masks on the annotated picture"),
            text("caption", "the caption"),
            list("scores", Kind::Struct(NamedScore::columns()), "scores by name"),
        ]
    }
}

#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    annotation: Option<Annotation<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    cut: [i64; 2],
    face_cut: Option<[i64; 2]>,
    crop: Option<[f64; 4]>,
    fps: f64,
    aesthetic: Option<f64>,
    tech: Option<f64>,
    motion: Option<f64>,
    cap: Option<Vec<String>>,
    face_cap_qwen: Option<String>,
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow)]
    ann_frame_data: FrameData<'a>,
    #[serde(borrow, default)]
    mask_annotation: BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, IgnoredAny>>,
}

#[derive(Deserialize)]
struct FrameData<'a> {
    ann_frame_idx: i64,
    #[serde(borrow)]
    annotations: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    class_name: Cow<'a, str>,
    bbox: [f64; 4],
    aes_score: Option<f64>,
}

impl Indexed {
    /// The row of a member. `value` is nothing when it was too long to keep.
    pub(super) fn read(key: &[u8], place: &str, value: Option<&[u8]>) -> Indexed {
        let name = serde_json::from_slice::<String>(key).ok();
        let mut row = match value.map(serde_json::from_slice::<Given<'_>>) {
            Some(Ok(given)) => given.row(),
            Some(Err(error)) => Indexed::faulty(error.to_string()),
            None => Indexed::faulty("is too long".to_owned()),
        };
        match name.filter(|name| super::super::rows::is_key(name)) {
            Some(name) => row.clip = name,
            None => {
                row = Indexed::faulty("its key is no usable name".to_owned());
                row.clip = place.to_owned();
            }
        }
        row
    }

    fn faulty(fault: String) -> Indexed {
        Indexed {
            fault: Some(fault),
            ..Indexed::default()
        }
    }
}

impl Given<'_> {
    fn row(self) -> Indexed {
        let meta = self.metadata;
        let span = |[from, to]: [i64; 2]| from >= 0 && to > from;
        let crop = meta
            .crop
            .map_or(Vec::new(), |[x0, x1, y0, y1]| vec![x0, y0, x1, y1]);
        let sound = [
            (
                meta.fps.is_finite() && (0.1..=1000.0).contains(&meta.fps),
                "metadata.fps",
            ),
            (span(meta.cut), "metadata.cut"),
            (meta.face_cut.is_none_or(span), "metadata.face_cut"),
            (
                crop.is_empty()
                    || (crop[0] < crop[2] && crop[1] < crop[3] && crop[0] >= 0.0 && crop[1] >= 0.0),
                "metadata.crop",
            ),
            (super::super::rows::is_below(&meta.path), "metadata.path"),
        ];
        if let Some((_, field)) = sound.iter().find(|(holds, _)| !holds) {
            return Indexed::faulty(format!("`{field}` makes no sense"));
        }
        let mut row = Indexed {
            path: meta.path.into_owned(),
            cut: meta.cut.to_vec(),
            face_cut: meta.face_cut.map_or(Vec::new(), |cut| cut.to_vec()),
            crop,
            fps: meta.fps,
            caption: meta
                .face_cap_qwen
                .or_else(|| meta.cap.and_then(|all| all.into_iter().next())),
            scores: scores([
                ("aesthetic", meta.aesthetic),
                ("motion", meta.motion),
                ("tech", meta.tech),
            ]),
            ..Indexed::default()
        };
        if let Some(annotation) = self.annotation {
            let data = annotation.ann_frame_data;
            row.frame = Some(data.ann_frame_idx);
            row.masks = annotation
                .mask_annotation
                .get(data.ann_frame_idx.to_string().as_str())
                .map_or(0, |masks| masks.len() as i64);
            let boxed = |item: Item<'_>| Boxed {
                class: item.class_name.into_owned(),
                bbox: item.bbox.to_vec(),
                aesthetic: item.aes_score,
            };
            row.boxes = data.annotations.into_iter().map(boxed).collect();
        }
        row
    }
}

fn scores(given: [(&str, Option<f64>); 3]) -> Vec<NamedScore> {
    let named = |(name, value): (&str, Option<f64>)| {
        value.map(|value| NamedScore {
            name: name.to_owned(),
            value,
        })
    };
    given.into_iter().filter_map(named).collect()
}
