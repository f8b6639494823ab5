use super::*;
use crate::{Receipt, write_part};
use omni_schemas::{Listing, NamedScore};
use proptest::prelude::*;

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// Line and cells of every row; a damaged row has the word `damaged`.
fn rows(scan: &TableScan) -> Vec<(u64, Vec<String>)> {
    let mut rows = Vec::new();
    scan.for_each(|row| {
        let cells = match row.fault() {
            Some(_) => vec!["damaged".to_owned()],
            None => (0..row.len()).map(|i| row.text(i).into_owned()).collect(),
        };
        rows.push((row.line(), cells));
        Ok::<(), Error>(())
    })
    .unwrap();
    rows
}

fn row(line: u64, cells: &[&str]) -> (u64, Vec<String>) {
    (line, cells.iter().map(|cell| (*cell).to_owned()).collect())
}

const CSV: &str = "id,\"score\",note\na,1.5,\"x,\ny\"\nb,,\nc,\"open\nd,9,z\n";
const TSV: &str = "id\tscore\tnote\na\t1.5\t\"x,\ny\"\nb\t\t\nc\t\"open\nd\t9\tz\n";
const LINES: &str = "{\"id\":\"a\",\"score\":1.5,\"note\":\"x,\\ny\"}\n\n{\"id\":\"b\",\"score\":null}\n{\"id\":\n{\"id\":\"d\",\"score\":9,\"note\":\"z\",\"more\":[1]}\n";

#[test]
fn every_format_gives_the_same_cells() {
    for (name, text, lines) in [
        ("t.csv", CSV, [2, 4, 5, 6]),
        ("t.tsv", TSV, [2, 4, 5, 6]),
        ("t.JSONL", LINES, [1, 3, 4, 5]),
    ] {
        let (_dir, path) = written(name, text);
        let scan = TableScan::open(&path).unwrap();
        assert_eq!(scan.columns(), ["id", "score", "note"], "{name}");
        let wanted = [
            row(lines[0], &["a", "1.5", "x,\ny"]),
            row(lines[1], &["b", "", ""]),
            row(lines[2], &["damaged"]),
            row(lines[3], &["d", "9", "z"]),
        ];
        assert_eq!(rows(&scan), wanted, "{name}");
        let some = scan.clone().select(&["note", "nothing", "id"]);
        assert_eq!(rows(&some)[3].1, ["z", "", "d"], "{name}");
        let high = scan.filter("score", Comparison::Above, 2.0).unwrap();
        assert_eq!(rows(&high), wanted[2..], "{name}: damaged rows stay");
    }
}

#[test]
fn rows_are_found_again_by_their_place() {
    for (name, text) in [("t.csv", CSV), ("t.tsv", TSV), ("t.jsonl", LINES)] {
        let (_dir, path) = written(name, text);
        let scan = TableScan::open(&path).unwrap().select(&["id", "note"]);
        let mut places = Vec::new();
        scan.for_each(|row| {
            places.push((row.place().unwrap(), row.fault().is_none().then(|| row.object())));
            Ok::<(), Error>(())
        })
        .unwrap();
        let mut reader = scan.reader().unwrap().unwrap();
        for (place, object) in places.into_iter().rev() {
            let found = reader
                .read(place, |row| row.fault().is_none().then(|| row.object()))
                .unwrap();
            // a damaged CSV row ends where the scan gave it up; read alone it is damaged too
            assert_eq!(found, object, "{name}");
        }
        assert!(reader.read(1 << 40, |_| ()).unwrap_err().is_damage());
    }
}

