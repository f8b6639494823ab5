//! What one entry must keep to, so that every later step may trust ids, names, hashes and sources.

use std::path::{Component, Path};

use super::spec::{ModelSpec, Source};

/// What is wrong with an entry, in words that follow its id.
pub(super) fn entry(spec: &ModelSpec) -> Result<(), String> {
    let fail = Err::<(), String>;
    if !is_plain(&spec.id) {
        return fail("`id` may hold only letters, digits, `_`, `-` and `.`".to_owned());
    }
    if spec.files.is_empty() {
        return fail("`files` is empty".to_owned());
    }
    if spec.files.first().is_some_and(|file| file.optional) {
        return fail("the first of `files` cannot be optional".to_owned());
    }
    if let Some(message) = source_fault(spec) {
        return fail(message);
    }
    for (index, file) in spec.files.iter().enumerate() {
        if !is_plain(&file.name) {
            return fail(format!("`name` \"{}\" is no plain file name", file.name));
        }
        if spec.files.iter().take(index).any(|other| other.name == file.name) {
            return fail(format!("`name` \"{}\" occurs twice", file.name));
        }
        if !is_inside(file.member()) {
            return fail(format!("`member` \"{}\" leaves its package", file.member()));
        }
        if file.sha256.is_none() && !may_lack_hashes(&spec.source) {
            return fail(format!(
                "`{}` has no sha256: only `kind = \"file\"` and a branch of a hub may leave it out",
                file.name
            ));
        }
    }
    Ok(())
}

