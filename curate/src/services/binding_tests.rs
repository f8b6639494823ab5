//! One bad answer for each rule of a binding.

use super::*;
use proptest::prelude::*;

fn segment(speaker: &str, text: &str) -> Segment {
    Segment {
        speaker: speaker.into(),
        text: text.into(),
        start: 0.1,
        end: 0.9,
        language: "en".into(),
    }
}

fn segments() -> Vec<Segment> {
    vec![
        segment("S1", "Come in."),
        segment("S2", "Sit down, it's \u{ff21} good chair."),
        segment("S3", "Well."),
    ]
}

/// Two people, three voices: the third one is not seen.
fn asked(segments: &[Segment]) -> Asked<'_> {
    Asked {
        faces: vec![1, 2],
        last: 2,
        speakers: ["S1", "S2", "S3"].map(Into::into).to_vec(),
        segments,
        seconds: 3.0,
    }
}

fn good() -> Value {
    let described = |anchor: &str, visual: &str| json!({"anchor": anchor, "label": "the one", "visual": visual, "acoustic": "low."});
    json!({
        "bindings": [{"face": 1, "speaker": "S2", "confidence": 0.8}, {"face": 2, "speaker": "S1", "confidence": 1}],
        "descriptors": [described("<sub3>", ""), described("<sub1>", "red coat."), described("<sub2>", "hat")],
        "scene": "A kitchen.", "actions": "<sub1> looks at <sub2>.",
        "utterances": ["<sub2> says to <sub1>, <S>Come in!<E>", "<sub1> answers: <S>sit down - its a good chair<E>.",
            "<sub3> says, <S>Well.<E>"],
    })
}

fn reason(answer: &Value) -> &'static str {
    let segments = segments();
    let Value::Object(answer) = answer.clone() else {
        panic!()
    };
    check(answer, &asked(&segments)).map_or_else(|error| error.reason, |_| "good")
}

#[test]
fn a_good_answer_is_taken_apart() {
    let segments = segments();
    let Value::Object(answer) = good() else { panic!() };
    let found = check(answer, &asked(&segments)).unwrap();
    assert_eq!(found.subjects[0].speaker.as_deref(), Some("S2"));
    assert_eq!(found.subjects[1].confidence, Some(1.0));
    assert_eq!(found.offscreen, ["S3"]);
    let anchors: Vec<&str> = found.descriptors.iter().map(|row| row.anchor.as_str()).collect();
    assert_eq!(anchors, ["<sub1>", "<sub2>", "<sub3>"]);
    assert_eq!(found.descriptors[0].visual, "red coat");
    assert_eq!(found.leads, ["says to <sub1>,", "answers:", "says,"]);
    assert_eq!(found.actions, "<sub1> looks at <sub2>.");
}

