//! Links from the page to the files beside it.

use std::path::{Component, Path};

/// The link from a page in `folder` to a file, both absolute: relative, with all but plain letters escaped.
pub(super) fn link(folder: &Path, file: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (folder.components().collect(), file.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    let down = to[shared..].iter().filter_map(|part| match part {
        Component::Normal(name) => Some(encoded(name.as_encoded_bytes())),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    up.chain(down).collect::<Vec<_>>().join("/")
}

fn encoded(name: &[u8]) -> String {
    let mut out = String::new();
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_plain() {
        let page = Path::new("/a/b");
        assert_eq!(link(page, Path::new("/a/b/c.mp4")), "c.mp4");
        assert_eq!(link(page, Path::new("/a/out/x y#1.mp4")), "../out/x%20y%231.mp4");
        assert_eq!(link(page, Path::new("/z/ü.png")), "../../z/%C3%BC.png");
    }
}
