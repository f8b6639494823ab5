//! Where the clips lie as seen from the page, as a URL.

use std::path::{Component, Path};

/// The way from one folder to another, `..` where needed; both must be absolute for it to make sense.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.len() - common;
    let mut words = vec!["..".to_owned(); up];
    words.extend(to[common..].iter().filter_map(|part| match part {
        Component::Normal(name) => Some(encode(&name.to_string_lossy())),
        _ => None,
    }));
    if words.is_empty() {
        ".".to_owned()
    } else {
        words.join("/")
    }
}

/// A path below a folder, each step percent-encoded; steps that lead out of it are left out.
pub(crate) fn below(path: &str) -> String {
    let words = path.split('/').filter(|word| !matches!(*word, "" | "." | ".."));
    words.map(encode).collect::<Vec<_>>().join("/")
}

fn encode(word: &str) -> String {
    word.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
        text
    })
}

/// Undoes percent-encoding; nothing when it is broken or no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_and_names_survive() {
        assert_eq!(
            relative(Path::new("/a/out/report"), Path::new("/a/clips")),
            "../../clips"
        );
        assert_eq!(relative(Path::new("/a"), Path::new("/a/b c")), "b%20c");
        assert_eq!(relative(Path::new("/a"), Path::new("/a")), ".");
        let odd = "x/../#1? é%.mp4";
        assert_eq!(below(odd), "x/%231%3F%20%C3%A9%25.mp4");
        assert_eq!(decode(&below(odd)).as_deref(), Some("x/#1? é%.mp4"));
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
    }
}
