//! Tests of the reader of OpenHumanVid; the example is made by hand.

use super::super::tests::{Seen, corpus};
use super::*;
use proptest::prelude::*;
use serde_json::json;

const HEADER: &str = "clip_id,path,caption,luminance_min,luminance_max,blur_min,blur_max,aesthetic,technical_score,global_motion,,\n";
const ONE: &str = "00a1b2c3d4e5f60718293a4b5c6d7e8f";
const TWO: &str = "ff00ee11dd22cc33bb44aa5599668877";

fn scan(dir: &tempfile::TempDir, settings: serde_json::Value) -> (Seen, Counts) {
    let settings = super::super::read_settings(ENTRY.name, &settings).unwrap();
    let source = OpenHumanVid::new(dir.path(), settings).unwrap();
    let mut seen = Seen::default();
    let counts = source.scan(&mut seen).unwrap();
    assert_eq!(counts.states.values().sum::<u64>(), counts.rows + counts.orphans);
    assert_eq!(
        (seen.kept.len() + seen.dropped.len()) as u64,
        counts.rows + counts.orphans
    );
    (seen, counts)
}

/// The two rows of the example, a file without a row, and a row without a file.
fn example() -> tempfile::TempDir {
    let table = format!(
        "{HEADER}{ONE},clips/part_001/00/a1/{ONE},\"A woman in a \"\"green\"\" coat talks, then laughs.\",41.2,188.7,0.11,0.62,5.31,0.084,2.75,,\r\n\
         {TWO},clips/part_001/ff/00/{TWO},\"Two men\nargue in a kitchen.\",12.0,201.5,,0.90,4.02,-0.013,11.8,,\n\
         0123456789abcdef0123456789abcdef,clips/part_001/01/23/0123456789abcdef0123456789abcdef,gone,1,2,3,4,5,6,7,,\n"
    );
    corpus(&[
        ("OpenHumanVid_part_001.csv", &table),
        (&format!("part_001/00/a1/{ONE}.mp4"), ""),
        (&format!("part_001/ff/00/{TWO}.webm"), ""),
        ("part_001/ab/cd/abcd.mp4", ""),
    ])
}

#[test]
fn the_example_is_read_as_it_is_meant() {
    let (seen, counts) = scan(&example(), json!(null));
    assert_eq!(seen.kept.len(), 2);
    let (one, two) = (&seen.kept[0], &seen.kept[1]);
    assert_eq!(
        (one.clip.as_str(), one.path.as_str()),
        (ONE, format!("part_001/00/a1/{ONE}.mp4").as_str())
    );
    assert_eq!(
        one.caption.as_deref(),
        Some("A woman in a \"green\" coat talks, then laughs.")
    );
    assert_eq!(one.licence.as_deref(), Some("non-commercial (OpenHumanVid)"));
    assert_eq!(two.caption.as_deref(), Some("Two men\nargue in a kitchen."));
    assert!(two.path.ends_with(".webm"));
    let names = |row: &Listing| {
        row.scores
            .iter()
            .map(|score| score.name.clone())
            .collect::<Vec<_>>()
    };
    let sorted = [
        "aesthetic",
        "blur_max",
        "blur_min",
        "global_motion",
        "luminance_max",
        "luminance_min",
        "technical_score",
    ];
    assert_eq!(names(one), sorted);
    assert!(!names(two).contains(&"blur_min".to_owned()));
    assert_eq!(counts.absent, BTreeMap::from([("blur_min".into(), 1)]));
    let dropped: Vec<(&str, &str)> = seen
        .dropped
        .iter()
        .map(|(key, why)| (key.as_str(), why.as_str()))
        .collect();
    assert_eq!(
        dropped,
        [
            ("0123456789abcdef0123456789abcdef", "missing_media"),
            ("part_001/ab/cd/abcd.mp4", "orphan_media")
        ]
    );
}

#[test]
fn filters_name_their_rule_and_absent_cells_fail() {
    let filter = |filters: serde_json::Value| {
        let (seen, _) = scan(&example(), json!({ "filters": filters }));
        seen.dropped
            .into_iter()
            .filter(|drop| drop.0 == TWO)
            .map(|drop| drop.1)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        filter(json!({ "aesthetic": { "min": 4.5 } })),
        ["filtered:aesthetic.min"]
    );
    assert_eq!(
        filter(json!({ "global_motion": { "max": 10 } })),
        ["filtered:global_motion.max"]
    );
    assert_eq!(
        filter(json!({ "blur_min": { "min": 0 } })),
        ["filtered:blur_min:absent"]
    );
    assert!(filter(json!({ "aesthetic": { "min": 4.02, "max": 9 } })).is_empty());
}

