//! The folder that holds the files, and the proof that they are the right ones.
//!
//! Layout: `models/<id>/<file>` for networks, `<id>/<version>/<file>` for libraries, and beside
//! the files `verified.json`: size, time of change and hash as last read. While size and time are
//! unchanged the hash is not computed again; otherwise it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::list::Registry;
use super::spec::{FileSpec, ModelKind, ModelSpec};
use crate::{Error, Network};

/// Name of the record beside the files.
const RECORD: &str = "verified.json";

/// A folder of networks and libraries (by default the user's cache folder of `omni`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// A network whose files are there and have the listed sizes and hashes.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Its entry in `models.toml`.
    pub spec: ModelSpec,
    /// The folder of its files.
    pub dir: PathBuf,
    hashes: Vec<String>,
}

/// What [`Store::verify`] found for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Name of the file.
    pub name: String,
    /// Where it lies, or should.
    pub path: PathBuf,
    /// Size in bytes; `None` when the file is absent.
    pub bytes: Option<u64>,
    /// SHA-256, just computed, of a file that is right.
    pub sha256: Option<String>,
    /// What is wrong with it; `None` when it is the listed file.
    pub fault: Option<String>,
}

impl Located {
    /// Path of one of the files. A name that is not in the entry gives a path that does not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Path of the first file: the only one, for most networks.
    pub fn first(&self) -> PathBuf {
        self.spec
            .files
            .first()
            .map_or_else(|| self.dir.clone(), |file| self.dir.join(&file.name))
    }

    /// SHA-256 of each file, in the order of the entry.
    pub fn hashes(&self) -> &[String] {
        &self.hashes
    }

    /// Id and hash, as scores carry them.
    pub fn network(&self) -> Network {
        Network {
            id: self.spec.id.clone(),
            hash: joint_hash(&self.spec.files, &self.hashes),
        }
    }
}

