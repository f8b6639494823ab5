use super::super::{
    tar::tests::tar,
    tests::{Seen, corpus},
};
use super::*;
use proptest::prelude::*;

fn list(root: &Path, settings: Value) -> (Seen, Counts) {
    let source = Emilia::new(root, super::super::read_settings("emilia", &settings).unwrap()).unwrap();
    let mut seen = Seen::default();
    let counts = source.scan(&mut seen).unwrap();
    let states: u64 = counts.states.values().sum();
    assert_eq!(states, counts.rows + counts.others, "{counts:?}");
    let told = (seen.kept.len() + seen.dropped.len()) as u64;
    assert_eq!(told, states);
    (seen, counts)
}

fn dropped<'a>(seen: &'a Seen, reason: &str) -> Vec<&'a str> {
    let of = seen.dropped.iter().filter(|(_, why)| why == reason);
    of.map(|(key, _)| key.as_str()).collect()
}

fn utterance(id: &str, speaker: &str) -> String {
    json!({ "id": id, "wav": format!("x/{id}.mp3"), "text": " That was the second time.", "duration": 4.217,
            "speaker": speaker, "language": "en", "dnsmos": 3.31, "phone_count": null })
    .to_string()
}

/// Two rows of the published form (members apart), one recording of the tool's form, and everything that goes wrong.
fn both_forms() -> Vec<u8> {
    let first = utterance("EN_B00001_S00042_W000003", "EN_B00001_S00042");
    let second = utterance("EN_B00001_S00042_W000004", "EN_B00001_S00042").replace("\"id\"", "\"_id\"");
    let list = r#"[{"text":" Guten Tag.","start":0.5,"end":4.0,"language":"de","dnsmos":3.0},
                   {"text":"Ja.","start":4.0,"end":7.5,"language":"de","dnsmos":2.1}, {"text":""}]"#;
    tar(&[
        ("EN_B00001_S00042_W000003.json", first.as_bytes()),
        ("EN_B00001_S00042_W000004.json", second.as_bytes()),
        ("EN_B00001_S00042_W000004.mp3", b"four"),
        ("EN_B00001_S00042_W000003.mp3", b"three"),
        ("talk/talk.json", list.as_bytes()),
        ("talk/talk_0.mp3", b"0"),
        ("talk/talk_1.mp3", b"1"),
        ("again.json", first.as_bytes()),
        ("alone.json", utterance("alone", "x").as_bytes()),
        ("broken.json", b"{\"id\":"),
        ("broken.mp3", b"b"),
        ("orphan.mp3", b"o"),
    ])
}

#[test]
fn both_forms_are_read_and_every_row_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("EN-B000001.tar"), both_forms()).unwrap();
    let (seen, counts) = list(dir.path(), Value::Null);
    let clips: Vec<&str> = seen.kept.iter().map(|row| row.clip.as_str()).collect();
    assert_eq!(
        clips,
        [
            "EN_B00001_S00042_W000003",
            "EN_B00001_S00042_W000004",
            "talk/talk_0",
            "talk/talk_1"
        ]
    );
    let licences: Vec<_> = seen
        .kept
        .iter()
        .map(|row| row.licence.as_deref().unwrap())
        .collect();
    assert_eq!(
        licences,
        ["CC-BY-NC-4.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-4.0"]
    );
    let first = &seen.kept[0];
    let words: Value = serde_json::from_str(first.transcript.as_deref().unwrap()).unwrap();
    assert_eq!(words[0]["text"], "That was the second time.");
    assert_eq!(
        (&words[0]["end"], &words[0]["language"]),
        (&json!(4.217), &json!("en"))
    );
    assert_eq!(first.source_video.as_deref(), Some("EN_B00001_S00042"));
    for (row, bytes) in seen.kept.iter().zip(["three", "four", "0", "1"]) {
        let path = dir.path().join(&row.path);
        assert_eq!(omni_media::read_window(&path, 10).unwrap(), bytes.as_bytes());
    }
    assert_eq!(
        dropped(&seen, "duplicate_id"),
        ["EN_B00001_S00042_W000003 (again)"]
    );
    assert_eq!(dropped(&seen, "missing_media"), ["alone"]);
    assert_eq!(dropped(&seen, "bad_row").len(), 2);
    assert_eq!(dropped(&seen, "orphan_media").len(), 1);
    assert_eq!((counts.rows, counts.others), (8, 1));
}

#[test]
fn filters_and_folders() {
    let row = utterance("a", "s");
    let dir = corpus(&[
        ("YODAS/EN/a.json", &row),
        ("YODAS/EN/a.mp3", "a"),
        ("p/b.json", "[{\"text\":\"x\",\"language\":\"DE\"}]"),
        ("p/b_0.mp3", "b"),
    ]);
    let (seen, _) = list(dir.path(), Value::Null);
    let told: Vec<_> = seen
        .kept
        .iter()
        .map(|row| (row.clip.as_str(), row.licence.as_deref().unwrap()))
        .collect();
    assert_eq!(told, [("a", "CC-BY-4.0"), ("p/b_0", "CC-BY-NC-4.0")]);
    assert_eq!(seen.kept[1].transcript.as_deref(), Some("x"));
    let (seen, _) = list(
        dir.path(),
        json!({ "languages": ["de"], "filters": { "dnsmos": { "min": 3.0 } } }),
    );
    assert_eq!(dropped(&seen, "filtered:language"), ["a"]);
    assert_eq!(dropped(&seen, "filtered:dnsmos:absent"), ["p/b_0"]);
}

#[test]
fn a_cut_tar_gives_every_complete_pair_and_one_event() {
    let members: Vec<(String, Vec<u8>)> = (0..4)
        .flat_map(|at| {
            let name = format!("EN_B1_S1_W{at}");
            [
                (format!("{name}.json"), utterance(&name, "s").into_bytes()),
                (format!("{name}.mp3"), vec![at; 900]),
            ]
        })
        .collect();
    let borrowed: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let whole = tar(&borrowed);
    let pair = 512 + 512 + 512 + 1024;
    for cut in (0..4 * pair).step_by(97) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.tar"), &whole[..cut]).unwrap();
        let (seen, _) = list(dir.path(), Value::Null);
        let complete = (0..4).filter(|at| cut >= at * pair + 1536 + 900).count();
        assert_eq!(seen.kept.len(), complete, "{cut}");
        assert_eq!(dropped(&seen, "truncated_shard").len(), 1);
    }
}

proptest! {
    #[test]
    fn a_flipped_byte_loses_no_row_silently(at in 0usize..20_000, with: u8) {
        let mut bytes = both_forms();
        let at = at % bytes.len();
        bytes[at] ^= with | 1;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.tar"), &bytes).unwrap();
        let (seen, counts) = list(dir.path(), Value::Null);
        prop_assert!(seen.kept.len() <= 6);
        prop_assert!(counts.rows + counts.others <= 16);
    }
}
