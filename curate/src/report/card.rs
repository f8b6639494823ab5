//! What the page is told of a clip: a short row for the list and its filters, and the whole card.

use super::{media, media::Look, place};
use crate::finished::{Fate, Known, Row, Shard, as_blob};
use omni_manifests::read_blob;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Characters of captions and transcripts that the search sees.
const SEARCHED: usize = 1200;
/// Longest raw answer that is shown, bytes.
const RAW: u64 = 64 << 10;
/// Records the card shows in its own way; all others are listed as they are.
const SHOWN: &[&str] = &[
    "clip",
    "track",
    "face_ref",
    "transcript",
    "caption",
    "voice_ref",
    "av_evidence",
    "binding",
    "omni_caption",
];

/// A voice that has to become a file of the report.
pub(super) struct Voice {
    pub(super) number: usize,
    pub(super) bytes: Vec<u8>,
}

/// The clip in the list.
pub(super) fn row(known: &Known, look: &Look) -> Value {
    let (state, stage, reason) = match &known.fate {
        Fate::Kept => ("kept", "", ""),
        Fate::Dropped { stage, reason } => ("dropped", stage.as_str(), reason.as_str()),
        Fate::Pending { stage } => ("pending", stage.as_str(), ""),
    };
    let people: BTreeSet<i64> = known
        .all("track")
        .iter()
        .filter_map(|row| row["subject"].as_i64())
        .collect();
    let tracked = known.rows.contains_key("track");
    json!({
        "k": known.listing.clip,
        "s": state,
        "g": stage,
        "r": reason,
        "n": if tracked { Some(people.len()) } else { None },
        "l": languages(known),
        "q": searched(known),
        "m": scores(known),
        "t": look.poster.is_some(),
    })
}

fn segments(known: &Known) -> &[Value] {
    let transcript = known.one("transcript");
    transcript
        .and_then(|row| row["segments"].as_array())
        .map_or(&[], Vec::as_slice)
}

fn languages(known: &Known) -> Vec<&str> {
    let languages: BTreeSet<&str> = segments(known)
        .iter()
        .filter_map(|row| row["language"].as_str())
        .collect();
    languages.into_iter().collect()
}

/// What the text search looks through beside the key: the prompt, or else what is said and the caption that came along.
fn searched(known: &Known) -> String {
    let prompt = known.one("omni_caption").and_then(|row| row["prompt"].as_str());
    let text = match prompt {
        Some(prompt) => prompt.to_owned(),
        None => {
            let said = segments(known).iter().filter_map(|row| row["text"].as_str());
            said.chain(known.listing.caption.as_deref())
                .collect::<Vec<_>>()
                .join(" ")
        }
    };
    text.chars().take(SEARCHED).collect()
}

fn scores(known: &Known) -> Map<String, Value> {
    let mut scores = Map::new();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            // Six digits are enough to draw, and a list of ten thousand rows stays small.
            let shown = format!("{value:.6}").parse().unwrap_or(value);
            scores.insert(name.to_owned(), json!(shown));
        }
    };
    for score in &known.listing.scores {
        put(&score.name, Some(score.value));
    }
    if let Some(clip) = known.one("clip") {
        for name in ["seconds", "fps", "width", "height", "loudness"] {
            put(name, clip[name].as_f64());
        }
    }
    put(
        "face_confidence",
        least(known.all("face_ref").iter().map(|row| row["score"].as_f64())),
    );
    let spans = known
        .all("voice_ref")
        .iter()
        .map(|row| Some(row["end"].as_f64()? - row["start"].as_f64()?));
    put("voice_seconds", least(spans));
    let bound = known.one("binding").and_then(|row| row["subjects"].as_array());
    put(
        "binding_margin",
        least(bound.into_iter().flatten().map(|row| row["margin"].as_f64())),
    );
    if let Some(check) = known.one("cross_check") {
        let agrees = check
            .get("agreement")
            .and_then(|value| value.as_f64().or(value.as_bool().map(f64::from)));
        put("agreement", agrees);
        put("agreement_margin", check["margin"].as_f64());
    }
    for row in known.all("score") {
        put(row["reading"].as_str().unwrap_or_default(), row["value"].as_f64());
    }
    scores
}

fn least(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().min_by(f64::total_cmp)
}

