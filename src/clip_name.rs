//! A clip's key as the name of a file: two keys never get one name.

use omni_manifests::fingerprint;
use serde_json::json;

/// Longest name, in bytes, that a key has without a hash.
const LONGEST: usize = 150;
/// Digits of the hash.
const DIGITS: usize = 8;

/// The name of files of `clip`: the key itself where all of its characters are `plain`; otherwise the others become `_`, and eight
/// digits of a hash of the whole key stand behind it. It depends on no other clip. Keys that are too long, begin with a dot or end
/// as a hashed name does have a hash, too.
pub fn clip_name(clip: &str, plain: impl Fn(char) -> bool) -> String {
    let replaced: String = clip.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let name = replaced.trim_start_matches('.');
    if name == clip && !name.is_empty() && name.len() <= LONGEST && !looks_hashed(name) {
        return name.to_owned();
    }
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let short = if end == 0 { "clip" } else { &name[..end] };
    format!("{short}-{}", &fingerprint(&json!(clip))[..DIGITS])
}

fn looks_hashed(name: &str) -> bool {
    let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    name.rsplit_once('-')
        .is_some_and(|(_, tail)| tail.len() == DIGITS && tail.as_bytes().iter().all(digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn plain(c: char) -> bool {
        c.is_ascii_alphanumeric() || "-_.".contains(c)
    }

    #[test]
    fn names_are_plain_where_they_can_be_and_never_the_same() {
        assert_eq!(clip_name("a_b.mp4", plain), "a_b.mp4");
        let replaced = clip_name("a/b.mp4", plain);
        assert!(replaced.starts_with("a_b.mp4-") && replaced.len() == "a_b.mp4-".len() + DIGITS);
        let long = "x".repeat(400);
        let keys = [
            "a_b.mp4",
            "a/b.mp4",
            "a b.mp4",
            "a\\b.mp4",
            ".a_b.mp4",
            "..",
            "...",
            &replaced,
            &long,
            &long[1..],
            "ä",
            "ö",
        ];
        let names: BTreeSet<String> = keys.iter().map(|key| clip_name(key, plain)).collect();
        assert_eq!(names.len(), keys.len(), "{names:?}");
        for name in &names {
            assert!(
                name.len() < 200 && !name.starts_with('.') && !name.is_empty(),
                "{name}"
            );
        }
        // the same name whatever else there is, and for other rules of what is plain
        assert_eq!(clip_name("a/b.mp4", plain), replaced);
        assert_eq!(clip_name("ä b.wav", |c| c != '/'), "ä b.wav");
        assert!(clip_name(&"ä".repeat(200), |_| true).len() < 200);
    }
}
