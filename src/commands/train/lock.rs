//! One process at a time writes a run.

use crate::{exit::usage, output};
use anyhow::Context;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

/// The file that is locked, in the run's folder.
const LOCK: &str = ".lock";

/// A run that this process writes; given back when the process ends, however it ends.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the run in `folder`, which is made where needed. Fails where another process has it.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(LOCK);
        let open = || -> std::io::Result<File> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path)
        };
        let mut file = open().with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process); // the number is a help, not the reason
                return Err(usage(format!(
                    "{} is written by another process{}; wait for its end, or give another --out",
                    folder.display(),
                    match process.trim() {
                        "" => String::new(),
                        number => format!(" ({number})"),
                    }
                )));
            }
            Err(TryLockError::Error(error)) => output::note(&format!(
                "{} cannot be locked ({error}): see to it that no second process writes this run",
                path.display()
            )),
        }
        let number = std::process::id().to_string();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(number.as_bytes()))
            .with_context(|| path.display().to_string())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let first = Lock::take(&run).unwrap();
        let said = Lock::take(&run).err().unwrap().to_string();
        assert!(
            said.contains(&format!("({})", std::process::id())) && said.contains("another --out"),
            "{said}"
        );
        drop(first);
        Lock::take(&run).unwrap();
    }
}
