//! A folder that appears whole: filled beside its place under a name with the number of this process, then renamed.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Runs `fill` on a new folder beside `folder`, which takes the name when all is well; otherwise nothing is left. What processes
/// that are gone left for the same folder is removed first.
pub(crate) fn into_new_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let io = |path: &Path, source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if folder.exists() {
        return Err(io(folder, std::io::ErrorKind::AlreadyExists.into()));
    }
    for left in left_behind(folder) {
        std::fs::remove_dir_all(&left).map_err(|source| io(&left, source))?;
    }
    let unfinished = folder.with_file_name(format!("{}{}{ENDING}", beginning(folder), std::process::id()));
    std::fs::create_dir_all(&unfinished).map_err(|source| io(&unfinished, source))?;
    let done = fill(&unfinished)
        .and_then(|()| std::fs::rename(&unfinished, folder).map_err(|source| io(folder, source)));
    if done.is_err() {
        // the first error is the one to tell
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    done
}

const ENDING: &str = ".unfinished";

fn beginning(folder: &Path) -> String {
    format!(".{}.", folder.file_name().unwrap_or_default().to_string_lossy())
}

/// Folders that processes of this machine which are gone left on the way to `folder`; none where the system does not tell which
/// processes there are.
fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let processes = Path::new("/proc");
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    if !processes.join("self").exists() {
        return Vec::new();
    }
    let beginning = beginning(folder);
    let gone = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .strip_prefix(&beginning)
            .and_then(|rest| rest.strip_suffix(ENDING)?.parse::<u32>().ok());
        // one of this process' own number is of another that had it before
        let is_gone =
            |number: u32| number == std::process::id() || !processes.join(number.to_string()).exists();
        path.is_dir() && number.is_some_and(is_gone)
    };
    entries.flatten().map(|entry| entry.path()).filter(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_work_on_stays() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("model.safetensors"), "half").unwrap();
            path
        };
        // beyond the largest number a process has on Linux
        let dead = [
            make(".a.4194305.unfinished"),
            make(&format!(".a.{}.unfinished", std::process::id())),
        ];
        let others = [
            make(&format!(".a.{}.unfinished", std::os::unix::process::parent_id())),
            make(".b.4194305.unfinished"),
            make(".a.x.unfinished"),
            make(".a.4194305"),
        ];
        into_new_folder(&folder.path().join("a"), |_| Ok(())).unwrap();
        assert!(dead.iter().all(|path| !path.exists()) && folder.path().join("a").is_dir());
        assert!(others.iter().all(|path| path.exists()));
    }
}
