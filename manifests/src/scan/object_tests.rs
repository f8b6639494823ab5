use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Gives at most so many bytes at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(into.len()).min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

type Members = Vec<(String, u64, Option<Vec<u8>>)>;

fn read(text: &[u8], step: usize, limit: usize) -> (Members, Option<ObjectFault>) {
    rest(ObjectStream::new(Drip(text, step)).limit(limit))
}

fn rest<R: Read>(mut stream: ObjectStream<R>) -> (Members, Option<ObjectFault>) {
    let mut members = Vec::new();
    loop {
        match stream.next_member() {
            Ok(Some(member)) => members.push((
                serde_json::from_slice(member.key).unwrap_or_else(|_| "?".to_owned()),
                member.offset,
                member.value.map(<[u8]>::to_vec),
            )),
            Ok(None) => return (members, None),
            Err(fault) => return (members, Some(fault)),
        }
    }
}

#[test]
fn members_come_with_their_bytes_whatever_the_pieces() {
    let text = br#" { "a" : {"x":[1,{"y":"}\"]\\"}]} ,"b\"\u00e4": "te\\xt" , "c":-1.5e3,"d":null,"e":[] } "#;
    for step in 1..text.len() {
        let (members, fault) = read(text, step, LIMIT);
        assert!(fault.is_none(), "{fault:?}");
        let names: Vec<&str> = members.iter().map(|member| member.0.as_str()).collect();
        assert_eq!(names, ["a", "b\"ä", "c", "d", "e"]);
        for (_, offset, value) in &members {
            let value = value.as_deref().unwrap();
            let at = *offset as usize;
            assert_eq!(&text[at..at + value.len()], value);
            serde_json::from_slice::<Value>(value).unwrap();
        }
    }
    assert!(read(b"{}", 1, LIMIT).0.is_empty());
    assert_eq!(read(b"\xef\xbb\xbf{\"a\":1}", 1, LIMIT).0.len(), 1);
}

#[test]
fn damage_is_named_with_its_byte() {
    let cases: [(&[u8], &str); 10] = [
        (b"[1]", "byte 0: an object"),
        (b"", "byte 0: the file ends"),
        (b"{\"a\":1", "byte 1: the file ends"),
        (b"{\"a\":1,", "byte 7: the file ends"),
        (b"{\"a\":{\"b\":\"", "byte 1: the file ends"),
        (b"{\"a\" 1}", "byte 5: a colon"),
        (b"{\"a\":1 \"b\":2}", "byte 7: a comma"),
        (b"{a:1}", "byte 1: a key"),
        (b"{\"a\":}", "byte 5: a value"),
        (b"{} x", "byte 3: something"),
    ];
    for (text, said) in cases {
        for step in [1, 100] {
            let (_, fault) = read(text, step, LIMIT);
            let fault = fault.unwrap().to_string();
            assert!(fault.starts_with(said), "{text:?}: {fault}");
        }
    }
}

#[test]
fn a_long_value_is_passed_over_and_memory_stays() {
    let long = "x".repeat(10 << 20);
    let text = format!("{{\"a\":\"{long}\",\"b\":{{\"c\":[\"{long}\"]}},\"d\":4}}");
    let mut stream = ObjectStream::new(text.as_bytes()).limit(1000);
    let mut kept = Vec::new();
    while let Some(member) = stream.next_member().unwrap() {
        let key: String = serde_json::from_slice(member.key).unwrap();
        kept.push((key, member.length as usize, member.value.map(<[u8]>::to_vec)));
    }
    let more = long.len();
    assert_eq!(kept[0], ("a".into(), more + 2, None));
    assert_eq!(kept[1], ("b".into(), more + 10, None));
    assert_eq!(kept[2], ("d".into(), 1, Some(b"4".to_vec())));
    assert!(
        stream.buffer.capacity() < 4 * CHUNK,
        "{}",
        stream.buffer.capacity()
    );
}

#[test]
fn deep_nesting_is_only_counted() {
    let text = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(200_000), "]".repeat(200_000));
    let (members, fault) = read(text.as_bytes(), 4096, LIMIT);
    assert!(fault.is_none());
    assert_eq!(members.len(), 2);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[\"\\\\{}\\[\\],: ]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\{]{0,4}", inner, 0..5)
                .prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_read_as_serde_reads_it(map in prop::collection::btree_map("\\PC{0,6}", value(), 0..6),
                                            pretty: bool, step in 1usize..40, resume in 0usize..6) {
        let map = Map::from_iter(map);
        let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) }.unwrap();
        let (members, fault) = read(text.as_bytes(), step, LIMIT);
        prop_assert!(fault.is_none(), "{fault:?}");
        let read: Map<String, Value> = members.iter()
            .map(|(key, _, value)| (key.clone(), serde_json::from_slice(value.as_deref().unwrap()).unwrap()))
            .collect();
        prop_assert_eq!(&read, &map);
        // What was read up to any member can be gone on with.
        if let Some((_, offset, value)) = members.get(resume) {
            let end = *offset + value.as_ref().unwrap().len() as u64;
            let (more, fault) = rest(ObjectStream::resume(Drip(&text.as_bytes()[end as usize..], step), end));
            prop_assert!(fault.is_none());
            prop_assert_eq!(&more, &members[resume + 1..]);
        }
    }

    #[test]
    fn any_cut_and_any_noise_ends_without_a_panic(map in prop::collection::btree_map("[a-z]{1,4}", value(), 1..5),
                                                  cut in 0usize..400, flip in 0usize..400, with: u8, step in 1usize..40) {
        let text = serde_json::to_vec(&Map::from_iter(map)).unwrap();
        let whole = read(&text, step, LIMIT).0;
        let short = &text[..cut.min(text.len() - 1)];
        let (members, fault) = read(short, step, LIMIT);
        let truncated = matches!(fault, Some(ObjectFault::Truncated { .. }));
        prop_assert!(truncated, "{fault:?}");
        prop_assert_eq!(&members[..], &whole[..members.len()]);
        let mut noisy = text.clone();
        let at = flip % noisy.len();
        noisy[at] = with;
        let (members, _) = read(&noisy, step, 50);
        for (_, offset, value) in members {
            let length = value.map_or(0, |value| value.len());
            prop_assert!(offset as usize + length <= noisy.len());
        }
    }
}