#[test]
fn parquet_is_read_in_order_with_filters_before_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let listing = |i: usize| Listing {
        clip: format!("c{i}"),
        path: String::new(),
        start: (!i.is_multiple_of(3)).then_some(i as f64),
        end: None,
        source_video: None,
        caption: Some(format!("caption {i}")),
        transcript: None,
        scores: vec![NamedScore {
            name: "a".into(),
            value: 1.0,
        }],
        licence: None,
        ..Listing::default()
    };
    let listings: Vec<_> = (0..20_000).map(listing).collect();
    write_part(&path, &listings, &Receipt::default()).unwrap();
    let scan = TableScan::open(&path).unwrap();
    assert_eq!(scan.columns()[..3], ["clip", "path", "start"]);
    assert!(scan.reader().unwrap().is_none());
    let all = rows(
        &scan
            .clone()
            .select(&["caption", "clip", "nothing", "start", "scores"]),
    );
    assert_eq!(all.len(), 20_000);
    assert_eq!(
        all[12_346],
        row(12_347, &["caption 12346", "c12346", "", "12346", ""])
    );
    assert_eq!(all[3].1[3], "");
    let high = scan
        .filter("start", Comparison::AtLeast, 19_998.0)
        .and_then(|scan| scan.filter("start", Comparison::AtMost, 19_999.0))
        .unwrap()
        .select(&["clip"]);
    assert_eq!(rows(&high), [row(20_000, &["c19999"])]);
    let mut nested = None;
    high.select(&["scores"])
        .for_each(|row| {
            nested = Some(row.object());
            Ok::<(), Error>(())
        })
        .unwrap();
    let wanted = serde_json::json!({ "scores": [{ "name": "a", "value": 1.0 }] });
    assert_eq!(serde_json::Value::Object(nested.unwrap()), wanted);
}

#[test]
fn comparisons_are_what_they_say() {
    use Comparison::{Above, AtLeast, AtMost, Below, Equal};
    let holds = |comparison: Comparison| [1.0, 2.0, 3.0].map(|number| comparison.holds(number, 2.0));
    assert_eq!(holds(AtLeast), [false, true, true]);
    assert_eq!(holds(AtMost), [true, true, false]);
    assert_eq!(holds(Above), [false, false, true]);
    assert_eq!(holds(Below), [true, false, false]);
    assert_eq!(holds(Equal), [false, true, false]);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let said = |name: &str, text: &str| {
        let (_dir, path) = written(name, text);
        TableScan::open(&path).unwrap_err().to_string()
    };
    assert!(said("t.xlsx", "x").contains("t.xlsx"));
    assert!(said("t.csv", "").contains("header"));
    assert!(said("t.parquet", "x").contains("damaged"));
    let gone = TableScan::open(Path::new("gone.csv")).unwrap_err();
    assert!(matches!(gone, Error::Missing { .. }));
    let (_dir, path) = written("t.csv", CSV);
    let filter = TableScan::open(&path)
        .unwrap()
        .filter("nothing", Comparison::Equal, 1.0);
    assert!(filter.unwrap_err().to_string().contains("id, score, note"));
}

#[test]
fn a_line_without_end_is_one_damaged_row() {
    let mut text = "{\"id\":\"".to_owned();
    text.push_str(&"x".repeat(65 << 20));
    text.push_str("\"}\n{\"id\":\"b\"}\n");
    let (_dir, path) = written("t.jsonl", &text);
    let scan = TableScan::open(&path).unwrap().select(&["id"]);
    assert_eq!(rows(&scan), [row(1, &["damaged"]), row(2, &["b"])]);
}

proptest! {
    #[test]
    fn places_hold_for_any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), any::<u8>()], 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, [b"a,b\n", &bytes[..]].concat()).unwrap();
        let scan = TableScan::open(&path).unwrap();
        let mut found = Vec::new();
        scan.for_each(|row| {
            found.push((row.place().unwrap(), row.fault().is_none().then(|| row.object())));
            Ok::<(), Error>(())
        }).unwrap();
        let mut reader = scan.reader().unwrap().unwrap();
        for (place, object) in found {
            let again = reader.read(place, |row| row.fault().is_none().then(|| row.object())).unwrap();
            prop_assert_eq!(again, object);
        }
    }
}
