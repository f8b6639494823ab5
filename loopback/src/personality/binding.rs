//! Which face is which voice, and the caption: an answer that fits the question's own list of faces, speakers and words,
//! and one bad answer for each rule.

use serde_json::{Value, json};

/// The question inside a request: the text that is a JSON object with faces and segments.
pub(crate) fn task(body: &Value) -> Option<Value> {
    match body {
        Value::String(text) if text.starts_with('{') => {
            let value: Value = serde_json::from_str(text).ok()?;
            (value["faces"].is_array() && value["segments"].is_array()).then_some(value)
        }
        Value::Array(list) => list.iter().find_map(task),
        Value::Object(fields) => fields.values().find_map(task),
        _ => None,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The first face has the first voice, and so on; voices without a face take the anchors of the unseen.
fn good(task: &Value) -> Value {
    let (faces, speakers) = (list(&task["faces"]), list(&task["speakers"]));
    let bindings: Vec<Value> = faces
        .iter()
        .enumerate()
        .map(|(at, face)| {
            json!({"face": face["face"], "speaker": speakers.get(at).cloned().unwrap_or("none".into()), "confidence": 0.9})
        })
        .collect();
    let seen = faces.iter().map(|face| face["anchor"].clone());
    let unseen = list(&task["unseen_anchors"]).iter().cloned();
    let anchors: Vec<Value> = seen.chain(unseen).collect();
    let of = |speaker: &Value| {
        let at = speakers.iter().position(|known| known == speaker);
        at.and_then(|at| anchors.get(at))
            .and_then(Value::as_str)
            .unwrap_or("<sub1>")
    };
    let described = anchors
        .iter()
        .take(faces.len().max(speakers.len()))
        .enumerate()
        .map(|(at, anchor)| {
            let visual = if at < faces.len() {
                "a face seen from the front"
            } else {
                ""
            };
            let acoustic = if at < speakers.len() { "a calm voice" } else { "" };
            let label = if at < faces.len() {
                format!("the person number {}", at + 1)
            } else {
                "an off-screen voice".into()
            };
            json!({"anchor": anchor, "label": label, "visual": visual, "acoustic": acoustic})
        });
    let spoken = list(&task["segments"]).iter().map(|said| {
        format!(
            "{} says calmly, <S>{}<E>",
            of(&said["speaker"]),
            said["text"].as_str().unwrap_or_default()
        )
    });
    let first = anchors.first().and_then(Value::as_str).unwrap_or_default();
    json!({"bindings": bindings, "descriptors": described.collect::<Vec<_>>(), "scene": "A plain room with even light.",
        "actions": format!("{first} looks into the camera."), "utterances": spoken.collect::<Vec<_>>()})
}

/// The answer to a question; a name spoils it in one way.
pub(crate) fn answer(task: &Value, name: &str) -> String {
    let mut said = good(task);
    match name {
        "unknown_face" => said["bindings"][0]["face"] = json!(99),
        "face_twice" => {
            let again = said["bindings"][0].clone();
            push(&mut said["bindings"], again);
        }
        "face_missing" => said["bindings"] = json!([]),
        "unknown_speaker" => said["bindings"][0]["speaker"] = json!("S99"),
        "speaker_twice" => {
            let speaker = list(&task["speakers"]).first().cloned().unwrap_or_default();
            for row in said["bindings"].as_array_mut().into_iter().flatten() {
                row["speaker"] = speaker.clone();
            }
        }
        "confidence" => said["bindings"][0]["confidence"] = json!(7.0),
        "unknown_anchor" => said["actions"] = json!("<sub77> leaves."),
        "anchor_missing" => said["descriptors"] = json!([]),
        "anchor_twice" => {
            let again = said["descriptors"][0].clone();
            push(&mut said["descriptors"], again);
        }
        "empty_label" => said["descriptors"][0]["label"] = json!(" "),
        "label_markup" => said["descriptors"][0]["label"] = json!("the <S>man<E>"),
        "scene_speech" => said["scene"] = json!("A room. <S>Come in.<E>"),
        "unbalanced" => edit_first(&mut said, |text| text.replace("<E>", "")),
        "nested" => edit_first(&mut said, |text| text.replace("<S>", "<S><S>")),
        "no_anchor" => edit_first(&mut said, |text| text.replace("<sub", "<dub")),
        "wrong_anchor" => edit_first(&mut said, |text| match text.starts_with("<sub1>") {
            true => text.replace("<sub1>", "<sub2>"),
            false => text.replace(text.split('>').next().unwrap_or_default(), "<sub1"),
        }),
        "words_differ" => edit_first(&mut said, |text| text.replace("<E>", " and more<E>")),
        "utterance_missing" => {
            said["utterances"].as_array_mut().map(Vec::pop);
        }
        "missing_field" => {
            said.as_object_mut().map(|fields| fields.remove("scene"));
        }
        "long" => said["scene"] = json!("word ".repeat(2000)),
        _ => {}
    }
    said.to_string()
}

fn push(to: &mut Value, value: Value) {
    if let Some(list) = to.as_array_mut() {
        list.push(value);
    }
}

fn edit_first(said: &mut Value, edit: impl FnOnce(&str) -> String) {
    let first = said["utterances"][0].as_str().map(edit);
    if let Some(first) = first {
        said["utterances"][0] = first.into();
    }
}