#[test]
fn one_bad_answer_for_each_rule() {
    assert_eq!(reason(&good()), "good");
    type Edit = fn(&mut Value);
    let rows: &[(&str, Edit)] = &[
        ("schema", |a| a["bindings"] = json!("none")),
        ("schema", |a| drop(a.as_object_mut().unwrap().remove("scene"))),
        ("schema", |a| a["bindings"][0]["face"] = json!("FACE_1")),
        ("unknown_face", |a| a["bindings"][0]["face"] = json!(3)),
        ("face_twice", |a| a["bindings"][1] = a["bindings"][0].clone()),
        ("face_twice", |a| {
            a["bindings"]
                .as_array_mut()
                .unwrap()
                .push(json!({"face": 1, "speaker": "none", "confidence": 0}))
        }),
        ("face_missing", |a| {
            drop(a["bindings"].as_array_mut().unwrap().pop())
        }),
        ("unknown_speaker", |a| a["bindings"][0]["speaker"] = json!("S9")),
        ("unknown_speaker", |a| a["bindings"][0]["speaker"] = json!("")),
        ("speaker_twice", |a| a["bindings"][0]["speaker"] = json!("S1")),
        ("confidence", |a| a["bindings"][0]["confidence"] = json!(1.2)),
        ("unknown_anchor", |a| {
            a["descriptors"][0]["anchor"] = json!("<sub4>")
        }),
        ("unknown_anchor", |a| a["scene"] = json!("<sub9> waits.")),
        ("unknown_anchor", |a| a["scene"] = json!("&lt;sub9&gt; waits.")),
        ("anchor_twice", |a| {
            a["descriptors"][0] = a["descriptors"][1].clone()
        }),
        ("anchor_missing", |a| {
            drop(a["descriptors"].as_array_mut().unwrap().pop())
        }),
        ("empty_field", |a| a["descriptors"][1]["label"] = json!(" ")),
        ("empty_field", |a| a["descriptors"][1]["visual"] = json!(".")),
        ("empty_field", |a| a["descriptors"][0]["acoustic"] = json!("")),
        ("empty_field", |a| a["actions"] = json!("\n")),
        ("markup", |a| {
            a["descriptors"][1]["label"] = json!("the <S>man<E>")
        }),
        ("markup", |a| {
            a["descriptors"][1]["visual"] = json!("beside <sub2>")
        }),
        ("markup", |a| a["scene"] = json!("A room. <S>Come in.<E>")),
        ("markup", |a| {
            a["scene"] = json!("A room. <AUDCAP>wind<ENDAUDCAP>")
        }),
        ("too_long", |a| a["scene"] = json!("word ".repeat(400))),
        ("utterance_count", |a| {
            drop(a["utterances"].as_array_mut().unwrap().pop())
        }),
        ("unbalanced", |a| {
            a["utterances"][0] = json!("<sub2> says, <S>Come in.")
        }),
        ("unbalanced", |a| {
            a["utterances"][0] = json!("<sub2> says, Come in.<E>")
        }),
        ("unbalanced", |a| {
            a["utterances"][0] = json!("<sub2> says, <S><S>Come in.<E>")
        }),
        ("unbalanced", |a| {
            a["utterances"][0] = json!("<sub2> says, <S>Come<E> in.")
        }),
        ("no_anchor", |a| {
            a["utterances"][0] = json!("She says, <S>Come in.<E>")
        }),
        ("no_anchor", |a| {
            a["utterances"][0] = json!("And <sub2> says, <S>Come in.<E>")
        }),
        ("wrong_anchor", |a| {
            a["utterances"][0] = json!("<sub1> says, <S>Come in.<E>")
        }),
        ("words_differ", |a| {
            a["utterances"][0] = json!("<sub2> says, <S>Come on in.<E>")
        }),
        ("words_differ", |a| {
            a["utterances"][0] = json!("<sub2> says, <S><E>")
        }),
    ];
    for (wanted, edit) in rows {
        let mut answer = good();
        edit(&mut answer);
        assert_eq!(reason(&answer), *wanted, "{answer}");
    }
}

#[test]
fn a_clip_without_speech_has_faces_all_the_same() {
    let asked = Asked {
        speakers: Vec::new(),
        ..asked(&[])
    };
    let Value::Object(answer) = json!({
        "bindings": [{"face": 1, "speaker": "none", "confidence": 1}, {"face": 2, "speaker": "none", "confidence": 1}],
        "descriptors": [{"anchor": "<sub1>", "label": "a", "visual": "b", "acoustic": ""},
            {"anchor": "<sub2>", "label": "a", "visual": "b", "acoustic": ""}],
        "scene": "A room.", "actions": "<sub1> waits.", "utterances": [],
    }) else {
        panic!()
    };
    let found = check(answer, &asked).unwrap();
    assert!(found.offscreen.is_empty() && found.subjects.iter().all(|row| row.speaker.is_none()));
}

proptest! {
    #[test]
    fn what_is_taken_cannot_open_or_close_anything(text in "[<>/subSE19 &lt;g.é]{0,40}") {
        let segments = segments();
        for field in ["scene", "actions"] {
            let mut answer = good();
            answer[field] = json!(text);
            let Value::Object(answer) = answer else { panic!() };
            if let Ok(found) = check(answer, &asked(&segments)) {
                for text in [&found.scene, &found.actions] {
                    let (named, plain) = taken_out(text);
                    prop_assert!(named.iter().all(|name| ["<sub1>", "<sub2>", "<sub3>"].contains(name)));
                    prop_assert!(!plain.contains("<S>") && !plain.contains("<E>"));
                    prop_assert_eq!(clean(text), text.clone());
                }
            }
        }
    }
}