/// The user's own files, and a branch of a hub, whose files may change from one day to the next.
fn may_lack_hashes(source: &Source) -> bool {
    match source {
        Source::File { .. } => true,
        Source::Hf { revision, .. } => !is_commit(revision),
        Source::Pip { .. } | Source::Npm { .. } | Source::Url { .. } => false,
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

fn source_fault(spec: &ModelSpec) -> Option<String> {
    let word = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
    let hashed = || spec.files.iter().any(|file| file.sha256.is_some());
    match &spec.source {
        Source::Pip {
            package,
            version,
            python_version,
            platform,
            ..
        } => {
            let words = [
                Some(package),
                Some(version),
                python_version.as_ref(),
                platform.as_ref(),
            ];
            let bad = words.into_iter().flatten().find(|text| !word(text))?;
            Some(format!("`source`: \"{bad}\" is no name or version"))
        }
        Source::Npm { package, version, .. } => {
            let bad = [package, version].into_iter().find(|text| !word(text))?;
            Some(format!("`source`: \"{bad}\" is no name or version"))
        }
        Source::Hf { revision, .. } if !is_commit(revision) && hashed() => Some(format!(
            "`revision` \"{revision}\" is no commit of 40 hex digits, which files of a known hash need"
        )),
        Source::Hf { revision, .. } if !is_plain(revision) => Some(format!(
            "`revision` \"{revision}\" is neither a commit nor a branch"
        )),
        Source::Hf { repository, .. } if !is_inside(repository) => {
            Some(format!("`repository` \"{repository}\" is none"))
        }
        Source::Url { url } if !(url.starts_with("http://") || url.starts_with("https://")) => {
            Some(format!("`url` \"{url}\" is no http address"))
        }
        Source::Url { .. } if spec.files.len() != 1 => Some("a `url` is one file".to_owned()),
        _ => None,
    }
}

/// A name without folders that is safe in any file system.
pub(super) fn is_plain(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(fine)
}

/// A relative path that stays below where it starts.
fn is_inside(path: &str) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.contains(['\0', '\\']) && Path::new(path).components().all(normal)
}

#[cfg(test)]
mod tests {
    use crate::registry::Registry;

    const HEAD: &str = "[[network]]\nid = \"tiny\"\nrole = \"vad\"\ninput = \"\"\noutput = \"\"\n";
    const LICENCE: &str = "licence = { package = \"MIT\", weights = \"MIT\", non_commercial = false }\n";

    fn entry(source: &str, file: &str) -> String {
        format!("{HEAD}source = {{ {source} }}\n{LICENCE}files = [{{ {file} }}]\n")
    }

    fn good_file() -> String {
        format!("name = \"a.onnx\", sha256 = \"{}\"", "0".repeat(64))
    }

    fn fault(text: &str) -> String {
        Registry::from_toml(text, "list.toml").unwrap_err().to_string()
    }

    #[test]
    fn errors_name_key_and_line() {
        let typo = entry("kind = \"file\", origin = \"x\"", &good_file()).replace("output", "outptu");
        let message = fault(&typo);
        assert!(
            message.contains("list.toml") && message.contains("line 5") && message.contains("outptu"),
            "{message}"
        );
        let hash = fault(&entry(
            "kind = \"file\", origin = \"x\"",
            "name = \"a\", sha256 = \"12\"",
        ));
        assert!(
            hash.contains("line 8") && hash.contains("64 lower-case hex"),
            "{hash}"
        );
        let twice = entry("kind = \"file\", origin = \"x\"", &good_file()).repeat(2);
        assert!(
            fault(&twice).contains("line 10: `id` \"tiny\" occurs twice"),
            "{}",
            fault(&twice)
        );
    }

    #[test]
    fn names_that_leave_the_store_are_refused() {
        let source = "kind = \"npm\", package = \"p\", version = \"1\"";
        for name in ["../a", "a/b", "", ".hidden", "a\\\\b", "/etc/passwd"] {
            let file = good_file().replace("a.onnx", name);
            assert!(
                fault(&entry(source, &file)).contains("no plain file name"),
                "{name}"
            );
        }
        for member in ["../a", "/a", "a/../../b", ""] {
            let file = format!("{}, member = \"{member}\"", good_file());
            assert!(
                fault(&entry(source, &file)).contains("leaves its package"),
                "{member}"
            );
        }
    }

    #[test]
    fn sources_are_checked() {
        let file = good_file();
        let cases = [
            (
                "kind = \"hf\", repository = \"a/b\", revision = \"main\"",
                "no commit of 40",
            ),
            (
                "kind = \"pip\", package = \"--index-url=x\", version = \"1\"",
                "no name or version",
            ),
            (
                "kind = \"npm\", package = \"a b\", version = \"1\"",
                "no name or version",
            ),
            ("kind = \"url\", url = \"file:///etc/passwd\"", "no http address"),
            ("kind = \"ftp\"", "ftp"),
        ];
        for (source, expected) in cases {
            assert!(
                fault(&entry(source, &file)).contains(expected),
                "{source}: {}",
                fault(&entry(source, &file))
            );
        }
        let open_end = entry(
            "kind = \"npm\", package = \"a\", version = \"1\"",
            "name = \"a\", sha256 = \"unpublished\"",
        );
        assert!(fault(&open_end).contains("has no sha256"), "{}", fault(&open_end));
    }

    #[test]
    fn profiles_name_listed_networks_of_the_role() {
        let list = entry("kind = \"file\", origin = \"x\"", &good_file());
        let unknown = fault(&format!("[profiles.p]\nvad = \"tinny\"\n{list}"));
        assert!(
            unknown.contains("profiles.p: `vad` names `tinny`, which is not listed"),
            "{unknown}"
        );
        let role = fault(&format!("[profiles.p]\nasr = \"tiny\"\n{list}"));
        assert!(role.contains("whose role is `vad`"), "{role}");
        let registry = Registry::from_toml(&format!("[profiles.p]\nvad = \"tiny\"\n{list}"), "t").unwrap();
        assert!(
            registry
                .profile("q")
                .unwrap_err()
                .to_string()
                .contains("there are: p")
        );
        assert_eq!(registry.ids("p").unwrap(), ["tiny"]);
    }
}
