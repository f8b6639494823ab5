//! Lists the files below a folder once, in a fixed order, with memory bounded by what the caller wants to keep of
//! one folder. Not for reading files.
//!
//! Names that begin with a dot are skipped. A linked folder is entered unless it lies inside the corpus, contains
//! it, or lies inside a linked folder that was entered before: so no link can make a loop.

use super::Error;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// One file below the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Path below the root with `/`; bytes that are no UTF-8 are written as escapes such as `\xff`.
    pub path: String,
    /// Whether the path is the real one (its name is UTF-8).
    pub readable: bool,
}

/// One entry of a folder, kept until the folder is sorted.
struct Entry {
    order: String,
    folder: Option<PathBuf>,
    found: Found,
}

/// Calls `keep` on every file as it is listed and, folder by folder in the order of the paths, `on` for those kept.
///
/// # Errors
/// [`Error::List`] when a folder cannot be read, and whatever `on` returns.
pub(super) fn walk(
    root: &Path,
    keep: &mut dyn FnMut(&Found) -> bool,
    on: &mut dyn FnMut(&Found) -> Result<(), Error>,
) -> Result<(), Error> {
    let real = fs::canonicalize(root).map_err(|source| Error::list(root, source))?;
    let mut entered = vec![real.clone()];
    let mut pending: Vec<Entry> = Vec::new();
    push_folder(root, "", &mut pending, keep, &mut entered, &real)?;
    while let Some(entry) = pending.pop() {
        match entry.folder {
            Some(folder) => {
                push_folder(
                    &folder,
                    &entry.found.path,
                    &mut pending,
                    keep,
                    &mut entered,
                    &real,
                )?;
            }
            None => on(&entry.found)?,
        }
    }
    Ok(())
}

/// Lists one folder and puts its entries on the stack, last name first.
fn push_folder(
    folder: &Path,
    below: &str,
    pending: &mut Vec<Entry>,
    keep: &mut dyn FnMut(&Found) -> bool,
    entered: &mut Vec<PathBuf>,
    root: &Path,
) -> Result<(), Error> {
    let first = pending.len();
    for entry in fs::read_dir(folder).map_err(|source| Error::list(folder, source))? {
        let entry = entry.map_err(|source| Error::list(folder, source))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().first() == Some(&b'.') {
            continue;
        }
        let kind = entry.file_type().map_err(|source| Error::list(folder, source))?;
        let found = found(below, &name);
        let is_folder = if kind.is_symlink() {
            match linked(&entry.path(), entered, root) {
                Linked::Folder => true,
                Linked::File => false,
                Linked::Nothing => continue,
            }
        } else if kind.is_dir() {
            true
        } else if kind.is_file() {
            false
        } else {
            continue;
        };
        if is_folder {
            let order = format!("{}/", found.path);
            pending.push(Entry {
                order,
                folder: Some(entry.path()),
                found,
            });
        } else if keep(&found) {
            pending.push(Entry {
                order: found.path.clone(),
                folder: None,
                found,
            });
        }
    }
    pending[first..].sort_unstable_by(|a, b| b.order.cmp(&a.order));
    Ok(())
}

/// What stands behind a link.
enum Linked {
    Folder,
    File,
    Nothing,
}

/// Follows a link; a folder is remembered in `entered` when it may be entered.
fn linked(path: &Path, entered: &mut Vec<PathBuf>, root: &Path) -> Linked {
    let Ok(target) = fs::canonicalize(path) else {
        return Linked::Nothing;
    };
    if target.is_file() {
        return Linked::File;
    }
    let seen = root.starts_with(&target) || entered.iter().any(|inside| target.starts_with(inside));
    if seen || !target.is_dir() {
        return Linked::Nothing;
    }
    entered.push(target);
    Linked::Folder
}

fn found(below: &str, name: &OsStr) -> Found {
    let (name, readable) = match name.to_str() {
        Some(name) => (name.to_owned(), true),
        None => (name.as_encoded_bytes().escape_ascii().to_string(), false),
    };
    // A folder that is no UTF-8 makes all below it unreadable; its escape holds a backslash, which no name that is
    // accepted may hold (see `rows::clean`), so nothing is mistaken for it.
    let readable = readable && !below.contains('\\');
    let path = if below.is_empty() {
        name
    } else {
        format!("{below}/{name}")
    };
    Found { path, readable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(root: &Path) -> Vec<Found> {
        let mut out = Vec::new();
        walk(root, &mut |_| true, &mut |file| {
            out.push(file.clone());
            Ok(())
        })
        .unwrap();
        out
    }

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    #[test]
    fn files_come_in_the_order_of_their_paths_and_hidden_ones_do_not_come() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b/2.mp4",
            "b/1.mp4",
            "b.mp4",
            "a-c.mp4",
            "a/x.mp4",
            ".hidden/y.mp4",
            "a/.z.mp4",
        ] {
            touch(dir.path().join(name));
        }
        let paths: Vec<String> = all(dir.path()).into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["a-c.mp4", "a/x.mp4", "b.mp4", "b/1.mp4", "b/2.mp4"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_cannot_make_a_loop() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        touch(root.join("a/1.mp4"));
        touch(other.join("2.mp4"));
        symlink(&root, root.join("a/self")).unwrap();
        symlink(dir.path(), root.join("a/above")).unwrap();
        symlink(&other, root.join("linked")).unwrap();
        symlink(&root, other.join("back")).unwrap();
        symlink(&other, other.join("again")).unwrap();
        symlink(root.join("nothing"), root.join("broken.mp4")).unwrap();
        symlink(root.join("a/1.mp4"), root.join("file.mp4")).unwrap();
        let paths: Vec<String> = all(&root).into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["a/1.mp4", "file.mp4", "linked/2.mp4"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_text_are_told_apart() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        for byte in [0xfe_u8, 0xff] {
            touch(dir.path().join(OsStr::from_bytes(&[b'a', byte, b'.', b'm'])));
        }
        let files = all(dir.path());
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| !file.readable));
        assert_ne!(files[0].path, files[1].path);
    }
}