impl Store {
    /// A store in this folder. Nothing is read or made until something is asked for.
    pub fn new(dir: impl Into<PathBuf>) -> Store {
        Store { root: dir.into() }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one entry's files, whether there or not.
    pub fn dir(&self, spec: &ModelSpec) -> PathBuf {
        match (spec.kind, &spec.version) {
            (ModelKind::Library, Some(version)) => self.root.join(&spec.id).join(version),
            _ => self.root.join("models").join(&spec.id),
        }
    }

    /// The network that `profile` names for `role`, its files checked.
    ///
    /// Fails with [`Error::NoWeights`] when a file is missing, and with [`Error::Registry`] when one
    /// is not what `models.toml` says, or role or profile do not exist.
    pub fn locate(&self, registry: &Registry, profile: &str, role: &str) -> Result<Located, Error> {
        self.locate_spec(registry.role(profile, role)?)
    }

    /// The network or library of this id, its files checked. Fails as [`Store::locate`] does.
    pub fn locate_id(&self, registry: &Registry, id: &str) -> Result<Located, Error> {
        self.locate_spec(registry.spec(id)?)
    }

    /// The files of an entry, checked. Fails as [`Store::locate`] does.
    pub fn locate_spec(&self, spec: &ModelSpec) -> Result<Located, Error> {
        let dir = self.dir(spec);
        let mut record = Record::read(&dir);
        let mut fresh = false;
        let mut spec = spec.clone();
        spec.files
            .retain(|file| !file.optional || dir.join(&file.name).exists());
        let mut hashes = Vec::with_capacity(spec.files.len());
        for file in &spec.files {
            let (hash, read) = check_file(&spec, file, &dir, &mut record)?;
            fresh |= read;
            hashes.push(hash);
        }
        if fresh {
            // A store that cannot be written (read-only mount) only costs the hash at every start.
            let _ = record.write(&dir);
        }
        Ok(Located { spec, dir, hashes })
    }

    /// Reads every byte of an entry's files again and says of each whether it is the listed one.
    pub fn verify(&self, spec: &ModelSpec) -> Vec<Verified> {
        let dir = self.dir(spec);
        let mut record = Record::read(&dir);
        record
            .files
            .values_mut()
            .for_each(|entry| entry.modified_ns = None);
        let found = spec
            .files
            .iter()
            .filter(|file| !file.optional || dir.join(&file.name).exists())
            .map(|file| verify_file(file, &dir, &mut record))
            .collect();
        // A store that cannot be written is verified all the same.
        let _ = record.write(&dir);
        found
    }

    /// Unfinished downloads of an entry, which the next pull goes on with.
    pub fn unfinished(&self, spec: &ModelSpec) -> Vec<PathBuf> {
        let dir = self.dir(spec);
        let parts = spec
            .files
            .iter()
            .map(|file| dir.join(format!("{}.part", file.name)));
        parts.filter(|path| path.is_file()).collect()
    }

    /// Records the hash of a file just put in place, so that [`Store::locate`] trusts it.
    pub(super) fn record(&self, spec: &ModelSpec, name: &str, sha256: &str) -> Result<(), Error> {
        let dir = self.dir(spec);
        let path = dir.join(name);
        let meta = fs::metadata(&path).map_err(|source| Error::Io { path, source })?;
        let mut record = Record::read(&dir);
        record
            .files
            .insert(name.to_owned(), Stamp::new(&meta, sha256.to_owned()));
        record.write(&dir)
    }
}

/// The hash of a file, and whether it had to be computed.
fn check_file(
    spec: &ModelSpec,
    file: &FileSpec,
    dir: &Path,
    record: &mut Record,
) -> Result<(String, bool), Error> {
    match inspect(file, dir, record) {
        Ok(found) => Ok(found),
        Err(Fault::Absent) => Err(no_weights(spec)),
        Err(Fault::Wrong(found)) => Err(wrong_file(spec, &dir.join(&file.name), &found)),
    }
}

fn verify_file(file: &FileSpec, dir: &Path, record: &mut Record) -> Verified {
    let path = dir.join(&file.name);
    let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
    let (sha256, fault) = match inspect(file, dir, record) {
        Ok((sha256, _)) => (Some(sha256), None),
        Err(Fault::Absent) => (None, Some("no such file".to_owned())),
        Err(Fault::Wrong(found)) => (None, Some(found)),
    };
    Verified {
        name: file.name.clone(),
        path,
        bytes: meta.map(|meta| meta.len()),
        sha256,
        fault,
    }
}

/// Why a file is not the listed one.
enum Fault {
    Absent,
    /// What was found instead.
    Wrong(String),
}

/// The hash of the listed file, and whether it had to be computed.
fn inspect(file: &FileSpec, dir: &Path, record: &mut Record) -> Result<(String, bool), Fault> {
    let path = dir.join(&file.name);
    let meta = fs::metadata(&path)
        .ok()
        .filter(fs::Metadata::is_file)
        .ok_or(Fault::Absent)?;
    if let Some(bytes) = file.bytes.filter(|&bytes| bytes != meta.len()) {
        return Err(Fault::Wrong(format!("{} bytes instead of {bytes}", meta.len())));
    }
    let stamp = record.files.get(&file.name);
    let expected = file
        .sha256
        .clone()
        .or_else(|| stamp.map(|stamp| stamp.sha256.clone()));
    let Some(expected) = expected else {
        return Err(Fault::Wrong("no recorded hash".to_owned()));
    };
    let now = Stamp::new(&meta, expected.clone());
    if now.modified_ns.is_some() && stamp == Some(&now) {
        return Ok((expected, false));
    }
    let found = sha256_file(&path).map_err(|error| Fault::Wrong(error.to_string()))?;
    if found != expected {
        // A stamp of other bytes must not vouch for these.
        if let Some(stamp) = record.files.get_mut(&file.name) {
            stamp.modified_ns = None;
        }
        return Err(Fault::Wrong(format!("sha256 {found} instead of {expected}")));
    }
    record
        .files
        .insert(file.name.clone(), Stamp::new(&meta, found.clone()));
    Ok((found, true))
}

fn no_weights(spec: &ModelSpec) -> Error {
    let role = if spec.role.is_empty() {
        "the run time"
    } else {
        &spec.role
    };
    Error::NoWeights {
        role: role.to_owned(),
        id: spec.id.clone(),
        command: spec.pull_command(),
    }
}

fn wrong_file(spec: &ModelSpec, path: &Path, found: &str) -> Error {
    let (id, path, command) = (&spec.id, path.display(), spec.pull_command());
    Error::Registry(format!(
        "{path} is not the file listed for `{id}`: {found}; run `{command}`"
    ))
}

/// A hidden name that no other process or thread uses.
pub(super) fn scratch_name(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}-{count}.tmp", std::process::id())
}