/// The whole card, and the voices that need files.
pub(super) fn card(known: &Known, shard: &Shard, look: &Look, present: bool) -> (Value, Vec<Voice>) {
    let listing = &known.listing;
    let mut voices = Vec::new();
    let other = known
        .rows
        .iter()
        .filter(|(record, _)| !SHOWN.contains(&record.as_str()));
    let card = json!({
        "k": listing.clip,
        "src": place::below(&listing.path),
        "path": listing.path,
        "present": present,
        "archived": omni_media::split_window(listing.path.as_ref()).is_some(),
        "start": listing.start,
        "end": listing.end,
        "trouble": look.trouble,
        "outline": look.outline,
        "given": {
            "caption": listing.caption, "transcript": listing.transcript, "licence": listing.licence,
            "source_video": listing.source_video,
            "scores": listing.scores.iter().map(|score| json!([score.name, score.value])).collect::<Vec<_>>(),
        },
        "clip": known.one("clip"),
        "tracks": known.all("track").iter().map(track).collect::<Vec<_>>(),
        "faces": known.all("face_ref").iter().map(|row| face(row, shard)).collect::<Vec<_>>(),
        "voices": known.all("voice_ref").iter().enumerate().map(|(number, row)| {
            let (shown, bytes) = voice(row, shard);
            voices.extend(bytes.map(|bytes| Voice { number, bytes }));
            shown
        }).collect::<Vec<_>>(),
        "transcript": known.one("transcript"),
        "caption": known.one("caption"),
        "evidence": known.all("av_evidence"),
        "binding": known.one("binding"),
        "prompt": known.one("omni_caption"),
        "raw": raw(known, shard),
        "other": other.map(|(record, rows)| json!([record, rows])).collect::<Vec<_>>(),
    });
    (card, voices)
}

/// Boxes as whole pixels, five numbers a frame: what is drawn needs no more.
pub(crate) fn track(row: &Row) -> Value {
    let frames = row["frames"].as_array().map_or(&[][..], Vec::as_slice);
    let mut flat = Vec::with_capacity(frames.len() * 5);
    for frame in frames {
        flat.push(frame["frame"].as_i64().unwrap_or_default());
        let corners = frame["box"].as_array().map_or(&[][..], Vec::as_slice);
        flat.extend(
            corners
                .iter()
                .map(|value| value.as_f64().unwrap_or_default().round() as i64),
        );
    }
    json!({
        "track": row["track"], "subject": row["subject"], "shot": row["shot"], "embedder": row["embedder"], "f": flat,
    })
}

pub(crate) fn face(row: &Row, shard: &Shard) -> Value {
    let mut shown = row.clone();
    let picture = as_blob(&row["image"]).zip(shard.tars.get("face_ref"));
    let bytes = picture.and_then(|(blob, tar)| read_blob(tar, &blob).ok());
    shown["image"] = json!(bytes.and_then(|bytes| media::face(&bytes)));
    shown
}

/// A voice cut from the clip is played from the clip; any other needs its sound.
fn voice(row: &Row, shard: &Shard) -> (Value, Option<Vec<u8>>) {
    let mut shown = row.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.shift_remove("vector");
        fields.shift_remove("audio");
    }
    let own = row["origin"] != "source_segment";
    let place = as_blob(&row["audio"])
        .zip(shard.tars.get("voice_ref"))
        .filter(|_| own);
    let bytes = place.and_then(|(blob, tar)| read_blob(tar, &blob).ok());
    shown["own"] = json!(bytes.is_some());
    (shown, bytes)
}

/// Texts that rows point at: a service's raw answers.
fn raw(known: &Known, shard: &Shard) -> Vec<Value> {
    let mut found = Vec::new();
    for (record, rows) in &known.rows {
        let blobs = rows
            .iter()
            .filter_map(Value::as_object)
            .flat_map(|row| row.values().filter_map(as_blob));
        let texts = blobs.filter(|blob| {
            let kind = blob.media_type.as_str();
            (kind.starts_with("text/") || kind == "application/json") && blob.length <= RAW
        });
        for blob in texts {
            let bytes = shard.tars.get(record).and_then(|tar| read_blob(tar, &blob).ok());
            let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            found.push(json!({ "record": record, "name": blob.name, "text": text }));
        }
    }
    found
}
