//! The unfinished file of a download: `NAME.part` beside the final name, locked while in use.
//!
//! `NAME.part.tag` holds the server's validator (`ETag` or `Last-Modified`), so that a resumed
//! download never joins two versions of a file.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::download::LOOK;

pub(crate) struct Part {
    path: PathBuf,
    tag_path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes written so far.
    pub(crate) len: u64,
    /// Bytes of those that an earlier call left.
    pub(crate) resumed: u64,
    /// Validator of the version those bytes are from.
    pub(crate) tag: Option<String>,
}

impl Part {
    /// Opens or makes the part of `target`, waits for other processes, and hashes what is there.
    pub(crate) fn open(target: &Path, interrupted: Option<fn() -> bool>) -> Result<Part, Error> {
        let (path, tag_path) = (with_suffix(target, ".part"), with_suffix(target, ".part.tag"));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
        }
        let file = lock(&path, interrupted)?;
        let tag = fs::read_to_string(&tag_path).ok();
        let mut part = Part {
            path,
            tag_path,
            file,
            hasher: Sha256::new(),
            len: 0,
            resumed: 0,
            tag,
        };
        part.hash_existing()?;
        part.resumed = part.len;
        Ok(part)
    }

    fn hash_existing(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = self
                .file
                .read(&mut buffer)
                .map_err(|error| Error::io(&self.path, error))?;
            if n == 0 {
                return Ok(());
            }
            self.hasher.update(buffer.get(..n).unwrap_or_default());
            self.len += n as u64;
        }
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        let emptied = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| Error::io(&self.path, error))?;
        let _ = fs::remove_file(&self.tag_path);
        (self.hasher, self.len, self.resumed, self.tag) = (Sha256::new(), 0, 0, None);
        Ok(())
    }

    /// Remembers which version the following bytes are from.
    pub(crate) fn set_tag(&mut self, tag: Option<String>) -> Result<(), Error> {
        if let Some(tag) = &tag {
            fs::write(&self.tag_path, tag).map_err(|error| Error::io(&self.tag_path, error))?;
        }
        self.tag = tag;
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io(&self.path, error))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of all bytes so far, lower-case hex.
    pub(crate) fn hash(&self) -> String {
        self.hasher
            .clone()
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Deletes the part.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.tag_path);
        let _ = fs::remove_file(&self.path);
    }

    /// Gives the finished file its final name.
    pub(crate) fn publish(self, target: &Path) -> Result<(), Error> {
        let fail = |error| Error::io(&self.path, error);
        self.file.sync_all().map_err(fail)?;
        fs::rename(&self.path, target).map_err(fail)?;
        let _ = fs::remove_file(&self.tag_path);
        if let Some(parent) = target.parent() {
            // A folder that cannot be synced (some network file systems) still holds the file.
            let _ = File::open(parent).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens and locks a file; whoever waited finds the name gone to another file and opens again.
fn lock(path: &Path, interrupted: Option<fn() -> bool>) -> Result<File, Error> {
    let fail = |error| Error::io(path, error);
    loop {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                if interrupted.is_some_and(|interrupted| interrupted()) {
                    return Err(Error::Stopped);
                }
                std::thread::sleep(LOOK);
                continue;
            }
            // No locks on this file system: the hash still guards the result.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let ours = file.metadata().map_err(fail)?.ino();
        if fs::metadata(path).is_ok_and(|meta| meta.ino() == ours) {
            return Ok(file);
        }
    }
}