/// SHA-256 of a whole file, lower-case hex.
pub(super) fn sha256_file(path: &Path) -> Result<String, Error> {
    let fail = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ModelSpec {
    /// The identity that [`Located::network`] gives, from the list alone; opens nothing. A file whose hash nobody
    /// published counts as `unpublished`.
    pub fn network(&self) -> Network {
        let listed = |file: &FileSpec| file.sha256.clone().unwrap_or_else(|| "unpublished".to_owned());
        let hashes: Vec<String> = self.files.iter().map(listed).collect();
        Network {
            id: self.id.clone(),
            hash: joint_hash(&self.files, &hashes),
        }
    }
}

fn joint_hash(files: &[FileSpec], hashes: &[String]) -> String {
    if let [only] = hashes {
        return only.clone();
    }
    let mut hasher = Sha256::new();
    for (file, hash) in files.iter().zip(hashes) {
        hasher.update(format!("{} {hash}\n", file.name));
    }
    hex(&hasher.finalize())
}

/// `verified.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    files: BTreeMap<String, Stamp>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    /// Nanoseconds since 1970 as decimal text (JSON numbers end at 2^53).
    modified_ns: Option<String>,
    sha256: String,
}

impl Stamp {
    fn new(meta: &fs::Metadata, sha256: String) -> Stamp {
        let since = meta
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Stamp {
            bytes: meta.len(),
            modified_ns: since.map(|since| since.as_nanos().to_string()),
            sha256,
        }
    }
}

