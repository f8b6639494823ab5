//! Files that appear whole or not at all: written under a temporary name in the same folder, then renamed.

use crate::Error;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Leftovers older than this are removed whoever wrote them.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A file under its temporary name; dropped without [`Temporary::publish`], it is removed.
pub(crate) struct Temporary {
    file: BufWriter<File>,
    temp: PathBuf,
    target: PathBuf,
    hasher: blake3::Hasher,
    written: u64,
    failure: Option<io::Error>,
    published: bool,
    #[cfg(test)]
    pub(crate) room: Option<u64>,
}

impl Temporary {
    /// Opens `.<name>.<host>-<pid>-<counter>.tmp` beside `target`, creating the folder when needed.
    pub(crate) fn create(target: &Path) -> Result<Temporary, Error> {
        let dir = folder(target);
        fs::create_dir_all(&dir).map_err(|e| Error::io("create folder", &dir, e))?;
        let temp = dir.join(temporary_name(target));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temp)
            .map_err(|e| Error::io("create", &temp, e))?;
        Ok(Temporary {
            file: BufWriter::with_capacity(1 << 16, file),
            temp,
            target: target.to_path_buf(),
            hasher: blake3::Hasher::new(),
            written: 0,
            failure: None,
            published: false,
            #[cfg(test)]
            room: None,
        })
    }

    /// The name the file will have.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// BLAKE3 of what was written so far (patches do not count).
    pub(crate) fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// The first error the system gave, where a library in between told only that there was one.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        let failure = self.failure.take()?;
        Some(Error::io("write", &self.target, failure))
    }

    /// Reads the last `count` bytes back (fewer when the file is shorter).
    pub(crate) fn tail(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let start = self.written.saturating_sub(count);
        let mut bytes = Vec::new();
        let read = (|| {
            self.file.flush()?;
            let file = self.file.get_mut();
            file.seek(SeekFrom::Start(start))?;
            file.read_to_end(&mut bytes)?;
            file.seek(SeekFrom::End(0))
        })();
        read.map_err(|e| Error::io("write", &self.target, e))?;
        Ok(bytes)
    }

    /// Overwrites bytes already written.
    pub(crate) fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let patch = (|| {
            self.file.flush()?;
            let file = self.file.get_mut();
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)?;
            file.seek(SeekFrom::End(0))
        })();
        patch.map(drop).map_err(|e| Error::io("write", &self.target, e))
    }

    /// Flushes to the disk, gives the file its name, and flushes the folder.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        self.flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|e| Error::io("write", &self.target, e))?;
        fs::rename(&self.temp, &self.target).map_err(|e| Error::io("rename into", &self.target, e))?;
        self.published = true;
        let dir = folder(&self.target);
        File::open(&dir)
            .and_then(|d| d.sync_all())
            .map_err(|e| Error::io("flush folder", &dir, e))
    }

    fn write_checked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if self
            .room
            .is_some_and(|room| self.written + bytes.len() as u64 > room)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.write_checked(bytes) {
            Ok(n) => {
                self.hasher.update(&bytes[..n]);
                self.written += n as u64;
                Ok(n)
            }
            Err(e) => {
                self.failure.get_or_insert(copy(&e));
                Err(e)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().inspect_err(|e| {
            self.failure.get_or_insert(copy(e));
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a file that cannot even be removed; the next sweep tries again.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Writes a file whole or not at all: under a temporary name in the same folder, flushed, renamed. One that is there
/// is replaced.
///
/// # Errors
/// When the folder cannot be written; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut temp = Temporary::create(path)?;
    temp.write_all(bytes)
        .map_err(|e| temp.take_failure().unwrap_or(Error::io("write", path, e)))?;
    temp.publish()
}

/// Removes the temporary files in `dir` whose writer is gone: on this host by its process id, on any host
/// when they are older than a day. Returns how many; a folder that does not exist has none.
pub fn sweep_temporaries(dir: &Path) -> Result<usize, Error> {
    let gone = orphans(dir)?
        .into_iter()
        .filter(|path| fs::remove_file(path).is_ok());
    Ok(gone.count())
}

/// The files that [`sweep_temporaries`] would remove, by name.
///
/// # Errors
/// When the folder is there and cannot be listed.
pub fn orphans(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io("list", dir, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", dir, e))?;
        let writer = entry.file_name().to_str().and_then(writer_of);
        if writer.is_some_and(|writer| writer_is_gone(&writer) || is_stale(&entry)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

struct Writer {
    host: String,
    pid: u32,
}

/// Parses `.<name>.<host>-<pid>-<counter>.tmp`.
fn writer_of(name: &str) -> Option<Writer> {
    let stem = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (_, tag) = stem.rsplit_once('.')?;
    let mut words = tag.split('-');
    let (host, pid, counter) = (words.next()?, words.next()?, words.next()?);
    let hex = host.len() == 8 && host.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && words.next().is_none() && counter.parse::<u64>().is_ok()).then_some(())?;
    Some(Writer {
        host: host.to_owned(),
        pid: pid.parse().ok()?,
    })
}

fn writer_is_gone(writer: &Writer) -> bool {
    let proc = Path::new("/proc");
    writer.host == host_tag() && proc.join("self").exists() && !proc.join(writer.pid.to_string()).exists()
}

fn is_stale(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|m| m.modified());
    modified.is_ok_and(|t| t.elapsed().is_ok_and(|age| age > STALE))
}

fn temporary_name(target: &Path) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let (host, pid) = (host_tag(), std::process::id());
    format!(
        ".{name}.{host}-{pid}-{}.tmp",
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Eight hex digits of host name and process-id namespace: a process id means something only with both.
fn host_tag() -> String {
    let mut host = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    host.extend_from_slice(namespace.as_os_str().as_encoded_bytes());
    blake3::hash(&host).to_hex()[..8].to_owned()
}

/// The folder a file lies in; `.` for a bare name.
fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn copy(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_dead_writers_go() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(dir.path().join(name), b"x").unwrap();
        let host = host_tag();
        let (gone, alive) = (u32::MAX, std::process::id());
        put(&format!(".part-0.parquet.{host}-{gone}-0.tmp"));
        put(&format!(".part-1.parquet.{host}-{alive}-7.tmp"));
        put(&format!(".part-2.parquet.00000000-{gone}-0.tmp"));
        put(&format!(".notes.{gone}.tmp"));
        put("part-0.parquet");
        let old = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.path().join(".part-3.tar.00000000-1-0.tmp"))
            .unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * STALE)
            .unwrap();
        assert_eq!(sweep_temporaries(dir.path()).unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(
            !left
                .iter()
                .any(|n| n.starts_with(".part-0") || n.starts_with(".part-3"))
        );
        assert_eq!(sweep_temporaries(&dir.path().join("none")).unwrap(), 0);
    }

    #[test]
    fn a_full_disk_leaves_nothing_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut temp = Temporary::create(&dir.path().join("a")).unwrap();
        temp.room = Some(10);
        temp.write_all(b"12345").unwrap();
        assert!(temp.write_all(b"6789012").is_err());
        assert!(matches!(temp.take_failure(), Some(Error::NoSpace { .. })));
        drop(temp);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