#[test]
fn a_filter_on_no_column_and_senseless_limits_are_errors() {
    let dir = example();
    let said = |filters: serde_json::Value| {
        let source = (ENTRY.build)(dir.path(), &json!({ "filters": filters }));
        match source {
            Ok(source) => source.list(&mut Seen::default()).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let typo = said(json!({ "astehtic": { "min": 1 } }));
    assert!(typo.contains("astehtic") && typo.contains("aesthetic"), "{typo}");
    assert!(said(json!({ "aesthetic": {} })).contains("aesthetic"));
    assert!(said(json!({ "aesthetic": { "min": 2, "max": 1 } })).contains("aesthetic"));
}

#[test]
fn headers_may_be_spelt_otherwise_and_paths_may_be_missing() {
    let frames = format!("{}_000010_000090", "ab".repeat(32));
    let table =
        format!("\u{feff}Motion,ID,Technical,Extra,Note\nNaN,{frames},1.5,3,some text\n2,{ONE},None,,\n");
    let dir = corpus(&[
        ("meta/OpenHumanVid_part_007.csv", &table),
        ("unrelated.csv", "a,b\n1,2\n"),
        (&format!("clips/part_007/ab/ab/{frames}.mp4"), ""),
        (&format!("part_007/00/a1/{ONE}.MKV"), ""),
    ]);
    let (seen, counts) = scan(&dir, json!({ "captions": false }));
    assert_eq!(seen.kept.len(), 2, "{:?}", seen.dropped);
    assert_eq!(
        seen.kept[0].source_video.as_deref(),
        Some("ab".repeat(32).as_str())
    );
    assert_eq!(seen.kept[0].path, format!("clips/part_007/ab/ab/{frames}.mp4"));
    let scores: Vec<(&str, f64)> = seen.kept[0]
        .scores
        .iter()
        .map(|score| (score.name.as_str(), score.value))
        .collect();
    assert_eq!(scores, [("extra", 3.0), ("technical_score", 1.5)]);
    assert!(seen.kept[1].path.ends_with(".MKV"));
    assert_eq!(counts.absent["technical_score"], 1);
}

#[test]
fn hostile_rows_are_bad_and_cost_nothing_else() {
    let rows = [
        "../../etc/passwd,x,5",
        "a,/etc/passwd,5",
        "b,clips/../../x,5",
        "c,clips\\x,5",
        "d,clips/x\0y,5",
        ",clips/x,5",
        "e,clips/x,high",
        "f,clips/x",
        "g,clips/x,5,6",
        "\"h\"i,clips/x,5",
        "good,clips/x,5",
        "good,clips/x,5",
        "j,\"clips/x,5",
    ];
    let table = format!("clip_id,path,aesthetic\n{}\n", rows.join("\n"));
    let dir = corpus(&[("OpenHumanVid_part_1.csv", &table), ("x.mp4", "")]);
    let (seen, counts) = scan(&dir, json!(null));
    assert_eq!(seen.kept.len(), 1);
    assert_eq!(counts.states["bad_row"], 11);
    assert_eq!(counts.states["duplicate_id"], 1);
    let mut keys: Vec<&String> = seen.dropped.iter().map(|drop| &drop.0).collect();
    keys.dedup();
    assert_eq!(keys.len(), 12);
    assert!(
        seen.dropped
            .iter()
            .any(|drop| drop.0 == "OpenHumanVid_part_1.csv:2")
    );
}

/// What a generated row is made to be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    Good,
    NoFile,
    Repeated,
    Low,
    NoScore,
    Bad,
}

fn made() -> impl Strategy<Value = Made> {
    prop::sample::select(vec![
        Made::Good,
        Made::NoFile,
        Made::Repeated,
        Made::Low,
        Made::NoScore,
        Made::Bad,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_row_and_file_is_counted_once(
        parts in proptest::collection::vec(proptest::collection::vec(made(), 0..12), 1..4),
        orphans in 0_usize..4,
        caption in "[a-z\",\r\n]{0,12}",
    ) {
        let quoted = format!("\"{}\"", caption.replace('"', "\"\""));
        let mut files: Vec<(String, String)> = Vec::new();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        let mut first: Option<String> = None;
        for (part, rows) in parts.iter().enumerate() {
            let mut table = String::from("path,aesthetic,caption,clip_id\n");
            for (at, made) in rows.iter().enumerate() {
                let (made, id) = match (made, &first) {
                    (Made::Repeated, Some(id)) => (Made::Repeated, id.clone()),
                    (Made::Repeated, None) => (Made::Good, format!("{part:02}{at:02}")),
                    (made, _) => (*made, format!("{part:02}{at:02}")),
                };
                let path = format!("clips/part_{part}/{id}");
                let score = match made { Made::Low => "1", Made::NoScore => "nan", Made::Bad => "x", _ => "5" };
                table.push_str(&format!("{path},{score},{quoted},{id}\n"));
                if !matches!(made, Made::NoFile | Made::Repeated) {
                    files.push((format!("part_{part}/{id}.mp4"), String::new()));
                }
                let state = match made {
                    Made::Good => "ok",
                    Made::NoFile => "missing_media",
                    Made::Repeated => "duplicate_id",
                    Made::Low => "filtered:aesthetic.min",
                    Made::NoScore => "filtered:aesthetic:absent",
                    Made::Bad => "bad_row",
                };
                *expected.entry(state.into()).or_default() += 1;
                if made == Made::Bad {
                    // a damaged row names no file
                    *expected.entry("orphan_media".into()).or_default() += 1;
                } else if first.is_none() {
                    first = Some(id);
                }
            }
            files.push((format!("OpenHumanVid_part_{part}.csv"), table));
        }
        for at in 0..orphans {
            files.push((format!("part_0/left/{at}.mov"), String::new()));
            *expected.entry("orphan_media".into()).or_default() += 1;
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let dir = corpus(&files);
        let (seen, counts) = scan(&dir, json!({ "filters": { "aesthetic": { "min": 4.5 } } }));
        prop_assert_eq!(counts.states, expected);
        let trimmed = caption.trim();
        for row in &seen.kept {
            prop_assert_eq!(row.caption.as_deref().unwrap_or(""), trimmed);
        }
        let mut keys: Vec<&String> = seen.dropped.iter().map(|drop| &drop.0).collect();
        keys.extend(seen.kept.iter().map(|row| &row.clip));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), count);
    }
}

#[test]
fn a_parquet_part_is_listed_as_its_csv_is() {
    use omni_schemas::{Column, Record};
    use serde::{Deserialize, Serialize};

    /// The columns of a part.
    #[derive(Clone, Serialize, Deserialize)]
    struct Part {
        clip_id: Option<String>,
        path: String,
        caption: String,
        aesthetic: Option<f64>,
        global_motion: f64,
    }

    impl Record for Part {
        const NAME: &'static str = "part";
        const VERSION: u32 = 1;

        fn key(&self) -> &str {
            &self.path
        }

        fn columns() -> Vec<Column> {
            let texts = ["clip_id", "path", "caption"].map(|name| omni_schemas::text(name, ""));
            let reals = ["aesthetic", "global_motion"].map(|name| omni_schemas::real(name, ""));
            texts.into_iter().chain(reals).collect()
        }
    }

    let row = |id: Option<&str>, aesthetic| Part {
        clip_id: id.map(str::to_owned),
        path: "clips/part_001/ab/cd/abcd".into(),
        caption: "Two men\nargue.".into(),
        aesthetic,
        global_motion: 3.25,
    };
    let rows = [
        row(Some("abcd"), Some(4.5)),
        row(Some("abcd"), Some(5.0)),
        row(None, Some(5.0)),
        row(Some("low"), Some(4.25)),
        row(Some("none"), None),
    ];
    let csv = "clip_id,path,caption,aesthetic,global_motion\n\
               abcd,clips/part_001/ab/cd/abcd,\"Two men\nargue.\",4.5,3.25\n\
               abcd,clips/part_001/ab/cd/abcd,\"Two men\nargue.\",5,3.25\n\
               ,clips/part_001/ab/cd/abcd,\"Two men\nargue.\",5,3.25\n\
               low,clips/part_001/ab/cd/abcd,\"Two men\nargue.\",4.25,3.25\n\
               none,clips/part_001/ab/cd/abcd,\"Two men\nargue.\",,3.25\n";
    let settings = json!({ "filters": { "aesthetic": { "min": 4.5 } } });
    let media = ("part_001/ab/cd/abcd.mp4", "");
    let (of_csv, csv_counts) = scan(
        &corpus(&[("OpenHumanVid_part_001.csv", csv), media]),
        settings.clone(),
    );
    let dir = corpus(&[media, ("other.parquet", "no table of the corpus")]);
    let path = dir.path().join("OpenHumanVid_part_001.parquet");
    omni_manifests::write_part(&path, &rows, &omni_manifests::Receipt::default()).unwrap();
    let (of_parquet, counts) = scan(&dir, settings);
    assert_eq!(of_csv.kept, of_parquet.kept);
    assert_eq!((of_parquet.kept.len(), of_parquet.kept[0].scores.len()), (1, 2));
    assert_eq!(csv_counts.states, counts.states);
    let reasons = |seen: &Seen| seen.dropped.iter().map(|drop| drop.1.clone()).collect::<Vec<_>>();
    assert_eq!(reasons(&of_csv), reasons(&of_parquet));
}