impl Record {
    /// An unreadable record is an empty one: then the hashes are computed.
    fn read(dir: &Path) -> Record {
        let text = fs::read(dir.join(RECORD)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(RECORD);
        let temporary = dir.join(scratch_name(RECORD));
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::Registry(error.to_string()))?;
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            Error::Io { path, source }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn registry(content: &[u8]) -> Registry {
        let hash = hex(&Sha256::digest(content));
        let text = format!(
            "[profiles.open]\nvad = \"tiny\"\n[[network]]\nid = \"tiny\"\nrole = \"vad\"\ninput = \"\"\noutput = \"\"\n\
             source = {{ kind = \"npm\", package = \"p\", version = \"1\" }}\n\
             licence = {{ package = \"MIT\", weights = \"MIT\", non_commercial = false }}\n\
             files = [{{ name = \"a.onnx\", bytes = {}, sha256 = \"{hash}\" }}]\n",
            content.len()
        );
        Registry::from_toml(&text, "t").unwrap()
    }

    fn placed(content: &[u8]) -> (tempfile::TempDir, Store, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let path = dir.path().join("models/tiny/a.onnx");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        (dir, store, path)
    }

    #[test]
    fn a_missing_network_names_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::new(dir.path())
            .locate(&registry(b"abc"), "open", "vad")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no weights for vad (network `tiny`): run `omni models pull tiny`"
        );
    }

    #[test]
    fn one_file_lends_its_hash_to_the_network() {
        let (_dir, store, path) = placed(b"abc");
        let located = store.locate(&registry(b"abc"), "open", "vad").unwrap();
        assert_eq!(located.network().tag(), "tiny#ba7816bf8f01");
        assert_eq!(located.first(), path);
    }

    #[test]
    fn wrong_size_and_wrong_bytes_are_found() {
        let (_dir, store, path) = placed(b"abcd");
        let error = store
            .locate(&registry(b"abc"), "open", "vad")
            .unwrap_err()
            .to_string();
        assert!(error.contains("4 bytes instead of 3"), "{error}");
        fs::write(&path, b"abx").unwrap();
        let error = store
            .locate(&registry(b"abc"), "open", "vad")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sha256") && error.contains("omni models pull tiny"),
            "{error}"
        );
    }

    #[test]
    fn the_hash_is_computed_again_only_when_the_file_changed() {
        let (_dir, store, path) = placed(b"abc");
        let registry = registry(b"abc");
        store.locate(&registry, "open", "vad").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, b"abx").unwrap();
        let set = |time: SystemTime| {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap()
        };
        set(time);
        assert!(
            store.locate(&registry, "open", "vad").is_ok(),
            "the stamp was not used"
        );
        assert!(
            store.verify(registry.spec("tiny").unwrap())[0]
                .fault
                .as_ref()
                .is_some_and(|fault| fault.contains("sha256")),
            "verify must read the bytes"
        );
        set(time + Duration::from_secs(1));
        assert!(
            store.locate(&registry, "open", "vad").is_err(),
            "a changed time must cause a hash"
        );
    }

    #[test]
    fn verify_says_of_each_file_what_it_is() {
        let (_dir, store, path) = placed(b"abc");
        let registry = registry(b"abc");
        let spec = registry.spec("tiny").unwrap();
        let right = &store.verify(spec)[0];
        assert_eq!((right.bytes, &right.fault), (Some(3), &None));
        assert!(right.sha256.as_ref().unwrap().starts_with("ba7816bf"));
        fs::write(&path, b"ab").unwrap();
        let wrong = &store.verify(spec)[0];
        assert_eq!(wrong.fault.as_deref(), Some("2 bytes instead of 3"));
        assert_eq!(wrong.path, path);
        fs::rename(&path, path.with_extension("onnx.part")).unwrap();
        let absent = &store.verify(spec)[0];
        assert_eq!((absent.bytes, absent.sha256.as_ref()), (None, None));
        assert!(absent.fault.is_some());
        assert_eq!(store.unfinished(spec), [path.with_extension("onnx.part")]);
    }

    #[test]
    fn a_broken_record_is_ignored() {
        let (dir, store, _path) = placed(b"abc");
        fs::write(dir.path().join("models/tiny").join(RECORD), b"{\"files\": 3").unwrap();
        assert!(store.locate(&registry(b"abc"), "open", "vad").is_ok());
    }

    #[test]
    fn an_unpublished_file_needs_its_record() {
        let (_dir, store, path) = placed(b"abc");
        let text = "[[network]]\nid = \"tiny\"\nrole = \"vad\"\ninput = \"\"\noutput = \"\"\n\
            source = { kind = \"file\", origin = \"o\" }\nlicence = { package = \"p\", weights = \"w\", non_commercial = false }\n\
            files = [{ name = \"a.onnx\", sha256 = \"unpublished\" }]\n";
        let registry = Registry::from_toml(text, "t").unwrap();
        let error = store.locate_id(&registry, "tiny").unwrap_err().to_string();
        assert!(
            error.contains("no recorded hash") && error.contains("--from DIR"),
            "{error}"
        );
        let hash = sha256_file(&path).unwrap();
        store
            .record(registry.spec("tiny").unwrap(), "a.onnx", &hash)
            .unwrap();
        assert_eq!(store.locate_id(&registry, "tiny").unwrap().hashes(), [hash]);
        fs::write(&path, b"other").unwrap();
        assert!(
            store.locate_id(&registry, "tiny").is_err(),
            "a changed file is not the recorded one"
        );
    }
}
