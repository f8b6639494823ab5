//! One process at a time writes a folder: two at once would write each other's files.

use crate::{exit::usage, output};
use anyhow::Context;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::Path,
};

/// Name of the file that is locked; it stays, so that nobody locks one that is just being removed.
const FILE: &str = ".lock";

/// Held for as long as it lives; the system takes it back when the process ends, however it ends.
pub struct Lock {
    _file: Option<File>,
}

/// Takes the folder for this process, which runs `command`.
///
/// # Errors
/// A usage error that names the process that has it. A disk that cannot lock is said and is no error.
pub fn take(out: &Path, command: &str) -> anyhow::Result<Lock> {
    // What stands in the way of the folder is said by the runner, which makes it.
    if std::fs::create_dir_all(out).is_err() {
        return Ok(Lock { _file: None });
    }
    let path = out.join(FILE);
    let shown = || path.display().to_string();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(shown)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Without a number it is another process all the same.
            drop(file.read_to_string(&mut process));
            let process = match process.trim() {
                "" => String::new(),
                number => format!(" (process {number})"),
            };
            return Err(usage(format!(
                "another `{command}`{process} is at work in {}: wait for it, or give another --out",
                out.display()
            )));
        }
        Err(TryLockError::Error(error)) => {
            output::note(&format!(
                "warning: {} cannot be locked ({error}): see to it that no other `{command}` works in this folder",
                path.display()
            ));
            return Ok(Lock { _file: None });
        }
    }
    file.set_len(0).with_context(shown)?;
    write!(file, "{}", std::process::id()).with_context(shown)?;
    Ok(Lock { _file: Some(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let first = take(&out, "omni train").unwrap();
        let refused = take(&out, "omni train").err().unwrap();
        assert_eq!(crate::exit::Code::of(&refused), crate::exit::Code::Usage);
        let own = format!("(process {})", std::process::id());
        assert!(refused.to_string().contains(&own), "{refused}");
        drop(first);
        assert!(take(&out, "omni train").is_ok());
        // A file in the folder's place is the runner's to name.
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert!(take(&folder.path().join("file"), "omni train").is_ok());
    }
}
